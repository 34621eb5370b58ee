//! Documents that a client asks for by topic.
//!
//! Owns their form; what is in them belongs to the [`Hub`](crate::hub::Hub), which makes
//! them when a session asks.

use hasher_driver::capture::{
    Capture, RECENT_BYTES_MAX, RECENT_TRANSFERS_MAX, START_BYTES_MAX, START_TRANSFERS_MAX,
    Transfer, TransferKind,
};
use hasher_wire::{
    CaptureReport, ConfigurationReport, MAX_JSON_BYTES, TransferData, TransferReport,
};
use hasher_work::to_hex;
use serde::Serialize;

/// Longest text of a transfer besides its bytes: braces, keys and two numbers.
const TRANSFER_BYTES: usize = 64;
// The largest capture fits into its frame; a byte has two digits.
const _: () = assert!(
    2 * (START_BYTES_MAX + RECENT_BYTES_MAX)
        + TRANSFER_BYTES * (START_TRANSFERS_MAX + RECENT_TRANSFERS_MAX + 2)
        <= MAX_JSON_BYTES
);

/// A document.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Document {
    /// Every setting in effect.
    Configuration(ConfigurationReport),
    /// What went over the wire of a device of late.
    Capture(CaptureReport),
}

impl Document {
    /// What is remembered of a device's wire.
    pub(crate) fn capture(device: &str, capture: &Capture) -> Self {
        Self::Capture(CaptureReport {
            device: device.to_owned(),
            start: capture.start().map(transfer).collect(),
            left_out: capture.left_out(),
            recent: capture.recent().map(transfer).collect(),
        })
    }
}

fn transfer(transfer: Transfer) -> TransferReport {
    TransferReport {
        ms: transfer.at.as_micros() as f64 / 1000.0,
        data: match transfer.kind {
            TransferKind::Out(bytes) => TransferData::Out(to_hex(&bytes)),
            TransferKind::In(bytes) => TransferData::In(to_hex(&bytes)),
            TransferKind::Fault(why) => TransferData::Fault(why.to_owned()),
        },
        times: transfer.times,
    }
}
