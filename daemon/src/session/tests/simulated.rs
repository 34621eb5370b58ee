//! The same over the driver's simulated boards, byte by byte through their whole
//! protocol, hashing inline so that paused time stays exact.

use hasher_driver::host::BoardSettings;
use hasher_driver::sim::{Hashing, Image, SimBoard, SimSettings};
use hasher_driver::{BitmainDevice, DeviceId, DeviceKind, DriverError, HashDevice};

use super::support::*;

/// A simulated board whose chips report from 8 zero bits on.
fn board(model: &str, index: usize, script: &str) -> DeviceSource {
    let script = match script {
        "" => String::new(),
        script => format!(",script={script}"),
    };
    device(
        &format!("{model},zero-bits=8,hashing=inline{script}"),
        index,
    )
}

#[tokio::test(start_paused = true)]
async fn three_clients_share_a_simulated_s3() {
    let daemon = Daemon::start(vec![board("sim:s3", 0, "")]);
    let mut watcher = daemon.client("watcher").await;
    let topics = Topics::ALL;
    watcher.send(&Frame::Subscribe(Subscribe { topics })).await;
    let mut flood = daemon.client("flood").await;
    let flooding = tokio::spawn(async move {
        for request in 0..200 {
            let messages = [[request as u8; 500]; 50];
            flood.send(&digest_batch(request, &messages)).await;
            assert!(matches!(flood.next().await, Some(Frame::Digests(_))));
        }
    });
    let mut searcher = daemon.client("searcher").await;
    for round in 0..5 {
        searcher
            .search(round, (0..40).map(|i| job(round * 40 + i)).collect())
            .await;
        for _ in 0..40 {
            let Some(Frame::SearchDone(done)) = searcher.next().await else {
                panic!("a search is answered")
            };
            assert_eq!(&*done.computed_by[0].device, "sim-s3-0");
            assert_eq!(done.computed_by[0].kind, hasher_wire::DeviceKind::Simulated);
            assert_eq!(done.result.end, SearchEnd::Found);
            assert!(done.result.hits[0].digest.leading_zero_bits() >= 8);
        }
    }
    flooding.await.unwrap();
    let report = loop {
        let Some(Frame::Event(event)) = watcher.next().await else {
            panic!("events come")
        };
        if let EventBody::Status { status } = event.body().unwrap()
            && status.totals.jobs_done == 200
        {
            break status;
        }
    };
    let device = &report.devices[0];
    assert_eq!(
        (&*device.model, device.state),
        ("Antminer S3", DeviceState::Ready)
    );
    assert!(device.counters.works >= 200);
    assert_eq!(report.totals.wrong_hits, 0);
    drop((searcher, watcher));
    daemon.assert_empty().await;
}

/// A script of a few accidents within the first twenty seconds.
fn accidents(rng: &mut Rng) -> String {
    let events: Vec<String> = (0..1 + rng.below(4))
        .map(|_| {
            let at = 3000 + rng.below(17_000);
            let duration = 100 + rng.below(3000);
            match rng.below(8) {
                0 => format!("unplug@{at}ms+{duration}ms"),
                1 => format!("unplug@out:{}+{duration}ms", 2000 + rng.below(100_000)),
                2 => format!("power-cycle@{at}ms+{duration}ms"),
                3 => format!("silence@{at}ms+{duration}ms"),
                4 => format!("garbage={}@{at}ms", 1 + rng.below(64)),
                5 => format!("bad-crc={}@{at}ms", 1 + rng.below(5)),
                6 => format!("short={}@{at}ms", 1 + rng.below(5)),
                _ => format!("wrong-nonce={}@{at}ms", 1 + rng.below(5)),
            }
        })
        .collect();
    events.join(";")
}

#[tokio::test(start_paused = true)]
async fn accidents_of_a_simulated_board_leave_no_job_without_its_one_answer() {
    let seed = test_seed();
    for schedule in 0..8 {
        let mut rng = Rng::new(seed.wrapping_add(schedule));
        let script = accidents(&mut rng);
        println!("schedule {schedule}: {script}");
        let model = ["sim:s1", "sim:s3"][rng.below(2) as usize];
        let daemon = Arc::new(Daemon::start(vec![board(model, 0, &script)]));
        let clients: Vec<_> = (0..3)
            .map(|_| tokio::spawn(restless_client(Arc::clone(&daemon), rng.next())))
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        daemon.assert_empty().await;
        let totals = daemon.hub.status().totals;
        assert_eq!(totals.jobs_accepted, totals.jobs_done + totals.jobs_failed);
        assert_eq!(totals.wrong_hits, 0, "the driver verified every nonce");
        daemon.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_board_comes_back_and_finishes_what_it_had() {
    let daemon = Daemon::start(vec![board("sim:s3", 0, "unplug@6s+2s")]);
    let mut client = daemon.client("patient").await;
    tokio::time::sleep(Duration::from_millis(5900)).await;
    // Enough to be under way when the cable is pulled.
    client.search(1, (0..250).map(job).collect()).await;
    for _ in 0..250 {
        let answer = client.next().await;
        assert!(matches!(answer, Some(Frame::SearchDone(_))), "{answer:?}");
    }
    let report = &client.status().await.devices[0];
    assert_eq!((report.state, report.attachments), (DeviceState::Ready, 2));
}

#[tokio::test(start_paused = true)]
async fn a_capture_shows_the_wire_and_no_work_of_a_client() {
    let daemon = Daemon::start(vec![board("sim:s3", 0, "unplug@20s")]);
    let mut client = daemon.client("curious").await;
    client.search(1, (0..200).map(job).collect()).await;
    for _ in 0..200 {
        assert!(matches!(client.next().await, Some(Frame::SearchDone(_))));
    }
    // Also when the device is gone.
    for _ in 0..2 {
        let capture = client.capture("sim-s3-0").await.unwrap();
        assert_eq!(capture.device, "sim-s3-0");
        let start: Vec<_> = capture.start.iter().map(|t| &t.data).collect();
        let detect = TransferData::Out("53000800020000000000830d".to_owned());
        assert_eq!(start[0], &detect);
        assert!(
            start
                .iter()
                .any(|data| matches!(data, TransferData::In(hex) if hex.starts_with("a100")))
        );
        let outs = capture.start.iter().chain(&capture.recent);
        let tasks: Vec<_> = outs
            .filter_map(|transfer| match &transfer.data {
                TransferData::Out(hex) if hex.starts_with("52") => Some(hex),
                _ => None,
            })
            .collect();
        assert!(!tasks.is_empty());
        for task in tasks {
            let bytes = from_hex(task).unwrap();
            for work in bytes[8..bytes.len() - 2].chunks(48) {
                assert_eq!(work[4..], [0; 44]);
            }
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    assert_eq!(client.status().await.devices[0].state, DeviceState::Absent);
    assert_eq!(client.capture("cpu-7").await, Err(Status::Unsupported));
}

/// A simulated board that stays in the test's hand.
struct Held(SimBoard);

impl crate::Source for Held {
    fn id(&self) -> &DeviceId {
        self.0.id()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Simulated
    }

    async fn open(&self) -> Result<Box<dyn HashDevice>, DriverError> {
        let settings = BoardSettings::new(self.0.id().clone(), self.kind())
            .with_filter_zero_bits(self.0.zero_bits());
        let transport = self.0.attach_application().await?;
        Ok(Box::new(BitmainDevice::new(transport, settings)))
    }
}

/// Keeps so many jobs in the daemon, until it is aborted.
async fn busy_client(mut client: Client, jobs: u32) {
    for number in 0.. {
        client.search(number, vec![job(number)]).await;
        if number >= jobs {
            let answer = client.next().await;
            assert!(matches!(answer, Some(Frame::SearchDone(_))), "{answer:?}");
        }
    }
}

/// An S3 that four clients keep busy, at full pace.
struct BusyS3 {
    daemon: Daemon,
    board: SimBoard,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl BusyS3 {
    async fn start() -> Self {
        let settings = SimSettings {
            zero_bits: 8,
            hashing: Hashing::Inline,
            ..SimSettings::new(Image::S3Version7)
        };
        let board = SimBoard::new(DeviceId("sim-s3-0".into()), settings).unwrap();
        let daemon = Daemon::start(vec![Held(board.clone())]);
        let mut clients = Vec::new();
        for name in ["one", "two", "three", "four"] {
            clients.push(tokio::spawn(busy_client(daemon.client(name).await, 16)));
        }
        tokio::time::sleep(Duration::from_secs(10)).await; // from the boot loader on
        Self {
            daemon,
            board,
            clients,
        }
    }

    /// Nothing but clients' works went to the board, and all clients live.
    async fn check_works(&self) {
        let status = self.daemon.client("looker").await.status().await;
        let counters = &status.devices[0].counters;
        assert!(counters.filler_works < 20, "{counters:?}");
        assert!(self.clients.iter().all(|client| !client.is_finished()));
    }
}

#[tokio::test(start_paused = true)]
async fn four_busy_clients_keep_an_s3_fed_at_every_tick() {
    let busy = BusyS3::start().await;
    let before = busy.board.turns();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = busy.board.turns();
    assert_eq!(after.idle - before.idle, 0, "turns without a work");
    let works_per_s = (after.fed - before.fed) as f64 / 60.0;
    assert!(
        (works_per_s - 111.1).abs() < 0.5,
        "{works_per_s} works a second"
    );
    busy.check_works().await;
}

/// The clock goes on while nothing of the program runs, as when the machine has no time
/// for it; the board's own clock goes on, too.
#[tokio::test(start_paused = true)]
async fn a_stall_of_40_ms_each_second_leaves_no_tick_without_a_work() {
    let busy = BusyS3::start().await;
    let before = busy.board.turns();
    for second in 0..60 {
        // At another phase of the tick each time.
        tokio::time::sleep(Duration::from_millis(955 + second % 10)).await;
        tokio::time::advance(Duration::from_millis(40)).await;
    }
    let after = busy.board.turns();
    assert!(after.fed - before.fed > 6000, "{after:?}");
    assert_eq!(after.idle - before.idle, 0, "turns without a work");
    busy.check_works().await;
}

/// What is queued is run first: four ticks. The job's own works take one, and the reply that
/// tells their nonces is asked for within three.
#[tokio::test(start_paused = true)]
async fn an_urgent_job_waits_for_nothing_but_what_the_board_has_already() {
    const TICK: Duration = Duration::from_millis(18);
    let busy = BusyS3::start().await;
    let mut urgent = busy.daemon.client("urgent").await;
    let mut answered_at_once = 0;
    for number in 0..50 {
        // At another phase of the tick each time.
        tokio::time::sleep(Duration::from_millis(500 + u64::from(number))).await;
        let mut job = job(1_000_000 + number);
        job.priority = Priority::Interactive;
        let asked = tokio::time::Instant::now();
        urgent.search(number, vec![job]).await;
        let Some(Frame::SearchDone(done)) = urgent.next().await else {
            panic!("no answer to job {number}");
        };
        // One work for each chain; a job without luck needs more of them.
        if done.result.works <= 2 {
            answered_at_once += 1;
            let took = asked.elapsed();
            assert!(took <= 8 * TICK, "{took:?}");
        }
    }
    assert!(answered_at_once > 30, "{answered_at_once} of 50");
    busy.check_works().await;
}

/// Also one that is called for just when the program gets no time for 40 ms: what it held
/// back for the board is not ahead of it.
#[tokio::test(start_paused = true)]
async fn an_urgent_job_begins_on_the_chips_within_80_ms() {
    let busy = BusyS3::start().await;
    let mut urgent = busy.daemon.client("urgent").await;
    let before = busy.board.turns();
    let mut longest = Duration::ZERO;
    for number in 0..120 {
        // At another phase of the tick each time.
        tokio::time::sleep(Duration::from_millis(500 + u64::from(number))).await;
        let mut job = job(1_000_000 + number);
        job.priority = Priority::Interactive;
        let wanted = job.job.header.work().midstate;
        let asked = tokio::time::Instant::now();
        urgent.search(number, vec![job]).await;
        if number % 2 == 0 {
            tokio::time::advance(Duration::from_millis(40)).await;
        }
        let begun = loop {
            let works = busy.board.on_chains().into_iter();
            let begun = works.filter(|(work, _)| work.midstate == wanted);
            if let Some(begun) = begun.map(|(_, begun)| begun).min() {
                break begun;
            }
            assert!(asked.elapsed() < Duration::from_secs(1), "job {number}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        longest = longest.max(begun - asked);
        assert!(matches!(urgent.next().await, Some(Frame::SearchDone(_))));
    }
    assert!(longest <= Duration::from_millis(80), "{longest:?}");
    let after = busy.board.turns();
    assert_eq!(after.idle - before.idle, 0, "turns without a work");
    busy.check_works().await;
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_layouts_hash_rates_and_what_each_session_gets() {
    let daemon = Daemon::start(vec![board("sim:s3", 0, "")]);
    let mut one = daemon.client("one").await;
    let mut two = daemon.client("two").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    one.search(1, (0..16).map(endless).collect()).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let status = two.status().await;
    let device = &status.devices[0];
    assert_eq!(device.layout, "S3");
    let nominal = device.nominal_hash_rate_hps;
    for rate in [
        device.hash_rate_hps.minute,
        device.hash_rate_hps.quarter_hour,
    ] {
        assert!(
            (0.7..1.1).contains(&(rate / nominal)),
            "{rate} of {nominal}"
        );
        assert_eq!(rate, rate.round());
    }
    let session = |at: usize| (status.sessions[at].jobs_live, status.sessions[at].share);
    assert_eq!((session(0), session(1)), ((16, 1.0), (0, 0.0)));
    two.search(1, (20..36).map(endless).collect()).await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    let status = two.status().await;
    for session in &status.sessions {
        assert!((session.share - 0.5).abs() < 0.01, "{}", session.share);
    }
    drop((one, two));
    // A device without work fades out of the last window and then reports no more.
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let mut client = daemon.client("three").await;
    let rates = client.status().await.devices[0].hash_rate_hps;
    assert_eq!((rates.minute, rates.quarter_hour), (0.0, 0.0));
}
