//! Pairs of a source and its target: toys, or a file of tab-separated pairs.

use std::collections::BTreeSet;
use std::path::Path;

use hasher_train::data::Dataset;

use super::{LoadOptions, Loaded};
use crate::error::DataError;
use crate::file::read_text;
use crate::recipe::{Recipe, SOURCE_END, TARGET_END, Vocabulary};
use crate::split::{Stream, order, split};

/// Pairs of a toy.
const TOY_PAIRS: usize = 12_000;
/// Letters of a toy's source.
const TOY_LETTERS: &str = "abcdefgh";
/// Shortest and longest source of a toy.
const TOY_LENGTHS: [usize; 2] = [3, 7];
/// Longest pair with its two ends, in characters.
const PAIR_MAX: usize = 256;
const DIGIT_WORDS: [&str; 10] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];

pub(super) fn load(source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    let pairs = match source {
        "copy" => toy(|text| text.to_owned()),
        "reverse" => toy(|text| text.chars().rev().collect()),
        "digits-to-words" => numbers(),
        "words-to-digits" => numbers().into_iter().map(|(d, w)| (w, d)).collect(),
        _ => read_pairs(Path::new(source))?,
    };
    of_pairs(source, &pairs, options)
}

/// Random words and what becomes of them; every word once.
fn toy(target: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let mut stream = Stream::new("words");
    let letters: Vec<char> = TOY_LETTERS.chars().collect();
    let [least, most] = TOY_LENGTHS;
    let words: BTreeSet<String> = (0..TOY_PAIRS)
        .map(|_| {
            let length = least + stream.below(most - least + 1);
            (0..length)
                .map(|_| letters[stream.below(letters.len())])
                .collect()
        })
        .collect();
    words
        .into_iter()
        .map(|word| (word.clone(), target(&word)))
        .collect()
}

/// Numbers of one to four digits, digit by digit in words.
fn numbers() -> Vec<(String, String)> {
    let words = |number: &String| -> String {
        let digits = number
            .bytes()
            .map(|digit| DIGIT_WORDS[usize::from(digit - b'0')]);
        digits.collect::<Vec<_>>().join(" ")
    };
    let numbers = (0..10_000u32).map(|number| number.to_string());
    numbers
        .map(|number| (number.clone(), words(&number)))
        .collect()
}

fn read_pairs(path: &Path) -> Result<Vec<(String, String)>, DataError> {
    let text = read_text(path)?;
    let mut pairs = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        let wrong = |reason: &str| DataError::of(path, reason).at(at as u64 + 1);
        let (source, target) = line
            .split_once(SOURCE_END)
            .ok_or_else(|| wrong("no tab between source and target"))?;
        if target.contains(SOURCE_END) {
            return Err(wrong("more than one tab"));
        }
        if source.chars().count() + target.chars().count() + 2 > PAIR_MAX {
            return Err(wrong("source and target have more than 254 characters"));
        }
        pairs.push((source.to_owned(), target.to_owned()));
    }
    Ok(pairs)
}

fn of_pairs(
    place: &str,
    pairs: &[(String, String)],
    options: &LoadOptions,
) -> Result<Loaded, DataError> {
    let mut chars: BTreeSet<char> = [SOURCE_END, TARGET_END].into();
    chars.extend(
        pairs
            .iter()
            .flat_map(|(source, target)| source.chars().chain(target.chars())),
    );
    if chars.len() > 256 {
        let reason = format!("{} different characters, at most 256", chars.len());
        return Err(DataError::new(place, reason));
    }
    let vocabulary = Vocabulary::Chars(chars.into_iter().collect());
    let lines = pairs
        .iter()
        .map(|(s, t)| format!("{s}{SOURCE_END}{t}{TARGET_END}"));
    let lines: Vec<Vec<u8>> = lines
        .map(|line| vocabulary.encode(place, &line))
        .collect::<Result<_, _>>()?;
    let longest = lines.iter().map(Vec::len).max().unwrap_or(0);
    if longest == 0 {
        return Err(DataError::new(place, "no pairs"));
    }
    // The window predicts the token after each of its own: one place less is needed.
    let context = longest - 1;
    let end = vocabulary.encode(place, &TARGET_END.to_string())?[0];
    let (mut tokens, mut scored) = (Vec::new(), Vec::new());
    for (line, (source, _)) in lines.iter().zip(pairs) {
        let begin = source.chars().count() + 1;
        tokens.extend(line);
        scored.extend((0..line.len()).map(|at| at >= begin));
        tokens.resize(tokens.len() + longest - line.len(), end);
        scored.resize(tokens.len(), false);
    }
    let starts = |parts: Vec<usize>| parts.into_iter().map(|pair| pair * longest).collect();
    let (train, test) = split(order(pairs.len(), "split"), options.test_percent);
    let data = Dataset::sequence(
        context,
        vocabulary.size(),
        tokens,
        &scored,
        starts(train),
        starts(test),
    );
    Loaded::new(
        place,
        data,
        Recipe::Sequence {
            vocabulary,
            context,
        },
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_target_counts() {
        let pairs = [
            ("ab".to_owned(), "b".to_owned()),
            ("c".to_owned(), "cc".to_owned()),
        ];
        let options = LoadOptions {
            test_percent: 0,
            ..LoadOptions::default()
        };
        let loaded = of_pairs("x", &pairs, &options).unwrap();
        let data = &loaded.data;
        // "ab\tb\n" and "c\tcc\n" have five characters each.
        assert_eq!(data.positions(), 4);
        let scored = |start| {
            (0..4)
                .map(|at| data.is_scored(start, at))
                .collect::<Vec<_>>()
        };
        assert_eq!(scored(0), [false, false, true, true]);
        assert_eq!(scored(5), [false, true, true, true]);
    }

    #[test]
    fn toys_do_what_they_are_called() {
        assert_eq!(toy(|word| word.chars().rev().collect())[0].1.len(), 3);
        assert_eq!(
            numbers()[207],
            ("207".to_owned(), "two zero seven".to_owned())
        );
        for name in ["copy", "reverse", "digits-to-words", "words-to-digits"] {
            assert!(load(name, &LoadOptions::default()).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_line_without_a_tab_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.tsv");
        fs::write(&path, "a\tb\nab\n").unwrap();
        let error = load(path.to_str().unwrap(), &LoadOptions::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("p.tsv:2: no tab between source and target")
        );
        fs::write(&path, "\n\n").unwrap();
        let error = load(path.to_str().unwrap(), &LoadOptions::default()).unwrap_err();
        assert!(error.to_string().ends_with("no pairs"), "{error}");
    }
}
