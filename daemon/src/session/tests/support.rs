//! A daemon without a socket, and clients that talk to it over in-memory streams.

pub(super) use std::collections::{HashMap, HashSet};

pub(super) use bytes::{Bytes, BytesMut};
pub(super) use hasher_driver::DeviceSource;
pub(super) use hasher_wire::{
    CaptureReport, Codec, DeviceState, DigestAlgorithm, DigestBatch, DigestBegin, DigestChunk,
    DigestEnd, EventBody, JobRequest, Messages, Priority, Status, StatusReport, Subscribe, Topics,
    TransferData,
};
pub(super) use hasher_work::{
    Header, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, Target, digest, double_digest,
    from_hex,
};
pub(super) use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(super) use super::super::greeting::HELLO_TIMEOUT;
pub(super) use super::super::*;
pub(super) use crate::test_device::{PERIOD, TestBoard};
pub(super) use crate::test_rng::{Rng, test_seed};

use crate::manager::supervise;
use crate::notify::Watchdog;

/// A daemon without a socket: hub, clock and supervised boards.
pub(super) struct Daemon {
    pub(super) hub: Arc<Hub>,
    pub(super) stop: CancellationToken,
}

impl Daemon {
    pub(super) fn start<S: crate::Source>(sources: Vec<S>) -> Self {
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

    pub(super) fn raw(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let (hub, stop) = (Arc::clone(&self.hub), self.stop.clone());
        tokio::spawn(serve(theirs, Peer::default(), hub, stop));
        ours
    }

    pub(super) async fn client(&self, name: &str) -> Client {
        let mut client = Client {
            stream: self.raw(),
            incoming: BytesMut::new(),
        };
        let welcome = client.hello(name, Version::V1_0, Version::NEWEST).await;
        assert!(matches!(welcome, Some(Frame::Welcome(_))), "{welcome:?}");
        client
    }

    /// Everything a session left behind is gone.
    pub(super) async fn assert_empty(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!((self.hub.sessions(), self.hub.live_jobs()), (0, 0));
    }
}

pub(super) struct Client {
    pub(super) stream: DuplexStream,
    pub(super) incoming: BytesMut,
}

impl Client {
    pub(super) async fn hello(&mut self, name: &str, min: Version, max: Version) -> Option<Frame> {
        let name = name.into();
        self.send(&Frame::Hello(Hello { min, max, name })).await;
        self.next().await
    }

    pub(super) async fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame; nothing when the daemon closed the connection.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Codec.decode(&mut self.incoming).unwrap() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.incoming).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(super) async fn search(&mut self, request: u32, jobs: Vec<JobRequest>) {
        let request = RequestId(request);
        self.send(&Frame::Search(Search { request, jobs })).await;
    }

    pub(super) async fn status(&mut self) -> StatusReport {
        self.send(&Frame::StatusQuery(RequestId(0))).await;
        loop {
            let frame = self.next().await.expect("the session stands");
            if let Frame::Status(status) = frame {
                return status.report().unwrap();
            }
        }
    }
}

impl Client {
    /// What went over a device's wire.
    pub(super) async fn capture(&mut self, device: &str) -> Result<CaptureReport, Status> {
        self.send(&Frame::Query(Query {
            request: RequestId(99),
            topic: CaptureReport::TOPIC.into(),
            argument: device.into(),
        }))
        .await;
        match self.next().await {
            Some(Frame::Document(document)) => {
                assert_eq!(document.request, RequestId(99));
                Ok(serde_json::from_str(&document.json).unwrap())
            }
            Some(Frame::Failed(failed)) => Err(failed.status),
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// A search that the test board answers at its first work.
pub(super) fn job(number: u32) -> JobRequest {
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

pub(super) fn endless(number: u32) -> JobRequest {
    let mut request = job(number);
    request.job.target = Target::from_zero_bits(256).unwrap();
    request.job.rolls = SearchJob::MAX_ROLLS;
    request
}

/// A search without a solution that takes one work.
pub(super) fn fruitless(number: u32) -> JobRequest {
    let mut request = endless(number);
    request.job.rolls = 0;
    request
}

pub(super) fn digest_batch(request: u32, messages: &[impl AsRef<[u8]>]) -> Frame {
    Frame::DigestBatch(DigestBatch {
        request: RequestId(request),
        algorithm: DigestAlgorithm::Sha256d,
        messages: Messages::new(messages).unwrap(),
    })
}

/// One client of a random schedule: counts the answers to every job.
pub(super) async fn restless_client(daemon: Arc<Daemon>, seed: u64) -> (usize, usize) {
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
pub(super) async fn take_answer(
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

/// A device as `--device` names it.
pub(super) fn device(text: &str, index: usize) -> DeviceSource {
    let spec: hasher_driver::DeviceSpec = text.parse().unwrap();
    spec.open(index).unwrap()
}
