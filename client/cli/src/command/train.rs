//! `hasher train`: learn seeds from examples.

mod options;
mod patience;
mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use hasher_data::{Loaded, with_shifts};
use hasher_train::data::{Dataset, Part};
use hasher_train::{EvalOptions, Evaluation, TrainConfig, Trainer, evaluate, simulate};

use self::options::RunArgs;
use self::patience::Patience;
use self::report::Run;
use super::Context;
use crate::card::{self, Card};
use crate::chart::{Chart, Series};
use crate::error::{CliError, Exit};
use crate::evaluation::{PASSES, Row};
use crate::examples::{self, ExampleArgs};
use crate::files::{self, Existing};
use crate::interrupt::Interrupt;
use crate::threads;
use crate::training::{self, Trained, failed};

/// Train a transformer whose weights are 32-byte seeds
///
/// Learns digits, images, tables, texts or sequences on this computer's CPU; no
/// daemon and no device takes part. A card that says how inputs are prepared is
/// written beside the model. The same data, options and --rng-seed give the same model, byte for
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
  The character model of the King James text (Debian's package bible-kjv):
    hasher train --task text --data kjv --out kjv.hsh
  Fashion-MNIST (package dataset-fashion-mnist), a table, a toy translation:
    hasher train --task image --data fashion-mnist --kind hb16 --out f.hsh
    hasher train --task table --data wine.csv --label kind --out wine.hsh
    hasher train --task sequence --data digits-to-words --out words.hsh
  Digits once more, longer and with moved copies, for fewer errors:
    hasher train --data digits --shifts --steps 1600 --batch 128 --out digits.hsh
  Own images (64 pixels 0 to 16 and a label a row), resumable:
    hasher train --data my.csv --out my.hsh --checkpoint my.ckpt
    hasher train --data my.csv --out my.hsh --resume my.ckpt")]
pub struct TrainArgs {
    #[command(flatten)]
    examples: ExampleArgs,
    /// Model file to write (of the first initialisation, with --runs)
    #[arg(long, value_name = "FILE", required_unless_present_any = ["runs", "float"])]
    out: Option<PathBuf>,
    /// Replace an existing model file
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
    /// Train on four more copies of every image, moved by half a pixel in each direction
    /// (tasks digits and image)
    #[arg(long)]
    shifts: bool,
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
    /// Begin with the weights of this model; its sizes and kinds count
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["resume", "runs", "kind", "width", "hidden", "layers", "heads", "code_bits", "dither_bits", "float"])]
    init: Option<PathBuf>,
    /// Keep a tenth of the training part back, measure on it every 50 steps, and stop
    /// when that has not become better N times in a row; the best model counts
    #[arg(long, value_name = "N", conflicts_with_all = ["checkpoint", "resume"],
        value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Draw the learning curve of the first run into an SVG file
    #[arg(long, value_name = "FILE")]
    curve: Option<PathBuf>,
    /// Train so many initialisations (rng seeds in a row) and print the mean
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: Option<u16>,
}

/// Trains once or several times, measures on the test part, writes the model.
///
/// # Errors
/// Bad data or files; [`Exit::Interrupted`] after Ctrl-C.
pub fn run(args: &TrainArgs, context: &Context) -> Result<Exit, CliError> {
    let existing = Existing::when_forced(args.force);
    if let Some(out) = &args.out {
        files::check_target(out, "model file", existing)?;
    }
    if let Some(checkpoint) = &args.checkpoint {
        files::check_target(checkpoint, "checkpoint", Existing::Replace)?;
    }
    if let Some(curve) = &args.curve {
        files::check_target(curve, "learning curve", Existing::Replace)?;
    }
    let config = args.run.config(args.examples.task());
    let loaded = args.examples.load(args.examples.test_percent)?;
    let patience = args
        .patience
        .map(|limit| Patience::new(limit, &loaded.data));
    let patience = patience.transpose()?;
    let mut data = patience.as_ref().map_or(&loaded.data, Patience::data);
    let shifted;
    if args.shifts {
        // What is kept back has no copies.
        shifted = with_shifts(data, &loaded.recipe).map_err(|error| examples::wrong(&error))?;
        data = &shifted;
    }
    let mut job = Job {
        args,
        context,
        test: &loaded.data,
        data,
        patience: patience.as_ref(),
        interrupt: Interrupt::install()?,
        runs: Vec::new(),
    };
    let (first, config) = job.train_all(config)?;
    let runs = job.runs;
    let source = args.examples.source()?;
    if let (Some(out), Some(model)) = (&args.out, &first.model) {
        files::write(out, "model file", &model.to_bytes(), existing)?;
        let card = card(&source, args, &loaded, &config, &runs[0]);
        // The model is new, so an older card describes another one.
        card::write(out, &card, Existing::Replace)?;
    }
    if let Some(path) = &args.curve {
        let svg = curve(&source, &first).svg();
        files::write(path, "learning curve", svg.as_bytes(), Existing::Replace)?;
    }
    let out = args.out.as_deref();
    let report = report::report(
        &source,
        out,
        &loaded,
        args.examples.task(),
        &config,
        &first,
        runs,
    );
    context.output.report(&report)?;
    for line in report::text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn card(source: &str, args: &TrainArgs, loaded: &Loaded, config: &TrainConfig, run: &Run) -> Card {
    Card {
        schema: card::SCHEMA.to_owned(),
        model_id: run.model_id.clone(),
        task: args.examples.task().name().to_owned(),
        data: source.to_owned(),
        recipe: loaded.recipe.clone(),
        training: card::Training {
            kinds: config.kinds.to_string(),
            steps: run.steps,
            batch: config.batch,
            rng_seed: config.rng_seed,
            data_fingerprint: loaded.data.fingerprint().to_hex(),
            shifts: args.shifts,
            seconds: run.seconds,
        },
        results: run.test.clone(),
    }
}

fn curve(source: &str, trained: &Trained) -> Chart {
    let points = |curve: &[(u32, f64)]| curve.iter().map(|(x, y)| (f64::from(*x), *y)).collect();
    let mut series = vec![Series {
        name: "training loss".to_owned(),
        points: points(&trained.curve),
    }];
    if !trained.kept_back.is_empty() {
        series.push(Series {
            name: "loss kept back".to_owned(),
            points: points(&trained.kept_back),
        });
    }
    Chart {
        title: format!("Learning curve: {source}"),
        x: "step".to_owned(),
        y: "mean loss of a label, nats".to_owned(),
        series,
        has_diagonal: false,
    }
}

/// Everything that one call of the command works with.
struct Job<'a> {
    args: &'a TrainArgs,
    context: &'a Context,
    /// What is trained on.
    data: &'a Dataset,
    /// What is tested on: the same without patience.
    test: &'a Dataset,
    patience: Option<&'a Patience>,
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
            None if self.args.init.is_some() => {
                let path = self.args.init.as_deref().unwrap_or(Path::new(""));
                let model = crate::model_file::load(path)?;
                Trainer::start_from(&model, config, self.data).map_err(|error| {
                    CliError::failed(format!(
                        "cannot train {} on: {}",
                        path.display(),
                        failed(&error).message
                    ))
                    .hint("name the --task and --data that the model is for")
                })?
            }
            None => Trainer::new(config, self.data).map_err(|error| failed(&error))?,
            Some(path) => {
                let hint = "a checkpoint is written by --checkpoint, or by Ctrl-C";
                let bytes = files::read(path, "checkpoint", hint)?;
                Trainer::resume(&bytes, self.data).map_err(|error| {
                    let reason = failed(&error).message;
                    CliError::failed(format!("cannot use {}: {reason}", path.display()))
                        .hint("give the same --data, --test-percent and --shifts as before, or train anew")
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
        let mut watch = self.patience.map(Patience::watch);
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
            match &mut watch {
                Some(watch) => watch.look(trainer, threads::or_all(self.args.threads)),
                None => Ok(ControlFlow::Continue(())),
            }
        })?;
        if self.interrupt.is_asked() && !trainer.is_finished() {
            return Err(self.interrupted(&trainer));
        }
        let mut trained = trained;
        if let Some(watch) = watch {
            watch.finish(&mut trained);
        }
        let test = self.measure(&trainer, &trained)?;
        let id = trained.model.as_ref().map(|model| model.id().to_string());
        self.runs.push(Run {
            rng_seed,
            model_id: id.unwrap_or_default(),
            steps: trained.steps,
            loss: trained.loss,
            train_accuracy: trained.accuracy,
            seconds: trained.elapsed.as_secs_f64(),
            early_stop: test.as_ref().map(|test| test.early_stop.into()),
            test: test
                .iter()
                .flat_map(|t| t.rows.iter().map(Row::from))
                .collect(),
        });
        Ok(trained)
    }

    fn measure(
        &self,
        trainer: &Trainer<'_>,
        trained: &Trained,
    ) -> Result<Option<Evaluation>, CliError> {
        if self.test.part(Part::Test).is_empty() {
            return Ok(None);
        }
        let waiting = crate::progress::spinner(&self.context.output, "testing");
        let options = EvalOptions {
            passes: &PASSES,
            skip: 0,
            threads: threads::or_all(self.args.threads),
        };
        let evaluation = match &trained.model {
            Some(model) => {
                waiting.say("the exact integer model on the test part");
                evaluate(model, self.test, Part::Test, options)
            }
            None => {
                waiting.say("the float network on the test part");
                simulate(trainer, self.test, Part::Test, options)
            }
        };
        evaluation.map(Some).map_err(|error| failed(&error))
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
        stopped("").hint(format!(
            "saved; go on with `hasher train {}{} --out {} --resume {}`",
            self.args.examples.words().unwrap_or_default(),
            if self.args.shifts { " --shifts" } else { "" },
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
