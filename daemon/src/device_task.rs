//! The only owner of one attached device.
//!
//! Pulls works while the device has room, passes hits and ends to the
//! [`Hub`], reports the device's state, and closes it in good order. Never talks to
//! a session, never opens a device; the [`manager`](crate::manager) does and calls
//! this.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hasher_driver::{
    DeviceEvent, DeviceInfo, DeviceKind, DeviceStatus, DriverError, HashDevice, WorkEnd,
};
use hasher_wire::{
    ComputedBy, DeviceCountersReport, DeviceReport, DeviceState, HashRateReport, Text,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::core::{BUCKET, DeviceKey, HashMeter};
use crate::fault_log::FaultLog;
use crate::hub::Hub;
use crate::notify::Pulse;
use crate::time::sleep_until;

/// Measurements change all the time; the status shows them at most this old.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A device that was asked to close gets this long: its contract allows two
/// seconds, and systemd waits for the whole daemon.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Events handled before other tasks get a turn, so that a flood of news from one
/// device holds up nobody.
const EVENTS_PER_TURN: u32 = 64;

/// Most sensors, fans or chains that a report lists; a board has at most 16.
const REPORT_LIST_MAX: usize = 16;

/// One attached device and what its task knows about it.
pub(crate) struct DeviceTask {
    device: Box<dyn HashDevice>,
    hub: Arc<Hub>,
    wake: Arc<Notify>,
    pulse: Pulse,
    attached: Option<Attached>,
    attachments: u32,
    state: DeviceState,
    reason: Option<String>,
    /// The fault that the driver is at work on.
    fault: Option<String>,
    faults: FaultLog,
    /// Refused a work although it had room: asks again after its next news.
    is_sulking: bool,
    report_due: Option<Instant>,
    opened: Instant,
    /// From the moment at which it was ready.
    meter: Option<HashMeter>,
}

/// The device's place in the hub; gives its works back when the task ends, however
/// it ends.
struct Attached {
    hub: Arc<Hub>,
    key: DeviceKey,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.hub.detach(self.key);
    }
}

impl DeviceTask {
    /// A device that was just opened, for the `attachments`-th time.
    pub(crate) fn new(
        device: Box<dyn HashDevice>,
        hub: Arc<Hub>,
        pulse: Pulse,
        attachments: u32,
    ) -> Self {
        Self {
            device,
            hub,
            wake: pulse.wake(),
            pulse,
            attached: None,
            attachments,
            state: DeviceState::Starting,
            reason: None,
            fault: None,
            faults: FaultLog::default(),
            is_sulking: false,
            report_due: None,
            opened: Instant::now(),
            meter: None,
        }
    }

    /// Runs the device until it is gone and says why; `was_ready` tells whether it
    /// ever was. `stop` closes it in good order.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> (DriverError, bool) {
        let mut was_ready = false;
        let mut close_by: Option<Instant> = None;
        let mut events = 0;
        self.report();
        let error = loop {
            self.pulse.beat();
            if close_by.is_none() {
                self.fill();
            }
            let room = self.device.capacity();
            let device = &mut *self.device;
            // More room is news too, and no event tells it: a device frees the place
            // of a cancelled work in silence.
            let news = std::future::poll_fn(|cx| match device.poll_event(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending if device.capacity() > room => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            tokio::select! {
                news = news => {
                    self.is_sulking = false;
                    if let Some(event) = news && let Some(error) = self.on_event(event) {
                        break error;
                    }
                    was_ready |= self.attached.is_some();
                    events += 1;
                    if events % EVENTS_PER_TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                () = self.wake.notified() => {}
                () = sleep_until(self.report_due) => self.report(),
                () = stop.cancelled(), if close_by.is_none() => {
                    close_by = Some(Instant::now() + CLOSE_TIMEOUT);
                    self.set_state(DeviceState::Stopping, None);
                    self.device.begin_shutdown();
                }
                () = sleep_until(close_by) => {
                    break DriverError::Timeout { operation: "closing", after: CLOSE_TIMEOUT };
                }
            }
        };
        self.note_capture(); // its last words
        (error, was_ready)
    }

    /// Gives the device as many works as it takes.
    fn fill(&mut self) {
        let Some(attached) = &self.attached else {
            return;
        };
        for tag in self.hub.take_cancels(attached.key) {
            self.device.cancel(tag);
        }
        let room = self.device.capacity();
        if room == 0 || self.is_sulking {
            return;
        }
        let device = &mut self.device;
        let works = self
            .hub
            .pull(attached.key, room, |work| device.can_run(work));
        if !works.is_empty() {
            report_within(&mut self.report_due, REPORT_INTERVAL);
        }
        for work in works {
            if let Err(error) = device.submit(work) {
                let id = &device.info().id;
                debug!(device = %id, %error, "work refused");
                self.is_sulking = true;
                self.hub.give_back(work.tag);
            }
        }
    }

    /// Handles one event; returns the reason when the device is gone.
    fn on_event(&mut self, event: DeviceEvent) -> Option<DriverError> {
        match event {
            DeviceEvent::Ready => self.on_ready(),
            DeviceEvent::Hit { tag, nonce, digest } => self.hub.hit(tag, nonce, digest),
            DeviceEvent::Done { tag, end } => {
                if end == WorkEnd::Lost {
                    debug!(device = %self.device.info().id, work = tag.0, "work lost");
                }
                self.hub.done(tag, end);
            }
            DeviceEvent::Paused(reason) => {
                let id = &self.device.info().id;
                // What comes of a passing one is said when it has come.
                if reason.is_passing() {
                    debug!(device = %id, %reason, "device paused");
                } else {
                    warn!(device = %id, %reason, "device paused");
                }
                self.fault = reason.is_passing().then(|| reason.to_string());
                self.set_state(DeviceState::Paused, Some(reason.to_string()));
            }
            DeviceEvent::Resumed => {
                match self.fault.take() {
                    Some(fault) => self.note_fault(&fault),
                    None => info!(device = %self.device.info().id, "device resumed"),
                }
                self.set_state(DeviceState::Ready, None);
            }
            DeviceEvent::Mishap(mishap) => self.note_fault(&mishap.to_string()),
            DeviceEvent::Gone(error) => return Some(error),
            // Status, and news of a later driver: the report below shows them.
            _ => {}
        }
        report_within(&mut self.report_due, REPORT_INTERVAL);
        None
    }

    /// Says that the device goes on after a fault, but not too often.
    fn note_fault(&mut self, fault: &str) {
        if let Some(unsaid) = self.faults.note(Instant::now()) {
            let id = &self.device.info().id;
            warn!(device = %id, fault, unsaid, "device goes on after a fault");
        }
    }

    fn on_ready(&mut self) {
        let info = self.device.info();
        let filter_zero_bits = info.filter_zero_bits;
        let chips: u32 = info
            .chips_per_chain
            .iter()
            .map(|chips| u32::from(*chips))
            .sum();
        info!(device = %info.id, kind = info.kind.as_str(), model = info.model, chips, "device ready");
        if self.attached.is_none() {
            let by = ComputedBy {
                kind: wire_kind(info.kind),
                device: info.id.0.as_str().into(),
            };
            let key = self.hub.attach(by, info.sweep, Arc::clone(&self.wake));
            let hub = Arc::clone(&self.hub);
            self.attached = Some(Attached { hub, key });
            let before = hashes(&self.device.status(), filter_zero_bits);
            self.meter = Some(HashMeter::new(self.opened.elapsed(), before));
        }
        self.set_state(DeviceState::Ready, None);
    }

    fn set_state(&mut self, state: DeviceState, reason: Option<String>) {
        if let Some(attached) = &self.attached {
            let paused = reason.clone().filter(|_| state == DeviceState::Paused);
            self.hub.note_pause(attached.key, paused);
        }
        self.state = state;
        self.reason = reason;
        self.report();
    }

    fn report(&mut self) {
        self.report_due = None;
        let works = self
            .attached
            .as_ref()
            .map_or(0, |attached| self.hub.works_on(attached.key));
        let mut report = device_report(self.device.info(), self.state, self.attachments);
        report.reason = self.reason.as_deref().map(clip::<128>);
        report.works_in_flight = works as u32;
        let status = self.device.status();
        if let Some(meter) = &mut self.meter {
            let now = self.opened.elapsed();
            meter.note(now, hashes(&status, report.filter_zero_bits));
            report.hash_rate_hps = meter.rates(now);
            if !meter.is_at_rest(now) {
                // The rate fades, also when there is no other news.
                report_within(&mut self.report_due, BUCKET);
            }
        }
        add_status(&mut report, status);
        self.note_capture();
        self.hub.report_device(report);
    }

    fn note_capture(&self) {
        if let Some(capture) = self.device.capture() {
            let id = clip::<64>(&self.device.info().id.0);
            self.hub.note_capture(&id, capture);
        }
    }
}

/// Hashes that a device has done: counted, or as many as it takes on average to find what
/// it has found.
fn hashes(status: &DeviceStatus, filter_zero_bits: u32) -> u64 {
    let found = status.counters.hits + status.counters.stale;
    let for_each = 1u64.checked_shl(filter_zero_bits).unwrap_or(u64::MAX);
    let estimated = || found.saturating_mul(for_each);
    status.nonces_tried.unwrap_or_else(estimated)
}

/// Brings the next report forward if it is due later than that, or not at all.
fn report_within(due: &mut Option<Instant>, time: Duration) {
    let at = Instant::now() + time;
    *due = Some(due.map_or(at, |due| due.min(at)));
}

/// The protocol's word for what does the hashing.
pub(crate) const fn wire_kind(kind: DeviceKind) -> hasher_wire::DeviceKind {
    match kind {
        DeviceKind::Usb => hasher_wire::DeviceKind::Usb,
        DeviceKind::Simulated => hasher_wire::DeviceKind::Simulated,
        DeviceKind::Cpu => hasher_wire::DeviceKind::Cpu,
    }
}

fn device_report(info: &DeviceInfo, state: DeviceState, attachments: u32) -> DeviceReport {
    DeviceReport {
        id: clip::<64>(&info.id.0),
        kind: wire_kind(info.kind),
        state,
        reason: None,
        held_by: None,
        remedy: None,
        model: clip::<64>(&info.model),
        firmware: clip::<64>(&info.firmware),
        layout: info
            .layout
            .map(|layout| layout.to_string())
            .unwrap_or_default(),
        chips_per_chain: bounded(info.chips_per_chain.clone()),
        frequency_mhz: finite(info.frequency_mhz),
        filter_zero_bits: info.filter_zero_bits,
        nominal_hash_rate_hps: finite(info.nominal_hash_rate_hps),
        hash_rate_hps: HashRateReport::default(),
        temperatures_celsius: Vec::new(),
        fans_rpm: Vec::new(),
        fifo_space: None,
        slowdown: None,
        works_in_flight: 0,
        attachments,
        counters: DeviceCountersReport::default(),
    }
}

fn add_status(report: &mut DeviceReport, status: DeviceStatus) {
    report.temperatures_celsius = bounded(status.temperatures_celsius);
    report.fans_rpm = bounded(status.fans_rpm);
    report.fifo_space = status.fifo_space;
    report.slowdown = status.slowdown.map(finite);
    let counters = status.counters;
    report.counters = DeviceCountersReport {
        works: counters.works,
        filler_works: counters.filler_works,
        hits: counters.hits,
        hardware_errors: counters.hardware_errors,
        stale: counters.stale,
        duplicates: counters.duplicates,
        unknown_works: counters.unknown_works,
        lost_works: counters.lost_works,
        dropped_bytes: counters.dropped_bytes,
        recoveries: counters.recoveries,
    };
}

/// A text short enough for a status document.
pub(crate) fn clip<const MAX: usize>(text: &str) -> String {
    Text::<MAX>::new(text).to_string()
}

/// A list short enough for a status document.
fn bounded<T>(mut list: Vec<T>) -> Vec<T> {
    list.truncate(REPORT_LIST_MAX);
    list
}

/// A number that JSON can write.
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}
