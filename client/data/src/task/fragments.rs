//! Fragments of six types of data, as a triage of unknown bytes meets them.
//!
//! All come from this computer: the King James text, and its programs, as machine code and
//! compressed. So the examples differ from machine to machine.

use std::fs;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use object::{Object, ObjectSegment, SegmentFlags};

use super::text::kjv;
use crate::error::DataError;
use crate::file::images::entries;
use crate::split::Stream;

/// Types with their names, in the order of their labels.
pub(super) const TYPES: [&str; 6] = ["text", "code", "compressed", "masked", "base64", "random"];
/// Where machine code comes from, and what is compressed.
const PROGRAMS: &str = "/usr/bin";
/// Machine code to cut from.
const CODE_LEAST: usize = 1 << 20;
/// Compressed programs to cut from.
const COMPRESSED_LEAST: usize = 4 << 20;
/// Machine code of one program at most: many programs are better than a large one.
const PROGRAM_CODE_MAX: usize = 32 << 10;
/// Largest program that is read.
const PROGRAM_BYTES_MAX: u64 = 4 << 20;

/// One fragment with its label.
pub(super) type Fragment = (Vec<u8>, u8);

/// Fragments of `size` bytes for training and for the test, so many of each type. Those
/// of the test come from the last quarter of each source.
///
/// # Errors
/// Where there is no text or too little machine code.
pub(super) fn fragments(size: usize, counts: [usize; 2]) -> Result<[Vec<Fragment>; 2], DataError> {
    let text = kjv("gen1:1-rev22:21")?.into_bytes();
    let code = machine_code(Path::new(PROGRAMS), CODE_LEAST)?;
    let compressed = compressed(Path::new(PROGRAMS), COMPRESSED_LEAST)?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(&compressed);
    let sources = [&text, &code, &compressed, &text, encoded.as_bytes()];
    let mut stream = Stream::new("fragments");
    let mut part = |count: usize, is_test: bool| {
        let mut all = Vec::with_capacity(TYPES.len() * count);
        for _ in 0..count {
            let mut cut = |source: &[u8]| {
                let (train, test) = source.split_at(source.len() / 4 * 3);
                let source = if is_test { test } else { train };
                let first = stream.below(source.len() - size + 1);
                source[first..first + size].to_vec()
            };
            let mut parts: Vec<_> = sources.iter().map(|source| cut(source)).collect();
            let key = (stream.next_u64() as u32).to_le_bytes();
            for (byte, key) in parts[3].iter_mut().zip(key.iter().cycle()) {
                *byte ^= key;
            }
            let random = std::iter::repeat_with(|| stream.next_u64().to_le_bytes());
            parts.push(random.flatten().take(size).collect());
            all.extend(parts.into_iter().zip(0..));
        }
        all
    };
    Ok([part(counts[0], false), part(counts[1], true)])
}

/// A folder's programs, each as a stream of its own, at least `least` bytes of them.
fn compressed(folder: &Path, least: usize) -> Result<Vec<u8>, DataError> {
    gather(folder, least, "compressed programs", |program| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(program)?;
        encoder.finish()
    })
}

/// The executable segments of a folder's programs, at least `least` bytes of them.
fn machine_code(folder: &Path, least: usize) -> Result<Vec<u8>, DataError> {
    gather(folder, least, "machine code", |program| {
        Ok(code_of(program))
    })
}

/// What `of` makes of a folder's programs, in the order of their names, until there are
/// `least` bytes.
fn gather(
    folder: &Path,
    least: usize,
    what: &str,
    of: impl Fn(&[u8]) -> std::io::Result<Vec<u8>>,
) -> Result<Vec<u8>, DataError> {
    let mut all = Vec::new();
    for path in entries(folder)? {
        let is_small =
            fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= PROGRAM_BYTES_MAX);
        if let Some(bytes) = is_small.then(|| fs::read(&path).ok()).flatten() {
            all.extend(of(&bytes).map_err(|e| DataError::of(&path, e.to_string()))?);
        }
        if all.len() >= least {
            return Ok(all);
        }
    }
    let reason = format!("{} bytes of {what}, {least} are needed", all.len());
    Err(DataError::of(folder, reason))
}

/// Machine code of a program; none of a script.
fn code_of(program: &[u8]) -> Vec<u8> {
    let Ok(file) = object::File::parse(program) else {
        return Vec::new();
    };
    let is_code =
        |flags| matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0);
    let segments = file.segments().filter(|segment| is_code(segment.flags()));
    let mut code = Vec::new();
    for segment in segments {
        code.extend_from_slice(segment.data().unwrap_or_default());
    }
    // The middle: beginnings and ends are alike in all programs.
    let spare = code.len().saturating_sub(PROGRAM_CODE_MAX) / 2;
    code.drain(..spare);
    code.truncate(PROGRAM_CODE_MAX);
    code
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_program_has_code_and_a_script_has_none() {
        let this = fs::read("/proc/self/exe").unwrap();
        let code = code_of(&this);
        assert_eq!(code.len(), PROGRAM_CODE_MAX);
        assert!(this.windows(64).any(|window| window == &code[..64]));
        assert!(code_of(b"#!/bin/sh\necho").is_empty());
    }

    #[test]
    fn a_folder_without_programs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("script"), "#!/bin/sh").unwrap();
        let error = machine_code(folder.path(), 100).unwrap_err();
        assert!(
            error.to_string().contains("0 bytes of machine code"),
            "{error}"
        );
    }

    #[test]
    fn every_program_is_a_stream_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = [b'a', b'b'].map(|letter| vec![letter; 50_000]);
        fs::write(folder.path().join("1"), &a).unwrap();
        fs::write(folder.path().join("2"), &b).unwrap();
        let bytes = compressed(folder.path(), 100).unwrap();
        assert!(bytes.len() < a.len() / 100);
        let mut first = flate2::bufread::ZlibDecoder::new(&bytes[..]);
        let mut plain = Vec::new();
        first.read_to_end(&mut plain).unwrap();
        assert_eq!(plain, a);
        plain.clear();
        let mut second = flate2::bufread::ZlibDecoder::new(first.into_inner());
        second.read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b);
        let error = compressed(folder.path(), 1000).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("bytes of compressed programs, 1000 are needed"),
            "{error}"
        );
    }
}
