//! Host and simulated board end to end, under paused time.

use std::collections::BTreeMap;

use bytes::Bytes;
use hasher_work::{Header, Midstate, Nonce, NonceRange, Tail, Target, to_hex};

use super::*;
use crate::sim::{Hashing, Image, SimBoard, SimSettings, SimTransport};
use crate::vectors::{bytes, vectors};
use crate::{
    Clock, DeviceId, DeviceKind, Layout, Mishap, Model, PauseReason, Sweep, WorkEnd, next_event,
    next_event_or_room,
};

const IMAGES: [Image; 3] = [Image::S1Of2013, Image::S1Of2014, Image::S3Version7];

const ZERO_BITS: u32 = 10;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn board(image: Image, zero_bits: u32, script: &str) -> SimBoard {
    let settings = SimSettings {
        script: script.parse().unwrap(),
        boot_loader: false,
        zero_bits,
        hashing: Hashing::Inline,
        ..SimSettings::new(image)
    };
    SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap()
}

/// Writes down what goes over the wire.
struct Tap {
    wire: SimTransport,
    sent: Vec<Bytes>,
    received: Vec<Bytes>,
}

impl Transport for Tap {
    fn start_send(&mut self, token: Bytes) {
        self.sent.push(token.clone());
        self.wire.start_send(token);
    }
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        let event = self.wire.poll_event(cx);
        if let Poll::Ready(TransportEvent::Received(bytes)) = &event {
            self.received.push(bytes.clone());
        }
        event
    }
    fn slowdown(&self) -> Option<f64> {
        self.wire.slowdown()
    }
}

/// A device and everything it told.
struct Bench {
    device: BitmainDevice<Tap>,
    works: BTreeMap<WorkTag, Work>,
    hits: Vec<(WorkTag, Nonce)>,
    ends: BTreeMap<WorkTag, WorkEnd>,
    mishaps: Vec<Mishap>,
    news: Vec<String>,
}

impl Bench {
    fn attach(board: &SimBoard) -> Self {
        let tap = Tap {
            wire: board.attach().unwrap(),
            sent: Vec::new(),
            received: Vec::new(),
        };
        let settings = BoardSettings::new(board.id().clone(), DeviceKind::Simulated)
            .with_filter_zero_bits(board.zero_bits());
        Self {
            device: BitmainDevice::new(tap, settings),
            works: BTreeMap::new(),
            hits: Vec::new(),
            ends: BTreeMap::new(),
            mishaps: Vec::new(),
            news: Vec::new(),
        }
    }

    async fn ready(board: &SimBoard) -> Self {
        let mut bench = Self::attach(board);
        bench.until("Ready", secs(5)).await;
        bench
    }

    /// Handles one event, or none when there is room for more works.
    async fn turn(&mut self) {
        let Some(event) = next_event_or_room(&mut self.device).await else {
            return;
        };
        match event {
            DeviceEvent::Hit { tag, nonce, digest } => {
                assert!(!self.ends.contains_key(&tag), "a hit after the end");
                assert_eq!(self.works[&tag].digest(nonce), digest);
                assert!(digest.leading_zero_bits() >= self.device.info().filter_zero_bits);
                assert!(!self.hits.contains(&(tag, nonce)), "a hit twice");
                self.hits.push((tag, nonce));
            }
            DeviceEvent::Done { tag, end } => {
                assert!(self.works.contains_key(&tag));
                assert_eq!(self.ends.insert(tag, end), None, "{tag:?} ended twice");
            }
            DeviceEvent::Status => {}
            DeviceEvent::Mishap(mishap) => self.mishaps.push(mishap),
            other => self.news.push(format!("{other:?}")),
        }
    }

    /// Runs until the newest news begins with this text.
    async fn until(&mut self, news: &str, limit: Duration) {
        let wanted = async {
            while !self.news.last().is_some_and(|last| last.starts_with(news)) {
                self.turn().await;
            }
        };
        let in_time = tokio::time::timeout(limit, wanted).await;
        assert!(in_time.is_ok(), "no {news} but {:?}", self.news);
    }

    async fn run_for(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, async {
            loop {
                self.turn().await;
            }
        })
        .await;
    }

    fn submit(&mut self, work: Work, target: Target) -> WorkTag {
        let tag = WorkTag(self.works.len() as u64);
        let work = DeviceWork {
            tag,
            work,
            range: NonceRange::WHOLE,
            target,
            hits_wanted: 1,
        };
        self.device.submit(work).unwrap();
        self.works.insert(tag, work.work);
        tag
    }

    /// Fills the device with works of our own.
    fn fill(&mut self) {
        while self.device.capacity() > 0 {
            let mut seed = self.works.len() as u32 * 1000;
            let work = loop {
                let mut header = [0; 80];
                header[..4].copy_from_slice(&seed.to_le_bytes());
                let work = Header(header).work();
                if self.device.can_run(&work) {
                    break work;
                }
                seed += 1;
            };
            self.submit(work, Target::ANY);
        }
    }

    /// Keeps the device full for a time.
    async fn busy_for(&mut self, time: Duration) {
        let _ = tokio::time::timeout(time, async {
            loop {
                self.fill();
                self.turn().await;
            }
        })
        .await;
    }

    fn count(&self, wanted: WorkEnd) -> usize {
        self.ends.values().filter(|end| **end == wanted).count()
    }

    /// Every work had its end.
    fn assert_complete(&self) {
        assert_eq!(self.ends.len(), self.works.len(), "{:?}", self.news);
    }
}

#[tokio::test(start_paused = true)]
async fn every_image_becomes_ready_and_is_described() {
    for image in IMAGES {
        let bench = Bench::ready(&board(image, ZERO_BITS, "")).await;
        let info = bench.device.info();
        let model = image.model();
        assert_eq!(info.model, model.name());
        assert_eq!(info.kind, DeviceKind::Simulated);
        assert_eq!(info.chips_per_chain, [model.chips_per_chain(); 2]);
        let clock = Clock::stock(model);
        assert_eq!(info.frequency_mhz, clock.mhz());
        let period = ms(clock.timeout_ms().into());
        assert_eq!(info.sweep, Sweep::Timer(period));
        let firmware = match image {
            Image::S1Of2013 => "0",
            Image::S1Of2014 => "7",
            Image::S3Version7 => "07000003",
        };
        assert_eq!(info.firmware, firmware);
        assert_eq!(bench.device.status().slowdown, Some(1.0));
    }
}

#[tokio::test(start_paused = true)]
async fn every_image_is_kept_busy_at_its_pace_with_the_yield_of_silicon() {
    for (image, works_per_s, yield_per_work) in [
        (Image::S1Of2013, 50.0, 0.83),
        (Image::S1Of2014, 50.0, 0.83),
        (Image::S3Version7, 111.1, 0.92),
    ] {
        let mut bench = Bench::ready(&board(image, ZERO_BITS, "")).await;
        bench.busy_for(secs(2)).await; // the first half second of an S3 is slower
        let (from, hits) = (bench.ends.len(), bench.hits.len());
        bench.busy_for(secs(20)).await;
        let works = (bench.ends.len() - from) as f64;
        assert!(
            (works / 20.0 / works_per_s - 1.0).abs() < 0.03,
            "{image:?}: {} works a second",
            works / 20.0
        );
        // Poisson: five standard deviations.
        let expected = works * yield_per_work;
        let hits = (bench.hits.len() - hits) as f64;
        assert!(
            (hits - expected).abs() < 5.0 * expected.sqrt() + 0.01 * expected,
            "{image:?}: {hits} hits of {works} works"
        );
        assert_eq!(bench.count(WorkEnd::Lost), 0);
        let counters = bench.device.status().counters;
        assert_eq!(counters.hardware_errors, 0);
        assert_eq!(counters.stale, 0, "{image:?}: works were ended too early");
        assert_eq!((counters.recoveries, counters.dropped_bytes), (0, 0));
        assert_eq!(bench.mishaps, [], "{image:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn real_blocks_are_found_at_all_32_bits_and_their_bytes_are_on_the_wire() {
    let vectors = vectors();
    let blocks = [
        "block 0 (genesis)",
        "block 1",
        "block 170",
        "block 100000",
        "block 125552",
    ];
    for image in IMAGES {
        let mut bench = Bench::ready(&board(image, 32, "")).await;
        for name in blocks {
            let entry = vectors["works"]
                .as_array()
                .unwrap()
                .iter()
                .find(|work| work["name"] == name)
                .unwrap();
            let header: Header = entry["header_hex"].as_str().unwrap().parse().unwrap();
            let target = Target::from_zero_bits(32).unwrap();
            let tag = bench.submit(header.work(), target);
            bench.run_for(ms(400)).await;
            assert!(
                bench.hits.contains(&(tag, header.nonce())),
                "{image:?} {name}: {:?}",
                bench.hits
            );
            assert_eq!(bench.ends[&tag], WorkEnd::Timer);
            // The same bytes as in the vectors, in both directions.
            let wire = &bench.device.transport;
            let item = [bytes(&entry["midstate_wire"]), bytes(&entry["data_wire"])].concat();
            let was_sent = |token: &Bytes| token.windows(44).any(|window| window == item);
            assert!(wire.sent.iter().any(was_sent), "{image:?} {name}");
            let nonce = bytes(&entry["nonce"]["wire_bytes"]);
            let came = |reply: &Bytes| reply.windows(4).any(|window| window == nonce);
            assert!(wire.received.iter().any(came), "{image:?} {name}");
            let midstate = Midstate::from_wire(item[..32].try_into().unwrap());
            let tail = Tail::from_wire(item[32..].try_into().unwrap());
            assert_eq!(header.work(), Work { midstate, tail });
        }
        assert_eq!(bench.hits.len(), blocks.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_capture_begins_with_the_start_and_ends_with_the_newest_transfers() {
    for image in IMAGES {
        let mut bench = Bench::ready(&board(image, ZERO_BITS, "stall=in@32s")).await;
        bench.busy_for(secs(30)).await;
        let capture = bench.device.capture().unwrap();
        let wire = &bench.device.transport;
        let start: Vec<_> = capture.start().collect();
        let first = TransferKind::Out(wire.sent[0].clone());
        assert_eq!(start[0].kind, first, "{image:?}");
        let received = |kind: &TransferKind| matches!(kind, TransferKind::In(_));
        let newest = capture.recent().filter(|t| received(&t.kind)).last();
        let newest = newest.unwrap().kind;
        assert_eq!(
            newest,
            TransferKind::In(wire.received.last().unwrap().clone())
        );
        assert!(capture.left_out() > 1000);
        while bench.mishaps.is_empty() {
            bench.busy_for(ms(100)).await;
        }
        let capture = bench.device.capture().unwrap();
        let stalled = TransferKind::Fault("an endpoint stalled");
        assert!(capture.recent().any(|transfer| transfer.kind == stalled));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_dangerous_ever_goes_over_the_wire() {
    for image in IMAGES {
        let script = "heat=120@3s+60s;silence@90s+3s";
        let mut bench = Bench::ready(&board(image, ZERO_BITS, script)).await;
        bench.busy_for(secs(100)).await;
        bench.device.begin_shutdown();
        bench.until("Gone(Closed)", secs(2)).await;
        for token in &bench.device.transport.sent {
            assert!(token.len() <= 394);
            assert!(!token.starts_with(&[0x55, 0xaa, 0xaa, 0xbb]));
            match crate::token::Request::decode(image.layout(), token) {
                Ok(crate::token::Request::Config(config)) => {
                    assert!(!config.control.temp_over_ctrl);
                    assert!((1..=69).contains(&config.timeout_ms));
                    let word = u16::from_be_bytes([config.reg_data[0], config.reg_data[1]]);
                    assert!(Clock::from_word(image.model(), word).is_some());
                }
                Ok(_) => {}
                // The other layout's query while the layout is unknown.
                Err(_) => assert!(token[0] == 0x53, "{}", to_hex(token)),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unplug_in_the_middle_ends_every_work_once_and_the_board_comes_back() {
    for image in IMAGES {
        for script in ["unplug@3s+1s", "unplug@out:5000+1s", "unplug@in:3333+1s"] {
            let board = board(image, ZERO_BITS, script);
            let mut bench = Bench::ready(&board).await;
            bench.busy_for(secs(4)).await;
            bench.until("Gone(Disconnected)", secs(60)).await;
            bench.assert_complete();
            assert!(bench.count(WorkEnd::Lost) > 0, "{image:?} {script}");
            assert!(bench.count(WorkEnd::Timer) > 0, "{image:?} {script}");
            drop(bench);
            tokio::time::sleep(secs(2)).await;
            let mut bench = Bench::ready(&board).await;
            bench.busy_for(secs(2)).await;
            assert!(bench.hits.len() > 40, "{image:?} {script}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cycle_disconnects() {
    let board = board(Image::S3Version7, ZERO_BITS, "power-cycle@3s");
    let mut bench = Bench::ready(&board).await;
    bench.busy_for(secs(3)).await;
    bench.until("Gone(Disconnected)", secs(2)).await;
    bench.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn heat_pauses_the_board_until_it_is_cool() {
    for image in IMAGES {
        let board = board(image, ZERO_BITS, "heat=90@2s+60s");
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(40)).await;
        bench.until("Paused(Hot(", secs(60)).await;
        bench.assert_complete();
        assert_eq!(bench.device.capacity(), 0);
        let hottest = |bench: &Bench| {
            let status = bench.device.status();
            status.temperatures_celsius.into_iter().max().unwrap()
        };
        assert!(hottest(&bench) >= 75);
        bench.until("Resumed", secs(900)).await;
        assert!(hottest(&bench) <= 50);
        let hits = bench.hits.len();
        bench.busy_for(secs(2)).await;
        assert!(bench.hits.len() > hits);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_fan_stops_the_board() {
    for image in IMAGES {
        let board = board(image, ZERO_BITS, "fan-stop@3s+30s");
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(25)).await;
        let stopped = format!("Paused({:?}", PauseReason::FanStopped);
        assert!(
            bench.news.iter().any(|news| news.starts_with(&stopped)),
            "{image:?}: {:?}",
            bench.news
        );
        bench.assert_complete();
        bench.until("Resumed", secs(900)).await;
        bench.busy_for(secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn silence_pauses_and_the_board_goes_on_afterwards() {
    for image in IMAGES {
        let board = board(image, ZERO_BITS, "silence@3s+4s");
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(4)).await;
        bench.until("Paused(StatusMissing)", secs(5)).await;
        bench.assert_complete();
        bench.until("Resumed", secs(5)).await;
        bench.busy_for(secs(3)).await;
        assert_eq!(bench.device.status().counters.recoveries, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_board_that_falls_silent_or_freezes_for_good_is_given_up() {
    for script in ["silence@3s", "freeze@3s"] {
        let board = board(Image::S3Version7, ZERO_BITS, script);
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(3)).await;
        bench.until("Gone(Unrecoverable", secs(30)).await;
        bench.assert_complete();
    }
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_wire_is_survived() {
    for image in IMAGES {
        let script = "garbage=40@2s;garbage=512@2500ms;short=3@3s;bad-crc=5@4s;\
                      stall=in@5s;stall@6s;lost-nonce=5@7s";
        let board = board(image, ZERO_BITS, script);
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(10)).await;
        let counters = bench.device.status().counters;
        assert_eq!(
            counters.recoveries, 1,
            "{image:?}: the stalled OUT transfer"
        );
        assert!(counters.dropped_bytes >= 500, "{image:?}");
        assert!(bench.count(WorkEnd::Timer) > 300);
        assert!(bench.news.last().unwrap().starts_with("Resumed"));
    }
}

#[tokio::test(start_paused = true)]
async fn bad_nonces_are_counted_and_never_told() {
    for image in IMAGES {
        let script = "duplicate-nonce=3@2s;wrong-nonce=2@3s;forged-nonce=4@4s";
        let board = board(image, ZERO_BITS, script);
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(8)).await; // the bench checks every hit
        let counters = bench.device.status().counters;
        assert_eq!(counters.duplicates, 3, "{image:?}");
        // Wrong ones by the controller, forged ones by the host.
        assert_eq!(counters.hardware_errors, 6, "{image:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn orders_are_obeyed_between_polls() {
    for image in IMAGES {
        let board = board(image, ZERO_BITS, "");
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(1)).await;
        bench.device.set_paused(true);
        bench.until("Paused(Asked)", ms(100)).await;
        bench.assert_complete();
        bench.device.set_paused(false);
        bench.until("Resumed", secs(2)).await;
        bench.fill();
        bench.device.begin_shutdown();
        bench.until("Gone(Closed)", secs(2)).await;
        bench.assert_complete();
        // Nothing follows, and the board hashes no callers' work any more.
        let news = bench.news.len();
        bench.run_for(secs(5)).await;
        assert_eq!(bench.news.len(), news);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_repeats_exactly_under_paused_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let board = board(Image::S3Version7, ZERO_BITS, "bad-crc=2@2s;lost-nonce=3@3s");
        let mut bench = Bench::ready(&board).await;
        bench.busy_for(secs(5)).await;
        runs.push((bench.hits, bench.ends, bench.device.transport.sent));
    }
    assert!(runs[0] == runs[1]);
}

#[tokio::test(start_paused = true)]
async fn a_work_that_an_s3_drops_is_refused() {
    let bench = Bench::ready(&board(Image::S3Version7, ZERO_BITS, "")).await;
    let work = Work {
        midstate: Midstate([0xaa00_0000; 8]),
        tail: Tail([0; 3]),
    };
    assert!(!bench.device.can_run(&work));
    let bench = Bench::ready(&board(Image::S1Of2013, ZERO_BITS, "")).await;
    assert!(bench.device.can_run(&work));
    assert_eq!(Model::AntminerS1.layout(), Layout::S1);
}

/// A transport that takes its time to close.
struct Lingering {
    wire: SimTransport,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Transport for Lingering {
    fn start_send(&mut self, token: Bytes) {
        assert!(self.closing.is_none(), "sent while it is being closed");
        self.wire.start_send(token);
    }
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        assert!(self.closing.is_none(), "read while it is being closed");
        self.wire.poll_event(cx)
    }
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = self
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(ms(300))));
        closing.as_mut().poll(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_when_the_transport_has_given_the_device_back() {
    let board = board(Image::S3Version7, ZERO_BITS, "");
    let transport = Lingering {
        wire: board.attach().unwrap(),
        closing: None,
    };
    let settings = BoardSettings::new(board.id().clone(), DeviceKind::Simulated);
    let mut device = BitmainDevice::new(transport, settings);
    assert!(matches!(next_event(&mut device).await, DeviceEvent::Ready));
    let begun = Instant::now();
    device.begin_shutdown();
    let end = loop {
        if let DeviceEvent::Gone(error) = next_event(&mut device).await {
            break error;
        }
    };
    assert!(matches!(end, DriverError::Closed));
    assert!(
        (ms(300)..secs(2)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    let more = tokio::time::timeout(secs(60), next_event(&mut device)).await;
    assert!(more.is_err(), "{more:?}");
}
