//! Receipts: an inference written down so that others can check it.
//!
//! It owns the bytes of a receipt. Nothing in it has to be believed: every field
//! is either what the verifier asked for or is computed again by
//! [`crate::verify`]. So it does not say who searched, how long it took or how
//! many zero bits were wanted; the anchors show what they show.
//!
//! ```text
//! "HSHR" version level mode settled | model id | nonce, input | passes
//! anchors: attempt, nonce | classes, logits, mean p | prediction, confidence, agreeing
//! SHA-256 of all before
//! ```

mod batch;

use hasher_work::{Digest, Nonce, digest};

use crate::outcome::settled_by_last;
use crate::{
    Level, Mode, Model, ModelId, Options, Outcome, PASSES_MAX, Request, Solution, WIDTH_MAX,
};

pub use batch::{BATCH_MAGIC, BatchReceipt};

/// First four bytes of a receipt.
pub const RECEIPT_MAGIC: [u8; 4] = *b"HSHR";
/// Format version that this crate reads and writes.
pub const RECEIPT_VERSION: u16 = 1;
/// Largest receipt that is read, 16 MiB: the largest input (4 MiB) and the
/// largest outputs (255 passes of 4096 classes) together stay below.
pub const RECEIPT_BYTES_MAX: usize = 16 << 20;

/// The record of one inference. Reading one proves nothing yet: see
/// [`crate::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) model: ModelId,
    pub(crate) request: Request,
    pub(crate) level: Level,
    pub(crate) worked: bool,
    pub(crate) settled: bool,
    pub(crate) anchors: Vec<Solution>,
    /// Answer logits in Q16, one row of classes per pass.
    pub(crate) logits: Vec<Vec<i32>>,
    pub(crate) mean_p_q16: Vec<u32>,
    pub(crate) prediction: u16,
    pub(crate) confidence_q16: u32,
    pub(crate) agreeing: u16,
}

/// Why bytes are no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The file ends before its contents do.
    #[error("receipt is truncated: it ends within its {0}")]
    Truncated(&'static str),
    /// The file goes on after its contents.
    #[error("{0} bytes follow the end of the receipt")]
    Trailing(usize),
    /// The file is larger than any receipt.
    #[error("receipt is too large: {0} bytes")]
    TooLarge(usize),
    /// The file does not begin with `HSHR`.
    #[error("not a receipt: it does not begin with \"HSHR\"")]
    Magic,
    /// A format version that this crate does not know.
    #[error("receipt format version {0} is unknown, expected 1")]
    Version(u16),
    /// The check sum does not match: the file was damaged or changed.
    #[error("check sum of the receipt does not match its contents")]
    Checksum,
    /// A field has a value that it can not have.
    #[error("{field} is {value}, must be {rule}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
}

impl Receipt {
    /// The receipt of an outcome of [`crate::Inference`] for this model, request
    /// and options.
    pub fn new(model: &Model, request: &Request, options: &Options, outcome: &Outcome) -> Self {
        let classes = model.config().classes as usize;
        let ensemble = &outcome.ensemble;
        Self {
            model: model.id(),
            request: request.clone(),
            level: options.level,
            worked: options.mode != Mode::Direct,
            settled: settled_by_last(&outcome.passes),
            anchors: outcome.anchors.clone(),
            logits: outcome
                .passes
                .iter()
                .map(|pass| pass.answer_logits(classes).to_vec())
                .collect(),
            mean_p_q16: ensemble.mean_p_q16(),
            prediction: ensemble.prediction() as u16,
            confidence_q16: ensemble.confidence_q16(),
            agreeing: ensemble.agreeing() as u16,
        }
    }

    /// The model that is said to have answered.
    pub const fn model(&self) -> ModelId {
        self.model
    }

    /// What was asked.
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// How many anchors there are.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether its anchors claim work.
    pub const fn is_worked(&self) -> bool {
        self.worked
    }

    /// Passes that were made.
    pub fn passes(&self) -> usize {
        self.logits.len()
    }

    /// Whether the lead of an early stop came with the last pass and not before:
    /// then an inference with early stop ends exactly here.
    pub const fn is_settled_by_last_pass(&self) -> bool {
        self.settled
    }

    /// The solution of every anchor: pass by pass, layer by layer within a pass.
    pub fn anchors(&self) -> &[Solution] {
        &self.anchors
    }

    /// Class that is said to be the answer.
    pub const fn prediction(&self) -> u16 {
        self.prediction
    }

    /// Mean probability that is said to be the prediction's, in Q16.
    pub const fn confidence_q16(&self) -> u32 {
        self.confidence_q16
    }

    /// The bytes of the receipt.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = RECEIPT_MAGIC.to_vec();
        bytes.extend(RECEIPT_VERSION.to_le_bytes());
        bytes.extend([
            self.level.number(),
            u8::from(self.worked),
            u8::from(self.settled),
        ]);
        bytes.extend(self.model.0.0);
        bytes.extend(self.request.nonce());
        bytes.extend((self.request.input().len() as u32).to_le_bytes());
        bytes.extend(self.request.input());
        bytes.extend((self.logits.len() as u16).to_le_bytes());
        write_anchors(&mut bytes, &self.anchors);
        bytes.extend((self.mean_p_q16.len() as u16).to_le_bytes());
        bytes.extend(self.logits.iter().flatten().flat_map(|l| l.to_le_bytes()));
        bytes.extend(self.mean_p_q16.iter().flat_map(|p| p.to_le_bytes()));
        bytes.extend(self.prediction.to_le_bytes());
        bytes.extend(self.confidence_q16.to_le_bytes());
        bytes.extend(self.agreeing.to_le_bytes());
        bytes.extend(digest(&bytes).0);
        bytes
    }

    /// Reads a receipt. Lengths are checked before anything is kept, then the
    /// check sum, then the fields.
    ///
    /// # Errors
    /// [`ReceiptError`] names the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLarge(bytes.len()));
        }
        let mut reader = Reader(bytes);
        if reader.array("magic")? != RECEIPT_MAGIC {
            return Err(ReceiptError::Magic);
        }
        let version = reader.u16("version")?;
        if version != RECEIPT_VERSION {
            return Err(ReceiptError::Version(version));
        }
        let [level, mode, settled] = reader.array("settings")?;
        let model = ModelId(Digest(reader.array("model identity")?));
        let nonce = reader.array("request nonce")?;
        let input_length = reader.u32("input")? as usize;
        let input = reader.take("input", input_length)?;
        let passes = reader.u16("passes")?;
        let anchors = reader.anchors()?;
        let classes = usize::from(reader.u16("outputs")?);
        let logits = reader.take("logits", usize::from(passes) * classes * 4)?;
        let mean_p = reader.take("mean probabilities", classes * 4)?;
        let prediction = reader.u16("prediction")?;
        let confidence_q16 = reader.u32("confidence")?;
        let agreeing = reader.u16("agreement")?;
        let content = bytes.len() - reader.0.len();
        let checksum: [u8; 32] = reader.array("check sum")?;
        if !reader.0.is_empty() {
            return Err(ReceiptError::Trailing(reader.0.len()));
        }
        if digest(&bytes[..content]).0 != checksum {
            return Err(ReceiptError::Checksum);
        }

        let level =
            Level::from_number(level).ok_or_else(|| wrong("level", level.into(), "0, 1 or 2"))?;
        if !(1..=PASSES_MAX).contains(&passes) {
            return Err(wrong("number of passes", passes.into(), "1 to 255"));
        }
        if !(1..=WIDTH_MAX).contains(&classes) {
            return Err(wrong("number of classes", classes as u64, "1 to 4096"));
        }
        check_anchor_count(level, passes, anchors.len())?;
        Ok(Self {
            model,
            request: Request::new(nonce, input.to_vec()),
            level,
            worked: flag("mode", mode)?,
            settled: flag("early-stop flag", settled)?,
            anchors: anchors.iter().map(solution).collect(),
            logits: logits
                .chunks_exact(classes * 4)
                .map(|row| words(row).map(u32::cast_signed).collect())
                .collect(),
            mean_p_q16: words(mean_p).collect(),
            prediction,
            confidence_q16,
            agreeing,
        })
    }
}

/// Level 2 has as many anchors per pass as the model has layers and one more,
/// which only the model tells.
fn check_anchor_count(level: Level, passes: u16, count: usize) -> Result<(), ReceiptError> {
    let passes = usize::from(passes);
    let (holds, rule) = match level {
        Level::Request => (count == 1, "1 at level 0"),
        Level::Pass => (count == passes, "the number of passes at level 1"),
        Level::Layer => (
            count > 0 && count.is_multiple_of(passes),
            "a multiple of the passes at level 2",
        ),
    };
    if holds {
        Ok(())
    } else {
        Err(wrong("number of anchors", count as u64, rule))
    }
}

fn write_anchors(bytes: &mut Vec<u8>, anchors: &[Solution]) {
    bytes.extend((anchors.len() as u32).to_le_bytes());
    for anchor in anchors {
        bytes.extend(anchor.attempt.to_le_bytes());
        bytes.extend(anchor.nonce.0.to_le_bytes());
    }
}

fn solution([a, b, c, d, nonce @ ..]: &[u8; 8]) -> Solution {
    Solution {
        attempt: u32::from_le_bytes([*a, *b, *c, *d]),
        nonce: Nonce(u32::from_le_bytes(*nonce)),
    }
}

fn flag(field: &'static str, value: u8) -> Result<bool, ReceiptError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(wrong(field, other.into(), "0 or 1")),
    }
}

fn wrong(field: &'static str, value: u64, rule: &'static str) -> ReceiptError {
    ReceiptError::Field { field, value, rule }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let words = bytes.as_chunks::<4>().0;
    words.iter().map(|word| u32::from_le_bytes(*word))
}

/// Takes fields off the front; allocates nothing.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], ReceiptError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(ReceiptError::Truncated(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ReceiptError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(ReceiptError::Truncated(field))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// What [`write_anchors`] wrote, each anchor for [`solution`].
    fn anchors(&mut self) -> Result<&'a [[u8; 8]], ReceiptError> {
        let count = self.u32("anchors")? as usize;
        let bytes = self.take("anchors", count.saturating_mul(8))?;
        Ok(bytes.as_chunks().0)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, ReceiptError> {
        self.array(field).map(u16::from_le_bytes)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ReceiptError> {
        self.array(field).map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
