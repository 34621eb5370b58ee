//! From latent real parameters to seeds: the rounding half of training.
//!
//! It owns every rounding rule that a trainer needs, so that training and
//! conversion produce the same bytes from the same numbers. It never optimises
//! anything. All arithmetic is IEEE double precision in a fixed order, so the
//! seeds are the same on every machine.

use crate::kind::{TILE_BIASES, TILE_COEFFICIENTS};
use crate::{Kind, PAYLOAD_BYTES, Place, Scale, Seed};

/// Why parameters can not become a seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A parameter is infinite or not a number.
    #[error("parameter {0} of a seed is not a finite number")]
    NotFinite(usize),
    /// The function is for the other family of kinds.
    #[error("kind {0} is encoded by the other of tile and group")]
    WrongFamily(Kind),
    /// A group holds no value or more than its kind takes.
    #[error("a {kind} seed takes 1 to {most} values, got {got}")]
    GroupLength {
        /// Kind of the group.
        kind: Kind,
        /// Values that one seed takes.
        most: usize,
        /// Values that were given.
        got: usize,
    },
}

/// A tile from its 32 coefficients and 4 biases.
///
/// `kron` takes U in the first 16 coefficients and V in the others; the hash
/// basis kinds take the coefficients of the 32 sign matrices. The scale is the
/// representable one nearest to the largest magnitude over 15.
///
/// # Errors
/// [`EncodeError::NotFinite`], or [`EncodeError::WrongFamily`] for flat kinds.
pub fn encode_tile(
    kind: Kind,
    place: Place,
    salt: u8,
    coefficients: &[f32; TILE_COEFFICIENTS],
    biases: &[f32; TILE_BIASES],
) -> Result<Seed, EncodeError> {
    if kind.tile_rows().is_none() {
        return Err(EncodeError::WrongFamily(kind));
    }
    check_finite(coefficients.iter().chain(biases))?;
    let mut payload = [0; PAYLOAD_BYTES];
    let scale = if kind == Kind::Kron {
        let (u, v) = coefficients.split_at(TILE_COEFFICIENTS / 2);
        let (u_max, v_max) = (magnitude(u), magnitude(v));
        pack_nibbles(u, u_max, &mut payload[..8]);
        pack_nibbles(v, v_max, &mut payload[8..16]);
        u_max * v_max / 225.0
    } else {
        let max = magnitude(coefficients);
        pack_nibbles(coefficients, max, &mut payload[..16]);
        max / 15.0
    };
    for (byte, bias) in payload[16..].iter_mut().zip(biases) {
        *byte = nearest_i8(f64::from(*bias) * 64.0) as u8;
    }
    Ok(Seed::new(kind, place, Scale::nearest(scale), salt, payload))
}

/// A group of a flat matrix from its weights; a last group may be short.
///
/// Scales: `bin` and `tern` take the mean magnitude, `nib` the largest over 15,
/// `vec8` the largest over 127.
///
/// # Errors
/// [`EncodeError::NotFinite`], [`EncodeError::GroupLength`], or
/// [`EncodeError::WrongFamily`] for tiled kinds.
pub fn encode_group(kind: Kind, place: Place, weights: &[f32]) -> Result<Seed, EncodeError> {
    check_group(kind, weights)?;
    let mut payload = [0; PAYLOAD_BYTES];
    let scale = match kind {
        Kind::Bin => {
            for (i, weight) in weights.iter().enumerate() {
                payload[i / 8] |= u8::from(*weight >= 0.0) << (i % 8);
            }
            Scale::nearest(mean_magnitude(weights))
        }
        Kind::Tern => {
            let scale = Scale::nearest(mean_magnitude(weights));
            let unit = scale.to_f64();
            // Weights beyond the end of a short group are zero: trit 1.
            let trit = |i: usize| {
                weights.get(i).map_or(1, |weight| {
                    (1.0 + round(f64::from(*weight) / unit).clamp(-1.0, 1.0)) as u8
                })
            };
            for (at, byte) in payload.iter_mut().enumerate() {
                *byte = (0..5).rev().fold(0, |sum, i| sum * 3 + trit(5 * at + i));
            }
            scale
        }
        Kind::Nib => {
            let max = magnitude(weights);
            pack_nibbles(weights, max, &mut payload);
            Scale::nearest(max / 15.0)
        }
        Kind::Vec8 => {
            let scale = Scale::nearest(magnitude(weights) / 127.0);
            for (byte, weight) in payload.iter_mut().zip(weights) {
                *byte = nearest_i8(f64::from(*weight) / scale.to_f64()) as u8;
            }
            scale
        }
        Kind::Kron | Kind::Hb8 | Kind::Hb16 | Kind::Hb32 => {
            return Err(EncodeError::WrongFamily(kind));
        }
    };
    Ok(Seed::new(kind, place, scale, 0, payload))
}

/// A `vec8` seed of gains or biases in whole steps of `unit`: 1/64 for norm gains
/// and biases, 1/128 for the position gain. The scale byte is unused and zero.
///
/// # Errors
/// [`EncodeError::NotFinite`] or [`EncodeError::GroupLength`].
pub fn encode_steps(place: Place, values: &[f32], unit: f64) -> Result<Seed, EncodeError> {
    check_group(Kind::Vec8, values)?;
    let mut payload = [0; PAYLOAD_BYTES];
    for (byte, value) in payload.iter_mut().zip(values) {
        *byte = nearest_i8(f64::from(*value) / unit) as u8;
    }
    Ok(Seed::new(Kind::Vec8, place, Scale(0), 0, payload))
}

fn check_group(kind: Kind, values: &[f32]) -> Result<(), EncodeError> {
    let most = kind.weights_per_seed();
    if values.is_empty() || values.len() > most {
        return Err(EncodeError::GroupLength {
            kind,
            most,
            got: values.len(),
        });
    }
    check_finite(values)
}

fn check_finite<'a>(values: impl IntoIterator<Item = &'a f32>) -> Result<(), EncodeError> {
    match values.into_iter().position(|value| !value.is_finite()) {
        Some(at) => Err(EncodeError::NotFinite(at)),
        None => Ok(()),
    }
}

/// Nibble `clamp(⌊(c/max·15 + 15)/2 + ½⌋, 0, 15)`, low nibble first. All zeros
/// become the middle, since there is no nibble for zero.
fn pack_nibbles(values: &[f32], max: f64, bytes: &mut [u8]) {
    for (i, value) in values.iter().enumerate() {
        let relative = if max > 0.0 {
            f64::from(*value) / max
        } else {
            0.0
        };
        let nibble = ((relative * 15.0 + 15.0) / 2.0 + 0.5)
            .floor()
            .clamp(0.0, 15.0) as u8;
        bytes[i / 2] |= nibble << (4 * (i % 2));
    }
}

fn magnitude(values: &[f32]) -> f64 {
    values
        .iter()
        .fold(0.0, |max, value| f64::from(value.abs()).max(max))
}

fn mean_magnitude(values: &[f32]) -> f64 {
    let sum: f64 = values.iter().map(|value| f64::from(value.abs())).sum();
    sum / values.len() as f64
}

fn nearest_i8(value: f64) -> i8 {
    round(value).clamp(-128.0, 127.0) as i8
}

/// To the nearest integer, a tie going up.
fn round(value: f64) -> f64 {
    (value + 0.5).floor()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BasisCache, Matrix, MatrixShape};

    const PLACE: Place = Place {
        matrix: 0,
        row: 0,
        column: 0,
    };

    fn decoded(kind: Kind, seed: Seed, inputs: usize) -> Matrix {
        let outputs = kind.tile_rows().unwrap_or(1);
        let shape = MatrixShape::new(kind, outputs, inputs);
        Matrix::decode(shape, 0, &[seed], &mut BasisCache::new()).unwrap()
    }

    #[test]
    fn wrong_parameters_are_refused() {
        let tile = |kind, at: f32| encode_tile(kind, PLACE, 0, &[at; 32], &[0.0; 4]);
        assert_eq!(tile(Kind::Hb8, f32::NAN), Err(EncodeError::NotFinite(0)));
        assert_eq!(
            tile(Kind::Bin, 0.0),
            Err(EncodeError::WrongFamily(Kind::Bin))
        );
        assert_eq!(
            encode_group(Kind::Hb8, PLACE, &[0.0]),
            Err(EncodeError::WrongFamily(Kind::Hb8))
        );
        assert_eq!(
            encode_group(Kind::Nib, PLACE, &[0.0; 41])
                .unwrap_err()
                .to_string(),
            "a nib seed takes 1 to 40 values, got 41"
        );
        assert!(encode_steps(PLACE, &[], 1.0).is_err());
        assert_eq!(
            encode_steps(PLACE, &[0.0, f32::INFINITY], 1.0),
            Err(EncodeError::NotFinite(1))
        );
    }

    #[test]
    fn gains_and_biases_keep_their_units() {
        let gains = encode_steps(PLACE, &[0.8, -3.0, 2.0], 1.0 / 64.0).unwrap();
        assert_eq!(gains.payload()[..4], [51, 128, 127, 0]);
        let position = encode_steps(PLACE, &[0.5], 1.0 / 128.0).unwrap();
        assert_eq!(position.payload()[0], 64);
        let tile = encode_tile(Kind::Hb32, PLACE, 0, &[1.0; 32], &[0.5, -0.5, 9.0, 0.0]).unwrap();
        assert_eq!(tile.biases(), [32, -32, 127, 0]);
    }

    proptest! {
        #[test]
        fn coefficients_come_back_within_half_a_step(
            c in proptest::array::uniform32(-2.0f32..2.0), kind in 0usize..3, salt: u8,
        ) {
            let kind = [Kind::Hb8, Kind::Hb16, Kind::Hb32][kind];
            let seed = encode_tile(kind, PLACE, salt, &c, &[0.0; 4]).unwrap();
            prop_assert_eq!(seed.check(kind, PLACE), Ok(()));
            let max = magnitude(&c);
            for (c, n) in c.iter().zip(seed.coefficients()) {
                let error = (f64::from(*c) / max * 15.0 - f64::from(n)).abs();
                prop_assert!(error <= 1.0 + 1e-9, "{}", error);
            }
            // Decoding and encoding again changes nothing.
            let scale = seed.scale().to_f64();
            let largest = seed.coefficients().iter().map(|n| n.abs()).max();
            prop_assert_eq!(largest, Some(15));
            let again = seed.coefficients().map(|n| (f64::from(n) * scale) as f32);
            let again = encode_tile(kind, PLACE, salt, &again, &[0.0; 4]).unwrap();
            prop_assert_eq!(again, seed);
        }

        #[test]
        fn kron_is_the_product_of_its_factors(c in proptest::array::uniform32(-1.0f32..1.0)) {
            let seed = encode_tile(Kind::Kron, PLACE, 0, &c, &[0.0; 4]).unwrap();
            let weights = decoded(Kind::Kron, seed, 16).to_f32();
            let (u, v) = c.split_at(16);
            let step = f64::from(magnitude(u) as f32) * f64::from(magnitude(v) as f32);
            for (at, weight) in weights.iter().enumerate() {
                let (row, column) = (at / 16, at % 16);
                let exact = u[row / 4 * 4 + column / 4] * v[row % 4 * 4 + column % 4];
                // Half a step of each factor and a sixteenth for the scale.
                prop_assert!(f64::from((weight - exact).abs()) <= step * (2.1 / 15.0 + 1.0 / 16.0));
            }
        }

        #[test]
        fn flat_groups_round_each_weight_to_its_nearest_value(
            w in proptest::collection::vec(-1.0f32..1.0, 1..160), kind in 0usize..4,
        ) {
            let kind = [Kind::Bin, Kind::Tern, Kind::Nib, Kind::Vec8][kind];
            let w = &w[..w.len().min(kind.weights_per_seed())];
            let seed = encode_group(kind, PLACE, w).unwrap();
            prop_assert_eq!(seed.check(kind, PLACE), Ok(()));
            let matrix = decoded(kind, seed, w.len());
            let scale = seed.scale().to_f64();
            for (i, exact) in w.iter().enumerate() {
                let got = f64::from(matrix.weight(0, i)) * scale;
                let error = (got - f64::from(*exact)).abs();
                let allowed = match kind {
                    Kind::Bin => {
                        prop_assert_eq!(got > 0.0, *exact >= 0.0);
                        continue;
                    }
                    // Rounded to the nearest of three, or clipped at the scale.
                    Kind::Tern => (f64::from(exact.abs()) - scale).max(scale / 2.0),
                    Kind::Nib => scale * 2.0,
                    _ => scale * 9.0, // the scale itself is rounded by up to 1/16
                };
                prop_assert!(error <= allowed + 1e-9, "{}: {} {}", kind, error, scale);
            }
        }
    }
}
