//! Live progress on standard error, for a person who waits.
//!
//! Owns how bars look. Nothing is drawn without a terminal or with `--quiet`;
//! then every call here is free of effect.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// How often a waiting spinner turns.
const SPIN: Duration = Duration::from_millis(120);
/// Drawings a second; more only costs the CPU that the user waits for.
const DRAWS_PER_SECOND: u8 = 10;

/// A bar of `total` steps with a free text behind it. It is wiped when dropped.
pub fn bar(output: &Output, total: u64, label: &str) -> Progress {
    let style =
        ProgressStyle::with_template("  {prefix} [{bar:24}] {percent:>3} %  {msg}  {eta} left")
            .expect("the template is well formed")
            .progress_chars("=> ");
    start(output, ProgressBar::new(total), style, label)
}

/// A spinner with a free text, for waits whose length nobody knows.
pub fn spinner(output: &Output, label: &str) -> Progress {
    let style = ProgressStyle::with_template("  {prefix} {spinner} {msg}")
        .expect("the template is well formed")
        .tick_chars("|/-\\ ");
    let progress = start(output, ProgressBar::new_spinner(), style, label);
    if output.has_progress() {
        progress.0.enable_steady_tick(SPIN);
    }
    progress
}

fn start(output: &Output, bar: ProgressBar, style: ProgressStyle, label: &str) -> Progress {
    bar.set_draw_target(if output.has_progress() {
        ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
    } else {
        ProgressDrawTarget::hidden()
    });
    bar.set_style(style);
    bar.set_prefix(label.to_owned());
    Progress(bar)
}

/// A bar on standard error, wiped when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    /// So many steps are done; `message` says how it goes.
    pub fn at(&self, done: u64, message: impl Into<String>) {
        self.0.set_position(done);
        self.0.set_message(message.into());
    }

    /// Only the text changes.
    pub fn say(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
