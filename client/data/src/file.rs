//! The formats of files, one module each, and reading bytes within bounds.

pub(crate) mod idx;
pub(crate) mod images;
pub(crate) mod npy;
pub(crate) mod table;
pub(crate) mod tensors;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::DataError;

/// Largest file that is read.
pub const FILE_BYTES_MAX: u64 = 512 << 20;
/// Most bytes that a compressed file may unpack to; a small file can hold endless
/// zeros.
pub const GUNZIP_BYTES_MAX: u64 = 1 << 30;
/// First bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file's bytes, unpacked if it is a gzip file whatever its name.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let fail = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "it is a folder, a file is needed".to_owned(),
            _ => error.to_string(),
        };
        DataError::of(path, reason)
    };
    let file = File::open(path).map_err(fail)?;
    let bytes = read_bounded(file, FILE_BYTES_MAX).map_err(fail)?;
    let bytes = bytes.ok_or_else(|| too_large(path, FILE_BYTES_MAX))?;
    if bytes.is_empty() {
        return Err(DataError::of(path, "the file is empty"));
    }
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let unpacked = read_bounded(MultiGzDecoder::new(&bytes[..]), GUNZIP_BYTES_MAX);
    let unpacked =
        unpacked.map_err(|error| DataError::of(path, format!("damaged gzip file: {error}")))?;
    unpacked.ok_or_else(|| too_large(path, GUNZIP_BYTES_MAX))
}

/// A file's text.
pub(crate) fn read_text(path: &Path) -> Result<String, DataError> {
    String::from_utf8(read(path)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let lines = error.as_bytes()[..valid].iter().filter(|b| **b == b'\n');
        let line = lines.count() as u64 + 1;
        DataError::of(path, "it is not text (UTF-8)").at(line)
    })
}

/// All bytes; nothing when there are more than `most`.
fn read_bounded(reader: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn too_large(path: &Path, most: u64) -> DataError {
    DataError::of(path, format!("it is larger than {} MiB", most >> 20))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_gzip_file_is_unpacked_and_a_damaged_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"some text").unwrap();
        let bytes = gzip.finish().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), b"some text");
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("damaged gzip file"), "{error}");
    }

    #[test]
    fn missing_empty_and_binary_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let reason = |result: Result<String, DataError>| result.unwrap_err().to_string();
        assert!(reason(read_text(&path)).ends_with("x: there is no such file"));
        std::fs::write(&path, "").unwrap();
        assert!(reason(read_text(&path)).ends_with("x: the file is empty"));
        std::fs::write(&path, b"one\ntwo\n\xff").unwrap();
        assert!(reason(read_text(&path)).ends_with("x:3: it is not text (UTF-8)"));
        assert!(reason(read_text(folder.path())).contains("a folder"));
    }
}
