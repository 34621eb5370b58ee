//! The fixed-point functions of the network: power of two, norm, soft-max.
//!
//! "Qf" is a signed 64-bit integer with f fractional bits; shifts and divisions
//! round towards minus infinity. Everything here is exact: no float is involved.

/// `round(2¹⁶ · 2^(−f/256))` for f = 0 … 255.
const EXP2: [u32; 256] = exp2_table();
/// `2¹⁶ · log2(e)`, rounded: turns logits in Q16 into base-2 scores in Q8.
const LOG2_E_Q16: i64 = 94_548;
/// RMS norm's ε = 1e-5 in Q32.
const NORM_EPSILON_Q32: i64 = 42_950;

/// `2^(−distance)` in Q16 for a distance in Q8, which must not be negative.
pub(crate) fn exp2_negative(distance_q8: i64) -> i64 {
    debug_assert!(distance_q8 >= 0);
    let whole = (distance_q8 >> 8).min(31);
    i64::from(EXP2[(distance_q8 & 255) as usize]) >> whole
}

/// RMS norm of `h` (Q16) with gains in 1/64 into `out` (Q16).
///
/// The caller's model has been checked: the squares of `h` sum to less than 2⁶³.
pub(crate) fn norm(h: &[i64], gains: &[i8], out: &mut [i64]) {
    let squares: i64 = h.iter().map(|h| h * h).sum();
    let root = (squares / h.len() as i64 + NORM_EPSILON_Q32).isqrt();
    for ((out, h), gain) in out.iter_mut().zip(h).zip(gains) {
        *out = ((h * i64::from(*gain)) << 10).div_euclid(root);
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
        let h: Vec<i64> = vectors::ints(&entry["h_q16"]);
        let mut out = vec![0; h.len()];
        norm(&h, &vectors::ints::<i8>(&entry["gain"]), &mut out);
        assert_eq!(out, vectors::ints::<i64>(&entry["z_q16"]));
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
