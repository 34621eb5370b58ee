//! `hasher eval`: how good a model is, and what it costs.

use std::path::{Path, PathBuf};

use clap::Args;
use hasher_data::{Loaded, TaskName};
use hasher_train::data::{Dataset, Part};
use hasher_train::{
    AbstentionPoint, CalibrationBin, EvalOptions, Evaluation, Footprint, abstention, calibration,
    evaluate, evaluate_jittered,
};
use serde::Serialize;

use super::Context;
use crate::chart::{Chart, Series};
use crate::error::{CliError, Exit};
use crate::evaluation::{PASSES, Row, percent, table};
use crate::examples::ExampleArgs;
use crate::files::{self, Existing};
use crate::table::{grouped, seconds};
use crate::training::failed;
use crate::{card, model_file, parse, progress, threads};

/// Measure a model: accuracy, calibration, agreement and bytes
///
/// Runs the exact integer model over the test part of the data it was trained on, or
/// over all rows of a CSV file of digits, and reports each number of passes, averaged
/// and by vote, and what stopping early would bring. Direct mode: no daemon
/// and no device takes part.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher eval --model digits.hsh
  hasher eval --model digits.hsh --passes 1,21
  hasher eval --model my.hsh --data unseen.csv
  hasher eval --model kjv.hsh --sliding --passes 1
  hasher eval --model digits.hsh --svg digits")]
pub struct EvalArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    examples: ExampleArgs,
    /// Judge every character of a text's test part once, with at least half a window
    /// before it, instead of 2000 whole windows
    #[arg(long)]
    sliding: bool,
    /// Write the reliability diagram and the abstention curve: NAME-reliability.svg and
    /// NAME-abstention.svg
    #[arg(long, value_name = "NAME")]
    svg: Option<PathBuf>,
    /// Also move each input code by one, up or down, with so many per cent probability in
    /// every pass: passes then differ in more than their dither
    #[arg(long, value_name = "PERCENT", conflicts_with = "sliding",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    jitter: Option<u8>,
    /// Numbers of passes to report, 1 to 255 each
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse::passes,
        default_values_t = PASSES)]
    passes: Vec<u16>,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads::parse)]
    threads: Option<usize>,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    data: String,
    examples: usize,
    rows: Vec<Row>,
    early_stop: EarlyStop,
    /// Bins of confidence, and what remains above each confidence, at the largest
    /// number of passes.
    reliability: Vec<Bin>,
    abstention: Vec<Point>,
    seed_bytes: usize,
    float32_bytes: usize,
    /// Anchors and oracle digests of all examples at the largest number of passes.
    anchors: u64,
    oracle_digests: u64,
    seconds: f64,
}

/// What stopping three votes ahead would bring.
#[derive(Serialize)]
struct EarlyStop {
    mean_passes: f64,
    accuracy: f64,
}

/// Answers of one range of confidence.
#[derive(Serialize)]
struct Bin {
    from: f64,
    count: usize,
    mean_confidence: f64,
    accuracy: f64,
}

impl From<&CalibrationBin> for Bin {
    fn from(bin: &CalibrationBin) -> Self {
        Self {
            from: bin.from,
            count: bin.count,
            mean_confidence: bin.mean_confidence,
            accuracy: bin.accuracy,
        }
    }
}

/// What remains above one confidence.
#[derive(Serialize)]
struct Point {
    threshold: f64,
    coverage: f64,
    accuracy: f64,
}

impl From<&AbstentionPoint> for Point {
    fn from(point: &AbstentionPoint) -> Self {
        Self {
            threshold: point.threshold,
            coverage: point.coverage,
            accuracy: point.accuracy,
        }
    }
}

/// Most numbers of passes in one list.
const LIST_MAX: usize = 32;

/// Measures and prints.
///
/// # Errors
/// A model or data that cannot be used.
pub fn run(args: &EvalArgs, context: &Context) -> Result<Exit, CliError> {
    if args.passes.len() > LIST_MAX {
        return Err(CliError::usage(format!(
            "--passes lists {} numbers, at most {LIST_MAX} are reported",
            args.passes.len()
        ))
        .hint("see `hasher eval --help`"));
    }
    let model = model_file::load(&args.model)?;
    let card = card::find(&args.model, &model)?;
    let examples = args.examples.or_card(card.as_ref())?;
    let source = examples.source()?;
    // All rows of a file of digits are for the test: none was set apart.
    let is_own_file = examples.task() == TaskName::Digits && source != "digits";
    let loaded = examples.load(if is_own_file {
        0
    } else {
        examples.test_percent
    })?;
    let sliding = if args.sliding {
        sliding(&loaded)?
    } else {
        None
    };
    let data = sliding.as_ref().unwrap_or(&loaded.data);
    let part = if is_own_file || args.sliding {
        Part::Train
    } else {
        Part::Test
    };
    let begin = std::time::Instant::now();
    let waiting = progress::spinner(&context.output, "measuring");
    waiting.say("the exact integer model");
    let options = EvalOptions {
        passes: &args.passes,
        skip: if args.sliding {
            data.positions() / 2
        } else {
            0
        },
        threads: threads::or_all(args.threads),
    };
    let evaluation = match args.jitter {
        None => evaluate(&model, data, part, options),
        Some(percent) => evaluate_jittered(&model, data, part, options, percent),
    }
    .map_err(|error| failed(&error).hint("name the --task and --data of the model's training"))?;
    drop(waiting);
    if let Some(name) = &args.svg {
        draw(name, &source, &evaluation)?;
    }
    let footprint = Footprint::of(&model);
    let report = Report {
        schema: "hasher.eval/1",
        model_id: model.id().to_string(),
        data: source,
        examples: evaluation.examples,
        rows: evaluation.rows.iter().map(Row::from).collect(),
        early_stop: EarlyStop {
            mean_passes: evaluation.early_stop.mean_passes,
            accuracy: evaluation.early_stop.accuracy,
        },
        reliability: calibration(&evaluation.judgements)
            .iter()
            .map(Bin::from)
            .collect(),
        abstention: abstention(&evaluation.judgements)
            .iter()
            .map(Point::from)
            .collect(),
        seed_bytes: footprint.seed_bytes,
        float32_bytes: footprint.float32_bytes,
        anchors: evaluation.anchors,
        oracle_digests: evaluation.oracle.digests,
        seconds: begin.elapsed().as_secs_f64(),
    };
    context.output.report(&report)?;
    for line in text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn sliding(loaded: &Loaded) -> Result<Option<Dataset>, CliError> {
    let windows = loaded.sliding().ok_or_else(|| {
        CliError::usage("--sliding is for a running text").hint("leave --sliding out")
    })?;
    Ok(Some(windows))
}

/// Writes the two pictures.
fn draw(name: &Path, source: &str, evaluation: &Evaluation) -> Result<(), CliError> {
    let judgements = &evaluation.judgements;
    let bins = calibration(judgements);
    let filled = bins.iter().filter(|bin| bin.count > 0);
    let reliability = Chart {
        title: format!("Reliability: {source}"),
        x: "confidence".to_owned(),
        y: "share of right answers".to_owned(),
        series: vec![Series {
            name: format!("{} answers", judgements.len()),
            points: filled
                .map(|bin| (bin.mean_confidence, bin.accuracy))
                .collect(),
        }],
        has_diagonal: true,
    };
    let mut points: Vec<(f64, f64)> = abstention(judgements)
        .iter()
        .map(|point| (point.coverage, point.accuracy))
        .collect();
    points.reverse();
    let curve = Chart {
        title: format!("Abstention: {source}"),
        x: "share of answers given, the surest first".to_owned(),
        y: "share of given answers that is right".to_owned(),
        series: vec![Series {
            name: format!("{} answers", judgements.len()),
            points,
        }],
        has_diagonal: false,
    };
    for (ending, chart) in [("reliability", reliability), ("abstention", curve)] {
        let mut path = name.as_os_str().to_owned();
        path.push(format!("-{ending}.svg"));
        files::write(
            path.as_ref(),
            "diagram",
            chart.svg().as_bytes(),
            Existing::Replace,
        )?;
    }
    Ok(())
}

fn text(report: &Report) -> Vec<String> {
    let mut text = vec![
        format!("model    {}", report.model_id),
        format!(
            "data     {}, {} examples",
            report.data,
            grouped(report.examples as u64)
        ),
        String::new(),
    ];
    text.extend(table(&report.rows));
    text.push(format!(
        "stopping three votes ahead: {:.1} passes on average, {}",
        report.early_stop.mean_passes,
        percent(report.early_stop.accuracy)
    ));
    text.push(String::new());
    text.push(weights_line(report.seed_bytes, report.float32_bytes));
    text.push(format!(
        "hashes   {} anchors and {} digests of dither, all on this CPU, in {}",
        grouped(report.anchors),
        grouped(report.oracle_digests),
        seconds(report.seconds)
    ));
    text
}

/// Bytes of seeds against float32, in one line.
pub fn weights_line(seed_bytes: usize, float32_bytes: usize) -> String {
    format!(
        "weights  {} bytes of seeds, {:.1} % less than float32 ({} bytes)",
        grouped(seed_bytes as u64),
        100.0 * (1.0 - seed_bytes as f64 / float32_bytes.max(1) as f64),
        grouped(float32_bytes as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saving_is_told_in_per_cent() {
        assert_eq!(
            weights_line(4928, 274_216),
            "weights  4 928 bytes of seeds, 98.2 % less than float32 (274 216 bytes)"
        );
    }
}
