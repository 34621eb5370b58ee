//! The scripted daemon, and jobs with known answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hasher_client::{Client, ClientBuilder, ClientError, Dial, Status, Why};
use hasher_wire::{
    Codec, ComputedBy, DeviceKind, Failed, Features, Frame, JobRequest, Limits, RequestId, Search,
    SearchDone, Version, Welcome,
};
use hasher_work::{
    Header, Hit, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes in each direction of a pipe, about what a socket holds.
const PIPE_BYTES: usize = 208 * 1024;

/// The daemon's end of one connection.
pub struct Peer {
    pub stream: DuplexStream,
    input: BytesMut,
}

impl Peer {
    /// The client's next frame; nothing when it closed.
    pub async fn frame_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Codec.decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.input).await.unwrap() == 0 {
                assert!(self.input.is_empty(), "the client ends at a whole frame");
                return None;
            }
        }
    }

    pub async fn frame(&mut self) -> Frame {
        self.frame_or_end().await.expect("a frame, not the end")
    }

    /// The next bytes that the client sends, as they are.
    pub async fn bytes(&mut self, count: usize) -> Bytes {
        while self.input.len() < count {
            assert_ne!(self.stream.read_buf(&mut self.input).await.unwrap(), 0);
        }
        self.input.split_to(count).freeze()
    }

    /// The next frame, which must be a Search: its number and jobs.
    pub async fn search(&mut self) -> (RequestId, Vec<JobRequest>) {
        match self.frame().await {
            Frame::Search(Search { request, jobs }) => (request, jobs),
            other => panic!("{other:?} instead of Search"),
        }
    }

    /// Whether the client sends nothing for a (virtual) second.
    pub async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_secs(1), self.frame()).await.is_err()
    }

    pub async fn send(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        Codec.encode(&frame, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn send_done(&mut self, request: RequestId, index: u16, job: &SearchJob) {
        self.send(done(request, index, job)).await;
    }

    pub async fn send_failed(&mut self, request: RequestId, index: Option<u16>, status: Status) {
        let failed = Failed {
            request,
            index,
            status,
            message: "".into(),
        };
        self.send(Frame::Failed(failed)).await;
    }

    /// Reads the Hello and welcomes.
    pub async fn welcome(&mut self, welcome: Welcome) {
        let hello = self.frame().await;
        assert!(matches!(hello, Frame::Hello(_)), "{hello:?}");
        self.send(Frame::Welcome(welcome)).await;
    }
}

/// What the client's dial meets; the test holds the other end.
pub struct Network {
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
    refusals: Arc<Mutex<VecDeque<Why>>>,
}

impl Network {
    pub fn new() -> (Self, PipeDial) {
        let (accept, accepted) = mpsc::unbounded_channel();
        let refusals = Arc::default();
        let dial = PipeDial {
            accept,
            refusals: Arc::clone(&refusals),
        };
        (Self { accepted, refusals }, dial)
    }

    /// The next connection of the client.
    pub async fn accept(&mut self) -> Peer {
        let stream = self.accepted.recv().await.expect("the client dials");
        Peer {
            stream,
            input: BytesMut::new(),
        }
    }

    /// The next connection, welcomed.
    pub async fn accept_welcome(&mut self, credits: u16) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome(welcome(credits)).await;
        peer
    }

    /// Refuses the next `count` connections.
    pub fn refuse(&self, count: usize, why: &Why) {
        let mut refusals = self.refusals.lock().unwrap();
        refusals.extend(std::iter::repeat_n(why.clone(), count));
    }

    /// How many of the refusals are left.
    pub fn refusals_left(&self) -> usize {
        self.refusals.lock().unwrap().len()
    }
}

pub struct PipeDial {
    accept: mpsc::UnboundedSender<DuplexStream>,
    refusals: Arc<Mutex<VecDeque<Why>>>,
}

impl Dial for PipeDial {
    type Stream = DuplexStream;

    async fn dial(&mut self) -> Result<DuplexStream, ClientError> {
        if let Some(why) = self.refusals.lock().unwrap().pop_front() {
            return Err(ClientError::Unreachable {
                sockets: vec!["pipe".into()],
                why,
            });
        }
        let (ours, theirs) = duplex(PIPE_BYTES);
        self.accept.send(theirs).unwrap();
        Ok(ours)
    }

    fn peer(&self) -> String {
        "pipe".into()
    }
}

/// A client with a session of so many credits.
pub async fn connect(builder: ClientBuilder, credits: u16) -> (Client, Peer, Network) {
    connect_to(builder, welcome(credits)).await
}

pub async fn connect_to(builder: ClientBuilder, welcome: Welcome) -> (Client, Peer, Network) {
    let (mut network, dial) = Network::new();
    let welcoming = async {
        let mut peer = network.accept().await;
        peer.welcome(welcome).await;
        peer
    };
    let (client, peer) = tokio::join!(builder.connect_with(dial), welcoming);
    (client.unwrap(), peer, network)
}

pub fn welcome(credits: u16) -> Welcome {
    Welcome {
        version: Version::V1_2,
        credits,
        limits: Limits {
            frame_bytes: 64 * 1024,
            jobs: 256,
            messages: 1024,
            chunk_bytes: 60 * 1024,
            deadline_default_ms: 60_000,
            deadline_max_ms: 600_000,
        },
        features: Features::ROLLS
            .and(Features::DIGEST_STREAM)
            .and(Features::DOCUMENTS),
        daemon: "9.9".into(),
    }
}

/// A job whose header and first nonce tell which it is.
pub fn job(number: u32) -> SearchJob {
    let mut header = Header([7; 80]);
    header.0[..4].copy_from_slice(&number.to_le_bytes());
    SearchJob {
        header,
        range: NonceRange::new(Nonce(number), Nonce(u32::MAX)).unwrap(),
        target: Target::ANY,
        mode: SearchMode::FirstFound(1),
        rolls: 0,
    }
}

pub fn jobs(numbers: std::ops::Range<u32>) -> Vec<SearchJob> {
    numbers.map(job).collect()
}

/// The first nonce of the range: any nonce meets the target of [`job`].
pub fn hit(job: &SearchJob) -> Hit {
    let nonce = job.range.first();
    Hit {
        time: job.header.time(),
        nonce,
        digest: job.header.work().digest(nonce),
    }
}

pub fn done(request: RequestId, index: u16, job: &SearchJob) -> Frame {
    Frame::SearchDone(SearchDone {
        request,
        index,
        result: SearchResult {
            hits: vec![hit(job)],
            end: SearchEnd::Found,
            certain_nonces: 0,
            works: 1,
        },
        computed_by: vec![computed_by(DeviceKind::Simulated, "sim-s3-0")],
    })
}

pub fn computed_by(kind: DeviceKind, device: &str) -> ComputedBy {
    let device = device.into();
    ComputedBy { kind, device }
}

/// The numbers of the jobs that were answered with the hit of their own range.
pub fn numbers(answers: &[hasher_client::SearchAnswer]) -> Vec<u32> {
    let first = |answer: &hasher_client::SearchAnswer| answer.result.hits[0].nonce.0;
    answers.iter().map(first).collect()
}
