//! `hasher batch`: classify many images under the same anchors, and check the receipt.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use hasher_client::RemoteEngine;
use hasher_model::{
    Batch, BatchReceipt, DirectAnchors, Ensemble, Level, Mode, Model, Options, Outcome,
    PredictError, predict_batch, verify_batch,
};
use hasher_train::data::{ImageRow, Labels, Part, digit_rows, digits, image_codes};
use hasher_work::to_hex;
use serde::Serialize;

use super::Context;
use crate::anchors::{Account, DeviceAnchors};
use crate::computed_by::{Computer, who};
use crate::daemon::{self, Devices};
use crate::data::{Source, read_rows};
use crate::demands::Demands;
use crate::error::{CliError, Exit, chain};
use crate::evaluation::percent;
use crate::files::{self, Existing};
use crate::inference::{ANCHOR_DEADLINE, ModeName, expected_hashes, lowered};
use crate::parse::{self, RequestNonce};
use crate::table::{grouped, hashes_in_words, seconds};
use crate::{model_file, progress};

/// Classify many images with one receipt
///
/// All answers rest on the same anchors, one a pass or a single one, which commit to the
/// model and to every image: the hash work is done once, however many images there are.
/// `hasher verify` checks the receipt.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher batch --model digits.hsh --data digits --receipt all.hrb
  hasher batch --model digits.hsh --data my.csv --mode work --receipt my.hrb
  hasher verify my.hrb --model digits.hsh --csv my.csv --passes 21")]
pub struct BatchArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// `digits` for their test part, or a CSV file with one image a row
    #[arg(long, value_name = "DATA", value_parser = Source::parse)]
    data: Source,
    /// Passes to average, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = parse::passes)]
    passes: u16,
    /// Where the dither comes from
    #[arg(long, value_name = "MODE", default_value = "direct")]
    mode: ModeName,
    /// One anchor for all (0), or one a pass (1)
    #[arg(long, value_name = "LEVEL", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(0..=1))]
    level: u8,
    /// Zero bits of each anchor in work mode, 8 to 32 [default: the device's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=32))]
    zero_bits: Option<u32>,
    /// The requester's 16 bytes in hexadecimal, or `random`
    #[arg(long, value_name = "HEX16", default_value = "random", value_parser = RequestNonce::parse)]
    nonce: RequestNonce,
    /// Write a receipt that `hasher verify` can check
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Replace an existing receipt
    #[arg(long, requires = "receipt")]
    force: bool,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    request_nonce: String,
    level: u8,
    mode: &'static str,
    passes: u16,
    /// Anchors of the whole batch.
    anchors: usize,
    zero_bits_demanded: u32,
    /// Hashes that they cost on average; 0 in direct mode.
    expected_hashes: f64,
    works: u64,
    computed_by: Vec<Computer>,
    /// Right answers among the images that say what they are.
    labelled: usize,
    right: usize,
    answers: Vec<AnswerLine>,
    receipt: Option<String>,
    seconds: f64,
}

/// One answer.
#[derive(Serialize)]
struct AnswerLine {
    label: Option<u8>,
    prediction: usize,
    confidence: f64,
    agreement: f64,
}

impl AnswerLine {
    fn new(label: Option<u8>, ensemble: &Ensemble) -> Self {
        Self {
            label,
            prediction: ensemble.prediction(),
            confidence: ensemble.confidence(),
            agreement: ensemble.agreement(),
        }
    }
}

/// Classifies all images and prints what they are.
///
/// # Errors
/// Bad model, images or daemon; wrong usage.
pub fn run(args: &BatchArgs, context: &Context) -> Result<Exit, CliError> {
    args.mode.check_zero_bits(args.zero_bits)?;
    let existing = Existing::when_forced(args.force);
    if let Some(path) = &args.receipt {
        files::check_target(path, "receipt", existing)?;
    }
    let model = model_file::load(&args.model)?;
    let images = images(&args.data)?;
    let nonce = args.nonce.bytes()?;
    let inputs = images
        .iter()
        .map(|image| image_codes(&image.pixels).to_vec());
    let batch = Batch::new(nonce, inputs);
    let mut options = Options {
        passes: args.passes,
        level: Level::from_number(args.level).unwrap_or(Level::Pass),
        mode: Mode::Direct,
        early_stop: false,
    };
    let begin = Instant::now();
    let (outcomes, account) = match args.mode {
        ModeName::Direct => {
            let outcomes = predict_batch(&model, &batch, options, &mut DirectAnchors);
            (
                outcomes.map_err(|error| failed(&error))?,
                Account::default(),
            )
        }
        ModeName::Work => by_work(args, &model, &batch, &mut options, context)?,
    };
    let elapsed = begin.elapsed().as_secs_f64();
    let receipt = BatchReceipt::new(&model, &batch, &options, &outcomes);
    if let Some(path) = &args.receipt {
        files::write(path, "receipt", &receipt.to_bytes(), existing)?;
    }
    let lines = images.iter().zip(&outcomes);
    let answers: Vec<AnswerLine> = lines
        .map(|(image, outcome)| AnswerLine::new(image.label, &outcome.ensemble))
        .collect();
    let is_right = |line: &&AnswerLine| line.label.map(usize::from) == Some(line.prediction);
    let report = Report {
        schema: "hasher.batch/1",
        model_id: model.id().to_string(),
        request_nonce: to_hex(&nonce),
        level: args.level,
        mode: match options.mode {
            Mode::Direct => "direct",
            Mode::Work { .. } => "work",
        },
        passes: args.passes,
        anchors: receipt.anchors().len(),
        zero_bits_demanded: options.mode.zero_bits(),
        expected_hashes: expected_hashes(options.mode, receipt.anchors().len()),
        works: account.works,
        computed_by: account.by.iter().map(Computer::from).collect(),
        labelled: answers.iter().filter(|line| line.label.is_some()).count(),
        right: answers.iter().filter(is_right).count(),
        answers,
        receipt: args.receipt.as_ref().map(|path| path.display().to_string()),
        seconds: elapsed,
    };
    context.output.report(&report)?;
    for line in text(&report, args, &account) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn images(source: &Source) -> Result<Vec<ImageRow>, CliError> {
    match source {
        Source::Digits => {
            let rows = digit_rows();
            Ok(digits()
                .part(Part::Test)
                .iter()
                .map(|at| rows[*at])
                .collect())
        }
        Source::File(path) => read_rows(path, Labels::Optional),
    }
}

/// The outcomes, and who worked for their anchors. Sets the mode that was used.
fn by_work(
    args: &BatchArgs,
    model: &Model,
    batch: &Batch,
    options: &mut Options,
    context: &Context,
) -> Result<(Vec<Outcome>, Account), CliError> {
    let client = daemon::connect(context.socket.as_deref(), Some(ANCHOR_DEADLINE))?;
    let devices = Devices::wait(&client)?;
    let zero_bits = devices.zero_bits(args.zero_bits)?;
    options.mode = Mode::Work { zero_bits };
    let anchors = match options.level {
        Level::Request => 1,
        _ => u64::from(options.passes),
    };
    let bar = progress::bar(&context.output, anchors, "hash work");
    let engine = RemoteEngine::new(client);
    let mut source = DeviceAnchors::new(&engine, devices.pace(), &bar);
    let outcomes =
        predict_batch(model, batch, *options, &mut source).map_err(|error| match error {
            PredictError::Source(error) => error,
            other => failed(&other),
        })?;
    Ok((outcomes, source.account))
}

fn failed(error: &impl std::error::Error) -> CliError {
    CliError::failed(format!("cannot answer the batch: {}", chain(error)))
        .hint("the model must be a classifier of 8x8 images; cut a long file into parts")
}

fn text(report: &Report, args: &BatchArgs, account: &Account) -> Vec<String> {
    let mut text = vec![format!(
        "answers     {}, in {}",
        grouped(report.answers.len() as u64),
        seconds(report.seconds)
    )];
    if report.labelled > 0 {
        text.push(format!(
            "right       {} of {} with a label, {}",
            report.right,
            report.labelled,
            percent(report.right as f64 / report.labelled as f64)
        ));
    }
    if report.zero_bits_demanded == 0 {
        text.push(format!(
            "anchors     {} for all, plain hashes, no work behind them (direct mode)",
            report.anchors
        ));
    } else {
        text.push(format!(
            "anchors     {} for all with at least {} zero bits: {} on average",
            report.anchors,
            report.zero_bits_demanded,
            hashes_in_words(report.expected_hashes)
        ));
        text.push(format!(
            "found by    {}, {} works",
            who(&account.by),
            grouped(report.works)
        ));
        if report.zero_bits_demanded < hasher_model::ZERO_BITS_MAX {
            text.push(format!(
                "            {}",
                lowered(report.zero_bits_demanded)
            ));
        }
    }
    if let Some(path) = &args.receipt {
        text.push(format!("receipt     {}", path.display()));
        text.push(format!(
            "            check it with `hasher verify {} --model {}`",
            path.display(),
            args.model.display()
        ));
    }
    text
}

/// What the verified receipt of a batch shows.
#[derive(Serialize)]
struct VerifyReport {
    schema: &'static str,
    verified: bool,
    reason: Option<String>,
    min_zero_bits: u32,
    /// Null when it was refused.
    verdict: Option<VerifiedBatch>,
}

#[derive(Serialize)]
struct VerifiedBatch {
    model_id: String,
    request_nonce: String,
    level: u8,
    passes: u16,
    worked: bool,
    anchors: usize,
    zero_bits_min: u32,
    expected_hashes: f64,
    answers: Vec<AnswerLine>,
}

/// Checks the receipt of a batch. `images`, if given, must be all images of it in order.
///
/// # Errors
/// Without `--json` the refusal.
pub fn verify(
    bytes: &[u8],
    path: &Path,
    model: &Model,
    demands: &Demands,
    images: Option<&[ImageRow]>,
    context: &Context,
) -> Result<Exit, CliError> {
    let report = |reason: Option<String>, verdict| VerifyReport {
        schema: "hasher.verify-batch/1",
        verified: reason.is_none(),
        reason,
        min_zero_bits: demands.min_zero_bits,
        verdict,
    };
    match checked(bytes, model, demands, images) {
        Ok(verdict) => {
            let head = context.output.style.good("verified");
            context.output.line(format!(
                "{head}  the receipt holds: {} answers computed again, the same bit for bit",
                grouped(verdict.answers.len() as u64)
            ))?;
            context
                .output
                .line(format!("model     {}", verdict.model_id))?;
            context
                .output
                .line(format!("nonce     {}", verdict.request_nonce))?;
            context.output.line(format!(
                "anchors   {} for all, {}",
                verdict.anchors,
                if verdict.worked {
                    format!(
                        "at least {} zero bits: {} on average",
                        verdict.zero_bits_min,
                        hashes_in_words(verdict.expected_hashes)
                    )
                } else {
                    "plain hashes without work (direct mode)".to_owned()
                }
            ))?;
            context.output.line(match images {
                Some(_) => "images    as demanded",
                None => "images    not compared: give --csv",
            })?;
            context.output.report(&report(None, Some(verdict)))?;
            Ok(Exit::Done)
        }
        Err(reason) if context.output.is_json() => {
            context.output.report(&report(Some(reason), None))?;
            Ok(Exit::Failed)
        }
        Err(reason) => Err(CliError::failed(format!(
            "receipt {} is refused: {reason}",
            path.display()
        ))
        .hint("do not rely on its answers; ask for a new receipt")),
    }
}

fn checked(
    bytes: &[u8],
    model: &Model,
    demands: &Demands,
    images: Option<&[ImageRow]>,
) -> Result<VerifiedBatch, String> {
    let receipt = BatchReceipt::from_bytes(bytes).map_err(|error| chain(&error))?;
    let batch = receipt.batch();
    if demands.nonce.is_some_and(|nonce| nonce != *batch.nonce()) {
        return Err(format!(
            "it answers request nonce {}",
            to_hex(batch.nonce())
        ));
    }
    if demands
        .passes
        .is_some_and(|passes| passes != receipt.passes())
    {
        return Err(format!("it has {} passes", receipt.passes()));
    }
    if demands.level.is_some_and(|level| level != receipt.level()) {
        return Err(format!(
            "its anchors are of level {}",
            receipt.level().number()
        ));
    }
    let requests = batch.requests();
    if let Some(images) = images {
        if images.len() != requests.len() {
            return Err(format!(
                "it is about {} images, not {}",
                requests.len(),
                images.len()
            ));
        }
        let mut pairs = images.iter().zip(requests);
        let differs = |(image, request): (&ImageRow, &hasher_model::Request)| {
            image_codes(&image.pixels) != request.input()
        };
        if let Some(at) = pairs.position(differs) {
            return Err(format!("image {at} (from 0) is another one"));
        }
    }
    let report =
        verify_batch(&receipt, model, demands.min_zero_bits).map_err(|refusal| chain(&refusal))?;
    let label = |at: usize| images.and_then(|images| images[at].label);
    let outcomes = report.outcomes.iter().enumerate();
    Ok(VerifiedBatch {
        model_id: receipt.model().to_string(),
        request_nonce: to_hex(batch.nonce()),
        level: receipt.level().number(),
        passes: receipt.passes(),
        worked: report.anchors.worked,
        anchors: receipt.anchors().len(),
        zero_bits_min: report.anchors.zero_bits_min(),
        expected_hashes: report.anchors.expected_hashes(),
        answers: outcomes
            .map(|(at, outcome)| AnswerLine::new(label(at), &outcome.ensemble))
            .collect(),
    })
}
