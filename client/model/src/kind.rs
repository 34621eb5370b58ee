//! The eight ways in which a seed's payload can hold weights.

use std::fmt;

/// Coefficients (nibbles) in a tiled seed.
pub const TILE_COEFFICIENTS: usize = 32;
/// Biases in a tiled seed.
pub const TILE_BIASES: usize = 4;
/// Input columns that one tile covers, for every tiled kind.
pub const TILE_COLUMNS: usize = 16;
/// Output rows of the tallest tile ([`Kind::Hb32`]).
pub const TILE_ROWS_MAX: usize = 32;

/// How the 20 payload bytes of a seed are to be read.
///
/// Tiled kinds describe a rectangle of a matrix and carry its biases; flat kinds
/// hold a run of the row-major matrix and leave biases to extra `vec8` seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Kronecker product of two 4×4 matrices: 16×16 weights, 1.0 bit each.
    Kron,
    /// 32 coefficients of a hash basis of 16×16 sign matrices: 1.0 bit per weight.
    Hb16,
    /// 32 coefficients of a hash basis of 32×16 sign matrices: 0.5 bit per weight.
    Hb32,
    /// 160 signs: 1.6 bit per weight.
    Bin,
    /// 100 values of −1, 0 or 1: 2.56 bit per weight.
    Tern,
    /// 40 odd integers from −15 to 15: 6.4 bit per weight.
    Nib,
    /// 20 integers from −128 to 127: gains and the biases of flat matrices.
    Vec8,
    /// 32 coefficients of a hash basis of 8×16 sign matrices: 2.0 bit per weight.
    Hb8,
}

impl Kind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Kron,
        Self::Hb16,
        Self::Hb32,
        Self::Bin,
        Self::Tern,
        Self::Nib,
        Self::Vec8,
        Self::Hb8,
    ];

    /// The low nibble of a seed's byte 20.
    pub const fn code(self) -> u8 {
        match self {
            Self::Kron => 1,
            Self::Hb16 => 2,
            Self::Hb32 => 3,
            Self::Bin => 4,
            Self::Tern => 5,
            Self::Nib => 6,
            Self::Vec8 => 7,
            Self::Hb8 => 8,
        }
    }

    /// The kind with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Lower-case name as used in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kron => "kron",
            Self::Hb8 => "hb8",
            Self::Hb16 => "hb16",
            Self::Hb32 => "hb32",
            Self::Bin => "bin",
            Self::Tern => "tern",
            Self::Nib => "nib",
            Self::Vec8 => "vec8",
        }
    }

    /// The kind with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Output rows of one tile: 8, 16 or 32; nothing for flat kinds.
    pub const fn tile_rows(self) -> Option<usize> {
        match self {
            Self::Hb8 => Some(8),
            Self::Kron | Self::Hb16 => Some(16),
            Self::Hb32 => Some(32),
            Self::Bin | Self::Tern | Self::Nib | Self::Vec8 => None,
        }
    }

    /// Whether the weights come from the hash basis.
    pub const fn is_hash_basis(self) -> bool {
        matches!(self, Self::Hb8 | Self::Hb16 | Self::Hb32)
    }

    /// Weights that one seed describes.
    pub const fn weights_per_seed(self) -> usize {
        match self {
            Self::Hb8 => 128,
            Self::Kron | Self::Hb16 => 256,
            Self::Hb32 => 512,
            Self::Bin => 160,
            Self::Tern => 100,
            Self::Nib => 40,
            Self::Vec8 => 20,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_to_their_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            if let Some(rows) = kind.tile_rows() {
                assert_eq!(rows * TILE_COLUMNS, kind.weights_per_seed());
            }
        }
        for code in [0, 9, 15] {
            assert_eq!(Kind::from_code(code), None);
        }
        assert_eq!(Kind::from_name("HB32"), None);
    }
}
