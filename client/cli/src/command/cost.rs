//! `hasher cost`: what an answer backed by work costs, and what checking it costs.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use hasher_model::{
    DirectAnchors, Level, Mode, Model, Options, Request, Task, ZERO_BITS_MAX, predict,
};
use serde::Serialize;

use super::Context;
use crate::daemon::{self, Devices};
use crate::error::{CliError, Exit, chain};
use crate::inference::anchors_max;
use crate::table::{Align, grouped, hashes_in_words, lines, metric, seconds};
use crate::{model_file, parse};

/// Show what hash work behind an answer costs, by level
///
/// For each level: anchors, hashes and works that a device needs on average, seconds at
/// its rate, and the double digests of a verification, which computes the answer again.
/// The devices are those of the daemon; without one the nominal rate of an Antminer S3
/// stands in for them. The network itself is always this CPU's: its time is measured.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher cost --model digits.hsh
  hasher cost --model digits.hsh --passes 3 --zero-bits 24")]
pub struct CostArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Passes of an answer, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = parse::passes)]
    passes: u16,
    /// Zero bits of each anchor, 8 to 32
    #[arg(long, value_name = "N", default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(8..=32))]
    zero_bits: u32,
}

/// Nominal double hashes a second of an Antminer S3. Source: its vendor's data sheet,
/// 440 GH/s.
const S3_HPS: f64 = 440e9;
/// Nonces of a whole work.
const WORK_NONCES: f64 = 4_294_967_296.0;

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    passes: u16,
    zero_bits: u32,
    devices: Vec<Device>,
    levels: Vec<Row>,
    /// Of one inference on this CPU, measured now.
    inference_seconds: f64,
}

#[derive(Serialize)]
struct Device {
    id: String,
    kind: &'static str,
    /// Double hashes a second: of the last minute if it worked, else nominal.
    hash_rate_hps: f64,
    is_measured: bool,
    /// Leading zero bits below which it reports nothing: easier anchors cost it as much.
    filter_zero_bits: u32,
}

#[derive(Serialize)]
struct Row {
    level: u8,
    anchors: usize,
    /// Double hashes on average, as the anchors show.
    expected_hashes: f64,
    /// Works (whole nonce ranges) and seconds on average, by device as listed.
    works: Vec<f64>,
    seconds: Vec<f64>,
    /// Double digests that a verifier computes: anchors and dither.
    verification_digests: u64,
}

/// Computes the table.
///
/// # Errors
/// A model that cannot be used.
pub fn run(args: &CostArgs, context: &Context) -> Result<Exit, CliError> {
    let model = model_file::load(&args.model)?;
    let devices = devices(context);
    let begin = Instant::now();
    let dither = digests(&model, args.passes)?;
    let inference_seconds = begin.elapsed().as_secs_f64();
    let row = |level: Level| {
        let options = Options {
            passes: args.passes,
            level,
            mode: Mode::Work {
                zero_bits: args.zero_bits,
            },
            early_stop: false,
        };
        let anchors = anchors_max(&model, &options);
        let hashes = |zero_bits: u32| anchors as f64 * f64::from(zero_bits).exp2();
        let bits = |device: &Device| args.zero_bits.max(device.filter_zero_bits);
        let seconds = |device: &Device| hashes(bits(device)) / device.hash_rate_hps;
        Row {
            level: level.number(),
            anchors,
            expected_hashes: hashes(args.zero_bits),
            works: devices.iter().map(|d| works(anchors, bits(d))).collect(),
            seconds: devices.iter().map(seconds).collect(),
            verification_digests: anchors as u64 + dither,
        }
    };
    let report = Report {
        schema: "hasher.cost/1",
        model_id: model.id().to_string(),
        passes: args.passes,
        zero_bits: args.zero_bits,
        levels: [Level::Request, Level::Pass, Level::Layer].map(row).into(),
        devices,
        inference_seconds,
    };
    context.output.report(&report)?;
    for line in text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

/// Works that find so many anchors on average: one holds an answer with probability
/// 1 − exp(−2^32 / 2^bits).
fn works(anchors: usize, zero_bits: u32) -> f64 {
    let answers = WORK_NONCES / f64::from(zero_bits).exp2();
    anchors as f64 / -(-answers).exp_m1()
}

/// Double digests of the dither of one inference. Its number does not depend on the
/// input, only on its length: a text of full length is taken.
fn digests(model: &Model, passes: u16) -> Result<u64, CliError> {
    let config = model.config();
    let request = match config.task {
        Task::Classifier => Request::new([0; 16], vec![0; config.input_bytes_max()]),
        Task::LanguageModel => Request::of_tokens([0; 16], &vec![0; config.positions as usize]),
    };
    let options = Options {
        passes,
        ..Options::default()
    };
    let outcome = predict(model, &request, options, &mut DirectAnchors)
        .map_err(|error| CliError::failed(chain(&error)))?;
    Ok(outcome.oracle.digests)
}

/// The daemon's ready devices whose rate is known, or an S3.
fn devices(context: &Context) -> Vec<Device> {
    let asked = daemon::connect(context.socket.as_deref(), None)
        .and_then(|client| Ok(client.status()?))
        .and_then(|status| Devices::ready(&status));
    let known: Vec<Device> = match asked {
        Ok(devices) => devices.all().iter().filter_map(device).collect(),
        Err(_) => Vec::new(),
    };
    if !known.is_empty() {
        return known;
    }
    context
        .output
        .note("no device whose rate is known is attached: the nominal rate of an S3 is taken");
    vec![Device {
        id: "Antminer S3".to_owned(),
        kind: "none",
        hash_rate_hps: S3_HPS,
        is_measured: false,
        filter_zero_bits: ZERO_BITS_MAX,
    }]
}

fn device(report: &hasher_wire::DeviceReport) -> Option<Device> {
    let measured = report.hash_rate_hps.minute;
    let is_measured = measured > 0.0;
    let rate = if is_measured {
        measured
    } else {
        report.nominal_hash_rate_hps / report.slowdown.unwrap_or(1.0)
    };
    (rate > 0.0).then(|| Device {
        id: report.id.clone(),
        kind: report.kind.as_str(),
        hash_rate_hps: rate,
        is_measured,
        filter_zero_bits: report.filter_zero_bits,
    })
}

fn text(report: &Report) -> Vec<String> {
    let mut text: Vec<String> = vec![
        format!("model    {}", report.model_id),
        format!(
            "answer   {} passes, anchors of {} zero bits, {} each on average",
            report.passes,
            report.zero_bits,
            hashes_in_words(f64::from(report.zero_bits).exp2())
        ),
    ];
    for device in &report.devices {
        text.push(format!(
            "device   {} at {}, reports from {} zero bits, {}",
            device.id,
            metric(device.hash_rate_hps, "H/s"),
            device.filter_zero_bits,
            if device.is_measured {
                "measured over the last minute"
            } else {
                "nominal"
            }
        ));
    }
    text.push(String::new());
    let mut columns = vec![
        ("level", Align::Left),
        ("anchors", Align::Right),
        ("hashes", Align::Right),
    ];
    for device in &report.devices {
        columns.push(("works", Align::Right));
        columns.push((device.id.as_str(), Align::Right));
    }
    columns.push(("digests to verify", Align::Right));
    let rows: Vec<Vec<String>> = report
        .levels
        .iter()
        .map(|row| {
            let name = ["0, request", "1, pass", "2, pass and layer"];
            let mut cells = vec![
                name[usize::from(row.level)].to_owned(),
                row.anchors.to_string(),
                metric(row.expected_hashes, ""),
            ];
            for (works, time) in row.works.iter().zip(&row.seconds) {
                cells.extend([format!("{works:.1}"), seconds(*time)]);
            }
            cells.push(grouped(row.verification_digests));
            cells
        })
        .collect();
    text.extend(lines(&columns, &rows));
    text.push(String::new());
    text.push(
        "Levels 0 and 1 cost the same for a whole batch of answers (`hasher batch`).".to_owned(),
    );
    text.push(format!(
        "The network is this CPU's: {} for this answer, and again for a verification.",
        seconds(report.inference_seconds)
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_of_full_difficulty_answers_in_63_of_100_cases() {
        assert!((1.0 / works(1, 32) - 0.632).abs() < 0.001);
        // Far easier anchors need one work each.
        assert!((works(21, 16) - 21.0).abs() < 1e-6);
    }
}
