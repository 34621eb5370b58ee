//! The hash activation: a quantiser whose rounding is dithered by the oracle.
//!
//! It owns the rounding rule and the bit order of codes and dither. A vector's
//! dither depends on all its nearest codes, so it works on whole vectors.

use hasher_kernel::{Loop, run};
use hasher_work::Digest;

use crate::config::Config;
use crate::lane::{LaneKey, LaneMessages, Oracle, OracleCount};

/// Quantises vectors; keeps scratch space and counts its hashes. Public for the
/// trainer, whose forward pass may ask the real oracle.
#[derive(Debug)]
pub struct HashActivation {
    code_bits: u32,
    dither_bits: u32,
    /// Dither-free codes with 16 fractional bits, clamped to the code's range.
    exact: Vec<u32>,
    nearest: Vec<u8>,
    oracle: Oracle,
    count: OracleCount,
}

/// Whether an activation has a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Odd codes −M … M.
    Signed,
    /// Codes 0 … M: a clipped ReLU.
    Unsigned,
}

impl HashActivation {
    /// The activation of a model that has been checked.
    pub fn new(config: &Config) -> Self {
        Self {
            code_bits: config.code_bits,
            dither_bits: config.dither_bits,
            exact: Vec::new(),
            nearest: Vec::new(),
            oracle: Oracle::default(),
            count: OracleCount::default(),
        }
    }

    /// Begins anew for a model that has been checked, with the memory of before.
    pub(crate) fn restart(&mut self, config: &Config) {
        self.code_bits = config.code_bits;
        self.dither_bits = config.dither_bits;
        self.count = OracleCount::default();
    }

    /// Memory in use.
    pub(crate) fn bytes(&self) -> usize {
        let exact = self.exact.capacity() * size_of::<u32>();
        exact + self.nearest.capacity() + self.oracle.bytes()
    }

    /// Hashes computed so far.
    pub fn count(&self) -> OracleCount {
        self.count
    }

    /// Quantises vectors (Q16), one for each lane, into codes with `code_bits − 1`
    /// fractional bits.
    ///
    /// `z` holds as many vectors as there are lanes, all of `width` units; `out` as
    /// many rows of at least that width, of which the rest is left alone. Many vectors
    /// at once are several times faster than one by one.
    ///
    /// # Panics
    /// When the lengths do not fit one another.
    pub fn apply(
        &mut self,
        z: &[i32],
        width: usize,
        range: Range,
        lanes: &[(Digest, LaneKey)],
        out: &mut [i16],
    ) {
        assert_eq!(z.len(), lanes.len() * width, "one vector for each lane");
        assert_eq!(out.len() % lanes.len().max(1), 0, "one row for each lane");
        if z.is_empty() {
            return;
        }
        let stride = out.len() / lanes.len();
        assert!(stride >= width, "rows hold their vectors");
        self.exact.resize(z.len(), 0);
        self.nearest.resize(width, 0);
        let keys = lanes.iter().map(|(_, key)| *key);
        let messages = self.oracle.begin(keys, self.code_bits, width);
        run(Nearest {
            z,
            range,
            code_bits: self.code_bits,
            exact: &mut self.exact,
            nearest: &mut self.nearest,
            messages,
        });
        let blocks = width.div_ceil(DITHER_BITS / self.dither_bits as usize);
        let anchors = lanes.iter().map(|(anchor, _)| anchor);
        let dither = self.oracle.dither(anchors, blocks);
        self.count.lanes += lanes.len() as u64;
        self.count.digests += dither.len() as u64;
        let rows = Rows {
            exact: &self.exact,
            width,
            dither: &dither,
            blocks,
            out,
            stride,
            range,
            code_bits: self.code_bits,
        };
        match self.dither_bits {
            1 => run(Round::<1>(rows)),
            2 => run(Round::<2>(rows)),
            4 => run(Round::<4>(rows)),
            _ => run(Round::<8>(rows)),
        }
    }
}

/// Bits of one digest.
const DITHER_BITS: usize = 256;

/// Dither-free codes of vectors.
struct Nearest<'a> {
    z: &'a [i32],
    range: Range,
    code_bits: u32,
    /// With 16 fractional bits, clamped to the code's range.
    exact: &'a mut [u32],
    /// Those of one vector, whose length this has; at last those of the last one.
    nearest: &'a mut [u8],
    /// Where those of each vector go, packed.
    messages: LaneMessages<'a>,
}

impl Loop for Nearest<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Far outside every code's range; nearer values keep within 32 bits.
        const FAR: i32 = 1 << 18;
        let b = self.code_bits;
        let most = (1i32 << b) - 1;
        let (shift, offset) = match self.range {
            Range::Signed => (2, most << 15),
            Range::Unsigned => (1, 0),
        };
        for (exact, z) in self.exact.iter_mut().zip(self.z) {
            let t = (((*z).clamp(-FAR, FAR) << b) >> shift) + offset;
            *exact = t.clamp(0, most << 16).cast_unsigned();
        }
        let rows = self.exact.chunks_exact(self.nearest.len());
        for (exact, packed) in rows.zip(self.messages.packed()) {
            for (nearest, t) in self.nearest.iter_mut().zip(exact) {
                *nearest = ((t + 0x8000) >> 16) as u8;
            }
            match b {
                1 => pack::<1, 8>(self.nearest, packed),
                2 => pack::<2, 4>(self.nearest, packed),
                4 => pack::<4, 2>(self.nearest, packed),
                8 => packed.copy_from_slice(self.nearest),
                _ => pack_across_bytes(self.nearest, b, packed),
            }
        }
    }
}

/// Packs codes of B bits, `CODES` of which fill a byte.
#[inline(always)]
fn pack<const B: usize, const CODES: usize>(codes: &[u8], packed: &mut [u8]) {
    let (whole, rest) = codes.as_chunks::<CODES>();
    for (byte, codes) in packed.iter_mut().zip(whole) {
        *byte = 0;
        for (at, code) in codes.iter().enumerate() {
            *byte |= code << (B * at);
        }
    }
    if let Some(byte) = packed.get_mut(whole.len()) {
        for (at, code) in rest.iter().enumerate() {
            *byte |= code << (B * at);
        }
    }
}

/// Packs codes of `code_bits` bits, of which some straddle two bytes.
fn pack_across_bytes(codes: &[u8], code_bits: u32, packed: &mut [u8]) {
    let mut packed = packed.iter_mut();
    // Bits that do not yet fill a byte.
    let (mut bits, mut filled) = (0u32, 0);
    for code in codes {
        bits |= u32::from(*code) << filled;
        filled += code_bits;
        if filled >= 8 {
            if let Some(byte) = packed.next() {
                *byte = bits as u8;
            }
            bits >>= 8;
            filled -= 8;
        }
    }
    if let Some(byte) = packed.next() {
        *byte = bits as u8;
    }
}

/// Vectors on their way from exact codes to rounded ones.
struct Rows<'a> {
    /// `width` of each vector.
    exact: &'a [u32],
    width: usize,
    /// `blocks` of each vector.
    dither: &'a [Digest],
    blocks: usize,
    /// `stride` of each vector, of which the first `width` are written.
    out: &'a mut [i16],
    stride: usize,
    range: Range,
    code_bits: u32,
}

/// Rounds exact codes up or down as R bits of dither for each unit say. Units never
/// straddle a byte, since R divides 8.
struct Round<'a, const R: usize>(Rows<'a>);

impl<const R: usize> Loop for Round<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const LANES: usize = 16;
        let Self(rows) = self;
        let (step, low) = match rows.range {
            Range::Signed => (2, 1 - (1i16 << rows.code_bits)),
            Range::Unsigned => (1, 0),
        };
        let units = DITHER_BITS / R;
        let round = |exact: u32, k: u8| {
            let code = (exact + ((2 * u32::from(k) + 1) << (15 - R))) >> 16;
            step * code as i16 + low
        };
        let exact = rows.exact.chunks_exact(rows.width);
        let dither = rows.dither.chunks_exact(rows.blocks);
        let out = rows.out.chunks_exact_mut(rows.stride);
        for ((exact, dither), out) in exact.zip(dither).zip(out) {
            let pieces = exact.chunks(units).zip(out[..rows.width].chunks_mut(units));
            for ((exact, out), digest) in pieces.zip(dither) {
                let mut k = [0; DITHER_BITS];
                for (k, byte) in k.chunks_exact_mut(8 / R).zip(digest.0) {
                    for (at, k) in k.iter_mut().enumerate() {
                        *k = (byte >> (R * at)) & (0xff >> (8 - R));
                    }
                }
                let (exact, exact_rest) = exact.as_chunks::<LANES>();
                let (out, out_rest) = out.as_chunks_mut::<LANES>();
                let k = k.as_chunks::<LANES>().0;
                for ((exact, k), out) in exact.iter().zip(k).zip(out) {
                    let mut rounded = [0; LANES];
                    for i in 0..LANES {
                        rounded[i] = round(exact[i], k[i]);
                    }
                    *out = rounded;
                }
                let k = k.get(exact.len()).into_iter().flatten();
                for ((exact, k), out) in exact_rest.iter().zip(k).zip(out_rest) {
                    *out = round(*exact, *k);
                }
            }
        }
    }
}

#[cfg(test)]
impl HashActivation {
    pub(crate) fn nearest(&self) -> &[u8] {
        &self.nearest
    }
}

#[cfg(test)]
mod tests;
