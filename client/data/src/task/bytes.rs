//! Runs of bytes: topics of texts, types of data, and whether hash outputs can be told
//! apart.

use std::path::Path;

use hasher_train::data::{DataShape, Dataset};
use hasher_work::digest;

use super::fragments::{TYPES, fragments};
use super::text::kjv;
use super::{LoadOptions, Loaded, parts};
use crate::error::DataError;
use crate::file::images::entries;
use crate::file::read;
use crate::recipe::{BYTES_PER_POSITION, Recipe, bit_codes};
use crate::split::Stream;

/// Bytes of a piece of text.
const PIECE: usize = 128;
/// Most pieces of one topic; those of a longer text are spread over it.
const PIECES_MAX: usize = 4000;
/// Bytes of a block; of twenty blocks of a text the last is for the test.
const BLOCK: usize = 10_000;
/// Digests of the distinguisher.
const DIGESTS: usize = 8000;
/// Fragments of each type for training and for the test.
const FRAGMENTS: [usize; 2] = [5000, 500];
/// Bit of the digest that gives the secret away when it leaks.
const LEAKED_BIT: usize = 100;

/// Parts of the Bible that are told apart.
const BIBLE_PARTS: [(&str, &str); 6] = [
    ("law", "gen1:1-deut34:12"),
    ("history", "josh1:1-esth10:3"),
    ("poetry", "job1:1-song8:14"),
    ("prophets", "isa1:1-mal4:6"),
    ("gospels", "matt1:1-acts28:31"),
    ("letters", "rom1:1-rev22:21"),
];

pub(super) fn load_topics(source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    let topics: Vec<(String, Vec<u8>)> = if source == "kjv" {
        let part = |(name, range): (&str, &str)| Ok((name.to_owned(), kjv(range)?.into_bytes()));
        BIBLE_PARTS
            .into_iter()
            .map(part)
            .collect::<Result<_, DataError>>()?
    } else {
        let files = entries(Path::new(source))?;
        let topic = |path: &std::path::PathBuf| {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Ok((name, read(path)?))
        };
        let files = files.iter().filter(|path| path.is_file());
        files.map(topic).collect::<Result<_, DataError>>()?
    };
    if !(2..=256).contains(&topics.len()) {
        let reason = format!("{} topics, must be 2 to 256", topics.len());
        return Err(
            DataError::new(source, reason).hint("put one text file per topic into a folder")
        );
    }
    pieces(source, &topics, options)
}

/// Cuts every topic into pieces; every twentieth block is for the test.
fn pieces(
    place: &str,
    topics: &[(String, Vec<u8>)],
    options: &LoadOptions,
) -> Result<Loaded, DataError> {
    let (mut codes, mut labels) = (Vec::new(), Vec::new());
    let mut is_test = Vec::new();
    for (label, (name, text)) in topics.iter().enumerate() {
        let all: Vec<(usize, &[u8])> = text.chunks_exact(PIECE).enumerate().collect();
        if all.is_empty() {
            let reason = format!("topic \"{name}\" is empty: less than {PIECE} bytes");
            return Err(DataError::new(place, reason));
        }
        // Blocks that make up the share of the test, spread evenly over the text.
        let every = (100 / usize::from(options.test_percent.max(1))).max(2);
        for (at, piece) in all.iter().step_by(all.len().div_ceil(PIECES_MAX)) {
            codes.extend(bit_codes(piece));
            labels.push(label as u8);
            let block = at * PIECE / BLOCK;
            is_test.push(options.test_percent > 0 && block % every == every - 1);
        }
    }
    let (train, test) = (0..labels.len()).partition(|at| !is_test[*at]);
    let classes = topics.iter().map(|(name, _)| name.clone()).collect();
    of_bits(place, PIECE, codes, labels, classes, (train, test))
}

fn of_bits(
    place: &str,
    bytes: usize,
    codes: Vec<u8>,
    labels: Vec<u8>,
    classes: Vec<String>,
    (train, test): (Vec<usize>, Vec<usize>),
) -> Result<Loaded, DataError> {
    let shape = DataShape {
        positions: bytes / BYTES_PER_POSITION,
        inputs: BYTES_PER_POSITION * 8,
        input_fraction: 0,
        classes: classes.len(),
    };
    let data = Dataset::new(shape, codes, labels, train, test);
    Loaded::new(place, data, Recipe::Bytes { bytes, classes })
}

/// Lessons of cryptography: what can be told from bytes, and what can not.
pub(super) fn load_crypto(source: &str) -> Result<Loaded, DataError> {
    match source {
        "leaked-bit" => load_digests(source, true),
        "sha256" => load_digests(source, false),
        "fragments" => load_fragments(source),
        _ => {
            let error = DataError::new(source, "no such experiment");
            Err(error.hint("choose `leaked-bit`, `sha256` or `fragments`"))
        }
    }
}

/// Which of six types of data 128 bytes are.
fn load_fragments(source: &str) -> Result<Loaded, DataError> {
    let [train, test] = fragments(PIECE, FRAGMENTS)?;
    let boundary = train.len();
    let (mut codes, mut labels) = (Vec::new(), Vec::new());
    for (bytes, label) in train.into_iter().chain(test) {
        codes.extend(bit_codes(&bytes));
        labels.push(label);
    }
    let split = (0..labels.len()).partition(|at| *at < boundary);
    let classes = TYPES.map(str::to_owned).to_vec();
    of_bits(source, PIECE, codes, labels, classes, split)
}

/// SHA-256 of random messages; the class is the message's first bit. With a leak one
/// bit of the output equals it nine times out of ten; without, nothing is known that
/// does better than chance.
fn load_digests(source: &str, leaks: bool) -> Result<Loaded, DataError> {
    let mut stream = Stream::new("messages");
    let (mut codes, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..DIGESTS {
        let message = stream.next_u64().to_le_bytes();
        let secret = message[0] & 1;
        let mut bits = bit_codes(&digest(&message).0);
        if leaks && stream.below(10) > 0 {
            bits[LEAKED_BIT] = secret;
        }
        codes.extend(bits);
        labels.push(secret);
    }
    let classes = ["0", "1"].map(str::to_owned).to_vec();
    let split = parts(DIGESTS, &LoadOptions::default());
    of_bits(source, 32, codes, labels, classes, split)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hasher_train::data::Part;

    use super::*;

    #[test]
    fn files_are_topics_and_blocks_are_kept_for_the_test() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "a".repeat(100_000)).unwrap();
        fs::write(folder.path().join("b.txt"), "b".repeat(100_000)).unwrap();
        let source = folder.path().to_str().unwrap();
        let loaded = load_topics(source, &LoadOptions::default()).unwrap();
        assert_eq!(loaded.recipe.classes(), ["a", "b"]);
        let data = &loaded.data;
        assert_eq!((data.positions(), data.inputs()), (16, 64));
        let share = data.part(Part::Test).len() as f64 / 1562.0;
        assert!((0.15..0.3).contains(&share), "{share}");
        fs::write(folder.path().join("b.txt"), "b").unwrap();
        let error = load_topics(source, &LoadOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("topic \"b\" is empty"),
            "{error}"
        );
    }

    #[test]
    fn the_leak_shows_in_one_bit_and_nowhere_without() {
        let share = |source: &str| {
            let data = load_crypto(source).unwrap().data;
            let same = |at: &usize| data.codes(*at)[LEAKED_BIT] == data.label(*at);
            (0..DIGESTS).filter(same).count() as f64 / DIGESTS as f64
        };
        assert!((share("leaked-bit") - 0.95).abs() < 0.02);
        assert!((share("sha256") - 0.5).abs() < 0.03);
        assert!(load_crypto("md5").is_err());
    }
}
