//! The shape of a matrix and how it is cut into seeds.

use crate::kind::TILE_COLUMNS;
use crate::{Kind, Place};

/// Most rows of weights or inputs of a matrix. Source: a seed names at most 256
/// tile columns of 16; the same bound for rows keeps every sum provable.
pub const WIDTH_MAX: usize = 4096;
/// Most groups of a flat matrix: a seed names its group in 16 bits.
const GROUPS_MAX: usize = 1 << 16;

/// Kind and size of one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatrixShape {
    /// Kind of all its weight seeds.
    pub kind: Kind,
    /// Whether `vec8` seeds with biases follow the weights. For flat kinds only:
    /// tiles carry their biases themselves.
    pub bias_seeds: bool,
    /// Rows, 1 to [`WIDTH_MAX`].
    pub outputs: usize,
    /// Columns, 1 to [`WIDTH_MAX`].
    pub inputs: usize,
}

/// Why a matrix can not have a shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A side is 0 or above [`WIDTH_MAX`].
    #[error("{outputs} × {inputs} weights: each side must be 1 to 4096")]
    Size {
        /// Rows asked for.
        outputs: usize,
        /// Columns asked for.
        inputs: usize,
    },
    /// A flat matrix would need more groups than a seed can number.
    #[error("{0} groups of weights, at most 65536 can be numbered")]
    Groups(usize),
    /// Tiles carry their own biases and can not be followed by bias seeds.
    #[error("kind {0} carries its biases in its tiles and takes no bias seeds")]
    BiasSeeds(Kind),
}

impl MatrixShape {
    /// A matrix without separate bias seeds.
    pub const fn new(kind: Kind, outputs: usize, inputs: usize) -> Self {
        Self {
            kind,
            bias_seeds: false,
            outputs,
            inputs,
        }
    }

    /// Checks the bounds of all fields.
    ///
    /// # Errors
    /// The first bound that is broken. The other methods expect a checked shape.
    pub fn check(&self) -> Result<(), ShapeError> {
        let sides = 1..=WIDTH_MAX;
        if !sides.contains(&self.outputs) || !sides.contains(&self.inputs) {
            return Err(ShapeError::Size {
                outputs: self.outputs,
                inputs: self.inputs,
            });
        }
        if self.kind.tile_rows().is_some() {
            if self.bias_seeds {
                return Err(ShapeError::BiasSeeds(self.kind));
            }
        } else if self.weight_seeds() > GROUPS_MAX {
            return Err(ShapeError::Groups(self.weight_seeds()));
        }
        Ok(())
    }

    /// Weights of the matrix.
    pub const fn weights(&self) -> usize {
        self.outputs * self.inputs
    }

    /// Tile rows and tile columns; nothing for flat kinds.
    pub fn tiles(&self) -> Option<(usize, usize)> {
        let rows = self.kind.tile_rows()?;
        Some((
            self.outputs.div_ceil(rows),
            self.inputs.div_ceil(TILE_COLUMNS),
        ))
    }

    /// Seeds that hold weights.
    pub fn weight_seeds(&self) -> usize {
        match self.tiles() {
            Some((rows, columns)) => rows * columns,
            None => self.weights().div_ceil(self.kind.weights_per_seed()),
        }
    }

    /// All seeds: weights, then bias seeds.
    pub fn seed_count(&self) -> usize {
        let biases = if self.bias_seeds {
            self.outputs.div_ceil(Kind::Vec8.weights_per_seed())
        } else {
            0
        };
        self.weight_seeds() + biases
    }

    /// Kind and place that seed `index` (0 to [`MatrixShape::seed_count`] − 1) of
    /// this matrix must name.
    pub fn seed(&self, matrix: u16, index: usize) -> (Kind, Place) {
        let place = |row: usize, column: usize| Place {
            matrix,
            row: row as u16,
            column: column as u8,
        };
        if let Some((_, columns)) = self.tiles() {
            return (self.kind, place(index / columns, index % columns));
        }
        match index.checked_sub(self.weight_seeds()) {
            None => (self.kind, place(index, 0)),
            Some(bias_group) => (Kind::Vec8, place(bias_group, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_counted_and_placed() {
        let tiled = MatrixShape::new(Kind::Hb32, 33, 17);
        assert_eq!((tiled.tiles(), tiled.seed_count()), (Some((2, 2)), 4));
        assert_eq!(
            tiled.seed(7, 3),
            (
                Kind::Hb32,
                Place {
                    matrix: 7,
                    row: 1,
                    column: 1
                }
            )
        );
        let flat = MatrixShape {
            bias_seeds: true,
            ..MatrixShape::new(Kind::Tern, 21, 10)
        };
        assert_eq!((flat.weight_seeds(), flat.seed_count()), (3, 5));
        assert_eq!(
            flat.seed(2, 4),
            (
                Kind::Vec8,
                Place {
                    matrix: 2,
                    row: 1,
                    column: 1
                }
            )
        );
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let check = |kind, outputs, inputs| MatrixShape::new(kind, outputs, inputs).check();
        assert_eq!(check(Kind::Hb8, 4096, 4096), Ok(()));
        assert_eq!(
            check(Kind::Nib, 4096, 4096),
            Err(ShapeError::Groups(419_431))
        );
        for (outputs, inputs) in [(0, 1), (1, 0), (4097, 1), (1, usize::MAX)] {
            assert_eq!(
                check(Kind::Bin, outputs, inputs),
                Err(ShapeError::Size { outputs, inputs })
            );
        }
        let biased = MatrixShape {
            bias_seeds: true,
            ..MatrixShape::new(Kind::Kron, 1, 1)
        };
        assert_eq!(biased.check(), Err(ShapeError::BiasSeeds(Kind::Kron)));
    }
}
