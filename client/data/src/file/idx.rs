//! IDX files of bytes, as MNIST and its kin are published: two zero bytes, the type
//! (8 = unsigned bytes), the number of dimensions, the big-endian dimensions, data.

use std::path::Path;

use super::read;
use crate::error::DataError;

/// Code of unsigned bytes, the only type that images and labels use.
const UNSIGNED_BYTE: u8 = 8;
/// Most dimensions: images have three.
const DIMENSIONS_MAX: usize = 4;

/// An array of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idx {
    /// Length of each dimension, the slowest first.
    pub dimensions: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<u8>,
}

/// Reads a file, gzip or not.
pub(crate) fn read_idx(path: &Path) -> Result<Idx, DataError> {
    parse(&read(path)?).map_err(|reason| DataError::of(path, reason))
}

fn parse(bytes: &[u8]) -> Result<Idx, String> {
    let [0, 0, kind, count, rest @ ..] = bytes else {
        return Err("not an IDX file: it does not begin with two zero bytes".to_owned());
    };
    if *kind != UNSIGNED_BYTE {
        return Err(format!(
            "IDX type {kind:#04x} is not supported, only 0x08 (bytes)"
        ));
    }
    let count = usize::from(*count);
    if !(1..=DIMENSIONS_MAX).contains(&count) {
        return Err(format!("{count} dimensions, must be 1 to {DIMENSIONS_MAX}"));
    }
    let (head, values) = rest
        .split_at_checked(4 * count)
        .ok_or("the file ends within its head")?;
    let dimensions: Vec<usize> = head
        .as_chunks()
        .0
        .iter()
        .map(|length| u32::from_be_bytes(*length) as usize)
        .collect();
    let expected = dimensions
        .iter()
        .try_fold(1usize, |all, n| all.checked_mul(*n));
    if expected != Some(values.len()) {
        return Err(format!(
            "{} bytes of data, the head announces {}",
            values.len(),
            dimensions
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(" × ")
        ));
    }
    Ok(Idx {
        dimensions,
        values: values.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let file = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 5, 6];
        let idx = parse(&file).unwrap();
        assert_eq!((idx.dimensions, idx.values), (vec![2, 1], vec![5, 6]));
        let reason = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert!(reason(&file[..13]).contains("1 bytes of data, the head announces 2 × 1"));
        assert!(reason(&file[..9]).contains("within its head"));
        assert!(reason(&[0, 0, 0x0d, 1]).contains("0x0d"));
        assert!(reason(b"PK").contains("not an IDX file"));
        assert!(reason(&[0, 0, 8, 0]).contains("0 dimensions"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(
            bytes: Vec<u8>, head in proptest::collection::vec(0u8..4, 0..16),
        ) {
            let _ = parse(&bytes);
            let _ = parse(&[&[0, 0, 8][..], &head, &bytes].concat());
        }
    }
}
