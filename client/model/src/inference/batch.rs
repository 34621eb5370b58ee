//! Batches: many inputs answered under the same anchors.
//!
//! It owns what the anchors of a batch commit to: the model and every request of it, in
//! order. So the work behind the anchors is done once for all answers, and no answer can
//! be exchanged, left out or added afterwards.

use hasher_work::{Digest, digest};

use super::{Inference, InferenceError, Options, PredictError};
use crate::{AnchorSource, Level, Model, Outcome, RECEIPT_BYTES_MAX, Request};

/// Most inputs of a batch.
pub const BATCH_MAX: usize = 4096;

/// Inputs of one requester under one nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    nonce: [u8; 16],
    requests: Vec<Request>,
}

impl Batch {
    /// A batch of inputs, in the form of [`Request::new`].
    pub fn new(nonce: [u8; 16], inputs: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let request = |input| Request::new(nonce, input);
        Self {
            nonce,
            requests: inputs.into_iter().map(request).collect(),
        }
    }

    /// The requester's nonce.
    pub const fn nonce(&self) -> &[u8; 16] {
        &self.nonce
    }

    /// The requests, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// `H("HSHRbat1" ‖ u32 number of requests ‖ id of each)`: what anchors commit to.
    pub fn id(&self) -> Digest {
        let mut message = b"HSHRbat1".to_vec();
        message.extend((self.requests.len() as u32).to_le_bytes());
        for request in &self.requests {
            message.extend(request.id().0);
        }
        digest(&message)
    }

    /// Checks that there can be such a batch, and that its receipt can be written.
    pub(crate) fn check(&self, model: &Model, options: &Options) -> Result<(), InferenceError> {
        if options.level == Level::Layer || options.early_stop {
            return Err(InferenceError::BatchOptions);
        }
        let classes = model.config().classes as usize;
        let outputs = usize::from(options.passes) * classes * size_of::<i32>();
        let inputs = self.requests.iter().map(|request| request.input().len());
        let bytes = inputs.sum::<usize>() + self.requests.len() * outputs;
        if !(1..=BATCH_MAX).contains(&self.requests.len()) || bytes > RECEIPT_BYTES_MAX / 2 {
            return Err(InferenceError::BatchSize {
                got: self.requests.len(),
                bytes,
            });
        }
        Ok(())
    }
}

/// Answers a batch with the anchors of `source`, which is asked once.
///
/// # Errors
/// [`PredictError::Source`] when the source fails, otherwise [`PredictError::Inference`]:
/// a batch has one anchor for all or one a pass, and no early stop.
pub fn predict_batch<S: AnchorSource>(
    model: &Model,
    batch: &Batch,
    options: Options,
    source: &mut S,
) -> Result<Vec<Outcome>, PredictError<S::Error>> {
    batch.check(model, &options)?;
    let id = batch.id();
    let mut solutions = Vec::new();
    let mut outcomes = Vec::with_capacity(batch.requests.len());
    for request in &batch.requests {
        let mut inference = Inference::anchored(model, request, id, options)?;
        if solutions.is_empty() {
            solutions = source
                .solve(inference.wanted())
                .map_err(PredictError::Source)?;
        }
        // Without early stop and below level 2 all anchors are wanted at once, and they
        // are those of every other request.
        inference.supply(&solutions)?;
        outcomes.push(inference.finish().expect("no anchor is wanted any more"));
    }
    Ok(outcomes)
}
