//! Models for tests, from status documents as a daemon writes them.

use hasher_wire::{DeviceReport, EventBody, SessionReport, StatusReport};

use super::model::{Input, Model};
use crate::error::{CliError, Exit};
use crate::feed::Update;
use crate::style::Style;

fn several_status() -> StatusReport {
    serde_json::from_str(include_str!("../../../tests/status/several.json")).unwrap()
}

/// A model that a minute of this status has passed over.
fn of(status: StatusReport) -> Model {
    let mut model = Model::new(Style::plain(true));
    model.socket = "/run/hasher/hasherd.sock".to_owned();
    let event = Update::Event(Box::new(EventBody::Status { status }));
    model.take(Input::Update(event));
    let rate = model.hash_rate();
    // A rate that comes, wavers and stays.
    for second in 0..59u32 {
        let wave = 0.5 + f64::from(second.min(40)) / 80.0 + f64::from(second % 7) / 70.0;
        model.history.push_back((rate * wave) as u64);
    }
    model.take(Input::Second);
    model
}

/// A daemon with nothing attached.
pub fn empty() -> Model {
    let mut status = several_status();
    status.devices.clear();
    status.sessions.truncate(1);
    status.sessions[0] = SessionReport {
        id: 1,
        name: "hasher".to_owned(),
        uid: Some(1000),
        pid: Some(912),
        credits: 64,
        credits_free: 64,
        ..SessionReport::default()
    };
    status.totals = Default::default();
    of(status)
}

/// One board.
pub fn one_board() -> Model {
    let mut status = several_status();
    status.devices.truncate(1);
    of(status)
}

/// Boards that are ready, held by another, too hot and paused, and a CPU.
pub fn several() -> Model {
    of(several_status())
}

/// As many sessions as a status document holds.
pub fn many_sessions() -> Model {
    let mut status = several_status();
    status.devices.truncate(2);
    let first = status.sessions[0].clone();
    status.sessions = (1..=64u32)
        .map(|number| SessionReport {
            id: u64::from(number),
            name: format!("client {number}"),
            pid: i32::try_from(1000 + number).ok(),
            share: 1.0 / f64::from(1u32 << number.min(31)),
            jobs_live: number % 5,
            works: u64::from(number) * 1000,
            ..first.clone()
        })
        .collect();
    of(status)
}

/// Boards whose daemon went away seven seconds ago.
pub fn lost() -> Model {
    let mut model = several();
    let error = CliError::new(
        Exit::NoDaemon,
        "cannot connect to /run/hasher/hasherd.sock: connection refused, no daemon listens there",
    );
    model.take(Input::Update(Update::Lost(error)));
    for _ in 0..7 {
        model.take(Input::Second);
    }
    model
}

/// A name as long as those of a Raspberry Pi.
pub fn long_name() -> DeviceReport {
    let mut device = several_status().devices.swap_remove(0);
    device.id = "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.1".to_owned();
    device
}
