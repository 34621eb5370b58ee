//! `hasher metrics`: the daemon's status for Prometheus.
//!
//! ```text
//! status document ──► Page (which family, which labels) ──► prometheus-client
//!                                                              │ OpenMetrics
//!                      text format 0.0.4 ◄── text::from_open_metrics
//! ```
//!
//! Owns where the text goes. There is no port to scrape: a timer writes a file for
//! node_exporter's textfile collector.

mod page;
mod text;

use std::path::PathBuf;

use clap::Args;
use hasher_wire::StatusReport;
use serde::Serialize;

use self::page::Page;
use super::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::files::{self, Existing};

/// Print the daemon's status as Prometheus metrics
///
/// The text is of format 0.0.4, as node_exporter's textfile collector reads it.
/// When no daemon answers, the metric hasher_up is 0 and the exit code 3.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher metrics
  hasher metrics --out /var/lib/prometheus/node-exporter/hasher.prom
  hasher metrics | promtool check metrics")]
pub struct MetricsArgs {
    /// Write to this file in one step, replacing it, instead of printing
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The JSON answer: the same text, and where it went.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    content_type: &'static str,
    text: &'a str,
    file: Option<&'a PathBuf>,
}

/// Asks the daemon and writes its metrics.
///
/// # Errors
/// When no daemon answers, after that was written too; or when the file cannot be
/// written.
pub fn run(args: &MetricsArgs, context: &Context) -> Result<Exit, CliError> {
    match ask(context) {
        Ok(status) => {
            tell(args, context, &render(Some(status)))?;
            Ok(Exit::Done)
        }
        Err(error) => {
            let text = render(None);
            match &args.out {
                Some(path) => write(path, &text)?,
                None => context.output.line(text.trim_end())?,
            }
            Err(error)
        }
    }
}

fn ask(context: &Context) -> Result<StatusReport, CliError> {
    Ok(daemon::connect(context.socket.as_deref(), None)?.status()?)
}

/// The text for a status, or for the lack of one.
fn render(status: Option<StatusReport>) -> String {
    text::from_open_metrics(&Page(status).encode())
}

fn tell(args: &MetricsArgs, context: &Context, text: &str) -> Result<(), CliError> {
    match &args.out {
        Some(path) => write(path, text)?,
        None => context.output.line(text.trim_end())?,
    }
    context.output.report(&Report {
        schema: "hasher.metrics/1",
        content_type: "text/plain; version=0.0.4",
        text,
        file: args.out.as_ref(),
    })
}

fn write(path: &std::path::Path, text: &str) -> Result<(), CliError> {
    files::write(path, "metrics", text.as_bytes(), Existing::Replace)
}

#[cfg(test)]
mod tests;
