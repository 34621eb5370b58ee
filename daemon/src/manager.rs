//! Opens devices, runs a task for each, and tries again when one is gone.
//!
//! Owns the back-off timers and what the status says about absent devices. It never
//! gives a device work; [`DeviceTask`] does. The daemon starts one supervisor per
//! configured device.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hasher_driver::{DeviceId, DeviceKind, DeviceSource, DriverError, HashDevice};
use hasher_wire::{DeviceCountersReport, DeviceReport, DeviceState};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::device_task::{DeviceTask, clip, wire_kind};
use crate::error_text::one_line;
use crate::hub::Hub;
use crate::notify::Watchdog;

/// First wait before a device is opened again: a replugged board needs about that
/// long to enumerate (inferred).
const BACK_OFF_MIN: Duration = Duration::from_millis(500);

/// Longest wait, so that a board that comes back after hours is found soon.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Longest time for opening a device. A board that waits in its boot loader is
/// started first, which takes seconds (source: the driver's own bounds).
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A way to open one device, again and again.
pub trait Source: Send + Sync + 'static {
    /// The device's stable name.
    fn id(&self) -> &DeviceId;

    /// What does the hashing.
    fn kind(&self) -> DeviceKind;

    /// Opens the device. The future may be dropped at any time.
    ///
    /// # Errors
    /// Why it cannot be opened now; [`DriverError::is_retryable`] says whether
    /// trying again may help.
    fn open(&self) -> impl Future<Output = Result<Box<dyn HashDevice>, DriverError>> + Send;
}

impl Source for DeviceSource {
    fn id(&self) -> &DeviceId {
        self.id()
    }

    fn kind(&self) -> DeviceKind {
        self.kind()
    }

    fn open(&self) -> impl Future<Output = Result<Box<dyn HashDevice>, DriverError>> + Send {
        self.open()
    }
}

/// Keeps one device attached until `stop`, or until it can never be attached.
pub(crate) async fn supervise(
    source: impl Source,
    hub: Arc<Hub>,
    watchdog: Arc<Watchdog>,
    stop: CancellationToken,
) {
    let mut back_off = BACK_OFF_MIN;
    let mut attachments = 0;
    loop {
        report(
            &hub,
            &source,
            DeviceState::Starting,
            attachments,
            "being opened",
        );
        let opened = tokio::select! {
            opened = tokio::time::timeout(OPEN_TIMEOUT, source.open()) => opened,
            () = stop.cancelled() => {
                return report(&hub, &source, DeviceState::Absent, attachments, "closed");
            }
        };
        let opened = opened.unwrap_or(Err(DriverError::Timeout {
            operation: "opening",
            after: OPEN_TIMEOUT,
        }));
        let (error, was_ready) = match opened {
            Ok(device) => {
                attachments += 1;
                let task = DeviceTask::new(device, Arc::clone(&hub), watchdog.pulse(), attachments);
                let stop = stop.clone();
                // Its own tokio task, so that a panic in a driver ends the device
                // and not the daemon; the works go back to the queue either way.
                match tokio::spawn(async move { task.run(&stop).await }).await {
                    Ok(ended) => ended,
                    Err(panic) => {
                        error!(device = %source.id(), %panic, "device task failed");
                        (DriverError::Unrecoverable("its driver failed"), false)
                    }
                }
            }
            Err(error) => (error, false),
        };
        if stop.is_cancelled() || matches!(error, DriverError::Closed) {
            info!(device = %source.id(), "device closed");
            return report(&hub, &source, DeviceState::Absent, attachments, "closed");
        }
        let reason = one_line(&error);
        report(&hub, &source, DeviceState::Absent, attachments, &reason);
        if !error.is_retryable() {
            error!(device = %source.id(), error = reason, "device given up");
            return;
        }
        if was_ready {
            back_off = BACK_OFF_MIN;
        }
        warn!(device = %source.id(), error = reason, retry_ms = back_off.as_millis() as u64, "device gone");
        tokio::select! {
            () = tokio::time::sleep(back_off) => {}
            () = stop.cancelled() => return,
        }
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

/// What the status says about a device that is not open.
fn report(hub: &Hub, source: &impl Source, state: DeviceState, attachments: u32, reason: &str) {
    hub.report_device(DeviceReport {
        id: clip::<64>(&source.id().0),
        kind: wire_kind(source.kind()),
        state,
        reason: Some(clip::<128>(reason)),
        remedy: None,
        model: String::new(),
        firmware: String::new(),
        chips_per_chain: Vec::new(),
        frequency_mhz: 0.0,
        filter_zero_bits: 0,
        nominal_hash_rate_hps: 0.0,
        temperatures_celsius: Vec::new(),
        fans_rpm: Vec::new(),
        fifo_space: None,
        slowdown: None,
        works_in_flight: 0,
        attachments,
        counters: DeviceCountersReport::default(),
    });
}
