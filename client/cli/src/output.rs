//! The one way to standard output and standard error.
//!
//! Owns the choice between text for people and one JSON object for programs,
//! and between a live progress bar and silence. Commands hand it finished text
//! or a serialisable report; nothing else in this crate prints.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::error::CliError;
use crate::style::Style;

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
    progress: bool,
    /// How to decorate text for people.
    pub style: Style,
}

impl Output {
    /// As the global options ask for. Progress needs a terminal on standard error.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            progress: !quiet && io::stderr().is_terminal(),
            style: Style::of_stdout(),
        }
    }

    /// Whether a person is there to be asked: text, and a terminal on both sides.
    pub fn can_ask(&self) -> bool {
        !self.json && !self.quiet && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether the command answers with one JSON object.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a progress bar may be drawn on standard error.
    pub const fn has_progress(&self) -> bool {
        self.progress
    }

    /// Writes a line for people; nothing under `--json`.
    ///
    /// # Errors
    /// [`CliError::output_closed`] when the reader has gone, otherwise why
    /// standard output takes nothing.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        write_stdout(text.as_ref())
    }

    /// Writes bytes of a text that goes on, without a line end; nothing under `--json`.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn piece(&self, bytes: &[u8]) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
    }

    /// Writes a command's report as its one JSON object; nothing without `--json`.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn report<T: Serialize>(&self, report: &T) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(report)
            .map_err(|error| CliError::failed(format!("cannot write the report: {error}")))?;
        write_stdout(&text)
    }

    /// Writes one event: `text` for people, or under `--json` the object on one line.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn event<T: Serialize>(&self, event: &T, text: &str) -> Result<(), CliError> {
        if !self.json {
            return write_stdout(text);
        }
        let text = serde_json::to_string(event)
            .map_err(|error| CliError::failed(format!("cannot write the event: {error}")))?;
        write_stdout(&text)
    }

    /// Says something beside the answer on standard error, unless `--quiet` or
    /// `--json` (whose object holds it).
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            // A closed standard error is no reason to fail.
            let _ = writeln!(io::stderr(), "{}", text.as_ref());
        }
    }

    /// Says a failure: one line on standard error, its hint below, and under
    /// `--json` the same facts as an object on standard output.
    pub fn failure(&self, error: &CliError) {
        if self.json {
            // Whoever cannot be told on one stream is told on the other.
            let _ = self.report(&Failure {
                schema: "hasher.error/1",
                error: &error.message,
                hint: error.hint.as_deref(),
                exit_code: error.exit as u8,
            });
        }
        let _ = writeln!(io::stderr(), "{error}");
    }
}

/// The JSON object of a failed command.
#[derive(Serialize)]
struct Failure<'a> {
    schema: &'static str,
    error: &'a str,
    hint: Option<&'a str>,
    exit_code: u8,
}

fn write_stdout(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
}

fn written(result: io::Result<()>) -> Result<(), CliError> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::output_closed(),
        _ => CliError::io("write to standard output", &error),
    })
}
