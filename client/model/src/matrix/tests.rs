use hasher_work::digest;
use proptest::prelude::*;

use super::*;
use crate::{Kind, PAYLOAD_BYTES, Scale, vectors};

/// The published seeds lie in tile (or group) 1, 2 of matrix 5; a decoder of one
/// tile sees it at 0, 0, so the place is rewritten and the bias column kept apart.
fn lone(seed: &Seed, kind: Kind, column: usize) -> Matrix {
    let (outputs, inputs) = match kind.tile_rows() {
        Some(rows) => (rows, (column + 1) * TILE_COLUMNS),
        None => (1, kind.weights_per_seed()),
    };
    let shape = MatrixShape::new(kind, outputs, inputs);
    let seeds: Vec<Seed> = (0..shape.seed_count())
        .map(|index| {
            let (kind, place) = shape.seed(0, index);
            let payload = if index + 1 == shape.seed_count() {
                *seed.payload()
            } else {
                let mut payload = *seed.payload();
                payload[16..].fill(0); // no bias from the other columns
                payload
            };
            Seed::new(kind, place, seed.scale(), seed.salt(), payload)
        })
        .collect();
    Matrix::decode(shape, 0, &seeds, &mut BasisCache::new()).unwrap()
}

#[test]
fn every_published_seed_decodes_to_the_published_weights() {
    let vectors = vectors::load();
    let entries = vectors["seeds"].as_array().unwrap();
    assert_eq!(entries.len(), Kind::ALL.len());
    for entry in entries {
        let seed = vectors::seed(&entry["seed"]);
        let kind = Kind::from_name(entry["kind"].as_str().unwrap()).unwrap();
        let field = |name: &str| entry[name].as_u64().unwrap();
        let place = Place {
            matrix: field("mat") as u16,
            row: field("row") as u16,
            column: field("col") as u8,
        };
        assert_eq!(seed.check(kind, place), Ok(()));
        assert_eq!(seed.scale().q24(), entry["scale_q24"].as_i64().unwrap());

        let tiled = kind.tile_rows().is_some();
        let column = if tiled { usize::from(place.column) } else { 0 };
        let matrix = lone(&seed, kind, column);
        let first = column * TILE_COLUMNS;
        let row = |output: usize| -> Vec<i32> {
            (first..matrix.shape().inputs)
                .map(|input| i32::from(matrix.weight(output, input)))
                .collect()
        };
        let outputs = matrix.shape().outputs;
        assert_eq!(row(0), vectors::ints::<i32>(&entry["weights_first_row"]));
        if tiled {
            assert_eq!(
                row(outputs - 1),
                vectors::ints::<i32>(&entry["weights_last_row"])
            );
            let expected: Vec<i32> = vectors::ints(&entry["bias_q6"]);
            let ours: Vec<i32> = if kind == Kind::Kron {
                // Only the four rows that this tile column serves are listed.
                matrix.biases_q6()[4 * (column % 4)..][..4].to_vec()
            } else {
                matrix.biases_q6().to_vec()
            };
            assert_eq!(ours, expected, "{kind}");
        }
        let bytes: Vec<u8> = (0..outputs)
            .flat_map(row)
            .flat_map(i32::to_le_bytes)
            .collect();
        assert_eq!(
            digest(&bytes).to_hex(),
            entry["decoded_sha256_i32le"].as_str().unwrap(),
            "{kind}"
        );
    }
}

/// A matrix of random seeds whose product stays far from 63 bits.
fn any_matrix() -> impl Strategy<Value = Matrix> {
    (0usize..8, 1usize..70, 1usize..50, any::<u64>()).prop_map(|(kind, outputs, inputs, rng)| {
        let kind = Kind::ALL[kind];
        let shape = MatrixShape {
            bias_seeds: kind.tile_rows().is_none() && rng % 2 == 0,
            ..MatrixShape::new(kind, outputs, inputs)
        };
        let seeds: Vec<Seed> = (0..shape.seed_count())
            .map(|index| {
                let (kind, place) = shape.seed(3, index);
                let noise = digest(&[rng.to_le_bytes(), (index as u64).to_le_bytes()].concat()).0;
                let mut payload: [u8; PAYLOAD_BYTES] = noise[..PAYLOAD_BYTES].try_into().unwrap();
                if kind == Kind::Tern {
                    payload = payload.map(|byte| byte % 243);
                }
                Seed::new(kind, place, Scale(noise[30] % 96), noise[31] % 3, payload)
            })
            .collect();
        Matrix::decode(shape, 3, &seeds, &mut BasisCache::new()).unwrap()
    })
}

proptest! {
    #[test]
    fn product_is_the_sum_written_out_and_stays_within_its_bound(
        matrix in any_matrix(), codes in proptest::collection::vec(-255i16..=255, 50), fraction in 0u32..9,
    ) {
        let MatrixShape { outputs, inputs, .. } = matrix.shape();
        let mut x = codes[..inputs].to_vec();
        x.resize(matrix.stride(), 0);
        let mut out = vec![0; outputs];
        matrix.multiply(&x, fraction, &mut out);
        let bound = matrix.product_bound(255, fraction).unwrap();
        let real = matrix.to_f32();
        for (output, got) in out.iter().enumerate() {
            let mut sum = i128::from(matrix.biases_q6()[output]) << (24 + fraction - 6);
            let mut sum_f64 = f64::from(matrix.biases_f32()[output]);
            for (input, code) in codes[..inputs].iter().enumerate() {
                let weight = i128::from(matrix.weight(output, input));
                sum += weight * i128::from(matrix.scale_q24(output, input)) * i128::from(*code);
                sum_f64 += f64::from(real[output * inputs + input]) * f64::from(*code)
                    / f64::from(1u32 << fraction);
            }
            prop_assert_eq!(i128::from(*got), sum >> (24 + fraction - 16));
            prop_assert!(i64::from(got.abs()) <= bound);
            let error = *got as f64 / 65536.0 - sum_f64;
            prop_assert!((-2e-5..=1e-6).contains(&error), "{}", error);
        }
    }
}

#[test]
fn seeds_missing_or_out_of_place_are_refused() {
    let shape = MatrixShape::new(Kind::Hb16, 16, 32);
    let seed = |index| {
        let (kind, place) = shape.seed(1, index);
        Seed::new(kind, place, Scale(80), 0, [7; PAYLOAD_BYTES])
    };
    let decode = |seeds: &[Seed]| Matrix::decode(shape, 1, seeds, &mut BasisCache::new());
    assert!(decode(&[seed(0), seed(1)]).is_ok());
    assert_eq!(
        decode(&[seed(0)]),
        Err(MatrixError::SeedCount {
            expected: 2,
            got: 1
        })
    );
    let error = decode(&[seed(0), seed(0)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "seed 1 (matrix 1, row 0, column 1) is refused"
    );
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "seed belongs to matrix 1, row 0, column 0, found at matrix 1, row 0, column 1"
    );
}

#[test]
fn a_product_that_might_overflow_has_no_bound() {
    let shape = MatrixShape::new(Kind::Bin, 1, WIDE);
    const WIDE: usize = 4096;
    let seeds: Vec<Seed> = (0..shape.seed_count())
        .map(|index| {
            let (kind, place) = shape.seed(0, index);
            Seed::new(kind, place, Scale(255), 0, [0xff; PAYLOAD_BYTES])
        })
        .collect();
    let matrix = Matrix::decode(shape, 0, &seeds, &mut BasisCache::new()).unwrap();
    // 4096 · 15·2³¹ · 255 is below 2⁶³, ten thousand times more is not.
    assert!(matrix.product_bound(255, 4).is_some());
    assert_eq!(matrix.product_bound(2_550_000, 4), None);
}
