//! Whole sessions over in-memory streams, with test boards and paused time.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use hasher_wire::{
    Codec, DeviceState, DigestAlgorithm, DigestChunk, DigestEnd, EventBody, JobRequest, Priority,
    StatusReport, Subscribe, Topics,
};
use hasher_work::{
    Header, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, Target, digest, double_digest,
    from_hex,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::manager::supervise;
use crate::notify::Watchdog;
use crate::test_device::{PERIOD, TestBoard};
use crate::test_rng::{Rng, test_seed};

/// A daemon without a socket: hub, clock and supervised boards.
struct Daemon {
    hub: Arc<Hub>,
    stop: CancellationToken,
}

impl Daemon {
    fn start<S: crate::Source>(sources: Vec<S>) -> Self {
        let hub = Hub::new();
        let stop = CancellationToken::new();
        if !sources.is_empty() {
            hub.expect_device();
        }
        for source in sources {
            tokio::spawn(supervise(
                source,
                Arc::clone(&hub),
                Watchdog::new(),
                stop.clone(),
            ));
        }
        let clock = Arc::clone(&hub);
        tokio::spawn(async move { clock.run_clock().await });
        Self { hub, stop }
    }

    fn raw(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let (hub, stop) = (Arc::clone(&self.hub), self.stop.clone());
        tokio::spawn(serve(theirs, Peer::default(), hub, stop));
        ours
    }

    async fn client(&self, name: &str) -> Client {
        let mut client = Client {
            stream: self.raw(),
            incoming: BytesMut::new(),
        };
        let welcome = client.hello(name, Version::V1_0, Version::NEWEST).await;
        assert!(matches!(welcome, Some(Frame::Welcome(_))), "{welcome:?}");
        client
    }

    /// Everything a session left behind is gone.
    async fn assert_empty(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!((self.hub.sessions(), self.hub.live_jobs()), (0, 0));
    }
}

struct Client {
    stream: DuplexStream,
    incoming: BytesMut,
}

impl Client {
    async fn hello(&mut self, name: &str, min: Version, max: Version) -> Option<Frame> {
        let name = name.into();
        self.send(&Frame::Hello(Hello { min, max, name })).await;
        self.next().await
    }

    async fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame; nothing when the daemon closed the connection.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Codec.decode(&mut self.incoming).unwrap() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.incoming).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn search(&mut self, request: u32, jobs: Vec<JobRequest>) {
        let request = RequestId(request);
        self.send(&Frame::Search(Search { request, jobs })).await;
    }

    async fn status(&mut self) -> StatusReport {
        self.send(&Frame::StatusQuery(RequestId(0))).await;
        loop {
            let frame = self.next().await.expect("the session stands");
            if let Frame::Status(status) = frame {
                return status.report().unwrap();
            }
        }
    }
}

/// A search that the test board answers at its first work.
fn job(number: u32) -> JobRequest {
    // Few zero bits over 64 nonces: a miss has a chance of 1 in 62.
    let mut header = [0; 80];
    header[..4].copy_from_slice(&number.to_le_bytes());
    while Header(header).work().midstate.is_dropped_by_s3() {
        header[4] += 1;
    }
    JobRequest {
        job: SearchJob {
            header: Header(header),
            range: NonceRange::WHOLE,
            target: Target::from_zero_bits(4).unwrap(),
            mode: SearchMode::FirstFound(1),
            rolls: 100,
        },
        deadline_ms: 0,
        priority: Priority::Batch,
    }
}

fn endless(number: u32) -> JobRequest {
    let mut request = job(number);
    request.job.target = Target::from_zero_bits(256).unwrap();
    request.job.rolls = SearchJob::MAX_ROLLS;
    request
}

/// A search without a solution that takes one work.
fn fruitless(number: u32) -> JobRequest {
    let mut request = endless(number);
    request.job.rolls = 0;
    request
}

fn digest_batch(request: u32, messages: Vec<Bytes>) -> Frame {
    Frame::DigestBatch(DigestBatch {
        request: RequestId(request),
        algorithm: DigestAlgorithm::Sha256d,
        messages,
    })
}

#[tokio::test(start_paused = true)]
async fn a_search_is_answered_with_verified_hits_and_the_device_that_found_them() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("test").await;
    let jobs: Vec<JobRequest> = (0..20).map(job).collect();
    client.search(7, jobs.clone()).await;
    let mut answered = HashSet::new();
    while answered.len() < jobs.len() {
        let Some(Frame::SearchDone(done)) = client.next().await else {
            panic!("a search is answered")
        };
        assert!(answered.insert(done.index));
        assert_eq!(done.request, RequestId(7));
        assert_eq!(&*done.computed_by[0].device, "sim-s3-0");
        assert_eq!(done.computed_by[0].kind, hasher_wire::DeviceKind::Simulated);
        assert_eq!(
            (done.result.end, done.result.certain_nonces),
            (SearchEnd::Found, 0)
        );
        let hit = done.result.hits[0];
        let header = jobs[usize::from(done.index)].job.header.with_time(hit.time);
        assert_eq!(header.with_nonce(hit.nonce).double_digest(), hit.digest);
    }
    assert_eq!(daemon.hub.live_jobs(), 0);
}

#[tokio::test(start_paused = true)]
async fn three_clients_at_once_are_all_answered() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut watcher = daemon.client("watcher").await;
    watcher
        .send(&Frame::Subscribe(Subscribe {
            topics: Topics::ALL,
        }))
        .await;

    // The flood: more digests than it ever reads answers for.
    let mut flood = daemon.client("flood").await;
    let flooding = tokio::spawn(async move {
        let message = Bytes::from(vec![7; 2000]);
        for request in 0.. {
            let frame = digest_batch(request, vec![message.clone(); 30]);
            let mut bytes = BytesMut::new();
            Codec.encode(&frame, &mut bytes).unwrap();
            if flood.stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });

    let mut searcher = daemon.client("searcher").await;
    for round in 0..20 {
        searcher
            .search(round, (0..10).map(|i| job(round * 10 + i)).collect())
            .await;
        for _ in 0..10 {
            let answer = searcher.next().await;
            assert!(matches!(answer, Some(Frame::SearchDone(_))), "{answer:?}");
        }
    }
    let (mut statuses, mut devices) = (0, 0);
    while statuses < 2 || devices < 1 {
        match watcher.next().await {
            Some(Frame::Event(event)) => match event.body().unwrap() {
                EventBody::Status { status } => {
                    // The first one came before the others did.
                    statuses += usize::from(status.sessions.len() == 3);
                }
                EventBody::Device { device } => {
                    assert_eq!(device.state, DeviceState::Ready);
                    devices += 1;
                }
                other => panic!("unexpected {other:?}"),
            },
            other => panic!("unexpected {other:?}"),
        }
    }
    flooding.abort();
    let _ = flooding.await;
    drop((searcher, watcher));
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_greedy_client_delays_a_polite_one_by_two_device_batches_at_most() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut greedy = daemon.client("greedy").await;
    greedy.search(1, (0..256).map(endless).collect()).await;
    // Let it fill the device and run for a while.
    while board.works_taken() < 100 {
        tokio::time::sleep(PERIOD).await;
    }
    let mut polite = daemon.client("polite").await;
    for round in 0..5 {
        let before = board.works_taken();
        polite.search(round, vec![fruitless(1000 + round)]).await;
        assert!(matches!(polite.next().await, Some(Frame::SearchDone(_))));
        let works = board.works_taken() - before;
        assert!(works <= 2 * 8 + 2, "{works} works until the answer");
    }
    let status = polite.status().await;
    let greedy_report = &status.sessions[0];
    assert_eq!(
        (&*greedy_report.name, greedy_report.credits_free),
        ("greedy", 0)
    );
    drop((greedy, polite));
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_killed_with_jobs_on_the_device_leaves_nothing_behind() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("victim").await;
    client.search(1, (0..200).map(endless).collect()).await;
    while board.works_taken() < 20 {
        tokio::time::sleep(PERIOD).await;
    }
    drop(client);
    daemon.assert_empty().await;
    // The device serves the next one at once.
    let mut next = daemon.client("next").await;
    next.search(1, vec![job(1)]).await;
    assert!(matches!(next.next().await, Some(Frame::SearchDone(_))));
    let totals = next.status().await.totals;
    assert_eq!(
        (totals.jobs_accepted, totals.jobs_failed, totals.jobs_done),
        (201, 200, 1)
    );
}

/// One client of a random schedule: counts the answers to every job.
async fn restless_client(daemon: Arc<Daemon>, seed: u64) -> (usize, usize) {
    let mut rng = Rng::new(seed);
    let mut client = daemon.client("restless").await;
    let mut open: HashMap<(RequestId, u16), JobRequest> = HashMap::new();
    let (mut asked, mut done) = (0, 0);
    for request in 0..12 {
        let jobs: Vec<JobRequest> = (0..1 + rng.below(20) as u32)
            .map(|i| {
                let mut job = if rng.below(4) == 0 {
                    fruitless(i)
                } else {
                    job(i)
                };
                job.deadline_ms = 1 + rng.below(20_000) as u32;
                job.priority = [Priority::Interactive, Priority::Batch, Priority::Background]
                    [rng.below(3) as usize];
                job
            })
            .collect();
        asked += jobs.len();
        open.extend(
            (0..)
                .zip(&jobs)
                .map(|(index, job)| ((RequestId(request), index), *job)),
        );
        client.search(request, jobs).await;
        if rng.below(3) == 0 {
            client
                .send(&Frame::Cancel(Cancel {
                    request: RequestId(request),
                    index: (rng.below(2) == 0).then_some(0),
                }))
                .await;
        }
        let keep = rng.below(30) as usize;
        while open.len() > keep {
            done += usize::from(take_answer(&mut client, &mut open).await);
        }
        tokio::time::sleep(Duration::from_millis(rng.below(200))).await;
    }
    while !open.is_empty() {
        done += usize::from(take_answer(&mut client, &mut open).await);
    }
    (asked, done)
}

/// Reads one answer, which must belong to an open job; says whether it has a result.
async fn take_answer(
    client: &mut Client,
    open: &mut HashMap<(RequestId, u16), JobRequest>,
) -> bool {
    match client.next().await {
        Some(Frame::SearchDone(done)) => {
            let address = (done.request, done.index);
            let job = open.remove(&address).expect("one answer a job").job;
            for hit in &done.result.hits {
                let header = job.header.with_time(hit.time).with_nonce(hit.nonce);
                assert_eq!(header.double_digest(), hit.digest);
            }
            true
        }
        Some(Frame::Failed(failed)) => {
            let address = (failed.request, failed.index.unwrap());
            open.remove(&address).expect("one answer a job");
            let expected = [
                Status::Cancelled,
                Status::Deadline,
                Status::DeviceGone,
                Status::NoDevice,
            ];
            assert!(expected.contains(&failed.status), "{failed:?}");
            false
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unplug_and_return_answer_every_accepted_job_exactly_once() {
    let seed = test_seed();
    let (mut asked, mut done) = (0, 0);
    for schedule in 0..30 {
        let mut rng = Rng::new(seed.wrapping_add(schedule));
        let boards = [TestBoard::new("sim-s3-0"), TestBoard::new("sim-s1-1")];
        let daemon = Arc::new(Daemon::start(boards.to_vec()));
        let clients: Vec<_> = (0..3)
            .map(|_| tokio::spawn(restless_client(Arc::clone(&daemon), rng.next())))
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            tokio::time::sleep(Duration::from_millis(rng.below(1500))).await;
            let board = &boards[rng.below(2) as usize];
            match rng.below(6) {
                0 | 1 => board.unplug(),
                2 | 3 => board.plug(),
                4 => board.heat(rng.below(2) == 0),
                _ => board.set_lossy(rng.below(3) == 0),
            }
        }
        for client in clients {
            let (client_asked, client_done) = client.await.unwrap();
            asked += client_asked;
            done += client_done;
        }
        daemon.assert_empty().await;
        daemon.stop.cancel();
    }
    // The schedules are no good if hardly anything succeeds.
    assert!(done * 3 > asked, "{done} of {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_its_device_to_come_back() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("patient").await;
    client.search(1, vec![endless(1)]).await;
    while board.works_taken() < 5 {
        tokio::time::sleep(PERIOD).await;
    }
    board.unplug();
    client.search(2, vec![job(2)]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    board.plug();
    let Some(Frame::SearchDone(done)) = client.next().await else {
        panic!("the device came back in time")
    };
    assert_eq!(done.request, RequestId(2));
    assert_eq!(board.openings(), 2);
    let report = &client.status().await.devices[0];
    assert_eq!((report.state, report.attachments), (DeviceState::Ready, 2));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_away_fails_its_jobs_and_zero_devices_are_healthy() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("patient").await;
    client.search(1, vec![endless(1)]).await;
    while board.works_taken() < 5 {
        tokio::time::sleep(PERIOD).await;
    }
    board.unplug();
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the job fails")
    };
    assert_eq!((failed.index, failed.status), (Some(0), Status::DeviceGone));
    client.search(2, vec![job(2)]).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("there is no device")
    };
    assert_eq!((failed.index, failed.status), (Some(0), Status::NoDevice));
    assert_eq!(client.status().await.devices[0].state, DeviceState::Absent);
    client
        .send(&digest_batch(3, vec![Bytes::from_static(b"abc")]))
        .await;
    assert!(matches!(client.next().await, Some(Frame::Digests(_))));
}

#[tokio::test(start_paused = true)]
async fn jobs_beyond_the_credits_are_busy_at_once_and_credits_come_back() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("eager").await;
    client.search(1, (0..256).map(endless).collect()).await;
    client.search(2, vec![job(1), job(2)]).await;
    for index in 0..2 {
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("no credit is left")
        };
        assert_eq!((failed.request, failed.index), (RequestId(2), Some(index)));
        assert_eq!(failed.status, Status::Busy);
        assert!(failed.status.is_retryable());
    }
    client
        .send(&Frame::Cancel(Cancel {
            request: RequestId(1),
            index: None,
        }))
        .await;
    for _ in 0..256 {
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("each job is cancelled")
        };
        assert_eq!(
            (failed.request, failed.status),
            (RequestId(1), Status::Cancelled)
        );
    }
    client.search(1, vec![job(1)]).await;
    assert!(matches!(client.next().await, Some(Frame::SearchDone(_))));
    assert_eq!(client.status().await.sessions[0].refused, 2);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_without_any_device_news() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("hurried").await;
    board.heat(true);
    let mut request = job(1);
    request.deadline_ms = 1234;
    let asked = Instant::now();
    client.search(1, vec![request]).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the deadline passes")
    };
    assert_eq!(failed.status, Status::Deadline);
    let waited = asked.elapsed().as_millis();
    assert!((1234..1300).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_work_that_every_device_drops_is_refused_with_that_reason() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("unlucky").await;
    let mut request = job(1);
    let mut header = request.job.header;
    for number in 0u32.. {
        header.0[..4].copy_from_slice(&number.to_le_bytes());
        if header.work().midstate.is_dropped_by_s3() {
            break;
        }
    }
    request.job.header = header;
    client.search(1, vec![request]).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the device drops it")
    };
    assert_eq!(failed.status, Status::NotRunnable);
}

#[tokio::test(start_paused = true)]
async fn digests_are_right_for_batches_and_streams_and_say_who_computed_them() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let mut client = daemon.client("digester").await;
    let messages: Vec<Bytes> = (0..600).map(|i| Bytes::from(vec![i as u8; i])).collect();
    for part in messages.chunks(100) {
        client.send(&digest_batch(1, part.to_vec())).await;
        let Some(Frame::Digests(digests)) = client.next().await else {
            panic!("a batch is answered")
        };
        let expected: Vec<_> = part.iter().map(|message| double_digest(message)).collect();
        assert_eq!(digests.digests, expected);
        assert_eq!(digests.computed_by.kind, hasher_wire::DeviceKind::Cpu);
    }

    // Two streams at once, in pieces below and above what is digested inline.
    let data: Vec<u8> = (0..200_000u32).map(|i| (i * 7) as u8).collect();
    for request in [2, 3].map(RequestId) {
        let algorithm = DigestAlgorithm::Sha256;
        client
            .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
            .await;
    }
    for piece in data.chunks(50_000).chain(data.chunks(3000)) {
        for request in [2, 3].map(RequestId) {
            let data = Bytes::copy_from_slice(piece);
            client
                .send(&Frame::DigestChunk(DigestChunk { request, data }))
                .await;
        }
    }
    for request in [3, 2].map(RequestId) {
        client.send(&Frame::DigestEnd(DigestEnd { request })).await;
        let Some(Frame::DigestStreamed(streamed)) = client.next().await else {
            panic!("a stream is answered")
        };
        assert_eq!((streamed.request, streamed.length), (request, 400_000));
        assert_eq!(streamed.digest, digest(&data.repeat(2)));
    }
    let report = client.status().await;
    assert_eq!(
        (report.totals.digests, report.sessions[0].digests),
        (602, 602)
    );
    assert_eq!(report.sessions[0].credits_free, report.sessions[0].credits);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_stream_is_answered_once_and_its_late_chunks_are_ignored() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let mut client = daemon.client("digester").await;
    let request = RequestId(5);
    let algorithm = DigestAlgorithm::Sha256;
    client
        .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
        .await;
    client
        .send(&Frame::Cancel(Cancel {
            request,
            index: None,
        }))
        .await;
    let data = Bytes::from_static(b"late");
    client
        .send(&Frame::DigestChunk(DigestChunk { request, data }))
        .await;
    client.send(&Frame::DigestEnd(DigestEnd { request })).await;
    client.send(&Frame::Ping(1)).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the stream is cancelled")
    };
    assert_eq!(
        (failed.request, failed.status),
        (request, Status::Cancelled)
    );
    assert_eq!(client.next().await, Some(Frame::Pong(1)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_slows_nobody_and_is_dropped_in_the_end() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut deaf = daemon.client("deaf").await;
    // Answers of 10 KiB each: more than the stream and the session hold.
    let jobs = (0..256)
        .map(|number| {
            let mut request = job(number);
            request.job.mode = SearchMode::Exhaust;
            request.job.target = Target::ANY;
            request
        })
        .collect();
    deaf.search(1, jobs).await;
    let mut other = daemon.client("other").await;
    let start = Instant::now();
    other.search(1, vec![job(1)]).await;
    assert!(matches!(other.next().await, Some(Frame::SearchDone(_))));
    assert!(start.elapsed() < PERIOD * 20);
    while daemon.hub.sessions() == 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(start.elapsed() >= STALL_TIMEOUT);
    assert_eq!(other.status().await.sessions.len(), 1);
    assert_eq!(daemon.hub.live_jobs(), 0);
    drop(deaf);
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_only_its_own_session_and_says_why() {
    let seed = test_seed();
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut bystander = daemon.client("bystander").await;
    for number in 0..100 {
        let mut rng = Rng::new(seed.wrapping_add(number));
        let mut garbler = if number % 2 == 0 {
            daemon.client("garbler").await
        } else {
            let (stream, incoming) = (daemon.raw(), BytesMut::new());
            Client { stream, incoming }
        };
        let garbage: Vec<u8> = (0..64).map(|_| rng.next() as u8).collect();
        // Announces a frame that is too long, so that the daemon does not wait for it.
        garbler
            .stream
            .write_all(&[&[0xff; 4][..], &garbage].concat())
            .await
            .unwrap();
        let Some(Frame::Goodbye(goodbye)) = garbler.next().await else {
            panic!("garbage is answered with Goodbye")
        };
        assert_eq!(goodbye.status, Some(Status::Protocol));
        assert!(
            goodbye.message.contains("longer than the limit"),
            "{goodbye:?}"
        );
        assert_eq!(garbler.next().await, None);
    }
    bystander.search(1, vec![job(1)]).await;
    assert!(matches!(bystander.next().await, Some(Frame::SearchDone(_))));
    drop(bystander);
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn frames_that_a_client_must_not_send_end_the_session() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("confused").await;
    client
        .send(&Frame::Hello(Hello {
            min: Version::V1_0,
            max: Version::V1_1,
            name: "again".into(),
        }))
        .await;
    let Some(Frame::Goodbye(goodbye)) = client.next().await else {
        panic!("a second Hello is wrong")
    };
    assert_eq!(goodbye.status, Some(Status::Protocol));

    let mut client = daemon.client("confused").await;
    client.search(1, vec![endless(1)]).await;
    client.search(1, vec![endless(2)]).await;
    let Some(Frame::Goodbye(goodbye)) = client.next().await else {
        panic!("a number is used twice")
    };
    assert_eq!(&*goodbye.message, "request 1 is still unanswered");
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn versions_are_agreed_or_refused() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let version = |major, minor| Version { major, minor };
    let cases = [
        (version(1, 0), version(1, 0), Some(version(1, 0))),
        (version(1, 1), version(3, 0), Some(version(1, 1))),
        (version(2, 0), version(2, 5), None),
    ];
    for (min, max, expected) in cases {
        let (stream, incoming) = (daemon.raw(), BytesMut::new());
        let mut client = Client { stream, incoming };
        match (client.hello("versions", min, max).await, expected) {
            (Some(Frame::Welcome(welcome)), Some(expected)) => {
                assert_eq!(welcome.version, expected)
            }
            (Some(Frame::Refused(refused)), None) => {
                assert_eq!((refused.min, refused.max), (Version::V1_0, Version::V1_1));
                assert_eq!(client.next().await, None);
            }
            (other, _) => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_the_hello_timeout() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let (stream, incoming) = (daemon.raw(), BytesMut::new());
    let mut client = Client { stream, incoming };
    let start = Instant::now();
    assert!(matches!(client.next().await, Some(Frame::Goodbye(_))));
    assert_eq!(start.elapsed().as_secs(), HELLO_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_what_is_open_and_says_goodbye() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("patient").await;
    client.search(1, vec![endless(1), endless(2)]).await;
    let request = RequestId(2);
    let algorithm = DigestAlgorithm::Sha256;
    client
        .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
        .await;
    client.send(&Frame::Ping(1)).await;
    assert_eq!(client.next().await, Some(Frame::Pong(1)));
    daemon.hub.begin_drain();
    client.search(3, vec![job(3)]).await;
    let mut failed = Vec::new();
    let Some(Frame::Failed(refused)) = client.next().await else {
        panic!("no new jobs are accepted")
    };
    failed.push(refused);
    daemon.hub.fail_all(&JobError::ShuttingDown);
    daemon.stop.cancel();
    let goodbye = loop {
        match client.next().await {
            Some(Frame::Failed(more)) => failed.push(more),
            other => break other,
        }
    };
    assert!(
        failed
            .iter()
            .all(|failed| failed.status == Status::ShuttingDown)
    );
    let addresses: HashSet<_> = failed.iter().map(|f| (f.request.0, f.index)).collect();
    let expected = [(3, Some(0)), (1, Some(0)), (1, Some(1)), (2, None)];
    assert_eq!(addresses, HashSet::from(expected));
    let Some(Frame::Goodbye(goodbye)) = goodbye else {
        panic!("the daemon says goodbye")
    };
    assert_eq!(goodbye.status, Some(Status::ShuttingDown));
    assert_eq!(client.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_newest_state_and_only_while_subscribed() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("watcher").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let topics = Topics::DEVICES;
    client.send(&Frame::Subscribe(Subscribe { topics })).await;
    let mut states = Vec::new();
    for _ in 0..4 {
        let Some(Frame::Event(event)) = client.next().await else {
            panic!("an event comes")
        };
        let EventBody::Device { device } = event.body().unwrap() else {
            panic!("only devices were asked for")
        };
        states.push(device.state);
        match states.len() {
            1 => board.heat(true),
            2 => board.heat(false),
            3 => board.unplug(),
            _ => {}
        }
    }
    let expected = [
        DeviceState::Ready,
        DeviceState::Paused,
        DeviceState::Ready,
        DeviceState::Absent,
    ];
    assert_eq!(states, expected);
    client
        .send(&Frame::Subscribe(Subscribe {
            topics: Topics::NONE,
        }))
        .await;
    client.send(&Frame::Ping(1)).await;
    board.plug();
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.send(&Frame::Ping(2)).await;
    while client.next().await != Some(Frame::Pong(1)) {}
    assert_eq!(client.next().await, Some(Frame::Pong(2)));
}

#[test]
fn the_largest_status_document_fits_into_its_frame() {
    use crate::core::{DEVICES_MAX, SESSIONS_MAX};
    // Quotes and backslashes double in JSON; control characters cannot occur.
    let text = |bytes| "\"".repeat(bytes);
    let device = hasher_wire::DeviceReport {
        id: text(64),
        kind: hasher_wire::DeviceKind::Simulated,
        state: DeviceState::Stopping,
        reason: Some(text(128)),
        model: text(64),
        firmware: text(64),
        chips_per_chain: vec![255; 16],
        frequency_mhz: 1e-300,
        filter_zero_bits: u32::MAX,
        nominal_hash_rate_hps: 1.234_567_890_123e300,
        temperatures_celsius: vec![255; 16],
        fans_rpm: vec![u32::MAX; 16],
        fifo_space: Some(u32::MAX),
        slowdown: Some(1.234_567_890_123e300),
        works_in_flight: u32::MAX,
        attachments: u32::MAX,
        counters: hasher_wire::DeviceCountersReport {
            works: u64::MAX,
            filler_works: u64::MAX,
            hits: u64::MAX,
            hardware_errors: u64::MAX,
            stale: u64::MAX,
            duplicates: u64::MAX,
            unknown_works: u64::MAX,
            lost_works: u64::MAX,
            dropped_bytes: u64::MAX,
            recoveries: u64::MAX,
        },
    };
    let session = SessionReport {
        id: u64::MAX,
        name: text(64),
        uid: Some(u32::MAX),
        pid: Some(i32::MIN),
        protocol: "255.255".into(),
        credits: u16::MAX,
        credits_free: u16::MAX,
        jobs_accepted: u64::MAX,
        jobs_done: u64::MAX,
        jobs_failed: u64::MAX,
        refused: u64::MAX,
        works: u64::MAX,
        digests: u64::MAX,
    };
    let report = StatusReport {
        devices: vec![device; DEVICES_MAX],
        sessions: vec![session; SESSIONS_MAX],
        ..StatusReport::default()
    };
    let reply = StatusReply::new(RequestId(1), &report).unwrap();
    assert!(
        reply.json.len() < hasher_wire::MAX_JSON_BYTES - 1024,
        "{}",
        reply.json.len()
    );
}

/// The frames of a fixture by name.
fn recorded(fixture: &str) -> HashMap<String, Vec<u8>> {
    let mut frames = HashMap::new();
    for block in fixture.split("\n[").skip(1) {
        let (name, lines) = block.split_once(']').unwrap();
        let hex: String = lines
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .collect();
        frames.insert(name.to_owned(), from_hex(&hex).unwrap());
    }
    frames
}

/// The CPU as a source, as `--device cpu` gives it.
struct CpuSource(hasher_driver::DeviceId);

impl crate::Source for CpuSource {
    fn id(&self) -> &hasher_driver::DeviceId {
        &self.0
    }

    fn kind(&self) -> hasher_driver::DeviceKind {
        hasher_driver::DeviceKind::Cpu
    }

    async fn open(&self) -> Result<Box<dyn hasher_driver::HashDevice>, hasher_driver::DriverError> {
        Ok(Box::new(hasher_driver::CpuDevice::new(self.0.clone(), 2)?))
    }
}

/// Plays a recorded client of one minor against the CPU device.
async fn serve_recorded(fixture: &str, daemon_fixture: &str, version: Version) {
    let daemon = Daemon::start(vec![CpuSource(hasher_driver::DeviceId("cpu-0".into()))]);
    let (frames, daemon_frames) = (recorded(fixture), recorded(daemon_fixture));
    let (stream, incoming) = (daemon.raw(), BytesMut::new());
    let mut client = Client { stream, incoming };
    client.stream.write_all(&frames["hello"]).await.unwrap();
    let Some(Frame::Welcome(welcome)) = client.next().await else {
        panic!("the recorded client is welcome")
    };
    assert_eq!(welcome.version, version);
    assert_eq!(
        welcome.features.has(Features::DIGEST_STREAM),
        version >= Version::V1_1
    );

    // Job 0 finds block 0 within its 256 nonces; job 1 would take hours.
    client.stream.write_all(&frames["search"]).await.unwrap();
    let Some(Frame::SearchDone(done)) = client.next().await else {
        panic!("block 0 is found")
    };
    assert_eq!(
        (done.index, done.result.hits[0].nonce),
        (0, Nonce(0x7c2b_ac1d))
    );
    assert_eq!(done.result.certain_nonces, 0x1e);
    client
        .stream
        .write_all(&frames["cancel_one"])
        .await
        .unwrap();
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("job 1 is cancelled")
    };
    assert_eq!((failed.index, failed.status), (Some(1), Status::Cancelled));
    // Both are answered, so this changes nothing.
    client
        .stream
        .write_all(&frames["cancel_all"])
        .await
        .unwrap();

    client
        .stream
        .write_all(&frames["digest_batch"])
        .await
        .unwrap();
    let digests = client.next().await.unwrap();
    let mut bytes = BytesMut::new();
    Codec.encode(&digests, &mut bytes).unwrap();
    assert_eq!(
        bytes, daemon_frames["digests"],
        "the recorded answer, to the byte"
    );

    if version >= Version::V1_1 {
        for name in ["digest_begin", "digest_chunk", "digest_end"] {
            client.stream.write_all(&frames[name]).await.unwrap();
        }
        let streamed = client.next().await.unwrap();
        let mut bytes = BytesMut::new();
        Codec.encode(&streamed, &mut bytes).unwrap();
        assert_eq!(bytes, daemon_frames["digest_streamed"]);
    } else {
        let (request, algorithm) = (RequestId(9), DigestAlgorithm::Sha256);
        client
            .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
            .await;
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("1.0 has no digest streams")
        };
        assert_eq!(failed.status, Status::Unsupported);
    }
    client
        .stream
        .write_all(&frames["status_query"])
        .await
        .unwrap();
    let Some(Frame::Status(status)) = client.next().await else {
        panic!("the status comes")
    };
    assert_eq!(
        status.report().unwrap().sessions[0].protocol,
        version.to_string()
    );
    client.stream.write_all(&frames["ping"]).await.unwrap();
    assert_eq!(
        client.next().await,
        Some(Frame::Pong(0x0123_4567_89ab_cdef))
    );
    client.stream.write_all(&frames["subscribe"]).await.unwrap();
    assert!(matches!(client.next().await, Some(Frame::Event(_))));
    client.stream.write_all(&frames["goodbye"]).await.unwrap();
    while client.next().await.is_some() {}
    daemon.assert_empty().await;
    daemon.stop.cancel();
}

#[tokio::test]
async fn a_recorded_client_of_the_previous_minor_is_served() {
    let client = include_str!("../../../tests/fixtures/socket/client-1.0.hex");
    let daemon = include_str!("../../../tests/fixtures/socket/daemon-1.0.hex");
    serve_recorded(client, daemon, Version::V1_0).await;
}

#[tokio::test]
async fn a_recorded_client_of_this_minor_is_served() {
    let client = include_str!("../../../tests/fixtures/socket/client-1.1.hex");
    let daemon = include_str!("../../../tests/fixtures/socket/daemon-1.1.hex");
    serve_recorded(client, daemon, Version::V1_1).await;
}
