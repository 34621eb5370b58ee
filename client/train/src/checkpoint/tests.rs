use proptest::prelude::*;

use super::*;

fn checkpoint(count: usize) -> Checkpoint {
    let numbers = |unit: f32| (0..count).map(|i| i as f32 * unit).collect::<Vec<f32>>();
    Checkpoint {
        config: TrainConfig {
            rng_seed: 0x0123_4567_89ab_cdef,
            ..TrainConfig::default()
        },
        fingerprint: Digest([7; 32]),
        step: 400,
        latents: numbers(-0.5),
        average: numbers(-0.4),
        adam: Adam {
            mean: numbers(0.25),
            square: numbers(2.0),
        },
    }
}

/// The same file with one byte changed and a right check sum.
fn resealed(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut content = bytes[..bytes.len() - DIGEST_BYTES].to_vec();
    content[at] = value;
    let check = digest(&content).0;
    [content, check.to_vec()].concat()
}

#[test]
fn what_was_written_is_read() {
    for count in [0, 1, 5] {
        let written = checkpoint(count);
        let bytes = written.to_bytes();
        assert_eq!(bytes.len(), file_bytes(count).unwrap());
        assert_eq!(Checkpoint::parse(&bytes), Ok(written));
    }
}

#[test]
fn every_damage_is_refused_with_its_reason() {
    let bytes = checkpoint(2).to_bytes();
    let text = |bytes: &[u8]| Checkpoint::parse(bytes).unwrap_err().to_string();
    assert_eq!(
        text(b"HSHM....."),
        "not a checkpoint: it does not begin with \"HSHC\""
    );
    assert_eq!(
        text(&resealed(&bytes, 4, 1)),
        "checkpoint version 1 is unknown, expected 4"
    );
    assert_eq!(text(&resealed(&bytes, 6, 15)), "unknown kind code 15");
    assert_eq!(
        text(&resealed(&bytes, 14, 2)),
        "unknown dither source code 2"
    );
    assert_eq!(text(&resealed(&bytes, 16, 3)), "unknown activation code 3");
    assert_eq!(text(&resealed(&bytes, 17, 4)), "unknown surrogate code 4");
    assert_eq!(
        text(&bytes[..bytes.len() - 1]),
        "checkpoint has 185 bytes, 186 expected"
    );
    assert_eq!(
        text(&resealed(&bytes, 115, 9)),
        "checkpoint is at step 2448 of 800"
    );
    let no_batch = Checkpoint::parse(&resealed(&bytes, 46, 0)).unwrap_err();
    assert!(matches!(no_batch, CheckpointError::Config(_)), "{no_batch}");
    // The top byte of the last square: a negative number.
    assert_eq!(
        text(&resealed(&bytes, 153, 0xc0)),
        "number 7 of the checkpoint is not a usable value"
    );
    assert_eq!(
        text(&resealed(&bytes, 145, 0x7f)),
        "number 5 of the checkpoint is not a usable value"
    );
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(bit in 0usize..186 * 8) {
        let mut bytes = checkpoint(2).to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Checkpoint::parse(&bytes).is_err());
    }

    #[test]
    fn every_cut_is_refused(len in 0usize..186) {
        prop_assert!(Checkpoint::parse(&checkpoint(2).to_bytes()[..len]).is_err());
    }

    #[test]
    fn any_content_under_a_right_check_sum_is_read_or_refused_without_panic(
        changes in proptest::collection::vec((4usize..142, any::<u8>()), 1..8),
    ) {
        let mut bytes = checkpoint(2).to_bytes();
        for (at, value) in changes {
            bytes = resealed(&bytes, at, value);
        }
        if let Ok(read) = Checkpoint::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
            prop_assert_eq!(read.config.check(), Ok(()));
        }
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        prop_assert!(Checkpoint::parse(&bytes).is_err());
    }
}
