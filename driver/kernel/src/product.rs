//! Integer products of weights and activation codes, for the model.
//!
//! It owns the innermost loop of a tiled matrix: sixteen outputs of any number of code
//! vectors. Which weights and scales those are is the caller's. Exact on every CPU.
//!
//! Every tile has a scale of its own for each output, but a scale is a small factor and a
//! power of two. The factor and the differences of the powers are multiplied into the
//! weights beforehand, as far as 16 bits hold them: then all tiles of a [`Run`] add up in 32
//! bits, and what is left of the scales is one shift of each sum.

use std::iter;

use crate::kernel::Kernel;
#[cfg(target_arch = "x86_64")]
use crate::x86::product::Products;

/// Outputs of a block.
pub const BLOCK_OUTPUTS: usize = 16;
/// Inputs of a tile; its outputs have one scale each.
pub const TILE_INPUTS: usize = 16;
/// Largest magnitude of a code.
pub const CODE_MAX: i32 = 255;

/// Largest exponent of a scale.
const EXPONENT_MAX: u32 = 31;

/// Weights of one tile for one block: those of inputs 2p and 2p + 1 for output `o` lie at
/// `[p][2·o]` and `[p][2·o + 1]`, as vector instructions take them.
pub(crate) type PairedWeights = [[i16; 2 * BLOCK_OUTPUTS]; TILE_INPUTS / 2];
/// Codes of one tile.
pub(crate) type Codes = [i16; TILE_INPUTS];
/// One sum for each output.
pub(crate) type Sums = [i64; BLOCK_OUTPUTS];

/// The part of a tile that belongs to one block of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockTile {
    /// Weights of each output, at most 2⁹ in magnitude.
    pub weights: [[i16; TILE_INPUTS]; BLOCK_OUTPUTS],
    /// Each output's scale is its factor, 0 to 15, …
    pub factors: [i32; BLOCK_OUTPUTS],
    /// … times two to the power of its exponent, at most 31.
    pub exponents: [u32; BLOCK_OUTPUTS],
}

/// All tiles of sixteen outputs, ready to be multiplied with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub(crate) runs: Vec<Run>,
    /// Tiles of all runs.
    pub(crate) tiles: usize,
}

/// Tiles behind one another whose products add up in 32 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Weight times scale, less the power of two below.
    pub weights: Vec<PairedWeights>,
    /// What each output's sum is to be shifted left by.
    pub exponents: [u32; BLOCK_OUTPUTS],
}

/// What becomes of the sums of a block: they get a bias and lose fractional bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// Added to the sum of each output.
    pub biases: [i64; BLOCK_OUTPUTS],
    /// Bits of each sum that are cut off then, rounding towards minus infinity.
    pub shift: u32,
}

impl Block {
    /// Prepares a block.
    ///
    /// # Panics
    /// When weights and factors of a tile are beyond their bounds.
    pub fn new(tiles: &[BlockTile]) -> Self {
        let mut runs = Vec::new();
        let mut rest = tiles;
        while !rest.is_empty() {
            let (count, exponents) = Extent::longest_run(rest);
            // One tile within its bounds fits: 2⁹ · 15 is within 16 bits.
            assert!(count > 0, "weights and factors within their bounds");
            let (run, others) = rest.split_at(count);
            runs.push(Run::new(run, exponents));
            rest = others;
        }
        Self {
            runs,
            tiles: tiles.len(),
        }
    }
}

/// How far one output's weights, times their scales, reach in some tiles.
#[derive(Debug, Clone, Copy)]
struct Extent {
    most: u64,
    sum: u64,
    /// The power of two that all of them are multiples of.
    exponent: u32,
}

impl Extent {
    const EMPTY: Self = Self {
        most: 0,
        sum: 0,
        exponent: EXPONENT_MAX,
    };

    /// How many tiles from the first on make a run, and the power of two that each output's
    /// scales share in it.
    fn longest_run(tiles: &[BlockTile]) -> (usize, [u32; BLOCK_OUTPUTS]) {
        let mut extents = [Self::EMPTY; BLOCK_OUTPUTS];
        for (count, tile) in tiles.iter().enumerate() {
            let with_tile = std::array::from_fn(|output| extents[output].with(tile, output));
            if !with_tile.iter().all(Self::fits) {
                return (count, extents.map(|extent| extent.exponent));
            }
            extents = with_tile;
        }
        (tiles.len(), extents.map(|extent| extent.exponent))
    }

    fn with(mut self, tile: &BlockTile, output: usize) -> Self {
        let (factor, exponent) = (tile.factors[output], tile.exponents[output]);
        if factor == 0 {
            return self;
        }
        self.exponent = self.exponent.min(exponent);
        for weight in tile.weights[output] {
            let scaled = u64::from(weight.unsigned_abs()) * u64::from(factor.unsigned_abs());
            self.most = self.most.max(scaled << exponent);
            self.sum = self.sum.saturating_add(scaled << exponent);
        }
        self
    }

    /// Whether 16 bits hold all weights, and 32 bits every sum of products.
    fn fits(&self) -> bool {
        let (most, sum) = (self.most >> self.exponent, self.sum >> self.exponent);
        most <= u64::from(i16::MAX.unsigned_abs())
            && sum <= u64::from(i32::MAX.unsigned_abs() / CODE_MAX.unsigned_abs())
    }
}

impl Run {
    /// Weight times scale, less that power of two, of one output's part of a tile.
    fn scaled(tile: &BlockTile, output: usize, exponent: u32) -> impl Iterator<Item = i64> + '_ {
        let factor = i64::from(tile.factors[output]);
        // The exponent of a scale of zero does not count and may be the smaller one.
        let scale = factor << tile.exponents[output].saturating_sub(exponent);
        let weights = tile.weights[output].iter();
        weights.map(move |weight| i64::from(*weight) * scale)
    }

    fn new(tiles: &[BlockTile], exponents: [u32; BLOCK_OUTPUTS]) -> Self {
        let paired = |tile| {
            let mut paired = PairedWeights::default();
            for (output, exponent) in exponents.into_iter().enumerate() {
                for (i, weight) in Self::scaled(tile, output, exponent).enumerate() {
                    paired[i / 2][2 * output + i % 2] = weight as i16;
                }
            }
            paired
        };
        Self {
            weights: tiles.iter().map(paired).collect(),
            exponents,
        }
    }
}

impl Finish {
    #[inline(always)]
    pub(crate) fn row(&self, sums: &Sums) -> [i32; BLOCK_OUTPUTS] {
        let mut finished = [0; BLOCK_OUTPUTS];
        for i in 0..BLOCK_OUTPUTS {
            finished[i] = ((sums[i] + self.biases[i]) >> self.shift) as i32;
        }
        finished
    }
}

/// Rows of outputs, of which a block's come first in each; the last row may end with them.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    out: &'a mut [i32],
    stride: usize,
    count: usize,
}

impl Rows<'_> {
    #[inline(always)]
    pub fn set(&mut self, row: usize, finished: [i32; BLOCK_OUTPUTS]) {
        let out = &mut self.out[row * self.stride..][..self.count];
        // A whole block has a length that the compiler knows.
        match out.first_chunk_mut() {
            Some(out) => *out = finished,
            None => out.copy_from_slice(&finished[..out.len()]),
        }
    }
}

impl Kernel {
    /// Multiplies each vector of codes with one block: the sums over all tiles of scale
    /// times the inner product of the tile's weights with its sixteen codes, finished.
    ///
    /// `codes` holds vectors of sixteen codes for each tile, at most [`CODE_MAX`] in
    /// magnitude; sums with their biases must fit 64 bits. `out` gets `outputs` numbers (at
    /// most 16, the rest of the block is left out) for each vector, `stride` apart.
    ///
    /// # Panics
    /// When the lengths do not fit one another.
    pub fn multiply(
        self,
        block: &Block,
        codes: &[i16],
        finish: &Finish,
        out: &mut [i32],
        (stride, outputs): (usize, usize),
    ) {
        let codes = codes.as_chunks::<TILE_INPUTS>();
        assert!(codes.1.is_empty(), "whole tiles of codes");
        if block.tiles == 0 || codes.0.is_empty() {
            return;
        }
        let rows = codes.0.len() / block.tiles;
        assert_eq!(codes.0.len(), rows * block.tiles, "codes of whole vectors");
        assert!(outputs <= BLOCK_OUTPUTS.min(stride), "outputs of one block");
        assert!(out.len() >= (rows - 1) * stride + outputs, "room for each");
        let mut out = Rows {
            out,
            stride,
            count: outputs,
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.vectors() {
            return Products::new(vectors).multiply(block, codes.0, finish, &mut out);
        }
        for (row, codes) in codes.0.chunks_exact(block.tiles).enumerate() {
            let mut sums = [0; BLOCK_OUTPUTS];
            let mut codes = [codes];
            for run in &block.runs {
                let [of_run] = run.take_codes(&mut codes);
                add_run(run, of_run, &mut sums);
            }
            out.set(row, finish.row(&sums));
        }
    }
}

impl Run {
    /// Splits off the codes of its tiles from what is left of some vectors.
    #[inline(always)]
    pub(crate) fn take_codes<'a, const R: usize>(
        &self,
        left: &mut [&'a [Codes]; R],
    ) -> [&'a [Codes]; R] {
        let mut of_run: [&[Codes]; R] = [&[]; R];
        for (of_run, left) in iter::zip(&mut of_run, left) {
            (*of_run, *left) = left.split_at(self.weights.len());
        }
        of_run
    }

    /// Adds to `sums` the products of all tiles.
    #[inline(always)]
    pub(crate) fn add_shifted(&self, products: &[i32; BLOCK_OUTPUTS], sums: &mut Sums) {
        for i in 0..BLOCK_OUTPUTS {
            sums[i] += i64::from(products[i]) << self.exponents[i];
        }
    }
}

fn add_run(run: &Run, codes: &[Codes], sums: &mut Sums) {
    let mut products = [0i32; BLOCK_OUTPUTS];
    for (weights, codes) in iter::zip(&run.weights, codes) {
        for (weights, codes) in iter::zip(weights, codes.as_chunks::<2>().0) {
            let mut repeated = [0; 2 * BLOCK_OUTPUTS];
            for pair in repeated.as_chunks_mut::<2>().0 {
                *pair = *codes;
            }
            for (i, product) in products.iter_mut().enumerate() {
                *product += i32::from(weights[2 * i]) * i32::from(repeated[2 * i])
                    + i32::from(weights[2 * i + 1]) * i32::from(repeated[2 * i + 1]);
            }
        }
    }
    run.add_shifted(&products, sums);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Backend;

    fn tile() -> impl Strategy<Value = BlockTile> {
        let weights = proptest::collection::vec(-480i16..=480, 256);
        let factors = proptest::array::uniform16(0i32..16);
        // Most tiles of a model have scales near one another.
        let exponents = (0u32..29, proptest::array::uniform16(0u32..4), any::<bool>());
        (weights, factors, exponents).prop_map(|(weights, factors, (least, more, near))| {
            BlockTile {
                weights: std::array::from_fn(|o| std::array::from_fn(|i| weights[16 * o + i])),
                factors,
                exponents: more.map(|more| if near { 20 + more % 2 } else { least + more }),
            }
        })
    }

    /// Every backend, and on x86-64 the loop for CPUs without the newest instructions.
    fn every_loop(block: &Block, codes: &[i16], finish: &Finish, count: usize) -> Vec<Vec<i32>> {
        let rows = codes.len() / TILE_INPUTS / block.tiles;
        let fresh = || vec![7; rows * (count + 3)];
        let shape = (count + 3, count);
        let mut all = Vec::new();
        for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
            let mut out = fresh();
            kernel.multiply(block, codes, finish, &mut out, shape);
            all.push(out);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(Products::Avx512Vnni(proof)) = Kernel::chosen().vectors().map(Products::new) {
            let mut out = fresh();
            let mut to = Rows {
                out: &mut out,
                stride: count + 3,
                count,
            };
            Products::Avx512(proof).multiply(block, codes.as_chunks().0, finish, &mut to);
            all.push(out);
        }
        all
    }

    proptest! {
        #[test]
        fn every_backend_yields_the_sum_written_out(
            tiles in proptest::collection::vec(tile(), 1..6), rows in 1usize..19, count in 1usize..=16,
            (shift, salt) in (0u32..30, any::<u16>()),
        ) {
            let codes: Vec<i16> = (0..rows * tiles.len() * TILE_INPUTS)
                .map(|i| ((i as u16).wrapping_mul(31).wrapping_add(salt) % 511) as i16 - 255)
                .collect();
            let finish = Finish { biases: std::array::from_fn(|o| (o as i64 - 7) << 20), shift };
            let mut expected = vec![7; rows * (count + 3)];
            for (row, out) in expected.chunks_exact_mut(count + 3).enumerate() {
                for (output, out) in out[..count].iter_mut().enumerate() {
                    let mut sum = finish.biases[output];
                    for (t, tile) in tiles.iter().enumerate() {
                        let scale = i64::from(tile.factors[output]) << tile.exponents[output];
                        for (i, weight) in tile.weights[output].iter().enumerate() {
                            let code = codes[(row * tiles.len() + t) * TILE_INPUTS + i];
                            sum += scale * i64::from(*weight) * i64::from(code);
                        }
                    }
                    *out = (sum >> shift) as i32;
                }
            }
            for out in every_loop(&Block::new(&tiles), &codes, &finish, count) {
                prop_assert_eq!(&out, &expected);
            }
        }
    }

    #[test]
    fn scales_near_one_another_make_one_run_and_others_more() {
        let tile = |exponent| BlockTile {
            weights: [[480; 16]; 16],
            factors: [15; 16],
            exponents: [exponent; 16],
        };
        let runs = |exponents: &[u32]| {
            let tiles: Vec<_> = exponents.iter().map(|e| tile(*e)).collect();
            let runs = Block::new(&tiles).runs;
            runs.iter().map(|run| run.weights.len()).collect::<Vec<_>>()
        };
        assert_eq!(runs(&[4, 5, 6, 4]), [4]);
        assert_eq!(runs(&[4, 5, 7, 9]), [2, 2]);
        // 2³¹ is passed by the 74th tile: each adds 16 · 7200 · 255.
        assert_eq!(runs(&[0; 80]), [73, 7]);
        assert!(runs(&[]).is_empty());
    }
}
