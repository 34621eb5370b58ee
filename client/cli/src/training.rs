//! One training run with a live bar; `train` and `demo` both go through it.
//!
//! Owns the loop around `hasher-train`'s steps and what a person sees of it. The
//! caller decides after every step whether to go on.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hasher_model::Model;
use hasher_train::Trainer;

use crate::error::{CliError, chain};
use crate::output::Output;
use crate::progress;

/// Share of a new step in the running means that the bar shows: about the last
/// twenty steps count.
const NEW_SHARE: f64 = 0.05;

/// What a run brought.
#[derive(Debug)]
pub struct Trained {
    /// The model of the last seeds.
    pub model: Model,
    /// Running mean of the loss at the end, in nats.
    pub loss: f64,
    /// Running mean of the training accuracy at the end, 0 to 1.
    pub accuracy: f64,
    /// Time that the steps took.
    pub elapsed: Duration,
}

/// Takes all remaining steps. `after_step` is asked after each; when it breaks,
/// nothing is returned and the run stands where it stopped.
///
/// # Errors
/// When the run diverges, or what `after_step` says.
pub fn train(
    trainer: &mut Trainer<'_>,
    output: &Output,
    label: &str,
    mut after_step: impl FnMut(&Trainer<'_>) -> Result<ControlFlow<()>, CliError>,
) -> Result<Option<Trained>, CliError> {
    let steps = u64::from(trainer.config().steps);
    let bar = progress::bar(output, steps, label);
    let begin = Instant::now();
    let mut means: Option<(f64, f64)> = None;
    while !trainer.is_finished() {
        let report = trainer.step().map_err(|error| failed(&error))?;
        let (loss, accuracy) = means.map_or((report.loss, report.accuracy), |(loss, accuracy)| {
            (
                loss + NEW_SHARE * (report.loss - loss),
                accuracy + NEW_SHARE * (report.accuracy - accuracy),
            )
        });
        means = Some((loss, accuracy));
        bar.at(
            u64::from(report.step),
            format!("loss {loss:.3}  accuracy {:5.1} %", accuracy * 100.0),
        );
        if after_step(trainer)?.is_break() {
            return Ok(None);
        }
    }
    let (loss, accuracy) = means.unwrap_or_default();
    Ok(Some(Trained {
        model: trainer.model().map_err(|error| failed(&error))?,
        loss,
        accuracy,
        elapsed: begin.elapsed(),
    }))
}

/// A training error as ours.
pub fn failed(error: &hasher_train::TrainError) -> CliError {
    CliError::failed(chain(error))
}
