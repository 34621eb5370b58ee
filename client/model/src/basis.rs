//! Signs from SHA-256: the hash basis, bias signs, position and token codes.
//!
//! It owns the map from a label to an endless stream of ±1. The same streams
//! serve every model; nothing here is learned. Called by the matrix decoder, the
//! embedding and the trainer.

use std::collections::BTreeMap;

use hasher_work::digest;

use crate::kind::{TILE_BIASES, TILE_COEFFICIENTS, TILE_COLUMNS};

/// The first `count` signs of the stream that belongs to `label`: +1 or −1.
///
/// The stream is SHA-256 of the label followed by a 32-bit counter, bits least
/// significant first, a set bit being +1.
pub fn sign_stream(label: &[u8], count: usize) -> Vec<i8> {
    let mut message = label.to_vec();
    message.extend([0; 4]);
    let counter_at = label.len();
    let mut signs = Vec::with_capacity(count.next_multiple_of(256));
    let mut counter: u32 = 0;
    while signs.len() < count {
        message[counter_at..].copy_from_slice(&counter.to_le_bytes());
        for byte in digest(&message).0 {
            signs.extend((0..8).map(|bit| 2 * ((byte >> bit) & 1) as i8 - 1));
        }
        counter += 1;
    }
    signs.truncate(count);
    signs
}

/// Signs of `positions` positions, `width` each, row-major.
pub fn position_signs(positions: usize, width: usize) -> Vec<i8> {
    sign_stream(b"HSHR/pos/v1", positions * width)
}

/// Signs of `tokens` tokens, `width` each, row-major. The number that equals a
/// model's vocabulary stands for "before the start", so ask for one more.
pub fn token_signs(tokens: usize, width: usize) -> Vec<i8> {
    sign_stream(b"HSHR/tok/v1", tokens * width)
}

/// The 32 sign matrices that the tiles of a hash-basis model are mixed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    rows: usize,
    signs: Vec<i8>,
}

impl Basis {
    /// The basis of tiles with `rows` rows (8, 16 or 32) for one salt.
    pub fn new(rows: usize, salt: u8) -> Self {
        let count = TILE_COEFFICIENTS * rows * TILE_COLUMNS;
        Self {
            rows,
            signs: sign_stream(&salted(b"HSHR/bas/v1", salt), count),
        }
    }

    /// Rows of each matrix.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Matrix `k` (0 to 31), row-major, `rows` × 16 signs.
    ///
    /// # Panics
    /// When `k` is above 31.
    pub fn plane(&self, k: usize) -> &[i8] {
        let size = self.rows * TILE_COLUMNS;
        &self.signs[k * size..(k + 1) * size]
    }

    /// All 32 matrices one after the other.
    pub fn signs(&self) -> &[i8] {
        &self.signs
    }
}

/// The signs that spread a tile's four biases over its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BiasSigns {
    rows: usize,
    signs: Vec<i8>,
}

impl BiasSigns {
    /// The signs for tiles of `rows` rows in the first `columns` tile columns.
    pub fn new(rows: usize, salt: u8, columns: usize) -> Self {
        Self {
            rows,
            signs: sign_stream(&salted(b"HSHR/bia/v1", salt), columns * TILE_BIASES * rows),
        }
    }

    /// One sign per output row of the tile, for bias `q` (0 to 3) of the tile in
    /// tile column `column`.
    ///
    /// # Panics
    /// When `column` was not asked for or `q` is above 3.
    pub fn of(&self, column: usize, q: usize) -> &[i8] {
        assert!(q < TILE_BIASES, "a tile has {TILE_BIASES} biases");
        let at = (column * TILE_BIASES + q) * self.rows;
        &self.signs[at..at + self.rows]
    }
}

/// Bases and bias signs as they are asked for; one entry per tile height and salt.
///
/// Bounded by the format: 3 heights × 256 salts.
#[derive(Debug, Default)]
pub struct BasisCache {
    bases: BTreeMap<(usize, u8), (Basis, BiasSigns)>,
}

impl BasisCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The basis and the bias signs (of all 256 tile columns) for one tile height
    /// and salt.
    pub fn of(&mut self, rows: usize, salt: u8) -> &(Basis, BiasSigns) {
        self.bases
            .entry((rows, salt))
            .or_insert_with(|| (Basis::new(rows, salt), BiasSigns::new(rows, salt, 256)))
    }
}

fn salted(label: &[u8; 11], salt: u8) -> [u8; 12] {
    let mut bytes = [salt; 12];
    bytes[..11].copy_from_slice(label);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn sign_streams_match_the_vectors() {
        let vectors = vectors::load();
        for entry in vectors["sign_stream"].as_array().unwrap() {
            let label = vectors::bytes(&entry["label_hex"]);
            let expected: Vec<i8> = vectors::ints(&entry["first64"]);
            assert_eq!(sign_stream(&label, 64), expected);
            let longer = sign_stream(&label, 1000);
            assert_eq!(longer.len(), 1000);
            assert_eq!(longer[..64], expected);
        }
    }

    #[test]
    fn plane_k_begins_at_digest_k_for_16_rows() {
        let basis = Basis::new(16, 3);
        let label = b"HSHR/bas/v1\x03";
        let stream = sign_stream(label, 32 * 256);
        assert_eq!(basis.signs(), stream);
        assert_eq!(basis.plane(31), &stream[31 * 256..]);
    }

    #[test]
    fn bias_signs_are_numbered_by_column_bias_and_row() {
        let signs = BiasSigns::new(8, 0, 3);
        let stream = sign_stream(b"HSHR/bia/v1\x00", 3 * 4 * 8);
        for (column, q) in [(0, 0), (2, 1), (2, 3)] {
            for row in 0..8 {
                assert_eq!(signs.of(column, q)[row], stream[(column * 4 + q) * 8 + row]);
            }
        }
    }
}
