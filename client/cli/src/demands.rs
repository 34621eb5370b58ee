//! What whoever checks a receipt demands of it besides that it holds.
//!
//! Owns the comparison with the question that was asked: a valid receipt may be
//! about another image, or carry as many passes as suited whoever answered.
//! `verify` and `demo` fill it in; the judgement of the rest is `hasher-model`'s.

use hasher_model::{Level, Outcome, Receipt};
use hasher_train::data::{IMAGE_PIXELS, image_codes};
use hasher_work::to_hex;
use serde::{Serialize, Serializer};

/// The question as it was asked; what is absent is not compared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Demands {
    /// Zero bits that every anchor must show; 0 accepts direct mode.
    pub min_zero_bits: u32,
    /// Passes, exactly, because whoever answers could choose among their numbers.
    pub passes: Option<u16>,
    /// Whether an early stop was asked for, which ends before `passes`.
    pub early_stop: bool,
    /// How many anchors there are.
    #[serde(serialize_with = "number")]
    pub level: Option<Level>,
    /// The requester's nonce.
    #[serde(serialize_with = "hex")]
    pub nonce: Option<[u8; 16]>,
    /// The image.
    #[serde(serialize_with = "list")]
    pub pixels: Option<[u8; IMAGE_PIXELS]>,
}

impl Demands {
    /// Compares what the receipt says was asked.
    ///
    /// # Errors
    /// What differs, one line.
    pub fn check_question(&self, receipt: &Receipt) -> Result<(), String> {
        let request = receipt.request();
        if let Some(nonce) = &self.nonce
            && nonce != request.nonce()
        {
            return Err(format!(
                "it answers request nonce {}, not {}",
                to_hex(request.nonce()),
                to_hex(nonce)
            ));
        }
        if let Some(pixels) = &self.pixels
            && image_codes(pixels) != request.input()
        {
            return Err("it is about another image".to_owned());
        }
        match self.level {
            Some(level) if level != receipt.level() => Err(format!(
                "its anchors are of level {}, not {}",
                receipt.level().number(),
                level.number()
            )),
            _ => Ok(()),
        }
    }

    /// Compares the number of passes. `outcome` is the inference computed again.
    ///
    /// # Errors
    /// What differs, one line.
    pub fn check_passes(&self, outcome: &Outcome) -> Result<(), String> {
        let Some(demanded) = self.passes.map(usize::from) else {
            return Ok(());
        };
        let made = outcome.passes.len();
        let is_settled = |passes: &usize| {
            let ensemble = outcome.after(*passes);
            ensemble.is_some_and(|ensemble| ensemble.is_settled())
        };
        let stop = (1..=made).find(is_settled).filter(|_| self.early_stop);
        let expected = stop.unwrap_or(demanded).min(demanded);
        if made == expected {
            return Ok(());
        }
        Err(match (self.early_stop, expected == demanded) {
            (true, false) => format!("it has {made} passes, an early stop ends after {expected}"),
            (_, _) => format!("it has {made} passes, not {demanded}"),
        })
    }
}

fn number<S: Serializer>(level: &Option<Level>, to: S) -> Result<S::Ok, S::Error> {
    level.map(Level::number).serialize(to)
}

fn hex<S: Serializer>(nonce: &Option<[u8; 16]>, to: S) -> Result<S::Ok, S::Error> {
    nonce.map(|nonce| to_hex(&nonce)).serialize(to)
}

fn list<S: Serializer>(pixels: &Option<[u8; IMAGE_PIXELS]>, to: S) -> Result<S::Ok, S::Error> {
    pixels
        .as_ref()
        .map(<[u8; IMAGE_PIXELS]>::as_slice)
        .serialize(to)
}
