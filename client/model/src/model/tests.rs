use proptest::prelude::*;

use super::*;
use crate::{MerkleProof, Place, Scale, vectors};

fn published(name: &str) -> (Vec<u8>, serde_json::Value) {
    let entry = vectors::load()[name].clone();
    let bytes = vectors::model_bytes(&entry);
    (bytes, entry)
}

fn tiny() -> Vec<u8> {
    published("tiny").0
}

fn error(bytes: &[u8]) -> ModelError {
    Model::from_bytes(bytes).unwrap_err()
}

/// All messages of an error and its sources.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn patched(mut bytes: Vec<u8>, at: usize, patch: &[u8]) -> Vec<u8> {
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

#[test]
fn published_models_have_their_identity_and_come_back_byte_for_byte() {
    for name in ["tiny", "tiny_lm", "digits_hb32"] {
        let (bytes, entry) = published(name);
        let model = Model::from_bytes(&bytes).unwrap();
        assert_eq!(model.id().to_string(), entry["model_id"].as_str().unwrap());
        if let Some(root) = entry["merkle_root"].as_str() {
            assert_eq!(model.seed_root().to_hex(), root);
        }
        assert_eq!(model.to_bytes(), bytes);
        let kind = model.manifest().matrices()[1].1.kind;
        let same = Manifest::new(*model.config(), |_| kind).unwrap();
        assert_eq!(&same, model.manifest());
        assert_eq!(
            Model::from_bytes_of(&bytes, model.id()).unwrap().id(),
            model.id()
        );
    }
}

#[test]
fn the_digits_model_is_as_small_as_claimed() {
    let model = Model::from_bytes(&published("digits_hb32").0).unwrap();
    assert_eq!((model.weight_bytes(), model.float_bytes()), (4928, 274_216));
}

#[test]
fn one_seed_is_proven_to_belong_to_the_model() {
    let model = Model::from_bytes(&tiny()).unwrap();
    let manifest = digest(&model.manifest().to_bytes());
    let proof = MerkleProof::new(model.seeds(), 21).unwrap();
    let id = |seed| ModelId::of(&manifest, &proof.root(seed).unwrap());
    assert_eq!(id(&model.seeds()[21]), model.id());
    assert_ne!(id(&model.seeds()[20]), model.id());
}

#[test]
fn every_shorter_file_and_every_longer_one_is_refused() {
    let bytes = tiny();
    for length in 0..bytes.len() {
        match error(&bytes[..length]) {
            ModelError::Truncated { got, .. } => assert_eq!(got, length),
            ModelError::SeedBytes { got, expected } => assert!(got < expected),
            other => panic!("{length}: {other}"),
        }
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(error(&longer), ModelError::SeedBytes { .. }));
    let huge = vec![0; MODEL_BYTES_MAX + 1];
    assert!(matches!(error(&huge), ModelError::TooLarge { .. }));
}

#[test]
fn every_wrong_manifest_field_is_named() {
    let text = |at: usize, patch: &[u8]| chain(&error(&patched(tiny(), at, patch)));
    assert_eq!(
        text(0, b"HSHX"),
        "not a model file: it does not begin with \"HSHM\""
    );
    assert_eq!(
        text(4, &[2]),
        "model format version 2 is unknown, expected 1"
    );
    assert!(text(6, &[2]).starts_with("task 2 is unknown"));
    assert_eq!(
        text(20, &[5]),
        "model configuration is impossible: heads is 5, must be a divisor of the width"
    );
    assert_eq!(text(52, &[8]), "manifest lists 8 matrices, 9 expected");
    // Entry 2 is q0, at 56 + 2·16.
    assert_eq!(
        text(88, &[0]),
        "matrix q0: kind code 0 can not be used here"
    );
    assert_eq!(
        text(89, &[1]),
        "matrix q0 has an impossible shape: kind hb32 carries its biases in its tiles and \
         takes no bias seeds"
    );
    assert_eq!(text(89, &[2]), "matrix q0: bias flag is 2, expected 1");
    assert_eq!(text(90, &[1]), "matrix q0: reserved field is 1, expected 0");
    assert_eq!(text(92, &[33]), "matrix q0: outputs is 33, expected 32");
    assert_eq!(text(96, &[16]), "matrix q0: inputs is 16, expected 32");
    assert_eq!(text(100, &[3]), "matrix q0: seed count is 3, expected 2");
    assert_eq!(
        text(56, &[3]),
        "matrix gains: kind code 3 can not be used here"
    );
    assert_eq!(text(57, &[1]), "matrix gains: bias flag is 1, expected 0");
}

#[test]
fn a_broken_seed_is_named_with_its_matrix() {
    let seeds_at = tiny().len() - 22 * SEED_BYTES;
    // 7 seeds of gains, 1 of emb; the second of q0 is number 9.
    let mut bytes = tiny();
    bytes[seeds_at + 9 * SEED_BYTES + 3] ^= 0x10;
    let text = chain(&error(&bytes));
    assert!(
        text.starts_with(
            "matrix q0 can not be decoded: seed 1 (matrix 2, row 0, column 1) is refused: wrong CRC"
        ),
        "{text}"
    );
    let mut swapped = tiny();
    swapped[seeds_at + 8 * SEED_BYTES..seeds_at + 10 * SEED_BYTES].rotate_left(SEED_BYTES);
    assert!(chain(&error(&swapped)).contains("seed belongs to matrix 2, row 0, column 1"));
}

#[test]
fn flipped_bits_are_repaired_on_request_only_and_reported() {
    let good = tiny();
    let seeds_at = good.len() - 22 * SEED_BYTES;
    let mut bytes = good.clone();
    bytes[seeds_at] ^= 0x01; // one flip in the gains
    bytes[seeds_at + 9 * SEED_BYTES + 3] ^= 0x10; // two flips in q0
    bytes[seeds_at + 9 * SEED_BYTES + 29] ^= 0x80;
    assert!(Model::from_bytes(&bytes).is_err());
    let (model, repairs) = Model::from_bytes_repairing(&bytes).unwrap();
    assert_eq!(model.to_bytes(), good);
    assert_eq!(
        repairs,
        [
            Repair {
                role: MatrixRole::Gains,
                seed: 0,
                flips: 1
            },
            Repair {
                role: MatrixRole::Query(0),
                seed: 9,
                flips: 2
            },
        ]
    );
    bytes[seeds_at + 9 * SEED_BYTES + 30] ^= 0x01; // a third one is beyond repair
    assert!(Model::from_bytes_repairing(&bytes).is_err());
    assert_eq!(Model::from_bytes_repairing(&good).unwrap().1, []);
}

#[test]
fn another_model_than_the_one_asked_for_is_refused() {
    let other = Model::from_bytes(&published("tiny_lm").0).unwrap().id();
    let error = Model::from_bytes_of(&tiny(), other).unwrap_err();
    assert!(matches!(error, ModelError::Identity { expected, .. } if expected == other));
}

#[test]
fn weights_that_could_overflow_are_refused() {
    let model = Model::from_bytes(&tiny()).unwrap();
    let first = |wanted: MatrixRole| -> usize {
        let matrices = model.manifest().matrices().iter();
        matrices
            .take_while(|(role, _)| *role != wanted)
            .map(|(_, shape)| shape.seed_count())
            .sum()
    };
    for (role, scale, what) in [
        (MatrixRole::Embedding, 255, "emb"),
        (MatrixRole::Query(0), 255, "q0"),
        // Fits 32 bits, but the squares of 32 of them do not fit 63.
        (MatrixRole::Contract(0), 205, "layer 0"),
        (MatrixRole::Head, 255, "head"),
    ] {
        let mut seeds = model.seeds().to_vec();
        let seed = &mut seeds[first(role)];
        let kind = seed.kind().unwrap();
        *seed = Seed::new(kind, seed.place(), Scale(scale), 0, *seed.payload());
        let error = Model::new(model.manifest().clone(), seeds).unwrap_err();
        assert_eq!(error, ModelError::Overflow(what.into()));
    }
    // Attention scores multiply two matrices, each of them legal alone.
    let mut seeds = model.seeds().to_vec();
    for role in [MatrixRole::Query(0), MatrixRole::Key(0)] {
        let seed = &mut seeds[first(role)];
        let kind = seed.kind().unwrap();
        *seed = Seed::new(kind, seed.place(), Scale(200), 0, *seed.payload());
    }
    assert_eq!(
        Model::new(model.manifest().clone(), seeds).unwrap_err(),
        ModelError::Overflow("attention of layer 0".into())
    );
}

/// A manifest of any small configuration with seeds of noise.
fn any_model() -> impl Strategy<Value = (Manifest, Vec<Seed>)> {
    let sizes = (1u32..3, 1u32..40, 1u32..3, 1u32..5, 1u32..20, 1u32..12);
    let codes = (1u32..9, 0u32..4, 0u32..9);
    (sizes, codes, 0usize..8, any::<bool>(), any::<u64>()).prop_map(
        |((heads, hidden, layers, positions, inputs, classes), codes, kind, is_lm, noise)| {
            let width = heads * 12;
            let config = Config {
                task: if is_lm {
                    Task::LanguageModel
                } else {
                    Task::Classifier
                },
                width,
                hidden,
                layers,
                heads,
                positions,
                inputs: if is_lm { 3 * width } else { inputs },
                classes,
                code_bits: codes.0,
                dither_bits: 1 << codes.1,
                input_fraction: if is_lm { 1 } else { codes.2 },
                vocabulary: if is_lm { classes } else { 0 },
            };
            let manifest = Manifest::new(config, |_| Kind::ALL[kind]).unwrap();
            let mut seeds = Vec::new();
            for (matrix, (_, shape)) in manifest.matrices().iter().enumerate() {
                for index in 0..shape.seed_count() {
                    let (kind, place) = shape.seed(matrix as u16, index);
                    let Place { row, column, .. } = place;
                    let key = [noise.to_le_bytes().as_slice(), &[matrix as u8, column]].concat();
                    let bytes = digest(&[key.as_slice(), &row.to_le_bytes()].concat()).0;
                    let mut payload: [u8; 20] = bytes[..20].try_into().unwrap();
                    if kind == Kind::Tern {
                        payload = payload.map(|byte| byte % 243);
                    }
                    seeds.push(Seed::new(
                        kind,
                        place,
                        Scale(90 + bytes[21] % 8),
                        0,
                        payload,
                    ));
                }
            }
            (manifest, seeds)
        },
    )
}

proptest! {
    #[test]
    fn every_model_comes_back_from_its_bytes((manifest, seeds) in any_model()) {
        let model = Model::new(manifest.clone(), seeds.clone()).unwrap();
        let bytes = model.to_bytes();
        let again = Model::from_bytes(&bytes).unwrap();
        prop_assert_eq!(again.manifest(), &manifest);
        prop_assert_eq!(again.seeds(), &seeds);
        prop_assert_eq!(again.id(), model.id());
    }

    #[test]
    fn arbitrary_bytes_are_no_model_and_cause_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Model::from_bytes(&bytes).is_err());
        prop_assert!(Model::from_bytes_repairing(&bytes).is_err());
    }

    #[test]
    fn no_changed_byte_keeps_the_identity(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = tiny();
        let id = Model::from_bytes(&bytes).unwrap().id();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Model::from_bytes_of(&bytes, id).is_err());
        // Also not when every seed is given a right check sum again.
        let seeds_at = bytes.len() - 22 * SEED_BYTES;
        for seed in bytes[seeds_at..].as_chunks_mut::<SEED_BYTES>().0 {
            let crc = Seed(*seed).computed_crc();
            seed[28..].copy_from_slice(&crc.to_le_bytes());
        }
        if bytes != tiny() {
            prop_assert!(Model::from_bytes_of(&bytes, id).is_err());
        }
    }
}
