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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Task, vectors};

    fn activation(code_bits: u32, dither_bits: u32) -> HashActivation {
        HashActivation::new(&Config {
            task: Task::Classifier,
            width: 1,
            hidden: 1,
            layers: 1,
            heads: 1,
            positions: 1,
            inputs: 1,
            classes: 1,
            code_bits,
            dither_bits,
            input_fraction: 0,
            vocabulary: 0,
        })
    }

    const KEY: LaneKey = LaneKey {
        layer: 0,
        site: 0,
        pass: 0,
        position: 0,
    };

    #[test]
    fn every_published_activation_is_met_bit_for_bit() {
        let vectors = vectors::load();
        let entry = &vectors["hash_activation"];
        let anchor = Digest(vectors::bytes_of(&entry["anchor"]));
        let cases = entry["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 5);
        for case in cases {
            let field = |name: &str| case[name].as_u64().unwrap() as u32;
            let mut activation = activation(field("bits"), field("dither_bits"));
            let z: Vec<i32> = vectors::ints(&case["z_q16"]);
            assert_eq!(z.len(), field("n") as usize);
            let range = match case["signed"].as_bool().unwrap() {
                true => Range::Signed,
                false => Range::Unsigned,
            };
            let key = LaneKey {
                layer: field("layer") as u16,
                site: field("site") as u8,
                pass: field("pass") as u16,
                position: field("pos"),
            };
            let mut out = vec![0; z.len()];
            activation.apply(&z, z.len(), range, &[(anchor, key)], &mut out);
            assert_eq!(
                activation.nearest,
                vectors::ints::<u8>(&case["nearest_codes"])
            );
            assert!(
                activation
                    .oracle
                    .message()
                    .ends_with(&vectors::bytes(&case["packed"]))
            );
            assert_eq!(out, vectors::ints::<i16>(&case["outputs"]));
            let header: [u8; 80] = vectors::bytes_of(&case["lane_header_block0"]);
            assert_eq!(activation.oracle.first_header(), header);
        }
    }

    #[test]
    fn many_vectors_at_once_get_what_each_alone_gets() {
        for width in [1, 31, 32, 33, 128] {
            let z: Vec<i32> = (0..40 * width as i32)
                .map(|i| (i * 7919) % 200_000 - 100_000)
                .collect();
            let lanes: Vec<_> = (0..40u8)
                .map(|i| {
                    let position = u32::from(i % 8);
                    let pass = u16::from(i / 8);
                    (
                        Digest([i / 8; 32]),
                        LaneKey {
                            pass,
                            position,
                            ..KEY
                        },
                    )
                })
                .collect();
            let stride = width + 3;
            let mut together = vec![7; 40 * stride];
            let mut activation = activation(4, 8);
            activation.apply(&z, width, Range::Signed, &lanes, &mut together);
            let count = activation.count();
            assert_eq!(count.digests, 40 * width.div_ceil(32) as u64);
            for (row, (z, lane)) in z.chunks_exact(width).zip(&lanes).enumerate() {
                let mut alone = vec![0; width];
                activation.apply(z, width, Range::Signed, &[*lane], &mut alone);
                assert_eq!(together[row * stride..][..width], alone);
                assert_eq!(together[row * stride + width..][..3], [7; 3]);
            }
        }
    }

    /// `step · ⌊t + u⌋ + low` with u from bits i·r … i·r + r − 1 for unit i, as written.
    fn rounded(exact: &[u32], dither: &[Digest], r: usize, step: i16, low: i16) -> Vec<i16> {
        let bits: Vec<u8> = dither.iter().flat_map(|digest| digest.0).collect();
        let bit = |at: usize| u32::from(bits[at >> 3] >> (at & 7) & 1);
        let code = |(i, t): (usize, &u32)| {
            let k: u32 = (0..r).map(|j| bit(i * r + j) << j).sum();
            step * ((t + ((2 * k + 1) << (15 - r))) >> 16) as i16 + low
        };
        exact.iter().enumerate().map(code).collect()
    }

    /// One vector.
    fn rows<'a>(
        exact: &'a [u32],
        dither: &'a [Digest],
        range: Range,
        out: &'a mut [i16],
    ) -> Rows<'a> {
        Rows {
            exact,
            width: exact.len(),
            dither,
            blocks: dither.len(),
            stride: out.len(),
            out,
            range,
            code_bits: 4,
        }
    }

    proptest! {
        #[test]
        fn every_unit_is_rounded_by_its_own_bits(
            exact in proptest::collection::vec(0u32..=255 << 16, 1..600), noise: [u8; 32],
        ) {
            // As many digests as 600 units of 8 bits take.
            let dither: Vec<Digest> = (0..19u8).map(|i| Digest(noise.map(|n| n.wrapping_add(i.wrapping_mul(37))))).collect();
            let mut out = vec![0; exact.len()];
            run(Round::<1>(rows(&exact, &dither, Range::Signed, &mut out)));
            prop_assert_eq!(&out, &rounded(&exact, &dither, 1, 2, -15));
            run(Round::<2>(rows(&exact, &dither, Range::Signed, &mut out)));
            prop_assert_eq!(&out, &rounded(&exact, &dither, 2, 2, -15));
            run(Round::<4>(rows(&exact, &dither, Range::Unsigned, &mut out)));
            prop_assert_eq!(&out, &rounded(&exact, &dither, 4, 1, 0));
            run(Round::<8>(rows(&exact, &dither, Range::Unsigned, &mut out)));
            prop_assert_eq!(&out, &rounded(&exact, &dither, 8, 1, 0));
        }

        #[test]
        fn packing_whole_bytes_is_packing(codes in proptest::collection::vec(any::<u8>(), 0..70)) {
            for bits in [1, 2, 4] {
                let codes: Vec<u8> = codes.iter().map(|code| code & ((1 << bits) - 1)).collect();
                let mut expected = vec![0; (codes.len() * bits).div_ceil(8)];
                let mut packed = expected.clone();
                pack_across_bytes(&codes, bits as u32, &mut expected);
                match bits {
                    1 => pack::<1, 8>(&codes, &mut packed),
                    2 => pack::<2, 4>(&codes, &mut packed),
                    _ => pack::<4, 2>(&codes, &mut packed),
                }
                prop_assert_eq!(packed, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn codes_stay_in_range_and_within_one_step(
            z in proptest::collection::vec(-200_000i32..200_000, 1..70), code_bits in 1u32..9,
            dither in 0u32..4, signed: bool, anchor: [u8; 32],
        ) {
            let mut activation = activation(code_bits, 1 << dither);
            let range = if signed { Range::Signed } else { Range::Unsigned };
            let mut out = vec![0; z.len()];
            activation.apply(&z, z.len(), range, &[(Digest(anchor), KEY)], &mut out);
            let most = (1i64 << code_bits) - 1;
            let one = 1i64 << (code_bits - 1);
            for (z, code) in z.iter().zip(out) {
                let code = i64::from(code);
                let (low, step) = if signed { (-most, 2) } else { (0, 1) };
                prop_assert!((low..=most).contains(&code) && (code - low) % step == 0);
                // The real value of the code against the clipped input, in Q16.
                let clipped = i64::from(*z).clamp(low * 65_536 / one, most * 65_536 / one);
                prop_assert!((code * 65_536 / one - clipped).abs() <= step * 65_536 / one + 2);
            }
        }
    }

    #[test]
    fn rounding_is_unbiased_over_anchors() {
        // A value three tenths between two codes rounds up three times in ten.
        let mut activation = activation(4, 8);
        let z = vec![(0.3 * 16_384.0) as i32 + 8192; 64];
        let (mut sum, mut n) = (0i64, 0);
        for anchor in 0..200u8 {
            let mut out = vec![0; z.len()];
            let lane = (Digest([anchor; 32]), KEY);
            activation.apply(&z, z.len(), Range::Signed, &[lane], &mut out);
            sum += out.iter().map(|c| i64::from(*c)).sum::<i64>();
            n += 64;
        }
        let mean = sum as f64 / f64::from(n);
        let wanted = f64::from(z[0]) / 8192.0; // one code unit is 2¹³ in Q16
        // 12800 draws of a step of 2: the standard error is below 0.01.
        assert!((mean - wanted).abs() < 0.04, "{mean} {wanted}");
    }
}
