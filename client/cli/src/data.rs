//! Where examples come from: the digits that ship with the project, or a file.
//!
//! Owns the meaning of `--data`. Parsing is `hasher-train`'s; this file opens and
//! bounds, and adds the hint.

use std::fmt;
use std::path::{Path, PathBuf};

use hasher_train::data::{Dataset, ImageRow, Labels, digits, parse_rows};

use crate::error::{CliError, chain};
use crate::files;

/// What a row must look like; the hint of every error about one.
pub const ROW_HINT: &str = "a row is one 8x8 image: 64 whole numbers 0 to 16, row by row, \
    separated by commas, then its label 0 to 9";

/// Chooses which rows of a file are the test part: always the same ones, so that
/// runs with different rng seeds can be compared and resumed.
const SPLIT_SEED: u64 = 1;

/// What `--data` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The handwritten digits with their reference split.
    Digits,
    /// A comma-separated file.
    File(PathBuf),
}

impl Source {
    /// Reads the value of `--data`; `./digits` is a file of that name.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("write `digits` or the name of a CSV file".to_owned()),
            "digits" => Ok(Self::Digits),
            path => Ok(Self::File(path.into())),
        }
    }

    /// The examples; of a file's rows `test_percent`, chosen at random, become the test part.
    ///
    /// # Errors
    /// What cannot be read, with row and column.
    pub fn dataset(&self, test_percent: u8) -> Result<Dataset, CliError> {
        match self {
            Self::Digits => Ok(digits()),
            Self::File(path) => {
                let rows = read_rows(path, Labels::Required)?;
                Dataset::from_rows(&rows, test_percent, SPLIT_SEED)
                    .map_err(|error| wrong_file(path, &chain(&error)))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("digits"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The rows of a comma-separated file.
///
/// # Errors
/// What cannot be read, with row and column.
pub fn read_rows(path: &Path, labels: Labels) -> Result<Vec<ImageRow>, CliError> {
    let bytes = files::read(path, "CSV file", "check the name; `digits` needs no file")?;
    rows_of(&bytes, labels).map_err(|reason| wrong_file(path, &reason))
}

/// The rows of a comma-separated text; errors as plain sentences.
pub fn rows_of(bytes: &[u8], labels: Labels) -> Result<Vec<ImageRow>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text (UTF-8)".to_owned())?;
    parse_rows(text, labels).map_err(|error| chain(&error))
}

fn wrong_file(path: &Path, reason: &str) -> CliError {
    CliError::failed(format!("cannot use CSV file {}: {reason}", path.display())).hint(ROW_HINT)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn digits_are_a_name_and_everything_else_a_file() {
        assert_eq!(Source::parse("digits"), Ok(Source::Digits));
        let file = Source::parse("./digits").unwrap();
        assert_eq!(file, Source::File("./digits".into()));
        assert!(Source::parse("").is_err());
    }

    #[test]
    fn a_bad_cell_is_named_with_row_and_column() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.csv");
        fs::write(
            &path,
            format!(
                "{}3\n{}NaN,{}3\n",
                "0,".repeat(64),
                "0,".repeat(2),
                "0,".repeat(61)
            ),
        )
        .unwrap();
        let error = read_rows(&path, Labels::Required).unwrap_err();
        assert!(error.message.contains("row 2, column 3"), "{error}");
        assert!(error.message.contains("NaN"), "{error}");
        assert_eq!(error.hint.as_deref(), Some(ROW_HINT));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(rows_of(&[0xff, 0xfe], Labels::Optional).is_err());
    }
}
