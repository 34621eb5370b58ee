//! Existing real matrices as seeds: least squares instead of training.
//!
//! Owns the search for the seeds of one matrix: coefficients by least squares on the
//! basis, several salts (each another basis), the scale fitted again after rounding.
//! It loses most of a matrix at one bit per weight (`docs/training.md`); what a
//! network can bear has to be trained as seeds.

use std::collections::BTreeMap;

use hasher_model::{
    BasisCache, EncodeError, Kind, Matrix, MatrixShape, Scale, Seed, TILE_BIASES,
    TILE_COEFFICIENTS, TILE_COLUMNS, encode_group, encode_steps, encode_tile,
};

/// Iterations of the alternating fit of two factors; it settles within ten.
const FACTOR_ROUNDS: usize = 20;
/// Shares of the largest coefficient that the ends of the grid are tried at: large
/// values are cut off so that the many small ones are told apart.
const CLIPS: [f64; 5] = [1.0, 0.85, 0.7, 0.6, 0.5];
/// Unit of a stored bias.
const BIAS_UNIT: f64 = 1.0 / 64.0;

/// Why a matrix did not become seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Another number of values than the shape has.
    #[error("{got} values for a matrix of {outputs} × {inputs} with {outputs} biases")]
    Length {
        /// Rows of the matrix.
        outputs: usize,
        /// Columns of the matrix.
        inputs: usize,
        /// Weights and biases that were given.
        got: usize,
    },
    /// A value is infinite or not a number.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The codec refused its own seeds.
    #[error(transparent)]
    Decode(#[from] hasher_model::MatrixError),
}

/// Seeds of a matrix, and how well they hold it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Converted {
    /// The seeds in the order of the file.
    pub seeds: Vec<Seed>,
    /// Sum of squared differences of the weights over their sum of squares: 0 is
    /// exact, 1 as bad as zeros.
    pub relative_error: f64,
}

/// Encodes a matrix (`outputs × inputs`, by rows, and one bias per output) as number
/// `matrix` of a model. Of `salts` (1 to 256) hash bases the best is taken for each
/// tile. Biases of hash basis tiles are fitted, too; `kron` and flat kinds round them.
///
/// # Errors
/// [`ConvertError`].
pub fn convert(
    shape: MatrixShape,
    matrix: u16,
    weights: &[f32],
    biases: &[f32],
    salts: u16,
) -> Result<Converted, ConvertError> {
    if weights.len() != shape.weights() || biases.len() != shape.outputs {
        return Err(ConvertError::Length {
            outputs: shape.outputs,
            inputs: shape.inputs,
            got: weights.len() + biases.len(),
        });
    }
    let all = weights.iter().chain(biases);
    if let Some(at) = all.into_iter().position(|value| !value.is_finite()) {
        return Err(EncodeError::NotFinite(at).into());
    }
    let mut cache = BasisCache::new();
    let seeds = match shape.tiles() {
        Some(_) => tiles(&shape, matrix, weights, biases, salts, &mut cache)?,
        None => groups(&shape, matrix, weights, biases)?,
    };
    let decoded = Matrix::decode(shape, matrix, &seeds, &mut cache)?.to_f32();
    let pairs = decoded.iter().zip(weights);
    let squares = |value: f32| f64::from(value) * f64::from(value);
    let error: f64 = pairs.map(|(a, b)| squares(a - b)).sum();
    let energy: f64 = weights.iter().map(|w| squares(*w)).sum();
    Ok(Converted {
        seeds,
        relative_error: error / energy.max(f64::MIN_POSITIVE),
    })
}

fn groups(
    shape: &MatrixShape,
    matrix: u16,
    weights: &[f32],
    biases: &[f32],
) -> Result<Vec<Seed>, EncodeError> {
    let mut seeds = Vec::with_capacity(shape.seed_count());
    for (at, group) in weights.chunks(shape.kind.weights_per_seed()).enumerate() {
        let (kind, place) = shape.seed(matrix, at);
        seeds.push(match kind {
            Kind::Tern => ternary(place, group)?,
            _ => encode_group(kind, place, group)?,
        });
    }
    if shape.bias_seeds {
        let first = shape.weight_seeds();
        for (at, group) in biases.chunks(Kind::Vec8.weights_per_seed()).enumerate() {
            let (_, place) = shape.seed(matrix, first + at);
            seeds.push(encode_steps(place, group, BIAS_UNIT)?);
        }
    }
    Ok(seeds)
}

/// A ternary group whose threshold and scale fit best. Training takes the mean
/// magnitude for both, which moves less from step to step.
fn ternary(place: hasher_model::Place, group: &[f32]) -> Result<Seed, EncodeError> {
    let mean = group.iter().map(|w| w.abs()).sum::<f32>() / group.len().max(1) as f32;
    let mut best: Option<(f64, Vec<f32>, f64)> = None;
    for step in 2..=14 {
        let threshold = mean * step as f32 / 10.0;
        let trit = |w: &f32| if w.abs() > threshold { w.signum() } else { 0.0 };
        let trits: Vec<f32> = group.iter().map(trit).collect();
        let pairs = || group.iter().zip(&trits);
        let count = trits.iter().filter(|trit| **trit != 0.0).count();
        let sum: f64 = pairs().map(|(w, t)| f64::from(w * t)).sum();
        let scale = Scale::nearest(sum / count.max(1) as f64).to_f64();
        let error = pairs()
            .map(|(w, t)| (f64::from(*w) - scale * f64::from(*t)).powi(2))
            .sum();
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, trits, scale));
        }
    }
    let (_, trits, scale) = best.expect("several thresholds were tried");
    // The mean magnitude of trits is at most one, so they are rounded to themselves.
    let seed = encode_group(Kind::Tern, place, &trits)?;
    Ok(Seed::new(
        Kind::Tern,
        place,
        Scale::nearest(scale),
        0,
        *seed.payload(),
    ))
}

fn tiles(
    shape: &MatrixShape,
    matrix: u16,
    weights: &[f32],
    biases: &[f32],
    salts: u16,
    cache: &mut BasisCache,
) -> Result<Vec<Seed>, EncodeError> {
    let rows = shape.kind.weights_per_seed() / TILE_COLUMNS;
    let columns = shape.inputs.div_ceil(TILE_COLUMNS);
    let salts = salts.clamp(1, 256);
    // One for each salt and size of what a tile covers of the matrix.
    let mut solvers: BTreeMap<(u16, usize, usize), LeastSquares> = BTreeMap::new();
    let mut rest: Vec<f64> = biases.iter().map(|b| f64::from(*b)).collect();
    let mut seeds = Vec::with_capacity(shape.seed_count());
    for at in 0..shape.seed_count() {
        let (kind, place) = shape.seed(matrix, at);
        let (tile_row, column) = (at / columns, at % columns);
        let tile = cut(shape, weights, tile_row * rows, rows, column * TILE_COLUMNS);
        let first = tile_row * rows;
        let own = first..shape.outputs.min(first + rows);
        let seed = if kind == Kind::Kron {
            // Column c serves rows 4·(c mod 4) and the three after it, once.
            let mut quarter = [0.0; TILE_BIASES];
            if column < 4 {
                for (i, bias) in quarter.iter_mut().enumerate() {
                    *bias = biases.get(first + 4 * column + i).copied().unwrap_or(0.0);
                }
            }
            encode_tile(kind, place, 0, &factors(&tile), &quarter)?
        } else {
            let mut best: Option<(f64, Seed)> = None;
            let (height, width) = covered(shape, tile_row * rows, rows, column * TILE_COLUMNS);
            let tile = inside(&tile, height, width);
            for salt in 0..salts {
                let solver = solvers.entry((salt, height, width)).or_insert_with(|| {
                    let planes = cache.of(rows, salt as u8).0.signs();
                    let planes = planes.chunks_exact(rows * TILE_COLUMNS);
                    let real = planes.flat_map(|plane| {
                        let plane: Vec<f64> = plane.iter().map(|s| f64::from(*s)).collect();
                        inside(&plane, height, width)
                    });
                    LeastSquares::new(real.collect())
                });
                let (error, coefficients, scale) = solver.fit(&tile);
                if best.as_ref().is_some_and(|(least, _)| *least <= error) {
                    continue;
                }
                let signs = &cache.of(rows, salt as u8).1;
                let parts = bias_parts(&rest[own.clone()], |q| signs.of(column, q));
                let seed = encode_tile(kind, place, salt as u8, &coefficients, &parts)?;
                let seed = Seed::new(kind, place, scale, salt as u8, *seed.payload());
                best = Some((error, seed));
            }
            let (_, seed) = best.expect("at least one salt was tried");
            // Later tiles of this row hold what is left of the biases.
            let signs = &cache.of(rows, seed.salt()).1;
            for (q, part) in seed.biases().iter().enumerate() {
                for (rest, sign) in rest[own.clone()].iter_mut().zip(signs.of(column, q)) {
                    *rest -= f64::from(*part) * BIAS_UNIT * f64::from(*sign);
                }
            }
            seed
        };
        seeds.push(seed);
    }
    Ok(seeds)
}

/// Rows and columns of the matrix that a tile covers.
fn covered(shape: &MatrixShape, top: usize, rows: usize, left: usize) -> (usize, usize) {
    let height = rows.min(shape.outputs - top);
    (height, TILE_COLUMNS.min(shape.inputs - left))
}

/// The part of a tile's values that lies inside the matrix.
fn inside(tile: &[f64], height: usize, width: usize) -> Vec<f64> {
    let rows = tile.chunks_exact(TILE_COLUMNS).take(height);
    rows.flat_map(|row| row[..width].to_vec()).collect()
}

/// The weights of a tile, zero where it sticks out.
fn cut(shape: &MatrixShape, weights: &[f32], top: usize, rows: usize, left: usize) -> Vec<f64> {
    let mut tile = vec![0.0; rows * TILE_COLUMNS];
    let width = TILE_COLUMNS.min(shape.inputs - left);
    for (row, run) in tile.chunks_exact_mut(TILE_COLUMNS).enumerate() {
        if top + row < shape.outputs {
            let own = &weights[(top + row) * shape.inputs + left..][..width];
            for (value, weight) in run.iter_mut().zip(own) {
                *value = f64::from(*weight);
            }
        }
    }
    tile
}

/// Four biases whose signed sums come nearest to what the rows want, one after the
/// other: each takes the mean of what is left along its signs.
fn bias_parts<'a>(wanted: &[f64], signs: impl Fn(usize) -> &'a [i8]) -> [f32; TILE_BIASES] {
    let mut rest = wanted.to_vec();
    std::array::from_fn(|q| {
        let signs = signs(q);
        let sum: f64 = rest.iter().zip(signs).map(|(w, s)| w * f64::from(*s)).sum();
        let part = sum / rest.len().max(1) as f64;
        for (rest, sign) in rest.iter_mut().zip(signs) {
            *rest -= part * f64::from(*sign);
        }
        part as f32
    })
}

/// The two 4×4 factors whose Kronecker product comes nearest to a 16×16 tile.
fn factors(tile: &[f64]) -> [f32; TILE_COEFFICIENTS] {
    const FACTOR: usize = TILE_COEFFICIENTS / 2;
    let weight = |u: usize, v: usize| tile[(u / 4 * 4 + v / 4) * TILE_COLUMNS + u % 4 * 4 + v % 4];
    let mut u = [1.0f64; FACTOR];
    let mut v = [0.0f64; FACTOR];
    let squares = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
    // Begin with the column of the largest energy, not with one that may be zero.
    for (i, start) in u.iter_mut().enumerate() {
        *start = (0..FACTOR).map(|j| weight(i, j)).sum::<f64>() + 1e-9;
    }
    for _ in 0..FACTOR_ROUNDS {
        let scale = 1.0 / squares(&u).max(f64::MIN_POSITIVE);
        for (j, value) in v.iter_mut().enumerate() {
            *value = scale * (0..FACTOR).map(|i| u[i] * weight(i, j)).sum::<f64>();
        }
        let scale = 1.0 / squares(&v).max(f64::MIN_POSITIVE);
        for (i, value) in u.iter_mut().enumerate() {
            *value = scale * (0..FACTOR).map(|j| v[j] * weight(i, j)).sum::<f64>();
        }
    }
    std::array::from_fn(|at| if at < FACTOR { u[at] } else { v[at - FACTOR] } as f32)
}

/// Least squares on one basis: 32 sign matrices.
struct LeastSquares {
    /// The sign matrices, one after the other.
    planes: Vec<f64>,
    /// Inverse of their inner products, 32 × 32.
    inverse: Vec<f64>,
}

impl LeastSquares {
    const N: usize = TILE_COEFFICIENTS;

    fn new(planes: Vec<f64>) -> Self {
        let size = planes.len() / Self::N;
        let plane = |k: usize| &planes[k * size..(k + 1) * size];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let n = Self::N;
        // Gauss-Jordan on (inner products | identity). Random signs are far from
        // dependent; a hair on the diagonal keeps even that case finite.
        let mut rows: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let mut row: Vec<f64> = (0..n).map(|j| dot(plane(i), plane(j))).collect();
                row[i] += 1e-6;
                row.extend((0..n).map(|j| f64::from(u8::from(i == j))));
                row
            })
            .collect();
        for pivot in 0..n {
            let scale = 1.0 / rows[pivot][pivot];
            rows[pivot].iter_mut().for_each(|value| *value *= scale);
            let own = rows[pivot].clone();
            for (at, row) in rows.iter_mut().enumerate() {
                if at != pivot {
                    let factor = row[pivot];
                    row.iter_mut()
                        .zip(&own)
                        .for_each(|(value, own)| *value -= factor * own);
                }
            }
        }
        let inverse = rows.iter().flat_map(|row| row[n..].to_vec()).collect();
        Self { planes, inverse }
    }

    /// Squared error, coefficients (such that rounding them gives the nibbles) and the
    /// scale that fits best after rounding.
    fn fit(&self, tile: &[f64]) -> (f64, [f32; TILE_COEFFICIENTS], Scale) {
        let planes = self.planes.chunks_exact(tile.len());
        let along: Vec<f64> = planes
            .map(|plane| plane.iter().zip(tile).map(|(p, w)| p * w).sum())
            .collect();
        let exact: [f64; Self::N] = std::array::from_fn(|i| {
            let row = &self.inverse[i * Self::N..(i + 1) * Self::N];
            row.iter().zip(&along).map(|(m, a)| m * a).sum()
        });
        let largest = exact.iter().fold(0.0f64, |max, c| max.max(c.abs()));
        let tries = CLIPS.map(|clip| self.round(tile, &exact, largest * clip));
        let [first, others @ ..] = tries;
        others.into_iter().fold(
            first,
            |best, other| if other.0 < best.0 { other } else { best },
        )
    }

    fn round(
        &self,
        tile: &[f64],
        exact: &[f64; TILE_COEFFICIENTS],
        most: f64,
    ) -> (f64, [f32; TILE_COEFFICIENTS], Scale) {
        let step = (most / 15.0).max(f64::MIN_POSITIVE);
        // Odd whole numbers from −15 to 15, as nibbles are.
        let odd = exact.map(|c| (2.0 * ((c / step - 1.0) / 2.0).round() + 1.0).clamp(-15.0, 15.0));
        let mut sum = vec![0.0; tile.len()];
        for (n, plane) in odd.iter().zip(self.planes.chunks_exact(tile.len())) {
            sum.iter_mut().zip(plane).for_each(|(s, p)| *s += n * p);
        }
        let along: f64 = sum.iter().zip(tile).map(|(s, w)| s * w).sum();
        let energy: f64 = sum.iter().map(|s| s * s).sum();
        let scale = Scale::nearest(along / energy.max(f64::MIN_POSITIVE));
        let real = scale.to_f64();
        let error = sum
            .iter()
            .zip(tile)
            .map(|(s, w)| (s * real - w).powi(2))
            .sum();
        // The codec takes the largest magnitude for 15: one of them must be it.
        let mut coefficients = odd.map(|n| n as f32);
        if !odd.iter().any(|n| n.abs() == 15.0) {
            let top = odd.iter().fold(0.0f64, |max, n| max.max(n.abs()));
            coefficients = odd.map(|n| ((n * 15.0 / top).round()) as f32);
        }
        (error, coefficients, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::values;

    fn error(kind: Kind, salts: u16) -> f64 {
        let shape = MatrixShape {
            bias_seeds: kind.tile_rows().is_none(),
            ..MatrixShape::new(kind, 96, 80)
        };
        let weights = values(96 * 80, 5);
        let biases = vec![0.25; 96];
        convert(shape, 3, &weights, &biases, salts)
            .unwrap()
            .relative_error
    }

    #[test]
    fn gaussian_matrices_lose_what_the_specification_says() {
        // Specification, section 10. Its hash basis rows have 40 coefficients; 32 of a
        // seed can hold 32 of 256 dimensions, which leaves 0.875 before rounding.
        let cases = [
            (Kind::Hb16, 1, 0.885, 0.02),
            (Kind::Hb16, 64, 0.80, 0.03),
            (Kind::Kron, 1, 0.791, 0.03),
            (Kind::Bin, 1, 0.359, 0.02),
            (Kind::Tern, 1, 0.188, 0.03),
            (Kind::Nib, 1, 0.0083, 0.003),
        ];
        for (kind, salts, expected, allowed) in cases {
            let got = error(kind, salts);
            assert!(
                (got - expected).abs() < allowed,
                "{kind}, {salts} salts: {got:.4}"
            );
        }
        assert!(error(Kind::Hb8, 1) < error(Kind::Hb16, 1));
        assert!(error(Kind::Hb16, 1) < error(Kind::Hb32, 1));
    }

    #[test]
    fn what_lies_on_the_basis_is_found_again() {
        let mut cache = BasisCache::new();
        let shape = MatrixShape::new(Kind::Hb16, 16, 16);
        let coefficients: [f32; 32] = std::array::from_fn(|i| (2 * (i % 16)) as f32 - 15.0);
        let (kind, place) = shape.seed(0, 0);
        let seed = encode_tile(kind, place, 7, &coefficients, &[0.0; 4]).unwrap();
        let matrix = Matrix::decode(shape, 0, &[seed], &mut cache).unwrap();
        let found = convert(shape, 0, &matrix.to_f32(), &[0.0; 16], 16).unwrap();
        assert_eq!(found.seeds[0].salt(), 7);
        assert!(found.relative_error < 1e-9, "{}", found.relative_error);
    }

    #[test]
    fn a_tile_that_sticks_out_is_fitted_where_it_lies() {
        let weights = values(10 * 20, 3);
        let error = |outputs, inputs, weights: &[f32]| {
            let shape = MatrixShape::new(Kind::Hb32, outputs, inputs);
            let biases = vec![0.0; outputs];
            convert(shape, 0, weights, &biases, 1)
                .unwrap()
                .relative_error
        };
        // 32 coefficients for 160 weights and for 40, not for 512 each.
        let lost = error(10, 20, &weights);
        assert!(lost < 0.87, "{lost}");
    }

    #[test]
    fn biases_are_kept() {
        for kind in [Kind::Kron, Kind::Hb16, Kind::Tern] {
            let shape = MatrixShape {
                bias_seeds: kind.tile_rows().is_none(),
                ..MatrixShape::new(kind, 16, 128)
            };
            let biases: Vec<f32> = (0..16).map(|i| (i as f32 - 8.0) / 16.0).collect();
            let converted = convert(shape, 0, &values(16 * 128, 1), &biases, 1).unwrap();
            let matrix =
                Matrix::decode(shape, 0, &converted.seeds, &mut BasisCache::new()).unwrap();
            let pairs = matrix.biases_f32().into_iter().zip(&biases);
            let worst = pairs.fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
            // Exact up to rounding for what stores biases one by one; eight tiles of
            // four signed parts come near for the hash basis.
            let allowed = if kind == Kind::Hb16 { 0.3 } else { 0.01 };
            assert!(worst < allowed, "{kind}: {worst}");
        }
    }

    #[test]
    fn wrong_lengths_and_values_are_refused() {
        let shape = MatrixShape::new(Kind::Hb16, 16, 16);
        assert!(matches!(
            convert(shape, 0, &[0.0; 5], &[0.0; 16], 1),
            Err(ConvertError::Length { .. })
        ));
        let mut weights = vec![1.0; 256];
        weights[9] = f32::NAN;
        assert!(matches!(
            convert(shape, 0, &weights, &[0.0; 16], 1),
            Err(ConvertError::Encode(EncodeError::NotFinite(9)))
        ));
    }
}
