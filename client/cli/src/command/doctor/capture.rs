//! The capture that can be sent to the project: what boards and devices are like, and
//! nothing about the person.
//!
//! Owns what is left out: names of users, hosts and programs, command lines, process
//! numbers, clients; the daemon has blanked their works. What is in it can become a
//! fixture of the tests.

use hasher_wire::{CaptureReport, DeviceReport, StatusReport};
use serde::Serialize;

use super::checks::{Check, Verdict};
use super::machine::Machine;
use crate::error::CliError;

#[derive(Serialize)]
struct Capture<'a> {
    schema: &'static str,
    hasher: &'static str,
    daemon: Option<&'a str>,
    kernel: &'a str,
    boards: Vec<BoardCapture<'a>>,
    devices: Vec<&'a DeviceReport>,
    wires: Vec<CaptureReport>,
    /// How many checks had each verdict; their texts may name people.
    verdicts: Vec<(Verdict, usize)>,
}

#[derive(Serialize)]
struct BoardCapture<'a> {
    stage: &'static str,
    /// Raw, as the kernel read them.
    descriptors: String,
    speed_mbit: Option<&'a str>,
    driver: Option<&'a str>,
    power_control: Option<&'a str>,
}

/// Writes it as JSON.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn capture(
    machine: &Machine,
    status: Option<&StatusReport>,
    wires: Vec<CaptureReport>,
    checks: &[Check],
) -> Result<String, CliError> {
    let boards = machine.boards.iter().map(|board| BoardCapture {
        stage: if board.is_in_boot_loader {
            "boot loader"
        } else {
            "application"
        },
        descriptors: board
            .descriptors
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect(),
        speed_mbit: board.speed.as_deref(),
        driver: board.driver.as_deref(),
        power_control: board.power_control.as_deref(),
    });
    let count = |verdict| {
        let same = checks.iter().filter(|check| check.verdict == verdict);
        (verdict, same.count())
    };
    let capture = Capture {
        schema: "hasher.capture/1",
        hasher: env!("CARGO_PKG_VERSION"),
        daemon: status.map(|status| status.daemon.version.as_str()),
        kernel: &machine.kernel,
        boards: boards.collect(),
        devices: status.iter().flat_map(|status| &status.devices).collect(),
        wires,
        verdicts: [Verdict::Ok, Verdict::Note, Verdict::Warning, Verdict::Bad]
            .map(count)
            .into(),
    };
    serde_json::to_string_pretty(&capture)
        .map(|text| text + "\n")
        .map_err(|error| CliError::failed(format!("cannot write the capture: {error}")))
}

#[cfg(test)]
mod tests {
    use hasher_wire::SessionReport;

    use super::super::machine::{Board, Process};
    use super::*;

    #[test]
    fn a_capture_holds_the_board_and_nobody_who_uses_it() {
        let secret = "SECRET";
        let machine = Machine {
            has_usb: true,
            boards: vec![Board {
                descriptors: vec![0x12, 0x01],
                holders: vec![Process {
                    pid: 777_777,
                    name: secret.into(),
                    command: secret.into(),
                    user: secret.into(),
                    unit: Some(secret.into()),
                }],
                ..Board::default()
            }],
            kernel: "6.1".into(),
            ..Machine::default()
        };
        let status = StatusReport {
            sessions: vec![SessionReport {
                name: secret.into(),
                pid: Some(777_777),
                ..SessionReport::default()
            }],
            ..StatusReport::default()
        };
        let checks = [Check::new("x", Verdict::Bad, secret)];
        let text = capture(&machine, Some(&status), Vec::new(), &checks).unwrap();
        assert!(text.contains("\"descriptors\": \"1201\""), "{text}");
        assert!(!text.contains(secret) && !text.contains("777777"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "hasher.capture/1");
        assert_eq!(value["verdicts"][3][1], 1);
    }
}
