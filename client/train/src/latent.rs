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

use std::mem;
use std::ops::Range;

use hasher_model::{
    BasisCache, EncodeError, Kind, Manifest, Matrix, MatrixError, MatrixShape, Seed, TILE_BIASES,
    TILE_COEFFICIENTS, TILE_COLUMNS, encode_group, encode_steps, encode_tile,
};

use crate::config::{TrainConfig, Weights};
use crate::dense::{Dense, DenseGradient};
use crate::rng::{Purpose, Rng};
use crate::shape::{EMBEDDING, GAINS, Shape};
use hasher_kernel::{Gemm, Operand};

/// Latents of one tile: coefficients, then biases.
const PER_TILE: usize = TILE_COEFFICIENTS + TILE_BIASES;
/// Salt of every tile: the whole model shares one basis.
const SALT: u8 = 0;
/// Unit of a stored gain or bias (specification, section 7).
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
    weights: Weights,
    /// The matrices in model order, gains first.
    parts: Vec<Part>,
    values: Vec<f32>,
    cache: BasisCache,
    pull_back: PullBack,
}

/// One matrix and where its latents lie.
///
/// Tiled kinds have [`PER_TILE`] latents a seed. Flat kinds and float weights have
/// one a weight, row-major, then one a bias.
#[derive(Debug, Clone)]
struct Part {
    shape: MatrixShape,
    latents: Range<usize>,
    is_tiled: bool,
}

impl Part {
    /// Latents of one seed, and how many of them are weights or coefficients.
    fn period(&self) -> (usize, usize) {
        if self.is_tiled {
            (PER_TILE, TILE_COEFFICIENTS)
        } else {
            (self.latents.len(), self.shape.weights())
        }
    }
}

/// Buffers for the gradient of the coefficients.
#[derive(Debug, Default)]
struct PullBack {
    /// Basis of each hash kind in use as (tile weight × coefficient) signs, by
    /// [`PullBack::slot`].
    bases: [Vec<f32>; 3],
    /// Gradients of the weights of all tiles of a matrix, one row per tile.
    tiles: Vec<f32>,
    /// Gradients of the coefficients, one row per tile.
    coefficients: Vec<f32>,
    gemm: Gemm,
}

impl Latents {
    /// First values of a model.
    pub(crate) fn new(manifest: &Manifest, config: &TrainConfig) -> Self {
        let mut end = 0;
        let parts = manifest.matrices().iter().enumerate();
        let parts: Vec<Part> = parts
            .map(|(index, (_, shape))| {
                let is_tiled = index != GAINS
                    && config.weights == Weights::Seeds
                    && shape.kind.tile_rows().is_some();
                let length = match (index, is_tiled) {
                    (GAINS, _) => shape.outputs,
                    (_, true) => shape.seed_count() * PER_TILE,
                    (_, false) => shape.weights() + shape.outputs,
                };
                let latents = end..end + length;
                end = latents.end;
                Part {
                    shape: *shape,
                    latents,
                    is_tiled,
                }
            })
            .collect();
        let mut latents = Self {
            shape: Shape::new(manifest.config(), config.form()),
            weights: config.weights,
            parts,
            values: Vec::with_capacity(end),
            cache: BasisCache::new(),
            pull_back: PullBack::default(),
        };
        latents.load_bases();
        latents.initialise(config.rng_seed);
        latents
    }

    fn load_bases(&mut self) {
        for part in self.parts.iter().filter(|part| part.is_tiled) {
            let kind = part.shape.kind;
            let Some(rows) = kind.tile_rows().filter(|_| kind.is_hash_basis()) else {
                continue;
            };
            let basis = &mut self.pull_back.bases[PullBack::slot(rows)];
            if !basis.is_empty() {
                continue;
            }
            let signs = self.cache.of(rows, SALT).0.signs();
            let size = rows * TILE_COLUMNS;
            let transposed = (0..size * TILE_COEFFICIENTS)
                .map(|at| f32::from(signs[at % TILE_COEFFICIENTS * size + at / TILE_COEFFICIENTS]));
            *basis = transposed.collect();
        }
    }

    fn initialise(&mut self, rng_seed: u64) {
        let norms = (self.shape.gains() - 1) * self.shape.width;
        self.values
            .extend(std::iter::repeat_n(FIRST_POSITION_GAIN, self.shape.width));
        self.values.extend(std::iter::repeat_n(FIRST_GAIN, norms));
        for (index, part) in self.parts.iter().enumerate().skip(EMBEDDING) {
            let mut rng = Rng::new(rng_seed, Purpose::Initialisation, index as u64);
            // A weight is itself, a sum of 32 coefficients, or one product of two.
            let variance = 1.0 / part.shape.inputs as f32;
            let deviation = match part.shape.kind {
                _ if !part.is_tiled => variance.sqrt(),
                Kind::Kron => variance.sqrt().sqrt(),
                _ => (variance / TILE_COEFFICIENTS as f32).sqrt(),
            };
            let (period, weights) = part.period();
            for _ in 0..part.latents.len() / period {
                let coefficients = (0..weights).map(|_| rng.normal() * deviation);
                self.values.extend(coefficients);
                self.values
                    .extend(std::iter::repeat_n(0.0, period - weights));
            }
        }
    }

    /// Takes the values that the seeds of a model stand for, which must be of these
    /// kinds and of the basis that training uses: `UpdateSeeds` then gives the same
    /// weights again. Gains and biases lie on their grid already.
    pub(crate) fn take(&mut self, seeds: &[Seed]) -> Result<(), UpdateError> {
        let mut rest = seeds;
        for (index, part) in self.parts.iter().enumerate() {
            let (own, after) = rest.split_at(part.shape.seed_count());
            rest = after;
            let values = &mut self.values[part.latents.clone()];
            if !part.is_tiled {
                let matrix = Matrix::decode(part.shape, index as u16, own, &mut self.cache)?;
                if index == GAINS {
                    for (at, value) in values.iter_mut().enumerate() {
                        let factor = gain_factor(&self.shape, at);
                        *value = f32::from(matrix.weight(at, 0)) * GAIN_UNIT / factor;
                    }
                } else {
                    let (weights, biases) = values.split_at_mut(part.shape.weights());
                    weights.copy_from_slice(&matrix.to_f32());
                    biases.copy_from_slice(&matrix.biases_f32());
                }
                continue;
            }
            for (tile, seed) in values.as_chunks_mut::<PER_TILE>().0.iter_mut().zip(own) {
                take_tile(part.shape.kind, seed, tile);
            }
        }
        Ok(())
    }

    /// All latents.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// All latents, for the optimiser.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Which latents are weights or coefficients; the others are gains and biases.
    pub(crate) fn is_weight(&self) -> Vec<bool> {
        let mut is_weight = vec![false; self.values.len()];
        for part in &self.parts[EMBEDDING..] {
            let (period, weights) = part.period();
            for run in is_weight[part.latents.clone()].chunks_exact_mut(period) {
                run[..weights].fill(true);
            }
        }
        is_weight
    }

    /// The seeds of latents of this layout, in file order.
    pub(crate) fn encode(&self, values: &[f32], seeds: &mut Vec<Seed>) -> Result<(), EncodeError> {
        seeds.clear();
        self.encode_gains(values, seeds)?;
        for (index, part) in self.parts.iter().enumerate().skip(EMBEDDING) {
            let latents = &values[part.latents.clone()];
            if part.is_tiled {
                encode_tiles(index as u16, part, latents, seeds)?;
            } else {
                encode_flat(index as u16, part, latents, seeds)?;
            }
        }
        Ok(())
    }

    fn encode_gains(&self, values: &[f32], seeds: &mut Vec<Seed>) -> Result<(), EncodeError> {
        let gains = self.parts[GAINS].shape;
        let mut group = [0.0; 20];
        for at in 0..gains.seed_count() {
            let first = at * group.len();
            let len = group.len().min(gains.outputs - first);
            for (i, value) in group[..len].iter_mut().enumerate() {
                *value = values[first + i] * gain_factor(&self.shape, first + i);
            }
            let (_, place) = gains.seed(GAINS as u16, at);
            seeds.push(encode_steps(place, &group[..len], f64::from(GAIN_UNIT))?);
        }
        Ok(())
    }

    /// `UpdateSeeds`: encodes the latents and decodes the seeds into the network's
    /// weights. In a float run there are no seeds and the latents are the weights.
    pub(crate) fn update(
        &mut self,
        seeds: &mut Vec<Seed>,
        dense: &mut Dense,
    ) -> Result<(), UpdateError> {
        if self.weights == Weights::Float {
            return self.copy_to(&self.values, dense);
        }
        self.encode(&self.values, seeds)?;
        let mut cache = mem::take(&mut self.cache);
        let decoded = self.decode(seeds, &mut cache, dense);
        self.cache = cache;
        decoded
    }

    /// The weights that other latents of this layout stand for: what [`Latents::update`]
    /// does with its own.
    pub(crate) fn weights_of(&self, values: &[f32], dense: &mut Dense) -> Result<(), UpdateError> {
        if self.weights == Weights::Float {
            return self.copy_to(values, dense);
        }
        let mut seeds = Vec::new();
        self.encode(values, &mut seeds)?;
        self.decode(&seeds, &mut BasisCache::new(), dense)
    }

    fn decode(
        &self,
        seeds: &[Seed],
        cache: &mut BasisCache,
        dense: &mut Dense,
    ) -> Result<(), UpdateError> {
        let mut rest = seeds;
        for (index, part) in self.parts.iter().enumerate() {
            let (own, after) = rest.split_at(part.shape.seed_count());
            rest = after;
            let matrix = Matrix::decode(part.shape, index as u16, own, cache)?;
            if index == GAINS {
                let steps = (0..part.shape.outputs).map(|at| f32::from(matrix.weight(at, 0)));
                let gains = steps
                    .enumerate()
                    .map(|(at, s)| s * GAIN_UNIT / gain_factor(&self.shape, at));
                dense.set_gains(gains);
            } else {
                dense.set_matrix(index, &matrix);
            }
        }
        Ok(())
    }

    fn copy_to(&self, values: &[f32], dense: &mut Dense) -> Result<(), UpdateError> {
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(EncodeError::NotFinite(at).into());
        }
        dense.set_gains(values[self.parts[GAINS].latents.clone()].iter().copied());
        for (index, part) in self.parts.iter().enumerate().skip(EMBEDDING) {
            let (weights, biases) = values[part.latents.clone()].split_at(part.shape.weights());
            dense.set(index, weights, biases);
        }
        Ok(())
    }

    /// The latents' gradient from the weights' gradient, at the weights of `seeds`.
    ///
    /// Exact through the basis: `dL/dc_k = <dL/dW, B_k>`. Identity through every
    /// rounding, and for kinds whose latents are the weights.
    pub(crate) fn pull_back(&mut self, dense: &DenseGradient, seeds: &[Seed], out: &mut [f32]) {
        out[self.parts[GAINS].latents.clone()].copy_from_slice(dense.gains());
        let mut first_seed = self.parts[GAINS].shape.seed_count();
        for (index, part) in self.parts.iter().enumerate().skip(EMBEDDING) {
            let (shape, out) = (&part.shape, &mut out[part.latents.clone()]);
            let (weight, bias) = (dense.weight(index), dense.bias(index));
            let count = shape.seed_count();
            if !part.is_tiled {
                out[..weight.len()].copy_from_slice(weight);
                out[weight.len()..].copy_from_slice(bias);
                first_seed += count;
                continue;
            }
            let tiles = out.as_chunks_mut::<PER_TILE>().0;
            cut(shape, weight, &mut self.pull_back.tiles);
            if let Some(rows) = shape
                .kind
                .tile_rows()
                .filter(|_| shape.kind.is_hash_basis())
            {
                self.pull_back.hash_basis(rows, tiles);
            } else {
                let latents = self.values[part.latents.clone()].as_chunks().0;
                let seeds = &seeds[first_seed..first_seed + count];
                self.pull_back.kronecker(latents, seeds, tiles);
            }
            pull_back_biases(shape, bias, &mut self.cache, tiles);
            first_seed += count;
        }
    }
}

/// A gain in units of [`GAIN_UNIT`] is its real value times this.
fn gain_factor(shape: &Shape, at: usize) -> f32 {
    if at < shape.width {
        POSITION_FACTOR
    } else {
        1.0
    }
}

fn take_tile(kind: Kind, seed: &Seed, tile: &mut [f32; PER_TILE]) {
    let scale = seed.scale().to_f64();
    // Each of two factors takes the root: their product has the scale.
    let unit = if kind == Kind::Kron {
        scale.sqrt()
    } else {
        scale
    };
    let (coefficients, biases) = tile.split_at_mut(TILE_COEFFICIENTS);
    for (value, n) in coefficients.iter_mut().zip(seed.coefficients()) {
        *value = (f64::from(n) * unit) as f32;
    }
    for (value, n) in biases.iter_mut().zip(seed.biases()) {
        *value = f32::from(n) * GAIN_UNIT;
    }
}

fn encode_tiles(
    matrix: u16,
    part: &Part,
    latents: &[f32],
    seeds: &mut Vec<Seed>,
) -> Result<(), EncodeError> {
    for (at, tile) in latents.as_chunks::<PER_TILE>().0.iter().enumerate() {
        let (kind, place) = part.shape.seed(matrix, at);
        let (coefficients, rest) = tile
            .split_first_chunk()
            .expect("a tile begins with its coefficients");
        let biases = rest.first_chunk().expect("a tile ends with its biases");
        seeds.push(encode_tile(kind, place, SALT, coefficients, biases)?);
    }
    Ok(())
}

fn encode_flat(
    matrix: u16,
    part: &Part,
    latents: &[f32],
    seeds: &mut Vec<Seed>,
) -> Result<(), EncodeError> {
    let (weights, biases) = latents.split_at(part.shape.weights());
    let groups = weights.chunks(part.shape.kind.weights_per_seed());
    for (at, group) in groups.enumerate() {
        let (kind, place) = part.shape.seed(matrix, at);
        seeds.push(encode_group(kind, place, group)?);
    }
    let first = part.shape.weight_seeds();
    let groups = biases.chunks(Kind::Vec8.weights_per_seed());
    for (at, group) in groups.enumerate() {
        let (_, place) = part.shape.seed(matrix, first + at);
        seeds.push(encode_steps(place, group, f64::from(GAIN_UNIT))?);
    }
    Ok(())
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
    /// Where the basis of tiles with 8, 16 or 32 rows is kept.
    const fn slot(rows: usize) -> usize {
        rows.trailing_zeros() as usize - 3
    }

    fn hash_basis(&mut self, rows: usize, gradients: &mut [[f32; PER_TILE]]) {
        let basis = &self.bases[Self::slot(rows)];
        let size = basis.len() / TILE_COEFFICIENTS;
        self.coefficients.clear();
        self.coefficients
            .resize(gradients.len() * TILE_COEFFICIENTS, 0.0);
        let shape = [gradients.len(), size, TILE_COEFFICIENTS];
        self.gemm.multiply_add(
            shape,
            Operand::Rows(&self.tiles),
            basis,
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
