//! How good a model is: accuracy, calibration and cost by number of passes.
//!
//! Owns the measures; every number comes from the exact integer inference of
//! `hasher-model` in direct mode, so it is the same on every machine and for any
//! number of threads. The command line calls it.

use std::num::NonZero;
use std::thread;

use hasher_model::{
    DirectAnchors, Model, Options, OracleCount, Outcome, PASSES_MAX, Request, SEED_BYTES, predict,
};

use crate::data::{Dataset, Part};
use crate::dense::number_count;
use crate::error::TrainError;
use crate::shape::Shape;
use crate::trainer::THREADS_MAX;

/// Bins of the calibration error, equally wide from 0 to 1.
const CALIBRATION_BINS: usize = 15;

/// What a model achieves with one number of passes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EvalRow {
    /// Passes averaged.
    pub passes: u16,
    /// Share of examples whose prediction is the label.
    pub accuracy: f64,
    /// Mean probability of the prediction.
    pub mean_confidence: f64,
    /// Expected calibration error: |accuracy − confidence| in 15 bins of
    /// confidence, weighted by their examples.
    pub calibration_error: f64,
    /// Mean share of passes that agree with the prediction.
    pub agreement: f64,
}

/// The result of [`evaluate`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Examples evaluated.
    pub examples: usize,
    /// One row for each number of passes, as asked.
    pub rows: Vec<EvalRow>,
    /// Oracle hashes of all examples at the largest number of passes.
    pub oracle: OracleCount,
    /// Anchors of all examples at the largest number of passes: double digests
    /// of anchor headers. In work mode a device finds them.
    pub anchors: u64,
}

/// Bytes of a model against those of the same network in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of all seeds: weights, biases, gains and their metadata.
    pub seed_bytes: usize,
    /// Bytes of as many weights, biases and gains as float32.
    pub float32_bytes: usize,
}

impl Footprint {
    /// The footprint of `model`.
    pub fn of(model: &Model) -> Self {
        Self {
            seed_bytes: model.seeds().len() * SEED_BYTES,
            float32_bytes: number_count(&Shape::new(model.config())) * size_of::<f32>(),
        }
    }
}

/// Judgement of one example after some passes.
#[derive(Debug, Clone, Copy)]
struct Judgement {
    is_correct: bool,
    confidence: f64,
    agreement: f64,
}

/// Judgements of one example, one per number of passes, and its hashes.
type Judged = (Vec<Judgement>, OracleCount);

/// Runs `model` on one part of `data` with the largest of `passes` and judges it
/// after each of them: passes are independent, so the first ones are the smaller
/// ensembles. Example `i` has the request nonce `i` (little-endian).
///
/// # Errors
/// [`TrainError::Passes`] for an empty list, 0 or more than 255 passes,
/// [`TrainError::NoExamples`], [`TrainError::DataShape`] or
/// [`TrainError::Inference`].
pub fn evaluate(
    model: &Model,
    data: &Dataset,
    part: Part,
    passes: &[u16],
    threads: usize,
) -> Result<Evaluation, TrainError> {
    check(model, data, part, passes)?;
    let examples = data.part(part);
    let most = passes.iter().copied().max().unwrap_or(1);
    let threads = threads.clamp(1, THREADS_MAX).min(examples.len());
    let judge = |examples: &[usize]| -> Vec<Result<Judged, TrainError>> {
        let judge_one = |example: &usize| {
            let outcome = run(model, data, *example, most)?;
            let label = usize::from(data.label(*example));
            Ok((judgements(&outcome, label, passes), outcome.oracle))
        };
        examples.iter().map(judge_one).collect()
    };
    let (own, others) = examples.split_at(examples.len().div_ceil(threads));
    let judged = thread::scope(|scope| {
        let share = NonZero::new(own.len()).map_or(1, NonZero::get);
        let workers: Vec<_> = others
            .chunks(share)
            .map(|group| scope.spawn(move || judge(group)))
            .collect();
        let mut judged = judge(own);
        for worker in workers {
            match worker.join() {
                Ok(group) => judged.extend(group),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        judged
    });
    let judged: Vec<Judged> = judged.into_iter().collect::<Result<_, _>>()?;
    let rows = passes.iter().enumerate().map(|(at, passes)| {
        let column: Vec<Judgement> = judged.iter().map(|(columns, _)| columns[at]).collect();
        row(*passes, &column)
    });
    let sum = |count: fn(&OracleCount) -> u64| judged.iter().map(|(_, oracle)| count(oracle)).sum();
    Ok(Evaluation {
        examples: examples.len(),
        rows: rows.collect(),
        oracle: OracleCount {
            lanes: sum(|o| o.lanes),
            digests: sum(|o| o.digests),
        },
        anchors: examples.len() as u64 * u64::from(most),
    })
}

fn check(model: &Model, data: &Dataset, part: Part, passes: &[u16]) -> Result<(), TrainError> {
    let range = 1..=PASSES_MAX;
    if let Some(got) = passes.iter().copied().find(|p| !range.contains(p)) {
        return Err(TrainError::Passes {
            most: PASSES_MAX,
            got,
        });
    }
    if passes.is_empty() {
        return Err(TrainError::Passes {
            most: PASSES_MAX,
            got: 0,
        });
    }
    let config = model.config();
    let shape = |positions: usize, inputs: usize, fraction: u32, classes: usize| {
        format!("{positions} × {inputs} codes with {fraction} fraction bits, {classes} classes")
    };
    let (of_model, of_data) = (
        shape(
            config.positions as usize,
            config.inputs as usize,
            config.input_fraction,
            config.classes as usize,
        ),
        shape(
            data.positions(),
            data.inputs(),
            data.input_fraction(),
            data.classes(),
        ),
    );
    if config.task != hasher_model::Task::Classifier || of_model != of_data {
        return Err(TrainError::DataShape {
            model: of_model,
            data: of_data,
        });
    }
    if data.part(part).is_empty() {
        return Err(TrainError::NoExamples);
    }
    Ok(())
}

fn run(model: &Model, data: &Dataset, example: usize, passes: u16) -> Result<Outcome, TrainError> {
    let nonce = (example as u128).to_le_bytes();
    let request = Request::new(nonce, data.codes(example).to_vec());
    let options = Options {
        passes,
        ..Options::default()
    };
    Ok(predict(model, &request, options, &mut DirectAnchors)?)
}

fn judgements(outcome: &Outcome, label: usize, passes: &[u16]) -> Vec<Judgement> {
    let after = passes
        .iter()
        .filter_map(|passes| outcome.after(usize::from(*passes)));
    after
        .map(|ensemble| Judgement {
            is_correct: ensemble.prediction() == label,
            confidence: ensemble.confidence(),
            agreement: ensemble.agreement(),
        })
        .collect()
}

fn row(passes: u16, judgements: &[Judgement]) -> EvalRow {
    let count = judgements.len() as f64;
    let mean = |value: fn(&Judgement) -> f64| judgements.iter().map(value).sum::<f64>() / count;
    EvalRow {
        passes,
        accuracy: mean(|j| f64::from(u8::from(j.is_correct))),
        mean_confidence: mean(|j| j.confidence),
        calibration_error: calibration_error(judgements),
        agreement: mean(|j| j.agreement),
    }
}

fn calibration_error(judgements: &[Judgement]) -> f64 {
    let mut gaps = [0.0; CALIBRATION_BINS];
    for judgement in judgements {
        let bin = (judgement.confidence * CALIBRATION_BINS as f64) as usize;
        gaps[bin.min(CALIBRATION_BINS - 1)] +=
            f64::from(u8::from(judgement.is_correct)) - judgement.confidence;
    }
    gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / judgements.len() as f64
}

#[cfg(test)]
mod tests;
