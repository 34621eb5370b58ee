//! Lanes: the dither bits of one activation vector, expanded from its anchor.
//!
//! ```text
//! 0        4          36                     64      68        80
//! "HSH2" | anchor   | first 28 bytes of C  | block | zeros   |   ──HH──► 256 bits
//! ```
//!
//! Always hashed on this CPU: no device can answer these headers.

use hasher_work::{Digest, Midstate, Nonce, Tail, Work, digest};

/// Which vector of an inference a lane belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneKey {
    /// Layer; the number of layers stands for the head.
    pub layer: u16,
    /// 0 to 3: before attention, after it, before and inside the feed-forward part.
    pub site: u8,
    /// Pass, from 0.
    pub pass: u16,
    /// Position; 0 for a classifier's head.
    pub position: u32,
}

/// Double digests that expand anchors to dither bits, and the lanes they served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OracleCount {
    /// Activation vectors that were dithered.
    pub lanes: u64,
    /// Double digests of lane headers, all computed by this CPU.
    pub digests: u64,
}

/// One lane, ready to yield its digests.
pub(crate) struct Lane {
    midstate: Midstate,
}

impl Lane {
    /// The lane of a vector of `units` codes of `code_bits` bits whose nearest
    /// codes are `packed`. `message` is scratch space.
    pub fn new(
        anchor: &Digest,
        key: LaneKey,
        code_bits: u32,
        units: usize,
        packed: &[u8],
        message: &mut Vec<u8>,
    ) -> Self {
        message.clear();
        message.extend(b"HSHRlan1");
        message.extend(key.layer.to_le_bytes());
        message.extend([key.site, code_bits as u8]);
        message.extend(key.pass.to_le_bytes());
        message.extend(key.position.to_le_bytes());
        message.extend((units as u16).to_le_bytes());
        message.extend(packed);
        let commitment = digest(message);
        let mut first = [0; 64];
        first[..4].copy_from_slice(b"HSH2");
        first[4..36].copy_from_slice(&anchor.0);
        first[36..].copy_from_slice(&commitment.0[..28]);
        Self {
            midstate: Midstate::of(&first),
        }
    }

    /// 256 bits of dither.
    pub fn block(&self, number: u32) -> Digest {
        let mut tail = [0; 12];
        tail[..4].copy_from_slice(&number.to_le_bytes());
        Work {
            midstate: self.midstate,
            tail: Tail::from_header_bytes(tail),
        }
        .digest(Nonce(0))
    }
}
