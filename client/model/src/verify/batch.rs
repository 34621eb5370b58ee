//! Verification of the receipt of a batch: every answer again, under the shared anchors.

use super::{AnchorReport, Refusal, check_zero_bits, mode};
use crate::{BatchReceipt, Inference, InferenceError, Model, Options, Outcome};

/// What the verified receipt of a batch shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReport {
    /// The anchors and their work, done once for all answers.
    pub anchors: AnchorReport,
    /// The inference of each request as it was computed again, in order.
    pub outcomes: Vec<Outcome>,
}

/// Checks the receipt of a batch against the model, as [`crate::verify`] does with that
/// of one answer. Whoever asked compares nonce, inputs, level and passes.
///
/// # Errors
/// [`Refusal`] with the first reason.
pub fn verify_batch(
    receipt: &BatchReceipt,
    model: &Model,
    min_zero_bits: u32,
) -> Result<BatchReport, Refusal> {
    if receipt.model != model.id() {
        return Err(Refusal::Model {
            receipt: receipt.model,
            model: model.id(),
        });
    }
    let classes = model.config().classes as usize;
    if receipt.classes != classes {
        return Err(Refusal::Classes {
            expected: classes,
            got: receipt.classes,
        });
    }
    let options = Options {
        passes: receipt.passes,
        level: receipt.level,
        mode: mode(receipt.worked, min_zero_bits)?,
        early_stop: false,
    };
    let refused = |error| match error {
        InferenceError::Request(error) => Refusal::Request(error),
        InferenceError::Anchor { index, source } => Refusal::Anchor { index, source },
        other => Refusal::Inference(other),
    };
    receipt.batch.check(model, &options).map_err(refused)?;
    let id = receipt.batch.id();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(receipt.logits.len());
    for (request, stated) in receipt.batch.requests().iter().zip(&receipt.logits) {
        let mut inference = Inference::anchored(model, request, id, options).map_err(refused)?;
        inference.supply(&receipt.anchors).map_err(refused)?;
        let outcome = inference.finish().expect("no anchor is wanted any more");
        check_zero_bits(&outcome.zero_bits, min_zero_bits)?;
        for (pass, (stated, computed)) in stated
            .chunks_exact(classes)
            .zip(&outcome.passes)
            .enumerate()
        {
            super::compare_logits(pass, stated, computed.answer_logits(classes))?;
        }
        outcomes.push(outcome);
    }
    let zero_bits = outcomes.first().map_or(Vec::new(), |o| o.zero_bits.clone());
    Ok(BatchReport {
        anchors: AnchorReport {
            worked: receipt.worked,
            zero_bits,
        },
        outcomes,
    })
}
