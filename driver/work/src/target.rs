use std::fmt;

use crate::{Digest, WorkError, to_hex};

/// The bound that a double digest must not exceed, as a 256-bit number in
/// little-endian bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target([u8; 32]);

impl Target {
    /// The bound that every digest meets.
    pub const ANY: Self = Self([0xff; 32]);

    /// The target whose digests have at least `zero_bits` leading zero bits (0 to 256).
    ///
    /// # Errors
    /// [`WorkError::BadZeroBits`] above 256.
    pub fn from_zero_bits(zero_bits: u32) -> Result<Self, WorkError> {
        if zero_bits > 256 {
            return Err(WorkError::BadZeroBits(zero_bits));
        }
        let mut bytes = [0xff; 32];
        let whole = (zero_bits / 8) as usize;
        for byte in bytes.iter_mut().rev().take(whole) {
            *byte = 0;
        }
        if whole < 32 {
            bytes[31 - whole] >>= zero_bits % 8;
        }
        Ok(Self(bytes))
    }

    /// The target of a header's `nbits` field: mantissa · 256^(exponent − 3).
    ///
    /// # Errors
    /// [`WorkError::BadCompactTarget`] when it is negative, zero or does not fit in 256 bits.
    pub fn from_compact(nbits: u32) -> Result<Self, WorkError> {
        let bad = WorkError::BadCompactTarget(nbits);
        let exponent = (nbits >> 24) as usize;
        let mantissa = nbits & 0x007f_ffff;
        if nbits & 0x0080_0000 != 0 || mantissa == 0 {
            return Err(bad);
        }
        let mut bytes = [0; 32];
        for (i, byte) in mantissa.to_le_bytes()[..3].iter().enumerate() {
            match (exponent + i).checked_sub(3) {
                Some(at) if at < 32 => bytes[at] = *byte,
                Some(_) if *byte != 0 => return Err(bad),
                _ => {} // below the point, or a zero above the top
            }
        }
        if bytes == [0; 32] {
            return Err(bad);
        }
        Ok(Self(bytes))
    }

    /// From 32 little-endian bytes; every value is legal.
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 little-endian bytes.
    pub const fn to_le_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether `digest`, read as a little-endian number, is at most this target.
    pub fn is_met_by(&self, digest: &Digest) -> bool {
        self.0.iter().rev().ge(digest.0.iter().rev())
    }

    /// Leading zero bits that every digest meeting this target has, 0 to 256.
    ///
    /// A filter on so many bits never drops a digest that meets the target.
    pub fn zero_bits(&self) -> u32 {
        Digest(self.0).leading_zero_bits()
    }

    /// Double hashes that one digest meeting this target costs on average.
    pub fn expected_hashes(&self) -> f64 {
        let value: f64 = self
            .0
            .iter()
            .rev()
            .fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        2f64.powi(256) / (value + 1.0)
    }
}

impl fmt::Display for Target {
    /// Most significant byte first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reversed = self.0;
        reversed.reverse();
        f.write_str(&to_hex(&reversed))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bits_make_the_matching_bound() {
        for bits in 0..=256 {
            let target = Target::from_zero_bits(bits).unwrap();
            assert_eq!(target.zero_bits(), bits);
            assert!(target.is_met_by(&Digest(target.to_le_bytes())));
        }
        assert!(Target::from_zero_bits(257).is_err());
    }

    #[test]
    fn one_above_the_bound_misses() {
        let target = Target::from_zero_bits(32).unwrap();
        let mut digest = [0; 32];
        digest[28] = 1;
        assert!(!target.is_met_by(&Digest(digest)));
        digest[28] = 0;
        assert!(target.is_met_by(&Digest(digest)));
    }

    #[test]
    fn difficulty_one_is_the_published_bound() {
        let target = Target::from_compact(0x1d00_ffff).unwrap();
        assert_eq!(
            target.to_string(),
            "00000000ffff0000000000000000000000000000000000000000000000000000"
        );
        assert!((target.expected_hashes() / 4_295_032_833.0 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn compact_targets_outside_256_bits_are_refused() {
        for nbits in [0, 0x1d80_ffff, 0x2301_0000, 0x0100_00ff, 0xff00_ffff] {
            assert!(Target::from_compact(nbits).is_err(), "{nbits:08x}");
        }
        assert!(Target::from_compact(0x2100_ffff).is_ok());
    }
}
