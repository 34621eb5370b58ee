//! `hasher device`: what changes a device, over D-Bus.

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::Context;
use crate::control::{BusArgs, Control, Request};
use crate::error::{CliError, Exit};
use crate::parse;

/// Pause, resume, reset or configure a device
///
/// The daemon asks polkit whether you may; root always may. `hasher devices` lists
/// the names.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sudo hasher device pause sim-s3-0
  sudo hasher device configure sim-s3-0 --frequency-mhz 200
  hasher device resume cpu-0 --bus session")]
pub struct DeviceArgs {
    #[command(flatten)]
    bus: BusArgs,
    /// What to do
    #[command(subcommand)]
    command: DeviceCommand,
}

/// What to do with a device.
#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Give it no more work until it is resumed, also after it was plugged in again
    ///
    /// Jobs wait, or go to other devices.
    Pause(Id),
    /// Give it work again
    Resume(Id),
    /// Initialise it anew; its jobs are repeated
    Reset(Id),
    /// Run its chips at another clock, for a minute unless that is confirmed
    ///
    /// A wrong clock can hang or overheat a board, so it goes back by itself. At a
    /// terminal you are asked whether to keep it; a script runs `hasher device confirm`.
    Configure {
        #[command(flatten)]
        id: Id,
        /// Clock of the chips in MHz, one of the model's table
        #[arg(long, value_name = "MHZ", value_parser = parse::frequency_mhz)]
        frequency_mhz: f64,
    },
    /// Keep what `configure` set
    Confirm(Id),
    /// Go back to what was before `configure`
    Revert(Id),
}

/// The device.
#[derive(Debug, Args)]
struct Id {
    /// Name of the device, as `hasher devices` lists it
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    id: String,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    device: &'a str,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_mhz: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reverts_in_seconds: Option<u32>,
}

/// Asks the daemon over D-Bus.
///
/// # Errors
/// As [`Control::device`]; also when a clock was not confirmed in time.
pub fn run(args: &DeviceArgs, context: &Context) -> Result<Exit, CliError> {
    let (id, request) = match &args.command {
        DeviceCommand::Pause(id) => (id, Request::Pause),
        DeviceCommand::Resume(id) => (id, Request::Resume),
        DeviceCommand::Reset(id) => (id, Request::Reset),
        DeviceCommand::Configure { id, frequency_mhz } => {
            let frequency_mhz = *frequency_mhz;
            (id, Request::Configure { frequency_mhz })
        }
        DeviceCommand::Confirm(id) => (id, Request::Confirm),
        DeviceCommand::Revert(id) => (id, Request::Revert),
    };
    let id = id.id.as_str();
    let control = Control::connect(args.bus.bus)?;
    let reverts_in_seconds = control.device(id, request)?;
    let frequency_mhz = match request {
        Request::Configure { frequency_mhz } => Some(frequency_mhz),
        _ => None,
    };
    context.output.report(&Report {
        schema: "hasher.device/1",
        device: id,
        action: request.word(),
        frequency_mhz,
        reverts_in_seconds,
    })?;
    context.output.line(match request {
        Request::Pause => format!("{id} is paused until `hasher device resume {id}`"),
        Request::Resume => format!("{id} takes work again"),
        Request::Reset => format!("{id} is initialised anew"),
        Request::Confirm => format!("{id} keeps its settings"),
        Request::Revert => format!("{id} is back at its former settings"),
        Request::Configure { frequency_mhz } => format!(
            "{id} runs at {frequency_mhz} MHz; it goes back in {} s unless confirmed",
            reverts_in_seconds.unwrap_or_default()
        ),
    })?;
    match reverts_in_seconds {
        Some(seconds) if context.output.can_ask() => keep_or_revert(
            &control,
            id,
            Duration::from_secs(u64::from(seconds)),
            context,
        ),
        Some(_) => {
            let note = format!("keep it with `hasher device confirm {id}`");
            context.output.note(note);
            Ok(Exit::Done)
        }
        None => Ok(Exit::Done),
    }
}

/// Asks the person at the terminal, and does what they say.
fn keep_or_revert(
    control: &Control,
    id: &str,
    within: Duration,
    context: &Context,
) -> Result<Exit, CliError> {
    match ask("Keep it? [y/N] ", within)? {
        Some(answer) if is_yes(&answer) => {
            control.device(id, Request::Confirm)?;
            context.output.line(format!("{id} keeps its settings"))?;
            Ok(Exit::Done)
        }
        Some(_) => {
            control.device(id, Request::Revert)?;
            let line = format!("{id} is back at its former settings");
            context.output.line(line)?;
            Ok(Exit::Done)
        }
        None => Err(CliError::failed(format!(
            "the clock of {id} was not confirmed in time; the daemon has put it back"
        ))
        .hint("configure it again and answer with y")),
    }
}

/// One line from the terminal, or nothing in time.
fn ask(question: &str, within: Duration) -> Result<Option<String>, CliError> {
    let fail = |error: io::Error| CliError::io("ask at the terminal", &error);
    let mut stderr = io::stderr();
    write!(stderr, "{question}").map_err(fail)?;
    stderr.flush().map_err(fail)?;
    let stdin = io::stdin();
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left =
            Timespec::try_from(left).map_err(|_| fail(io::ErrorKind::InvalidInput.into()))?;
        let mut place = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut place, Some(&left)) {
            Ok(0) => {
                // The cursor stands behind the question.
                _ = writeln!(stderr);
                return Ok(None);
            }
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(fail(error.into())),
        }
    }
    // A terminal gives whole lines.
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(fail)?;
    Ok(Some(answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_keeps_a_clock() {
        for yes in ["y\n", "Y", " yes \n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yeah?\n", "ye s\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
