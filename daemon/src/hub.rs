//! Where sessions and device tasks meet.
//!
//! Owns the [`Scheduler`] behind one short lock, the reply channels of the sessions
//! and the newest reports of the devices. It never waits while it holds the lock and
//! never touches a socket or a device. Sessions submit and cancel here; device tasks
//! pull and report here; whatever that brings about (answers, wake-ups, the next
//! deadline) is passed on before the lock is released.
//!
//! The lock is shared by tasks of one thread and held for microseconds; a channel
//! to a scheduler task would add a hop to every job and nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hasher_driver::capture::Capture;
use hasher_driver::{DeviceWork, Sweep, WorkEnd, WorkTag};
use hasher_wire::{
    CaptureReport, ComputedBy, ConfigurationReport, DaemonReport, DeviceReport, JobRequest,
    ProtocolReport, RequestId, SessionReport, StatusReport, TotalsReport, Version,
};
use hasher_work::{Digest, Nonce, Work};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::error;

use crate::core::{
    Answer, Credits, DeviceKey, JobError, Limits, SESSIONS_DEFAULT, Scheduler, SessionId, Terms,
};
use crate::document::Document;
use crate::eager::Eager;
use crate::fault_log::FaultLog;
use crate::orders::Orders;
use crate::power::Power;
use crate::time::sleep_until;

/// Sessions that fit into a status document whatever their reports and those of the
/// devices say; a test of the session adds the longest up.
pub(crate) const STATUS_SESSIONS: usize = SESSIONS_DEFAULT;

/// Sessions that fit if all reports are short.
const STATUS_SESSIONS_MAX: usize = 256;

/// The newest report of every configured device, by name.
pub(crate) type Inventory = BTreeMap<String, DeviceReport>;

/// See the [module](self).
pub(crate) struct Hub {
    started: Instant,
    state: Mutex<State>,
    inventory: watch::Sender<Inventory>,
    /// The ways to the devices' supervisors.
    orders: Orders,
    power: Power,
    /// Wakes the clock when an earlier deadline came up.
    clock: Notify,
    /// What was said of clients that misbehave.
    complaints: Mutex<FaultLog>,
    /// Wakes waiting [`Hub::idle`] calls when the last job ended.
    idle: Notify,
    /// Wakes the one that waits in [`Hub::sessions_changed`].
    sessions_changed: Notify,
    /// Wakes the one that waits in [`Hub::counters_changed`].
    counters_changed: Notify,
    eager: Eager,
    /// Counts those that [`Hub::status_reader`] has handed out.
    status_readers: Arc<()>,
}

struct State {
    scheduler: Scheduler,
    sessions: BTreeMap<SessionId, SessionEntry>,
    /// Credits that the sessions were promised together.
    promised: usize,
    devices: HashMap<DeviceKey, Arc<Notify>>,
    clock_set_to: Option<Duration>,
    configuration: ConfigurationReport,
    /// What went over the wire of each device when it was last reported.
    captures: BTreeMap<String, Capture>,
}

struct SessionEntry {
    report: SessionReport,
    answers: mpsc::Sender<Answer>,
    terms: Terms,
}

impl Hub {
    /// Without sessions and devices.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            state: Mutex::new(State {
                scheduler: Scheduler::new(),
                sessions: BTreeMap::new(),
                promised: 0,
                devices: HashMap::new(),
                clock_set_to: None,
                configuration: ConfigurationReport::default(),
                captures: BTreeMap::new(),
            }),
            inventory: watch::Sender::default(),
            orders: Orders::default(),
            power: Power::new(),
            clock: Notify::new(),
            complaints: Mutex::default(),
            idle: Notify::new(),
            sessions_changed: Notify::new(),
            counters_changed: Notify::new(),
            eager: Eager::default(),
            status_readers: Arc::default(),
        })
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside the lock is a bug that the log has; the state is still the
        // best there is, and refusing to go on would answer nobody.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who keeps the thread awake for quick clients.
    pub(crate) const fn eager(&self) -> &Eager {
        &self.eager
    }

    /// Runs `change` and passes on what it brought about.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        for answer in state.scheduler.take_answers() {
            state.deliver(answer);
        }
        if state.scheduler.take_news_for_devices() {
            for device in state.devices.values() {
                device.notify_one();
            }
        }
        let next = state.scheduler.next_expiry();
        let is_earlier = |next| state.clock_set_to.is_none_or(|set_to| next < set_to);
        if next.is_some_and(is_earlier) {
            self.clock.notify_one();
        }
        if state.scheduler.live_jobs() == 0 {
            self.idle.notify_waiters();
        }
        self.counters_changed.notify_one();
        result
    }

    /// Puts settings into effect, and says which they are.
    pub(crate) fn configure(&self, limits: Limits, report: ConfigurationReport) {
        let mut state = self.lock();
        state.scheduler.set_limits(limits);
        state.configuration = report;
    }

    /// What clients may have now.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(self.lock().scheduler.limits())
    }

    // ---- for sessions ----

    /// Opens a session with what its user may have now; its answers come through the
    /// receiver, which has a place for each credit.
    pub(crate) fn open_session(
        &self,
        mut report: SessionReport,
    ) -> (SessionId, Terms, mpsc::Receiver<Answer>) {
        let mut state = self.lock();
        let terms = state.scheduler.limits().terms(report.uid, state.promised);
        state.promised += usize::from(terms.credits);
        let (answers, receiver) = mpsc::channel(terms.credits.into());
        let id = state.scheduler.open_session(report.uid);
        report.id = id.0;
        (report.credits, report.credits_free) = (terms.credits, terms.credits);
        let entry = SessionEntry {
            report,
            answers,
            terms,
        };
        state.sessions.insert(id, entry);
        self.sessions_changed.notify_one();
        (id, terms, receiver)
    }

    /// Ends a session; what it asked for is forgotten.
    pub(crate) fn close_session(&self, id: SessionId) {
        self.change(|state| {
            if let Some(session) = state.sessions.remove(&id) {
                state.promised -= usize::from(session.terms.credits);
            }
            state.scheduler.close_session(id);
        });
        self.sessions_changed.notify_one();
    }

    /// Takes the jobs of one request in, each for one credit; returns those that
    /// are refused, by place and reason.
    pub(crate) fn submit(
        &self,
        session: SessionId,
        request: RequestId,
        jobs: &[JobRequest],
        credits: &mut Credits,
    ) -> Vec<(u16, JobError)> {
        let now = self.now();
        self.change(|state| {
            let Some(terms) = state.sessions.get(&session).map(|entry| entry.terms) else {
                return Vec::new(); // it ended, so nobody waits for an answer
            };
            let mut refused = Vec::new();
            for (index, job) in (0..).zip(jobs) {
                if !credits.take() {
                    refused.push((index, JobError::Busy(terms.credits)));
                    continue;
                }
                let allowed = match job.deadline_ms {
                    0 => terms.deadline_default,
                    ms => Duration::from_millis(ms.into()).min(terms.deadline_max),
                };
                let address = (request, index);
                let submitted = state
                    .scheduler
                    .submit(session, address, job, now, now + allowed);
                if let Err(error) = submitted {
                    credits.give_back();
                    refused.push((index, error));
                }
            }
            refused
        })
    }

    /// Gives up one job of a request, or all.
    pub(crate) fn cancel(&self, session: SessionId, request: RequestId, index: Option<u16>) {
        self.change(|state| state.scheduler.cancel(session, request, index));
    }

    /// A client misbehaved. If the log is to say so: how many were not said before.
    pub(crate) fn note_complaint(&self) -> Option<u64> {
        let complaints = self.complaints.lock();
        let mut complaints = complaints.unwrap_or_else(PoisonError::into_inner);
        complaints.note(Instant::now())
    }

    /// Tells the status how many credits a session has left.
    pub(crate) fn note_credits(&self, id: SessionId, free: u16) {
        if let Some(session) = self.lock().sessions.get_mut(&id) {
            session.report.credits_free = free;
        }
        self.counters_changed.notify_one();
    }

    /// Counts requests that were refused at once.
    pub(crate) fn count_refused(&self, id: SessionId, refused: usize) {
        let mut state = self.lock();
        state.scheduler.totals.refused += refused as u64;
        if let Some(session) = state.sessions.get_mut(&id) {
            session.report.refused += refused as u64;
        }
        self.counters_changed.notify_one();
    }

    /// Counts digests that were computed for a session.
    pub(crate) fn count_digests(&self, id: SessionId, messages: usize, bytes: u64) {
        let mut state = self.lock();
        state.scheduler.totals.digests += messages as u64;
        state.scheduler.totals.digest_bytes += bytes;
        if let Some(session) = state.sessions.get_mut(&id) {
            session.report.digests += messages as u64;
        }
        self.counters_changed.notify_one();
    }

    /// The status document.
    pub(crate) fn status(&self) -> StatusReport {
        let now = self.now();
        let state = self.lock();
        let sessions = state.session_reports(now);
        let mut status = StatusReport {
            sessions_left_out: (state.sessions.len() - sessions.len()) as u64,
            daemon: DaemonReport {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_s: self.now().as_secs(),
            },
            protocol: ProtocolReport {
                min: Version::OLDEST.to_string(),
                max: Version::NEWEST.to_string(),
            },
            devices: self.inventory.borrow().values().cloned().collect(),
            sessions,
            totals: state.totals(),
        };
        drop(state);
        if status.sessions.len() > STATUS_SESSIONS {
            status.leave_out_sessions();
            status.sessions.sort_unstable_by_key(|session| session.id);
        }
        status
    }

    /// For one that is told the status again and again, to keep as long as it is.
    pub(crate) fn status_reader(&self) -> Arc<()> {
        Arc::clone(&self.status_readers)
    }

    /// How many are told the status.
    pub(crate) fn status_readers(&self) -> usize {
        Arc::strong_count(&self.status_readers) - 1
    }

    /// One session of the status document.
    pub(crate) fn session_report(&self, id: SessionId) -> Option<SessionReport> {
        self.lock().session_report(id, self.now())
    }

    /// Open sessions, oldest first.
    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        self.lock().sessions.keys().copied().collect()
    }

    /// The sums of the status document.
    pub(crate) fn totals(&self) -> TotalsReport {
        self.lock().totals()
    }

    /// Returns when a session came or went since the last call. For one task only.
    pub(crate) async fn sessions_changed(&self) {
        self.sessions_changed.notified().await;
    }

    /// Returns when what the status says of sessions and sums may have changed since the
    /// last call. For one task only.
    pub(crate) async fn counters_changed(&self) {
        self.counters_changed.notified().await;
    }

    /// A document by its topic.
    ///
    /// # Errors
    /// [`JobError::NoDocument`] when the daemon has none of this topic.
    pub(crate) fn document(&self, topic: &str, argument: &str) -> Result<Document, JobError> {
        let state = self.lock();
        let none = || JobError::NoDocument(format!("{topic} {argument}"));
        match (topic, argument) {
            (ConfigurationReport::TOPIC, "") => {
                Ok(Document::Configuration(state.configuration.clone()))
            }
            (CaptureReport::TOPIC, device) => {
                let capture = state.captures.get(device).ok_or_else(none)?;
                Ok(Document::capture(device, capture))
            }
            _ => Err(none()),
        }
    }

    /// Follows the reports of the devices; always the newest, never a backlog.
    pub(crate) fn watch_inventory(&self) -> watch::Receiver<Inventory> {
        self.inventory.subscribe()
    }

    /// What people order devices to do.
    pub(crate) const fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Whether the machine is about to sleep.
    pub(crate) const fn power(&self) -> &Power {
        &self.power
    }

    // ---- for device tasks ----

    /// A device is about to come, so jobs may wait for it.
    pub(crate) fn expect_device(&self) {
        let now = self.now();
        self.change(|state| state.scheduler.expect_device(now));
    }

    /// A device is ready; `wake` is notified when there may be works for it.
    pub(crate) fn attach(&self, by: ComputedBy, sweep: Sweep, wake: Arc<Notify>) -> DeviceKey {
        self.change(|state| {
            let key = state.scheduler.attach(by, sweep);
            state.devices.insert(key, wake);
            key
        })
    }

    /// A device is gone; its works return to the queue.
    pub(crate) fn detach(&self, key: DeviceKey) {
        let now = self.now();
        self.change(|state| {
            state.devices.remove(&key);
            state.scheduler.detach(key, now);
        });
    }

    /// A device takes no works for this reason, or takes them again.
    pub(crate) fn note_pause(&self, key: DeviceKey, reason: Option<String>) {
        self.lock().scheduler.note_pause(key, reason);
    }

    /// Works for a device, in fair order, and works that it should forget first.
    pub(crate) fn pull(
        &self,
        key: DeviceKey,
        room: usize,
        can_run: impl Fn(&Work) -> bool,
    ) -> Vec<DeviceWork> {
        let now = self.now();
        self.change(|state| state.scheduler.pull(key, room, now, can_run))
    }

    /// Works that a device should forget.
    pub(crate) fn take_cancels(&self, key: DeviceKey) -> Vec<WorkTag> {
        self.lock().scheduler.take_cancels(key)
    }

    /// A device did not take a pulled work after all.
    pub(crate) fn give_back(&self, tag: WorkTag) {
        self.change(|state| state.scheduler.give_back(tag));
    }

    /// A device found a nonce.
    pub(crate) fn hit(&self, tag: WorkTag, nonce: Nonce, digest: Digest) {
        self.change(|state| state.scheduler.hit(tag, nonce, digest));
    }

    /// A work ended on its device.
    pub(crate) fn done(&self, tag: WorkTag, end: WorkEnd) {
        self.change(|state| state.scheduler.done(tag, end));
    }

    /// Works of jobs that a device holds now.
    pub(crate) fn works_on(&self, key: DeviceKey) -> usize {
        self.lock().scheduler.works_on(key)
    }

    /// Publishes a device's newest report.
    pub(crate) fn report_device(&self, report: DeviceReport) {
        self.inventory.send_if_modified(|inventory| {
            if inventory.get(&report.id) == Some(&report) {
                return false;
            }
            inventory.insert(report.id.clone(), report);
            true
        });
    }

    /// Notes what went over a device's wire of late.
    pub(crate) fn note_capture(&self, id: &str, capture: Capture) {
        self.lock().captures.insert(id.to_owned(), capture);
    }

    /// Forgets a device that will not come back.
    pub(crate) fn forget_device(&self, id: &str) {
        self.lock().captures.remove(id);
        self.inventory
            .send_if_modified(|inventory| inventory.remove(id).is_some());
    }

    // ---- time and end ----

    /// Fails what is overdue, for as long as it is polled.
    pub(crate) async fn run_clock(&self) {
        loop {
            let now = self.now();
            let next = self.change(|state| {
                state.scheduler.expire(now);
                state.clock_set_to = state.scheduler.next_expiry();
                state.clock_set_to
            });
            tokio::select! {
                () = sleep_until(next.map(|next| self.started + next)) => {}
                () = self.clock.notified() => {}
            }
        }
    }

    /// What the daemon as a whole does, in one word.
    pub(crate) fn state(&self) -> &'static str {
        if self.lock().scheduler.is_draining() {
            "stopping"
        } else if self.power.is_sleeping() {
            "suspended"
        } else {
            "running"
        }
    }

    /// Accepts no more jobs.
    pub(crate) fn begin_drain(&self) {
        self.change(|state| state.scheduler.begin_drain());
    }

    /// Answers every job that is left.
    pub(crate) fn fail_all(&self, error: &JobError) {
        self.change(|state| state.scheduler.fail_all(error));
    }

    /// Returns when no job waits or is worked on.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.lock().scheduler.live_jobs() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Jobs that wait or are worked on.
    #[cfg(test)]
    pub(crate) fn live_jobs(&self) -> usize {
        let state = self.lock();
        state.scheduler.assert_consistent();
        state.scheduler.live_jobs()
    }

    /// Devices that are known, open or not.
    pub(crate) fn devices(&self) -> usize {
        self.inventory.borrow().len()
    }

    /// The machine has slept: devices may be opened again, and jobs wait for them.
    pub(crate) fn wake(&self) {
        self.expect_device();
        self.power.set_sleeping(false);
    }

    /// Sessions that are open.
    pub(crate) fn sessions(&self) -> usize {
        self.lock().sessions.len()
    }
}

impl State {
    fn session_report(&self, id: SessionId, now: Duration) -> Option<SessionReport> {
        let entry = self.sessions.get(&id)?;
        let counters = self.scheduler.session_counters(id);
        Some(SessionReport {
            jobs_accepted: counters.accepted,
            jobs_done: counters.done,
            jobs_failed: counters.failed,
            jobs_live: counters.live as u32,
            share: self.scheduler.share(id, now),
            works: counters.works,
            ..entry.report.clone()
        })
    }

    /// The sessions with the most live jobs, of equals the oldest.
    fn session_reports(&self, now: Duration) -> Vec<SessionReport> {
        let mut ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        if ids.len() > STATUS_SESSIONS {
            ids.sort_by_key(|id| Reverse(self.scheduler.session_counters(*id).live));
        }
        let ids = ids.iter().take(STATUS_SESSIONS_MAX);
        ids.filter_map(|id| self.session_report(*id, now)).collect()
    }

    fn totals(&self) -> TotalsReport {
        TotalsReport {
            jobs_live: self.scheduler.live_jobs() as u64,
            ..self.scheduler.totals
        }
    }

    fn deliver(&mut self, answer: Answer) {
        let Some(session) = self.sessions.get(&answer.session) else {
            return; // it ended in the meantime
        };
        // A place for each credit: only a closed receiver can refuse, and then the
        // session is about to end.
        if let Err(mpsc::error::TrySendError::Full(answer)) = session.answers.try_send(answer) {
            error!(
                session = answer.session.0,
                "reply channel is full: an answer is lost"
            );
            debug_assert!(false, "the reply channel has a place for each credit");
        }
    }
}
