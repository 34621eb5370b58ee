//! The only owner of one attached device.
//!
//! Pulls works while the device has room, passes hits and ends to the
//! [`Hub`], reports the device's state, and closes it in good order. Never talks to
//! a session, never opens a device; the [`manager`](crate::manager) does and calls
//! this.

use std::sync::Arc;
use std::time::Duration;

use hasher_driver::{
    Clock, DeviceEvent, DeviceInfo, DeviceKind, DeviceStatus, DriverError, HashDevice, PauseReason,
    Sweep, WorkEnd, next_event_or_room,
};
use hasher_wire::{
    ComputedBy, DeviceCountersReport, DeviceReport, DeviceState, HashRateReport, Status, Text,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::core::{BUCKET, CallError, DeviceKey, HashMeter};
use crate::fault_log::FaultLog;
use crate::hub::Hub;
use crate::notify::Pulse;
use crate::proof::{Proof, is_of_a_proof};
use crate::time::sleep_until;

/// Measurements change all the time; the status shows them at most this old.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A device that was asked to close gets this long: its contract allows two
/// seconds, and systemd waits for the whole daemon.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Works on a device that is to be closed before the machine sleeps get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Commands that may wait for a device task; its supervisor sends them one by one.
const COMMANDS_WAITING_MAX: usize = 8;

/// What the status says of a device that has not shown yet that it works.
const PROVING: &str = "answering a known work first, after the machine slept";

/// Events handled before other tasks get a turn, so that a flood of news from one
/// device holds up nobody.
const EVENTS_PER_TURN: u32 = 64;

/// Most sensors, fans or chains that a report lists; a board has at most 16.
const REPORT_LIST_MAX: usize = 16;

/// What the supervisor tells the task of its device.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take no works, or take them again.
    Pause(bool),
    /// Run at another clock than the device's settings say, or at theirs.
    Clock(Option<Clock>),
    /// Run at so many MHz, if that is a clock of the device's model; answers with it.
    TryClock(f64, oneshot::Sender<Result<Clock, CallError>>),
    /// Finish what the device has, as far as it takes 2 s, then close it.
    Drain,
}

/// The supervisor's end of the channel to the task of its device.
pub(crate) type Commands = mpsc::Sender<Command>;

/// How far the end of a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Not,
    /// Takes no new works.
    Draining {
        until: Instant,
    },
    /// The device was asked to close.
    Asked {
        until: Instant,
    },
}

/// One attached device and what its task knows about it.
pub(crate) struct DeviceTask {
    device: Box<dyn HashDevice>,
    commands: mpsc::Receiver<Command>,
    hub: Arc<Hub>,
    wake: Arc<Notify>,
    pulse: Pulse,
    attached: Option<Attached>,
    attachments: u32,
    /// Whether it must answer a known work before any other.
    must_prove: bool,
    proof: Option<Proof>,
    closing: Closing,
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
    /// A device that was just opened, for the `attachments`-th time, and the way to
    /// command it. `must_prove` asks it to answer a known work first.
    pub(crate) fn new(
        device: Box<dyn HashDevice>,
        hub: Arc<Hub>,
        pulse: Pulse,
        attachments: u32,
        must_prove: bool,
    ) -> (Self, Commands) {
        let (sender, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
        let task = Self {
            device,
            commands,
            hub,
            wake: pulse.wake(),
            pulse,
            attached: None,
            attachments,
            must_prove,
            proof: None,
            closing: Closing::Not,
            state: DeviceState::Starting,
            reason: None,
            fault: None,
            faults: FaultLog::default(),
            is_sulking: false,
            report_due: None,
            opened: Instant::now(),
            meter: None,
        };
        (task, sender)
    }

    /// Runs the device until it is gone and says why; `was_ready` tells whether it
    /// ever was. `stop` closes it in good order.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> (DriverError, bool) {
        let mut was_ready = false;
        let mut events = 0;
        self.report();
        let error = loop {
            self.pulse.beat();
            if self.is_about_to_pull() {
                // After a stall, whoever called meanwhile is heard first.
                tokio::task::yield_now().await;
            }
            self.fill();
            let closing = self.closing;
            let is_drained = closing != Closing::Not && self.works() == 0;
            let news = next_event_or_room(&mut *self.device);
            tokio::select! {
                news = news => {
                    self.is_sulking = false;
                    if let Some(event) = news && let Some(error) = self.on_event(event) {
                        break error;
                    }
                    was_ready |= self.attached.is_some() && self.proof.is_none();
                    events += 1;
                    if events % EVENTS_PER_TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                () = self.wake.notified() => {}
                () = sleep_until(self.report_due) => self.report(),
                Some(command) = self.commands.recv() => self.obey(command),
                () = sleep_until(self.proof.as_ref().and_then(Proof::until)) => {
                    break DriverError::Unrecoverable("it does not answer a known work");
                }
                () = stop.cancelled(), if !matches!(closing, Closing::Asked { .. }) => self.close(),
                () = drained(closing, is_drained) => self.close(),
                () = closed_too_late(closing) => {
                    break DriverError::Timeout { operation: "closing", after: CLOSE_TIMEOUT };
                }
            }
        };
        self.note_capture(); // its last words
        (error, was_ready)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Pause(paused) => self.device.set_paused(paused),
            Command::Clock(clock) => {
                if let Err(error) = self.device.set_clock(clock) {
                    warn!(device = %self.device.info().id, %error, "clock not set");
                }
            }
            Command::TryClock(mhz, answer) => {
                // The supervisor may have lost interest: its device task ended.
                let _ = answer.send(self.try_clock(mhz));
            }
            Command::Drain => {
                if self.closing == Closing::Not {
                    let until = Instant::now() + DRAIN_TIMEOUT;
                    self.closing = Closing::Draining { until };
                    self.set_state(DeviceState::Stopping, None);
                }
            }
        }
    }

    fn try_clock(&mut self, mhz: f64) -> Result<Clock, CallError> {
        let info = self.device.info();
        let Some(layout) = info.layout else {
            return Err(match info.kind {
                DeviceKind::Cpu => CallError::NotSupported("a CPU has no clock to set".to_owned()),
                DeviceKind::Usb | DeviceKind::Simulated => {
                    let why = format!("{} is still starting; try again in a moment", info.id);
                    CallError::failed(Status::Busy, why)
                }
            });
        };
        let clock = Clock::new(layout.model(), mhz);
        let set = clock.and_then(|clock| {
            self.device.set_clock(Some(clock))?;
            Ok(clock)
        });
        set.map_err(|error| match error {
            DriverError::NotSupported(why) => CallError::NotSupported(why.to_owned()),
            error => CallError::failed(Status::Invalid, error.to_string()),
        })
    }

    fn close(&mut self) {
        let until = Instant::now() + CLOSE_TIMEOUT;
        self.closing = Closing::Asked { until };
        self.set_state(DeviceState::Stopping, None);
        self.device.begin_shutdown();
    }

    /// Whether it may take works from the queue that nothing urgent can overtake then.
    fn is_about_to_pull(&self) -> bool {
        let is_timed = matches!(self.device.info().sweep, Sweep::Timer(_));
        is_timed && self.attached.is_some() && self.device.capacity() > 0
    }

    /// Gives the device as many works as it takes.
    fn fill(&mut self) {
        if let Some(proof) = &mut self.proof {
            while self.device.capacity() > 0 && self.closing == Closing::Not {
                let work = proof.next_work();
                if self.device.submit(work).is_err() {
                    return proof.ended(work.tag);
                }
            }
            return;
        }
        let Some(attached) = &self.attached else {
            return;
        };
        for tag in self.hub.take_cancels(attached.key) {
            self.device.cancel(tag);
        }
        let room = self.device.capacity();
        if room == 0 || self.is_sulking || self.closing != Closing::Not {
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
            DeviceEvent::Hit { tag, nonce, digest } if is_of_a_proof(tag) => {
                let proof = self.proof.as_ref();
                if proof.is_some_and(|proof| proof.is_proven_by(tag, nonce, &digest)) {
                    self.on_proven();
                }
            }
            DeviceEvent::Done { tag, .. } if is_of_a_proof(tag) => {
                if let Some(proof) = &mut self.proof {
                    proof.ended(tag);
                }
            }
            DeviceEvent::Hit { tag, nonce, digest } => self.hub.hit(tag, nonce, digest),
            DeviceEvent::Done { tag, end } => {
                if end == WorkEnd::Lost {
                    debug!(device = %self.device.info().id, work = tag.0, "work lost");
                }
                self.hub.done(tag, end);
            }
            DeviceEvent::Paused(reason) => {
                let id = &self.device.info().id;
                match reason {
                    // What comes of it is said when it has come.
                    _ if reason.is_passing() => debug!(device = %id, %reason, "device paused"),
                    PauseReason::Asked | PauseReason::Configuring => {
                        info!(device = %id, %reason, "device paused");
                    }
                    _ => warn!(device = %id, %reason, "device paused"),
                }
                self.fault = reason.is_passing().then(|| reason.to_string());
                if let Some(proof) = &mut self.proof {
                    proof.pause();
                }
                self.set_state(DeviceState::Paused, Some(reason.to_string()));
            }
            DeviceEvent::Resumed => {
                match self.fault.take() {
                    Some(fault) => self.note_fault(&fault),
                    None => info!(device = %self.device.info().id, "device resumed"),
                }
                if let Some(proof) = &mut self.proof {
                    proof.resume();
                }
                self.set_ready();
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
        if self.must_prove {
            self.proof = Some(Proof::new(self.device.info()));
        }
        self.set_ready();
    }

    fn on_proven(&mut self) {
        info!(device = %self.device.info().id, "device answered a known work");
        self.must_prove = false;
        if let Some(proof) = self.proof.take() {
            for tag in proof.into_works() {
                self.device.cancel(tag);
            }
        }
        self.set_ready();
    }

    /// It takes works, once it has shown that it works.
    fn set_ready(&mut self) {
        match self.proof {
            None => self.set_state(DeviceState::Ready, None),
            Some(_) => self.set_state(DeviceState::Starting, Some(PROVING.to_owned())),
        }
    }

    fn set_state(&mut self, state: DeviceState, reason: Option<String>) {
        if self.closing != Closing::Not && state != DeviceState::Stopping {
            return; // what it says on its way out is no news
        }
        if let Some(attached) = &self.attached {
            let paused = reason.clone().filter(|_| state == DeviceState::Paused);
            self.hub.note_pause(attached.key, paused);
        }
        self.state = state;
        self.reason = reason;
        self.report();
    }

    /// Works of jobs that the device has.
    fn works(&self) -> usize {
        let attached = self.attached.as_ref();
        attached.map_or(0, |attached| self.hub.works_on(attached.key))
    }

    fn report(&mut self) {
        self.report_due = None;
        let works = self.works();
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

/// Resolves when a draining device has nothing left to finish, or no time.
async fn drained(closing: Closing, has_no_works: bool) {
    match closing {
        Closing::Draining { .. } if has_no_works => {}
        Closing::Draining { until } => tokio::time::sleep_until(until).await,
        Closing::Not | Closing::Asked { .. } => std::future::pending().await,
    }
}

/// Resolves when a device that was asked to close has not.
async fn closed_too_late(closing: Closing) {
    match closing {
        Closing::Asked { until } => tokio::time::sleep_until(until).await,
        Closing::Not | Closing::Draining { .. } => std::future::pending().await,
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
