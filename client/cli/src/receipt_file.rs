//! Writing a receipt, and checking one; `predict`, `verify` and `demo` share it.
//!
//! Owns how a verdict is told. The judgement itself is `hasher-model`'s.

use std::path::Path;

use hasher_model::{
    Level, Model, Options, Outcome, Receipt, Refusal, Request, ZERO_BITS_MAX, verify,
};
use hasher_train::data::{IMAGE_PIXELS, image_of_codes};
use hasher_work::to_hex;
use serde::Serialize;

use crate::demands::Demands;
use crate::error::{CliError, chain};
use crate::evaluation::percent;
use crate::files::{self, Existing};
use crate::inference::{lowered, picture_rows};
use crate::style::Style;
use crate::table::hashes_in_words;

/// Writes the receipt of an inference.
///
/// # Errors
/// When it cannot be written.
pub fn write(
    path: &Path,
    model: &Model,
    request: &Request,
    options: &Options,
    outcome: &Outcome,
    existing: Existing,
) -> Result<(), CliError> {
    let receipt = Receipt::new(model, request, options, outcome);
    files::write(path, "receipt", &receipt.to_bytes(), existing)
}

/// What a verified receipt shows; part of `hasher.verify/1` and `hasher.demo/1`.
#[derive(Debug, Serialize)]
pub struct Verdict {
    model_id: String,
    request_id: String,
    request_nonce: String,
    /// The input as the model takes it, in hexadecimal.
    input: String,
    /// The image behind the input; nothing when no image has such an input.
    pixels: Option<Vec<u8>>,
    level: u8,
    passes: usize,
    worked: bool,
    anchors: usize,
    /// Leading zero bits of each anchor.
    zero_bits: Vec<u32>,
    zero_bits_min: u32,
    /// Double hashes that such anchors cost on average; 0 in direct mode.
    expected_hashes: f64,
    prediction: usize,
    confidence: f64,
    agreement: f64,
    #[serde(skip)]
    agreeing: u32,
    #[serde(skip)]
    image: Option<[u8; IMAGE_PIXELS]>,
    #[serde(skip)]
    demands: Demands,
}

/// A receipt that proves nothing, and why.
#[derive(Debug)]
pub struct Refused {
    /// The reason, one line.
    pub reason: String,
    hint: &'static str,
}

impl Refused {
    /// As an error about this file.
    pub fn into_error(self, path: &Path) -> CliError {
        CliError::failed(format!(
            "receipt {} is refused: {}",
            path.display(),
            self.reason
        ))
        .hint(self.hint)
    }
}

/// Checks a receipt: the question, identity, work of every anchor, the answer
/// computed again, and the number of passes.
///
/// # Errors
/// Why it is refused.
pub fn check(bytes: &[u8], model: &Model, demands: &Demands) -> Result<Verdict, Refused> {
    let receipt = Receipt::from_bytes(bytes).map_err(|error| Refused {
        reason: chain(&error),
        hint: "the file was damaged or changed, or is no receipt; ask for it again",
    })?;
    let other = |reason| Refused {
        reason,
        hint: "it answers another question than yours; ask for a receipt of your own",
    };
    demands.check_question(&receipt).map_err(other)?;
    let report = verify(&receipt, model, demands.min_zero_bits).map_err(|refusal| Refused {
        reason: chain(&refusal),
        hint: match refusal {
            Refusal::Model { .. } => "give the model file that the receipt is about",
            Refusal::NoWork(_) => "its anchors are plain hashes (direct mode); ask for --mode work",
            _ => "do not rely on its answer; ask for a new receipt",
        },
    })?;
    demands.check_passes(&report.outcome).map_err(other)?;
    Ok(verdict(&receipt, &report, demands))
}

fn verdict(receipt: &Receipt, report: &hasher_model::Report, demands: &Demands) -> Verdict {
    let ensemble = &report.outcome.ensemble;
    let request = receipt.request();
    let image = image_of_codes(request.input());
    Verdict {
        model_id: receipt.model().to_string(),
        request_id: request.id().to_hex(),
        request_nonce: to_hex(request.nonce()),
        input: to_hex(request.input()),
        pixels: image.map(Vec::from),
        level: receipt.level().number(),
        passes: receipt.passes(),
        worked: report.anchors.worked,
        anchors: report.anchors.zero_bits.len(),
        zero_bits: report.anchors.zero_bits.clone(),
        zero_bits_min: report.anchors.zero_bits_min(),
        expected_hashes: report.anchors.expected_hashes(),
        prediction: ensemble.prediction(),
        confidence: ensemble.confidence(),
        agreement: ensemble.agreement(),
        agreeing: ensemble.agreeing(),
        image,
        demands: demands.clone(),
    }
}

impl Verdict {
    /// For people.
    pub fn text(&self, style: Style) -> Vec<String> {
        let per = match Level::from_number(self.level) {
            Some(Level::Request) => "for the whole request",
            Some(Level::Layer) => "one a pass and layer",
            _ => "one a pass",
        };
        let mut text = vec![
            format!(
                "{}  the receipt holds, checked on this CPU",
                style.good("verified")
            ),
            format!("model     {}", self.model_id),
        ];
        text.extend(self.question_text(style));
        if self.worked {
            let most = self.zero_bits.iter().max().copied().unwrap_or(0);
            text.push(format!("anchors   {}, {per}", self.anchors));
            text.push(format!(
                "work      {} to {most} zero bits each, {} on average",
                self.zero_bits_min,
                hashes_in_words(self.expected_hashes)
            ));
            if self.zero_bits_min < ZERO_BITS_MAX {
                text.push(format!(
                    "          {}",
                    style.bad(&lowered(self.zero_bits_min))
                ));
            }
        } else {
            text.push(format!(
                "anchors   {}, {per}: plain hashes without work (direct mode)",
                self.anchors
            ));
        }
        text.push(format!(
            "passes    {}, {} of them agree, {}",
            self.passes,
            self.agreeing,
            compared(self.demands.passes.is_some(), "--passes")
        ));
        text.push(format!(
            "answer    {} at {}, the same bit for bit when computed again",
            style.bold(&self.prediction.to_string()),
            percent(self.confidence)
        ));
        text
    }

    /// What was asked: a receipt of another question is as valid.
    fn question_text(&self, style: Style) -> Vec<String> {
        let nonce = compared(self.demands.nonce.is_some(), "--nonce");
        let input = compared(self.demands.pixels.is_some(), "--index or --csv");
        let mut text = vec![
            format!("request   id {}", self.request_id),
            format!("          nonce {}, {nonce}", self.request_nonce),
        ];
        match &self.image {
            Some(pixels) => {
                text.push(format!("input     this image, {input}"));
                let rows = picture_rows(pixels, style).into_iter();
                text.extend(rows.map(|row| format!("          {row}").trim_end().to_owned()));
            }
            None => text.push(format!("input     {}", style.bad("no 8x8 image"))),
        }
        text
    }
}

/// Whether a part of the question was compared, and what would compare it.
fn compared(is_demanded: bool, option: &str) -> String {
    if is_demanded {
        "as demanded".to_owned()
    } else {
        format!("not compared: give {option}")
    }
}
