//! `hasher devices`: one line for each device.

use clap::Args;
use hasher_wire::{DeviceReport, DeviceState};
use serde::Serialize;

use super::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::style::Style;
use crate::table::{Align, count, lines, metric, printable};

/// List the devices, one line each
///
/// H/S is the hash rate of the last minute, °C the hottest sensor, ERRORS the
/// hardware errors since the device was opened. What keeps a device from taking
/// work stands below the table.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher devices
  hasher --json devices | jq -r '.devices[] | select(.state == \"ready\").id'")]
pub struct DevicesArgs {}

/// The JSON answer.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    devices: &'a [DeviceReport],
}

/// Asks the daemon and prints its devices.
///
/// # Errors
/// When no daemon answers.
pub fn run(_: &DevicesArgs, context: &Context) -> Result<Exit, CliError> {
    let status = daemon::connect(context.socket.as_deref(), None)?.status()?;
    context.output.report(&Report {
        schema: "hasher.devices/1",
        devices: &status.devices,
    })?;
    for line in text(&status.devices, context.output.style) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn text(devices: &[DeviceReport], style: Style) -> Vec<String> {
    if devices.is_empty() {
        return vec![format!(
            "{} Plug a board in, or start a simulated one: `hasherd --device sim:s3`",
            style.bold("No device.")
        )];
    }
    let mut text = table(devices);
    for device in devices {
        if let Some(reason) = &device.reason {
            // It may quote the name of somebody's program.
            let reason = printable(reason, usize::MAX);
            text.push(format!("{}: {reason}", style.bold(&device.id)));
            let hint = device.remedy.iter();
            text.extend(hint.map(|remedy| format!("  hint: {remedy}")));
        }
    }
    text
}

/// 80 columns hold the usual names, such as `pci-0000:00:14.0-usb-0:2.3`; a longer
/// one gets a line of its own, for it is there to be copied.
fn table(devices: &[DeviceReport]) -> Vec<String> {
    const ID_COLUMNS: usize = 27;
    let columns = [
        ("ID", Align::Left),
        ("KIND", Align::Left),
        ("STATE", Align::Left),
        ("°C", Align::Right),
        ("H/S", Align::Right),
        ("WORKS", Align::Right),
        ("ERRORS", Align::Right),
    ];
    let is_long = |device: &DeviceReport| device.id.chars().count() > ID_COLUMNS;
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            vec![
                match is_long(device) {
                    true => String::new(),
                    false => device.id.clone(),
                },
                device.kind.as_str().to_owned(),
                device.state.as_str().to_owned(),
                hottest(device).map_or_else(String::new, |celsius| celsius.to_string()),
                rate(device),
                count(device.counters.works),
                count(device.counters.hardware_errors),
            ]
        })
        .collect();
    let mut lines = lines(&columns, &rows).into_iter();
    let mut text: Vec<String> = lines.next().into_iter().collect();
    for (device, line) in devices.iter().zip(lines) {
        if is_long(device) {
            text.push(device.id.clone());
        }
        text.push(line);
    }
    text
}

/// Of the sensors that are there.
pub fn hottest(device: &DeviceReport) -> Option<u8> {
    let sensors = device.temperatures_celsius.iter().copied();
    sensors.filter(|celsius| *celsius > 0).max()
}

/// Hash rate of the last minute; nothing where nothing can be said.
pub fn rate(device: &DeviceReport) -> String {
    match device.state {
        DeviceState::Ready | DeviceState::Paused => metric(device.hash_rate_hps.minute, ""),
        _ => String::new(),
    }
}
