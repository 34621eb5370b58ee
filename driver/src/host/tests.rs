//! The host against a small peer, in virtual time.

mod peer;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use hasher_work::{Header, NonceRange, Target};

use self::peer::{Peer, ZERO_BITS, solution};
use super::registry::REGISTRY_WORKS;
use super::*;
use crate::token::Request;

/// What an OUT transfer and an IN poll take.
const TRANSFER: Duration = Duration::from_millis(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Host and peer on one virtual clock.
struct Rig {
    host: Host,
    peer: Peer,
    now: Duration,
    /// The transfer on its way to the peer.
    sending: Option<(Duration, Bytes)>,
    /// The next so many OUT transfers fail.
    faults: u32,
    submitted: u64,
    live: HashSet<WorkTag>,
    ends: BTreeMap<WorkTag, (WorkEnd, Duration)>,
    hits: BTreeMap<WorkTag, u32>,
    mishaps: Vec<Mishap>,
    /// Everything else.
    news: Vec<DeviceEvent>,
}

impl Rig {
    fn new(layout: Layout) -> Self {
        let settings = BoardSettings::new(DeviceId("peer-0".into()), DeviceKind::Simulated)
            .with_filter_zero_bits(ZERO_BITS);
        Self {
            host: Host::new(settings, Duration::ZERO),
            peer: Peer::new(layout),
            now: Duration::ZERO,
            sending: None,
            faults: 0,
            submitted: 0,
            live: HashSet::new(),
            ends: BTreeMap::new(),
            hits: BTreeMap::new(),
            mishaps: Vec::new(),
            news: Vec::new(),
        }
    }

    /// A rig whose host has told that it is ready.
    fn ready(layout: Layout) -> Self {
        let mut rig = Self::new(layout);
        rig.run_for(secs(1));
        assert!(matches!(rig.news.as_slice(), [DeviceEvent::Ready]));
        rig.news.clear();
        rig
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// One step of virtual time; whether there is another before `until`.
    fn step(&mut self, until: Duration) -> bool {
        self.peer.pass(self.now);
        if let Some((_, token)) = self.sending.take_if(|(at, _)| *at <= self.now) {
            let event = if self.faults > 0 {
                self.faults -= 1;
                TransportEvent::Fault(TransportError::Timeout)
            } else {
                self.peer.receive(&token, self.now);
                TransportEvent::Sent
            };
            self.host.on_transport(event, self.now);
            self.take_news();
        }
        while let Some(bytes) = self.peer.reply() {
            self.host
                .on_transport(TransportEvent::Received(bytes), self.now);
            self.take_news();
        }
        self.host.on_time(self.now);
        self.take_news();
        if self.sending.is_none()
            && let Some(token) = self.host.next_token(self.now)
        {
            self.sending = Some((self.now + TRANSFER, token));
        }
        let next = [
            self.host.wake_at(),
            self.peer.wake_at(),
            self.sending.as_ref().map(|(at, _)| *at),
        ];
        let next = next.into_iter().flatten().min();
        // A timer may fire late but never early; a wake-up in the past is a busy loop.
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        assert!(
            next > self.now,
            "busy loop at {:?} in {:?}",
            self.now,
            self.host
        );
        self.now = next;
        true
    }

    fn take_news(&mut self) {
        let mut count = 0;
        while let Some(event) = self.host.next_event() {
            count += 1;
            match event {
                DeviceEvent::Done { tag, end } => {
                    assert!(self.live.remove(&tag), "{tag:?} ended twice or never began");
                    self.ends.insert(tag, (end, self.now));
                }
                DeviceEvent::Hit { tag, nonce, digest } => {
                    assert!(self.live.contains(&tag), "a hit after the end");
                    let work = work(tag);
                    assert_eq!(work.digest(nonce), digest);
                    assert_eq!(nonce, solution(&work));
                    *self.hits.entry(tag).or_default() += 1;
                }
                DeviceEvent::Status => {}
                DeviceEvent::Mishap(mishap) => self.mishaps.push(mishap),
                other => self.news.push(other),
            }
        }
        assert!(count <= 64, "one input made {count} events");
    }

    fn submit(&mut self) -> WorkTag {
        let mut tag = WorkTag(self.submitted);
        while !self.host.can_run(&work(tag)) {
            tag.0 += 1;
        }
        self.submitted = tag.0 + 1;
        let work = DeviceWork {
            tag,
            work: work(tag),
            range: NonceRange::WHOLE,
            target: Target::ANY,
            hits_wanted: 1,
        };
        self.host.submit(work, self.now).unwrap();
        self.live.insert(tag);
        tag
    }

    /// Keeps the device as busy as it lets us until `works` have ended.
    fn keep_busy(&mut self, works: usize, limit: Duration) {
        let until = self.now + limit;
        let goal = self.ends.len() + works;
        while self.ends.len() < goal {
            while self.host.capacity() > 0 {
                self.submit();
            }
            assert!(self.step(until), "only {} works ended", self.ends.len());
        }
    }

    fn count_ends(&self, wanted: WorkEnd) -> usize {
        self.ends.values().filter(|(end, _)| *end == wanted).count()
    }
}

fn work(tag: WorkTag) -> Work {
    let mut header = [0; 80];
    header[..8].copy_from_slice(&tag.0.to_le_bytes());
    Header(header).work()
}

#[test]
fn an_unknown_device_is_found_configured_and_described() {
    for (layout, model, firmware, chips, mhz, period) in [
        (Layout::S1, "Antminer S1", "7", 32, 350.0, 40),
        (Layout::S3, "Antminer S3", "07000003", 16, 218.75, 18),
    ] {
        let rig = Rig::ready(layout);
        let info = rig.host.info();
        assert_eq!(info.model, model);
        assert_eq!(info.firmware, firmware);
        assert_eq!(info.chips_per_chain, [chips; 2]);
        assert_eq!(info.frequency_mhz, mhz);
        assert_eq!(info.sweep, Sweep::Timer(ms(period)));
        assert_eq!(info.kind, DeviceKind::Simulated);
        assert_eq!(rig.peer.period, ms(period));
        let status = rig.host.status();
        assert_eq!(status.temperatures_celsius, [40, 40]);
        assert_eq!(status.fans_rpm[0], 1800);
        assert_eq!(
            status.fifo_space,
            Some(if layout == Layout::S1 { 300 } else { 400 })
        );
        assert!(rig.host.capacity() > 0);
    }
}

#[test]
fn a_single_work_brings_its_nonce_and_ends_two_ticks_later() {
    for layout in [Layout::S1, Layout::S3] {
        let mut rig = Rig::ready(layout);
        let begun = rig.now;
        let tag = rig.submit();
        rig.run_for(secs(2));
        assert_eq!(rig.hits.get(&tag), Some(&1), "{layout}");
        let (end, at) = rig.ends[&tag];
        assert_eq!(end, WorkEnd::Timer);
        // Two ticks and the second chain's delay, the question, and the margin.
        let tick = rig.peer.period;
        assert!(at >= begun + tick * 2);
        assert!(at <= begun + tick * 6, "{layout}: {:?}", at - begun);
        // Nobody waits any more: fillers end, the board goes idle.
        assert!(!rig.peer.is_running());
        assert!(rig.host.status().counters.filler_works <= 12);
    }
}

#[test]
fn a_busy_board_never_starves_and_never_queues_long() {
    for (layout, expected) in [(Layout::S1, 50.0), (Layout::S3, 111.0)] {
        let mut rig = Rig::ready(layout);
        rig.keep_busy(60, secs(5)); // past the first half second
        let (from, begun) = (rig.ends.len(), rig.now);
        let fillers = rig.host.status().counters.filler_works;
        rig.keep_busy(1000, secs(60));
        let per_second = (rig.ends.len() - from) as f64 / (rig.now - begun).as_secs_f64();
        assert!(
            (per_second / expected - 1.0).abs() < 0.02,
            "{layout}: {per_second} works a second"
        );
        let counters = rig.host.status().counters;
        assert_eq!(
            counters.filler_works, fillers,
            "{layout}: fillers while busy"
        );
        assert!(
            rig.peer.deepest <= 16,
            "{layout}: {} queued",
            rig.peer.deepest
        );
        assert_eq!(rig.count_ends(WorkEnd::Lost), 0);
        assert_eq!(
            rig.hits.len(),
            rig.ends.len(),
            "every ended work had its nonce"
        );
        assert_eq!((counters.stale, counters.unknown_works), (0, 0));
        assert_eq!(counters.hardware_errors, 0);
    }
}

#[test]
fn a_lost_status_slows_a_busy_board_for_a_moment_only() {
    for (layout, expected) in [(Layout::S1, 50.0), (Layout::S3, 111.0)] {
        let mut rig = Rig::ready(layout);
        rig.keep_busy(60, secs(5));
        rig.peer.loses_statuses = 1;
        rig.keep_busy(120, secs(5)); // the question is repeated within this
        assert_eq!(rig.peer.loses_statuses, 0);
        let (from, begun) = (rig.ends.len(), rig.now);
        rig.keep_busy(500, secs(30));
        let per_second = (rig.ends.len() - from) as f64 / (rig.now - begun).as_secs_f64();
        assert!(
            (per_second / expected - 1.0).abs() < 0.02,
            "{layout}: {per_second} works a second"
        );
        assert_eq!(rig.count_ends(WorkEnd::Lost), 0);
    }
}

#[test]
fn a_short_silence_slows_a_busy_board_for_a_moment_only() {
    for (layout, expected) in [(Layout::S1, 50.0), (Layout::S3, 111.0)] {
        for silence in [600, 1100, 2000, 2900] {
            let mut rig = Rig::ready(layout);
            rig.keep_busy(60, secs(5));
            rig.peer.is_silent = true;
            rig.run_for(ms(silence));
            rig.peer.is_silent = false;
            rig.keep_busy(120, secs(10));
            let (from, begun) = (rig.ends.len(), rig.now);
            rig.keep_busy(500, secs(30));
            let per_second = (rig.ends.len() - from) as f64 / (rig.now - begun).as_secs_f64();
            assert!(
                (per_second / expected - 1.0).abs() < 0.02,
                "{layout} after {silence} ms: {per_second} works a second"
            );
        }
    }
}

#[test]
fn a_short_queue_is_never_overrun() {
    for depth in [1, 2, 3, 5, 9] {
        for layout in [Layout::S1, Layout::S3] {
            let mut rig = Rig::new(layout);
            rig.peer.depth = depth; // the peer refuses to be overrun
            rig.run_for(secs(1));
            rig.keep_busy(100, secs(60));
            assert!(rig.peer.deepest <= depth);
            assert_eq!(rig.count_ends(WorkEnd::Lost), 0, "{layout} {depth}");
        }
    }
}

#[test]
fn works_end_by_proof_even_if_the_device_is_slow_and_nobody_says_so() {
    for told in [None, Some(25.0)] {
        for layout in [Layout::S1, Layout::S3] {
            let mut rig = Rig::ready(layout);
            rig.peer.slowdown = 25.0;
            let now = rig.now;
            rig.host.set_slowdown(told, now);
            assert_eq!(rig.host.status().slowdown, told);
            rig.keep_busy(100, secs(200));
            assert_eq!(rig.count_ends(WorkEnd::Lost), 0);
            assert_eq!(
                rig.hits.len(),
                rig.ends.len(),
                "{layout}: a work ended early"
            );
            assert!(rig.peer.deepest <= 24, "{} queued", rig.peer.deepest);
        }
    }
}

#[test]
fn a_cancelled_work_is_never_heard_of_again() {
    let mut rig = Rig::ready(Layout::S3);
    let kept = rig.submit();
    rig.run_for(ms(5));
    let sent = rig.submit();
    rig.run_for(ms(5));
    let staged: Vec<_> = (0..rig.host.capacity()).map(|_| rig.submit()).collect();
    assert_eq!(rig.host.capacity(), 0);
    for tag in staged.iter().chain([&sent]) {
        rig.host.cancel(*tag);
        rig.live.remove(tag);
    }
    assert!(rig.host.capacity() >= staged.len());
    rig.run_for(secs(2));
    assert_eq!(rig.ends.keys().collect::<Vec<_>>(), [&kept]);
    assert_eq!(rig.hits.keys().collect::<Vec<_>>(), [&kept]);
    assert_eq!(rig.host.status().counters.stale, 1);
}

#[test]
fn a_full_device_and_a_work_that_cannot_run_are_refused() {
    let mut rig = Rig::ready(Layout::S3);
    let dropped = (0..).map(WorkTag).find(|t| !rig.host.can_run(&work(*t)));
    let refused = DeviceWork {
        tag: WorkTag(u64::MAX),
        work: work(dropped.unwrap()),
        range: NonceRange::WHOLE,
        target: Target::ANY,
        hits_wanted: 1,
    };
    let result = rig.host.submit(refused, rig.now);
    assert!(matches!(result, Err(DriverError::NotRunnable)));
    while rig.host.capacity() > 0 {
        rig.submit();
    }
    let result = rig.host.submit(refused, rig.now);
    assert!(matches!(result, Err(DriverError::Full)));
    assert!(Rig::ready(Layout::S1).host.can_run(&refused.work));
}

#[test]
fn heat_pauses_flushes_and_slows_the_clock_until_the_board_is_cool() {
    for layout in [Layout::S1, Layout::S3] {
        let mut rig = Rig::ready(layout);
        let hot_clock = rig.peer.pll;
        rig.keep_busy(20, secs(5));
        rig.peer.temperature = 75;
        rig.run_for(ms(1500));
        assert!(matches!(
            rig.news.as_slice(),
            [DeviceEvent::Paused(PauseReason::Hot(75))]
        ));
        assert!(rig.live.is_empty(), "works on it end as lost");
        assert!(rig.count_ends(WorkEnd::Lost) > 0);
        assert_eq!(rig.host.capacity(), 0);
        assert!(!rig.peer.is_running());
        if layout == Layout::S3 {
            assert_eq!(rig.peer.pll, Clock::slowest(Model::AntminerS3).reg_data());
        }
        rig.peer.temperature = 51;
        rig.run_for(secs(3));
        assert_eq!(rig.host.capacity(), 0);
        rig.peer.temperature = 50;
        rig.run_for(secs(3));
        assert!(matches!(rig.news.last(), Some(DeviceEvent::Resumed)));
        assert_eq!(rig.news.len(), 2);
        assert_eq!(rig.peer.pll, hot_clock);
        rig.keep_busy(20, secs(5));
    }
}

#[test]
fn a_stopped_fan_stops_the_board() {
    let mut rig = Rig::ready(Layout::S3);
    rig.keep_busy(20, secs(5));
    rig.peer.fan = 0;
    rig.run_for(ms(1500));
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Paused(PauseReason::FanStopped)]
    ));
    assert!(!rig.peer.is_running());
    rig.peer.fan = 30;
    rig.run_for(secs(3));
    assert!(matches!(rig.news.last(), Some(DeviceEvent::Resumed)));
}

#[test]
fn a_board_that_is_hot_from_the_start_is_ready_but_paused() {
    let mut rig = Rig::new(Layout::S1);
    rig.peer.temperature = 80;
    rig.run_for(secs(2));
    assert!(matches!(
        rig.news.as_slice(),
        [
            DeviceEvent::Ready,
            DeviceEvent::Paused(PauseReason::Hot(80))
        ]
    ));
    assert_eq!(rig.host.capacity(), 0);
}

#[test]
fn the_owner_can_pause_and_resume() {
    let mut rig = Rig::ready(Layout::S1);
    rig.keep_busy(10, secs(5));
    rig.host.set_paused(true, rig.now);
    rig.take_news();
    assert!(rig.live.is_empty());
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Paused(PauseReason::Asked)]
    ));
    // Heat in the meantime is a new reason; cooling gives the old one back.
    rig.peer.temperature = 90;
    rig.run_for(secs(3));
    rig.peer.temperature = 30;
    rig.run_for(secs(3));
    rig.host.set_paused(false, rig.now);
    rig.run_for(secs(2));
    assert!(matches!(
        rig.news.as_slice(),
        [
            DeviceEvent::Paused(PauseReason::Asked),
            DeviceEvent::Paused(PauseReason::Hot(90)),
            DeviceEvent::Paused(PauseReason::Asked),
            DeviceEvent::Resumed
        ]
    ));
    rig.keep_busy(10, secs(5));
}

/// A clock that is not the stock one, within the default limit.
fn other_clock(layout: Layout) -> Clock {
    Clock::new(layout.model(), 200.0).unwrap()
}

#[test]
fn another_clock_flushes_the_board_and_starts_it_anew_until_the_own_one_is_back() {
    for layout in [Layout::S1, Layout::S3] {
        let mut rig = Rig::ready(layout);
        let stock = Clock::stock(layout.model());
        let other = other_clock(layout);
        rig.keep_busy(20, secs(5));
        let flushes = rig.peer.flushes;
        rig.host.set_clock(Some(other), rig.now).unwrap();
        rig.take_news();
        assert!(rig.live.is_empty(), "works on it end as lost");
        assert_eq!(rig.host.capacity(), 0);
        rig.run_for(secs(1));
        assert!(matches!(
            rig.news.as_slice(),
            [
                DeviceEvent::Paused(PauseReason::Configuring),
                DeviceEvent::Resumed
            ]
        ));
        assert!(rig.peer.flushes > flushes);
        assert_eq!(rig.peer.pll, other.reg_data());
        assert_eq!(rig.host.info().frequency_mhz, 200.0);
        assert_eq!(rig.host.info().sweep, Sweep::Timer(rig.peer.period));
        rig.keep_busy(20, secs(5));
        rig.host.set_clock(None, rig.now).unwrap();
        rig.run_for(secs(1));
        assert_eq!(rig.peer.pll, stock.reg_data());
        assert_eq!(rig.host.info().frequency_mhz, stock.mhz());
        rig.keep_busy(20, secs(5));
        assert_eq!(rig.host.status().counters.recoveries, 0, "that is no fault");
    }
}

#[test]
fn the_clock_that_it_has_already_disturbs_nothing() {
    let mut rig = Rig::ready(Layout::S3);
    let stock = Clock::stock(Model::AntminerS3);
    rig.host.set_clock(Some(stock), rig.now).unwrap();
    rig.run_for(secs(1));
    assert!(rig.news.is_empty(), "{:?}", rig.news);
}

#[test]
fn a_clock_of_another_model_is_refused_and_changes_nothing() {
    let mut rig = Rig::ready(Layout::S3);
    let error = rig
        .host
        .set_clock(Some(other_clock(Layout::S1)), rig.now)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused setting: a clock of an Antminer S1 is not for an Antminer S3"
    );
    rig.run_for(secs(1));
    assert!(rig.news.is_empty());
    assert_eq!(rig.host.info().frequency_mhz, 218.75);
}

#[test]
fn an_unknown_device_starts_with_the_other_clock_if_it_is_for_its_model() {
    for (layout, mhz) in [(Layout::S3, 200.0), (Layout::S1, 350.0)] {
        let mut rig = Rig::new(layout);
        rig.host
            .set_clock(Some(other_clock(Layout::S3)), rig.now)
            .unwrap();
        rig.run_for(secs(1));
        assert_eq!(rig.host.info().frequency_mhz, mhz);
        let configurations = rig.peer.received.iter();
        let configurations = configurations.filter(|r| matches!(r, Request::Config(_)));
        assert_eq!(configurations.count(), 1, "at its first start already");
    }
}

#[test]
fn a_start_that_has_configured_already_configures_again() {
    let mut rig = Rig::new(Layout::S3);
    while !rig
        .peer
        .received
        .iter()
        .any(|request| matches!(request, Request::Config(_)))
    {
        assert!(rig.step(secs(1)));
    }
    let other = other_clock(Layout::S3);
    rig.host.set_clock(Some(other), rig.now).unwrap();
    rig.run_for(secs(1));
    assert!(matches!(rig.news.as_slice(), [DeviceEvent::Ready]));
    assert_eq!(rig.peer.pll, other.reg_data());
    assert_eq!(rig.host.info().frequency_mhz, 200.0);
    rig.keep_busy(20, secs(5));
}

#[test]
fn a_board_that_rests_or_is_paused_gets_another_clock_when_it_goes_on() {
    let other = other_clock(Layout::S3);
    let slowest = Clock::slowest(Model::AntminerS3);
    let mut rig = Rig::ready(Layout::S3);
    rig.run_for(REST_AFTER + secs(2));
    rig.host.set_clock(Some(other), rig.now).unwrap();
    rig.run_for(secs(2));
    assert_eq!(rig.peer.pll, slowest.reg_data(), "it rests on");
    assert_eq!(rig.host.info().frequency_mhz, 200.0);
    rig.submit();
    rig.run_for(secs(2));
    assert_eq!(rig.peer.pll, other.reg_data());

    let mut rig = Rig::ready(Layout::S3);
    rig.host.set_paused(true, rig.now);
    rig.run_for(secs(2));
    rig.host.set_clock(Some(other), rig.now).unwrap();
    rig.run_for(secs(2));
    assert_eq!(rig.peer.pll, slowest.reg_data(), "it stays paused");
    rig.host.set_paused(false, rig.now);
    rig.run_for(secs(2));
    assert_eq!(rig.peer.pll, other.reg_data());
    rig.keep_busy(20, secs(5));
}

#[test]
fn silence_pauses_and_a_device_that_comes_back_goes_on() {
    let mut rig = Rig::ready(Layout::S3);
    rig.keep_busy(20, secs(5));
    rig.peer.is_silent = true;
    rig.run_for(ms(3500));
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Paused(PauseReason::StatusMissing)]
    ));
    assert!(rig.live.is_empty());
    rig.peer.is_silent = false;
    rig.run_for(secs(2));
    assert!(matches!(rig.news.last(), Some(DeviceEvent::Resumed)));
    assert_eq!(rig.host.status().counters.recoveries, 1);
    rig.keep_busy(20, secs(5));
}

#[test]
fn a_board_that_was_silent_goes_on_only_when_it_is_cool() {
    for layout in [Layout::S1, Layout::S3] {
        let mut rig = Rig::ready(layout);
        rig.keep_busy(20, secs(5));
        rig.peer.is_silent = true;
        rig.run_for(ms(3500));
        rig.peer.is_silent = false;
        rig.peer.temperature = 51;
        rig.run_for(secs(5));
        assert!(matches!(
            rig.news.as_slice(),
            [
                DeviceEvent::Paused(PauseReason::StatusMissing),
                DeviceEvent::Paused(PauseReason::Hot(51))
            ]
        ));
        assert_eq!(rig.host.capacity(), 0);
        assert!(rig.host.must_cool());
        if layout == Layout::S3 {
            assert_eq!(rig.peer.pll, Clock::slowest(Model::AntminerS3).reg_data());
        }
        rig.peer.temperature = 50;
        rig.run_for(secs(3));
        assert!(matches!(rig.news.last(), Some(DeviceEvent::Resumed)));
        assert!(!rig.host.must_cool());
        rig.keep_busy(20, secs(5));
    }
}

#[test]
fn silence_without_end_is_given_up() {
    let mut rig = Rig::ready(Layout::S1);
    rig.submit();
    rig.peer.is_silent = true;
    rig.run_for(secs(6));
    assert!(matches!(
        rig.news.last(),
        Some(DeviceEvent::Gone(DriverError::Unrecoverable(_)))
    ));
    assert!(rig.live.is_empty());
    assert_eq!(rig.host.wake_at(), None);
}

#[test]
fn a_device_that_speaks_no_known_layout_is_given_up() {
    let mut rig = Rig::new(Layout::S1);
    rig.peer.is_silent = true;
    rig.run_for(secs(4));
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Gone(DriverError::UnknownLayout)]
    ));
}

#[test]
fn a_failed_transfer_is_followed_by_a_fresh_start() {
    let mut rig = Rig::ready(Layout::S3);
    rig.keep_busy(20, secs(5));
    let (flushes, from) = (rig.peer.flushes, rig.peer.received.len());
    rig.faults = 1;
    rig.run_for(secs(2));
    assert!(matches!(
        rig.news.as_slice(),
        [
            DeviceEvent::Paused(PauseReason::Recovering(_)),
            DeviceEvent::Resumed
        ]
    ));
    assert!(rig.live.is_empty());
    assert_eq!(rig.peer.flushes, flushes + 2); // detect and configure
    let polls = rig.peer.received[from..]
        .iter()
        .take_while(|r| matches!(r, Request::Status(q) if !q.detect))
        .count();
    assert_eq!(polls, 2, "expendable polls come first");
    rig.keep_busy(20, secs(5));
}

#[test]
fn a_device_that_fails_again_and_again_is_given_up() {
    let mut rig = Rig::ready(Layout::S1);
    for _ in 0..4 {
        rig.submit();
        rig.faults = 1;
        rig.run_for(secs(2));
    }
    assert!(matches!(
        rig.news.last(),
        Some(DeviceEvent::Gone(DriverError::Unrecoverable(
            "it took a transfer too slowly or not at all"
        )))
    ));
}

#[test]
fn works_flushed_by_something_else_are_reported_as_lost() {
    let mut rig = Rig::ready(Layout::S3);
    rig.peer.nonce_errors = 3;
    rig.keep_busy(100, secs(5));
    rig.peer.flush(); // its counters show it
    rig.run_for(secs(2));
    assert!(rig.live.is_empty());
    assert!(rig.count_ends(WorkEnd::Lost) > 0);
    assert!(matches!(
        rig.news.as_slice(),
        [
            DeviceEvent::Paused(PauseReason::Recovering(_)),
            DeviceEvent::Resumed
        ]
    ));
}

#[test]
fn a_board_that_takes_no_work_is_flushed_and_then_given_up() {
    let mut rig = Rig::ready(Layout::S3);
    rig.peer.is_stuck = true;
    for _ in 0..4 {
        if rig.host.capacity() > 0 {
            rig.submit();
        }
        rig.run_for(secs(12));
        assert!(rig.live.is_empty(), "never silence");
    }
    let counters = rig.host.status().counters;
    assert!(counters.recoveries >= 3);
    assert_eq!(counters.lost_works, rig.ends.len() as u64);
}

#[test]
fn garbage_between_replies_costs_only_its_bytes() {
    let mut rig = Rig::ready(Layout::S3);
    for i in 0..200u32 {
        rig.keep_busy(5, secs(1));
        // Begins like a status of 1134 bytes, or like nothing.
        let noise = if i % 2 == 0 {
            Bytes::from_static(&[0xa1, 0, 0x6a, 4, 7])
        } else {
            Bytes::from_static(&[1, 2, 3, 0xa2, 9])
        };
        rig.host
            .on_transport(TransportEvent::Received(noise), rig.now);
        rig.take_news();
    }
    rig.run_for(ms(500));
    assert_eq!(rig.count_ends(WorkEnd::Lost), 0);
    let dropped = rig.host.status().counters.dropped_bytes;
    assert!((990..=1000).contains(&dropped), "{dropped} bytes dropped");
    let told: u64 = rig
        .mishaps
        .iter()
        .map(|mishap| match mishap {
            Mishap::Noise { bytes } => *bytes,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(told, dropped);
    assert!(rig.ends.len() > 500);
    assert!(rig.ends.keys().all(|tag| rig.hits.contains_key(tag)));
}

#[test]
fn a_short_packet_to_a_board_that_wakes_is_told_once() {
    let mut rig = Rig::ready(Layout::S3);
    rig.run_for(REST_AFTER + secs(2));
    rig.submit();
    rig.peer.received.clear();
    while rig.peer.received.is_empty() {
        rig.step(rig.now + secs(1));
    }
    // The rest of this packet is lost, and with it the answer to the first question.
    rig.host.on_transport(
        TransportEvent::Received(Bytes::from_static(&[0xa1, 0, 0x30, 0, 0])),
        rig.now,
    );
    rig.run_for(secs(2));
    assert_eq!(rig.mishaps, [Mishap::Noise { bytes: 5 }]);
    rig.keep_busy(20, secs(5));
}

#[test]
fn errors_that_the_controller_counts_are_added_up() {
    let mut rig = Rig::ready(Layout::S1);
    rig.peer.nonce_errors = 5;
    rig.run_for(secs(2));
    rig.peer.nonce_errors = 7;
    rig.run_for(secs(2));
    assert_eq!(rig.host.status().counters.hardware_errors, 7);
    // A flush zeroes the controller's count, not ours.
    rig.host.set_paused(true, rig.now);
    rig.run_for(secs(2));
    rig.peer.nonce_errors = 2;
    rig.run_for(secs(2));
    assert_eq!(rig.host.status().counters.hardware_errors, 9);
}

#[test]
fn unplug_ends_every_work_once() {
    let mut rig = Rig::ready(Layout::S3);
    rig.keep_busy(20, secs(5));
    let fault = TransportEvent::Fault(TransportError::Disconnected);
    rig.host.on_transport(fault, rig.now);
    rig.take_news();
    assert!(rig.live.is_empty());
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Gone(DriverError::Disconnected)]
    ));
    rig.run_for(secs(10));
    assert_eq!(rig.news.len(), 1);
}

#[test]
fn shutdown_flushes_and_leaves_an_s3_at_its_slowest_clock() {
    for layout in [Layout::S1, Layout::S3] {
        let mut rig = Rig::ready(layout);
        rig.keep_busy(20, secs(5));
        rig.host.begin_shutdown(rig.now);
        rig.run_for(secs(2));
        assert!(rig.live.is_empty());
        assert!(matches!(
            rig.news.as_slice(),
            [DeviceEvent::Gone(DriverError::Closed)]
        ));
        assert!(!rig.peer.is_running());
        if layout == Layout::S3 {
            assert_eq!(rig.peer.pll, Clock::slowest(Model::AntminerS3).reg_data());
        }
    }
}

#[test]
fn an_s3_without_work_rests_at_its_slowest_clock_and_wakes_before_the_next_work() {
    let mut rig = Rig::ready(Layout::S3);
    let stock = rig.peer.pll;
    rig.keep_busy(20, secs(5));
    rig.run_for(secs(1));
    assert!(rig.live.is_empty());
    rig.run_for(REST_AFTER - secs(2));
    assert_eq!(rig.peer.pll, stock, "it rests only after {REST_AFTER:?}");
    rig.run_for(secs(3));
    assert_eq!(rig.peer.pll, Clock::slowest(Model::AntminerS3).reg_data());
    assert!(!rig.peer.is_running());
    rig.run_for(secs(600));
    rig.peer.received.clear();
    let tags: Vec<_> = (0..rig.host.capacity()).map(|_| rig.submit()).collect();
    assert!(!tags.is_empty());
    assert_eq!(rig.host.capacity(), 0);
    rig.run_for(secs(3));
    for tag in &tags {
        assert_eq!(rig.ends[tag].0, WorkEnd::Timer);
    }
    let at = |wanted: fn(&Request) -> bool| rig.peer.received.iter().position(wanted).unwrap();
    let config = at(|request| matches!(request, Request::Config(_)));
    assert!(config < at(|request| matches!(request, Request::Task(_))));
    assert_eq!(rig.peer.pll, stock);
    assert!(rig.news.is_empty(), "nobody is told: {:?}", rig.news);
    assert_eq!(rig.host.status().counters.recoveries, 0);
}

#[test]
fn only_an_s3_rests_and_only_if_it_may() {
    for (layout, rest_after) in [(Layout::S1, Some(REST_AFTER)), (Layout::S3, None)] {
        let mut rig = Rig::new(layout);
        rig.host.settings.rest_after = rest_after;
        rig.run_for(secs(1));
        let clock = rig.peer.pll;
        rig.keep_busy(20, secs(5));
        rig.run_for(REST_AFTER * 3);
        assert_eq!(rig.peer.pll, clock, "{layout}");
    }
}

#[test]
fn a_board_at_rest_is_watched_like_any_other() {
    let mut rig = Rig::ready(Layout::S3);
    rig.run_for(REST_AFTER + secs(2));
    rig.peer.temperature = 75;
    rig.run_for(secs(2));
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Paused(PauseReason::Hot(75))]
    ));
    assert_eq!(rig.host.capacity(), 0);
    rig.peer.temperature = 50;
    rig.run_for(secs(3));
    assert!(matches!(rig.news[1], DeviceEvent::Resumed));
    rig.run_for(REST_AFTER);
    rig.peer.is_silent = true;
    rig.run_for(secs(4));
    assert!(matches!(
        rig.news[2],
        DeviceEvent::Paused(PauseReason::StatusMissing)
    ));
}

#[test]
fn a_rest_can_be_ended_by_shutdown_and_by_unplug() {
    let mut rig = Rig::ready(Layout::S3);
    rig.run_for(REST_AFTER + secs(2));
    rig.host.begin_shutdown(rig.now);
    rig.run_for(secs(2));
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Gone(DriverError::Closed)]
    ));
    let mut rig = Rig::ready(Layout::S3);
    rig.run_for(REST_AFTER + secs(2));
    let tag = rig.submit();
    let fault = TransportEvent::Fault(TransportError::Disconnected);
    rig.host.on_transport(fault, rig.now);
    rig.take_news();
    assert_eq!(rig.ends[&tag].0, WorkEnd::Lost);
}

#[test]
fn shutdown_of_a_device_that_takes_nothing_is_bounded() {
    let mut rig = Rig::ready(Layout::S1);
    rig.run_for(ms(500));
    // A transfer that never ends.
    let token = rig.host.next_token(rig.now + secs(2));
    assert!(token.is_some());
    rig.host.begin_shutdown(rig.now);
    assert!(rig.host.wake_at() <= Some(rig.now + secs(2)));
    rig.host.on_time(rig.now + ms(1500));
    rig.take_news();
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Gone(DriverError::Closed)]
    ));
}

#[test]
fn a_read_that_always_fails_is_given_up() {
    let mut rig = Rig::ready(Layout::S1);
    for _ in 0..IN_FAULTS_IN_A_ROW {
        assert!(rig.news.is_empty());
        let fault = TransportEvent::Fault(TransportError::Stall);
        // Between transfers, so that the fault can only be that of a read.
        assert!(rig.sending.is_none());
        rig.host.on_transport(fault, rig.now);
        rig.take_news();
    }
    let told = [Mishap::ReadFailed("an endpoint stalled"); IN_FAULTS_IN_A_ROW as usize];
    assert_eq!(rig.mishaps, told);
    assert!(matches!(
        rig.news.as_slice(),
        [DeviceEvent::Gone(DriverError::Io { .. })]
    ));
}

#[test]
fn a_board_that_behaves_has_no_mishaps() {
    for layout in [Layout::S1, Layout::S3] {
        let mut rig = Rig::ready(layout);
        rig.keep_busy(1000, secs(60));
        rig.run_for(REST_AFTER * 2);
        rig.keep_busy(100, secs(60));
        assert_eq!(rig.mishaps, []);
    }
}

/// SplitMix64: enough for schedules, and repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A random schedule of callers and mishaps; the rig checks the invariants on the
/// way: no work beyond the free places, no second end, no hit after the end.
fn random_schedule(seed: u64) {
    let mut dice = Dice(seed);
    let layout = if dice.roll(2) == 0 {
        Layout::S1
    } else {
        Layout::S3
    };
    let mut rig = Rig::new(layout);
    if dice.roll(3) == 0 {
        rig.peer.depth = 1 + dice.roll(20) as usize;
    }
    rig.run_for(secs(1));
    let (mut accepted, mut cancelled) = (0, 0);
    for _ in 0..120 {
        match dice.roll(17) {
            0..=7 => {
                let wanted = dice.roll(16) as usize;
                let capacity = rig.host.capacity();
                for _ in 0..wanted.min(capacity) {
                    rig.submit();
                    accepted += 1;
                }
                assert!(rig.host.capacity() <= capacity);
            }
            8 | 9 => {
                let victims: Vec<_> = rig.live.iter().copied().filter(|t| t.0 % 3 == 0).collect();
                for tag in victims {
                    rig.host.cancel(tag);
                    rig.live.remove(&tag);
                    cancelled += 1;
                }
            }
            10 => rig.faults = dice.roll(2) as u32,
            11 => {
                let noise: Vec<u8> = (0..1 + dice.roll(80))
                    .map(|_| dice.roll(256) as u8)
                    .collect();
                rig.host
                    .on_transport(TransportEvent::Received(noise.into()), rig.now);
                rig.take_news();
            }
            12 => rig.host.set_paused(dice.roll(3) == 0, rig.now),
            13 => rig.peer.temperature = if dice.roll(4) == 0 { 80 } else { 40 },
            15 => {
                let clock = (dice.roll(2) == 0).then(|| other_clock(layout));
                rig.host.set_clock(clock, rig.now).unwrap();
            }
            14 => rig.peer.is_silent = dice.roll(8) == 0,
            _ => rig.peer.slowdown = 1.0 + dice.roll(30) as f64,
        }
        rig.take_news();
        let longest = if dice.roll(8) == 0 { 5000 } else { 80 };
        let pause = dice.roll(longest);
        rig.run_for(ms(pause));
        assert!(rig.host.feed.registered() <= REGISTRY_WORKS);
    }
    // Everything is well again: what is left must end.
    rig.faults = 0;
    rig.peer.is_silent = false;
    rig.peer.temperature = 40;
    rig.peer.slowdown = 1.0;
    rig.host.set_paused(false, rig.now);
    rig.run_for(secs(120));
    assert!(rig.live.is_empty(), "{:?} never ended", rig.live);
    assert_eq!(rig.ends.len() + cancelled, accepted);
    let lost = rig.count_ends(WorkEnd::Lost) as u64;
    assert_eq!(rig.host.status().counters.lost_works, lost);
}

#[test]
fn random_schedules_end_every_work_exactly_once() {
    let given = std::env::var("HASHER_TEST_SEED").ok();
    let seeds = match given {
        Some(seed) => {
            let seed = seed.parse().expect("HASHER_TEST_SEED is a number");
            seed..seed + 1
        }
        None => 0..100,
    };
    for seed in seeds {
        println!("HASHER_TEST_SEED={seed}");
        random_schedule(seed);
    }
}
