//! The integer product of a matrix and vectors of activation codes.
//!
//! Tiled matrices are multiplied by the kernel, sixteen outputs of many vectors at a
//! time; flat ones here, run by run.

use std::iter;
use std::sync::OnceLock;

use hasher_kernel::{BLOCK_OUTPUTS, Block, BlockTile, Finish, Kernel, TILE_INPUTS};

use super::{Matrix, Scales};

/// Fractional bits of a scale.
const SCALE_BITS: u32 = 24;
/// Fractional bits of a bias.
const BIAS_BITS: u32 = 6;
/// Fractional bits of every sum that a product yields.
const OUTPUT_BITS: u32 = 16;

/// Weights and scales of a tiled matrix as the kernel takes them, block of outputs by block;
/// nothing for a matrix that is not tiled. Made for the first product: training decodes
/// matrices in every step and multiplies with their real weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks(OnceLock<Vec<Block>>);

/// They follow from the rest of their matrix.
impl PartialEq for Blocks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Blocks {}

impl Blocks {
    fn of(&self, matrix: &Matrix) -> &[Block] {
        self.0.get_or_init(|| Self::make(matrix))
    }

    fn make(matrix: &Matrix) -> Vec<Block> {
        let Scales::Tiles { rows: height, q24 } = &matrix.scales else {
            return Vec::new();
        };
        let (columns, outputs) = (matrix.tile_columns(), matrix.shape.outputs);
        let tile = |first: usize, column: usize| {
            let mut tile = BlockTile::default();
            for lane in 0..BLOCK_OUTPUTS.min(outputs - first) {
                let output = first + lane;
                let scale = q24[output / height * columns + column];
                // At most 15·2³¹: a mantissa of four bits, shifted.
                let exponent = if scale == 0 {
                    0
                } else {
                    scale.trailing_zeros().min(31)
                };
                tile.factors[lane] = (scale >> exponent) as i32;
                tile.exponents[lane] = exponent;
                let row = &matrix.weights[output * matrix.stride() + column * TILE_INPUTS..];
                tile.weights[lane].copy_from_slice(&row[..TILE_INPUTS]);
            }
            tile
        };
        let block = |first| {
            let tiles: Vec<_> = (0..columns).map(|column| tile(first, column)).collect();
            Block::new(&tiles)
        };
        (0..outputs).step_by(BLOCK_OUTPUTS).map(block).collect()
    }
}

impl Matrix {
    /// `out[o] = Σ weight · scale · x + bias` in Q16 for codes `x` with
    /// `fraction` fractional bits, rounded towards minus infinity.
    ///
    /// `codes` holds any number of vectors, each of [`Matrix::stride`] codes of
    /// magnitude up to 255, of which those beyond the inputs are ignored; `out` gets one
    /// row of outputs for each. Nothing can overflow where [`Matrix::product_bound`] knows
    /// a bound of 32 bits.
    ///
    /// # Panics
    /// When the lengths do not fit one another.
    pub fn multiply(&self, codes: &[i16], fraction: u32, out: &mut [i32]) {
        let (stride, outputs) = (self.stride(), self.shape.outputs);
        let rows = codes.len() / stride;
        assert_eq!(codes.len(), rows * stride, "codes of whole vectors");
        assert_eq!(out.len(), rows * outputs, "one row of sums for each vector");
        if rows == 0 {
            return;
        }
        let (bias_shift, shift) = (
            SCALE_BITS + fraction - BIAS_BITS,
            SCALE_BITS + fraction - OUTPUT_BITS,
        );
        let bias = |output: usize| i64::from(self.biases[output]) << bias_shift;
        if let Scales::Groups { .. } = self.scales {
            for (codes, out) in iter::zip(codes.chunks_exact(stride), out.chunks_exact_mut(outputs))
            {
                for (output, out) in out.iter_mut().enumerate() {
                    *out = ((self.sum_of_runs(output, codes) + bias(output)) >> shift) as i32;
                }
            }
            return;
        }
        let kernel = Kernel::chosen();
        for (block, first) in iter::zip(self.blocks.of(self), (0..outputs).step_by(BLOCK_OUTPUTS)) {
            let count = BLOCK_OUTPUTS.min(outputs - first);
            let mut finish = Finish {
                biases: [0; BLOCK_OUTPUTS],
                shift,
            };
            for (lane, wide) in finish.biases[..count].iter_mut().enumerate() {
                *wide = bias(first + lane);
            }
            kernel.multiply(block, codes, &finish, &mut out[first..], (outputs, count));
        }
    }

    /// Sum over runs of columns of scale times inner product.
    fn sum_of_runs(&self, output: usize, codes: &[i16]) -> i64 {
        let row = &self.weights[output * self.stride()..][..self.stride()];
        self.runs(output)
            .map(|(columns, scale)| scale * i64::from(dot(&row[columns.clone()], &codes[columns])))
            .sum()
    }

    /// The largest magnitude that [`Matrix::multiply`] can yield for codes of
    /// magnitude up to `code_max`, or nothing if an intermediate sum might leave
    /// 63 bits.
    pub fn product_bound(&self, code_max: i64, fraction: u32) -> Option<i64> {
        let mut bound: u128 = 0;
        for (output, bias) in self.biases.iter().enumerate() {
            let row = &self.weights[output * self.stride()..];
            let weights: u128 = self
                .runs(output)
                .map(|(columns, scale)| {
                    let sum: u128 = row[columns]
                        .iter()
                        .map(|w| u128::from(w.unsigned_abs()))
                        .sum();
                    sum * scale.unsigned_abs() as u128
                })
                .sum();
            let bias = u128::from(bias.unsigned_abs()) << (SCALE_BITS + fraction - BIAS_BITS);
            bound = bound.max(weights * code_max.unsigned_abs() as u128 + bias);
        }
        // Rounding down can add one to the magnitude of a negative result.
        let bound = i64::try_from(bound).ok()?;
        Some((bound >> (SCALE_BITS + fraction - OUTPUT_BITS)) + 1)
    }
}

/// Inner product. Each term is below 2⁹ · 2⁸ in magnitude and a run has at most
/// 160 of them, so 32 bits are enough.
#[inline]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| i32::from(*a) * i32::from(*b))
        .sum()
}
