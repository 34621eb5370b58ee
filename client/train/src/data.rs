//! Data sets: quantised inputs, labels and the split into training and test.
//!
//! Owns what an example is for the network (codes of 0 to 255 with a binary
//! point, cut into positions; or a window of tokens, each predicting the next) and
//! the fingerprint that ties a checkpoint to its data. Reading files is the caller's; parsing their text is [`parse_rows`].

mod digits;
mod image;
mod rows;

pub use digits::{digit_rows, digits};
pub use image::{
    IMAGE_INPUT_FRACTION, IMAGE_PIXELS, PATCH_INPUTS, PATCHES, PIXEL_MAX, image_codes,
    image_of_codes,
};
pub use rows::{CellProblem, ImageRow, LABEL_MAX, Labels, ROWS_MAX, RowError, parse_rows};

use hasher_model::Task;
use hasher_work::{Digest, digest};

use crate::rng::{Purpose, Rng};

/// Positions per example at most.
const POSITIONS_MAX: usize = 256;
/// Values per position at most.
const INPUTS_MAX: usize = 1024;
/// Fraction bits of an input code at most: a code is a byte.
const INPUT_FRACTION_MAX: u32 = 8;

/// Sizes that all examples of a data set share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataShape {
    /// Positions (tokens) per example, 1 to 256.
    pub positions: usize,
    /// Codes per position, 1 to 1024.
    pub inputs: usize,
    /// Fraction bits of a code, 0 to 8: its real value is code / 2^`input_fraction`.
    pub input_fraction: u32,
    /// Classes, 2 to 256.
    pub classes: usize,
}

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the trainer sees.
    Train,
    /// What it never sees.
    Test,
}

/// Examples and their split: labelled ones, or windows of a sequence of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    task: Task,
    shape: DataShape,
    /// Codes of all examples, or the tokens of the sequence.
    codes: Vec<u8>,
    /// Label of each example; for tokens 1 where predicting them counts, or empty
    /// if all do.
    labels: Vec<u8>,
    train: Vec<usize>,
    test: Vec<usize>,
}

/// Why examples are no data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A size of the shape is outside its range.
    #[error("{field} is {value}, must be {least} to {most}")]
    Shape {
        /// Name of the size.
        field: &'static str,
        /// What was given.
        value: usize,
        /// Smallest accepted value.
        least: usize,
        /// Largest accepted value.
        most: usize,
    },
    /// Codes are not one example per label.
    #[error("{codes} codes for {labels} labels, must be {per_example} codes per example")]
    CodeCount {
        /// Codes that were given.
        codes: usize,
        /// Labels that were given.
        labels: usize,
        /// Codes of one example.
        per_example: usize,
    },
    /// A label is not below the number of classes.
    #[error("example {example} has label {label}, must be below {classes}")]
    Label {
        /// Index of the example.
        example: usize,
        /// Its label.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
    /// The split names an example twice, or one that does not exist.
    #[error("the split names example {0} twice or beyond the last example")]
    Split(usize),
    /// There is nothing to train on.
    #[error("no training examples")]
    NoTrainingExamples,
    /// A window of tokens in which nothing is to be predicted.
    #[error("no token counts in the window at token {0}")]
    NothingScored(usize),
    /// A row of a file without its label.
    #[error("row {0} has no label")]
    NoLabel(usize),
}

impl Dataset {
    /// Examples in `codes` (one after the other, row-major) with a split given
    /// by indices.
    ///
    /// # Errors
    /// [`DataError`] names the first thing that does not fit.
    pub fn new(
        shape: DataShape,
        codes: Vec<u8>,
        labels: Vec<u8>,
        train: Vec<usize>,
        test: Vec<usize>,
    ) -> Result<Self, DataError> {
        check_shape(&shape)?;
        let per_example = shape.positions * shape.inputs;
        if codes.len() != labels.len() * per_example {
            let (codes, labels) = (codes.len(), labels.len());
            return Err(DataError::CodeCount {
                codes,
                labels,
                per_example,
            });
        }
        if let Some(example) = labels.iter().position(|l| usize::from(*l) >= shape.classes) {
            let label = labels[example];
            return Err(DataError::Label {
                example,
                label,
                classes: shape.classes,
            });
        }
        check_split(labels.len(), &train, &test)?;
        Ok(Self {
            task: Task::Classifier,
            shape,
            codes,
            labels,
            train,
            test,
        })
    }

    /// Windows of `context` tokens of a sequence over `vocabulary` tokens; an
    /// example is the place where its window starts, and each of its positions
    /// predicts the next token. `scored` says of every token whether predicting it
    /// counts; empty stands for all of them.
    ///
    /// # Errors
    /// [`DataError`] names the first thing that does not fit.
    pub fn sequence(
        context: usize,
        vocabulary: usize,
        tokens: Vec<u8>,
        scored: &[bool],
        train: Vec<usize>,
        test: Vec<usize>,
    ) -> Result<Self, DataError> {
        let shape = DataShape {
            positions: context,
            inputs: 1,
            input_fraction: 1,
            classes: vocabulary,
        };
        check_shape(&shape)?;
        if !scored.is_empty() && scored.len() != tokens.len() {
            let (codes, labels) = (tokens.len(), scored.len());
            return Err(DataError::CodeCount {
                codes,
                labels,
                per_example: 1,
            });
        }
        if let Some(example) = tokens.iter().position(|t| usize::from(*t) >= vocabulary) {
            let label = tokens[example];
            return Err(DataError::Label {
                example,
                label,
                classes: vocabulary,
            });
        }
        // A window needs the token after it, too.
        check_split(tokens.len().saturating_sub(context), &train, &test)?;
        let data = Self {
            task: Task::LanguageModel,
            shape,
            codes: tokens,
            labels: scored.iter().map(|scored| u8::from(*scored)).collect(),
            train,
            test,
        };
        for part in [&data.train, &data.test] {
            if let Some(start) = part.iter().find(|start| data.scored_count(**start) == 0) {
                return Err(DataError::NothingScored(*start));
            }
        }
        Ok(data)
    }

    /// 8×8 images as the digits are cut ([`image_codes`]), ten classes, a random
    /// share of `test_percent` (0 to 99, rounded down) as test part.
    ///
    /// # Errors
    /// [`DataError::NoLabel`], [`DataError::NoTrainingExamples`], or
    /// [`DataError::Shape`] for a percentage above 99.
    pub fn from_rows(
        rows: &[ImageRow],
        test_percent: u8,
        rng_seed: u64,
    ) -> Result<Self, DataError> {
        if test_percent > 99 {
            let value = usize::from(test_percent);
            return Err(DataError::Shape {
                field: "test_percent",
                value,
                least: 0,
                most: 99,
            });
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        Rng::new(rng_seed, Purpose::Split, 0).shuffle(&mut order);
        let test = order.split_off(rows.len() - rows.len() * usize::from(test_percent) / 100);
        Self::from_split(rows, order, test)
    }

    /// Images with a split of the caller's own: two lists of row indices.
    ///
    /// # Errors
    /// [`DataError::NoLabel`], or [`DataError::Split`] for an index that does not exist
    /// or is named twice.
    pub fn from_split(
        rows: &[ImageRow],
        train: Vec<usize>,
        test: Vec<usize>,
    ) -> Result<Self, DataError> {
        let mut labels = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            labels.push(row.label.ok_or(DataError::NoLabel(at + 1))?);
        }
        let codes = rows
            .iter()
            .flat_map(|row| image_codes(&row.pixels))
            .collect();
        Self::new(image::SHAPE, codes, labels, train, test)
    }

    /// Whether examples have one label each, or one per position.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Positions per example.
    pub fn positions(&self) -> usize {
        self.shape.positions
    }

    /// Codes per position.
    pub fn inputs(&self) -> usize {
        self.shape.inputs
    }

    /// Fraction bits of a code.
    pub fn input_fraction(&self) -> u32 {
        self.shape.input_fraction
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.shape.classes
    }

    /// The training part split once more: its last `percent` per cent become the test
    /// part, to be judged on while training without touching the real one. Windows
    /// that overlap those are left out.
    ///
    /// # Errors
    /// [`DataError::Shape`] for a percentage above 99,
    /// [`DataError::NoTrainingExamples`].
    pub fn kept_back(&self, percent: u8) -> Result<Self, DataError> {
        if percent > 99 {
            return Err(DataError::Shape {
                field: "percent",
                value: usize::from(percent),
                least: 0,
                most: 99,
            });
        }
        let count = self.train.len();
        let kept = self.train[count - count * usize::from(percent) / 100..].to_vec();
        let first = match self.task {
            Task::Classifier => count - kept.len(),
            Task::LanguageModel => {
                let start = kept.iter().min().copied().unwrap_or(usize::MAX);
                let before = |at: &usize| at.saturating_add(self.shape.positions) < start;
                self.train.iter().take_while(|at| before(at)).count()
            }
        };
        let train = self.train[..first].to_vec();
        if train.is_empty() {
            return Err(DataError::NoTrainingExamples);
        }
        Ok(Self {
            train,
            test: kept,
            ..self.clone()
        })
    }

    /// The same data with further labelled examples at the end, all for training.
    ///
    /// # Errors
    /// As [`Dataset::new`]; [`DataError::CodeCount`] for windows of tokens, which have no
    /// labels.
    pub fn with_training(&self, codes: &[u8], labels: &[u8]) -> Result<Self, DataError> {
        if self.task != Task::Classifier {
            return Err(DataError::CodeCount {
                codes: codes.len(),
                labels: labels.len(),
                per_example: self.shape.positions + 1,
            });
        }
        let first = self.labels.len();
        let mut train = self.train.clone();
        train.extend(first..first + labels.len());
        Self::new(
            self.shape,
            [&self.codes, codes].concat(),
            [&self.labels, labels].concat(),
            train,
            self.test.clone(),
        )
    }

    /// The same examples with another test part.
    ///
    /// # Errors
    /// [`DataError::Split`] for an example that does not exist, is named twice or is
    /// for training.
    pub fn with_test(&self, test: Vec<usize>) -> Result<Self, DataError> {
        let examples = match self.task {
            Task::Classifier => self.labels.len(),
            Task::LanguageModel => self.codes.len().saturating_sub(self.shape.positions),
        };
        check_split(examples, &self.train, &test)?;
        Ok(Self {
            test,
            ..self.clone()
        })
    }

    /// Indices of the examples of one part, in the split's order.
    pub fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.train,
            Part::Test => &self.test,
        }
    }

    /// Input codes of example `index`, positions × inputs, row-major; the tokens of
    /// its window for a sequence.
    ///
    /// # Panics
    /// When there is no such example.
    pub fn codes(&self, index: usize) -> &[u8] {
        let size = self.shape.positions * self.shape.inputs;
        let start = match self.task {
            Task::Classifier => index * size,
            Task::LanguageModel => index,
        };
        &self.codes[start..start + size]
    }

    /// Labels of example `index`: its one label, or the token after each position.
    ///
    /// # Panics
    /// When there is no such example.
    pub fn labels(&self, index: usize) -> &[u8] {
        match self.task {
            Task::Classifier => &self.labels[index..=index],
            Task::LanguageModel => &self.codes[index + 1..=index + self.shape.positions],
        }
    }

    /// Last of [`Dataset::labels`].
    ///
    /// # Panics
    /// When there is no such example.
    pub fn label(&self, index: usize) -> u8 {
        let labels = self.labels(index);
        labels[labels.len() - 1]
    }

    /// Whether label number `at` of example `index` counts.
    pub fn is_scored(&self, index: usize, at: usize) -> bool {
        self.task == Task::Classifier || self.labels.get(index + at + 1).is_none_or(|s| *s == 1)
    }

    /// How many labels of example `index` count.
    pub fn scored_count(&self, index: usize) -> usize {
        match self.task {
            Task::Classifier => 1,
            Task::LanguageModel if self.labels.is_empty() => self.shape.positions,
            Task::LanguageModel => (0..self.shape.positions)
                .filter(|at| self.is_scored(index, *at))
                .count(),
        }
    }

    /// SHA-256 over shape, examples and split: equal for equal data only.
    pub fn fingerprint(&self) -> Digest {
        let DataShape {
            positions,
            inputs,
            input_fraction,
            classes,
        } = self.shape;
        let sizes = [
            positions,
            inputs,
            input_fraction as usize,
            classes,
            self.labels.len(),
        ];
        // Two names, so that no sequence passes for labelled examples.
        let mut bytes = match self.task {
            Task::Classifier => b"HSHRdat1".to_vec(),
            Task::LanguageModel => b"HSHRdat2".to_vec(),
        };
        for numbers in [&sizes[..], &[self.train.len()], &self.train, &self.test] {
            bytes.extend(numbers.iter().flat_map(|n| (*n as u64).to_le_bytes()));
        }
        bytes.extend(&self.labels);
        bytes.extend(&self.codes);
        digest(&bytes)
    }
}

fn check_shape(shape: &DataShape) -> Result<(), DataError> {
    let sizes = [
        ("positions", shape.positions, 1, POSITIONS_MAX),
        ("inputs", shape.inputs, 1, INPUTS_MAX),
        (
            "input_fraction",
            shape.input_fraction as usize,
            0,
            INPUT_FRACTION_MAX as usize,
        ),
        ("classes", shape.classes, 2, 256),
    ];
    for (field, value, least, most) in sizes {
        if !(least..=most).contains(&value) {
            return Err(DataError::Shape {
                field,
                value,
                least,
                most,
            });
        }
    }
    Ok(())
}

/// Every example at most once, and some to train on.
fn check_split(examples: usize, train: &[usize], test: &[usize]) -> Result<(), DataError> {
    let mut is_used = vec![false; examples];
    for &example in train.iter().chain(test) {
        match is_used.get_mut(example) {
            Some(used) if !*used => *used = true,
            _ => return Err(DataError::Split(example)),
        }
    }
    if train.is_empty() {
        return Err(DataError::NoTrainingExamples);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_a_sequence_predicts_the_tokens_after_its_positions() {
        let tokens = vec![0, 1, 2, 3, 0, 1];
        let make = |scored: &[bool], train: Vec<usize>| {
            Dataset::sequence(2, 4, tokens.clone(), scored, train, vec![3])
        };
        let data = make(&[], vec![0, 1]).unwrap();
        assert_eq!((data.codes(1), data.labels(1)), (&[1, 2][..], &[2, 3][..]));
        assert_eq!((data.label(1), data.scored_count(1)), (3, 2));
        let half = make(&[true, false, true, true, true, true], vec![0]).unwrap();
        assert!(!half.is_scored(0, 0) && half.is_scored(0, 1));
        assert_ne!(
            half.fingerprint(),
            make(&[], vec![0]).unwrap().fingerprint()
        );
        assert_eq!(make(&[], vec![4]), Err(DataError::Split(4)));
        assert_eq!(make(&[false; 6], vec![0]), Err(DataError::NothingScored(0)));
        let unknown = Dataset::sequence(2, 3, tokens.clone(), &[], vec![0], vec![]);
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "example 3 has label 3, must be below 3"
        );
        assert!(matches!(
            data.with_training(&[0, 1], &[1]),
            Err(DataError::CodeCount { .. })
        ));
    }

    const SHAPE: DataShape = DataShape {
        positions: 1,
        inputs: 2,
        input_fraction: 0,
        classes: 3,
    };

    fn data(train: Vec<usize>, test: Vec<usize>) -> Result<Dataset, DataError> {
        Dataset::new(SHAPE, vec![1, 2, 3, 4, 5, 6], vec![0, 1, 2], train, test)
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(data(vec![0, 2], vec![1]).is_ok());
        let text = |result: Result<Dataset, DataError>| result.unwrap_err().to_string();
        let twice = "the split names example 0 twice or beyond the last example";
        assert_eq!(text(data(vec![0], vec![0])), twice);
        assert_eq!(data(vec![3], vec![]), Err(DataError::Split(3)));
        assert_eq!(data(vec![], vec![1]), Err(DataError::NoTrainingExamples));
        let short = Dataset::new(SHAPE, vec![0; 5], vec![0; 3], vec![0], vec![]);
        assert_eq!(
            text(short),
            "5 codes for 3 labels, must be 2 codes per example"
        );
        let label = Dataset::new(SHAPE, vec![0; 2], vec![3], vec![0], vec![]);
        assert_eq!(text(label), "example 0 has label 3, must be below 3");
        let shape = DataShape {
            input_fraction: 9,
            ..SHAPE
        };
        let fraction = Dataset::new(shape, vec![], vec![], vec![], vec![]);
        assert_eq!(text(fraction), "input_fraction is 9, must be 0 to 8");
    }

    #[test]
    fn what_is_kept_back_was_for_training_and_overlaps_nothing() {
        let labelled = data(vec![2, 0, 1], vec![]).unwrap().kept_back(40).unwrap();
        assert_eq!(labelled.part(Part::Train), [2, 0]);
        assert_eq!(labelled.part(Part::Test), [1]);
        let starts = (0..50).collect();
        let text = Dataset::sequence(8, 4, vec![1; 100], &[], starts, vec![70]).unwrap();
        let kept = text.kept_back(20).unwrap();
        assert_eq!(kept.part(Part::Test).first(), Some(&40));
        assert_eq!(kept.part(Part::Train).last(), Some(&31));
        assert!(data(vec![0], vec![]).unwrap().kept_back(100).is_err());
    }

    #[test]
    fn any_change_of_the_data_changes_the_fingerprint() {
        let base = data(vec![0, 2], vec![1]).unwrap();
        assert_eq!(
            base.fingerprint(),
            data(vec![0, 2], vec![1]).unwrap().fingerprint()
        );
        let mut others = vec![
            data(vec![2, 0], vec![1]).unwrap(),
            data(vec![0, 2, 1], vec![]).unwrap(),
        ];
        let changes: [fn(&mut Dataset); 3] = [
            |data| data.codes[3] ^= 1,
            |data| data.labels[1] = 2,
            |data| data.shape.input_fraction = 1,
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            others.push(other);
        }
        for other in others {
            assert_ne!(other.fingerprint(), base.fingerprint());
        }
    }

    #[test]
    fn a_users_rows_are_split_by_the_rng_seed() {
        let rows: Vec<ImageRow> = (0..20)
            .map(|i| ImageRow {
                pixels: [i; 64],
                label: Some(i % 10),
            })
            .collect();
        let first = Dataset::from_rows(&rows, 25, 1).unwrap();
        assert_eq!(
            (first.part(Part::Train).len(), first.part(Part::Test).len()),
            (15, 5)
        );
        assert_eq!(first, Dataset::from_rows(&rows, 25, 1).unwrap());
        assert_ne!(first, Dataset::from_rows(&rows, 25, 2).unwrap());
        assert!(Dataset::from_rows(&rows, 100, 1).is_err());
        assert_eq!(
            Dataset::from_rows(&[], 0, 1),
            Err(DataError::NoTrainingExamples)
        );
        let unlabelled = [ImageRow {
            pixels: [0; 64],
            label: None,
        }];
        assert_eq!(
            Dataset::from_rows(&unlabelled, 0, 1),
            Err(DataError::NoLabel(1))
        );
    }
}
