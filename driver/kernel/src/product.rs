//! Integer products of weights and activation codes, for the model.
//!
//! It owns the innermost loop of a tiled matrix: sixteen outputs of any number of code
//! vectors. Which weights and scales those are is the caller's. Exact on every CPU.

use crate::kernel::Kernel;

/// Outputs of a block.
pub const BLOCK_OUTPUTS: usize = 16;
/// Inputs of a tile; its outputs have one scale each.
pub const TILE_INPUTS: usize = 16;

/// The part of a tile that belongs to one block of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockTile {
    /// Weights, at most 2⁹ in magnitude: those of inputs 2p and 2p + 1 for output `o` lie
    /// at `[p][2·o]` and `[p][2·o + 1]`, as vector instructions take them.
    pub weights: [[i16; 2 * BLOCK_OUTPUTS]; TILE_INPUTS / 2],
    /// Each output's scale is its factor, 0 to 15, …
    pub factors: [i32; BLOCK_OUTPUTS],
    /// … times two to the power of its exponent, at most 31.
    pub exponents: [u32; BLOCK_OUTPUTS],
}

impl Kernel {
    /// Adds to each row of `sums` the products of one block: over all tiles, scale times
    /// the inner product of the tile's weights with its sixteen codes.
    ///
    /// `codes` holds one vector for each row of `sums`, of sixteen codes for each tile.
    ///
    /// # Panics
    /// When it holds another number of codes.
    pub fn add_products(
        self,
        tiles: &[BlockTile],
        codes: &[i16],
        sums: &mut [[i64; BLOCK_OUTPUTS]],
    ) {
        let codes = codes.as_chunks::<TILE_INPUTS>();
        assert!(codes.1.is_empty(), "whole tiles of codes");
        assert_eq!(codes.0.len(), tiles.len() * sums.len(), "one vector a row");
        if tiles.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.vectors() {
            return vectors.add_products(tiles, codes.0, sums);
        }
        for (codes, sums) in codes.0.chunks_exact(tiles.len()).zip(sums) {
            for (tile, codes) in tiles.iter().zip(codes) {
                add_tile(tile, codes, sums);
            }
        }
    }
}

fn add_tile(tile: &BlockTile, codes: &[i16; TILE_INPUTS], sums: &mut [i64; BLOCK_OUTPUTS]) {
    let mut products = [0i32; BLOCK_OUTPUTS];
    for (weights, codes) in tile.weights.iter().zip(codes.as_chunks::<2>().0) {
        let mut repeated = [0; 2 * BLOCK_OUTPUTS];
        for pair in repeated.as_chunks_mut::<2>().0 {
            *pair = *codes;
        }
        for (i, product) in products.iter_mut().enumerate() {
            *product += i32::from(weights[2 * i]) * i32::from(repeated[2 * i])
                + i32::from(weights[2 * i + 1]) * i32::from(repeated[2 * i + 1]);
        }
    }
    for (output, (sum, product)) in sums.iter_mut().zip(products).enumerate() {
        // At most 16 · 2⁹ · 2⁸ · 15 in magnitude.
        let scaled = i64::from(product * tile.factors[output]);
        *sum += scaled << tile.exponents[output];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Backend;

    fn tile() -> impl Strategy<Value = BlockTile> {
        let weights = proptest::collection::vec(-480i16..=480, 256);
        let factors = proptest::array::uniform16(0i32..16);
        (weights, factors, proptest::array::uniform16(0u32..32)).prop_map(
            |(weights, factors, exponents)| BlockTile {
                weights: std::array::from_fn(|p| {
                    std::array::from_fn(|o| weights[p * 2 * BLOCK_OUTPUTS + o])
                }),
                factors,
                exponents,
            },
        )
    }

    proptest! {
        #[test]
        fn every_backend_adds_the_sum_written_out(
            tiles in proptest::collection::vec(tile(), 1..4), rows in 0usize..11, salt: u16,
        ) {
            let codes: Vec<i16> = (0..rows * tiles.len() * TILE_INPUTS)
                .map(|i| ((i as u16).wrapping_mul(31).wrapping_add(salt) % 511) as i16 - 255)
                .collect();
            let start: Vec<[i64; BLOCK_OUTPUTS]> =
                (0..rows as i64).map(|row| std::array::from_fn(|o| row * 1000 - o as i64)).collect();
            let mut expected = start.clone();
            for (row, sums) in expected.iter_mut().enumerate() {
                for (output, sum) in sums.iter_mut().enumerate() {
                    for (t, tile) in tiles.iter().enumerate() {
                        let scale = i64::from(tile.factors[output]) << tile.exponents[output];
                        for i in 0..TILE_INPUTS {
                            let code = codes[(row * tiles.len() + t) * TILE_INPUTS + i];
                            let weight = tile.weights[i / 2][2 * output + i % 2];
                            *sum += scale * i64::from(weight) * i64::from(code);
                        }
                    }
                }
            }
            for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
                let mut sums = start.clone();
                kernel.add_products(&tiles, &codes, &mut sums);
                prop_assert_eq!(&sums, &expected, "{}", kernel.backend());
            }
        }
    }
}
