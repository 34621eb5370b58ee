//! How good a model is: accuracy, bits, calibration and cost by number of passes.
//!
//! Owns the measures. [`evaluate`] runs the exact integer inference of
//! `hasher-model` in direct mode, so its numbers are the same on every machine and
//! for any number of threads. [`simulate`] runs the float network of a training run
//! instead, for comparisons that have no model file. The command line calls both.

mod calibration;
mod jitter;
mod judge;
mod simulation;

use std::num::NonZero;
use std::thread;

use hasher_model::{
    Config, DirectAnchors, Model, Options, OracleCount, Outcome, PASSES_MAX, Request, SEED_BYTES,
    Task, predict,
};

pub use calibration::{AbstentionPoint, CalibrationBin, abstention, calibration};
pub use jitter::evaluate_jittered;
pub use judge::Judgement;
pub use simulation::simulate;

use self::calibration::calibration_error;
use self::judge::{Judged, judge};
use crate::config::TrainConfig;
use crate::data::{Dataset, Part};
use crate::dense::number_count;
use crate::error::TrainError;
use crate::shape::Shape;
use crate::trainer::THREADS_MAX;

/// What a model achieves with one number of passes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EvalRow {
    /// Passes averaged.
    pub passes: u16,
    /// Share of labels that were predicted.
    pub accuracy: f64,
    /// The same if the class that most passes put first is taken.
    pub vote_accuracy: f64,
    /// Mean −log2 of the label's probability: for a language model bits per
    /// character.
    pub label_bits: f64,
    /// Mean probability of the prediction.
    pub mean_confidence: f64,
    /// Expected calibration error: |accuracy − confidence| in 15 bins of
    /// confidence, weighted by their examples.
    pub calibration_error: f64,
    /// Mean share of passes that agree with the prediction.
    pub agreement: f64,
}

/// What an early stop achieves.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EarlyStopRow {
    /// Mean number of passes until one class was three votes ahead.
    pub mean_passes: f64,
    /// Share of labels that were predicted then.
    pub accuracy: f64,
}

/// The result of [`evaluate`] or [`simulate`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Examples evaluated.
    pub examples: usize,
    /// One row for each number of passes, as asked.
    pub rows: Vec<EvalRow>,
    /// What stopping early would have brought.
    pub early_stop: EarlyStopRow,
    /// Every label judged at the largest number of passes, in order.
    pub judgements: Vec<Judgement>,
    /// Oracle hashes of all examples at the largest number of passes; none for a
    /// simulation.
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
        let form = TrainConfig::default().form();
        Self {
            seed_bytes: model.seeds().len() * SEED_BYTES,
            float32_bytes: number_count(&Shape::new(model.config(), form)) * size_of::<f32>(),
        }
    }
}

/// What is to be evaluated, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalOptions<'a> {
    /// Numbers of passes to report, 1 to 255 each.
    pub passes: &'a [u16],
    /// Labels at the beginning of each example that are left out: a sliding window
    /// over a text judges each character once, with enough of the text before it.
    pub skip: usize,
    /// Threads to use at most.
    pub threads: usize,
}

/// Judgements of one example's outputs, and its hashes.
type JudgedExample = (Vec<Judged>, OracleCount);

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
    options: EvalOptions<'_>,
) -> Result<Evaluation, TrainError> {
    check_passes(options.passes)?;
    check_shape(model.config(), data)?;
    let classes = model.config().classes as usize;
    let most = most(options.passes);
    run_all(data.part(part), options, |example| {
        let outcome = run(model, data, example, most)?;
        let passes: Vec<&[i32]> = outcome.passes.iter().map(|pass| &pass.logits[..]).collect();
        let judged = judge_example(&passes, classes, data, example, options);
        Ok((judged, outcome.oracle))
    })
}

/// Judges every example with `judge_one`, in parallel, and takes the means.
fn run_all(
    examples: &[usize],
    options: EvalOptions<'_>,
    judge_one: impl Fn(usize) -> Result<JudgedExample, TrainError> + Sync,
) -> Result<Evaluation, TrainError> {
    if examples.is_empty() {
        return Err(TrainError::NoExamples);
    }
    let judge = |examples: &[usize]| -> Vec<Result<JudgedExample, TrainError>> {
        examples.iter().map(|example| judge_one(*example)).collect()
    };
    let threads = options.threads.clamp(1, THREADS_MAX).min(examples.len());
    let (own, others) = examples.split_at(examples.len().div_ceil(threads));
    let judged = thread::scope(|scope| {
        let share = NonZero::new(own.len()).map_or(1, NonZero::get);
        let workers: Vec<_> = others
            .chunks(share)
            .map(|group| scope.spawn(|| judge(group)))
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
    let judged: Vec<JudgedExample> = judged.into_iter().collect::<Result<_, _>>()?;
    summary(&judged, options.passes)
}

fn summary(judged: &[JudgedExample], passes: &[u16]) -> Result<Evaluation, TrainError> {
    let outputs: Vec<&Judged> = judged.iter().flat_map(|(outputs, _)| outputs).collect();
    if outputs.is_empty() {
        return Err(TrainError::NoExamples);
    }
    let column = |at: usize| -> Vec<Judgement> { outputs.iter().map(|o| o.after[at]).collect() };
    let most = most(passes);
    let last = passes.iter().position(|p| *p == most).unwrap_or(0);
    let sum = |count: fn(&OracleCount) -> u64| judged.iter().map(|(_, oracle)| count(oracle)).sum();
    let count = outputs.len() as f64;
    let stopped = |value: fn(&Judgement) -> f64| {
        outputs.iter().map(|o| value(&o.stopped)).sum::<f64>() / count
    };
    Ok(Evaluation {
        examples: judged.len(),
        rows: (0..passes.len())
            .map(|at| row(passes[at], &column(at)))
            .collect(),
        early_stop: EarlyStopRow {
            mean_passes: stopped(|j| f64::from(j.passes)),
            accuracy: stopped(|j| f64::from(u8::from(j.is_correct()))),
        },
        judgements: column(last),
        oracle: OracleCount {
            lanes: sum(|o| o.lanes),
            digests: sum(|o| o.digests),
        },
        anchors: judged.len() as u64 * u64::from(most),
    })
}

/// Judges the outputs of one example that count, from the logits of each pass (one
/// row of `classes` after the other).
fn judge_example(
    passes: &[&[i32]],
    classes: usize,
    data: &Dataset,
    example: usize,
    options: EvalOptions<'_>,
) -> Vec<Judged> {
    let labels = data.labels(example).iter().enumerate();
    labels
        .skip(options.skip)
        .filter(|(at, _)| data.is_scored(example, *at))
        .map(|(at, label)| {
            let row = |logits: &&'_ [i32]| -> Vec<i32> {
                logits[at * classes..(at + 1) * classes].to_vec()
            };
            let rows: Vec<Vec<i32>> = passes.iter().map(row).collect();
            let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
            judge(&rows, *label, options.passes)
        })
        .collect()
}

fn most(passes: &[u16]) -> u16 {
    passes.iter().copied().max().unwrap_or(1)
}

fn check_passes(passes: &[u16]) -> Result<(), TrainError> {
    let range = 1..=PASSES_MAX;
    let wrong = passes.iter().copied().find(|p| !range.contains(p));
    match wrong.or(passes.is_empty().then_some(0)) {
        Some(got) => Err(TrainError::Passes {
            most: PASSES_MAX,
            got,
        }),
        None => Ok(()),
    }
}

fn check_shape(config: &Config, data: &Dataset) -> Result<(), TrainError> {
    let shape =
        |task: Task, positions: usize, inputs: usize, fraction: u32, classes: usize| match task {
            Task::Classifier => format!(
                "{positions} × {inputs} codes with {fraction} fraction bits, {classes} classes"
            ),
            Task::LanguageModel => {
                format!("windows of {positions} tokens, {classes} tokens in the vocabulary")
            }
        };
    let (of_model, of_data) = (
        shape(
            config.task,
            config.positions as usize,
            config.inputs as usize,
            config.input_fraction,
            config.classes as usize,
        ),
        shape(
            data.task(),
            data.positions(),
            data.inputs(),
            data.input_fraction(),
            data.classes(),
        ),
    );
    if of_model == of_data {
        Ok(())
    } else {
        Err(TrainError::DataShape {
            model: of_model,
            data: of_data,
        })
    }
}

/// The request of example `example`: its codes, or its tokens.
fn request(data: &Dataset, example: usize) -> Request {
    let nonce = (example as u128).to_le_bytes();
    let codes = data.codes(example);
    match data.task() {
        Task::Classifier => Request::new(nonce, codes.to_vec()),
        Task::LanguageModel => {
            let tokens: Vec<u32> = codes.iter().map(|token| u32::from(*token)).collect();
            Request::of_tokens(nonce, &tokens)
        }
    }
}

fn run(model: &Model, data: &Dataset, example: usize, passes: u16) -> Result<Outcome, TrainError> {
    let options = Options {
        passes,
        ..Options::default()
    };
    let request = request(data, example);
    Ok(predict(model, &request, options, &mut DirectAnchors)?)
}

fn row(passes: u16, judgements: &[Judgement]) -> EvalRow {
    let count = judgements.len() as f64;
    let mean = |value: fn(&Judgement) -> f64| judgements.iter().map(value).sum::<f64>() / count;
    EvalRow {
        passes,
        accuracy: mean(|j| f64::from(u8::from(j.is_correct()))),
        vote_accuracy: mean(|j| f64::from(u8::from(j.is_vote_correct()))),
        label_bits: mean(|j| j.label_bits),
        mean_confidence: mean(|j| j.confidence),
        calibration_error: calibration_error(judgements),
        agreement: mean(|j| j.agreement),
    }
}

#[cfg(test)]
mod tests;
