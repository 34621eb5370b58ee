//! What an inference yields: the outputs of its passes and what they say together.

use crate::ensemble::first_largest;
use crate::{Ensemble, OracleCount, Solution, probabilities};

/// What one pass says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassOutput {
    /// Logits in Q16: one row of classes for a classifier, one per position for a
    /// language model.
    pub logits: Vec<i32>,
    /// Probabilities in Q16 of the last row.
    pub probabilities: Vec<u32>,
}

impl PassOutput {
    pub(crate) fn new(logits: Vec<i32>, classes: usize) -> Self {
        let mut output = Self {
            logits,
            probabilities: Vec::new(),
        };
        output.probabilities = probabilities(output.answer_logits(classes));
        output
    }

    /// The logits of the answer: the last row of `classes`.
    pub fn answer_logits(&self, classes: usize) -> &[i32] {
        &self.logits[self.logits.len().saturating_sub(classes)..]
    }

    /// The pass's own most probable class.
    pub fn prediction(&self) -> usize {
        first_largest(&self.probabilities)
    }
}

/// A finished inference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What each pass says, in order.
    pub passes: Vec<PassOutput>,
    /// What they say together: prediction, confidence, agreement.
    pub ensemble: Ensemble,
    /// The solution of every anchor: pass by pass, and layer by layer within a pass.
    pub anchors: Vec<Solution>,
    /// Leading zero bits of each anchor, in the same order.
    pub zero_bits: Vec<u32>,
    /// Hashes that turned anchors into dither, all computed by this CPU.
    pub oracle: OracleCount,
}

impl Outcome {
    /// What the first `passes` passes say together; nothing for 0 or for more
    /// passes than there are.
    pub fn after(&self, passes: usize) -> Option<Ensemble> {
        let first = self.passes.get(..passes)?;
        let mut ensemble = Ensemble::new(first.first()?.probabilities.len());
        for pass in first {
            ensemble.add(&pass.probabilities);
        }
        Some(ensemble)
    }
}

/// Whether the last of these passes is where an early stop ends: the lead is
/// reached with it and not before.
pub(crate) fn settled_by_last(passes: &[PassOutput]) -> bool {
    let classes = passes.first().map_or(1, |pass| pass.probabilities.len());
    let mut ensemble = Ensemble::new(classes);
    for (i, pass) in passes.iter().enumerate() {
        ensemble.add(&pass.probabilities);
        if ensemble.is_settled() {
            return i + 1 == passes.len();
        }
    }
    false
}
