//! The fixed-point functions of the network: power of two, norm, soft-max.
//!
//! "Qf" is a signed integer with f fractional bits; shifts and divisions round towards
//! minus infinity. Everything here is exact; where floats divide integers, it is said why
//! nothing is lost.

use hasher_kernel::{Loop, run};

/// `round(2¹⁶ · 2^(−f/256))` for f = 0 … 255.
const EXP2: [u32; 256] = exp2_table();
/// `2¹⁶ · log2(e)`, rounded: turns logits in Q16 into base-2 scores in Q8.
const LOG2_E_Q16: i64 = 94_548;
/// RMS norm's ε = 1e-5 in Q32.
const NORM_EPSILON_Q32: i64 = 42_950;

/// `2^(−distance)` in Q16 for a distance in Q8, which must not be negative.
#[inline(always)]
pub(crate) fn exp2_negative(distance_q8: i64) -> i64 {
    debug_assert!(distance_q8 >= 0);
    let whole = (distance_q8 >> 8).min(31);
    i64::from(EXP2[(distance_q8 & 255) as usize]) >> whole
}

/// RMS norm of each row of `h` (Q16), as long as there are gains in 1/64, into `out` (Q16).
///
/// The caller's model has been checked: the squares of a row sum to less than 2⁶³.
pub(crate) fn norm(h: &[i32], gains: &[i8], out: &mut [i32]) {
    run(Norm { h, gains, out });
}

struct Norm<'a> {
    h: &'a [i32],
    gains: &'a [i8],
    out: &'a mut [i32],
}

impl Loop for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.gains.len();
        let rows = self.h.chunks_exact(width);
        for (h, out) in rows.zip(self.out.chunks_exact_mut(width)) {
            let squares: i64 = h.iter().map(|h| i64::from(*h) * i64::from(*h)).sum();
            let root = square_root(squares / width as i64 + NORM_EPSILON_Q32);
            let root = FloatDivisor::new(root);
            // Dividends of at most 2⁴⁸; a quotient is below 2¹⁷ times the root of the width.
            for ((out, h), gain) in out.iter_mut().zip(h).zip(self.gains) {
                *out = root.divide(f64::from(*h) * f64::from(i32::from(*gain) << 10));
            }
        }
    }
}

/// `⌊√n⌋` of a number that is not negative.
#[inline(always)]
fn square_root(n: i64) -> i64 {
    // Off by one at most: a float has 53 bits, a root 32.
    let (n, near) = (n.cast_unsigned(), (n as f64).sqrt() as u64);
    let root = if near * near > n {
        near - 1
    } else {
        near + u64::from((near + 1) * (near + 1) <= n)
    };
    root.cast_signed()
}

/// How many terms of a weight (at most 2¹⁶) times a value (32 bits) sum to less than 2⁵².
pub(crate) const QUOTIENT_TERMS_MAX: usize = 32;

/// A positive whole number below 2⁵² by which many others are divided, in vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FloatDivisor {
    number: f64,
    reciprocal: f64,
}

impl FloatDivisor {
    /// # Panics
    /// When `number` is not positive.
    #[inline(always)]
    pub fn new(number: i64) -> Self {
        assert!(number > 0, "a divisor is positive");
        let number = number as f64;
        Self {
            number,
            reciprocal: 1.0 / number,
        }
    }

    /// `⌊dividend / number⌋` if that fits 32 bits; the dividend is a whole number below
    /// 2⁵² in magnitude.
    #[inline(always)]
    pub fn divide(self, dividend: f64) -> i32 {
        /// From here on a float's last bit is worth one: its low bits are the whole number
        /// added to this.
        const WHOLE: f64 = 6_755_399_441_055_744.0;
        // Two roundings leave far less than half of one: the nearest whole number is the
        // floor, or one more. Products and differences of whole numbers below 2⁵³ are exact.
        let shifted = dividend * self.reciprocal + WHOLE;
        let nearest = shifted - WHOLE;
        let rest = dividend - nearest * self.number;
        // A conversion that saturates would be done number by number.
        let nearest = shifted.to_bits().cast_signed();
        (nearest - i64::from(rest < 0.0)) as i32
    }
}

/// A positive number by which many others are divided: one division of the CPU for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divisor {
    number: u64,
    /// `⌊(2⁶⁴ − 1) / number⌋`.
    reciprocal: u64,
}

impl Divisor {
    /// # Panics
    /// When `number` is not positive.
    pub fn new(number: i64) -> Self {
        assert!(number > 0, "a divisor is positive");
        let number = number.unsigned_abs();
        Self {
            number,
            reciprocal: u64::MAX / number,
        }
    }

    /// `⌊dividend / number⌋`.
    #[inline]
    pub fn divide(self, dividend: i64) -> i64 {
        // For a negative n, ⌊n / d⌋ = −1 − ⌊(|n| − 1) / d⌋: complements on both sides.
        let sign = dividend >> 63;
        let magnitude = (dividend ^ sign).cast_unsigned(); // n, or |n| − 1
        // 2⁶⁴ / number exceeds the reciprocal by at most 2, and the magnitude is below
        // 2⁶³: the product's upper half falls short of the quotient by at most 1.
        let product = u128::from(magnitude) * u128::from(self.reciprocal);
        let mut quotient = (product >> 64) as u64;
        let rest = magnitude - quotient * self.number;
        quotient += u64::from(rest >= self.number);
        debug_assert!(magnitude - quotient * self.number < self.number);
        quotient.cast_signed() ^ sign
    }
}

/// Base-2 scores in Q8 of logits in Q16.
fn scores(logits: &[i32]) -> impl Iterator<Item = i64> + '_ {
    logits.iter().map(|l| (i64::from(*l) * LOG2_E_Q16) >> 24)
}

/// Soft-max of logits in Q16: one probability in Q16 per class. The sum may fall
/// short of 2¹⁶ by rounding, by less than one per class.
pub fn probabilities(logits: &[i32]) -> Vec<u32> {
    let max = scores(logits).max().unwrap_or(0);
    let e: Vec<i64> = scores(logits).map(|s| exp2_negative(max - s)).collect();
    let sum: i64 = e.iter().sum();
    // The largest score has e = 2¹⁶, so the sum is positive.
    e.into_iter().map(|e| ((e << 16) / sum) as u32).collect()
}

const fn exp2_table() -> [u32; 256] {
    // 2^(−1/256) in Q62 by eight square roots of one half.
    let mut root: u128 = 1 << 61;
    let mut i = 0;
    while i < 8 {
        root = (root << 62).isqrt();
        i += 1;
    }
    let mut table = [0; 256];
    let mut power: u128 = 1 << 62;
    let mut f = 0;
    while f < 256 {
        table[f] = ((power + (1 << 45)) >> 46) as u32;
        power = (power * root) >> 62;
        f += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use hasher_work::digest;

    use super::*;
    use crate::vectors;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dividing_by_a_reciprocal_is_dividing(
            dividend in any::<i64>(), shift in 0u32..63, number in 1i64.., small in 1i64..100,
        ) {
            let dividend = dividend >> shift;
            for number in [number, number >> shift, small] {
                let number = number.max(1);
                let divisor = Divisor::new(number);
                let multiple = dividend / number * number;
                for dividend in [dividend, multiple, multiple.saturating_sub(1)] {
                    prop_assert_eq!(divisor.divide(dividend), dividend.div_euclid(number));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_quotient_of_floats_is_rounded_as_one_of_integers(
            quotient in -(1i64 << 30)..1 << 30, divisor in 1i64..1 << 21, rest in -1i64..=1,
        ) {
            // Dividends next to a whole quotient are the hard ones.
            let dividend = quotient * divisor + rest;
            let floor = FloatDivisor::new(divisor).divide(dividend as f64);
            prop_assert_eq!(i64::from(floor), dividend.div_euclid(divisor));
        }

        #[test]
        fn a_root_is_rounded_down(root in 0i64..3_037_000_500, offset in -1i64..=1, n in 0i64.., shift in 0u32..63) {
            for n in [(root * root + offset).max(0), n >> shift, i64::MAX] {
                prop_assert_eq!(square_root(n), n.isqrt());
            }
        }

        #[test]
        fn norm_is_the_integer_formula(
            rows in proptest::collection::vec(proptest::collection::vec(any::<i32>(), 21), 0..4),
            gains in proptest::collection::vec(any::<i8>(), 21), shift in 0u32..32,
        ) {
            let h: Vec<i32> = rows.concat().iter().map(|h| h >> shift >> 3).collect();
            let mut out = vec![0; h.len()];
            norm(&h, &gains, &mut out);
            for (h, out) in h.chunks_exact(21).zip(out.chunks_exact(21)) {
                let squares: i64 = h.iter().map(|h| i64::from(*h) * i64::from(*h)).sum();
                let root = Divisor::new((squares / 21 + NORM_EPSILON_Q32).isqrt());
                for ((h, gain), out) in h.iter().zip(&gains).zip(out) {
                    let expected = root.divide((i64::from(*h) * i64::from(*gain)) << 10);
                    prop_assert_eq!(i64::from(*out), expected);
                }
            }
        }
    }

    #[test]
    fn the_extremes_divide_too() {
        for number in [1, 2, 3, i64::MAX - 1, i64::MAX] {
            for dividend in [i64::MIN, i64::MIN + 1, -number, -1, 0, 1, number, i64::MAX] {
                let quotient = Divisor::new(number).divide(dividend);
                assert_eq!(
                    quotient,
                    dividend.div_euclid(number),
                    "{dividend} / {number}"
                );
            }
        }
    }

    #[test]
    fn the_power_table_matches_the_vectors() {
        let vectors = vectors::load();
        let entry = &vectors["exp2_table"];
        assert_eq!(EXP2[..8], vectors::ints::<u32>(&entry["first8"]));
        assert_eq!(u64::from(EXP2[255]), entry["last"].as_u64().unwrap());
        let bytes: Vec<u8> = EXP2.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(
            digest(&bytes).to_hex(),
            entry["sha256_u32le"].as_str().unwrap()
        );
    }

    #[test]
    fn floor_roots_match_the_vectors() {
        for pair in vectors::load()["isqrt"].as_array().unwrap() {
            let pair: Vec<i64> = vectors::ints(pair);
            assert_eq!(pair[0].isqrt(), pair[1]);
        }
    }

    #[test]
    fn norm_matches_the_vectors() {
        let vectors = vectors::load();
        let entry = &vectors["rmsnorm"];
        let h: Vec<i32> = vectors::ints(&entry["h_q16"]);
        let mut out = vec![0; h.len()];
        norm(&h, &vectors::ints::<i8>(&entry["gain"]), &mut out);
        assert_eq!(out, vectors::ints::<i32>(&entry["z_q16"]));
    }

    #[test]
    fn soft_max_matches_the_vectors() {
        let vectors = vectors::load();
        let entry = &vectors["softexp"];
        let scores: Vec<i64> = vectors::ints(&entry["log2score_q8"]);
        let max = *scores.iter().max().unwrap();
        let e: Vec<i64> = scores.iter().map(|s| exp2_negative(max - s)).collect();
        assert_eq!(e, vectors::ints::<i64>(&entry["e_q16"]));
        let sum: i64 = e.iter().sum();
        let p: Vec<i64> = e.iter().map(|e| (e << 16) / sum).collect();
        assert_eq!(p, vectors::ints::<i64>(&entry["p_q16"]));

        let entry = &vectors["probabilities"];
        let p = probabilities(&vectors::ints::<i32>(&entry["logits_q16"]));
        assert_eq!(p, vectors::ints::<u32>(&entry["p_q16"]));
    }

    #[test]
    fn far_scores_have_no_weight_but_never_overflow() {
        assert_eq!(exp2_negative(0), 1 << 16);
        assert_eq!(exp2_negative(17 << 8), 0);
        assert_eq!(exp2_negative(i64::MAX), 0);
        let p = probabilities(&[i32::MAX, i32::MIN, 0]);
        assert_eq!(p, [1 << 16, 0, 0]);
        assert!(probabilities(&[]).is_empty());
    }
}
