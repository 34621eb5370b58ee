//! Writing a receipt, and checking one; `predict`, `verify` and `demo` share it.
//!
//! Owns how a verdict is told. The judgement itself is `hasher-model`'s.

use std::path::Path;

use hasher_model::{
    Level, Model, Options, Outcome, Receipt, Refusal, Request, ZERO_BITS_MAX, verify,
};
use hasher_work::to_hex;
use serde::Serialize;

use crate::error::{CliError, chain};
use crate::evaluation::percent;
use crate::files::{self, Existing};
use crate::inference::lowered;
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
    request_nonce: String,
    /// The hash of nonce and input.
    request_id: String,
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

/// What the verifier insists on, besides a receipt that holds. A receipt says of
/// itself which question it answers and with how many passes; only the verifier knows
/// which question was asked.
#[derive(Debug, Default)]
pub struct Demands {
    /// Zero bits that every anchor must show; 0 accepts direct mode.
    pub min_zero_bits: u32,
    /// The nonce that the requester chose.
    pub nonce: Option<[u8; 16]>,
    /// The input of the question.
    pub input: Option<Vec<u8>>,
    /// The number of passes. Without it whoever answers may choose the number that
    /// suits, after the fact and at no cost.
    pub passes: Option<u16>,
}

impl Demands {
    /// The first demand that the receipt does not meet.
    fn unmet(&self, receipt: &Receipt) -> Option<String> {
        let request = receipt.request();
        if let Some(nonce) = self.nonce.filter(|nonce| nonce != request.nonce()) {
            let (is, wanted) = (to_hex(request.nonce()), to_hex(&nonce));
            return Some(format!("it answers request nonce {is}, not {wanted}"));
        }
        if self
            .input
            .as_ref()
            .is_some_and(|input| input != request.input())
        {
            return Some("it is about another image".to_owned());
        }
        let passes = self
            .passes
            .filter(|n| usize::from(*n) != receipt.passes())?;
        Some(format!("it has {} passes, not {passes}", receipt.passes()))
    }
}

/// Checks a receipt: identity, work of every anchor, the answer computed again, and
/// what was demanded.
///
/// # Errors
/// The outer error when the file cannot be read, the inner when it is refused.
pub fn check(
    path: &Path,
    model: &Model,
    demands: &Demands,
) -> Result<Result<Verdict, Refused>, CliError> {
    let hint = "`hasher predict --receipt FILE` writes one";
    let bytes = files::read(path, "receipt", hint)?;
    let receipt = match Receipt::from_bytes(&bytes) {
        Ok(receipt) => receipt,
        Err(error) => {
            return Ok(Err(Refused {
                reason: chain(&error),
                hint: "the file was damaged or changed, or is no receipt; ask for it again",
            }));
        }
    };
    if let Some(reason) = demands.unmet(&receipt) {
        return Ok(Err(Refused {
            reason,
            hint: "it answers another question than yours; ask for a new receipt",
        }));
    }
    Ok(match verify(&receipt, model, demands.min_zero_bits) {
        Ok(report) => Ok(verdict(&receipt, &report)),
        Err(refusal) => Err(Refused {
            reason: chain(&refusal),
            hint: match refusal {
                Refusal::Model { .. } => "give the model file that the receipt is about",
                Refusal::NoWork(_) => {
                    "its anchors are plain hashes (direct mode); ask for --mode work"
                }
                _ => "do not rely on its answer; ask for a new receipt",
            },
        }),
    })
}

fn verdict(receipt: &Receipt, report: &hasher_model::Report) -> Verdict {
    let ensemble = &report.outcome.ensemble;
    Verdict {
        model_id: receipt.model().to_string(),
        request_nonce: to_hex(receipt.request().nonce()),
        request_id: receipt.request().id().to_hex(),
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
            format!("request   nonce {}", self.request_nonce),
            format!("          id {}", self.request_id),
        ];
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
            "answer    {} at {}, the same bit for bit when computed again",
            style.bold(&self.prediction.to_string()),
            percent(self.confidence)
        ));
        text.push(format!(
            "          {} passes, {} of them agree",
            self.passes,
            percent(self.agreement)
        ));
        text
    }
}
