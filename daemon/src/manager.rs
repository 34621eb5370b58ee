//! Opens devices, runs a task for each, and tries again when one is gone.
//!
//! Owns the life of a device outside its task: when it is opened again, and what log and
//! status say about one that is not open. Remembers what people want of it
//! (`wishes`), which outlives a replug. It never gives a device work; [`DeviceTask`]
//! does. The daemon starts one supervisor for each configured device, and
//! [`boards`](crate::boards) one for each port of a bus.
//!
//! ```text
//! absent ─► claiming ─► starting ─► ready ⇄ paused      (device task: from starting on)
//!    ▲         │ busy, denied: again each second
//!    │         │ refused: when it was replugged
//!    └─────────┴ any fault: waiting 0.5 s to 30 s, or until it is replugged
//! ```
//!
//! While the machine sleeps, every device is released; then each must answer a known
//! work before it takes others.

mod wishes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hasher_driver::{DeviceId, DeviceKind, DeviceSource, DriverError, HashDevice, Holder, Retry};
use hasher_wire::{DeviceCountersReport, DeviceReport, DeviceState, HashRateReport};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::wishes::{Interruption, News, Wishes};
use crate::device_task::{Command, DeviceTask, clip, wire_kind};
use crate::error_text::one_line;
use crate::hub::Hub;
use crate::notify::Watchdog;
use crate::time::sleep_until;

/// First wait before a device is opened again: a replugged board needs about that
/// long to enumerate (inferred).
const BACK_OFF_MIN: Duration = Duration::from_millis(500);

/// Longest wait, so that a board that comes back after hours is found soon.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// How often a device that somebody else holds, or that may not be opened, is tried. It
/// must be ours within two seconds after that ended; an attempt costs two system calls.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time for opening a device. A board that waits in its boot loader is
/// started first, which takes seconds (source: the driver's own bounds).
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What the status says of a port without a device.
const NOT_PLUGGED_IN: &str = "not plugged in";

/// What the status says of a device while the machine sleeps, or is about to.
const RELEASED: &str = "released until the machine has slept";

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

    /// Tells why the device that was opened last is gone; the next opening may begin
    /// with what helps then.
    fn note_end(&self, why: &DriverError) {
        let _ = why;
    }
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

    fn note_end(&self, why: &DriverError) {
        self.note_end(why);
    }
}

/// What a port of a bus shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Something is plugged in.
    pub(crate) is_there: bool,
    /// How often something was plugged in.
    pub(crate) arrivals: u64,
    /// How often a holder of what is plugged in let go of it. We are one of them.
    pub(crate) releases: u64,
}

/// A device's place on a bus; a device that is on none is always there.
#[derive(Debug, Clone)]
pub(crate) struct Place(Option<watch::Receiver<Presence>>);

impl Place {
    /// Follows the port of a bus. The device is forgotten when the sender is dropped.
    pub(crate) const fn port(presence: watch::Receiver<Presence>) -> Self {
        Self(Some(presence))
    }

    const fn is_on_a_bus(&self) -> bool {
        self.0.is_some()
    }

    /// What the port shows now; what it showed before is no news any more.
    fn look(&mut self) -> Presence {
        const ALWAYS: Presence = Presence {
            is_there: true,
            arrivals: 1,
            releases: 0,
        };
        let port = self.0.as_mut();
        port.map_or(ALWAYS, |presence| *presence.borrow_and_update())
    }

    /// Whether something is plugged in now; what is news stays news.
    fn is_there(&self) -> bool {
        let port = self.0.as_ref();
        port.is_none_or(|presence| presence.borrow().is_there)
    }

    fn is_forgotten(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|presence| presence.has_changed().is_err())
    }

    /// The port shows something else than at the last [`look`](Self::look), or the
    /// place is forgotten. Never without a bus.
    async fn changed(&mut self) {
        match &mut self.0 {
            Some(presence) => drop(presence.changed().await),
            None => std::future::pending().await,
        }
    }
}

/// Keeps one device that is on no bus attached until `stop`, or until it can never be.
pub(crate) async fn supervise(
    source: impl Source,
    hub: Arc<Hub>,
    watchdog: Arc<Watchdog>,
    stop: CancellationToken,
) {
    supervise_at(Place(None), source, hub, watchdog, stop).await;
}

/// Keeps the device at a place attached until `stop`, until it can never be, or until
/// the place is forgotten.
pub(crate) async fn supervise_at(
    place: Place,
    source: impl Source,
    hub: Arc<Hub>,
    watchdog: Arc<Watchdog>,
    stop: CancellationToken,
) {
    let wishes = Wishes::new(place, source.id(), &hub);
    let mut supervisor = Supervisor {
        wishes,
        source,
        hub,
        watchdog,
        attachments: 0,
        arrival: 0,
        has_been_ready: false,
        must_prove: false,
        said: None,
    };
    supervisor.run(&stop).await;
    if supervisor.wishes.place.is_forgotten() && !stop.is_cancelled() {
        supervisor.hub.forget_device(&supervisor.source.id().0);
    }
}

struct Supervisor<S> {
    wishes: Wishes,
    source: S,
    hub: Arc<Hub>,
    watchdog: Arc<Watchdog>,
    attachments: u32,
    /// Which arrival the device that is there came with.
    arrival: u64,
    /// It has been ready since it arrived.
    has_been_ready: bool,
    /// The machine slept since the device last showed that it works.
    must_prove: bool,
    /// What log and status said last, unless the device's task spoke since.
    said: Option<(DeviceState, String)>,
}

impl<S: Source> Supervisor<S> {
    async fn run(&mut self, stop: &CancellationToken) {
        let mut back_off = BACK_OFF_MIN;
        while !stop.is_cancelled() {
            if self.wishes.is_sleeping() {
                self.sleep(stop).await;
                back_off = BACK_OFF_MIN;
                continue;
            }
            if !self.wishes.place.look().is_there {
                back_off = BACK_OFF_MIN;
                if !self.await_arrival(stop).await {
                    return;
                }
                continue;
            }
            self.greet();
            let hub = Arc::clone(&self.hub);
            let open = hub.power().open_device();
            let (error, was_ready) = match self.open(stop).await {
                Some(Ok(device)) => self.attend(device, stop).await,
                Some(Err(error)) => (error, false),
                None => (DriverError::Closed, false),
            };
            drop(open);
            let error = self.judge(error, was_ready);
            let is_closed = matches!(error, DriverError::Closed);
            if !stop.is_cancelled() && is_closed && self.wishes.wants_it_open_again() {
                self.report(DeviceState::Claiming, "being opened", None, None);
                back_off = BACK_OFF_MIN;
                continue;
            }
            if stop.is_cancelled() || is_closed {
                info!(device = %self.source.id(), "device closed");
                return self.report(DeviceState::Absent, "closed", None, None);
            }
            self.explain(&error);
            if was_ready {
                back_off = BACK_OFF_MIN;
            }
            let retry = error.retry();
            let pause = match retry {
                Retry::Never => {
                    let error = one_line(&error);
                    return error!(device = %self.source.id(), error, "device given up");
                }
                Retry::Soon => Some(BUSY_INTERVAL),
                Retry::AfterReplug if self.wishes.place.is_on_a_bus() => None,
                Retry::AfterReplug | Retry::Later => {
                    let pause = back_off;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                    Some(pause)
                }
            };
            tokio::select! {
                () = sleep_until(pause.map(|pause| Instant::now() + pause)) => {}
                news = self.await_news(retry == Retry::Soon, stop) => match news {
                    Interruption::Stop => return,
                    Interruption::Place | Interruption::Sleep => {}
                    Interruption::Reset => back_off = BACK_OFF_MIN,
                },
            }
        }
    }

    /// Waits until the machine is awake again.
    async fn sleep(&mut self, stop: &CancellationToken) {
        self.must_prove = true;
        self.report(DeviceState::Paused, RELEASED, None, None);
        self.said = None;
        while self.wishes.is_sleeping() {
            if let Interruption::Stop = self.wishes.interruption(stop).await {
                return;
            }
        }
        self.report(DeviceState::Claiming, "being opened", None, None);
    }

    /// Looks at what is there; says so if it arrived since the last look.
    fn greet(&mut self) {
        let arrival = self.wishes.place.look().arrivals;
        let is_news = arrival != self.arrival;
        if is_news {
            self.arrival = arrival;
            self.has_been_ready = false;
        }
        self.announce(is_news);
    }

    /// What the end of an attachment means. Something that has been ready since it was
    /// plugged in is no stranger: it fell silent, and may speak again.
    fn judge(&mut self, error: DriverError, was_ready: bool) -> DriverError {
        if !matches!(error, DriverError::Disconnected | DriverError::NotFound(_)) {
            self.has_been_ready |= was_ready;
            // What arrived while it was opened was its own application.
            self.arrival = self.wishes.place.look().arrivals;
        }
        match error {
            DriverError::UnknownLayout if self.has_been_ready => {
                DriverError::Unrecoverable("it answers no query")
            }
            error => error,
        }
    }

    /// Waits for a reason to try again at once: something was plugged in or out, or, if
    /// the device is held, its holder let go. That it was let go is no news otherwise;
    /// most likely we did. People and the machine's sleep are reasons too.
    async fn await_news(&mut self, is_held: bool, stop: &CancellationToken) -> Interruption {
        let releases = self.wishes.place.look().releases;
        loop {
            let now = self.wishes.place.look();
            let moved = !now.is_there || now.arrivals != self.arrival;
            let is_free = is_held && now.releases != releases;
            if moved || is_free || self.wishes.place.is_forgotten() {
                return Interruption::Place;
            }
            match self.wishes.interruption(stop).await {
                Interruption::Place => {}
                other => return other,
            }
        }
    }

    /// Waits until something is plugged in; false when nobody cares any more.
    async fn await_arrival(&mut self, stop: &CancellationToken) -> bool {
        self.say(DeviceState::Absent, NOT_PLUGGED_IN, None, None);
        while !self.wishes.place.look().is_there {
            if self.wishes.place.is_forgotten() {
                return false;
            }
            match self.wishes.interruption(stop).await {
                Interruption::Stop => return false,
                Interruption::Sleep => return true,
                Interruption::Place | Interruption::Reset => {}
            }
        }
        true
    }

    /// Says that the device is about to be opened. While it keeps failing, what is wrong
    /// with it says more.
    fn announce(&mut self, is_news: bool) {
        let is_failing = matches!(&self.said, Some((state, _)) if *state != DeviceState::Absent);
        if !self.wishes.place.is_on_a_bus() {
            self.report(DeviceState::Starting, "being opened", None, None);
        } else if is_news && !is_failing {
            self.say(DeviceState::Claiming, "being opened", None, None);
        }
    }

    /// Opens the device; nothing when `stop` or the machine's sleep came first.
    async fn open(
        &mut self,
        stop: &CancellationToken,
    ) -> Option<Result<Box<dyn HashDevice>, DriverError>> {
        let opening = tokio::time::timeout(OPEN_TIMEOUT, self.source.open());
        tokio::select! {
            opened = opening => Some(opened.unwrap_or(Err(DriverError::Timeout {
                operation: "opening",
                after: OPEN_TIMEOUT,
            }))),
            () = self.wishes.stop_or_sleep(stop) => None,
        }
    }

    /// Runs the device until it is gone; says why it is, and whether it ever was ready.
    async fn attend(
        &mut self,
        mut device: Box<dyn HashDevice>,
        stop: &CancellationToken,
    ) -> (DriverError, bool) {
        self.attachments += 1;
        self.wishes.apply_to(&mut *device);
        let (task, commands) = DeviceTask::new(
            device,
            Arc::clone(&self.hub),
            self.watchdog.pulse(),
            self.attachments,
            self.must_prove,
        );
        // Its own tokio task, so that a panic in a driver ends the device and not the
        // daemon; the works go back to the queue either way.
        let close = stop.child_token();
        let mut running = {
            let close = close.clone();
            tokio::spawn(async move { task.run(&close).await })
        };
        let mut is_draining = false;
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                news = self.wishes.news(!is_draining) => match news {
                    News::Order(request) => self.wishes.obey(request, &commands, &close).await,
                    News::TrialIsOver => self.wishes.revert(&commands, "not confirmed in time"),
                    News::Sleep => {
                        is_draining = true;
                        // A task that does not take it is ending.
                        let _ = commands.try_send(Command::Drain);
                    }
                },
            }
        };
        let (error, was_ready) = ended.unwrap_or_else(|panic| {
            error!(device = %self.source.id(), %panic, "device task failed");
            (DriverError::Unrecoverable("its driver failed"), false)
        });
        self.wishes.device_ended();
        if was_ready {
            self.said = None;
            self.must_prove = false;
        }
        self.source.note_end(&error);
        (error, was_ready)
    }

    /// Says what is wrong with a device that is not open.
    fn explain(&mut self, error: &DriverError) {
        let is_on_a_bus = self.wishes.place.is_on_a_bus();
        let holder = match error {
            DriverError::Busy { by } => Some(holder(by)),
            _ => None,
        };
        let state = match error {
            DriverError::Busy { .. } => DeviceState::Busy,
            DriverError::PermissionDenied { .. } => DeviceState::Denied,
            DriverError::NotFound(_) | DriverError::Disconnected => DeviceState::Absent,
            _ if !is_on_a_bus => DeviceState::Absent,
            _ if error.retry() == Retry::AfterReplug => DeviceState::Refused,
            _ => DeviceState::Waiting,
        };
        if is_on_a_bus && state == DeviceState::Absent {
            self.say(state, NOT_PLUGGED_IN, None, None);
        } else {
            self.say(state, &one_line(error), error.remedy(), holder);
        }
    }

    /// Tells the status, and the log if it is news.
    fn say(
        &mut self,
        state: DeviceState,
        reason: &str,
        remedy: Option<String>,
        held_by: Option<String>,
    ) {
        self.report(state, reason, remedy.as_deref(), held_by);
        let said = (state, reason.to_owned());
        if self.said.as_ref() == Some(&said) {
            return;
        }
        self.said = Some(said);
        let device = self.source.id();
        match state {
            DeviceState::Claiming => info!(%device, "device found"),
            DeviceState::Absent if self.wishes.place.is_on_a_bus() => {
                info!(%device, "device not plugged in");
            }
            DeviceState::Absent => warn!(%device, error = reason, "device gone"),
            _ => {
                warn!(%device, state = state.as_str(), error = reason, remedy, "device not usable")
            }
        }
    }

    fn report(
        &self,
        state: DeviceState,
        reason: &str,
        remedy: Option<&str>,
        held_by: Option<String>,
    ) {
        self.hub.report_device(DeviceReport {
            id: clip::<64>(&self.source.id().0),
            kind: wire_kind(self.source.kind()),
            state,
            reason: Some(clip::<128>(reason)),
            held_by: held_by.map(|holder| clip::<64>(&holder)),
            remedy: remedy.map(clip::<128>),
            model: String::new(),
            firmware: String::new(),
            layout: String::new(),
            hash_rate_hps: HashRateReport::default(),
            chips_per_chain: Vec::new(),
            frequency_mhz: 0.0,
            filter_zero_bits: 0,
            nominal_hash_rate_hps: 0.0,
            temperatures_celsius: Vec::new(),
            fans_rpm: Vec::new(),
            fifo_space: None,
            slowdown: None,
            works_in_flight: 0,
            attachments: self.attachments,
            counters: DeviceCountersReport::default(),
        });
    }
}

/// Who holds a device, without the quotes of a sentence.
fn holder(by: &Holder) -> String {
    match by {
        Holder::KernelDriver(name) => format!("kernel driver {name}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
