//! What goes wrong in a command, as a person reads it.
//!
//! Owns [`CliError`] and the exit codes. Every command returns it; `main` alone
//! prints it. It never holds a backtrace or a debug dump.

use std::fmt;
use std::io;

/// How the process ends. The numbers are part of the command line's contract
/// (`docs/command-line.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `search` something was found, for `verify` the receipt holds.
    Done = 0,
    /// Failed, nothing found, or refused.
    Failed = 1,
    /// The command line or its values are wrong.
    Usage = 2,
    /// No daemon answers.
    NoDaemon = 3,
    /// The daemon has no device for the job.
    NoDevice = 4,
    /// The system refuses access.
    NotPermitted = 5,
    /// A signal ended the command; 128 + SIGINT, as shells count.
    Interrupted = 130,
}

/// A failure with its remedy and the exit code that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// What failed, on what, why: one line, lower case, no final stop.
    pub message: String,
    /// What to do about it, when there is something.
    pub hint: Option<String>,
    /// How the process ends.
    pub exit: Exit,
}

impl CliError {
    /// A plain failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A mistake in the command line or in a value given there.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure with a chosen exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            message: one_line(&message.into()),
            hint: None,
            exit,
        }
    }

    /// A failed operation of the system; `doing` reads like `read model.hsh`.
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::NotPermitted,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("cannot {doing}: {}", io_reason(error)))
    }

    /// The reader of our output went away, as `head` does: no failure, nothing to say.
    pub fn output_closed() -> Self {
        Self::new(Exit::Done, "")
    }

    /// Adds the remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(&hint.into()));
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

/// An error and its causes on one line: `outer: cause: deeper cause`. A cause
/// whose text the line already ends with is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    /// Deeper chains than this are a loop in somebody's `source`.
    const CAUSES_MAX: usize = 8;
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else { break };
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    without_number(&text).to_owned()
}

/// The text before "(os error 104)", which helps nobody.
fn without_number(text: &str) -> &str {
    text.split(" (os error").next().unwrap_or_default()
}

/// The system's reason in plain words, without "(os error 2)".
pub fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => {
            let text = error.to_string();
            let mut chars = without_number(&text).chars();
            chars.next().map_or_else(String::new, |first| {
                first.to_lowercase().chain(chars).collect()
            })
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_its_hint_another() {
        let error = CliError::usage("two\nlines  here").hint("do\nthis");
        assert_eq!(error.to_string(), "error: two lines here\n  hint: do this");
        assert_eq!(CliError::failed("plain").to_string(), "error: plain");
    }

    #[test]
    fn system_reasons_carry_no_error_numbers() {
        for code in [1, 2, 13, 21, 28, 32] {
            let reason = io_reason(&io::Error::from_raw_os_error(code));
            assert!(!reason.contains("os error"), "{reason}");
            assert!(!reason.is_empty());
        }
    }

    #[test]
    fn refused_access_has_its_own_exit_code() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(CliError::io("read x", &error).exit, Exit::NotPermitted);
    }
}
