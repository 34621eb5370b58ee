//! Keeps searches in flight until it is told to stop, and keeps the account of their
//! answers.
//!
//! ```text
//! busy-client SOCKET [JOBS_IN_FLIGHT]
//! ```
//!
//! The jobs are Bitcoin's blocks at their full 32 zero bits, which an emulated board looks up
//! in its book, so that a virtual machine without hardware to help it need not hash. Whatever happens to boards and daemon meanwhile, each job must be answered exactly once:
//! by nonces that this program hashes again, or by an error that says that the same job may
//! succeed later. SIGTERM or SIGINT ends the asking; then it waits for what is still open and
//! prints its account. Exit code 0 when the account is in order, 1 when it is not, 2 for
//! wrong usage. Suites of `tests/vm` run it beside unplugs and crashes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use hasher_client::{Client, ClientError, SearchAnswer, SearchOptions, Status};
use hasher_work::{Header, NonceRange, SearchEnd, SearchJob, SearchMode, Target};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Jobs in flight unless another number is given: more than an S3 holds works.
const JOBS_IN_FLIGHT: usize = 24;
/// Most that may be asked for; each is a task.
const JOBS_IN_FLIGHT_MAX: usize = 4096;
/// Vectors of the protocol; its works with these names are solved blocks.
const VECTORS: &str = include_str!("../../fixtures/bitmain-vectors.json");
const BLOCK: &str = "block ";
/// A job that is not answered within this time is lost: boards and daemons of the suites
/// are back after seconds.
const LOST_AFTER: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next();
    let in_flight = arguments.next().map_or(Ok(JOBS_IN_FLIGHT), |n| n.parse());
    let (Some(socket), Ok(in_flight @ 1..=JOBS_IN_FLIGHT_MAX)) = (socket, in_flight) else {
        eprintln!("usage: busy-client SOCKET [JOBS_IN_FLIGHT]");
        return ExitCode::from(2);
    };
    match serve(&socket, in_flight) {
        Ok(account) => {
            println!("{account}");
            ExitCode::from(u8::from(!account.is_in_order()))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(socket: &str, in_flight: usize) -> Result<Account, Box<dyn Error>> {
    let jobs = jobs()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(socket, in_flight, &jobs))
}

/// A job for each solved block that every board runs.
fn jobs() -> Result<Vec<SearchJob>, Box<dyn Error>> {
    let vectors: serde_json::Value = serde_json::from_str(VECTORS)?;
    let works = vectors["works"]
        .as_array()
        .ok_or("no works in the vectors")?;
    let mut jobs = Vec::new();
    for work in works {
        let (Some(name), Some(header)) = (work["name"].as_str(), work["header_hex"].as_str())
        else {
            continue;
        };
        if !name.starts_with(BLOCK) {
            continue;
        }
        let header: Header = header.parse()?;
        if !header.work().midstate.is_dropped_by_s3() {
            jobs.push(SearchJob {
                header,
                range: NonceRange::WHOLE,
                target: Target::from_zero_bits(32)?,
                mode: SearchMode::FirstFound(1),
                rolls: 0,
            });
        }
    }
    if jobs.is_empty() {
        return Err("no solved block in the vectors".into());
    }
    Ok(jobs)
}

/// Asks until a signal comes, then waits for the answers.
async fn run(
    socket: &str,
    in_flight: usize,
    jobs: &[SearchJob],
) -> Result<Account, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = Client::builder().socket(socket).connect().await?;
    let (mut account, mut open) = (Account::default(), JoinSet::new());
    let mut is_asking = true;
    loop {
        while is_asking && open.len() < in_flight {
            let job = jobs[account.asked % jobs.len()];
            account.asked += 1;
            open.spawn(ask(client.clone(), job));
        }
        tokio::select! {
            answer = open.join_next() => match answer {
                Some(Ok(answer)) => account.note(answer),
                // A task that panicked has no answer; the account shows it.
                Some(Err(error)) => eprintln!("error: {error}"),
                None => return Ok(account),
            },
            _ = terminate.recv(), if is_asking => is_asking = false,
            _ = interrupt.recv(), if is_asking => is_asking = false,
        }
    }
}

/// All answers to one job.
struct Answers {
    job: SearchJob,
    answers: Vec<Result<SearchAnswer, ClientError>>,
}

async fn ask(client: Client, job: SearchJob) -> Answers {
    let options = SearchOptions {
        deadline: LOST_AFTER,
        ..client.options()
    };
    let mut answers = Vec::new();
    match client.submit(&[job], options).await {
        Ok(mut ticket) => {
            while let Some((_, answer)) = ticket.next().await {
                answers.push(answer);
            }
        }
        Err(error) => answers.push(Err(error)),
    }
    Answers { job, answers }
}

/// What became of the jobs.
#[derive(Debug, Default)]
struct Account {
    asked: usize,
    answered: usize,
    solved: usize,
    /// Searches that ended without a nonce: its reply was lost on the bus.
    missed: usize,
    /// Answers that may not be: a second one, none at all, a nonce that does not solve its
    /// job, a final error.
    wrong: BTreeMap<String, usize>,
    /// Errors after which the same job may succeed, by their text.
    failed: BTreeMap<String, usize>,
}

impl Account {
    fn note(&mut self, answers: Answers) {
        self.answered += 1;
        let Answers { job, answers } = answers;
        let error = match answers.as_slice() {
            [Ok(answer)] if is_solved(&job, answer) => {
                self.solved += 1;
                return;
            }
            [Ok(answer)] if answer.result.hits.is_empty() => {
                self.missed += 1;
                return;
            }
            [Ok(answer)] => format!("no solution: {:?}", answer.result),
            [Err(error)] => error.to_string(),
            other => format!("{} answers", other.len()),
        };
        let may_repeat = matches!(answers.as_slice(), [Err(error)]
            if error.is_retryable() && error.status() != Some(Status::Deadline));
        let texts = if may_repeat {
            &mut self.failed
        } else {
            &mut self.wrong
        };
        *texts.entry(error).or_default() += 1;
    }

    fn is_in_order(&self) -> bool {
        self.solved > 0 && self.answered == self.asked && self.wrong.is_empty()
    }
}

fn is_solved(job: &SearchJob, answer: &SearchAnswer) -> bool {
    let [hit] = answer.result.hits.as_slice() else {
        return false;
    };
    let header = job.header.with_time(hit.time).with_nonce(hit.nonce);
    answer.result.end == SearchEnd::Found
        && header.double_digest() == hit.digest
        && job.target.is_met_by(&hit.digest)
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, wrong): (usize, usize) =
            (self.failed.values().sum(), self.wrong.values().sum());
        write!(
            f,
            "asked {} answered {} solved {} missed {} failed {failed} wrong {wrong}",
            self.asked, self.answered, self.solved, self.missed
        )?;
        for (text, count) in self.failed.iter().chain(&self.wrong) {
            write!(f, "\n{count} times: {text}")?;
        }
        Ok(())
    }
}
