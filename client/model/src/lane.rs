//! Lanes: the dither bits of one activation vector, expanded from its anchor.
//!
//! ```text
//! 0        4          36                     64      68        80
//! "HSH2" | anchor   | first 28 bytes of C  | block | zeros   |   ──HH──► 256 bits
//! ```
//!
//! Always hashed on this CPU: no device can answer these headers. Many lanes are hashed
//! together.

use hasher_kernel::{digest_batch, double_digest_batch};
use hasher_work::Digest;

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

/// Fixed bytes of the message that a lane commits to, before the codes.
const PREFIX_BYTES: usize = 20;

/// Scratch space in which the digests of many lanes are computed together, so that the
/// CPU's vector lanes are full.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// What each lane commits to, all of one length.
    messages: Vec<u8>,
    headers: Vec<[u8; 80]>,
}

/// Messages that lanes commit to, as [`Oracle::begin`] leaves them.
#[derive(Debug)]
pub(crate) struct LaneMessages<'a> {
    messages: &'a mut [u8],
    length: usize,
}

impl<'a> LaneMessages<'a> {
    /// Where the nearest codes of each lane go, packed; all zero so far.
    #[inline(always)]
    pub fn packed(self) -> impl Iterator<Item = &'a mut [u8]> {
        let messages = self.messages.chunks_exact_mut(self.length);
        messages.map(|message| &mut message[PREFIX_BYTES..])
    }
}

impl Oracle {
    /// Memory in use.
    pub fn bytes(&self) -> usize {
        self.messages.capacity() + self.headers.capacity() * size_of::<[u8; 80]>()
    }

    /// Begins with lanes of vectors of `units` codes of `code_bits` bits, one for each key;
    /// the caller writes the codes.
    pub fn begin(
        &mut self,
        keys: impl ExactSizeIterator<Item = LaneKey>,
        code_bits: u32,
        units: usize,
    ) -> LaneMessages<'_> {
        let length = PREFIX_BYTES + (units * code_bits as usize).div_ceil(8);
        self.messages.clear();
        self.messages.resize(keys.len() * length, 0);
        for (message, key) in self.messages.chunks_exact_mut(length).zip(keys) {
            let mut prefix = [0; PREFIX_BYTES];
            prefix[..8].copy_from_slice(b"HSHRlan1");
            prefix[8..10].copy_from_slice(&key.layer.to_le_bytes());
            prefix[10..12].copy_from_slice(&[key.site, code_bits as u8]);
            prefix[12..14].copy_from_slice(&key.pass.to_le_bytes());
            prefix[14..18].copy_from_slice(&key.position.to_le_bytes());
            prefix[18..].copy_from_slice(&(units as u16).to_le_bytes());
            message[..PREFIX_BYTES].copy_from_slice(&prefix);
        }
        LaneMessages {
            messages: &mut self.messages,
            length,
        }
    }

    /// `blocks` times 256 bits of dither for each lane, lane by lane. `anchors` are
    /// those of the lanes.
    pub fn dither<'a>(
        &mut self,
        anchors: impl ExactSizeIterator<Item = &'a Digest>,
        blocks: usize,
    ) -> Vec<Digest> {
        let lanes = anchors.len();
        if lanes == 0 {
            return Vec::new();
        }
        let length = self.messages.len() / lanes;
        debug_assert!(length >= PREFIX_BYTES && length * lanes == self.messages.len());
        let messages: Vec<&[u8]> = self.messages.chunks_exact(length).collect();
        let commitments = digest_batch(&messages);
        self.headers.clear();
        for (anchor, commitment) in anchors.zip(&commitments) {
            let mut header = [0; 80];
            header[..4].copy_from_slice(b"HSH2");
            header[4..36].copy_from_slice(&anchor.0);
            header[36..64].copy_from_slice(&commitment.0[..28]);
            for number in 0..blocks as u32 {
                header[64..68].copy_from_slice(&number.to_le_bytes());
                self.headers.push(header);
            }
        }
        double_digest_batch(&self.headers)
    }
}

#[cfg(test)]
impl Oracle {
    pub fn message(&self) -> &[u8] {
        &self.messages
    }

    pub fn first_header(&self) -> [u8; 80] {
        self.headers[0]
    }
}
