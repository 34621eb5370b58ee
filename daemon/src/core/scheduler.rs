//! All jobs, the works they have on devices, and the answers.

mod works;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hasher_driver::{Sweep, WorkTag};
use hasher_wire::{ComputedBy, JobRequest, RequestId, TotalsReport};
use hasher_work::{SearchResult, Work};

use super::demand::Demand;
use super::job::{Job, Piece};
use super::limits::{DEVICE_GRACE, Limits};
use super::queue::{DeviceBit, FairQueue, JobId, LaneId, SessionId};
use super::recent::{self, Recent};
use super::status::JobError;

/// One attachment of a device; a device that comes back gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeviceKey(u64);

/// The one final answer to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
    pub(crate) index: u16,
    pub(crate) outcome: Result<(SearchResult, Vec<ComputedBy>), JobError>,
}

/// What the scheduler knows about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SessionCounters {
    pub(crate) accepted: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) works: u64,
    /// Jobs that wait or are worked on.
    pub(crate) live: usize,
}

#[derive(Debug)]
struct Session {
    /// The user's number; nothing when the kernel did not tell.
    user: Option<u32>,
    jobs: BTreeMap<(RequestId, u16), JobId>,
    counters: SessionCounters,
    recent_works: Recent,
}

#[derive(Debug)]
struct JobEntry {
    job: Job,
    lane: LaneId,
    address: (RequestId, u16),
    accepted: Duration,
    deadline: Duration,
    /// The first work; the others share its midstate.
    first_work: Work,
    works: Vec<WorkTag>,
    is_queued: bool,
    /// Attached devices that cannot run it.
    refused_by: Vec<DeviceKey>,
}

#[derive(Debug)]
struct WorkEntry {
    /// Nothing once the job is answered: a timed device cannot drop a work.
    job: Option<JobId>,
    piece: Piece,
    device: DeviceKey,
    hits_wanted: u32,
    hits_found: u32,
}

#[derive(Debug)]
struct DeviceEntry {
    by: ComputedBy,
    sweep: Sweep,
    bit: DeviceBit,
    works: BTreeSet<WorkTag>,
    /// Why it takes no works for the moment, if so.
    paused: Option<String>,
    /// Works the device should forget; taken by its task at its next turn.
    cancels: Vec<WorkTag>,
}

impl DeviceEntry {
    /// The widest range that one of its works covers for certain; 0 when a timer
    /// ends its works.
    const fn counts_up_to(&self) -> u64 {
        match self.sweep {
            Sweep::Timer(_) => 0,
            Sweep::Range { nonces_per_work } => nonces_per_work,
        }
    }
}

/// Whether a device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// None, and none has been for the whole grace time.
    Absent,
    /// None, but one may come (back) until the grace time ends.
    Awaited {
        since: Duration,
    },
    Present,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Arc<Limits>,
    sessions: HashMap<SessionId, Session>,
    /// What the sessions' jobs come to.
    demand: Demand,
    jobs: HashMap<JobId, JobEntry>,
    works: HashMap<WorkTag, WorkEntry>,
    devices: BTreeMap<DeviceKey, DeviceEntry>,
    queue: FairQueue,
    deadlines: BTreeSet<(Duration, JobId)>,
    answers: Vec<Answer>,
    /// Jobs were queued since the devices were last told.
    has_news_for_devices: bool,
    presence: Presence,
    is_draining: bool,
    last_id: u64,
    /// Works of all sessions, also of those that are gone.
    recent_works: Recent,
    pub(crate) totals: TotalsReport,
}

impl Scheduler {
    /// Without sessions and devices, and with the default limits.
    pub(crate) fn new() -> Self {
        Self {
            limits: Arc::default(),
            sessions: HashMap::new(),
            demand: Demand::default(),
            jobs: HashMap::new(),
            works: HashMap::new(),
            devices: BTreeMap::new(),
            queue: FairQueue::default(),
            deadlines: BTreeSet::new(),
            answers: Vec::new(),
            has_news_for_devices: false,
            presence: Presence::Absent,
            is_draining: false,
            last_id: 0,
            recent_works: Recent::of_a_minute(),
            totals: TotalsReport::default(),
        }
    }

    /// What clients may have.
    pub(crate) const fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Changes what clients may have from now on. Jobs and sessions that are there stay,
    /// even if they are more.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = Arc::new(limits);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A new session of a user.
    pub(crate) fn open_session(&mut self, user: Option<u32>) -> SessionId {
        let id = SessionId(self.next_id());
        let session = Session {
            user,
            jobs: BTreeMap::new(),
            counters: SessionCounters::default(),
            recent_works: Recent::of_a_minute(),
        };
        self.sessions.insert(id, session);
        self.totals.sessions += 1;
        id
    }

    /// A session ended: its jobs vanish without an answer.
    pub(crate) fn close_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        if !session.jobs.is_empty() {
            self.demand.remove(session.user, session.jobs.len(), 0);
        }
        for job in session.jobs.into_values() {
            self.remove_job(job);
            self.totals.jobs_failed += 1;
        }
        self.queue.remove_session(id);
    }

    /// Counters of an open session.
    pub(crate) fn session_counters(&self, id: SessionId) -> SessionCounters {
        let counters = |session: &Session| SessionCounters {
            live: session.jobs.len(),
            ..session.counters
        };
        self.sessions.get(&id).map(counters).unwrap_or_default()
    }

    /// Part of the last minute's works that went to a session, 0 to 1.
    pub(crate) fn share(&self, id: SessionId, now: Duration) -> f64 {
        let own = self.sessions.get(&id);
        let own = own.map_or(0, |session| session.recent_works.sum(now));
        recent::share(own, self.recent_works.sum(now))
    }

    /// Accepts a job; its answer comes exactly once, unless the session ends first.
    ///
    /// # Errors
    /// The reason why it is refused; no other answer follows.
    pub(crate) fn submit(
        &mut self,
        session_id: SessionId,
        address: (RequestId, u16),
        request: &JobRequest,
        now: Duration,
        deadline: Duration,
    ) -> Result<(), JobError> {
        request.job.check()?;
        if self.is_draining {
            return Err(JobError::ShuttingDown);
        }
        if self.presence == Presence::Absent {
            return Err(JobError::NoDevice);
        }
        let id = JobId(self.next_id());
        let user = self.sessions.get(&session_id).and_then(|s| s.user);
        let quota = *self.limits.quota(user);
        if self.demand.jobs(user) >= quota.jobs {
            return Err(JobError::UserBusy(quota.jobs));
        }
        let session = self
            .sessions
            .get_mut(&session_id)
            .ok_or(JobError::Cancelled)?;
        if session.jobs.contains_key(&address) {
            return Err(JobError::DuplicateRequest(address.0.0));
        }
        session.jobs.insert(address, id);
        self.demand.add(user, session.jobs.len());
        session.counters.accepted += 1;
        self.totals.jobs_accepted += 1;
        let lane = LaneId {
            session: session_id,
            // The highest priority is the least value.
            priority: request.priority.max(quota.priority_max),
        };
        let entry = JobEntry {
            job: Job::new(request.job),
            lane,
            address,
            accepted: now,
            deadline,
            first_work: request.job.header.work(),
            works: Vec::new(),
            is_queued: true,
            refused_by: Vec::new(),
        };
        self.jobs.insert(id, entry);
        self.deadlines.insert((deadline, id));
        self.queue.push_back(lane, id);
        self.has_news_for_devices = true;
        Ok(())
    }

    /// The client gives up one job of a request, or all.
    pub(crate) fn cancel(&mut self, session: SessionId, request: RequestId, index: Option<u16>) {
        let Some(session) = self.sessions.get(&session) else {
            return;
        };
        let (first, last) = index.map_or((0, u16::MAX), |index| (index, index));
        let jobs: Vec<JobId> = session
            .jobs
            .range((request, first)..=(request, last))
            .map(|(_, job)| *job)
            .collect();
        for job in jobs {
            self.answer(job, Err(JobError::Cancelled));
        }
    }

    /// Fails what is overdue.
    pub(crate) fn expire(&mut self, now: Duration) {
        if let Presence::Awaited { since } = self.presence
            && now >= since + DEVICE_GRACE
        {
            self.presence = Presence::Absent;
            self.fail_all(&JobError::DeviceGone("no device came back in time"));
        }
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            let error = self.overdue(&self.jobs[&id]);
            self.answer(id, Err(error));
        }
    }

    /// Why a job was not answered in time, as far as that is known.
    fn overdue(&self, entry: &JobEntry) -> JobError {
        let allowed_ms = entry.deadline.saturating_sub(entry.accepted).as_millis();
        let mut able = self
            .devices
            .iter()
            .filter(|(key, _)| !entry.refused_by.contains(key))
            .map(|(_, device)| device);
        let first = able.next().and_then(|device| {
            let reason = device.paused.clone()?;
            Some((device.by.device.to_string(), reason))
        });
        match first {
            Some((device, reason)) if able.all(|device| device.paused.is_some()) => {
                JobError::DeadlinePaused {
                    allowed_ms,
                    device,
                    reason,
                }
            }
            _ => JobError::Deadline(allowed_ms),
        }
    }

    /// When [`Scheduler::expire`] has something to do next.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let grace = match self.presence {
            Presence::Awaited { since } => Some(since + DEVICE_GRACE),
            Presence::Absent | Presence::Present => None,
        };
        deadline.into_iter().chain(grace).min()
    }

    /// Whether no more jobs are accepted.
    pub(crate) const fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Accepts no more jobs.
    pub(crate) fn begin_drain(&mut self) {
        self.is_draining = true;
    }

    /// Answers every job with this error.
    pub(crate) fn fail_all(&mut self, error: &JobError) {
        let mut jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        jobs.sort_unstable();
        for job in jobs {
            self.answer(job, Err(error.clone()));
        }
    }

    /// Jobs that wait or are worked on.
    pub(crate) fn live_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Whether idle devices should look for works or cancellations; asked once.
    pub(crate) fn take_news_for_devices(&mut self) -> bool {
        std::mem::take(&mut self.has_news_for_devices)
    }

    /// The answers since the last call.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn answer_if_over(&mut self, id: JobId) -> bool {
        let Some(end) = self.jobs.get(&id).and_then(|entry| entry.job.end()) else {
            return false;
        };
        if let Some(entry) = self.remove_job(id) {
            let (session, address) = (entry.lane.session, entry.address);
            self.push_answer(session, address, Ok(entry.job.into_result(end)));
        }
        true
    }

    fn answer(&mut self, id: JobId, outcome: Result<(SearchResult, Vec<ComputedBy>), JobError>) {
        if let Some(entry) = self.remove_job(id) {
            self.push_answer(entry.lane.session, entry.address, outcome);
        }
    }

    fn push_answer(
        &mut self,
        id: SessionId,
        address: (RequestId, u16),
        outcome: Result<(SearchResult, Vec<ComputedBy>), JobError>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.jobs.remove(&address).is_some() {
            self.demand.remove(session.user, 1, session.jobs.len());
        }
        match outcome {
            Ok(_) => {
                session.counters.done += 1;
                self.totals.jobs_done += 1;
            }
            Err(_) => {
                session.counters.failed += 1;
                self.totals.jobs_failed += 1;
            }
        }
        let (request, index) = address;
        self.answers.push(Answer {
            session: id,
            request,
            index,
            outcome,
        });
    }

    /// Removes a job from everywhere but its session's list.
    fn remove_job(&mut self, id: JobId) -> Option<JobEntry> {
        let entry = self.jobs.remove(&id)?;
        self.deadlines.remove(&(entry.deadline, id));
        if entry.is_queued {
            self.queue.remove(entry.lane, id);
        }
        for tag in &entry.works {
            let Some(work) = self.works.get_mut(tag) else {
                continue;
            };
            work.job = None;
            // What timed chips have cannot be recalled: it keeps its place until
            // it ends, so that submitting and cancelling wins no places.
            if let Some(device) = self.devices.get_mut(&work.device)
                && matches!(device.sweep, Sweep::Range { .. })
            {
                device.works.remove(tag);
                device.cancels.push(*tag);
                self.has_news_for_devices = true;
                self.works.remove(tag);
            }
        }
        Some(entry)
    }

    /// Checks that nothing refers to what is gone.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        for (tag, work) in &self.works {
            if let Some(id) = work.job {
                assert!(self.jobs[&id].works.contains(tag));
            }
            assert!(self.devices[&work.device].works.contains(tag));
        }
        for (id, entry) in &self.jobs {
            assert!(self.deadlines.contains(&(entry.deadline, *id)));
            assert_eq!(self.sessions[&entry.lane.session].jobs[&entry.address], *id);
            assert!(
                entry
                    .works
                    .iter()
                    .all(|tag| self.works[tag].job == Some(*id))
            );
            assert!(
                entry.is_queued || !entry.works.is_empty(),
                "a job is forgotten"
            );
            assert!(
                entry.is_queued || !entry.job.has_more(),
                "a piece is forgotten"
            );
        }
        let in_sessions: usize = self
            .sessions
            .values()
            .map(|session| session.jobs.len())
            .sum();
        assert_eq!(in_sessions, self.jobs.len());
        let sessions = self.sessions.values();
        let wanted = sessions.map(|session| (session.user, session.jobs.len()));
        assert_eq!(Demand::of_sessions(wanted), self.demand);
        assert_eq!(self.deadlines.len(), self.jobs.len());
        let on_devices: usize = self.devices.values().map(|device| device.works.len()).sum();
        assert_eq!(on_devices, self.works.len());
    }
}
