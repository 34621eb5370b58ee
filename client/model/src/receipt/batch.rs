//! Receipts of batches: anchors once, then inputs and logits of every answer.
//!
//! ```text
//! "HSHB" version level mode | model id | nonce | passes, classes
//! anchors: attempt, nonce | number of answers, each: length of input, input, logits
//! SHA-256 of all before
//! ```
//!
//! Predictions and probabilities are not written down: the logits make them.

use hasher_work::{Digest, digest};

use super::{
    Reader, ReceiptError, check_anchor_count, flag, solution, words, write_anchors, wrong,
};
use crate::{
    BATCH_MAX, Batch, Ensemble, Level, Mode, Model, ModelId, Options, Outcome, PASSES_MAX,
    RECEIPT_BYTES_MAX, Solution, WIDTH_MAX, probabilities,
};

/// First four bytes of the receipt of a batch.
pub const BATCH_MAGIC: [u8; 4] = *b"HSHB";
/// Format version that this crate reads and writes.
const VERSION: u16 = 1;

/// The record of a batch. Reading one proves nothing yet: see [`crate::verify_batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReceipt {
    pub(crate) model: ModelId,
    pub(crate) batch: Batch,
    pub(crate) level: Level,
    pub(crate) worked: bool,
    pub(crate) passes: u16,
    pub(crate) classes: usize,
    pub(crate) anchors: Vec<Solution>,
    /// Answer logits in Q16 of each request: one row of classes per pass.
    pub(crate) logits: Vec<Vec<i32>>,
}

impl BatchReceipt {
    /// The receipt of what [`crate::predict_batch`] answered.
    pub fn new(model: &Model, batch: &Batch, options: &Options, outcomes: &[Outcome]) -> Self {
        let classes = model.config().classes as usize;
        let rows = |outcome: &Outcome| -> Vec<i32> {
            let passes = outcome.passes.iter();
            let rows = passes.map(|pass| pass.answer_logits(classes));
            rows.flatten().copied().collect()
        };
        Self {
            model: model.id(),
            batch: batch.clone(),
            level: options.level,
            worked: options.mode != Mode::Direct,
            passes: options.passes,
            classes,
            anchors: outcomes
                .first()
                .map_or(Vec::new(), |first| first.anchors.clone()),
            logits: outcomes.iter().map(rows).collect(),
        }
    }

    /// The model that is said to have answered.
    pub const fn model(&self) -> ModelId {
        self.model
    }

    /// What was asked.
    pub const fn batch(&self) -> &Batch {
        &self.batch
    }

    /// How many anchors there are: one, or one a pass.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether its anchors claim work.
    pub const fn is_worked(&self) -> bool {
        self.worked
    }

    /// Passes of each answer.
    pub const fn passes(&self) -> u16 {
        self.passes
    }

    /// The solution of every anchor, pass by pass.
    pub fn anchors(&self) -> &[Solution] {
        &self.anchors
    }

    /// What the passes of each request are said to say together, in order.
    pub fn answers(&self) -> Vec<Ensemble> {
        let ensemble = |logits: &Vec<i32>| {
            let mut ensemble = Ensemble::new(self.classes);
            for row in logits.chunks_exact(self.classes) {
                ensemble.add(&probabilities(row));
            }
            ensemble
        };
        self.logits.iter().map(ensemble).collect()
    }

    /// The bytes of the receipt.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = BATCH_MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([self.level.number(), u8::from(self.worked)]);
        bytes.extend(self.model.0.0);
        bytes.extend(self.batch.nonce());
        bytes.extend(self.passes.to_le_bytes());
        bytes.extend((self.classes as u16).to_le_bytes());
        write_anchors(&mut bytes, &self.anchors);
        bytes.extend((self.logits.len() as u32).to_le_bytes());
        for (request, logits) in self.batch.requests().iter().zip(&self.logits) {
            bytes.extend((request.input().len() as u32).to_le_bytes());
            bytes.extend(request.input());
            bytes.extend(logits.iter().flat_map(|logit| logit.to_le_bytes()));
        }
        bytes.extend(digest(&bytes).0);
        bytes
    }

    /// Reads a receipt. Nothing is kept that the bytes do not hold.
    ///
    /// # Errors
    /// [`ReceiptError`] names the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLarge(bytes.len()));
        }
        let mut reader = Reader(bytes);
        if reader.array("magic")? != BATCH_MAGIC {
            return Err(ReceiptError::Magic);
        }
        let version = reader.u16("version")?;
        if version != VERSION {
            return Err(ReceiptError::Version(version));
        }
        let [level, mode] = reader.array("settings")?;
        let model = ModelId(Digest(reader.array("model identity")?));
        let nonce = reader.array("request nonce")?;
        let passes = reader.u16("passes")?;
        let classes = usize::from(reader.u16("classes")?);
        let anchors = reader.anchors()?;
        let count = reader.u32("answers")? as usize;
        let outputs = usize::from(passes) * classes * size_of::<i32>();
        let (mut inputs, mut logits) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let length = reader.u32("input")? as usize;
            inputs.push(reader.take("input", length)?.to_vec());
            let row = reader.take("logits", outputs)?;
            logits.push(words(row).map(u32::cast_signed).collect());
        }
        let content = bytes.len() - reader.0.len();
        let checksum: [u8; 32] = reader.array("check sum")?;
        if !reader.0.is_empty() {
            return Err(ReceiptError::Trailing(reader.0.len()));
        }
        if digest(&bytes[..content]).0 != checksum {
            return Err(ReceiptError::Checksum);
        }

        let level = Level::from_number(level)
            .filter(|level| *level != Level::Layer)
            .ok_or_else(|| wrong("level", level.into(), "0 or 1"))?;
        if !(1..=PASSES_MAX).contains(&passes) {
            return Err(wrong("number of passes", passes.into(), "1 to 255"));
        }
        if !(1..=WIDTH_MAX).contains(&classes) {
            return Err(wrong("number of classes", classes as u64, "1 to 4096"));
        }
        if !(1..=BATCH_MAX).contains(&count) {
            return Err(wrong("number of answers", count as u64, "1 to 4096"));
        }
        check_anchor_count(level, passes, anchors.len())?;
        Ok(Self {
            model,
            batch: Batch::new(nonce, inputs),
            level,
            worked: flag("mode", mode)?,
            passes,
            classes,
            anchors: anchors.iter().map(solution).collect(),
            logits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CpuAnchors, options, tiny, tiny_request};
    use super::*;
    use crate::{
        DirectAnchors, InferenceError, PredictError, Refusal, predict_batch, verify_batch,
    };

    fn batch() -> Batch {
        let first = tiny_request().input().to_vec();
        let mut second = first.clone();
        second[0] ^= 1;
        Batch::new(*tiny_request().nonce(), [first.clone(), second, first])
    }

    fn receipt(level: Level, zero_bits: u32) -> BatchReceipt {
        let (model, batch) = (tiny(), batch());
        let options = options(level, zero_bits, 3);
        let outcomes = match options.mode {
            Mode::Direct => predict_batch(&model, &batch, options, &mut DirectAnchors).unwrap(),
            Mode::Work { .. } => predict_batch(&model, &batch, options, &mut CpuAnchors).unwrap(),
        };
        BatchReceipt::new(&model, &batch, &options, &outcomes)
    }

    #[test]
    fn one_set_of_anchors_backs_every_answer() {
        for (level, anchors) in [(Level::Request, 1), (Level::Pass, 3)] {
            for zero_bits in [0, 10] {
                let receipt = receipt(level, zero_bits);
                let again = BatchReceipt::from_bytes(&receipt.to_bytes()).unwrap();
                assert_eq!(again, receipt);
                let report = verify_batch(&again, &tiny(), zero_bits).unwrap();
                assert_eq!((report.outcomes.len(), again.anchors().len()), (3, anchors));
                assert_eq!(report.anchors.worked, zero_bits > 0);
                let ensembles: Vec<_> = report.outcomes.into_iter().map(|o| o.ensemble).collect();
                assert_eq!(again.answers(), ensembles);
                // Equal inputs have equal answers: the anchors are shared.
                assert_eq!(ensembles[0], ensembles[2]);
            }
        }
    }

    #[test]
    fn no_byte_of_the_receipt_may_change() {
        let bytes = receipt(Level::Pass, 8).to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(BatchReceipt::from_bytes(&changed).is_err(), "byte {at}");
            // The same with the check sum made anew.
            let end = changed.len() - 32;
            let sum = digest(&changed[..end]).0;
            changed[end..].copy_from_slice(&sum);
            if at < end
                && let Ok(receipt) = BatchReceipt::from_bytes(&changed)
            {
                assert!(verify_batch(&receipt, &tiny(), 8).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn answers_cannot_be_exchanged_left_out_or_added() {
        let whole = receipt(Level::Pass, 8);
        let inputs = || whole.batch.requests().iter().map(|r| r.input().to_vec());
        let with = |inputs: Vec<Vec<u8>>, logits: Vec<Vec<i32>>| BatchReceipt {
            batch: Batch::new(*whole.batch.nonce(), inputs),
            logits,
            ..whole.clone()
        };
        let logits = &whole.logits;
        let fewer = with(inputs().take(2).collect(), logits[..2].to_vec());
        let more = with(
            inputs().cycle().take(4).collect(),
            logits.iter().cycle().take(4).cloned().collect(),
        );
        let swapped = with(
            vec![
                inputs().nth(1).unwrap(),
                inputs().next().unwrap(),
                inputs().next().unwrap(),
            ],
            vec![logits[1].clone(), logits[0].clone(), logits[0].clone()],
        );
        for changed in [fewer, more, swapped] {
            let refusal = verify_batch(&changed, &tiny(), 8).unwrap_err();
            assert!(matches!(refusal, Refusal::Anchor { .. }), "{refusal}");
        }
    }

    #[test]
    fn batches_that_cannot_be_are_refused() {
        let (model, nonce) = (tiny(), [0; 16]);
        let run = |batch: &Batch, options| match predict_batch(
            &model,
            batch,
            options,
            &mut DirectAnchors,
        )
        .unwrap_err()
        {
            PredictError::Inference(error) => error,
            other => panic!("{other}"),
        };
        let plain = options(Level::Pass, 0, 3);
        assert_eq!(
            run(
                &batch(),
                Options {
                    level: Level::Layer,
                    ..plain
                }
            ),
            InferenceError::BatchOptions
        );
        assert_eq!(
            run(
                &batch(),
                Options {
                    early_stop: true,
                    ..plain
                }
            ),
            InferenceError::BatchOptions
        );
        for inputs in [0, BATCH_MAX + 1] {
            let error = run(&Batch::new(nonce, vec![Vec::new(); inputs]), plain);
            assert!(matches!(error, InferenceError::BatchSize { got, .. } if got == inputs));
        }
        let error = run(&Batch::new(nonce, [vec![0]]), plain);
        assert!(matches!(error, InferenceError::Request(_)), "{error}");
    }
}
