//! From checked seeds to integer weights.

use super::{Blocks, Matrix, Scales};
use crate::kind::{TILE_COEFFICIENTS, TILE_COLUMNS, TILE_ROWS_MAX};
use crate::seed::nibble_value;
use crate::{Basis, BasisCache, Kind, MatrixShape, Seed};

/// Weights of the largest tile.
const TILE_WEIGHTS_MAX: usize = TILE_ROWS_MAX * TILE_COLUMNS;

/// Decodes seeds that have been checked against the shape.
pub(super) fn decode(shape: MatrixShape, seeds: &[Seed], cache: &mut BasisCache) -> Matrix {
    match shape.kind.tile_rows() {
        Some(rows) => decode_tiles(shape, rows, seeds, cache),
        None => decode_groups(shape, seeds),
    }
}

fn decode_tiles(shape: MatrixShape, rows: usize, seeds: &[Seed], cache: &mut BasisCache) -> Matrix {
    let columns = shape.inputs.div_ceil(TILE_COLUMNS);
    let stride = columns * TILE_COLUMNS;
    let mut weights = vec![0; shape.outputs * stride];
    let mut biases = vec![0; shape.outputs];
    let mut tile = [0i16; TILE_WEIGHTS_MAX];
    for (index, seed) in seeds.iter().enumerate() {
        let (tile_row, column) = (index / columns, index % columns);
        let tile = &mut tile[..rows * TILE_COLUMNS];
        let first = tile_row * rows;
        let height = rows.min(shape.outputs - first);
        let bias = &mut biases[first..first + height];
        if shape.kind == Kind::Kron {
            kron_tile(seed, tile);
            add_kron_bias(seed, column, bias);
        } else {
            let (basis, signs) = cache.of(rows, seed.salt());
            basis_tile(seed, basis, tile);
            for (q, b) in seed.biases().into_iter().enumerate() {
                for (sum, sign) in bias.iter_mut().zip(signs.of(column, q)) {
                    *sum += i32::from(b) * i32::from(*sign);
                }
            }
        }
        // Surplus columns stay zero, so that the product needs no mask.
        let width = TILE_COLUMNS.min(shape.inputs - column * TILE_COLUMNS);
        for (row, values) in tile.chunks_exact(TILE_COLUMNS).take(height).enumerate() {
            let at = (first + row) * stride + column * TILE_COLUMNS;
            weights[at..at + width].copy_from_slice(&values[..width]);
        }
    }
    Matrix {
        shape,
        weights,
        scales: Scales::Tiles {
            rows,
            q24: seeds.iter().map(|seed| seed.scale().q24()).collect(),
        },
        biases,
        blocks: Blocks::default(),
    }
}

/// `Σ c_k · B_k`.
fn basis_tile(seed: &Seed, basis: &Basis, tile: &mut [i16]) {
    tile.fill(0);
    for (k, c) in seed.coefficients().into_iter().enumerate() {
        let c = i16::from(c);
        for (weight, sign) in tile.iter_mut().zip(basis.plane(k)) {
            *weight += c * i16::from(*sign);
        }
    }
}

/// `w[4i + k][4j + l] = u[i][j] · v[k][l]`.
fn kron_tile(seed: &Seed, tile: &mut [i16]) {
    let (u, v) = {
        let all = seed.coefficients();
        let (u, v) = all.split_at(TILE_COEFFICIENTS / 2);
        (
            <[i8; 16]>::try_from(u).expect("half of 32"),
            <[i8; 16]>::try_from(v).expect("half of 32"),
        )
    };
    for (at, weight) in tile.iter_mut().enumerate() {
        let (row, column) = (at / TILE_COLUMNS, at % TILE_COLUMNS);
        *weight = i16::from(u[row / 4 * 4 + column / 4]) * i16::from(v[row % 4 * 4 + column % 4]);
    }
}

/// The tile in column `c` serves the four rows from `4·(c mod 4)`.
fn add_kron_bias(seed: &Seed, column: usize, bias: &mut [i32]) {
    let first = 4 * (column % 4);
    for (sum, b) in bias.iter_mut().skip(first).zip(seed.biases()) {
        *sum += i32::from(b);
    }
}

fn decode_groups(shape: MatrixShape, seeds: &[Seed]) -> Matrix {
    let length = shape.kind.weights_per_seed();
    let (weight_seeds, bias_seeds) = seeds.split_at(shape.weight_seeds());
    let flat: Vec<i16> = weight_seeds
        .iter()
        .flat_map(|seed| group_weights(shape.kind, seed))
        .take(shape.weights())
        .collect();
    let stride = shape.inputs.next_multiple_of(TILE_COLUMNS);
    let mut weights = vec![0; shape.outputs * stride];
    for (padded, row) in weights
        .chunks_exact_mut(stride)
        .zip(flat.chunks_exact(shape.inputs))
    {
        padded[..shape.inputs].copy_from_slice(row);
    }
    let mut biases: Vec<i32> = bias_seeds
        .iter()
        .flat_map(|seed| group_weights(Kind::Vec8, seed))
        .map(i32::from)
        .collect();
    biases.resize(shape.outputs, 0);
    Matrix {
        shape,
        weights,
        scales: Scales::Groups {
            length,
            q24: weight_seeds.iter().map(|s| s.scale().q24()).collect(),
        },
        biases,
        blocks: Blocks::default(),
    }
}

/// The integers of one flat seed.
pub(crate) fn group_weights(kind: Kind, seed: &Seed) -> Vec<i16> {
    let payload = seed.payload();
    let count = kind.weights_per_seed();
    match kind {
        Kind::Bin => (0..count)
            .map(|i| 2 * i16::from((payload[i / 8] >> (i % 8)) & 1) - 1)
            .collect(),
        Kind::Tern => (0..count)
            .map(|i| i16::from(payload[i / 5] / 3u8.pow(i as u32 % 5) % 3) - 1)
            .collect(),
        Kind::Nib => (0..count)
            .map(|i| i16::from(nibble_value(payload, i)))
            .collect(),
        Kind::Vec8 => payload.iter().map(|b| i16::from(*b as i8)).collect(),
        Kind::Kron | Kind::Hb8 | Kind::Hb16 | Kind::Hb32 => {
            unreachable!("tiled kinds are decoded by tiles")
        }
    }
}
