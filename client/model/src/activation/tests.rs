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
fn rows<'a>(exact: &'a [u32], dither: &'a [Digest], range: Range, out: &'a mut [i16]) -> Rows<'a> {
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
