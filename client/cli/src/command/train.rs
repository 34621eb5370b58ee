//! `hasher train`: learn seeds from examples.

mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use hasher_train::data::{Dataset, Part};
use hasher_train::{EvalOptions, Kinds, TrainConfig, Trainer, evaluate};

use self::report::Run;
use super::Context;
use crate::data::Source;
use crate::error::{CliError, Exit};
use crate::evaluation::{PASSES, Row};
use crate::files::{self, Existing};
use crate::interrupt::Interrupt;
use crate::threads;
use crate::training::{self, Trained, failed};

/// Train a classifier whose weights are 32-byte seeds
///
/// Learns from 8x8 images on this computer's CPU; no daemon and no device takes
/// part. The same data, options and --rng-seed give the same model, byte for
/// byte, whatever the number of threads.
///
/// Ctrl-C saves a checkpoint and says how to go on; a second Ctrl-C ends at once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  The digits that ship with Hasher, the configuration of the README:
    hasher train --data digits --out digits.hsh
  The README's figures: three initialisations, accuracy by passes:
    hasher train --data digits --runs 3
  Own images (64 pixels 0 to 16 and a label a row), resumable:
    hasher train --data my.csv --out my.hsh --checkpoint my.ckpt
    hasher train --data my.csv --out my.hsh --resume my.ckpt")]
pub struct TrainArgs {
    /// `digits`, or a CSV file: 64 pixels 0 to 16 and a label 0 to 9 a row
    #[arg(long, value_name = "DATA", default_value = "digits", value_parser = Source::parse)]
    data: Source,
    /// Model file to write (of the first initialisation, with --runs)
    #[arg(long, value_name = "FILE", required_unless_present = "runs")]
    out: Option<PathBuf>,
    /// Replace an existing model file
    #[arg(long, requires = "out")]
    force: bool,
    /// Optimiser steps [default: 800]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(hasher_train::STEPS_MAX)))]
    steps: Option<u32>,
    /// Examples a step [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(hasher_train::BATCH_MAX)))]
    batch: Option<u32>,
    /// How seeds hold weights: hb32, hb16, hb8, kron, bin, tern, nib or vec8; other
    /// kinds for single matrices after it, as in `hb32,head=hb8` [default: hb32]
    #[arg(long, value_name = "KINDS")]
    kind: Option<Kinds>,
    /// Start of every random choice [default: 1]
    #[arg(long, value_name = "N")]
    rng_seed: Option<u64>,
    /// Per cent of a CSV file's rows kept for the test, 0 to 99
    #[arg(long, value_name = "N", default_value_t = 25,
        value_parser = clap::value_parser!(u8).range(0..=99))]
    test_percent: u8,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads::parse)]
    threads: Option<usize>,
    /// Save the state of the run here, again and again
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    checkpoint: Option<PathBuf>,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 100, requires = "checkpoint",
        value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: u32,
    /// Go on from a checkpoint; its options count
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["steps", "batch", "kind", "rng_seed", "runs"])]
    resume: Option<PathBuf>,
    /// Train so many initialisations (rng seeds in a row) and print the mean
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: Option<u16>,
}

/// Trains once or several times, measures on the test part, writes the model.
///
/// # Errors
/// Bad data or files; [`Exit::Interrupted`] after Ctrl-C.
pub fn run(args: &TrainArgs, context: &Context) -> Result<Exit, CliError> {
    let existing = if args.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    if let Some(out) = &args.out {
        files::check_target(out, "model file", existing)?;
    }
    if let Some(checkpoint) = &args.checkpoint {
        files::check_target(checkpoint, "checkpoint", Existing::Replace)?;
    }
    let config = config(args);
    let data = args.data.dataset(args.test_percent)?;
    let mut job = Job {
        args,
        context,
        data: &data,
        interrupt: Interrupt::install()?,
        runs: Vec::new(),
    };
    let (first, config) = job.train_all(config)?;
    if let Some(out) = &args.out {
        files::write(out, "model file", &first.model.to_bytes(), existing)?;
    }
    let out = args.out.as_deref();
    let report = report::report(&args.data, out, &data, &config, &first, job.runs);
    context.output.report(&report)?;
    for line in report::text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn config(args: &TrainArgs) -> TrainConfig {
    let default = TrainConfig::default();
    TrainConfig {
        steps: args.steps.unwrap_or(default.steps),
        batch: args.batch.unwrap_or(default.batch),
        kinds: args.kind.unwrap_or(default.kinds),
        rng_seed: args.rng_seed.unwrap_or(default.rng_seed),
        ..default
    }
}

/// Everything that one call of the command works with.
struct Job<'a> {
    args: &'a TrainArgs,
    context: &'a Context,
    data: &'a Dataset,
    interrupt: Interrupt,
    runs: Vec<Run>,
}

impl<'a> Job<'a> {
    /// All runs; the first one's result, and the configuration that counted.
    fn train_all(&mut self, config: TrainConfig) -> Result<(Trained, TrainConfig), CliError> {
        let first = self.trainer(config)?;
        let config = first.config().clone();
        let trained = self.train_one(first)?;
        for run in 1..u64::from(self.args.runs.unwrap_or(1)) {
            let rng_seed = config.rng_seed.wrapping_add(run);
            let next = self.trainer(TrainConfig {
                rng_seed,
                ..config.clone()
            })?;
            self.train_one(next)?;
        }
        Ok((trained, config))
    }

    fn trainer(&self, config: TrainConfig) -> Result<Trainer<'a>, CliError> {
        let mut trainer = match &self.args.resume {
            None => Trainer::new(config, self.data).map_err(|error| failed(&error))?,
            Some(path) => {
                let hint = "a checkpoint is written by --checkpoint, or by Ctrl-C";
                let bytes = files::read(path, "checkpoint", hint)?;
                Trainer::resume(&bytes, self.data).map_err(|error| {
                    let reason = failed(&error).message;
                    CliError::failed(format!("cannot use {}: {reason}", path.display()))
                        .hint("give the same --data and --test-percent as before, or train anew")
                })?
            }
        };
        trainer.set_threads(threads::or_all(self.args.threads));
        Ok(trainer)
    }

    fn train_one(&mut self, mut trainer: Trainer<'_>) -> Result<Trained, CliError> {
        let rng_seed = trainer.config().rng_seed;
        let label = match self.args.runs {
            Some(runs) => format!("run {} of {runs}", self.runs.len() + 1),
            None => "training".to_owned(),
        };
        let output = &self.context.output;
        let trained = training::train(&mut trainer, output, &label, |trainer| {
            if self.interrupt.is_asked() {
                return Ok(ControlFlow::Break(()));
            }
            if let Some(path) = &self.args.checkpoint
                && trainer
                    .steps_done()
                    .is_multiple_of(self.args.checkpoint_every)
            {
                save(path, trainer)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let Some(trained) = trained else {
            return Err(self.interrupted(&trainer));
        };
        let test = self.measure(&trained)?;
        self.runs.push(Run {
            rng_seed,
            model_id: trained.model.id().to_string(),
            loss: trained.loss,
            train_accuracy: trained.accuracy,
            seconds: trained.elapsed.as_secs_f64(),
            test,
        });
        Ok(trained)
    }

    fn measure(&self, trained: &Trained) -> Result<Vec<Row>, CliError> {
        if self.data.part(Part::Test).is_empty() {
            return Ok(Vec::new());
        }
        let waiting = crate::progress::spinner(&self.context.output, "testing");
        waiting.say("the exact integer model on the test part");
        let options = EvalOptions {
            passes: &PASSES,
            skip: 0,
            threads: threads::or_all(self.args.threads),
        };
        let rows = evaluate(&trained.model, self.data, Part::Test, options)
            .map_err(|error| failed(&error))?;
        Ok(rows.rows.iter().map(Row::from).collect())
    }

    /// Saves what is there and says how to go on.
    fn interrupted(&self, trainer: &Trainer<'_>) -> CliError {
        let done = trainer.steps_done();
        let stopped = |rest: &str| {
            CliError::new(
                Exit::Interrupted,
                format!(
                    "interrupted at step {done} of {}{rest}",
                    trainer.config().steps
                ),
            )
        };
        let Some(path) = self.checkpoint_path() else {
            return stopped("; nothing was saved (--runs keeps no checkpoint)");
        };
        if let Err(error) = save(&path, trainer) {
            return error;
        }
        let out = self.args.out.as_deref().unwrap_or(Path::new("model.hsh"));
        let data = match &self.args.data {
            Source::Digits => Source::Digits.to_string(),
            file => format!("{file} --test-percent {}", self.args.test_percent),
        };
        stopped("").hint(format!(
            "saved; go on with `hasher train --data {data} --out {} --resume {}`",
            out.display(),
            path.display()
        ))
    }

    /// The file named for it, else the one the run came from, else one beside the
    /// model.
    fn checkpoint_path(&self) -> Option<PathBuf> {
        let given = self.args.checkpoint.clone();
        given.or_else(|| self.args.resume.clone()).or_else(|| {
            let out = self
                .args
                .out
                .as_ref()
                .filter(|_| self.args.runs.is_none())?;
            let mut path = out.clone().into_os_string();
            path.push(".checkpoint");
            Some(path.into())
        })
    }
}

fn save(path: &Path, trainer: &Trainer<'_>) -> Result<(), CliError> {
    files::write(path, "checkpoint", &trainer.checkpoint(), Existing::Replace)
}
