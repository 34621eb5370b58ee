//! Where the log goes: to the journal with fields, or to standard error as text.
//!
//! Owns the filter, which a reload may change. The program starts it once; everything
//! else only logs.

mod journal;

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use self::journal::Journal;

/// The filter of the log, as long as the process runs.
#[derive(Debug, Clone)]
pub struct LogFilter(reload::Handle<Targets, Registry>);

/// Reads a filter such as `info,hasher_driver=debug`; none if it is not one.
pub(crate) fn targets(filter: &str) -> Option<Targets> {
    let parts: Vec<_> = filter.split(',').map(str::trim).collect();
    // The library takes an empty level for the lowest one.
    let has_empty = |part: &&str| part.split('=').any(|side| side.trim().is_empty());
    if parts.iter().any(has_empty) {
        return None;
    }
    parts.join(",").parse().ok()
}

impl LogFilter {
    /// Of no log at all.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let (_, handle) = reload::Layer::new(Targets::new());
        Self(handle)
    }

    /// Logs what passes this filter from now on. One that cannot be read changes nothing;
    /// the configuration has checked it.
    pub fn set(&self, filter: &str) {
        if let Some(filter) = targets(filter) {
            let _ = self.0.reload(filter);
        }
    }
}

/// Starts the log of this process with a filter that the configuration has checked; once.
///
/// It goes to the journal if standard error does, and else to standard error.
pub fn start(filter: &str) -> LogFilter {
    let info = || Targets::new().with_default(LevelFilter::INFO);
    let filter = targets(filter).unwrap_or_else(info);
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    match Journal::of_standard_error() {
        Some(journal) => registry.with(journal).init(),
        None => {
            let text = fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal())
                .with_target(false);
            // A journal that cannot be reached directly adds the time all the same.
            if std::env::var_os("JOURNAL_STREAM").is_some() {
                registry.with(text.without_time()).init();
            } else {
                registry.with(text).init();
            }
        }
    }
    LogFilter(handle)
}
