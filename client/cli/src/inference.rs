//! One inference, in direct mode or backed by the daemon's hash work; `predict`
//! and `demo` both go through it.
//!
//! Owns how an answer is told: the same words and the same JSON for both commands.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use hasher_client::{RemoteEngine, blocking};
use hasher_model::{
    DirectAnchors, Mode, Model, Options, Outcome, PredictError, Request, ZERO_BITS_MAX, predict,
};
use hasher_train::data::{IMAGE_PIXELS, ImageRow, PIXEL_MAX, image_codes};
use serde::Serialize;

use crate::anchors::{Account, DeviceAnchors, Pace};
use crate::computed_by::{Computer, who};
use crate::error::{CliError, chain};
use crate::evaluation::percent;
use crate::output::Output;
use crate::style::Style;
use crate::table::{grouped, hashes_in_words, seconds};
use crate::{picture, progress};

/// Time that one batch of anchors may take. Far more than any board needs for
/// eight; a CPU is asked in pieces of half a second.
pub const ANCHOR_DEADLINE: Duration = Duration::from_secs(600);
/// Pixels in a row of an image.
const IMAGE_WIDTH: usize = 8;
const _: () = assert!(IMAGE_PIXELS == IMAGE_WIDTH * IMAGE_WIDTH);

/// Where the dither of an inference comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// Plain hashes; needs no daemon
    Direct,
    /// Hashes that the daemon's devices worked for
    Work,
}

impl ModeName {
    /// Refuses zero bits where nobody works for them.
    ///
    /// # Errors
    /// Wrong usage.
    pub fn check_zero_bits(self, zero_bits: Option<u32>) -> Result<(), CliError> {
        match (self, zero_bits) {
            (Self::Direct, Some(_)) => Err(CliError::usage("--zero-bits is for --mode work only")
                .hint("add `--mode work`, or leave --zero-bits out")),
            _ => Ok(()),
        }
    }
}

/// A finished inference and what it cost.
#[derive(Debug)]
pub struct Answer {
    /// What the model says.
    pub outcome: Outcome,
    /// Whether anchors were worked for, and how hard.
    pub mode: Mode,
    /// Who worked, and how much; empty in direct mode.
    pub account: Account,
    /// Time from request to answer.
    pub elapsed: Duration,
}

/// An image as a request to a model.
pub fn request(image: &ImageRow, nonce: [u8; 16]) -> Request {
    Request::new(nonce, image_codes(&image.pixels).to_vec())
}

/// Runs the model with anchors that nobody worked for.
///
/// # Errors
/// When the image does not fit the model.
pub fn direct(model: &Model, request: &Request, options: Options) -> Result<Answer, CliError> {
    let begin = Instant::now();
    let outcome =
        predict(model, request, options, &mut DirectAnchors).map_err(|error| match error {
            PredictError::Inference(error) => unfit(&error),
            other => CliError::failed(chain(&other)),
        })?;
    Ok(Answer {
        outcome,
        mode: options.mode,
        account: Account::default(),
        elapsed: begin.elapsed(),
    })
}

/// Runs the model with anchors that the daemon's devices find.
///
/// # Errors
/// When the image does not fit the model or the daemon fails.
pub fn by_work(
    model: &Model,
    request: &Request,
    options: Options,
    client: blocking::Client,
    pace: Pace,
    output: &Output,
) -> Result<Answer, CliError> {
    let engine = RemoteEngine::new(client);
    let begin = Instant::now();
    let anchors_max = anchors_max(model, &options);
    let bar = progress::bar(output, anchors_max as u64, "hash work");
    let mut source = DeviceAnchors::new(&engine, pace, &bar);
    let outcome = predict(model, request, options, &mut source).map_err(|error| match error {
        PredictError::Source(error) => error,
        PredictError::Inference(error) => unfit(&error),
        other => CliError::failed(chain(&other)),
    })?;
    Ok(Answer {
        outcome,
        mode: options.mode,
        account: source.account,
        elapsed: begin.elapsed(),
    })
}

/// Anchors of a whole inference; an early stop needs fewer.
pub fn anchors_max(model: &Model, options: &Options) -> usize {
    use hasher_model::Level;
    let passes = usize::from(options.passes);
    match options.level {
        Level::Request => 1,
        Level::Pass => passes,
        Level::Layer => passes * (model.config().layers as usize + 1),
    }
}

fn unfit(error: &hasher_model::InferenceError) -> CliError {
    CliError::failed(format!("cannot run the model: {}", chain(error)))
        .hint("the model must be a classifier of 8x8 images, as `hasher train` makes it")
}

/// The answer as JSON; part of `hasher.predict/1` and `hasher.demo/1`.
#[derive(Debug, Serialize)]
pub struct AnswerReport {
    mode: &'static str,
    prediction: usize,
    confidence: f64,
    agreement: f64,
    margin: f64,
    entropy_bits: f64,
    probabilities: Vec<f64>,
    passes: usize,
    anchors: usize,
    zero_bits_demanded: u32,
    /// Fewest leading zero bits of any anchor.
    zero_bits_min: u32,
    /// Hashes that anchors of the demanded difficulty cost on average; 0 in direct mode.
    expected_hashes: f64,
    /// Works that devices were given.
    works: u64,
    /// Who found the anchors; empty in direct mode.
    computed_by: Vec<Computer>,
    /// Double digests of the oracle, all computed by this process.
    oracle_digests: u64,
    seconds: f64,
}

impl Answer {
    /// The answer as JSON.
    pub fn report(&self) -> AnswerReport {
        let ensemble = &self.outcome.ensemble;
        AnswerReport {
            mode: match self.mode {
                Mode::Direct => "direct",
                Mode::Work { .. } => "work",
            },
            prediction: ensemble.prediction(),
            confidence: ensemble.confidence(),
            agreement: ensemble.agreement(),
            margin: ensemble.margin(),
            entropy_bits: ensemble.entropy_bits(),
            probabilities: self.probabilities(),
            passes: self.outcome.passes.len(),
            anchors: self.outcome.anchors.len(),
            zero_bits_demanded: self.mode.zero_bits(),
            zero_bits_min: self.zero_bits_min(),
            expected_hashes: self.expected_hashes(),
            works: self.account.works,
            computed_by: self.account.by.iter().map(Computer::from).collect(),
            oracle_digests: self.outcome.oracle.digests,
            seconds: self.elapsed.as_secs_f64(),
        }
    }

    /// The image beside the classes, then the answer and who computed it.
    pub fn text(&self, image: &ImageRow, style: Style) -> Vec<String> {
        let ensemble = &self.outcome.ensemble;
        let mut text = self.picture_and_classes(image, style);
        let label = match image.label {
            Some(label) if usize::from(label) == ensemble.prediction() => {
                style.good("  (the label agrees)")
            }
            Some(label) => style.bad(&format!("  (the label says {label})")),
            None => String::new(),
        };
        text.push(String::new());
        text.push(format!(
            "answer      {}{label}",
            style.bold(&ensemble.prediction().to_string())
        ));
        text.push(format!(
            "confidence  {}, {} of {} passes agree",
            percent(ensemble.confidence()),
            ensemble.agreeing(),
            ensemble.passes()
        ));
        text.extend(self.work_text(style));
        text.push(format!(
            "network     integers on this CPU, {} digests for its dither",
            grouped(self.outcome.oracle.digests)
        ));
        text
    }

    fn picture_and_classes(&self, image: &ImageRow, style: Style) -> Vec<String> {
        const BAR: usize = 24;
        let mut rows = picture_rows(&image.pixels, style);
        let blank = " ".repeat(2 * IMAGE_WIDTH);
        let probabilities = self.probabilities();
        rows.resize(rows.len().max(probabilities.len()), blank);
        let best = self.outcome.ensemble.prediction();
        let classes = probabilities.iter().enumerate().map(|(class, p)| {
            let line = format!(
                "{class:>2}  {}  {:>7}",
                picture::bar(*p, BAR, style),
                percent(*p)
            );
            if class == best {
                style.bold(&line)
            } else {
                style.dim(&line)
            }
        });
        let classes = classes.chain(std::iter::repeat(String::new()));
        rows.into_iter()
            .zip(classes)
            .map(|(row, class)| format!("  {row}    {class}").trim_end().to_owned())
            .collect()
    }

    fn work_text(&self, style: Style) -> Vec<String> {
        let Mode::Work { zero_bits } = self.mode else {
            return vec!["anchors     plain hashes, no work behind them (direct mode)".to_owned()];
        };
        let mut text = vec![
            format!(
                "anchors     {} with at least {zero_bits} zero bits: {} on average",
                self.outcome.anchors.len(),
                hashes_in_words(self.expected_hashes())
            ),
            format!(
                "found by    {}, {} works, in {}",
                style.bold(&who(&self.account.by)),
                grouped(self.account.works),
                seconds(self.elapsed.as_secs_f64())
            ),
        ];
        if zero_bits < ZERO_BITS_MAX {
            text.push(format!("            {}", style.bad(&lowered(zero_bits))));
        }
        text
    }

    fn probabilities(&self) -> Vec<f64> {
        let q16 = self.outcome.ensemble.mean_p_q16();
        q16.into_iter().map(|p| f64::from(p) / 65_536.0).collect()
    }

    fn zero_bits_min(&self) -> u32 {
        self.outcome.zero_bits.iter().copied().min().unwrap_or(0)
    }

    fn expected_hashes(&self) -> f64 {
        expected_hashes(self.mode, self.outcome.anchors.len())
    }
}

/// An image as lines of text.
pub fn picture_rows(pixels: &[u8; IMAGE_PIXELS], style: Style) -> Vec<String> {
    picture::rows(pixels, IMAGE_WIDTH, PIXEL_MAX, style)
}

/// Hashes that so many anchors cost on average; 0 in direct mode.
pub fn expected_hashes(mode: Mode, anchors: usize) -> f64 {
    match mode {
        Mode::Direct => 0.0,
        Mode::Work { zero_bits } => anchors as f64 * f64::from(zero_bits).exp2(),
    }
}

/// The sentence that keeps lowered difficulty from passing for silicon's.
pub fn lowered(zero_bits: u32) -> String {
    format!(
        "lowered difficulty: {zero_bits} zero bits instead of {ZERO_BITS_MAX}, 2^{} times easier",
        ZERO_BITS_MAX.saturating_sub(zero_bits)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowered_difficulty_says_by_how_much() {
        assert!(lowered(14).contains("14 zero bits instead of 32, 2^18 times easier"));
    }

    #[test]
    fn work_is_counted_in_hashes() {
        assert_eq!(expected_hashes(Mode::Direct, 21), 0.0);
        assert_eq!(expected_hashes(Mode::Work { zero_bits: 10 }, 3), 3072.0);
    }
}
