//! One training run with a live bar; `train` and `demo` both go through it.
//!
//! Owns the loop around `hasher-train`'s steps and what a person sees of it. The
//! caller decides after every step whether to go on.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hasher_model::Model;
use hasher_train::{Trainer, Weights};

use crate::error::{CliError, chain};
use crate::output::Output;
use crate::progress;

/// Share of a new step in the running means that the bar shows: about the last
/// twenty steps count.
const NEW_SHARE: f64 = 0.05;

/// What a run brought.
#[derive(Debug)]
pub struct Trained {
    /// The model of the last seeds; none in a float run.
    pub model: Option<Model>,
    /// Steps done.
    pub steps: u32,
    /// Loss by steps, in nats: every so many steps the mean since the last.
    pub curve: Vec<(u32, f64)>,
    /// The same on examples that were kept back, where there are some.
    pub kept_back: Vec<(u32, f64)>,
    /// Running mean of the loss at the end, in nats.
    pub loss: f64,
    /// Running mean of the training accuracy at the end, 0 to 1.
    pub accuracy: f64,
    /// Time that the steps took.
    pub elapsed: Duration,
}

/// Points of a learning curve.
const CURVE_POINTS: u32 = 200;

/// Takes the remaining steps. `after_step` is asked after each; when it breaks, the
/// run ends there.
///
/// # Errors
/// When the run diverges, or what `after_step` says.
pub fn train(
    trainer: &mut Trainer<'_>,
    output: &Output,
    label: &str,
    mut after_step: impl FnMut(&Trainer<'_>) -> Result<ControlFlow<()>, CliError>,
) -> Result<Trained, CliError> {
    let steps = u64::from(trainer.config().steps);
    let bar = progress::bar(output, steps, label);
    let begin = Instant::now();
    let mut means: Option<(f64, f64)> = None;
    let every = trainer.config().steps.div_ceil(CURVE_POINTS);
    let (mut curve, mut sum, mut count) = (Vec::new(), 0.0, 0);
    while !trainer.is_finished() {
        let report = trainer.step().map_err(|error| failed(&error))?;
        let (loss, accuracy) = means.map_or((report.loss, report.accuracy), |(loss, accuracy)| {
            (
                loss + NEW_SHARE * (report.loss - loss),
                accuracy + NEW_SHARE * (report.accuracy - accuracy),
            )
        });
        means = Some((loss, accuracy));
        sum += report.loss;
        count += 1;
        if report.step.is_multiple_of(every) || trainer.is_finished() {
            curve.push((report.step, sum / f64::from(count)));
            (sum, count) = (0.0, 0);
        }
        bar.at(
            u64::from(report.step),
            format!("loss {loss:.3}  accuracy {:5.1} %", accuracy * 100.0),
        );
        if after_step(trainer)?.is_break() {
            break;
        }
    }
    let (loss, accuracy) = means.unwrap_or_default();
    let model = match trainer.config().weights {
        Weights::Seeds => Some(trainer.model().map_err(|error| failed(&error))?),
        Weights::Float => None,
    };
    Ok(Trained {
        model,
        steps: trainer.steps_done(),
        curve,
        kept_back: Vec::new(),
        loss,
        accuracy,
        elapsed: begin.elapsed(),
    })
}

/// A training error as ours.
pub fn failed(error: &hasher_train::TrainError) -> CliError {
    CliError::failed(chain(error))
}
