//! The integer product of a matrix and vectors of activation codes.
//!
//! Tiled matrices are multiplied by the kernel, sixteen outputs of many vectors at a
//! time; flat ones here, run by run.

use std::iter;

use hasher_kernel::{BLOCK_OUTPUTS, BlockTile, Kernel, Loop, TILE_INPUTS};

use super::{Matrix, Scales};

/// Fractional bits of a scale.
const SCALE_BITS: u32 = 24;
/// Fractional bits of a bias.
const BIAS_BITS: u32 = 6;
/// Fractional bits of every sum that a product yields.
const OUTPUT_BITS: u32 = 16;

/// Weights and scales of a tiled matrix as the kernel takes them: block of outputs by
/// block, tile by tile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Blocks(Vec<BlockTile>);

impl Blocks {
    /// Nothing for a matrix that is not tiled.
    pub fn of(matrix: &Matrix) -> Self {
        let Scales::Tiles { rows: height, q24 } = &matrix.scales else {
            return Self::default();
        };
        let (columns, outputs) = (matrix.tile_columns(), matrix.shape.outputs);
        let mut tiles = Vec::with_capacity(outputs.div_ceil(BLOCK_OUTPUTS) * columns);
        for first in (0..outputs).step_by(BLOCK_OUTPUTS) {
            for column in 0..columns {
                let mut tile = BlockTile::default();
                for lane in 0..BLOCK_OUTPUTS.min(outputs - first) {
                    let output = first + lane;
                    let scale = q24[output / height * columns + column];
                    // At most 15·2³¹: a mantissa of four bits, shifted.
                    let exponent = if scale == 0 {
                        0
                    } else {
                        scale.trailing_zeros()
                    };
                    let (factor, exponent) = (scale >> exponent.min(31), exponent.min(31));
                    tile.factors[lane] = factor as i32;
                    tile.exponents[lane] = exponent;
                    let row = &matrix.weights[output * matrix.stride() + column * TILE_INPUTS..];
                    for (i, weight) in row[..TILE_INPUTS].iter().enumerate() {
                        tile.weights[i / 2][2 * lane + i % 2] = *weight;
                    }
                }
                tiles.push(tile);
            }
        }
        Self(tiles)
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
        let finish = Finish::new(fraction);
        if let Scales::Groups { .. } = self.scales {
            for (codes, out) in iter::zip(codes.chunks_exact(stride), out.chunks_exact_mut(outputs))
            {
                for (output, (out, bias)) in iter::zip(out, &self.biases).enumerate() {
                    *out = finish.sum(self.sum_of_runs(output, codes), *bias);
                }
            }
            return;
        }
        let kernel = Kernel::chosen();
        let mut sums = vec![[0; BLOCK_OUTPUTS]; rows];
        let blocks = self.blocks.0.chunks_exact(self.tile_columns());
        for (tiles, first) in iter::zip(blocks, (0..outputs).step_by(BLOCK_OUTPUTS)) {
            sums.fill([0; BLOCK_OUTPUTS]);
            kernel.add_products(tiles, codes, &mut sums);
            kernel.run(FinishBlock {
                finish,
                sums: &sums,
                biases: &self.biases[first..],
                first,
                outputs,
                out,
            });
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

/// From a sum of weight · scale · code and a bias to an output in Q16.
#[derive(Debug, Clone, Copy)]
struct Finish {
    bias_shift: u32,
    shift: u32,
}

impl Finish {
    fn new(fraction: u32) -> Self {
        Self {
            bias_shift: SCALE_BITS + fraction - BIAS_BITS,
            shift: SCALE_BITS + fraction - OUTPUT_BITS,
        }
    }

    #[inline(always)]
    fn sum(self, sum: i64, bias: i32) -> i32 {
        ((sum + (i64::from(bias) << self.bias_shift)) >> self.shift) as i32
    }
}

/// Sums of one block of outputs on their way to all rows.
struct FinishBlock<'a> {
    finish: Finish,
    sums: &'a [[i64; BLOCK_OUTPUTS]],
    /// From those of the block on.
    biases: &'a [i32],
    /// The block's first output, of so many.
    first: usize,
    outputs: usize,
    out: &'a mut [i32],
}

impl Loop for FinishBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let mut biases = [0; BLOCK_OUTPUTS];
        let count = BLOCK_OUTPUTS.min(self.biases.len());
        biases[..count].copy_from_slice(&self.biases[..count]);
        for (out, sums) in iter::zip(self.out.chunks_exact_mut(self.outputs), self.sums) {
            let mut finished = [0; BLOCK_OUTPUTS];
            for i in 0..BLOCK_OUTPUTS {
                finished[i] = self.finish.sum(sums[i], biases[i]);
            }
            let out = &mut out[self.first..][..count];
            // A whole block has a length that the compiler knows.
            match out.first_chunk_mut() {
                Some(out) => *out = finished,
                None => out.copy_from_slice(&finished[..count]),
            }
        }
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
