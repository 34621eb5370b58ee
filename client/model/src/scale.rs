//! The scale byte of a seed: a small floating-point number.

/// A tile's scale as stored: exponent in the high 5 bits, mantissa in the low 3.
///
/// Its value is `(8 + mantissa) · 2^(exponent − 24)`, from 2⁻²¹ to 1920.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scale(pub u8);

impl Scale {
    /// The value with 24 fractional bits, 8 to 15·2³¹.
    pub const fn q24(self) -> i64 {
        (8 + (self.0 & 7) as i64) << (self.0 >> 3)
    }

    /// The value as a real number; exact.
    pub const fn to_f64(self) -> f64 {
        self.q24() as f64 / (1u64 << 24) as f64
    }

    /// The representable scale nearest to `value`, a tie going up.
    ///
    /// Values beyond the ends take the end; so do zero, negative numbers and NaN
    /// (the smallest scale).
    pub fn nearest(value: f64) -> Self {
        let steps = value * 16_777_216.0; // 2²⁴, exact
        if steps.is_nan() || steps < 8.0 {
            return Self(0);
        }
        let mut exponent: u8 = 0;
        let mut mantissa = steps;
        while mantissa >= 16.0 && exponent < 32 {
            mantissa /= 2.0; // exact
            exponent += 1;
        }
        let mut mantissa = (mantissa + 0.5).floor();
        if mantissa >= 16.0 {
            mantissa = 8.0;
            exponent += 1;
        }
        if exponent > 31 {
            return Self(u8::MAX);
        }
        Self(exponent << 3 | (mantissa as u8 - 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn scale_codes_match_the_vectors() {
        let vectors = vectors::load();
        for entry in vectors["scale"].as_array().unwrap() {
            let scale = Scale(entry["code"].as_u64().unwrap() as u8);
            if let Some(q24) = entry["q24"].as_i64() {
                assert_eq!(scale.q24(), q24);
            } else {
                assert_eq!(Scale::nearest(entry["real"].as_f64().unwrap()), scale);
            }
        }
    }

    #[test]
    fn every_scale_is_its_own_nearest() {
        for code in 0..=u8::MAX {
            assert_eq!(Scale::nearest(Scale(code).to_f64()), Scale(code));
        }
    }

    #[test]
    fn nearest_really_is_nearest() {
        for pair in (0..=u8::MAX).collect::<Vec<_>>().windows(2) {
            let (low, high) = (Scale(pair[0]).to_f64(), Scale(pair[1]).to_f64());
            let below = low + (high - low) * 0.499;
            let above = low + (high - low) * 0.501;
            assert_eq!(Scale::nearest(below).0, pair[0]);
            assert_eq!(Scale::nearest(above).0, pair[1]);
        }
    }

    #[test]
    fn scales_out_of_reach_take_the_end() {
        for low in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-30] {
            assert_eq!(Scale::nearest(low), Scale(0));
        }
        for high in [1921.0, 2048.0, 1e30, f64::INFINITY] {
            assert_eq!(Scale::nearest(high), Scale(255));
        }
    }
}
