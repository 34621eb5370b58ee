//! The host's side of a controller, without I/O and without a clock.
//!
//! ```text
//!  submit, cancel, pause, shutdown ──►┌──────┐──► next_token: bytes for the device
//!  on_transport: sent, bytes, faults ─►│ Host │──► next_event: news for the owner
//!  on_time ───────────────────────────►└──────┘──► wake_at
//! ```
//!
//! It owns everything that is known about one device: its layout, its FIFO, the
//! works on it, its temperature, and what to do when it misbehaves. It never waits,
//! never reads a clock and never touches a file; time comes in as an argument,
//! counted from any fixed moment. [`crate::BitmainDevice`] drives it over a transport;
//! tests drive it over a scripted peer.
//!
//! One rule serves all faults: *when in doubt about what the device holds, flush it
//! and start anew*. Searches are pure, so nothing but time is lost. Works that may
//! have been lost end as [`WorkEnd::Lost`].
//!
//! | File | Owns |
//! | --- | --- |
//! | `start` | order and timing of the first tokens |
//! | `life` | phases: starting, working, resting, paused, closing, gone |
//! | `receive` | bytes to replies to verdicts |
//! | `feed` | which works go on the wire, when they are over, when to ask |
//! | `fifo` | how full the controller is |
//! | `registry` | which work a nonce belongs to |
//! | `gate` | heat and fans |

mod feed;
mod fifo;
mod gate;
mod life;
mod receive;
mod registry;
mod start;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hasher_work::Work;

use self::feed::Feed;
use self::gate::Gate;
use self::life::Phase;
use self::receive::Receiver;
use self::start::Start;
use crate::transport::{TransportError, TransportEvent};
use crate::{
    Clock, Command, CommandKind, DeviceCounters, DeviceEvent, DeviceId, DeviceInfo, DeviceKind,
    DeviceStatus, DeviceWork, DriverError, Layout, Mishap, Model, PauseReason, Sweep, WorkEnd,
    WorkTag,
};

pub use self::gate::{COOLING_CELSIUS, HeatLimits, PAUSE_CELSIUS, RESUME_CELSIUS};

/// Longest time a transport may hold one transfer. Transports have their own limit of
/// some 200 ms; this one catches a transport that forgot.
const SEND_WITHIN: Duration = Duration::from_secs(1);

/// IN transfers that may fail in a row before the device is given up.
const IN_FAULTS_IN_A_ROW: u32 = 10;

/// An S3 without work for so long gets its slowest clock, unless told otherwise: it
/// hashes dummy work for ever once started. Long enough that pauses between batches
/// do not cost the start of a second.
pub const REST_AFTER: Duration = Duration::from_secs(60);

/// What a host must be told about a board.
#[derive(Debug, Clone)]
pub struct BoardSettings {
    id: DeviceId,
    kind: DeviceKind,
    filter_zero_bits: u32,
    clocks: [Clock; 2],
    /// In place of the one above for its model, until told otherwise.
    other_clock: Option<Clock>,
    rest_after: Option<Duration>,
    must_cool: bool,
    heat_limits: HeatLimits,
}

impl BoardSettings {
    /// A board with stock clocks whose chips report nonces of 32 zero bits.
    pub fn new(id: DeviceId, kind: DeviceKind) -> Self {
        Self {
            id,
            kind,
            filter_zero_bits: 32,
            clocks: [Model::AntminerS1, Model::AntminerS3].map(Clock::stock),
            other_clock: None,
            rest_after: Some(REST_AFTER),
            must_cool: false,
            heat_limits: HeatLimits::default(),
        }
    }

    /// The clock for boards of the clock's model.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        for slot in &mut self.clocks {
            if slot.model() == clock.model() {
                *slot = clock;
            }
        }
        self
    }

    /// How long an S3 may be without work before it rests at its slowest clock;
    /// nothing means for ever. An S1 stops by itself.
    #[must_use]
    pub const fn with_rest_after(mut self, rest_after: Option<Duration>) -> Self {
        self.rest_after = rest_after;
        self
    }

    /// Whether the board may take works only once it was seen at [`RESUME_CELSIUS`] or
    /// below, because [`Host::must_cool`] was true when it was lost.
    #[must_use]
    pub const fn with_must_cool(mut self, must_cool: bool) -> Self {
        self.must_cool = must_cool;
        self
    }

    /// When heat stops the board.
    #[must_use]
    pub const fn with_heat_limits(mut self, limits: HeatLimits) -> Self {
        self.heat_limits = limits;
        self
    }

    /// Zero bits that the chips filter for, 1 to 32. Silicon has 32; only a simulated
    /// board has less. Values outside are brought to the nearest legal one.
    #[must_use]
    pub fn with_filter_zero_bits(mut self, zero_bits: u32) -> Self {
        self.filter_zero_bits = zero_bits.clamp(1, 32);
        self
    }

    fn clock(&self, layout: Layout) -> Clock {
        let own = match layout {
            Layout::S1 => self.clocks[0],
            Layout::S3 => self.clocks[1],
        };
        let other = self.other_clock;
        other
            .filter(|other| other.model() == own.model())
            .unwrap_or(own)
    }
}

/// The host of one device.
#[derive(Debug)]
pub struct Host {
    settings: BoardSettings,
    info: DeviceInfo,
    phase: Phase,
    /// What the caller knows: paused and why.
    told_paused: Option<PauseReason>,
    told_ready: bool,
    asked_pause: bool,
    gate: Gate,
    receiver: Receiver,
    feed: Feed,
    /// Tokens that must go out before anything else; a handful at most.
    control: VecDeque<Command>,
    in_flight: Option<InFlight>,
    in_faults: u32,
    recoveries_in_a_row: u32,
    ready_since: Duration,
    slowdown: Option<f64>,
    measured: Measured,
    /// Bytes that belong to no reply, as far as the owner was told of them.
    noise_told: u64,
    counters: DeviceCounters,
    /// Drained by the owner before anything new is taken in, so that one input's
    /// events are the most it ever holds.
    events: VecDeque<DeviceEvent>,
}

/// The one OUT transfer.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    since: Duration,
}

/// The newest readings.
#[derive(Debug, Default)]
struct Measured {
    temperatures_celsius: Vec<u8>,
    fans_rpm: Vec<u32>,
    fifo_space: Option<u32>,
    nonce_errors: u32,
    told_at: Option<Duration>,
}

impl Host {
    /// A host for a device that is open and of unknown state.
    pub fn new(settings: BoardSettings, now: Duration) -> Self {
        let info = DeviceInfo {
            id: settings.id.clone(),
            kind: settings.kind,
            model: String::from("unknown"),
            firmware: String::new(),
            layout: None,
            chips_per_chain: Vec::new(),
            frequency_mhz: 0.0,
            filter_zero_bits: settings.filter_zero_bits,
            sweep: Sweep::Timer(Duration::ZERO),
            nominal_hash_rate_hps: 0.0,
        };
        Self {
            info,
            phase: Phase::Starting(Start::first(now)),
            told_paused: None,
            told_ready: false,
            asked_pause: false,
            gate: Gate::new(settings.must_cool).with_limits(settings.heat_limits),
            receiver: Receiver::unknown_layout(),
            feed: Feed::new(settings.filter_zero_bits, now),
            control: VecDeque::new(),
            in_flight: None,
            in_faults: 0,
            recoveries_in_a_row: 0,
            ready_since: now,
            slowdown: None,
            measured: Measured::default(),
            noise_told: 0,
            counters: DeviceCounters::default(),
            events: VecDeque::new(),
            settings,
        }
    }

    /// Whether [`DeviceEvent::Gone`] was told: nothing will happen any more.
    pub const fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// Whether the board must be seen at [`RESUME_CELSIUS`] or below before it takes
    /// works; true also after the end, of a board that was lost in that state.
    pub const fn must_cool(&self) -> bool {
        self.gate.reason().is_some()
    }

    /// What is known about the device; complete after [`DeviceEvent::Ready`].
    pub const fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The newest measurements and counters.
    pub fn status(&self) -> DeviceStatus {
        let mut counters = self.counters;
        counters.dropped_bytes = self.receiver.dropped_bytes();
        DeviceStatus {
            temperatures_celsius: self.measured.temperatures_celsius.clone(),
            fans_rpm: self.measured.fans_rpm.clone(),
            fifo_space: self.measured.fifo_space,
            slowdown: self.slowdown,
            nonces_tried: None,
            counters,
        }
    }

    /// How many works it would take now.
    pub fn capacity(&self) -> usize {
        match self.phase {
            Phase::Working => self.feed.capacity(),
            Phase::Resting | Phase::Starting(_) => self.feed.capacity_at_rest(),
            _ => 0,
        }
    }

    /// Whether this work can run on the device.
    pub fn can_run(&self, work: &Work) -> bool {
        self.receiver.layout() != Some(Layout::S3) || !work.midstate.is_dropped_by_s3()
    }

    /// Takes one work.
    ///
    /// # Errors
    /// [`DriverError::Full`] beyond the capacity, [`DriverError::NotRunnable`] for a
    /// work that [`can_run`](Self::can_run) refuses.
    pub fn submit(&mut self, work: DeviceWork, now: Duration) -> Result<(), DriverError> {
        if self.capacity() == 0 {
            return Err(DriverError::Full);
        }
        if !self.can_run(&work.work) {
            return Err(DriverError::NotRunnable);
        }
        self.counters.works += 1;
        self.feed.submit(work, now);
        self.end_rest(now);
        Ok(())
    }

    /// Forgets a work: no further event names its tag.
    pub fn cancel(&mut self, tag: WorkTag) {
        self.feed.cancel(tag);
        // What waits for the owner must not name it either.
        self.events.retain(|event| {
            !matches!(event,
                DeviceEvent::Hit { tag: other, .. } | DeviceEvent::Done { tag: other, .. }
                    if *other == tag)
        });
    }

    /// Tells how much slower than silicon the device's time runs.
    pub fn set_slowdown(&mut self, slowdown: Option<f64>, now: Duration) {
        self.slowdown = slowdown;
        self.feed.set_slowdown(slowdown.unwrap_or(1.0), now);
    }

    /// What the transport reports.
    pub fn on_transport(&mut self, event: TransportEvent, now: Duration) {
        if matches!(self.phase, Phase::Gone) {
            return;
        }
        match event {
            TransportEvent::Sent => {
                self.in_flight = None;
                self.after_sent();
            }
            TransportEvent::Received(bytes) => {
                self.in_faults = 0;
                self.receiver.push(&bytes, now);
                self.take_replies(now);
            }
            TransportEvent::Fault(error) => self.on_fault(error, now),
        }
    }

    fn on_fault(&mut self, error: TransportError, now: Duration) {
        let was_sending = self.in_flight.take().is_some();
        if let TransportError::Disconnected = error {
            self.give_up(DriverError::Disconnected);
        } else if was_sending {
            // Nobody knows how much of the token arrived.
            self.recover(now, error.in_words());
        } else {
            self.in_faults += 1;
            self.forget_received();
            self.tell(DeviceEvent::Mishap(Mishap::ReadFailed(error.in_words())));
            if self.in_faults == IN_FAULTS_IN_A_ROW {
                self.give_up(DriverError::Io {
                    operation: "reading from the device",
                    source: std::io::Error::other(error),
                });
            }
        }
    }

    /// Lets time pass: does whatever is due at `now`.
    pub fn on_time(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Gone) {
            return;
        }
        if let Some(in_flight) = self.in_flight
            && now >= in_flight.since + SEND_WITHIN
        {
            self.give_up(DriverError::Timeout {
                operation: "a transfer to the device",
                after: SEND_WITHIN,
            });
            return;
        }
        if self.receiver.on_time(now) {
            self.take_replies(now);
        }
        self.live(now);
        self.feed.look(now);
    }

    /// When [`on_time`](Self::on_time) next has something to do, if ever.
    pub fn wake_at(&self) -> Option<Duration> {
        if matches!(self.phase, Phase::Gone) {
            return None;
        }
        let sending = self.in_flight.map(|sent| sent.since + SEND_WITHIN);
        [sending, self.receiver.wake_at(), self.next_step_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next token to send, if one is due and none is in flight. It counts as in
    /// flight until the transport says otherwise.
    pub fn next_token(&mut self, now: Duration) -> Option<Bytes> {
        if self.in_flight.is_some() || matches!(self.phase, Phase::Gone) {
            return None;
        }
        let command = match self.control.pop_front() {
            Some(command) => command,
            None => self.next_working_command(now)?,
        };
        if matches!(command.kind(), CommandKind::Poll | CommandKind::Detect) {
            self.feed.asked(now);
        }
        self.in_flight = Some(InFlight { since: now });
        Some(command.bytes().clone())
    }

    /// The next piece of news.
    pub fn next_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }

    fn tell(&mut self, event: DeviceEvent) {
        self.events.push_back(event);
    }

    fn tell_done(&mut self, tag: WorkTag, end: WorkEnd) {
        if end == WorkEnd::Lost {
            self.counters.lost_works += 1;
        }
        self.tell(DeviceEvent::Done { tag, end });
    }
}
