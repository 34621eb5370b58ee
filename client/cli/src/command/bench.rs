//! `hasher bench model`: float and seed models of the same shapes, trained in the same
//! run and put side by side.

mod encoding;
mod plan;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use hasher_data::{LoadOptions, Loaded, TaskName, load, with_shifts};
use hasher_train::data::{Dataset, Part};
use hasher_train::{EvalOptions, Evaluation, TrainConfig, Trainer, evaluate, simulate};
use serde::Serialize;

use self::plan::{Entry, Plan};
use super::Context;
use crate::chart::{Chart, Series};
use crate::error::{CliError, Exit};
use crate::evaluation::mean_and_deviation;
use crate::examples::wrong;
use crate::files::{self, Existing};
use crate::interrupt::Interrupt;
use crate::training::failed;
use crate::{progress, threads};

/// Numbers of passes of the table.
const PASSES: [u16; 3] = [1, 3, 21];

/// Measure models on this computer
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher bench model --quick
  hasher bench encoding")]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Model(ModelArgs),
    Encoding(encoding::EncodingArgs),
}

/// Train float32 and seed models of the same shapes and compare them
///
/// Prints a table as Markdown: accuracy, or bits per character, by passes; calibration
/// error; bytes; training seconds; microseconds and digests of a pass. Everything is
/// trained in this run on this computer's CPU.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher bench model --quick
  hasher bench model --markdown table.md --svg table.svg
  hasher bench model --long --markdown long.md")]
struct ModelArgs {
    /// Few steps of the digits; fails if the order of the models is not as expected
    #[arg(long, conflicts_with = "long")]
    quick: bool,
    /// Instead, wider models, mixed kinds, teachers and larger batches, on all test
    /// examples: hours
    #[arg(long)]
    long: bool,
    /// Only rows whose task and name contain this text, such as `digits hb32`
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Initialisations of each row [default: 3; 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: Option<u16>,
    /// Write the table here, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draw quality against bytes into an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads::parse)]
    threads: Option<usize>,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    machine: String,
    rows: Vec<Row>,
    seconds: f64,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    task: &'static str,
    name: String,
    steps: u32,
    batch: u32,
    runs: usize,
    /// Bytes of everything that was learned.
    bytes: usize,
    /// By passes; equal for models without dither.
    points: Vec<Point>,
    train_seconds: f64,
    /// Of one pass of the exact model over one example; null for float rows.
    pass_microseconds: Option<f64>,
    /// Double digests of one pass over one example.
    pass_digests: Option<f64>,
}

#[derive(Serialize, Clone, Copy)]
struct Point {
    passes: u16,
    accuracy: f64,
    accuracy_deviation: f64,
    label_bits: f64,
    label_bits_deviation: f64,
    calibration_error: f64,
}

/// Measures what is asked for.
///
/// # Errors
/// As the measurement says.
pub fn run(args: &BenchArgs, context: &Context) -> Result<Exit, CliError> {
    match &args.what {
        What::Model(args) => model(args, context),
        What::Encoding(args) => encoding::run(args, context),
    }
}

/// Trains, measures and compares. With --quick, models in another order than expected
/// are an error.
fn model(args: &ModelArgs, context: &Context) -> Result<Exit, CliError> {
    for path in [&args.markdown, &args.svg].into_iter().flatten() {
        files::check_target(path, "table", Existing::Replace)?;
    }
    let plan = match (args.quick, args.long) {
        (true, _) => Plan::quick(),
        (_, true) => Plan::long(),
        _ => Plan::table(),
    };
    let begin = Instant::now();
    let interrupt = Interrupt::install()?;
    let mut rows = Vec::new();
    let mut loaded: Option<(TaskName, Loaded)> = None;
    for entry in plan.entries {
        let is_wanted = args
            .only
            .as_ref()
            .is_none_or(|text| entry.title().contains(text.as_str()));
        if !is_wanted {
            continue;
        }
        if loaded.as_ref().is_none_or(|(task, _)| *task != entry.task) {
            loaded = examples(entry.task, context)?.map(|loaded| (entry.task, loaded));
        }
        let Some((_, loaded)) = &loaded else { continue };
        let runs = args.runs.unwrap_or(if args.quick { 1 } else { 3 });
        match measure(&entry, loaded, runs, args, context, &interrupt)? {
            Some(row) => rows.push(row),
            None => {
                return Err(CliError::new(
                    Exit::Interrupted,
                    "interrupted; no table was written",
                ));
            }
        }
    }
    if args.quick {
        check_order(&rows)?;
    }
    let report = Report {
        schema: "hasher.bench/1",
        machine: machine(),
        rows,
        seconds: begin.elapsed().as_secs_f64(),
    };
    let table = markdown(&report);
    if let Some(path) = &args.markdown {
        files::write(path, "table", table.as_bytes(), Existing::Replace)?;
    }
    if let Some(path) = &args.svg {
        files::write(
            path,
            "plot",
            plot(&report).svg().as_bytes(),
            Existing::Replace,
        )?;
    }
    context.output.report(&report)?;
    for line in table.lines() {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

/// The examples of a task; nothing when its package is not installed.
fn examples(task: TaskName, context: &Context) -> Result<Option<Loaded>, CliError> {
    let source = match task {
        TaskName::Text => "kjv",
        TaskName::Image => "fashion-mnist",
        TaskName::Crypto => "fragments",
        _ => "digits",
    };
    match load(task, source, &LoadOptions::default()) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(error) if error.hint.is_some() => {
            let hint = error.hint.clone().unwrap_or_default();
            context
                .output
                .note(format!("{source} is left out: {error}; {hint}"));
            Ok(None)
        }
        Err(error) => Err(CliError::failed(error.to_string())),
    }
}

/// All initialisations of one row; nothing after Ctrl-C.
fn measure(
    entry: &Entry,
    loaded: &Loaded,
    runs: u16,
    args: &ModelArgs,
    context: &Context,
    interrupt: &Interrupt,
) -> Result<Option<Row>, CliError> {
    let threads = threads::or_all(args.threads);
    let limited;
    let test = if args.long {
        &loaded.data
    } else {
        limited = with_fewer_tests(&loaded.data, entry.task)?;
        &limited
    };
    let shifted;
    let data = if entry.shifts {
        let more = with_shifts(&loaded.data, &loaded.recipe);
        shifted = more.map_err(|error| wrong(&error))?;
        &shifted
    } else {
        &loaded.data
    };
    let (mut points, mut bytes, mut seconds) = (Vec::new(), 0, 0.0);
    let (mut microseconds, mut digests) = (None, None);
    for run in 0..runs {
        let config = TrainConfig {
            rng_seed: u64::from(run) + 1,
            ..entry.config.clone()
        };
        let begin = Instant::now();
        let mut trainer = Trainer::new(config, data).map_err(|error| failed(&error))?;
        if let Some(share) = entry.teacher {
            let config = TrainConfig {
                rng_seed: trainer.config().rng_seed,
                ..entry.teacher_config()
            };
            let teacher = Trainer::new(config, data).map_err(|error| failed(&error))?;
            let name = format!("teacher of {}", entry.name);
            let Some(teacher) = trained(teacher, &name, threads, context, interrupt)? else {
                return Ok(None);
            };
            let refused = trainer.learn_from(teacher, share);
            refused.map_err(|error| failed(&error))?;
        }
        let Some(trainer) = trained(trainer, &entry.name, threads, context, interrupt)? else {
            return Ok(None);
        };
        seconds += begin.elapsed().as_secs_f64() / f64::from(runs);
        let options = EvalOptions {
            passes: &PASSES,
            skip: 0,
            threads,
        };
        let begin = Instant::now();
        let evaluation = if entry.is_exact() {
            let model = trainer.model().map_err(|error| failed(&error))?;
            bytes = model.weight_bytes();
            let evaluation = evaluate(&model, test, Part::Test, options);
            let evaluation = evaluation.map_err(|error| failed(&error))?;
            let passes = evaluation.examples as f64 * f64::from(PASSES[2]);
            let workers = threads.min(evaluation.examples) as f64;
            microseconds = Some(begin.elapsed().as_secs_f64() * 1e6 * workers / passes);
            digests = Some(evaluation.oracle.digests as f64 / passes);
            evaluation
        } else {
            bytes = entry.bytes(&trainer);
            simulate(&trainer, test, Part::Test, options).map_err(|error| failed(&error))?
        };
        points.push(points_of(&evaluation));
    }
    Ok(Some(Row {
        task: entry.task.name(),
        name: entry.name.clone(),
        steps: entry.config.steps,
        batch: entry.config.batch,
        runs: usize::from(runs),
        bytes,
        points: (0..PASSES.len()).map(|at| mean(&points, at)).collect(),
        train_seconds: seconds,
        pass_microseconds: microseconds,
        pass_digests: digests,
    }))
}

/// All steps of a run; nothing after Ctrl-C.
fn trained<'d>(
    mut trainer: Trainer<'d>,
    name: &str,
    threads: usize,
    context: &Context,
    interrupt: &Interrupt,
) -> Result<Option<Trainer<'d>>, CliError> {
    let bar = progress::bar(&context.output, u64::from(trainer.config().steps), name);
    trainer.set_threads(threads);
    while !trainer.is_finished() {
        let step = trainer.step().map_err(|error| failed(&error))?;
        bar.at(u64::from(step.step), format!("loss {:.3}", step.loss));
        if interrupt.is_asked() {
            return Ok(None);
        }
    }
    Ok(Some(trainer))
}

/// At most so many test examples but with --long: the standard error is a point at most,
/// and the whole part takes too long.
const TEST_MAX: usize = 2000;

/// The first images, as in the specification's table; of other tasks some of the whole
/// part.
fn with_fewer_tests(data: &Dataset, task: TaskName) -> Result<Dataset, CliError> {
    let test = data.part(Part::Test);
    let every = match task {
        TaskName::Image => 1,
        _ => test.len().div_ceil(TEST_MAX).max(1),
    };
    let some = test.iter().copied().step_by(every).take(TEST_MAX);
    data.with_test(some.collect())
        .map_err(|error| CliError::failed(error.to_string()))
}

/// One point for each number of passes; a model without dither has one for all.
fn points_of(evaluation: &Evaluation) -> Vec<Point> {
    PASSES
        .iter()
        .enumerate()
        .map(|(at, passes)| {
            let row = evaluation.rows.get(at).unwrap_or(&evaluation.rows[0]);
            Point {
                passes: *passes,
                accuracy: row.accuracy,
                accuracy_deviation: 0.0,
                label_bits: row.label_bits,
                label_bits_deviation: 0.0,
                calibration_error: row.calibration_error,
            }
        })
        .collect()
}

fn mean(runs: &[Vec<Point>], at: usize) -> Point {
    let of = |value: fn(&Point) -> f64| {
        let values: Vec<f64> = runs.iter().map(|points| value(&points[at])).collect();
        mean_and_deviation(&values)
    };
    let (accuracy, accuracy_deviation) = of(|p| p.accuracy);
    let (label_bits, label_bits_deviation) = of(|p| p.label_bits);
    Point {
        passes: PASSES[at],
        accuracy,
        accuracy_deviation,
        label_bits,
        label_bits_deviation,
        calibration_error: of(|p| p.calibration_error).0,
    }
}

/// What must hold of the quick table, whatever the machine.
fn check_order(rows: &[Row]) -> Result<(), CliError> {
    let accuracy = |name: &str| {
        let row = rows.iter().find(|row| row.name == name);
        row.map(|row| row.points[2].accuracy)
    };
    for (better, worse) in plan::EXPECTED_ORDER {
        if let (Some(high), Some(low)) = (accuracy(better), accuracy(worse))
            && high <= low
        {
            return Err(CliError::failed(format!(
                "{better} ({:.1} %) is no better than {worse} ({:.1} %)",
                high * 100.0,
                low * 100.0
            ))
            .hint("training or inference has changed: compare `cargo test -p hasher-train`"));
        }
    }
    Ok(())
}

fn markdown(report: &Report) -> String {
    let mut text = format!(
        "Measured in {:.0} s on {}.\n\n\
         | task | weights, activation | bytes | steps × batch | P = 1 | P = 3 | P = 21 | ECE P = 21 | \
         training, s | µs a pass | digests a pass |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        report.seconds, report.machine
    );
    for row in &report.rows {
        let quality = |point: &Point| match row.task {
            "text" => format!(
                "{:.3} ± {:.3}",
                point.label_bits, point.label_bits_deviation
            ),
            _ => format!(
                "{:.2} ± {:.2} %",
                point.accuracy * 100.0,
                point.accuracy_deviation * 100.0
            ),
        };
        let optional = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.0}"));
        text.push_str(&format!(
            "| {} | {} | {} | {} × {} | {} | {} | {} | {:.3} | {:.1} | {} | {} |\n",
            row.task,
            row.name,
            row.bytes,
            row.steps,
            row.batch,
            quality(&row.points[0]),
            quality(&row.points[1]),
            quality(&row.points[2]),
            row.points[2].calibration_error,
            row.train_seconds,
            optional(row.pass_microseconds),
            optional(row.pass_digests)
        ));
    }
    let runs = report.rows.first().map_or(0, |row| row.runs);
    text.push_str(&format!(
        "\nMean ± standard deviation of {runs} initialisations; accuracy, or bits per character \
         for text. µs: one thread, exact integer inference, dither included.\n"
    ));
    text
}

/// Bits a label against bytes.
fn plot(report: &Report) -> Chart {
    let mut series: Vec<Series> = Vec::new();
    for row in &report.rows {
        let point = ((row.bytes as f64).log2(), row.points[2].label_bits);
        match series.iter_mut().find(|series| series.name == row.task) {
            Some(series) => series.points.push(point),
            None => series.push(Series {
                name: row.task.to_owned(),
                points: vec![point],
            }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Chart {
        title: "Bits a label against bytes".to_owned(),
        x: "log2 of the bytes of everything that was learned".to_owned(),
        y: "mean bits a label costs, 21 passes".to_owned(),
        series,
        has_diagonal: false,
    }
}

/// Model of the processor, and how many there are.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unnamed processor", |(_, name)| name.trim());
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let build = if cfg!(debug_assertions) {
        ", development build"
    } else {
        ""
    };
    format!("{count} × {name}{build}")
}
