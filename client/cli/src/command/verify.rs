//! `hasher verify`: check a receipt with nothing but the model file.

use std::path::PathBuf;

use clap::Args;
use hasher_train::data::image_codes;
use serde::Serialize;

use super::{Context, predict};
use crate::error::{CliError, Exit};
use crate::model_file;
use crate::parse;
use crate::receipt_file::{self, Demands, Verdict};

/// Check the receipt of an answer
///
/// Believes nothing in the receipt: checks that it is about this model, that
/// every anchor carries its work, and computes the whole answer again, bit for
/// bit. Needs no daemon. It cannot show that training was honest, that the
/// answer is right, or that the input was true. Which question you asked is known
/// to you alone: say it with --nonce, --passes and --index or --csv.
///
/// Exit code 0 when the receipt holds, 1 when it is refused.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher verify answer.hrc --model digits.hsh
  hasher verify answer.hrc --model digits.hsh --min-zero-bits 32
  hasher verify answer.hrc --model digits.hsh --index 7 --passes 21")]
pub struct VerifyArgs {
    /// The receipt
    receipt: PathBuf,
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Zero bits that every anchor must show, 0 to 256; 0 accepts direct mode
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=256))]
    min_zero_bits: u32,
    /// The nonce that you chose, 32 hexadecimal digits: refuse any other
    #[arg(long, value_name = "HEX16", value_parser = parse::request_nonce)]
    nonce: Option<[u8; 16]>,
    /// The number of passes that you asked for: refuse any other
    #[arg(long, value_name = "N")]
    passes: Option<u16>,
    /// The test image that you asked about: refuse any other
    #[arg(long, value_name = "N", conflicts_with = "csv")]
    index: Option<usize>,
    /// The same, as a CSV file with one row
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    verified: bool,
    /// Why it was refused.
    reason: Option<String>,
    min_zero_bits: u32,
    /// What it shows; absent when it was refused.
    verdict: Option<Verdict>,
}

/// Checks and prints the verdict.
///
/// # Errors
/// Files that cannot be read; without `--json` also the refusal.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, CliError> {
    let model = model_file::load(&args.model)?;
    let image = predict::image(args.index, args.csv.as_deref())?;
    let demands = Demands {
        min_zero_bits: args.min_zero_bits,
        nonce: args.nonce,
        input: image.map(|image| image_codes(&image.pixels).to_vec()),
        passes: args.passes,
    };
    let checked = receipt_file::check(&args.receipt, &model, &demands)?;
    let report = |verdict, reason: Option<String>| Report {
        schema: "hasher.verify/1",
        verified: reason.is_none(),
        reason,
        min_zero_bits: args.min_zero_bits,
        verdict,
    };
    match checked {
        Ok(verdict) => {
            for line in verdict.text(context.output.style) {
                context.output.line(line)?;
            }
            context.output.report(&report(Some(verdict), None))?;
            Ok(Exit::Done)
        }
        Err(refused) if context.output.is_json() => {
            context.output.report(&report(None, Some(refused.reason)))?;
            Ok(Exit::Failed)
        }
        Err(refused) => Err(refused.into_error(&args.receipt)),
    }
}
