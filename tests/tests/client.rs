//! The client library and the real daemon, over a real socket.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hasher_client::{
    Client, ClientError, ComputedKind, DeviceState, DigestAlgorithm, Engine, EventBody,
    LocalEngine, RemoteEngine, Retry, SearchOptions, Status, StatusReport, Topics, Version, digest,
    double_digest,
};
use hasher_tests::{Daemon, assert_solved, endless, job, jobs};
use hasher_work::{Header, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, Target, from_hex};
use tokio::time::timeout;

/// Longest wait for something that has to come; a loaded machine may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bitcoin's block 0, with a range of 2^17 nonces that holds its own.
fn genesis() -> SearchJob {
    let header: Header = "0100000000000000000000000000000000000000000000000000000000000000\
        000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
        4b1e5e4a29ab5f49ffff001d1dac2b7c"
        .parse()
        .unwrap();
    let near = header.nonce().0;
    SearchJob {
        header,
        range: NonceRange::new(Nonce(near - 100_000), Nonce(near + 31_071)).unwrap(),
        target: Target::from_zero_bits(32).unwrap(),
        mode: SearchMode::FirstFound(1),
        rolls: 0,
    }
}

/// Watches the status until it is as wanted.
async fn status_until(client: &Client, wanted: impl Fn(&StatusReport) -> bool) -> StatusReport {
    let mut last = None;
    let watching = async {
        let mut events = client.subscribe(Topics::STATUS).await.unwrap();
        loop {
            if let EventBody::Status { status } = events.next().await.unwrap().unwrap() {
                if wanted(&status) {
                    return status;
                }
                last = Some(status);
            }
        }
    };
    let found = timeout(PATIENCE, watching).await;
    found.unwrap_or_else(|_| panic!("status: {last:#?}"))
}

#[tokio::test]
async fn block_0_is_found_at_full_difficulty_on_the_cpu() {
    let daemon = Daemon::start(&["cpu"]);
    let client = daemon.client().connect().await.unwrap();
    let answer = client.search(genesis()).await.unwrap();
    assert_solved(&genesis(), &answer);
    assert_eq!(answer.result.hits[0].nonce, genesis().header.nonce());
    assert_eq!(answer.by[0].to_string(), "cpu-0 (cpu)");
    // Trying everything finds the same one, and is sure of it.
    let everything = SearchJob {
        mode: SearchMode::Exhaust,
        ..genesis()
    };
    let answer = client.search(everything).await.unwrap();
    assert_eq!(answer.result.end, SearchEnd::Exhausted);
    assert_eq!(answer.result.certain_nonces, everything.range.count());
    let local = LocalEngine::default().search_one(&everything).unwrap();
    assert_eq!(answer.result.hits, local.result.hits);
}

#[tokio::test]
async fn a_simulated_s3_answers_a_batch_and_says_that_it_is_simulated() {
    let daemon = Daemon::start(&["sim:s3"]);
    let client = daemon.client().connect().await.unwrap();
    let jobs = jobs(40, 14);
    let answers = client.search_batch(&jobs).await.unwrap();
    for (job, answer) in jobs.iter().zip(&answers) {
        assert_solved(job, answer);
        assert_eq!(answer.by[0].kind, ComputedKind::Simulated);
        assert_eq!(answer.by[0].device, "sim-s3-0");
        assert_eq!(answer.result.certain_nonces, 0);
    }
}

#[tokio::test]
async fn digests_through_the_daemon_equal_local_ones() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client().connect().await.unwrap();
    let mut messages: Vec<Vec<u8>> = (0..3000u32).map(|i| i.to_le_bytes().into()).collect();
    messages.push(vec![7; 1 << 20]);
    messages.push(Vec::new());
    let answer = client.digest_batch(DigestAlgorithm::Sha256, &messages);
    let answer = answer.await.unwrap();
    let expected: Vec<_> = messages.iter().map(|message| digest(message)).collect();
    assert_eq!(answer.digests, expected);
    assert_eq!(answer.by.kind, ComputedKind::Cpu);
    let answer = client.digest_batch(DigestAlgorithm::Sha256d, &messages);
    let expected: Vec<_> = messages.iter().map(|m| double_digest(m)).collect();
    assert_eq!(answer.await.unwrap().digests, expected);
}

#[tokio::test]
async fn a_stream_of_any_length_is_digested() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client().connect().await.unwrap();
    let data: Vec<u8> = (0..20_000_000u32).map(|i| (i >> 6) as u8).collect();
    let (one, two) = tokio::join!(
        client.digest_stream(DigestAlgorithm::Sha256, &data[..]),
        client.digest_stream(DigestAlgorithm::Sha256d, &data[..12_345_678]),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.digest, one.length), (digest(&data), 20_000_000));
    assert_eq!(two.digest, double_digest(&data[..12_345_678]));
}

#[tokio::test]
async fn the_status_names_devices_sessions_and_what_was_done() {
    let daemon = Daemon::start(&["sim:s3", "cpu"]);
    let client = daemon.client().name("status test").connect().await.unwrap();
    client.search_batch(&jobs(5, 14)).await.unwrap();
    let status = status_until(&client, |status| {
        let is_ready = |device: &hasher_client::DeviceReport| device.state == DeviceState::Ready;
        status.devices.len() == 2 && status.devices.iter().all(is_ready)
    })
    .await;
    let mut ids: Vec<_> = status.devices.iter().map(|device| &*device.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["cpu-1", "sim-s3-0"]);
    assert_eq!(status.totals.jobs_done, 5);
    let ours = &status.sessions[0];
    let newest = Version::NEWEST.to_string();
    assert_eq!(
        (&ours.name, &ours.protocol),
        (&"status test".to_owned(), &newest)
    );
    assert_eq!(ours.pid, Some(std::process::id() as i32));
    assert_eq!(client.session().peer, daemon.socket().to_str().unwrap());
}

#[tokio::test]
async fn events_follow_a_device_that_is_unplugged_and_comes_back() {
    let daemon = Daemon::start(&["sim:s3,script=unplug@4s+1s"]);
    let client = daemon.client().connect().await.unwrap();
    let mut events = client.subscribe(Topics::DEVICES).await.unwrap();
    let mut wanted = [DeviceState::Ready, DeviceState::Absent, DeviceState::Ready]
        .into_iter()
        .peekable();
    while let Some(state) = wanted.peek() {
        match timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            Ok(EventBody::Device { device }) if device.state == *state => {
                assert_eq!(device.id, "sim-s3-0");
                wanted.next();
            }
            Ok(EventBody::Device { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_s3_refuses_what_its_chips_would_drop_and_a_cpu_does_not() {
    let dropped = (0..)
        .map(|number| job(number, 8))
        .find(|job| job.header.work().midstate.is_dropped_by_s3())
        .unwrap();
    let daemon = Daemon::start(&["sim:s3"]);
    let client = daemon.client().connect().await.unwrap();
    let error = client.search(dropped).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::NotRunnable));
    assert!(error.hint().unwrap().contains("first 64 bytes"));
    let daemon = Daemon::start(&["sim:s3", "cpu"]);
    let client = daemon.client().connect().await.unwrap();
    let answer = client.search(dropped).await.unwrap();
    assert_solved(&dropped, &answer);
    assert_eq!(answer.by[0].kind, ComputedKind::Cpu);
}

#[tokio::test]
async fn without_a_device_a_search_fails_at_once_and_digests_work() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client().connect().await.unwrap();
    let error = client.search(job(1, 8)).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::NoDevice));
    assert!(error.hint().unwrap().contains("--device sim:s3"));
    let answer = client.digest(DigestAlgorithm::Sha256, "abc").await.unwrap();
    assert_eq!(answer.digests, [digest(b"abc")]);
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let daemon = Daemon::start(&["cpu"]);
    let watcher = daemon.client().name("watcher").connect().await.unwrap();
    let greedy = daemon.client().name("greedy").connect().await.unwrap();
    let mut tickets = Vec::new();
    for _ in 0..50 {
        let ticket = greedy.submit(&[endless()], greedy.options()).await;
        tickets.push(ticket.unwrap());
    }
    status_until(&watcher, |status| {
        status.sessions.len() == 2 && status.totals.jobs_live >= 50
    })
    .await;
    // The polite one is served in between.
    let answer = timeout(PATIENCE, watcher.search(genesis())).await.unwrap();
    assert_solved(&genesis(), &answer.unwrap());
    drop((greedy, tickets));
    let status = status_until(&watcher, |status| {
        status.sessions.len() == 1 && status.totals.jobs_live == 0
    })
    .await;
    assert_eq!(status.sessions[0].name, "watcher");
}

#[tokio::test]
async fn three_clients_with_different_wishes_are_all_served() {
    let daemon = Daemon::start(&["sim:s3"]);
    let connect = |name: &str| daemon.client().name(name).connect();
    let (searcher, flood, watcher) =
        tokio::try_join!(connect("search"), connect("flood"), connect("watch")).unwrap();
    let mut events = watcher.subscribe(Topics::STATUS).await.unwrap();
    let flooding = tokio::spawn(async move {
        let messages = vec![[0x11; 100]; 500];
        let expected = digest(&messages[0]);
        loop {
            let answer = flood.digest_batch(DigestAlgorithm::Sha256, &messages);
            let answer = answer.await.unwrap();
            assert!(answer.digests.iter().all(|digest| *digest == expected));
        }
    });
    let jobs = jobs(60, 14);
    let searching = timeout(PATIENCE, searcher.search_batch(&jobs));
    let watching = async {
        let mut digests = Vec::new();
        while digests.len() < 3 {
            match timeout(PATIENCE, events.next()).await.unwrap() {
                Some(Ok(EventBody::Status { status })) => digests.push(status.totals.digests),
                other => panic!("{other:?}"),
            }
        }
        digests
    };
    let (answers, digests) = tokio::join!(searching, watching);
    for (job, answer) in jobs.iter().zip(answers.unwrap().unwrap()) {
        assert_solved(job, &answer);
    }
    assert!(
        digests.is_sorted() && digests[0] < digests[2],
        "{digests:?}"
    );
    assert!(!flooding.is_finished(), "the flood was served to the end");
    flooding.abort();
}

#[tokio::test]
async fn dropping_a_ticket_frees_the_device() {
    let daemon = Daemon::start(&["cpu"]);
    let client = daemon.client().connect().await.unwrap();
    let ticket = client.submit(&[endless()], client.options()).await.unwrap();
    status_until(&client, |status| status.totals.jobs_live == 1).await;
    drop(ticket);
    status_until(&client, |status| {
        status.totals.jobs_live == 0
            && status.sessions[0].credits_free == status.sessions[0].credits
    })
    .await;
}

#[tokio::test]
async fn a_search_ends_by_its_deadline() {
    let daemon = Daemon::start(&["cpu"]);
    let client = daemon.client().connect().await.unwrap();
    let options = SearchOptions {
        deadline: Duration::from_millis(300),
        ..client.options()
    };
    let begin = Instant::now();
    let ticket = client.submit(&[endless()], options).await.unwrap();
    let error = ticket.answers().await.unwrap_err();
    assert_eq!(error.status(), Some(Status::Deadline));
    assert!(begin.elapsed() >= options.deadline);
}

#[tokio::test]
async fn every_job_is_answered_once_although_the_daemon_is_killed() {
    let mut daemon = Daemon::start(&["sim:s3"]);
    let client = daemon.client().connect().await.unwrap();
    let jobs = jobs(300, 14);
    let options = SearchOptions {
        deadline: Duration::from_secs(300),
        ..client.options()
    };
    let mut ticket = client.submit(&jobs, options).await.unwrap();
    let mut answered = vec![0; jobs.len()];
    for killed in 0..3 {
        for _ in 0..20 {
            let (index, answer) = ticket.next().await.unwrap();
            assert_solved(&jobs[index], &answer.unwrap());
            answered[index] += 1;
        }
        daemon.kill();
        daemon.restart();
        assert!(ticket.left() > 0, "killed {killed} times");
    }
    while let Some((index, answer)) = ticket.next().await {
        assert_solved(&jobs[index], &answer.unwrap());
        answered[index] += 1;
    }
    assert_eq!(answered, vec![1; jobs.len()]);
}

#[tokio::test]
async fn a_subscription_goes_on_after_a_restart() {
    let mut daemon = Daemon::start(&["cpu"]);
    let client = daemon.client().connect().await.unwrap();
    let mut events = client.subscribe(Topics::STATUS).await.unwrap();
    let mut pids = Vec::new();
    while pids.len() < 2 {
        let event = timeout(PATIENCE, events.next()).await.unwrap();
        let EventBody::Status { status } = event.unwrap().unwrap() else {
            continue;
        };
        if pids.last() != Some(&status.daemon.pid) {
            pids.push(status.daemon.pid);
            if pids.len() == 1 {
                daemon.kill();
                daemon.restart();
            }
        }
    }
}

#[tokio::test]
async fn a_daemon_that_is_asked_to_stop_answers_everybody_and_tidies_up() {
    let mut daemon = Daemon::start(&["sim:s3", "cpu"]);
    let builder = daemon.client().retry(Retry::NONE);
    let client = builder.connect().await.unwrap();
    let ticket = client.submit(&[endless()], client.options()).await.unwrap();
    status_until(&client, |status| status.totals.jobs_live == 1).await;
    let status = daemon.terminate();
    assert!(status.success(), "{status}");
    assert!(!daemon.socket().exists());
    let error = ticket.answers().await.unwrap_err();
    assert_eq!(error.status(), Some(Status::ShuttingDown), "{error:?}");
    let error = client.status().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
}

#[test]
fn the_blocking_client_and_its_engine_work_without_a_runtime() {
    let daemon = Daemon::start(&["sim:s1"]);
    let client = daemon.client().connect_blocking().unwrap();
    let data = vec![3; 3_000_000];
    let answer = client.digest_stream(DigestAlgorithm::Sha256, &data[..]);
    assert_eq!(answer.unwrap().digest, digest(&data));
    assert_eq!(client.status().unwrap().devices[0].id, "sim-s1-0");
    let engine = RemoteEngine::new(client);
    let jobs = jobs(10, 14);
    let answers = engine.search(&jobs).unwrap();
    for (job, answer) in jobs.iter().zip(&answers) {
        assert_solved(job, answer);
        assert_eq!(answer.by[0].to_string(), "sim-s1-0 (simulated)");
    }
}

/// The recorded frame of this name.
fn recorded(name: &str) -> Vec<u8> {
    let fixture = include_str!("../fixtures/socket/client-1.0.hex");
    let heading = format!("[{name}]");
    let hex: String = fixture
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect();
    from_hex(&hex).unwrap()
}

#[test]
fn a_client_of_the_previous_minor_is_served() {
    use bytes::BytesMut;
    use hasher_wire::{Codec, Frame};

    let daemon = Daemon::start(&["cpu"]);
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut input = BytesMut::new();
    let mut next = |stream: &mut UnixStream| loop {
        if let Some(frame) = Codec.decode(&mut input).unwrap() {
            return frame;
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "the daemon closed");
        input.extend_from_slice(&bytes[..count]);
    };
    stream.write_all(&recorded("hello")).unwrap();
    let Frame::Welcome(welcome) = next(&mut stream) else {
        panic!("no Welcome");
    };
    assert_eq!(welcome.version, Version::V1_0);
    // Two jobs over block 0: the first near its nonce, the second over everything,
    // which is cancelled.
    stream.write_all(&recorded("search")).unwrap();
    let Frame::SearchDone(done) = next(&mut stream) else {
        panic!("no SearchDone");
    };
    assert_eq!((done.request.0, done.index), (7, 0));
    assert_eq!(done.result.hits[0].nonce, genesis().header.nonce());
    stream.write_all(&recorded("cancel_all")).unwrap();
    let Frame::Failed(failed) = next(&mut stream) else {
        panic!("no Failed");
    };
    assert_eq!((failed.index, failed.status), (Some(1), Status::Cancelled));
    stream.write_all(&recorded("digest_batch")).unwrap();
    let Frame::Digests(digests) = next(&mut stream) else {
        panic!("no Digests");
    };
    assert_eq!(digests.digests[0], double_digest(b"abc"));
    stream.write_all(&recorded("status_query")).unwrap();
    let Frame::Status(status) = next(&mut stream) else {
        panic!("no Status");
    };
    assert_eq!(status.report().unwrap().devices[0].id, "cpu-0");
}
