//! `hasher doctor`: from the cable to the socket, what is well and what is not.
//!
//! ```text
//! sysfs, procfs, /run/udev, systemd ──► machine ──► Facts ─┐
//! the daemon's status ─────────────────────────────────────┴─► checks ──► a verdict each
//! ```
//!
//! Owns the order of the report and the capture. It reads and never changes anything:
//! it sends nothing to a device, and ends, unloads and restarts nothing.

mod capture;
mod checks;
mod machine;

use std::path::{Path, PathBuf};

use clap::Args;
use hasher_wire::{CaptureReport, DeviceReport, StatusReport};
use serde::Serialize;

use self::checks::{Check, Verdict};
use self::machine::{Machine, Units};
use super::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::files::{self, Existing};
use crate::style::Style;

/// Check everything from the cable to the socket, and say what helps
///
/// Reads only; nothing is changed, and no device hears of it. As root it also
/// names the program that holds a board.
///
/// Exit code 0 when nothing is wrong, 1 when something is.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher doctor
  sudo hasher doctor
  hasher --json doctor | jq '.checks[] | select(.verdict != \"ok\")'
  hasher doctor --report board.json")]
pub struct DoctorArgs {
    /// Also write an anonymised capture of boards and devices to this file, to be
    /// sent to the project
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What the daemon says, or why it says nothing.
pub type DaemonAnswer = Result<StatusReport, CliError>;

/// The JSON answer.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    verdict: Verdict,
    checks: &'a [Check],
}

/// Looks, judges and prints.
///
/// # Errors
/// When the capture cannot be written; what is wrong with the machine is the answer.
pub fn run(args: &DoctorArgs, context: &Context) -> Result<Exit, CliError> {
    let mut machine = Machine::look(Path::new("/"));
    machine.service.units = Units::ask();
    let answer = ask(context.socket.as_deref());
    let checks = checks::check(&machine, &answer);
    if let Some(path) = &args.report {
        let status = answer.as_ref().ok();
        let wires = status.map_or_else(Vec::new, |status| wires(context.socket.as_deref(), status));
        let text = capture::capture(&machine, status, wires, &checks)?;
        files::write(path, "capture", text.as_bytes(), Existing::Keep)?;
        let note = format!(
            "wrote {}; please look through it before you send it",
            path.display()
        );
        context.output.note(note);
    }
    let verdict = checks::worst(&checks);
    context.output.report(&Report {
        schema: "hasher.doctor/1",
        verdict,
        checks: &checks,
    })?;
    for line in text(&checks, verdict, context.output.style) {
        context.output.line(line)?;
    }
    Ok(match verdict {
        Verdict::Bad => Exit::Failed,
        Verdict::Ok | Verdict::Note | Verdict::Warning => Exit::Done,
    })
}

fn ask(socket: Option<&Path>) -> DaemonAnswer {
    Ok(daemon::connect(socket, None)?.status()?)
}

/// What went over the wires of the daemon's devices, as far as it remembers: a CPU has
/// none, and neither has a daemon of an older protocol.
fn wires(socket: Option<&Path>, status: &StatusReport) -> Vec<CaptureReport> {
    let Ok(client) = daemon::connect(socket, None) else {
        return Vec::new();
    };
    let wire = |device: &DeviceReport| {
        let json = client.document(CaptureReport::TOPIC, &device.id).ok()?;
        serde_json::from_str(&json).ok()
    };
    status.devices.iter().filter_map(wire).collect()
}

fn text(checks: &[Check], verdict: Verdict, style: Style) -> Vec<String> {
    let mut text = Vec::new();
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => style.good("ok  "),
            Verdict::Note => style.dim("note"),
            Verdict::Warning => style.bad("warn"),
            Verdict::Bad => style.bad("BAD "),
        };
        text.push(format!("{word}  {}: {}", check.name, check.text));
        if let Some(remedy) = &check.remedy {
            text.push(format!("      hint: {remedy}"));
        }
    }
    text.push(String::new());
    text.push(
        match verdict {
            Verdict::Ok | Verdict::Note => "Nothing is wrong.",
            Verdict::Warning => "It works, but something needs attention.",
            Verdict::Bad => "Something is wrong; begin with the first line marked BAD.",
        }
        .to_owned(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_stands_before_its_line_and_its_remedy_below() {
        let checks = [
            Check::new("usb", Verdict::Ok, "one board"),
            Check::new("daemon", Verdict::Bad, "not running").remedy("start it"),
        ];
        let text = text(&checks, Verdict::Bad, Style::plain(true));
        assert_eq!(
            text,
            [
                "ok    usb: one board",
                "BAD   daemon: not running",
                "      hint: start it",
                "",
                "Something is wrong; begin with the first line marked BAD.",
            ]
        );
    }
}
