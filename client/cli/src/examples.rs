//! Which examples a command works with: the options that `train`, `eval` and others
//! share, and how they become a data set.
//!
//! Owns the defaults of each task. Reading files is `hasher-data`'s; the rows of
//! digits go through [`crate::data`], whose errors explain them.

use std::path::PathBuf;

use clap::Args;
use hasher_data::{DataError, LoadOptions, Loaded, Recipe, TaskName, Vocabulary, load};

use crate::card::Card;
use crate::data::Source;
use crate::error::CliError;

/// What is learned, and from what.
#[derive(Debug, Clone, Args)]
pub struct ExampleArgs {
    /// What is learned: digits, image, table, anomaly, text, topic, sequence or crypto
    /// [default: digits, or what the model's card says]
    #[arg(long, value_name = "TASK")]
    pub task: Option<TaskName>,
    /// A file, a folder, or a name that the task knows [default: digits, fashion-mnist,
    /// kjv, reverse or leaked-bit, as the task is]
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Per cent of the examples kept for the test, 0 to 99, where the data have no
    /// split of their own
    #[arg(long, value_name = "N", default_value_t = 25,
        value_parser = clap::value_parser!(u8).range(0..=99))]
    pub test_percent: u8,
    /// Column of a table's label [default: the last]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Labels of an NPY file: an NPY or IDX file
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Label of the normal rows, for the task anomaly
    #[arg(long, value_name = "LABEL")]
    pub normal: Option<String>,
    /// Characters that a text model sees at once, 2 to 256
    #[arg(long, value_name = "N", default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(2..=256))]
    pub context: u16,
    /// Take a text's bytes as tokens instead of its characters
    #[arg(long)]
    pub bytes: bool,
}

impl ExampleArgs {
    /// The task.
    pub fn task(&self) -> TaskName {
        self.task.unwrap_or(TaskName::Digits)
    }

    /// These options, or what a model was trained on where neither task nor data are
    /// named.
    pub fn or_card(&self, card: Option<&Card>) -> Result<Self, CliError> {
        let mut args = self.clone();
        let Some(card) = card else {
            return Ok(args);
        };
        if args.task.is_none() && args.data.is_none() {
            args.data = Some(card.data.clone());
        }
        if args.task.is_none() {
            args.task = Some(card.task.parse().map_err(CliError::failed)?);
        }
        if let Recipe::Text {
            context,
            vocabulary,
        } = &card.recipe
        {
            args.context = *context as u16;
            args.bytes = *vocabulary == Vocabulary::Bytes;
        }
        Ok(args)
    }

    /// The name or path of the data.
    pub fn source(&self) -> Result<String, CliError> {
        if let Some(data) = &self.data {
            if data.is_empty() {
                return Err(CliError::usage("--data is empty").hint("name a file"));
            }
            return Ok(data.clone());
        }
        let name = match self.task() {
            TaskName::Digits => "digits",
            TaskName::Image => "fashion-mnist",
            TaskName::Text | TaskName::Topic => "kjv",
            TaskName::Sequence => "reverse",
            TaskName::Crypto => "leaked-bit",
            _ => {
                let task = self.task().name();
                return Err(
                    CliError::usage(format!("task {task} has no data of its own"))
                        .hint("name a file with --data"),
                );
            }
        };
        Ok(name.to_owned())
    }

    /// The examples; `test_percent` of them for the test.
    ///
    /// # Errors
    /// What cannot be read, with file and line.
    pub fn load(&self, test_percent: u8) -> Result<Loaded, CliError> {
        let source = self.source()?;
        if self.task() == TaskName::Digits {
            let source = Source::parse(&source).map_err(CliError::usage)?;
            return Ok(Loaded {
                data: source.dataset(test_percent)?,
                recipe: Recipe::Digits,
                test_text: None,
            });
        }
        let options = LoadOptions {
            test_percent,
            label: self.label.clone(),
            labels: self.labels.clone(),
            normal: self.normal.clone(),
            context: usize::from(self.context),
            bytes: self.bytes,
        };
        load(self.task(), &source, &options).map_err(|error| wrong(&error))
    }

    /// The options that name the same examples again, for a hint.
    pub fn words(&self) -> Result<String, CliError> {
        let mut words = String::new();
        if self.task() != TaskName::Digits {
            words.push_str(&format!("--task {} ", self.task().name()));
        }
        let source = self.source()?;
        words.push_str(&format!("--data {source}"));
        if source != "digits" {
            words.push_str(&format!(" --test-percent {}", self.test_percent));
        }
        let texts = [("--label", &self.label), ("--normal", &self.normal)];
        for (option, value) in texts {
            if let Some(value) = value {
                words.push_str(&format!(" {option} {value}"));
            }
        }
        if let Some(labels) = &self.labels {
            words.push_str(&format!(" --labels {}", labels.display()));
        }
        if self.task() == TaskName::Text {
            words.push_str(&format!(" --context {}", self.context));
            words.push_str(if self.bytes { " --bytes" } else { "" });
        }
        Ok(words)
    }
}

/// What is wrong with the data, and what helps.
pub fn wrong(error: &DataError) -> CliError {
    let failure = CliError::failed(format!("cannot use {error}"));
    let general = "see `hasher train --help` for what the data of a task looks like";
    failure.hint(error.hint.clone().unwrap_or_else(|| general.to_owned()))
}
