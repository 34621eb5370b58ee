//! The 32-byte seed: layout, check sum and access to its fields.
//!
//! It owns where each field lies and what makes a seed acceptable. It never
//! decides what weights the payload means (see [`crate::Matrix`]) and never
//! repairs on its own ([`Seed::repaired`] is asked for explicitly). Called by
//! the model file, the decoder and the trainer's encoder.
//!
//! ```text
//!  0 ........ 15 16 .. 19 20    21    22..23 24..25 26     27   28..31
//!  32 nibbles    4 biases v|k   scale matrix row    column salt CRC-32
//! ```

use std::fmt;

use hasher_work::to_hex;

use crate::kind::{TILE_BIASES, TILE_COEFFICIENTS};
use crate::repair::SEED_CRC;
use crate::{Kind, Scale};

/// Bytes in a seed.
pub const SEED_BYTES: usize = 32;
/// Bytes of a seed that hold weights and biases; the rest is metadata.
pub const PAYLOAD_BYTES: usize = 20;
/// The layout version that this crate reads and writes.
pub const SEED_VERSION: u8 = 1;

/// Where a seed belongs in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index of the matrix in the model.
    pub matrix: u16,
    /// Tile row; for flat kinds the number of the group.
    pub row: u16,
    /// Tile column; for flat kinds 0 = weights, 1 = biases.
    pub column: u8,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "matrix {}, row {}, column {}",
            self.matrix, self.row, self.column
        )
    }
}

/// 32 bytes that hold one tile (or group) of a layer's packed weights.
///
/// Any 32 bytes can be looked at; only [`Seed::check`] says whether they are fit
/// for use.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub [u8; SEED_BYTES]);

/// Why a seed was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The stored check sum does not match the first 28 bytes.
    #[error("wrong CRC: stored {stored:08x}, computed {computed:08x}")]
    Crc {
        /// Check sum in bytes 28 to 31.
        stored: u32,
        /// Check sum of bytes 0 to 27.
        computed: u32,
    },
    /// The version nibble is not [`SEED_VERSION`].
    #[error("unknown seed version {0}, expected 1")]
    Version(u8),
    /// The kind nibble stands for no kind.
    #[error("unknown seed kind code {0}")]
    UnknownKind(u8),
    /// The seed is of another kind than its matrix.
    #[error("seed is of kind {got}, expected {expected}")]
    Kind {
        /// What the manifest says.
        expected: Kind,
        /// What the seed says.
        got: Kind,
    },
    /// The seed names another place than the one it lies at.
    #[error("seed belongs to {got}, found at {expected}")]
    Place {
        /// Where it was found.
        expected: Place,
        /// Where it says it belongs.
        got: Place,
    },
    /// A ternary payload byte is not below 3⁵.
    #[error("payload byte {at} is {value}, not five ternary digits")]
    Trits {
        /// Index of the byte, 0 to 19.
        at: usize,
        /// Its value, 243 to 255.
        value: u8,
    },
}

impl Seed {
    /// A seed with a right check sum from its parts.
    pub fn new(
        kind: Kind,
        place: Place,
        scale: Scale,
        salt: u8,
        payload: [u8; PAYLOAD_BYTES],
    ) -> Self {
        let mut bytes = [0; SEED_BYTES];
        bytes[..PAYLOAD_BYTES].copy_from_slice(&payload);
        bytes[20] = SEED_VERSION << 4 | kind.code();
        bytes[21] = scale.0;
        bytes[22..24].copy_from_slice(&place.matrix.to_le_bytes());
        bytes[24..26].copy_from_slice(&place.row.to_le_bytes());
        bytes[26] = place.column;
        bytes[27] = salt;
        let mut seed = Self(bytes);
        let crc = seed.computed_crc();
        seed.0[28..].copy_from_slice(&crc.to_le_bytes());
        seed
    }

    /// Checks everything a decoder relies on: check sum, version, kind, place and
    /// the payload's own rules.
    ///
    /// # Errors
    /// The first thing that is wrong, in that order.
    pub fn check(&self, kind: Kind, place: Place) -> Result<(), SeedError> {
        self.check_crc()?;
        let got = self.kind()?;
        if got != kind {
            return Err(SeedError::Kind {
                expected: kind,
                got,
            });
        }
        if self.place() != place {
            return Err(SeedError::Place {
                expected: place,
                got: self.place(),
            });
        }
        if kind == Kind::Tern {
            for (at, value) in self.payload().iter().copied().enumerate() {
                if value >= 243 {
                    return Err(SeedError::Trits { at, value });
                }
            }
        }
        Ok(())
    }

    /// Compares the stored check sum with the computed one.
    ///
    /// # Errors
    /// [`SeedError::Crc`].
    pub fn check_crc(&self) -> Result<(), SeedError> {
        let (stored, computed) = (self.stored_crc(), self.computed_crc());
        if stored == computed {
            Ok(())
        } else {
            Err(SeedError::Crc { stored, computed })
        }
    }

    /// The kind that the seed names.
    ///
    /// # Errors
    /// [`SeedError::Version`] or [`SeedError::UnknownKind`].
    pub fn kind(&self) -> Result<Kind, SeedError> {
        let version = self.0[20] >> 4;
        if version != SEED_VERSION {
            return Err(SeedError::Version(version));
        }
        let code = self.0[20] & 15;
        Kind::from_code(code).ok_or(SeedError::UnknownKind(code))
    }

    /// The place that the seed names.
    pub fn place(&self) -> Place {
        Place {
            matrix: u16::from_le_bytes([self.0[22], self.0[23]]),
            row: u16::from_le_bytes([self.0[24], self.0[25]]),
            column: self.0[26],
        }
    }

    /// Scale of the tile. Gains and biases (`vec8`) have a fixed unit instead.
    pub const fn scale(&self) -> Scale {
        Scale(self.0[21])
    }

    /// Which of the 256 hash bases the tile uses; 0 by default.
    pub const fn salt(&self) -> u8 {
        self.0[27]
    }

    /// The first 20 bytes.
    pub fn payload(&self) -> &[u8; PAYLOAD_BYTES] {
        self.0.first_chunk().expect("32 bytes hold 20")
    }

    /// The 32 coefficients of a tiled seed: odd integers from −15 to 15. For
    /// `kron` the first 16 are U, the others V, both row-major.
    pub fn coefficients(&self) -> [i8; TILE_COEFFICIENTS] {
        std::array::from_fn(|i| nibble_value(&self.0, i))
    }

    /// The four biases of a tiled seed, unit 1/64.
    pub fn biases(&self) -> [i8; TILE_BIASES] {
        std::array::from_fn(|i| self.0[16 + i] as i8)
    }

    pub(crate) fn stored_crc(&self) -> u32 {
        u32::from_le_bytes([self.0[28], self.0[29], self.0[30], self.0[31]])
    }

    pub(crate) fn computed_crc(&self) -> u32 {
        SEED_CRC.checksum(&self.0[..28])
    }
}

/// Nibble `i` of `bytes` (low nibble first) as the odd integer it stands for.
pub(crate) fn nibble_value(bytes: &[u8], i: usize) -> i8 {
    let nibble = (bytes[i / 2] >> (4 * (i % 2))) & 15;
    2 * nibble as i8 - 15
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place {
        matrix: 5,
        row: 1,
        column: 2,
    };

    fn resealed(mut seed: Seed, at: usize, value: u8) -> Seed {
        seed.0[at] = value;
        let crc = seed.computed_crc();
        seed.0[28..].copy_from_slice(&crc.to_le_bytes());
        seed
    }

    #[test]
    fn every_wrong_field_is_refused_by_name() {
        let good = Seed::new(Kind::Hb16, PLACE, Scale(88), 0, [9; PAYLOAD_BYTES]);
        assert_eq!(good.check(Kind::Hb16, PLACE), Ok(()));
        let text = |seed: Seed| seed.check(Kind::Hb16, PLACE).unwrap_err().to_string();
        assert_eq!(
            text(resealed(good, 20, 0x22)),
            "unknown seed version 2, expected 1"
        );
        assert_eq!(text(resealed(good, 20, 0x1f)), "unknown seed kind code 15");
        assert_eq!(
            text(resealed(good, 20, 0x11)),
            "seed is of kind kron, expected hb16"
        );
        for at in [22, 24, 26] {
            assert!(matches!(
                resealed(good, at, 77).check(Kind::Hb16, PLACE),
                Err(SeedError::Place { .. })
            ));
        }
        let mut broken = good;
        broken.0[3] ^= 1;
        assert!(text(broken).starts_with("wrong CRC: stored "));
    }

    #[test]
    fn a_byte_of_243_is_no_ternary_digits() {
        let mut payload = [242; PAYLOAD_BYTES];
        let good = Seed::new(Kind::Tern, PLACE, Scale(0), 0, payload);
        assert_eq!(good.check(Kind::Tern, PLACE), Ok(()));
        payload[19] = 243;
        let bad = Seed::new(Kind::Tern, PLACE, Scale(0), 0, payload);
        assert_eq!(
            bad.check(Kind::Tern, PLACE),
            Err(SeedError::Trits { at: 19, value: 243 })
        );
    }

    proptest! {
        #[test]
        fn fields_come_back_as_they_were_given(
            kind in 0usize..8, matrix: u16, row: u16, column: u8, scale: u8, salt: u8,
            payload: [u8; PAYLOAD_BYTES],
        ) {
            let place = Place { matrix, row, column };
            let kind = Kind::ALL[kind];
            let seed = Seed::new(kind, place, Scale(scale), salt, payload);
            prop_assert_eq!(seed.check_crc(), Ok(()));
            prop_assert_eq!(seed.kind(), Ok(kind));
            prop_assert_eq!(seed.place(), place);
            prop_assert_eq!(seed.scale(), Scale(scale));
            prop_assert_eq!(seed.salt(), salt);
            prop_assert_eq!(seed.payload(), &payload);
        }

        #[test]
        fn arbitrary_bytes_are_looked_at_without_panic(bytes: [u8; 32]) {
            let seed = Seed(bytes);
            for kind in Kind::ALL {
                if seed.check(kind, seed.place()).is_ok() {
                    prop_assert!(seed.check_crc().is_ok());
                    prop_assert_eq!(seed.kind(), Ok(kind));
                }
            }
            prop_assert!(seed.coefficients().iter().all(|c| c % 2 != 0 && c.abs() <= 15));
            if let Some(repaired) = seed.repaired() {
                prop_assert_eq!(repaired.seed.check_crc(), Ok(()));
            }
        }
    }
}
