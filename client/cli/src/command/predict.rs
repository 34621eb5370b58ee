//! `hasher predict`: classify one image.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use hasher_data::Recipe;
use hasher_model::{Level, Mode, Model, Options, ZERO_BITS_MAX, ZERO_BITS_MIN};
use hasher_rules::{Decision, Reason, RuleSet, Verdict};
use hasher_train::data::{ImageRow, Labels, Part, digit_rows, digits, image_codes};
use hasher_work::to_hex;
use serde::Serialize;

use super::Context;
use crate::daemon::{self, Devices};
use crate::data::{ROW_HINT, read_rows, rows_of};
use crate::error::{CliError, Exit};
use crate::files::{self, Existing};
use crate::inference::{self, ANCHOR_DEADLINE, Answer, AnswerReport, ModeName};
use crate::parse::{self, RequestNonce};
use crate::table::wrapped;
use crate::{model_file, receipt_file, rule_file};

/// Classify one image, with or without hash work behind the answer
///
/// Shows the image, the answer and how sure the model is. In work mode the
/// daemon's devices find one anchor a pass first: a proof that hashes were spent
/// on this very question. The devices compute nothing of the network itself.
///
/// Rules then accept, flag or reject the answer; their thresholds were fixed on training
/// images (docs/rules.md).
///
/// The image is a row of the digits' test part (--index), or one row of 64 pixels
/// (0 to 16) from a CSV file or standard input.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher predict --model digits.hsh --index 7
  hasher predict --model digits.hsh --index 7 --mode work --receipt 7.hrc
  head -n 1 my.csv | hasher predict --model digits.hsh
  hasher --json predict --model digits.hsh --index 7 | jq .answer.prediction")]
pub struct PredictArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Image number in the test part of the digits, from 0
    #[arg(long, value_name = "N", conflicts_with = "csv")]
    index: Option<usize>,
    /// CSV file with one image
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Passes to average, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = parse::passes)]
    passes: u16,
    /// Where the dither comes from
    #[arg(long, value_name = "MODE", default_value = "direct")]
    mode: ModeName,
    /// One anchor per request (0), per pass (1), or per pass and layer (2)
    #[arg(long, value_name = "LEVEL", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(0..=2))]
    level: u8,
    /// Zero bits of each anchor in work mode, 8 to 32 [default: the device's own]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32)
            .range(i64::from(ZERO_BITS_MIN)..=i64::from(ZERO_BITS_MAX)))]
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
    /// Stop as soon as one class is 3 votes ahead
    #[arg(long)]
    early_stop: bool,
    /// Rule file that judges the answer, or `digits` for the rules that ship
    #[arg(long, value_name = "FILE", default_value = rule_file::DIGITS)]
    rules: PathBuf,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    request_nonce: String,
    level: u8,
    early_stop: bool,
    label: Option<u8>,
    answer: AnswerReport,
    verdict: VerdictReport,
    receipt: Option<String>,
}

/// What the rules say.
#[derive(Serialize)]
struct VerdictReport {
    /// `accept`, `flag` or `reject`.
    decision: String,
    /// Each failed rule with the value that was found.
    reasons: Vec<String>,
}

/// Columns of a line for people.
const LINE_COLUMNS: usize = 80;
/// Longest text that standard input may hold: one row needs at most 500 bytes.
const STDIN_BYTES_MAX: u64 = 64 * 1024;

/// Classifies the image and prints the answer.
///
/// # Errors
/// Bad model, image or daemon; wrong usage.
pub fn run(args: &PredictArgs, context: &Context) -> Result<Exit, CliError> {
    args.mode.check_zero_bits(args.zero_bits)?;
    let existing = Existing::when_forced(args.force);
    if let Some(path) = &args.receipt {
        files::check_target(path, "receipt", existing)?;
    }
    let rules = rule_file::load(&args.rules)?;
    let model = model_file::load(&args.model)?;
    let image = match image(args.index, args.csv.as_deref())? {
        Some(image) => image,
        None => stdin_image()?,
    };
    let nonce = args.nonce.bytes()?;
    let request = inference::request(&image, nonce);
    let mut options = Options {
        passes: args.passes,
        level: Level::from_number(args.level).unwrap_or(Level::Pass),
        mode: Mode::Direct,
        early_stop: args.early_stop,
    };
    let answer = match args.mode {
        ModeName::Direct => inference::direct(&model, &request, options)?,
        ModeName::Work => {
            let client = daemon::connect(context.socket.as_deref(), Some(ANCHOR_DEADLINE))?;
            let devices = Devices::wait(&client)?;
            let zero_bits = devices.zero_bits(args.zero_bits)?;
            options.mode = Mode::Work { zero_bits };
            let pace = devices.pace();
            inference::by_work(&model, &request, options, client, pace, &context.output)?
        }
    };
    if let Some(path) = &args.receipt {
        receipt_file::write(path, &model, &request, &options, &answer.outcome, existing)?;
    }
    let verdict = judge(&rules, &image, &answer);
    let question = Question {
        model: &model,
        image: &image,
        nonce,
    };
    tell(args, context, &question, &answer, &verdict)
}

/// What was asked.
struct Question<'a> {
    model: &'a Model,
    image: &'a ImageRow,
    nonce: [u8; 16],
}

fn judge(rules: &RuleSet, image: &ImageRow, answer: &Answer) -> Verdict {
    let ensemble = &answer.outcome.ensemble;
    let names = Recipe::Digits.classes();
    let name = names.get(ensemble.prediction());
    rules.judge(&hasher_rules::Answer {
        confidence: ensemble.confidence(),
        agreement: ensemble.agreement(),
        margin: ensemble.margin(),
        entropy_bits: ensemble.entropy_bits(),
        inputs: rule_file::inputs(&Recipe::Digits, &image_codes(&image.pixels)),
        ..hasher_rules::Answer::of(name.map_or("", String::as_str))
    })
}

fn tell(
    args: &PredictArgs,
    context: &Context,
    question: &Question<'_>,
    answer: &Answer,
    verdict: &Verdict,
) -> Result<Exit, CliError> {
    let output = &context.output;
    let Question {
        model,
        image,
        nonce,
    } = question;
    output.report(&Report {
        schema: "hasher.predict/1",
        model_id: model.id().to_string(),
        request_nonce: to_hex(nonce),
        level: args.level,
        early_stop: args.early_stop,
        label: image.label,
        answer: answer.report(),
        verdict: VerdictReport {
            decision: verdict.decision.to_string(),
            reasons: verdict.reasons.iter().map(Reason::to_string).collect(),
        },
        receipt: args.receipt.as_ref().map(|path| path.display().to_string()),
    })?;
    for line in answer.text(image, output.style) {
        output.line(line)?;
    }
    let decision = verdict.decision.to_string();
    output.line(format!(
        "verdict     {} by the rules of {}",
        match verdict.decision {
            Decision::Accept => output.style.good(&decision),
            Decision::Flag | Decision::Reject => output.style.bad(&decision),
        },
        args.rules.display()
    ))?;
    for reason in &verdict.reasons {
        for line in wrapped(&format!("            {reason}"), LINE_COLUMNS) {
            output.line(line)?;
        }
    }
    if let Some(path) = &args.receipt {
        output.line(format!("receipt     {}", path.display()))?;
        output.line(format!(
            "            check it with `hasher verify {} --model {}`",
            path.display(),
            args.model.display()
        ))?;
    }
    Ok(Exit::Done)
}

/// The one image that was asked for by --index or --csv, if so.
///
/// # Errors
/// When there is no such image, or a file that is none.
pub fn image(index: Option<usize>, csv: Option<&Path>) -> Result<Option<ImageRow>, CliError> {
    match (index, csv) {
        (Some(index), _) => test_image(index).map(Some),
        (None, Some(path)) => {
            let rows = read_rows(path, Labels::Optional)?;
            one_row(rows, &path.display().to_string()).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// An image of the digits' test part, in the order of the split.
///
/// # Errors
/// When there is no such image.
pub fn test_image(index: usize) -> Result<ImageRow, CliError> {
    let data = digits();
    let test = data.part(Part::Test);
    let row = test.get(index).ok_or_else(|| {
        CliError::usage(format!("there is no test image {index}"))
            .hint(format!("choose 0 to {}", test.len() - 1))
    })?;
    Ok(digit_rows()[*row])
}

fn stdin_image() -> Result<ImageRow, CliError> {
    let mut stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(CliError::usage("there is no image to classify")
            .hint("give --index N, --csv FILE, or a row on standard input"));
    }
    let mut bytes = Vec::new();
    stdin
        .by_ref()
        .take(STDIN_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::io("read standard input", &error))?;
    let rows = rows_of(&bytes, Labels::Optional).map_err(|reason| {
        CliError::failed(format!("cannot use standard input: {reason}")).hint(ROW_HINT)
    })?;
    one_row(rows, "standard input")
}

fn one_row(rows: Vec<ImageRow>, name: &str) -> Result<ImageRow, CliError> {
    match rows.as_slice() {
        [row] => Ok(*row),
        rows => Err(
            CliError::failed(format!("{name} holds {} images, one is needed", rows.len()))
                .hint("choose a row first, for example with `sed -n 3p`"),
        ),
    }
}

impl RequestNonce {
    /// The 16 bytes, drawn now if they are to be random.
    pub fn bytes(self) -> Result<[u8; 16], CliError> {
        match self {
            Self::Given(bytes) => Ok(bytes),
            Self::Random => random_nonce(),
        }
    }
}

/// 16 bytes from the kernel.
///
/// # Errors
/// When the system has no random device.
pub fn random_nonce() -> Result<[u8; 16], CliError> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| CliError::io("read /dev/urandom", &error))?;
    Ok(bytes)
}
