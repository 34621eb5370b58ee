use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{WorkError, from_hex, to_hex};

/// 32 bytes of SHA-256, in the order in which SHA-256 writes them.
///
/// Bitcoin shows digests of headers with the bytes reversed; [`Digest::display_order`]
/// gives that text. `Display` and [`Digest::to_hex`] do not reverse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The bytes as hexadecimal, first byte first.
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The bytes as hexadecimal, last byte first, as block explorers print them.
    pub fn display_order(&self) -> String {
        let mut reversed = self.0;
        reversed.reverse();
        to_hex(&reversed)
    }

    /// Zero bits at the top of the digest read as a little-endian number, 0 to 256.
    ///
    /// This is the measure of work of a double digest: `n` such bits cost 2ⁿ
    /// double hashes on average.
    pub fn leading_zero_bits(&self) -> u32 {
        let mut bits = 0;
        for byte in self.0.iter().rev() {
            bits += byte.leading_zeros();
            if *byte != 0 {
                break;
            }
        }
        bits
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl std::str::FromStr for Digest {
    type Err = WorkError;

    /// Reads 64 hexadecimal digits, first byte first.
    fn from_str(text: &str) -> Result<Self, WorkError> {
        let bytes = from_hex(text)?;
        let got = bytes.len();
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| WorkError::BadLength {
                what: "digest",
                expected: 32,
                got,
            })
    }
}

/// SHA-256 of `message`, computed on this CPU.
pub fn digest(message: &[u8]) -> Digest {
    Digest(Sha256::digest(message).into())
}

/// SHA-256 of the SHA-256 of `message`, computed on this CPU.
pub fn double_digest(message: &[u8]) -> Digest {
    digest(&digest(message).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_abc_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            digest(b"abc").to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn zero_bits_are_counted_from_the_last_byte() {
        let mut bytes = [0xff; 32];
        assert_eq!(Digest(bytes).leading_zero_bits(), 0);
        bytes[31] = 0;
        bytes[30] = 0x1f;
        assert_eq!(Digest(bytes).leading_zero_bits(), 11);
        assert_eq!(Digest([0; 32]).leading_zero_bits(), 256);
    }
}
