//! NumPy's NPY files, read and written: an array with its shape.
//!
//! Read: version 1 to 3, little-endian or byte-sized numbers, C order. Written:
//! version 1, `<f4`. Source: the format description of `numpy.lib.format`.

use std::path::Path;

use super::read;
use crate::error::DataError;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest head that is read; NumPy's own limit for untrusted files is the same.
const HEAD_BYTES_MAX: usize = 10_000;
/// Bytes before the data are a multiple of this.
const ALIGNMENT: usize = 64;
/// Most dimensions of an array.
const DIMENSIONS_MAX: usize = 8;

/// An array of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    /// Length of each dimension, the slowest first.
    pub shape: Vec<usize>,
    /// The values, row-major. Whole numbers beyond 2⁵³ are rounded.
    pub values: Vec<f64>,
}

/// Reads a file.
pub(crate) fn read_npy(path: &Path) -> Result<NpyArray, DataError> {
    parse_npy(&read(path)?).map_err(|reason| DataError::of(path, reason))
}

/// Reads the bytes of an NPY file.
///
/// # Errors
/// What is wrong, as a sentence without its file.
pub fn parse_npy(bytes: &[u8]) -> Result<NpyArray, String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("not an NPY file: it does not begin with \"\\x93NUMPY\"")?;
    let short = "the file ends within its head";
    let ([major, _minor], rest) = rest.split_first_chunk().ok_or(short)?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk().ok_or(short)?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk().ok_or(short)?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(format!("NPY version {other} is unknown, expected 1 to 3")),
    };
    if length > HEAD_BYTES_MAX {
        return Err(format!(
            "a head of {length} bytes, at most {HEAD_BYTES_MAX} are read"
        ));
    }
    let (head, data) = rest.split_at_checked(length).ok_or(short)?;
    let head = std::str::from_utf8(head).map_err(|_| "the head is not text".to_owned())?;
    if field(head, "fortran_order")?.starts_with("True") {
        return Err("the array is in Fortran order; save `numpy.ascontiguousarray(x)`".to_owned());
    }
    let shape = parse_shape(field(head, "shape")?)?;
    let descr = field(head, "descr")?;
    let descr = descr.strip_prefix('\'').or(descr.strip_prefix('"'));
    let descr = descr.and_then(|text| text.split(['\'', '"']).next());
    let values = numbers(
        descr.ok_or("the head names no simple type of numbers")?,
        data,
    )?;
    let expected = shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
    if expected != Some(values.len()) {
        let got = values.len();
        return Err(format!("{got} numbers for an array of shape {shape:?}"));
    }
    Ok(NpyArray { shape, values })
}

/// What stands after a key of the head's dictionary.
fn field<'a>(head: &'a str, key: &str) -> Result<&'a str, String> {
    let rest = head.split_once(&format!("'{key}':")).map(|(_, rest)| rest);
    Ok(rest
        .ok_or_else(|| format!("the head has no '{key}'"))?
        .trim_start())
}

fn parse_shape(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || "the head's shape is no list of whole numbers".to_owned();
    let inside = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.ok_or_else(wrong)?;
    let parts = inside
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let shape: Vec<usize> = parts
        .map(|part| part.parse().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    if shape.len() > DIMENSIONS_MAX {
        return Err(format!(
            "{} dimensions, at most {DIMENSIONS_MAX}",
            shape.len()
        ));
    }
    Ok(shape)
}

fn numbers(descr: &str, data: &[u8]) -> Result<Vec<f64>, String> {
    macro_rules! of {
        ($type:ty) => {{
            let (values, rest) = data.as_chunks();
            if !rest.is_empty() {
                return Err("the data end within a number".to_owned());
            }
            let real = |bytes: &_| <$type>::from_le_bytes(*bytes) as f64;
            values.iter().map(real).collect()
        }};
    }
    Ok(match descr {
        "|b1" | "|u1" => of!(u8),
        "|i1" => of!(i8),
        "<u2" => of!(u16),
        "<i2" => of!(i16),
        "<u4" => of!(u32),
        "<i4" => of!(i32),
        "<u8" => of!(u64),
        "<i8" => of!(i64),
        "<f4" => of!(f32),
        "<f8" => of!(f64),
        other => {
            return Err(format!(
                "numbers of type \"{other}\" are not supported; save `x.astype('<f4')`"
            ));
        }
    })
}

/// The NPY file of an array of single-precision numbers.
///
/// # Panics
/// When `values` are not as many as the shape says.
pub fn npy_bytes(shape: &[usize], values: &[f32]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    let sizes: String = shape.iter().map(|n| format!("{n},")).collect();
    let mut head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    let before = MAGIC.len() + 4;
    let padded = (before + head.len() + 1).next_multiple_of(ALIGNMENT) - before;
    head.push_str(&" ".repeat(padded - head.len() - 1));
    head.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_as_numpy_writes_it_is_read() {
        // numpy.save of numpy.array([[1, -2, 3]], dtype="<i2"), byte for byte.
        let head = "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 3), }";
        let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        file.extend(format!("{head:<117}\n").bytes());
        file.extend([1, 0, 0xfe, 0xff, 3, 0]);
        let array = parse_npy(&file).unwrap();
        assert_eq!(
            (array.shape, array.values),
            (vec![1, 3], vec![1.0, -2.0, 3.0])
        );
        file.pop();
        assert_eq!(
            parse_npy(&file).unwrap_err(),
            "the data end within a number"
        );
        file.pop();
        assert!(
            parse_npy(&file)
                .unwrap_err()
                .contains("2 numbers for an array of shape [1, 3]")
        );
    }

    #[test]
    fn what_cannot_be_read_says_how_to_save_it() {
        let with = |head: &str| {
            let mut file = b"\x93NUMPY\x01\x00".to_vec();
            file.extend((head.len() as u16).to_le_bytes());
            file.extend(head.bytes());
            parse_npy(&file).unwrap_err()
        };
        assert!(
            with("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }")
                .contains("ascontiguousarray")
        );
        assert!(
            with("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }").contains("astype")
        );
        assert!(with("{'descr': '<f4', 'fortran_order': False, }").contains("no 'shape'"));
        assert!(parse_npy(b"P5").unwrap_err().contains("not an NPY file"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec(-1e6f32..1e6, 0..20)) {
            let array = parse_npy(&npy_bytes(&[values.len(), 1], &values)).unwrap();
            prop_assert_eq!(array.shape, vec![values.len(), 1]);
            let back: Vec<f32> = array.values.iter().map(|v| *v as f32).collect();
            prop_assert_eq!(back, values);
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes: Vec<u8>, head in ".{0,80}") {
            let _ = parse_npy(&bytes);
            let mut file = b"\x93NUMPY\x01\x00".to_vec();
            file.extend((head.len() as u16).to_le_bytes());
            file.extend(head.bytes());
            file.extend(&bytes);
            let _ = parse_npy(&file);
        }
    }
}
