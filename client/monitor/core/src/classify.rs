//! One answer of a model: with anchors that nobody worked for, or with hash work
//! of the daemon's devices.
//!
//! Owns the run from picture to answer, and every sentence about who computed
//! what. It blocks its thread; the window calls it on one of its own. Nothing here
//! makes the network faster: devices only find the anchors' nonces.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hasher_client::{Client, ClientError, Dial, Priority, Retry};
use hasher_model::{
    Inference, InferenceError, Mode, Model, Options, Outcome, PASSES_DEFAULT, Request, Solution,
    ZERO_BITS_MAX,
};
use hasher_train::data::image_codes;
use tokio::sync::oneshot;

use crate::anchors::{self, Account};
use crate::{Device, Fact, Picture, text};

/// What the daemon's list of sessions calls this program.
const NAME: &str = "hasher-monitor";
/// Time for the anchors of one answer. Any device needs seconds at most; a paused
/// one is waited for that long.
const DEADLINE: Duration = Duration::from_secs(120);
/// Classes that an answer lists at most.
const CLASSES_MAX: usize = 10;

/// How the anchors come about.
#[derive(Debug)]
pub enum Effort {
    /// Plain hashes; no daemon takes part.
    Direct,
    /// A device finds each, with so many leading zero bits.
    Work {
        /// Zero bits demanded of each anchor.
        zero_bits: u32,
        /// The connected socket that the daemon handed out.
        session: OwnedFd,
    },
}

impl Effort {
    /// Zero bits that all devices which take works now find at their own pace;
    /// nothing when none does.
    pub fn natural_zero_bits<'a>(devices: impl Iterator<Item = &'a Device>) -> Option<u32> {
        anchors::zero_bits(devices)
    }
}

/// What is to be answered, and how.
#[derive(Debug)]
pub struct Plan {
    /// Who answers.
    pub model: Arc<Model>,
    /// About what.
    pub picture: Picture,
    /// Where the anchors come from.
    pub effort: Effort,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Anchors found.
    pub anchors: usize,
    /// Anchors that there will be.
    pub of: usize,
}

impl Progress {
    /// Before the first anchor.
    pub const BEGIN: Self = Self {
        anchors: 0,
        of: PASSES_DEFAULT as usize,
    };
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The person changed their mind.
    #[error("cancelled")]
    Cancelled,
    /// The picture does not fit the model.
    #[error("cannot run the model")]
    Inference(#[from] InferenceError),
    /// The daemon or the connection failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No device found an anchor.
    #[error("no anchor was found in {0} attempts")]
    NoLuck(u32),
    /// The system gave no socket or no random bytes.
    #[error("cannot {doing}")]
    System {
        /// What failed.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl ClassifyError {
    /// The error and what caused it, in one line, with the remedy if one is known.
    pub fn for_people(&self) -> String {
        let sentence = text::sentence(self);
        match self {
            Self::Client(error) => match error.hint() {
                Some(hint) => format!("{sentence}. {}", text::capitalised(&hint)),
                None => sentence,
            },
            _ => sentence,
        }
    }
}

/// What the model says, and who computed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The most probable class.
    pub prediction: usize,
    /// Its mean probability, 0 to 1.
    pub confidence: f64,
    /// The answer in words.
    pub headline: String,
    /// How sure it is.
    pub certainty: String,
    /// Whether the picture's label agrees; nothing when it has none.
    pub is_right: Option<bool>,
    /// Classes and their probabilities; at most ten, in their order.
    pub classes: Vec<(usize, f64)>,
    /// Who computed what.
    pub facts: Vec<Fact>,
}

/// Somebody waits for an answer. Dropping it gives the run up, here and in the
/// daemon.
#[derive(Debug)]
pub struct Waiting {
    _ends: oneshot::Sender<()>,
}

/// The other end of a [`Waiting`].
#[derive(Debug)]
pub struct GivenUp(oneshot::Receiver<()>);

impl Waiting {
    /// Both ends.
    pub fn new() -> (Self, GivenUp) {
        let (ends, given_up) = oneshot::channel();
        (Self { _ends: ends }, GivenUp(given_up))
    }
}

/// Runs a plan to its end. `tell` hears of the progress.
///
/// # Errors
/// [`ClassifyError`].
pub fn classify(
    plan: Plan,
    tell: impl Fn(Progress) + Sync,
    given_up: GivenUp,
) -> Result<Answer, ClassifyError> {
    let request = request(&plan.picture)?;
    let begin = Instant::now();
    let (outcome, mode, account) = match plan.effort {
        Effort::Direct => {
            let outcome = directly(&plan.model, &request)?;
            (outcome, Mode::Direct, Account::default())
        }
        Effort::Work { zero_bits, session } => {
            let mode = Mode::Work { zero_bits };
            let (outcome, account) = by_work(&plan.model, &request, mode, session, tell, given_up)?;
            (outcome, mode, account)
        }
    };
    Ok(answer(
        &outcome,
        mode,
        &account,
        plan.picture.label,
        begin.elapsed(),
    ))
}

/// A request with a fresh nonce, so that nobody can have worked for it before.
fn request(picture: &Picture) -> Result<Request, ClassifyError> {
    let mut nonce = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut nonce))
        .map_err(|source| ClassifyError::System {
            doing: "read /dev/urandom",
            source,
        })?;
    Ok(Request::new(nonce, image_codes(&picture.pixels).to_vec()))
}

fn directly(model: &Model, request: &Request) -> Result<Outcome, ClassifyError> {
    let mut inference = Inference::new(model, request, Options::default())?;
    while !inference.wanted().is_empty() {
        let solutions = vec![Solution::DIRECT; inference.wanted().len()];
        inference.supply(&solutions)?;
    }
    Ok(inference.finish().expect("no anchor is wanted any more"))
}

fn by_work(
    model: &Model,
    request: &Request,
    mode: Mode,
    session: OwnedFd,
    tell: impl Fn(Progress) + Sync,
    given_up: GivenUp,
) -> Result<(Outcome, Account), ClassifyError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ClassifyError::System {
            doing: "start the client",
            source,
        })?;
    runtime.block_on(async {
        tokio::select! {
            done = work(model, request, mode, session, tell) => done,
            // The other end was dropped.
            _ = given_up.0 => Err(ClassifyError::Cancelled),
        }
    })
}

async fn work(
    model: &Model,
    request: &Request,
    mode: Mode,
    session: OwnedFd,
    tell: impl Fn(Progress) + Sync,
) -> Result<(Outcome, Account), ClassifyError> {
    let client = Client::builder()
        .name(NAME)
        // A person waits.
        .priority(Priority::Interactive)
        .deadline(DEADLINE)
        .retry(Retry {
            // The daemon hands out one socket; a person can ask for the next.
            attempts: 2,
            ..Retry::default()
        })
        .connect_with(Handed(Some(session)))
        .await?;
    let options = Options {
        mode,
        ..Options::default()
    };
    let mut inference = Inference::new(model, request, options)?;
    let mut account = Account::default();
    let of = usize::from(options.passes);
    let tell = |anchors| tell(Progress { anchors, of });
    tell(0);
    while !inference.wanted().is_empty() {
        let wanted = inference.wanted();
        let solutions: Vec<Solution> = anchors::solve(&client, wanted, &mut account, &tell).await?;
        inference.supply(&solutions)?;
    }
    client.close().await;
    let outcome = inference.finish().expect("no anchor is wanted any more");
    Ok((outcome, account))
}

/// The one stream that the daemon handed out over D-Bus.
struct Handed(Option<OwnedFd>);

impl Dial for Handed {
    type Stream = tokio::net::UnixStream;

    async fn dial(&mut self) -> Result<Self::Stream, ClientError> {
        let closed = |reason: String| ClientError::Closed {
            status: None,
            reason,
        };
        let session = self.0.take();
        let session = session.ok_or_else(|| closed("try again".to_owned()))?;
        let stream = UnixStream::from(session);
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixStream::from_std(stream));
        stream.map_err(|error| closed(error.to_string()))
    }

    fn peer(&self) -> String {
        "the socket that hasherd handed out".to_owned()
    }
}

fn answer(
    outcome: &Outcome,
    mode: Mode,
    account: &Account,
    label: Option<u8>,
    elapsed: Duration,
) -> Answer {
    let ensemble = &outcome.ensemble;
    let prediction = ensemble.prediction();
    let is_right = label.map(|label| usize::from(label) == prediction);
    let headline = match (is_right, label) {
        (Some(false), Some(label)) => {
            format!("It looks like {prediction}, but the label says {label}")
        }
        (Some(true), _) => format!("It looks like {prediction}, as its label says"),
        _ => format!("It looks like {prediction}"),
    };
    Answer {
        prediction,
        confidence: ensemble.confidence(),
        headline,
        certainty: format!(
            "{} sure, {} of {} passes agree",
            text::percent(ensemble.confidence()),
            ensemble.agreeing(),
            ensemble.passes()
        ),
        is_right,
        classes: classes(&ensemble.mean_p_q16()),
        facts: facts(outcome, mode, account, elapsed),
    }
}

/// The most probable classes in their order.
fn classes(mean_p_q16: &[u32]) -> Vec<(usize, f64)> {
    let mut classes: Vec<(usize, u32)> = mean_p_q16.iter().copied().enumerate().collect();
    classes.sort_by_key(|(_, p)| std::cmp::Reverse(*p));
    classes.truncate(CLASSES_MAX);
    classes.sort_unstable();
    let share = |(class, p)| (class, f64::from(p) / 65_536.0);
    classes.into_iter().map(share).collect()
}

fn facts(outcome: &Outcome, mode: Mode, account: &Account, elapsed: Duration) -> Vec<Fact> {
    let mut facts = vec![Fact::new(
        "Network",
        "This computer's CPU, in whole numbers",
    )];
    match mode {
        Mode::Direct => facts.push(Fact::new(
            "Anchors",
            "Plain hashes of this computer's CPU, no work behind them",
        )),
        Mode::Work { zero_bits } => {
            let by: Vec<String> = account.by.iter().map(ToString::to_string).collect();
            let hashes = outcome.anchors.len() as f64 * f64::from(zero_bits).exp2();
            facts.push(Fact::new(
                "Anchors",
                format!("{} found by {}", account.anchors, text::listed(&by)),
            ));
            facts.push(Fact::new(
                "Work behind them",
                format!(
                    "{}, about {} hashes on average",
                    text::counted(account.works, "work", "works"),
                    text::in_words(hashes)
                ),
            ));
            facts.push(Fact::new("Difficulty", difficulty(zero_bits)));
        }
    }
    facts.push(Fact::new(
        "Dither",
        format!(
            "{} digests of this computer's CPU",
            text::grouped(outcome.oracle.digests)
        ),
    ));
    facts.push(Fact::new("Time", text::seconds(elapsed.as_secs_f64())));
    facts
}

/// Keeps lowered difficulty from passing for silicon's.
fn difficulty(zero_bits: u32) -> String {
    match ZERO_BITS_MAX.saturating_sub(zero_bits) {
        0 => format!("{zero_bits} zero bits an anchor, as silicon finds them"),
        less => format!(
            "{zero_bits} zero bits an anchor, 2^{less} times easier than silicon's {ZERO_BITS_MAX}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use hasher_client::{ComputedBy, ComputedKind};

    use super::*;
    use crate::file::tests::model;

    fn plan(effort: Effort) -> Plan {
        Plan {
            model: model().model,
            picture: Picture::samples().remove(0),
            effort,
        }
    }

    fn fact<'a>(facts: &'a [Fact], label: &str) -> &'a str {
        let found = facts.iter().find(|fact| fact.label == label);
        &found
            .unwrap_or_else(|| panic!("no {label}: {facts:?}"))
            .value
    }

    #[test]
    fn direct_mode_answers_without_a_daemon_and_claims_no_work() {
        let (_waiting, given_up) = Waiting::new();
        let answer = classify(plan(Effort::Direct), |_| (), given_up).unwrap();
        assert_eq!(answer.classes.len(), 10);
        let sum: f64 = answer.classes.iter().map(|(_, p)| p).sum();
        assert!((0.99..=1.01).contains(&sum), "{sum}");
        assert!(fact(&answer.facts, "Anchors").contains("no work"));
        assert!(fact(&answer.facts, "Network").contains("CPU"));
        assert!(answer.is_right.is_some());
    }

    #[test]
    fn a_daemon_that_hangs_up_is_an_error_with_a_remedy() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        let (_waiting, given_up) = Waiting::new();
        let effort = Effort::Work {
            zero_bits: 8,
            session: here.into(),
        };
        let error = classify(plan(effort), |_| (), given_up).unwrap_err();
        assert!(matches!(error, ClassifyError::Client(_)), "{error:?}");
        assert!(!error.for_people().is_empty());
    }

    #[test]
    fn a_run_that_nobody_waits_for_ends_at_once() {
        let (here, _silent) = UnixStream::pair().unwrap();
        let (waiting, given_up) = Waiting::new();
        drop(waiting);
        let effort = Effort::Work {
            zero_bits: 8,
            session: here.into(),
        };
        let error = classify(plan(effort), |_| (), given_up).unwrap_err();
        assert!(matches!(error, ClassifyError::Cancelled), "{error:?}");
    }

    #[test]
    fn the_answer_says_who_found_the_anchors_and_how_easy_that_was() {
        let direct = plan(Effort::Direct);
        let request = request(&direct.picture).unwrap();
        let outcome = directly(&direct.model, &request).unwrap();
        let account = Account {
            anchors: 21,
            works: 23,
            by: vec![ComputedBy {
                kind: ComputedKind::Simulated,
                device: "sim-s3-0".to_owned(),
            }],
        };
        let facts = facts(
            &outcome,
            Mode::Work { zero_bits: 14 },
            &account,
            Duration::from_millis(420),
        );
        assert_eq!(fact(&facts, "Anchors"), "21 found by sim-s3-0 (simulated)");
        assert_eq!(
            fact(&facts, "Work behind them"),
            "23 works, about 344 thousand hashes on average"
        );
        assert!(fact(&facts, "Difficulty").contains("2^18 times easier"));
        assert!(difficulty(32).contains("as silicon finds them"));
    }

    #[test]
    fn the_ten_most_probable_classes_are_shown_in_their_order() {
        let p: Vec<u32> = (0..30).map(|class| class * 100).collect();
        let shown: Vec<usize> = classes(&p).into_iter().map(|(class, _)| class).collect();
        assert_eq!(shown, (20..30).collect::<Vec<_>>());
    }
}
