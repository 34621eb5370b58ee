//! What is wrong with a configuration, for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Most problems of one file that are told.
const PROBLEMS_MAX: usize = 20;

/// Something in the file that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its line, counted from 1; 0 when it is not in the file.
    pub(super) line: usize,
    /// What, on what, and what was expected.
    pub(super) text: String,
}

/// Why there is no configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no file of settings at all.
    NotSettings {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What it says does not hold.
    Wrong(Problems),
}

/// All problems of one file, in the order of its lines; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What the problems are named after: the file, or the command line.
    file: String,
    problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        problems.dedup();
        Self { file, problems }
    }

    /// Each problem in one line, `FILE:LINE: what`; of many, the first ones and their
    /// number.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let told = self.problems.iter().take(PROBLEMS_MAX).map(|problem| {
            let Problem { line, text } = problem;
            match line {
                0 => text.clone(),
                line => format!("{}:{line}: {text}", self.file),
            }
        });
        let untold = self.problems.len().saturating_sub(PROBLEMS_MAX);
        told.chain((untold > 0).then(|| format!("{}: and {untold} more problems", self.file)))
    }
}

impl fmt::Display for ConfigError {
    /// One line; of several problems the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, .. } => write!(f, "cannot read {}", path.display()),
            Self::NotSettings { path, why } => write!(f, "{} {why}", path.display()),
            Self::Wrong(problems) => {
                let mut lines = problems.lines();
                f.write_str(&lines.next().unwrap_or_default())?;
                match problems.problems.len() - 1 {
                    0 => Ok(()),
                    more => write!(f, " (and {more} more)"),
                }
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::NotSettings { .. } | Self::Wrong(_) => None,
        }
    }
}

impl ConfigError {
    /// Whether the command line is to blame, and not a file.
    pub fn is_usage(&self) -> bool {
        let Self::Wrong(problems) = self else {
            return false;
        };
        problems.problems.iter().all(|problem| problem.line == 0)
    }

    /// What is wrong, a problem a line; at least one.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { source, .. } => vec![format!("{self}: {source}")],
            Self::NotSettings { .. } => vec![self.to_string()],
            Self::Wrong(problems) => problems.lines().collect(),
        }
    }
}
