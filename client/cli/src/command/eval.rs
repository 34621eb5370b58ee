//! `hasher eval`: how good a model is, and what it costs.

use std::path::PathBuf;

use clap::Args;
use hasher_train::data::Part;
use hasher_train::{EvalOptions, Footprint, evaluate};
use serde::Serialize;

use super::Context;
use crate::data::Source;
use crate::error::{CliError, Exit};
use crate::evaluation::{PASSES, Row, table};
use crate::table::{grouped, seconds};
use crate::training::failed;
use crate::{model_file, parse, progress, threads};

/// Measure a model: accuracy, calibration, agreement and bytes
///
/// Runs the exact integer model over the test part of the digits, or over all
/// rows of a CSV file, and reports each number of passes. Direct mode: no daemon
/// and no device takes part.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher eval --model digits.hsh
  hasher eval --model digits.hsh --passes 1,21
  hasher eval --model my.hsh --data unseen.csv")]
pub struct EvalArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// `digits` (its test part), or a CSV file with labels (all its rows)
    #[arg(long, value_name = "DATA", default_value = "digits", value_parser = Source::parse)]
    data: Source,
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
    seed_bytes: usize,
    float32_bytes: usize,
    /// Anchors and oracle digests of all examples at the largest number of passes.
    anchors: u64,
    oracle_digests: u64,
    seconds: f64,
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
    // All rows of a file are for the test: none was set apart.
    let data = args.data.dataset(0)?;
    let part = match args.data {
        Source::Digits => Part::Test,
        Source::File(_) => Part::Train,
    };
    let begin = std::time::Instant::now();
    let waiting = progress::spinner(&context.output, "measuring");
    waiting.say("the exact integer model");
    let evaluation = evaluate(
        &model,
        &data,
        part,
        EvalOptions {
            passes: &args.passes,
            skip: 0,
            threads: threads::or_all(args.threads),
        },
    )
    .map_err(|error| {
        failed(&error)
            .hint("the model must be a classifier of 8x8 images, as `hasher train` makes it")
    })?;
    drop(waiting);
    let footprint = Footprint::of(&model);
    let report = Report {
        schema: "hasher.eval/1",
        model_id: model.id().to_string(),
        data: args.data.to_string(),
        examples: evaluation.examples,
        rows: evaluation.rows.iter().map(Row::from).collect(),
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

fn text(report: &Report) -> Vec<String> {
    let mut text = vec![
        format!("model    {}", report.model_id),
        format!(
            "data     {}, {} images",
            report.data,
            grouped(report.examples as u64)
        ),
        String::new(),
    ];
    text.extend(table(&report.rows));
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
