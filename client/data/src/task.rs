//! The tasks, one module each, behind one function.

mod bytes;
mod fragments;
mod image;
mod sequence;
mod table;
mod text;

use std::path::PathBuf;
use std::str::FromStr;

use hasher_train::data::{Dataset, digits, parse_rows};

use crate::error::DataError;
use crate::file::read_text;
use crate::recipe::Recipe;
use crate::split;

/// What is to be learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskName {
    /// The digits that ship, or a file of such rows.
    Digits,
    /// Classes of images: `fashion-mnist`, `planted`, a folder of IDX files, a folder
    /// of folders of images, or an NPY file.
    Image,
    /// The class of a row of numbers: a CSV or NPY file.
    Table,
    /// Rows unlike the others: a CSV file with a label column that training ignores.
    Anomaly,
    /// The next character of a text: `kjv` or a file.
    Text,
    /// The topic of a piece of text: `kjv`, or a folder with one file per topic.
    Topic,
    /// A target for a source: `reverse`, `copy`, `digits-to-words`, `words-to-digits`
    /// or a file of tab-separated pairs.
    Sequence,
    /// Telling hash outputs apart, or types of data: `leaked-bit`, `sha256` or
    /// `fragments`.
    Crypto,
}

impl TaskName {
    /// Every task with its name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("digits", Self::Digits),
        ("image", Self::Image),
        ("table", Self::Table),
        ("anomaly", Self::Anomaly),
        ("text", Self::Text),
        ("topic", Self::Topic),
        ("sequence", Self::Sequence),
        ("crypto", Self::Crypto),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, task)| *task == self);
        found.map_or("", |(name, _)| name)
    }
}

impl FromStr for TaskName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, task)| *task).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!(
                "there is no task \"{text}\", choose one of {}",
                names.join(", ")
            )
        })
    }
}

/// What a source does not say by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Per cent of the examples kept for the test, 0 to 99, where the source has no
    /// split of its own.
    pub test_percent: u8,
    /// Column of the label [default: the last].
    pub label: Option<String>,
    /// NPY or IDX file of labels.
    pub labels: Option<PathBuf>,
    /// Label of the rows that an anomaly is told from.
    pub normal: Option<String>,
    /// Tokens that a text model sees at once, 2 to 256.
    pub context: usize,
    /// Whether a text's tokens are its bytes instead of its characters.
    pub bytes: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            test_percent: 25,
            label: None,
            labels: None,
            normal: None,
            context: 32,
            bytes: false,
        }
    }
}

/// Examples, and how to prepare more of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The examples with their split.
    pub data: Dataset,
    /// How they were prepared.
    pub recipe: Recipe,
    /// Tokens of the test part of a running text.
    pub test_text: Option<Vec<u8>>,
}

impl Loaded {
    fn new(
        place: &str,
        data: Result<Dataset, hasher_train::data::DataError>,
        recipe: Recipe,
    ) -> Result<Self, DataError> {
        Ok(Self {
            data: data.map_err(|error| DataError::new(place, error.to_string()))?,
            recipe,
            test_text: None,
        })
    }

    /// The whole test part of a running text as windows that overlap by half: with the
    /// first half of each left out, every character is judged once with at least half
    /// a window before it. Nothing for other tasks.
    pub fn sliding(&self) -> Option<Dataset> {
        let tokens = self.test_text.clone()?;
        let context = self.data.positions();
        let windows = tokens.len().checked_sub(context)?;
        let starts = (0..windows).step_by((context / 2).max(1)).collect();
        Dataset::sequence(context, self.data.classes(), tokens, &[], starts, vec![]).ok()
    }
}

/// Reads the examples that `source` names for a task: a file, a folder, or one of the
/// names that [`TaskName`] lists.
///
/// # Errors
/// What is wrong, with file and line.
pub fn load(task: TaskName, source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    if options.test_percent > 99 {
        return Err(DataError::new(
            source,
            "the test part must be 0 to 99 per cent",
        ));
    }
    match task {
        TaskName::Digits if source == "digits" => Ok(Loaded {
            data: digits(),
            recipe: Recipe::Digits,
            test_text: None,
        }),
        TaskName::Digits => {
            let text = read_text(source.as_ref())?;
            let rows = parse_rows(&text, hasher_train::data::Labels::Required)
                .map_err(|error| DataError::new(source, error.to_string()))?;
            let data = Dataset::from_rows(&rows, options.test_percent, 1);
            Loaded::new(source, data, Recipe::Digits)
        }
        TaskName::Image => image::load(source, options),
        TaskName::Table => table::load(source, options),
        TaskName::Anomaly => table::load_anomaly(source, options),
        TaskName::Text => text::load(source, options),
        TaskName::Topic => bytes::load_topics(source, options),
        TaskName::Sequence => sequence::load(source, options),
        TaskName::Crypto => bytes::load_crypto(source),
    }
}

/// Training and test part of `count` examples of a source without a split.
fn parts(count: usize, options: &LoadOptions) -> (Vec<usize>, Vec<usize>) {
    split::split(split::order(count, "split"), options.test_percent)
}
