//! Running text: the King James Bible or any file.

use std::path::Path;
use std::process::Command;

use hasher_train::data::Dataset;

use super::{LoadOptions, Loaded};
use crate::error::DataError;
use crate::file::read_text;
use crate::recipe::{Recipe, Vocabulary};
use crate::split::Stream;

/// The program of Debian's package `bible-kjv` that prints the text.
const BIBLE: &str = "bible";
/// Characters of a block; of twenty blocks the last is for the test.
const BLOCK: usize = 10_000;
/// One block in so many is for the test.
const TEST_BLOCK_EVERY: usize = 20;
/// Windows of the test text that are drawn for a score.
const TEST_WINDOWS: usize = 2000;
/// Characters of the King James text besides letters.
const KJV_SIGNS: &str = " \n.,;:?!'()-";
/// Longest text, 32 MiB: one window can begin at each character.
const TEXT_BYTES_MAX: usize = 32 << 20;

pub(super) fn load(source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    let text = if source == "kjv" {
        kjv("gen1:1-rev22:21")?
    } else {
        read_text(Path::new(source))?
    };
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!(
            "a text of {} bytes, at most {TEXT_BYTES_MAX} are used",
            text.len()
        );
        return Err(DataError::new(source, reason));
    }
    let vocabulary = if options.bytes {
        Vocabulary::Bytes
    } else {
        characters(source, &text)?
    };
    let tokens = vocabulary.encode(source, &text)?;
    of_tokens(source, &tokens, vocabulary, options.context)
}

/// The verses of a range: labels dropped, lower case, 38 characters.
pub(super) fn kjv(range: &str) -> Result<String, DataError> {
    let run = |error: &dyn std::fmt::Display| {
        let error = DataError::new("kjv", format!("cannot run `{BIBLE} -f {range}`: {error}"));
        error.hint("install Debian's package bible-kjv, or name a text file")
    };
    let output = Command::new(BIBLE)
        .args(["-f", range])
        .output()
        .map_err(|error| run(&error))?;
    if !output.status.success() {
        return Err(run(&output.status));
    }
    let mut text = String::with_capacity(output.stdout.len());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let verse = match line.split_once(' ') {
            Some((label, verse)) if is_verse_label(label) => verse,
            _ => line,
        };
        let kept = |c: &char| c.is_ascii_lowercase() || KJV_SIGNS.contains(*c);
        text.extend(verse.to_lowercase().chars().filter(kept));
        text.push('\n');
    }
    if text.trim().is_empty() {
        return Err(run(&"it printed no text"));
    }
    Ok(text)
}

/// Whether a word is a place such as `Ge1:1`.
fn is_verse_label(word: &str) -> bool {
    let parts = word.rsplit_once(':');
    parts.is_some_and(|(before, verse)| {
        !before.is_empty() && !verse.is_empty() && verse.bytes().all(|b| b.is_ascii_digit())
    })
}

/// All characters of a text in code-point order.
pub(super) fn characters(place: &str, text: &str) -> Result<Vocabulary, DataError> {
    let chars: std::collections::BTreeSet<char> = text.chars().collect();
    if !(2..=256).contains(&chars.len()) {
        let reason = format!("{} different characters, must be 2 to 256", chars.len());
        return Err(DataError::new(place, reason).hint("use its bytes with --bytes"));
    }
    Ok(Vocabulary::Chars(chars.into_iter().collect()))
}

fn of_tokens(
    place: &str,
    tokens: &[u8],
    vocabulary: Vocabulary,
    context: usize,
) -> Result<Loaded, DataError> {
    // A short text has twenty blocks, too.
    let block = BLOCK.min(tokens.len() / TEST_BLOCK_EVERY);
    if block <= context {
        let reason = format!(
            "a text of {} tokens is too short for windows of {context}: {} are needed",
            tokens.len(),
            (context + 1) * TEST_BLOCK_EVERY
        );
        return Err(DataError::new(place, reason));
    }
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (number, block) in tokens.chunks_exact(block).enumerate() {
        if number % TEST_BLOCK_EVERY == TEST_BLOCK_EVERY - 1 {
            test.extend(block);
        } else {
            train.extend(block);
        }
    }
    let mut stream = Stream::new("windows");
    let places = test.len() - context;
    let mut windows: Vec<usize> = (0..TEST_WINDOWS)
        .map(|_| train.len() + stream.below(places))
        .collect();
    windows.sort_unstable();
    windows.dedup();
    let starts = (0..train.len() - context).collect();
    train.extend(&test);
    let data = Dataset::sequence(context, vocabulary.size(), train, &[], starts, windows);
    let recipe = Recipe::Text {
        vocabulary,
        context,
    };
    let mut loaded = Loaded::new(place, data, recipe)?;
    loaded.test_text = Some(test);
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hasher_train::data::Part;

    use super::*;

    fn of(text: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        fs::write(&path, text).unwrap();
        load(path.to_str().unwrap(), options)
    }

    #[test]
    fn every_twentieth_block_is_for_the_test_and_no_window_crosses() {
        let text = "abcdefghij".repeat(200);
        let options = LoadOptions {
            context: 8,
            ..LoadOptions::default()
        };
        let loaded = of(&text, &options).unwrap();
        let data = &loaded.data;
        assert_eq!((data.classes(), data.positions()), (10, 8));
        let (train, test) = (data.part(Part::Train), data.part(Part::Test));
        assert_eq!(train.len(), 1900 - 8);
        assert!(test.iter().all(|start| *start >= 1900 && start + 8 < 2000));
        assert_eq!(loaded.test_text.as_ref().map(Vec::len), Some(100));
        let sliding = loaded.sliding().unwrap();
        assert_eq!(sliding.part(Part::Train).len(), (100 - 8usize).div_ceil(4));
    }

    #[test]
    fn a_text_that_is_too_short_or_has_one_character_is_refused() {
        let reason = |text: &str| of(text, &LoadOptions::default()).unwrap_err().to_string();
        assert!(reason("abc").contains("too short for windows of 32: 660 are needed"));
        assert!(reason(&"a".repeat(2000)).contains("1 different characters"));
        let bytes = LoadOptions {
            bytes: true,
            ..LoadOptions::default()
        };
        assert_eq!(of(&"a".repeat(2000), &bytes).unwrap().data.classes(), 256);
    }

    #[test]
    fn verse_labels_are_recognised() {
        assert!(is_verse_label("Ge1:1") && is_verse_label("1Jo12:34"));
        assert!(!is_verse_label("said:") && !is_verse_label(":1") && !is_verse_label("word"));
    }
}
