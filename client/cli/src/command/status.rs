//! `hasher status`: what the daemon and its devices are doing.

use clap::Args;
use hasher_wire::{SessionReport, StatusReport};
use serde::Serialize;

use super::Context;
use super::sessions::more;
use crate::daemon;
use crate::device_text::{facts, heading};
use crate::error::{CliError, Exit};
use crate::style::Style;
use crate::table::{Align, grouped, lines, printable, seconds};

/// Show the daemon, its devices and its sessions
///
/// A simulated device is called so in every line about it. Zero devices is a
/// healthy state.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher status
  hasher --json status | jq '.devices[].temperatures_celsius'
  hasher --socket /run/hasher/hasherd.sock status")]
pub struct StatusArgs {}

/// Most characters of a client's name in the table.
const NAME_MAX: usize = 24;

/// The JSON answer.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    socket: String,
    session_protocol: String,
    #[serde(flatten)]
    status: &'a StatusReport,
}

/// Asks the daemon and prints its answer.
///
/// # Errors
/// When no daemon answers.
pub fn run(_: &StatusArgs, context: &Context) -> Result<Exit, CliError> {
    let client = daemon::connect(context.socket.as_deref(), None)?;
    let session = client.session();
    let status = client.status()?;
    let report = Report {
        schema: "hasher.status/1",
        socket: session.peer,
        session_protocol: session.version.to_string(),
        status: &status,
    };
    context.output.report(&report)?;
    for line in text(&report, context.output.style) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn text(report: &Report<'_>, style: Style) -> Vec<String> {
    let status = report.status;
    let mut text = vec![
        format!(
            "{} {}, process {}, up {}",
            style.bold("hasherd"),
            status.daemon.version,
            status.daemon.pid,
            seconds(status.daemon.uptime_s as f64)
        ),
        format!("socket    {}", report.socket),
        format!(
            "protocol  {} to {}, this session {}",
            status.protocol.min, status.protocol.max, report.session_protocol
        ),
        format!(
            "jobs      {} accepted, {} done, {} failed, {} live; {} digests",
            grouped(status.totals.jobs_accepted),
            grouped(status.totals.jobs_done),
            grouped(status.totals.jobs_failed),
            grouped(status.totals.jobs_live),
            grouped(status.totals.digests)
        ),
        String::new(),
    ];
    if status.devices.is_empty() {
        text.push(style.bold("No device."));
        text.push("  Searches are answered with \"no device\" until one is attached.".to_owned());
    } else {
        text.push(style.bold("Devices"));
        for device in &status.devices {
            let (id, heading) = (style.bold(&device.id), heading(device, style));
            text.push(format!("  {id}  {heading}"));
            text.extend(facts(device));
        }
    }
    text.push(String::new());
    text.push(style.bold("Sessions"));
    text.extend(session_table(&status.sessions));
    text.extend(more(status.sessions_left_out).map(|line| format!("  {line}")));
    text
}

fn session_table(sessions: &[SessionReport]) -> Vec<String> {
    let columns = [
        ("ID", Align::Right),
        ("NAME", Align::Left),
        ("USER", Align::Right),
        ("PROCESS", Align::Right),
        ("PROTOCOL", Align::Left),
        ("JOBS", Align::Right),
        ("WORKS", Align::Right),
        ("DIGESTS", Align::Right),
    ];
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            vec![
                session.id.to_string(),
                printable(&session.name, NAME_MAX),
                session.uid.map_or_else(String::new, |uid| uid.to_string()),
                session.pid.map_or_else(String::new, |pid| pid.to_string()),
                session.protocol.clone(),
                grouped(session.jobs_accepted),
                grouped(session.works),
                grouped(session.digests),
            ]
        })
        .collect();
    lines(&columns, &rows)
        .into_iter()
        .map(|line| format!("  {line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_steer_the_terminal_by_its_name() {
        let session = SessionReport {
            name: "\u{1b}[2Jevil\n".to_owned(),
            ..SessionReport::default()
        };
        let text = session_table(&[session]).join("\n");
        assert!(!text.contains('\u{1b}'));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn no_device_is_said_plainly() {
        let status = StatusReport::default();
        let report = Report {
            schema: "hasher.status/1",
            socket: "/x".to_owned(),
            session_protocol: "1.1".to_owned(),
            status: &status,
        };
        let text = text(&report, Style::plain(true)).join("\n");
        assert!(text.contains("No device."), "{text}");
    }
}
