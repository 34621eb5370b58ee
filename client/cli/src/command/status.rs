//! `hasher status`: what the daemon and its devices are doing.

use clap::Args;
use hasher_model::ZERO_BITS_MAX as SILICON_ZERO_BITS;
use hasher_wire::{DeviceKind, DeviceReport, DeviceState, SessionReport, StatusReport};
use serde::Serialize;

use super::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::style::Style;
use crate::table::{Align, grouped, lines, metric, seconds};

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
            text.extend(device_text(device, style));
        }
    }
    text.push(String::new());
    text.push(style.bold("Sessions"));
    text.extend(session_table(&status.sessions));
    text
}

fn device_text(device: &DeviceReport, style: Style) -> Vec<String> {
    let mut text = vec![device_heading(device, style)];
    if let Some(remedy) = &device.remedy {
        text.push(format!("    hint: {remedy}"));
    }
    let mut facts = Vec::new();
    if !device.chips_per_chain.is_empty() {
        facts.push(format!("chips {}", joined(&device.chips_per_chain, "+")));
    }
    if device.frequency_mhz > 0.0 {
        facts.push(format!("clock {} MHz", device.frequency_mhz));
    }
    if device.nominal_hash_rate_hps > 0.0 {
        facts.push(format!(
            "{} in theory",
            metric(device.nominal_hash_rate_hps, "H/s")
        ));
    }
    if device.filter_zero_bits > 0 {
        facts.push(format!(
            "reports from {} zero bits",
            device.filter_zero_bits
        ));
    }
    text.extend(indented(&facts));

    let mut measured = Vec::new();
    let sensors: Vec<u8> = device
        .temperatures_celsius
        .iter()
        .copied()
        .filter(|celsius| *celsius > 0)
        .collect();
    if !sensors.is_empty() {
        measured.push(format!("temperatures {} °C", joined(&sensors, " ")));
    }
    if !device.fans_rpm.is_empty() {
        measured.push(format!("fans {} rpm", joined(&device.fans_rpm, " ")));
    }
    if let Some(slowdown) = device.slowdown {
        measured.push(pace(slowdown, device.filter_zero_bits));
    }
    text.extend(indented(&measured));

    let counters = &device.counters;
    let mut counted = vec![
        format!("works {}", grouped(counters.works)),
        format!("hits {}", grouped(counters.hits)),
        format!("in flight {}", device.works_in_flight),
    ];
    // Zero is the rule for these; only the exception is news.
    for (name, count) in [
        ("filler works", counters.filler_works),
        ("hardware errors", counters.hardware_errors),
        ("stale", counters.stale),
        ("duplicates", counters.duplicates),
        ("unknown works", counters.unknown_works),
        ("lost works", counters.lost_works),
        ("dropped bytes", counters.dropped_bytes),
        ("recoveries", counters.recoveries),
    ] {
        if count > 0 {
            counted.push(format!("{name} {}", grouped(count)));
        }
    }
    text.extend(indented(&counted));
    text
}

fn device_heading(device: &DeviceReport, style: Style) -> String {
    let state = device.state.as_str();
    let state = if device.state == DeviceState::Ready {
        style.good(state)
    } else {
        style.bad(state)
    };
    let kind = match device.kind {
        DeviceKind::Simulated => "simulated (no hardware)",
        DeviceKind::Cpu => "this computer's CPU",
        DeviceKind::Usb => "on USB",
    };
    let mut line = format!("  {}  {kind}, {state}", style.bold(&device.id));
    if let Some(reason) = &device.reason {
        line.push_str(&format!(": {reason}"));
    }
    if !device.model.is_empty() && device.kind != DeviceKind::Cpu {
        line.push_str(&format!(", {}", device.model));
    }
    if !device.firmware.is_empty() {
        line.push_str(&format!(", firmware {}", device.firmware));
    }
    line
}

/// Facts behind one another, broken so that a line fits a terminal.
fn indented(facts: &[String]) -> Vec<String> {
    const WIDTH: usize = 80;
    let mut text: Vec<String> = Vec::new();
    for fact in facts {
        match text.last_mut() {
            Some(line) if line.chars().count() + 2 + fact.chars().count() <= WIDTH => {
                line.push_str(", ");
                line.push_str(fact);
            }
            _ => text.push(format!("    {fact}")),
        }
    }
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
                printable(&session.name),
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

/// Another program chose this text; nothing in it may steer the terminal.
fn printable(text: &str) -> String {
    const NAME_MAX: usize = 24;
    text.chars()
        .take(NAME_MAX)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn joined<T: ToString>(values: &[T], between: &str) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(between)
}

/// How a simulated board keeps up with the ticks of a real one. Its chips' search is
/// made easier by the zero bits that it leaves out, which is said too.
fn pace(slowdown: f64, filter_zero_bits: u32) -> String {
    let easier = match SILICON_ZERO_BITS.saturating_sub(filter_zero_bits) {
        0 => "answers from a book".to_owned(),
        bits => format!("each search 2^{bits} times easier"),
    };
    format!("{slowdown:.1} times slower than a real board's ticks, {easier}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulated() -> DeviceReport {
        serde_json::from_str(
            r#"{"id":"sim-s3-0","kind":"simulated","state":"paused","reason":"too hot: 80 °C",
            "model":"Antminer S3","firmware":"","chips_per_chain":[16,16],"frequency_mhz":218.75,
            "filter_zero_bits":14,"nominal_hash_rate_hps":4.4e11,
            "temperatures_celsius":[80,0,79],"fans_rpm":[3600,0],"slowdown":1.04,
            "works_in_flight":3,"attachments":1,"counters":{"works":1234,"hits":1100,"stale":2}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_simulated_device_says_so_with_state_and_reason() {
        let text = device_text(&simulated(), Style::plain(true)).join("\n");
        for part in [
            "simulated (no hardware), paused: too hot: 80 °C",
            "temperatures 80 79 °C",
            "fans 3600 0 rpm",
            "1.0 times slower than a real board's ticks, each search 2^18 times easier",
            "works 1 234",
            "stale 2",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("duplicates"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

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
