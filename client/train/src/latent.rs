//! Latent parameters: the real numbers that the optimiser moves, and their way
//! to seeds and back.
//!
//! ```text
//! latents --encode (UpdateSeeds)--> seeds --decode--> dense weights --> loss
//!    ^                                                                   |
//!    +------------- pull back, identity through rounding ----------------+
//! ```
//!
//! Rounding and decoding are `hasher-model`'s; this module owns the layout of
//! the latents, their first values, and the exact gradient of a tile's
//! coefficients through the basis. The trainer calls it.

use hasher_model::{
    BasisCache, EncodeError, Kind, Manifest, Matrix, MatrixError, MatrixShape, Seed, TILE_BIASES,
    TILE_COEFFICIENTS, TILE_COLUMNS, encode_steps, encode_tile,
};

use crate::dense::{Dense, DenseGradient};
use crate::gemm::{Gemm, Left};
use crate::rng::{Purpose, Rng};
use crate::shape::{EMBEDDING, GAINS, Shape};

/// Latents of one tile: coefficients, then biases.
const PER_TILE: usize = TILE_COEFFICIENTS + TILE_BIASES;
/// Salt of every tile: the whole model shares one basis.
const SALT: u8 = 0;
/// Unit of a stored gain (specification, section 7).
const GAIN_UNIT: f32 = 1.0 / 64.0;
/// Unit of a stored position gain is half of [`GAIN_UNIT`].
const POSITION_FACTOR: f32 = 2.0;
/// First value of every norm gain (specification, section 9).
const FIRST_GAIN: f32 = 0.8;
/// First value of every position gain (specification, section 9).
const FIRST_POSITION_GAIN: f32 = 0.5;

/// Why latents did not become weights.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// A latent is infinite or not a number.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The codec refused its own seeds.
    #[error(transparent)]
    Decode(#[from] MatrixError),
}

/// The optimiser's view of a model and what is needed to encode and decode it.
#[derive(Debug)]
pub(crate) struct Latents {
    shape: Shape,
    /// Kind and size of every matrix, in model order.
    matrices: Vec<MatrixShape>,
    /// Gains, then the tiles of every matrix in seed order.
    values: Vec<f32>,
    cache: BasisCache,
    pull_back: PullBack,
}

/// Buffers for the gradient of the coefficients.
#[derive(Debug, Default)]
struct PullBack {
    /// Basis of a hash kind as (tile weight × coefficient) signs; empty for `kron`.
    basis: Vec<f32>,
    /// Gradients of the weights of all tiles of a matrix, one row per tile.
    tiles: Vec<f32>,
    /// Gradients of the coefficients, one row per tile.
    coefficients: Vec<f32>,
    gemm: Gemm,
}

impl Latents {
    /// First values of a model whose matrices after the gains are all of one
    /// tiled kind.
    pub(crate) fn new(manifest: &Manifest, rng_seed: u64) -> Self {
        let matrices: Vec<_> = manifest
            .matrices()
            .iter()
            .map(|(_, shape)| *shape)
            .collect();
        let kind = matrices[EMBEDDING].kind;
        let mut latents = Self {
            shape: Shape::new(manifest.config()),
            matrices,
            values: Vec::new(),
            cache: BasisCache::new(),
            pull_back: PullBack::default(),
        };
        latents.load_basis(kind);
        latents.initialise(rng_seed);
        latents
    }

    fn load_basis(&mut self, kind: Kind) {
        let Some(rows) = kind.tile_rows().filter(|_| kind.is_hash_basis()) else {
            return;
        };
        let signs = self.cache.of(rows, SALT).0.signs();
        let size = rows * TILE_COLUMNS;
        let transposed = (0..size * TILE_COEFFICIENTS)
            .map(|at| f32::from(signs[at % TILE_COEFFICIENTS * size + at / TILE_COEFFICIENTS]));
        self.pull_back.basis = transposed.collect();
    }

    fn initialise(&mut self, rng_seed: u64) {
        let norms = (self.shape.gains() - 1) * self.shape.width;
        self.values = vec![FIRST_POSITION_GAIN; self.shape.width];
        self.values.extend(std::iter::repeat_n(FIRST_GAIN, norms));
        for (index, matrix) in self.matrices.iter().enumerate().skip(EMBEDDING) {
            let mut rng = Rng::new(rng_seed, Purpose::Initialisation, index as u64);
            // A weight is a sum of 32 coefficients, or one product of two.
            let variance = 1.0 / matrix.inputs as f32;
            let deviation = match matrix.kind {
                Kind::Kron => variance.sqrt().sqrt(),
                _ => (variance / TILE_COEFFICIENTS as f32).sqrt(),
            };
            for _ in 0..matrix.seed_count() {
                let coefficients = (0..TILE_COEFFICIENTS).map(|_| rng.normal() * deviation);
                self.values.extend(coefficients);
                self.values.extend([0.0; TILE_BIASES]);
            }
        }
    }

    /// All latents.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// All latents, for the optimiser.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Which latents weight decay applies to: coefficients, not gains or biases.
    pub(crate) fn is_decayed(&self) -> Vec<bool> {
        let gains = self.matrices[GAINS].outputs;
        (0..self.values.len())
            .map(|at| at >= gains && (at - gains) % PER_TILE < TILE_COEFFICIENTS)
            .collect()
    }

    /// Latents of each tile of each tiled matrix: (matrix, its tiles).
    fn tiles(&self) -> impl Iterator<Item = (usize, &[[f32; PER_TILE]])> {
        let (tiles, _) = self.values[self.matrices[GAINS].outputs..].as_chunks::<PER_TILE>();
        let mut rest = tiles;
        self.matrices
            .iter()
            .enumerate()
            .skip(EMBEDDING)
            .map(move |(index, matrix)| {
                let (tiles, after) = rest.split_at(matrix.seed_count());
                rest = after;
                (index, tiles)
            })
    }

    /// `UpdateSeeds`: the seeds of the present latents, in file order.
    pub(crate) fn encode(&self, seeds: &mut Vec<Seed>) -> Result<(), EncodeError> {
        seeds.clear();
        self.encode_gains(seeds)?;
        for (index, tiles) in self.tiles() {
            for (at, tile) in tiles.iter().enumerate() {
                let (kind, place) = self.matrices[index].seed(index as u16, at);
                let (coefficients, rest) = tile
                    .split_first_chunk()
                    .expect("a tile begins with its coefficients");
                let biases = rest.first_chunk().expect("a tile ends with its biases");
                seeds.push(encode_tile(kind, place, SALT, coefficients, biases)?);
            }
        }
        Ok(())
    }

    fn encode_gains(&self, seeds: &mut Vec<Seed>) -> Result<(), EncodeError> {
        let gains = self.matrices[GAINS];
        let mut group = [0.0; 20];
        for at in 0..gains.seed_count() {
            let first = at * group.len();
            let len = group.len().min(gains.outputs - first);
            for (i, value) in group[..len].iter_mut().enumerate() {
                *value = self.values[first + i] * self.gain_factor(first + i);
            }
            let (_, place) = gains.seed(GAINS as u16, at);
            seeds.push(encode_steps(place, &group[..len], f64::from(GAIN_UNIT))?);
        }
        Ok(())
    }

    /// A gain in units of [`GAIN_UNIT`] is its real value times this.
    fn gain_factor(&self, at: usize) -> f32 {
        if at < self.shape.width {
            POSITION_FACTOR
        } else {
            1.0
        }
    }

    /// Encodes the latents and decodes the seeds into the network's weights.
    pub(crate) fn update(
        &mut self,
        seeds: &mut Vec<Seed>,
        dense: &mut Dense,
    ) -> Result<(), UpdateError> {
        self.encode(seeds)?;
        let mut rest = seeds.as_slice();
        for (index, shape) in self.matrices.iter().enumerate() {
            let (own, after) = rest.split_at(shape.seed_count());
            rest = after;
            let matrix = Matrix::decode(*shape, index as u16, own, &mut self.cache)?;
            if index == GAINS {
                let steps = (0..shape.outputs).map(|at| f32::from(matrix.weight(at, 0)));
                let gains = steps
                    .enumerate()
                    .map(|(at, s)| s * GAIN_UNIT / self.gain_factor(at));
                dense.set_gains(gains);
            } else {
                dense.set_matrix(index, &matrix);
            }
        }
        Ok(())
    }

    /// The latents' gradient from the weights' gradient, at the weights of `seeds`.
    ///
    /// Exact through the basis: `dL/dc_k = <dL/dW, B_k>`. Identity through every
    /// rounding.
    pub(crate) fn pull_back(&mut self, dense: &DenseGradient, seeds: &[Seed], out: &mut [f32]) {
        let (gains, tiles) = out.split_at_mut(self.matrices[GAINS].outputs);
        gains.copy_from_slice(dense.gains());
        let mut tiles = tiles.as_chunks_mut::<PER_TILE>().0;
        let mut seeds = &seeds[self.matrices[GAINS].seed_count()..];
        let mut latents = self.values[gains.len()..].as_chunks::<PER_TILE>().0;
        for (index, shape) in self.matrices.iter().enumerate().skip(EMBEDDING) {
            let count = shape.seed_count();
            let (own_tiles, other_tiles) = tiles.split_at_mut(count);
            let (own_seeds, other_seeds) = seeds.split_at(count);
            let (own_latents, other_latents) = latents.split_at(count);
            (tiles, seeds, latents) = (other_tiles, other_seeds, other_latents);
            cut(shape, dense.weight(index), &mut self.pull_back.tiles);
            if shape.kind.is_hash_basis() {
                self.pull_back.hash_basis(own_tiles);
            } else {
                self.pull_back.kronecker(own_latents, own_seeds, own_tiles);
            }
            pull_back_biases(shape, dense.bias(index), &mut self.cache, own_tiles);
        }
    }
}

/// Tiles of a matrix one after the other, zero where they stick out.
fn cut(shape: &MatrixShape, matrix: &[f32], tiles: &mut Vec<f32>) {
    let size = shape.kind.weights_per_seed();
    let rows = size / TILE_COLUMNS;
    tiles.clear();
    tiles.resize(shape.seed_count() * size, 0.0);
    let columns = shape.inputs.div_ceil(TILE_COLUMNS);
    for (output, row) in matrix.chunks_exact(shape.inputs).enumerate() {
        for (column, run) in row.chunks(TILE_COLUMNS).enumerate() {
            let tile = output / rows * columns + column;
            let at = tile * size + output % rows * TILE_COLUMNS;
            tiles[at..at + run.len()].copy_from_slice(run);
        }
    }
}

impl PullBack {
    fn hash_basis(&mut self, gradients: &mut [[f32; PER_TILE]]) {
        let size = self.basis.len() / TILE_COEFFICIENTS;
        self.coefficients.clear();
        self.coefficients
            .resize(gradients.len() * TILE_COEFFICIENTS, 0.0);
        let shape = [gradients.len(), size, TILE_COEFFICIENTS];
        self.gemm.multiply_add(
            shape,
            Left::Rows(&self.tiles),
            &self.basis,
            &mut self.coefficients,
        );
        let rows = self.coefficients.as_chunks::<TILE_COEFFICIENTS>().0;
        for (gradient, row) in gradients.iter_mut().zip(rows) {
            gradient[..TILE_COEFFICIENTS].copy_from_slice(row);
        }
    }

    /// `w[4i+k][4j+l] = u[i][j]·v[k][l]`, so each factor's gradient is the
    /// weights' gradient times the other factor as the seed holds it.
    fn kronecker(
        &self,
        latents: &[[f32; PER_TILE]],
        seeds: &[Seed],
        gradients: &mut [[f32; PER_TILE]],
    ) {
        const FACTOR: usize = TILE_COEFFICIENTS / 2;
        let tiles = self.tiles.chunks_exact(TILE_COLUMNS * TILE_COLUMNS);
        for (((gradient, tile), seed), latent) in
            gradients.iter_mut().zip(tiles).zip(seeds).zip(latents)
        {
            let magnitude = |values: &[f32]| values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            let unit = [&latent[..FACTOR], &latent[FACTOR..2 * FACTOR]]
                .map(|factor| magnitude(factor) / 15.0);
            let coefficients = seed.coefficients();
            let factor = |at: usize| f32::from(coefficients[at]) * unit[at / FACTOR];
            gradient[..2 * FACTOR].fill(0.0);
            for (at, dw) in tile.iter().enumerate() {
                let (row, column) = (at / TILE_COLUMNS, at % TILE_COLUMNS);
                let u = row / 4 * 4 + column / 4;
                let v = FACTOR + row % 4 * 4 + column % 4;
                gradient[u] += dw * factor(v);
                gradient[v] += dw * factor(u);
            }
        }
    }
}

/// Gradients of the biases of every tile: hash kinds spread each over all rows
/// by signs, `kron` adds four values to four rows.
fn pull_back_biases(
    shape: &MatrixShape,
    bias: &[f32],
    cache: &mut BasisCache,
    gradients: &mut [[f32; PER_TILE]],
) {
    let rows = shape.kind.weights_per_seed() / TILE_COLUMNS;
    let columns = shape.inputs.div_ceil(TILE_COLUMNS);
    for (tile, gradient) in gradients.iter_mut().enumerate() {
        let (tile_row, column) = (tile / columns, tile % columns);
        let own = &bias[tile_row * rows..bias.len().min((tile_row + 1) * rows)];
        for (q, out) in gradient[TILE_COEFFICIENTS..].iter_mut().enumerate() {
            *out = if shape.kind.is_hash_basis() {
                let signs = cache.of(rows, SALT).1.of(column, q);
                own.iter().zip(signs).map(|(d, s)| d * f32::from(*s)).sum()
            } else {
                own.get(4 * (column % 4) + q).copied().unwrap_or(0.0)
            };
        }
    }
}

#[cfg(test)]
mod tests;
