//! `hasher verify`: check a receipt with nothing but the model file.

use std::path::PathBuf;

use clap::Args;
use hasher_model::{BATCH_MAGIC, Level, Model};
use hasher_train::data::Labels;
use serde::Serialize;

use super::{Context, batch, predict};
use crate::data::read_rows;
use crate::demands::Demands;
use crate::error::{CliError, Exit};
use crate::receipt_file::{self, Verdict};
use crate::{files, model_file, parse};

/// Check the receipt of an answer
///
/// Believes nothing in the receipt: checks that it is about this model, that
/// every anchor carries its work, and computes the whole answer again, bit for
/// bit. Needs no daemon. It cannot show that training was honest, that the
/// answer is right, or that the input was true.
///
/// Which question you asked is known to you alone, and a receipt of another one
/// holds as well. Give the nonce, image, passes and level that you asked for, and
/// they are compared; what is not given is shown.
///
/// The receipt of a batch (`hasher batch`) is checked likewise, answer by answer.
///
/// Exit code 0 when the receipt holds, 1 when it is refused.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher verify answer.hrc --model digits.hsh
  hasher verify answer.hrc --model digits.hsh --min-zero-bits 32
  hasher verify 7.hrc --model digits.hsh --index 7 --passes 21 --level 1")]
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
    /// Passes that there must be, exactly
    #[arg(long, value_name = "N", value_parser = parse::passes)]
    passes: Option<u16>,
    /// An early stop was asked for: fewer passes where it ends
    #[arg(long, requires = "passes")]
    early_stop: bool,
    /// Level of the anchors that was asked for
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=2))]
    level: Option<u8>,
    /// The nonce of your request, 16 bytes in hexadecimal
    #[arg(long, value_name = "HEX16", value_parser = parse::request_nonce)]
    nonce: Option<[u8; 16]>,
    /// Number of your image in the test part of the digits, from 0
    #[arg(long, value_name = "N", conflicts_with = "csv")]
    index: Option<usize>,
    /// CSV file with your image, or with all images of a batch in order
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
    /// What it was compared with.
    demands: Demands,
    /// What it shows; absent when it was refused.
    verdict: Option<Verdict>,
}

/// Checks and prints the verdict.
///
/// # Errors
/// Files that cannot be read; without `--json` also the refusal.
pub fn run(args: &VerifyArgs, context: &Context) -> Result<Exit, CliError> {
    let model = model_file::load(&args.model)?;
    let hint = "`hasher predict --receipt FILE` writes one";
    let bytes = files::read(&args.receipt, "receipt", hint)?;
    if bytes.starts_with(&BATCH_MAGIC) {
        return args.verify_batch(&bytes, &model, context);
    }
    let image = predict::image(args.index, args.csv.as_deref())?;
    let demands = Demands {
        pixels: image.map(|image| image.pixels),
        ..args.demands()
    };
    let checked = receipt_file::check(&bytes, &model, &demands);
    let report = |verdict, reason: Option<String>| Report {
        schema: "hasher.verify/1",
        verified: reason.is_none(),
        reason,
        min_zero_bits: args.min_zero_bits,
        demands: demands.clone(),
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

impl VerifyArgs {
    /// All that is demanded besides the image.
    fn demands(&self) -> Demands {
        Demands {
            min_zero_bits: self.min_zero_bits,
            passes: self.passes,
            early_stop: self.early_stop,
            level: self.level.and_then(Level::from_number),
            nonce: self.nonce,
            pixels: None,
        }
    }

    fn verify_batch(
        &self,
        bytes: &[u8],
        model: &Model,
        context: &Context,
    ) -> Result<Exit, CliError> {
        if self.index.is_some() || self.early_stop {
            return Err(CliError::usage(
                "this is the receipt of a batch: --index and --early-stop do not fit",
            )
            .hint("give all its images with --csv FILE"));
        }
        let images = self.csv.as_deref();
        let images = images.map(|path| read_rows(path, Labels::Optional));
        let images = images.transpose()?;
        let demands = self.demands();
        batch::verify(
            bytes,
            &self.receipt,
            model,
            &demands,
            images.as_deref(),
            context,
        )
    }
}
