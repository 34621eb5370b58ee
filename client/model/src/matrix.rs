//! A decoded matrix: integer weights, scales and biases, and its product.
//!
//! It owns the step from seeds to numbers and the integer matrix product. It
//! never decides which matrices a model has. Called by the model and, through
//! the float view, by the trainer.

mod decode;
mod product;

pub(crate) use decode::group_weights;
use product::Blocks;

use std::ops::Range;

use crate::kind::TILE_COLUMNS;
use crate::{BasisCache, MatrixShape, Place, Seed, SeedError};

/// A matrix decoded to integers.
///
/// The real weight is the integer times its tile's (or group's) scale, and the
/// scale has 24 fractional bits. Integers are at most 480 in magnitude (32
/// coefficients of at most 15), so 16 bits hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    shape: MatrixShape,
    /// Row-major, each row padded with zeros to a multiple of 16.
    weights: Vec<i16>,
    scales: Scales,
    /// One per output, 6 fractional bits.
    biases: Vec<i32>,
    /// The same weights as the kernel takes those of a tiled matrix.
    blocks: Blocks,
}

/// Scales in Q24, at most 15·2³¹ each.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scales {
    /// One per tile, row-major over tiles of `rows` × 16.
    Tiles { rows: usize, q24: Vec<i64> },
    /// One per run of `length` weights of the row-major matrix.
    Groups { length: usize, q24: Vec<i64> },
}

/// A seed of a matrix was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixError {
    /// Another number of seeds was given than the shape needs.
    #[error("{got} seeds given, {expected} needed")]
    SeedCount {
        /// Seeds that the shape needs.
        expected: usize,
        /// Seeds that were given.
        got: usize,
    },
    /// One seed is not acceptable at its place.
    #[error("seed {index} ({place}) is refused")]
    Seed {
        /// Its index among the seeds of the matrix.
        index: usize,
        /// The place it lies at.
        place: Place,
        /// What is wrong with it.
        source: SeedError,
    },
}

impl Matrix {
    /// Decodes the seeds of matrix number `matrix`, checking each of them.
    /// `shape` must have passed [`MatrixShape::check`].
    ///
    /// # Errors
    /// [`MatrixError`] names the first seed that was refused.
    pub fn decode(
        shape: MatrixShape,
        matrix: u16,
        seeds: &[Seed],
        cache: &mut BasisCache,
    ) -> Result<Self, MatrixError> {
        if seeds.len() != shape.seed_count() {
            return Err(MatrixError::SeedCount {
                expected: shape.seed_count(),
                got: seeds.len(),
            });
        }
        for (index, seed) in seeds.iter().enumerate() {
            let (kind, place) = shape.seed(matrix, index);
            seed.check(kind, place)
                .map_err(|source| MatrixError::Seed {
                    index,
                    place,
                    source,
                })?;
        }
        Ok(decode::decode(shape, seeds, cache))
    }

    /// Kind and size.
    pub const fn shape(&self) -> MatrixShape {
        self.shape
    }

    /// Integer weight in row `output`, column `input`.
    ///
    /// # Panics
    /// When either is out of range.
    pub fn weight(&self, output: usize, input: usize) -> i16 {
        assert!(input < self.shape.inputs, "column {input} of the matrix");
        self.weights[output * self.stride() + input]
    }

    /// Scale of that weight, 24 fractional bits.
    ///
    /// # Panics
    /// When either is out of range.
    pub fn scale_q24(&self, output: usize, input: usize) -> i64 {
        assert!(input < self.shape.inputs, "column {input} of the matrix");
        match &self.scales {
            Scales::Tiles { rows, q24 } => {
                q24[output / rows * self.tile_columns() + input / TILE_COLUMNS]
            }
            Scales::Groups { length, q24 } => q24[(output * self.shape.inputs + input) / length],
        }
    }

    /// Biases, one per output, 6 fractional bits; zeros where there are none.
    pub fn biases_q6(&self) -> &[i32] {
        &self.biases
    }

    /// Real weights, row-major, `outputs` × `inputs`. Exact: an integer below 2⁹
    /// times a 4-bit mantissa fits a float's 24 bits.
    pub fn to_f32(&self) -> Vec<f32> {
        const UNIT: f32 = 1.0 / 16_777_216.0; // 2⁻²⁴
        let mut real = Vec::with_capacity(self.shape.weights());
        for output in 0..self.shape.outputs {
            for (columns, scale) in self.runs(output) {
                let scale = scale as f32 * UNIT;
                let row = &self.weights[output * self.stride()..];
                real.extend(row[columns].iter().map(|w| f32::from(*w) * scale));
            }
        }
        real
    }

    /// Real biases, one per output; exact.
    pub fn biases_f32(&self) -> Vec<f32> {
        self.biases.iter().map(|b| *b as f32 / 64.0).collect()
    }

    /// Columns of a row after padding to whole tiles.
    pub const fn stride(&self) -> usize {
        self.shape.inputs.next_multiple_of(TILE_COLUMNS)
    }

    const fn tile_columns(&self) -> usize {
        self.shape.inputs.div_ceil(TILE_COLUMNS)
    }

    /// The runs of columns of one row that share a scale, in order.
    fn runs(&self, output: usize) -> impl Iterator<Item = (Range<usize>, i64)> + '_ {
        let inputs = self.shape.inputs;
        let mut column = 0;
        std::iter::from_fn(move || {
            let start = column;
            if start == inputs {
                return None;
            }
            column = match &self.scales {
                Scales::Tiles { .. } => start + TILE_COLUMNS,
                Scales::Groups { length, .. } => {
                    start + length - (output * inputs + start) % length
                }
            }
            .min(inputs);
            Some((start..column, self.scale_q24(output, start)))
        })
    }
}

#[cfg(test)]
mod tests;
