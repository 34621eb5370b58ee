//! The rules under invented schedules: no socket, no device, no clock.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hasher_driver::{DeviceWork, Sweep, WorkEnd};
use hasher_wire::{ComputedBy, DeviceKind, JobRequest, Priority, RequestId};
use hasher_work::{
    Header, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Target, Work,
};

use super::limits::DEVICE_GRACE;
use super::*;
use crate::test_rng::{Rng, test_seed};

const ZERO_BITS: u32 = 4;
const TIMER: Sweep = Sweep::Timer(Duration::from_millis(18));

fn job(rng: &mut Rng) -> JobRequest {
    let mut header = [0; 80];
    header[0] = rng.below(256) as u8;
    header[68] = rng.below(256) as u8;
    let first = rng.below(1000) as u32;
    JobRequest {
        job: SearchJob {
            header: Header(header),
            range: NonceRange::new(Nonce(first), Nonce(first + rng.below(100) as u32)).unwrap(),
            target: Target::from_zero_bits(ZERO_BITS).unwrap(),
            mode: match rng.below(3) {
                0 => SearchMode::Exhaust,
                n => SearchMode::FirstFound(n as u16),
            },
            rolls: rng.below(4) as u16,
        },
        deadline_ms: 0,
        priority: [Priority::Interactive, Priority::Batch, Priority::Background]
            [rng.below(3) as usize],
    }
}

/// A device as the scheduler sees it.
struct Fake {
    by: ComputedBy,
    sweep: Sweep,
    key: Option<DeviceKey>,
    works: Vec<DeviceWork>,
}

impl Fake {
    fn new(name: &str, sweep: Sweep) -> Self {
        let by = ComputedBy {
            kind: DeviceKind::Simulated,
            device: name.into(),
        };
        let (key, works) = (None, Vec::new());
        Self {
            by,
            sweep,
            key,
            works,
        }
    }

    fn attach(&mut self, scheduler: &mut Scheduler) {
        if self.key.is_none() {
            self.key = Some(scheduler.attach(self.by.clone(), self.sweep));
        }
    }

    fn detach(&mut self, scheduler: &mut Scheduler, now: Duration) {
        if let Some(key) = self.key.take() {
            self.works.clear();
            scheduler.detach(key, now);
        }
    }

    fn pull(&mut self, scheduler: &mut Scheduler, capacity: usize) -> usize {
        let Some(key) = self.key else { return 0 };
        for tag in scheduler.take_cancels(key) {
            self.works.retain(|work| work.tag != tag);
        }
        let pulled = scheduler.pull(
            key,
            capacity.saturating_sub(self.works.len()),
            Duration::ZERO,
            |_| true,
        );
        self.works.extend(&pulled);
        pulled.len()
    }

    /// Carries a work out: every hit of its range, then an end that fits.
    fn finish(&mut self, at: usize, scheduler: &mut Scheduler, rng: &mut Rng) {
        let work = self.works.remove(at);
        if rng.below(10) == 0 {
            return scheduler.done(work.tag, WorkEnd::Lost);
        }
        let mut found = 0;
        for nonce in work.range.first().0..=work.range.last().0 {
            let Some(digest) = work.work.verify(Nonce(nonce), ZERO_BITS) else {
                continue;
            };
            if matches!(self.sweep, Sweep::Timer(_)) && rng.below(4) == 0 {
                continue; // chips miss some
            }
            scheduler.hit(work.tag, Nonce(nonce), digest);
            found += 1;
            if found == work.hits_wanted && matches!(self.sweep, Sweep::Range { .. }) {
                let tried = u64::from(nonce - work.range.first().0) + 1;
                return scheduler.done(work.tag, WorkEnd::Stopped { tried });
            }
        }
        scheduler.done(
            work.tag,
            match self.sweep {
                Sweep::Timer(_) => WorkEnd::Timer,
                Sweep::Range { .. } => WorkEnd::Swept,
            },
        );
    }
}

/// Every solution of a job in the order of the plan.
fn solutions(request: &SearchJob) -> Vec<(u32, Nonce)> {
    let mut all = Vec::new();
    for roll in 0..=u32::from(request.rolls) {
        let time = request.header.time().wrapping_add(roll);
        let work = request.header.with_time(time).work();
        all.extend(
            (request.range.first().0..=request.range.last().0)
                .map(Nonce)
                .filter(|nonce| work.verify(*nonce, ZERO_BITS).is_some())
                .map(|nonce| (time, nonce)),
        );
    }
    all
}

fn check_result(request: &SearchJob, result: &SearchResult) {
    let expected = solutions(request);
    let mut found: Vec<_> = result
        .hits
        .iter()
        .map(|hit| (hit.time, hit.nonce))
        .collect();
    for hit in &result.hits {
        let work = request.header.with_time(hit.time).work();
        assert_eq!(work.digest(hit.nonce), hit.digest);
        assert!(expected.contains(&(hit.time, hit.nonce)));
    }
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len());
    match (result.end, request.mode) {
        (SearchEnd::Found, SearchMode::FirstFound(hits)) => {
            assert_eq!(result.hits.len(), usize::from(hits));
        }
        (SearchEnd::Exhausted, mode) => {
            found.sort_unstable();
            let mut expected = expected;
            expected.sort_unstable();
            assert_eq!(found, expected, "{mode:?}");
            assert_eq!(
                result.certain_nonces,
                request.range.count(),
                "{request:?}{result:?}"
            );
        }
        (SearchEnd::TimerEnded, _) => assert!(result.certain_nonces <= request.range.count()),
        (end, mode) => panic!("{end:?} does not fit {mode:?}"),
    }
}

/// A client that keeps to its credits.
struct Client {
    session: SessionId,
    credits: Credits,
    open: HashMap<(RequestId, u16), JobRequest>,
}

impl Client {
    fn new(scheduler: &mut Scheduler) -> Self {
        Self {
            session: scheduler.open_session(None),
            credits: Credits::new(12),
            open: HashMap::new(),
        }
    }
}

/// The world of one random schedule.
struct World {
    rng: Rng,
    now: Duration,
    scheduler: Scheduler,
    devices: Vec<Fake>,
    clients: Vec<Client>,
    accepted: u64,
    answered: u64,
    dropped: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut scheduler = Scheduler::new();
        let mut devices = vec![
            Fake::new("sim-s3-0", TIMER),
            Fake::new(
                "cpu-0",
                Sweep::Range {
                    nonces_per_work: 20,
                },
            ),
            Fake::new("sim-s1-1", TIMER),
        ];
        devices[0].attach(&mut scheduler);
        let clients = (0..4).map(|_| Client::new(&mut scheduler)).collect();
        Self {
            rng: Rng::new(seed),
            now: Duration::ZERO,
            scheduler,
            devices,
            clients,
            accepted: 0,
            answered: 0,
            dropped: 0,
        }
    }

    fn step(&mut self) {
        let device = self.rng.below(self.devices.len() as u64) as usize;
        let client = self.rng.below(self.clients.len() as u64) as usize;
        match self.rng.below(100) {
            0..30 => self.submit(client),
            30..55 => {
                let capacity = self.rng.below(9) as usize;
                self.devices[device].pull(&mut self.scheduler, capacity);
            }
            55..85 => self.finish_one(device),
            85..88 => self.devices[device].detach(&mut self.scheduler, self.now),
            88..92 => self.devices[device].attach(&mut self.scheduler),
            92..95 => self.cancel(client),
            95 => {
                self.collect();
                let fresh = Client::new(&mut self.scheduler);
                let old = std::mem::replace(&mut self.clients[client], fresh);
                self.dropped += old.open.len() as u64;
                self.scheduler.close_session(old.session);
            }
            _ => {
                self.now += Duration::from_millis(self.rng.below(4000));
                self.scheduler.expire(self.now);
                assert!(
                    self.scheduler
                        .next_expiry()
                        .is_none_or(|next| next > self.now)
                );
            }
        }
        self.collect();
        self.scheduler.assert_consistent();
    }

    fn submit(&mut self, client: usize) {
        let request = job(&mut self.rng);
        let address = (
            RequestId(self.rng.below(6) as u32),
            self.rng.below(4) as u16,
        );
        let deadline = self.now + Duration::from_millis(1 + self.rng.below(40_000));
        let client = &mut self.clients[client];
        if !client.credits.take() {
            return;
        }
        let known = client.open.contains_key(&address);
        match self
            .scheduler
            .submit(client.session, address, &request, self.now, deadline)
        {
            Ok(()) => {
                assert!(client.open.insert(address, request).is_none());
                self.accepted += 1;
            }
            Err(error) => {
                client.credits.give_back();
                assert!(
                    matches!(error, JobError::NoDevice)
                        || known && matches!(error, JobError::DuplicateRequest(_)),
                    "{error:?}"
                );
            }
        }
    }

    fn finish_one(&mut self, device: usize) {
        let works = self.devices[device].works.len() as u64;
        if works > 0 {
            let at = self.rng.below(works) as usize;
            self.devices[device].finish(at, &mut self.scheduler, &mut self.rng);
        }
    }

    fn cancel(&mut self, client: usize) {
        let request = RequestId(self.rng.below(6) as u32);
        let index = (self.rng.below(2) == 0).then(|| self.rng.below(4) as u16);
        let session = self.clients[client].session;
        self.scheduler.cancel(session, request, index);
    }

    fn collect(&mut self) {
        for answer in self.scheduler.take_answers() {
            let client = self
                .clients
                .iter_mut()
                .find(|client| client.session == answer.session)
                .expect("an answer goes to an open session");
            let request = client
                .open
                .remove(&(answer.request, answer.index))
                .expect("a job is answered once");
            client.credits.give_back();
            assert_eq!(usize::from(client.credits.used()), client.open.len());
            self.answered += 1;
            if let Ok((result, computed_by)) = answer.outcome {
                check_result(&request.job, &result);
                assert!(!computed_by.is_empty());
            }
        }
    }

    /// Everything works from now on; whatever is open gets its answer.
    fn settle(&mut self) {
        for turn in 0..100_000 {
            for device in 0..self.devices.len() {
                self.devices[device].attach(&mut self.scheduler);
                self.devices[device].pull(&mut self.scheduler, 8);
                self.finish_one(device);
            }
            self.collect();
            self.scheduler.assert_consistent();
            if self.scheduler.live_jobs() == 0 {
                return;
            }
            assert!(turn < 99_999, "jobs never end");
        }
    }
}

#[test]
fn every_accepted_job_is_answered_exactly_once_whatever_happens() {
    let seed = test_seed();
    for schedule in 0..150 {
        let mut world = World::new(seed.wrapping_add(schedule));
        for _ in 0..600 {
            world.step();
        }
        world.settle();
        assert_eq!(
            world.accepted,
            world.answered + world.dropped,
            "schedule {schedule}"
        );
        assert!(
            world
                .clients
                .iter()
                .all(|client| client.credits.used() == 0)
        );
        let totals = world.scheduler.totals;
        assert_eq!(totals.jobs_accepted, world.accepted);
        assert_eq!(totals.jobs_done + totals.jobs_failed, world.accepted);
        assert_eq!(totals.wrong_hits, 0);
    }
}

/// A job that never finds anything and goes through every time field.
fn endless(priority: Priority) -> JobRequest {
    JobRequest {
        job: SearchJob {
            header: Header([3; 80]),
            range: NonceRange::WHOLE,
            target: Target::from_zero_bits(256).unwrap(),
            mode: SearchMode::Exhaust,
            rolls: SearchJob::MAX_ROLLS,
        },
        deadline_ms: 0,
        priority,
    }
}

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_thousand_jobs_delay_a_newcomer_by_at_most_two_device_batches() {
    for (greedy, newcomer) in [
        (Priority::Batch, Priority::Batch),
        (Priority::Interactive, Priority::Background),
    ] {
        for warm_up in 0..40 {
            let mut scheduler = Scheduler::new();
            let mut device = Fake::new("sim-s3-0", TIMER);
            device.attach(&mut scheduler);
            let first = scheduler.open_session(None);
            for request in 0..1000 {
                let address = (RequestId(request), 0);
                scheduler
                    .submit(first, address, &endless(greedy), Duration::ZERO, LONG)
                    .unwrap();
            }
            // The controller's FIFO would take 300 works.
            device.pull(&mut scheduler, 300);
            for _ in 0..warm_up {
                scheduler.done(device.works.remove(0).tag, WorkEnd::Timer);
                device.pull(&mut scheduler, 300);
            }
            let second = scheduler.open_session(None);
            let mut request = endless(newcomer);
            request.job.rolls = 0;
            scheduler
                .submit(second, (RequestId(1), 0), &request, Duration::ZERO, LONG)
                .unwrap();
            let mut works = 0;
            while scheduler.take_answers().is_empty() {
                scheduler.done(device.works.remove(0).tag, WorkEnd::Timer);
                device.pull(&mut scheduler, 300);
                works += 1;
            }
            // Its own work is the last of them.
            assert!(works - 1 <= 2 * 8, "{works} works, {warm_up} before");
        }
    }
}

#[test]
fn a_user_gains_nothing_by_opening_more_sessions() {
    let mut scheduler = Scheduler::new();
    let mut device = Fake::new("sim-s3-0", TIMER);
    device.attach(&mut scheduler);
    let mut open = |user, jobs| {
        let session = scheduler.open_session(Some(user));
        for request in 0..jobs {
            let address = (RequestId(request), 0);
            let job = endless(Priority::Batch);
            scheduler
                .submit(session, address, &job, Duration::ZERO, LONG)
                .unwrap();
        }
        session
    };
    let many: Vec<SessionId> = (0..15).map(|_| open(1, 3)).collect();
    let idle = open(1, 0);
    let one = open(2, 1);
    for _ in 0..3000 {
        assert_eq!(device.pull(&mut scheduler, 1), 1);
        scheduler.done(device.works.remove(0).tag, WorkEnd::Timer);
    }
    let works = |session| scheduler.session_counters(session).works;
    assert!((1490..=1510).contains(&works(one)), "{}", works(one));
    for session in many {
        assert!((95..=105).contains(&works(session)), "{}", works(session));
    }
    assert_eq!(works(idle), 0);
}

/// Limits that say something about user 1 only.
fn limits_of_user_1(quota: Quota) -> Limits {
    Limits {
        users: [(1, quota)].into(),
        ..Limits::default()
    }
}

#[test]
fn a_user_with_more_weight_gets_so_much_more() {
    let mut scheduler = Scheduler::new();
    let mut device = Fake::new("sim-s3-0", TIMER);
    device.attach(&mut scheduler);
    let sessions = [1, 1, 2].map(|user| {
        let session = scheduler.open_session(Some(user));
        let job = endless(Priority::Batch);
        let address = (RequestId(1), 0);
        scheduler
            .submit(session, address, &job, Duration::ZERO, LONG)
            .unwrap();
        session
    });
    let mut works = |weight| {
        let quota = Quota {
            weight,
            ..Quota::DEFAULT
        };
        scheduler.set_limits(limits_of_user_1(quota));
        let before = sessions.map(|session| scheduler.session_counters(session).works);
        for _ in 0..4000 {
            assert_eq!(device.pull(&mut scheduler, 1), 1);
            scheduler.done(device.works.remove(0).tag, WorkEnd::Timer);
        }
        let after = sessions.map(|session| scheduler.session_counters(session).works);
        [0, 1, 2].map(|at| (after[at] - before[at] + 5) / 10 * 10)
    };
    assert_eq!(works(1), [1000, 1000, 2000]);
    assert_eq!(
        works(3),
        [1500, 1500, 1000],
        "at once, and shared by its sessions"
    );
}

#[test]
fn a_user_has_so_many_jobs_over_all_sessions_and_no_higher_a_priority() {
    let mut scheduler = Scheduler::new();
    let mut device = Fake::new("sim-s3-0", TIMER);
    device.attach(&mut scheduler);
    scheduler.set_limits(limits_of_user_1(Quota {
        jobs: 2,
        priority_max: Priority::Background,
        ..Quota::DEFAULT
    }));
    let sessions = [1, 1, 2].map(|user| scheduler.open_session(Some(user)));
    let mut number = 0;
    let mut submit = |scheduler: &mut Scheduler, session| {
        number += 1;
        let address = (RequestId(number), 0);
        let job = endless(Priority::Interactive);
        scheduler.submit(session, address, &job, Duration::ZERO, LONG)
    };
    submit(&mut scheduler, sessions[0]).unwrap();
    submit(&mut scheduler, sessions[1]).unwrap();
    let refused = submit(&mut scheduler, sessions[0]).unwrap_err();
    assert_eq!(refused, JobError::UserBusy(2));
    assert!(refused.status().is_retryable());
    submit(&mut scheduler, sessions[2]).unwrap();
    for _ in 0..1700 {
        assert_eq!(device.pull(&mut scheduler, 1), 1);
        scheduler.done(device.works.remove(0).tag, WorkEnd::Timer);
    }
    let works = sessions.map(|session| scheduler.session_counters(session).works);
    assert!((1500..=1520).contains(&works[2]), "8 to 1: {works:?}");
    // A job that ends makes room, and more are allowed at once.
    scheduler.cancel(sessions[0], RequestId(1), None);
    submit(&mut scheduler, sessions[0]).unwrap();
    scheduler.set_limits(Limits::default());
    submit(&mut scheduler, sessions[0]).unwrap();
}

#[test]
fn jobs_wait_for_a_device_through_the_grace_time_and_then_fail() {
    let mut scheduler = Scheduler::new();
    let session = scheduler.open_session(None);
    let address = (RequestId(1), 0);
    let request = endless(Priority::Batch);
    let submit = |scheduler: &mut Scheduler, now| {
        scheduler.submit(session, address, &request, now, now + LONG)
    };
    assert_eq!(
        submit(&mut scheduler, Duration::ZERO),
        Err(JobError::NoDevice)
    );

    scheduler.expect_device(Duration::ZERO);
    submit(&mut scheduler, Duration::ZERO).unwrap();
    assert_eq!(scheduler.next_expiry(), Some(DEVICE_GRACE));
    scheduler.expire(DEVICE_GRACE - Duration::from_millis(1));
    assert_eq!(scheduler.live_jobs(), 1);
    scheduler.expire(DEVICE_GRACE);
    let answers = scheduler.take_answers();
    assert!(matches!(answers[0].outcome, Err(JobError::DeviceGone(_))));
    assert_eq!(
        submit(&mut scheduler, DEVICE_GRACE),
        Err(JobError::NoDevice)
    );

    let mut device = Fake::new("sim-s3-0", TIMER);
    device.attach(&mut scheduler);
    submit(&mut scheduler, DEVICE_GRACE).unwrap();
    device.pull(&mut scheduler, 8);
    device.detach(&mut scheduler, DEVICE_GRACE);
    device.attach(&mut scheduler);
    scheduler.expire(DEVICE_GRACE * 3);
    assert_eq!(scheduler.live_jobs(), 1, "the device is back");
    assert_eq!(device.pull(&mut scheduler, 8), 8);
}

#[test]
fn a_work_that_no_device_can_run_fails_only_when_each_has_refused_it() {
    let mut scheduler = Scheduler::new();
    let mut s3 = Fake::new("sim-s3-0", TIMER);
    let mut s1 = Fake::new("sim-s1-0", TIMER);
    s3.attach(&mut scheduler);
    s1.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let submit = |scheduler: &mut Scheduler, request| {
        let address = (RequestId(request), 0);
        let job = endless(Priority::Batch);
        scheduler
            .submit(session, address, &job, Duration::ZERO, LONG)
            .unwrap();
    };
    let refuse = |_: &Work| false;
    submit(&mut scheduler, 1);
    assert!(
        scheduler
            .pull(s3.key.unwrap(), 8, Duration::ZERO, refuse)
            .is_empty()
    );
    assert_eq!(s1.pull(&mut scheduler, 1), 1);
    // The one that could is pulled out; the other never will.
    s1.detach(&mut scheduler, Duration::ZERO);
    let answers = scheduler.take_answers();
    assert_eq!(answers[0].outcome, Err(JobError::NotRunnable));
    submit(&mut scheduler, 2);
    scheduler.pull(s3.key.unwrap(), 8, Duration::ZERO, refuse);
    assert_eq!(
        scheduler.take_answers()[0].outcome,
        Err(JobError::NotRunnable)
    );
}

#[test]
fn a_work_that_a_device_cannot_run_is_offered_to_it_once() {
    let mut scheduler = Scheduler::new();
    let mut s3 = Fake::new("sim-s3-0", TIMER);
    let mut s1 = Fake::new("sim-s1-0", TIMER);
    s3.attach(&mut scheduler);
    s1.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let job = endless(Priority::Batch);
    for request in 0..50 {
        let address = (RequestId(request), 0);
        scheduler
            .submit(session, address, &job, Duration::ZERO, LONG)
            .unwrap();
    }
    let offers = std::cell::Cell::new(0);
    let refuse = |_: &Work| {
        offers.set(offers.get() + 1);
        false
    };
    for _ in 0..3 {
        assert!(
            scheduler
                .pull(s3.key.unwrap(), 8, Duration::ZERO, refuse)
                .is_empty()
        );
    }
    assert_eq!(offers.get(), 50);
    assert_eq!(s1.pull(&mut scheduler, 8), 8);
}

#[test]
fn a_deadline_answers_a_job_that_a_device_still_holds() {
    let mut scheduler = Scheduler::new();
    let mut device = Fake::new("sim-s3-0", TIMER);
    device.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let deadline = Duration::from_millis(1500);
    scheduler
        .submit(
            session,
            (RequestId(1), 7),
            &endless(Priority::Batch),
            Duration::ZERO,
            deadline,
        )
        .unwrap();
    device.pull(&mut scheduler, 4);
    assert_eq!(scheduler.next_expiry(), Some(deadline));
    scheduler.expire(deadline);
    let answers = scheduler.take_answers();
    assert_eq!(answers[0].index, 7);
    assert_eq!(answers[0].outcome, Err(JobError::Deadline(1500)));
    // The chips still have the works; their late news change nothing.
    assert_eq!(scheduler.works_on(device.key.unwrap()), 4);
    let works = std::mem::take(&mut device.works);
    scheduler.hit(works[0].tag, Nonce(1), works[0].work.digest(Nonce(1)));
    for work in works {
        scheduler.done(work.tag, WorkEnd::Timer);
    }
    assert_eq!(scheduler.totals.stale_hits, 1);
    assert!(scheduler.take_answers().is_empty());
    scheduler.assert_consistent();
}

#[test]
fn a_deadline_names_the_pause_only_when_no_device_could_take_the_job() {
    let mut scheduler = Scheduler::new();
    let mut devices = [Fake::new("sim-s3-0", TIMER), Fake::new("sim-s1-1", TIMER)];
    for device in &mut devices {
        device.attach(&mut scheduler);
    }
    let session = scheduler.open_session(None);
    let mut overdue = |pauses: [Option<&str>; 2], s1_can_run| {
        for (device, reason) in devices.iter().zip(pauses) {
            scheduler.note_pause(device.key.unwrap(), reason.map(str::to_owned));
        }
        let address = (RequestId(1), 0);
        let job = endless(Priority::Batch);
        scheduler
            .submit(session, address, &job, Duration::ZERO, LONG)
            .unwrap();
        scheduler.pull(devices[1].key.unwrap(), 1, Duration::ZERO, |_| s1_can_run);
        scheduler.expire(LONG);
        let answer = scheduler.take_answers().remove(0);
        answer.outcome.unwrap_err().to_string()
    };
    let plain = "no answer within 1000000 ms";
    assert_eq!(overdue([None, None], true), plain);
    assert_eq!(overdue([Some("hot"), None], true), plain);
    assert_eq!(overdue([None, Some("hot")], true), plain);
    let paused = format!("{plain}: sim-s3-0 is paused: hot");
    assert_eq!(overdue([Some("hot"), Some("fan")], true), paused);
    assert_eq!(overdue([Some("hot"), None], false), paused);
}

#[test]
fn submitting_and_cancelling_wins_no_places_on_a_timed_device() {
    let mut scheduler = Scheduler::new();
    let mut device = Fake::new("sim-s3-0", TIMER);
    device.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let mut sent = 0;
    for _ in 0..100 {
        scheduler
            .submit(
                session,
                (RequestId(1), 0),
                &endless(Priority::Batch),
                Duration::ZERO,
                LONG,
            )
            .unwrap();
        sent += device.pull(&mut scheduler, 300);
        scheduler.cancel(session, RequestId(1), None);
        assert_eq!(scheduler.take_answers().len(), 1);
    }
    assert_eq!(sent, 16);
}

#[test]
fn a_counting_device_says_how_far_it_came_before_the_answer_leaves() {
    let mut scheduler = Scheduler::new();
    let mut device = Fake::new(
        "cpu-0",
        Sweep::Range {
            nonces_per_work: 1 << 20,
        },
    );
    device.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let mut rng = Rng::new(1);
    let request = loop {
        let mut request = job(&mut rng);
        request.job.mode = SearchMode::FirstFound(1);
        if !solutions(&request.job).is_empty() {
            request.job.range = NonceRange::WHOLE;
            break request;
        }
    };
    scheduler
        .submit(session, (RequestId(1), 0), &request, Duration::ZERO, LONG)
        .unwrap();
    device.pull(&mut scheduler, 1);
    let work = device.works[0];
    let nonce = (0..)
        .map(Nonce)
        .find(|nonce| work.work.verify(*nonce, ZERO_BITS).is_some())
        .unwrap();
    scheduler.hit(work.tag, nonce, work.work.digest(nonce));
    assert!(scheduler.take_answers().is_empty());
    let tried = u64::from(nonce.0) + 1;
    scheduler.done(work.tag, WorkEnd::Stopped { tried });
    let (result, _) = scheduler.take_answers().remove(0).outcome.unwrap();
    assert_eq!(
        (result.end, result.certain_nonces),
        (SearchEnd::Found, tried)
    );
}

#[test]
fn a_long_range_holds_up_no_other_job_of_its_session() {
    let mut scheduler = Scheduler::new();
    let sweep = Sweep::Range {
        nonces_per_work: 1000,
    };
    let mut cpu = Fake::new("cpu-0", sweep);
    cpu.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let mut submit = |request, job: &JobRequest| {
        let address = (RequestId(request), 0);
        scheduler
            .submit(session, address, job, Duration::ZERO, LONG)
            .unwrap();
    };
    submit(1, &endless(Priority::Batch));
    let mut short = endless(Priority::Batch);
    short.job.rolls = 0;
    short.job.range = NonceRange::new(Nonce(0), Nonce(1999)).unwrap();
    submit(2, &short);
    let works = (1..100).find(|_| {
        assert_eq!(cpu.pull(&mut scheduler, 1), 1);
        scheduler.done(cpu.works.remove(0).tag, WorkEnd::Swept);
        !scheduler.take_answers().is_empty()
    });
    assert_eq!(works, Some(4), "two works of each");
}

#[test]
fn a_narrow_range_goes_to_the_device_that_counts_while_there_is_one() {
    let mut scheduler = Scheduler::new();
    let mut board = Fake::new("sim-s3-0", TIMER);
    let mut cpu = Fake::new(
        "cpu-1",
        Sweep::Range {
            nonces_per_work: 1000,
        },
    );
    board.attach(&mut scheduler);
    cpu.attach(&mut scheduler);
    let session = scheduler.open_session(None);
    let submit = |scheduler: &mut Scheduler, request, nonces: u32| {
        let address = (RequestId(request), 0);
        let mut job = endless(Priority::Batch);
        job.job.rolls = 0;
        job.job.range = NonceRange::new(Nonce(5), Nonce(4 + nonces)).unwrap();
        scheduler
            .submit(session, address, &job, Duration::ZERO, LONG)
            .unwrap();
    };
    submit(&mut scheduler, 1, 1000);
    assert_eq!(board.pull(&mut scheduler, 8), 0);
    assert_eq!(cpu.pull(&mut scheduler, 8), 1);
    submit(&mut scheduler, 2, 1001);
    assert_eq!(board.pull(&mut scheduler, 8), 1);
    submit(&mut scheduler, 3, 1000);
    cpu.detach(&mut scheduler, Duration::ZERO);
    assert_eq!(
        board.pull(&mut scheduler, 8),
        2,
        "better some answer than none"
    );
}

#[test]
fn a_job_out_of_bounds_is_refused_with_its_reason() {
    let mut scheduler = Scheduler::new();
    let session = scheduler.open_session(None);
    let mut request = endless(Priority::Batch);
    request.job.rolls = SearchJob::MAX_ROLLS + 1;
    let refused = scheduler.submit(session, (RequestId(1), 0), &request, Duration::ZERO, LONG);
    assert!(matches!(refused, Err(JobError::Invalid(_))));
}
