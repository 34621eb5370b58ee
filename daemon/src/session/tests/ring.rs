//! Digests through shared memory, over a real socket within the process.

use hasher_ring::{ClientRing, SLOTS};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::support::*;
use crate::client_socket::ClientSocket;
use crate::core::{Limits, SharedMemory};

/// A client of the daemon's own user.
struct RingClient {
    stream: UnixStream,
    incoming: BytesMut,
    welcome: Welcome,
}

impl RingClient {
    async fn connect(daemon: &Daemon, uid: u32, max: Version) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (uid, pid) = (Some(uid), None);
        let (hub, stop) = (Arc::clone(&daemon.hub), daemon.stop.clone());
        let theirs = ClientSocket::new(theirs.into_std().unwrap()).unwrap();
        tokio::spawn(serve(theirs, Peer { uid, pid }, hub, stop));
        let mut client = Self {
            stream: ours,
            incoming: BytesMut::new(),
            welcome: Welcome {
                version: max,
                credits: 0,
                limits: hasher_wire::Limits {
                    frame_bytes: 0,
                    jobs: 0,
                    messages: 0,
                    chunk_bytes: 0,
                    deadline_default_ms: 0,
                    deadline_max_ms: 0,
                },
                features: Features::default(),
                daemon: "".into(),
            },
        };
        let (min, name) = (Version::OLDEST, "ring".into());
        client.send(&Frame::Hello(Hello { min, max, name })).await;
        let Some(Frame::Welcome(welcome)) = client.next().await else {
            panic!("no Welcome");
        };
        client.welcome = welcome;
        client
    }

    async fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

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

    async fn open_ring(&mut self) -> (ClientRing, std::fs::File) {
        self.send(&Frame::RingOpen(RequestId(5))).await;
        let mut bytes = [0; 64];
        let receive = || hasher_ring::receive(&self.stream, &mut bytes);
        let (count, descriptor) = self
            .stream
            .async_io(Interest::READABLE, receive)
            .await
            .unwrap();
        self.incoming.extend_from_slice(&bytes[..count]);
        let Some(Frame::RingOpened(opened)) = self.next().await else {
            panic!("no ring");
        };
        assert_eq!((opened.request.0, opened.bytes), (5, 249_856));
        let descriptor = descriptor.expect("the descriptor comes along");
        (ClientRing::map(&descriptor).unwrap(), descriptor.into())
    }

    async fn ring_bell(&mut self, ring: &ClientRing) {
        if ring.takes_bell() {
            self.send(&Frame::RingBell).await;
        }
    }
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn daemon() -> Daemon {
    Daemon::start(Vec::<TestBoard>::new())
}

/// Waits for the oldest slot, awake.
async fn collect(ring: &mut ClientRing) -> Vec<hasher_work::Digest> {
    loop {
        if let Some(digests) = ring.collect().unwrap() {
            return digests;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn slots_are_answered_in_order_and_counted() {
    let daemon = daemon();
    let mut client = RingClient::connect(&daemon, own(), Version::NEWEST).await;
    assert!(client.welcome.features.has(Features::RING));
    let (mut ring, _) = client.open_ring().await;
    for round in 0..20 {
        let messages = [vec![1; round], vec![2; 3 * round]];
        while ring.submit(DigestAlgorithm::Sha256, &messages) > 0 {}
        client.ring_bell(&ring).await;
        for _ in 0..SLOTS {
            assert_eq!(
                collect(&mut ring).await,
                messages.each_ref().map(|m| digest(m))
            );
        }
    }
    assert_eq!(ring.submit(DigestAlgorithm::Sha256d, &[b"abc"]), 1);
    client.ring_bell(&ring).await;
    assert_eq!(collect(&mut ring).await, [double_digest(b"abc")]);
    let status = daemon.hub.status();
    let bytes = (0..20).map(|round| 4 * round * SLOTS as u64).sum::<u64>() + 3;
    assert_eq!(status.sessions[0].digests, 20 * 2 * SLOTS as u64 + 1);
    assert_eq!(
        (status.totals.digests, status.totals.digest_bytes),
        (20 * 2 * SLOTS as u64 + 1, bytes)
    );
    drop(client);
    daemon.assert_empty().await;
}

#[tokio::test]
async fn a_client_that_sleeps_gets_a_bell() {
    let daemon = daemon();
    let mut client = RingClient::connect(&daemon, own(), Version::NEWEST).await;
    let (mut ring, _) = client.open_ring().await;
    for _ in 0..50 {
        assert_eq!(ring.submit(DigestAlgorithm::Sha256, &["a"]), 1);
        client.ring_bell(&ring).await;
        if ring.sleep() {
            assert_eq!(client.next().await, Some(Frame::RingBell));
        }
        assert_eq!(ring.collect().unwrap(), Some(vec![digest(b"a")]));
    }
}

#[tokio::test]
async fn a_session_has_one_ring() {
    let daemon = daemon();
    let mut client = RingClient::connect(&daemon, own(), Version::NEWEST).await;
    let (mut ring, _) = client.open_ring().await;
    client.send(&Frame::RingOpen(RequestId(6))).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("a second ring");
    };
    assert_eq!((failed.request.0, failed.status), (6, Status::Invalid));
    ring.submit(DigestAlgorithm::Sha256, &["a"]);
    client.ring_bell(&ring).await;
    assert_eq!(collect(&mut ring).await, [digest(b"a")]);
}

#[tokio::test]
async fn nonsense_in_the_ring_ends_the_session_and_clears_the_memory() {
    use std::os::unix::fs::FileExt;
    let daemon = daemon();
    let mut client = RingClient::connect(&daemon, own(), Version::NEWEST).await;
    let (ring, memory) = client.open_ring().await;
    memory.write_all_at(&[1, 0, 200], 4096).unwrap();
    memory.write_all_at(&[1], 128).unwrap();
    client.send(&Frame::RingBell).await;
    let Some(Frame::Goodbye(goodbye)) = client.next().await else {
        panic!("no Goodbye");
    };
    assert_eq!(goodbye.status, Some(Status::Protocol));
    assert_eq!(
        &*goodbye.message,
        "a slot of the ring holds 200 messages, not 1 to 128"
    );
    assert_eq!(client.next().await, None);
    daemon.assert_empty().await;
    let mut bytes = [7; 3];
    memory.read_exact_at(&mut bytes, 4096).unwrap();
    assert_eq!(bytes, [0; 3]);
    drop(ring);
}

#[tokio::test]
async fn only_who_may_share_memory_is_offered_a_ring() {
    let daemon = daemon();
    let with = |shared_memory| Limits {
        shared_memory,
        ..Limits::default()
    };
    let (own, other) = (own(), own() + 1);
    for (rule, uid, version, expected) in [
        (SharedMemory::Own, own, Version::V1_3, true),
        (SharedMemory::Own, own, Version::V1_2, false),
        (SharedMemory::Own, other, Version::V1_3, false),
        (SharedMemory::All, other, Version::V1_3, true),
        (SharedMemory::None, own, Version::V1_3, false),
    ] {
        daemon.hub.configure(with(rule), Default::default());
        let mut client = RingClient::connect(&daemon, uid, version).await;
        let is_offered = client.welcome.features.has(Features::RING);
        assert_eq!(is_offered, expected, "{rule:?} {version}");
        client.send(&Frame::RingOpen(RequestId(1))).await;
        match client.next().await {
            Some(Frame::RingOpened(_)) => assert!(expected),
            Some(Frame::Failed(failed)) => {
                assert!(!expected);
                assert_eq!(failed.status, Status::NotAllowed);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_busy_ring_keeps_nobody_waiting() {
    let daemon = daemon();
    let mut client = RingClient::connect(&daemon, own(), Version::NEWEST).await;
    let (mut ring, _) = client.open_ring().await;
    let mut other = daemon.client("other").await;
    let slots = std::cell::Cell::new(0_usize);
    let busy = async {
        loop {
            while ring.submit(DigestAlgorithm::Sha256, &[[0; 80]; 128]) > 0 {}
            client.ring_bell(&ring).await;
            while let Some(_digests) = ring.collect().unwrap() {
                slots.set(slots.get() + 1);
            }
            tokio::task::yield_now().await;
        }
    };
    let asking = async {
        while slots.get() < SLOTS {
            tokio::task::yield_now().await;
        }
        for number in 0..50 {
            let before = slots.get();
            other.send(&Frame::Ping(number)).await;
            assert_eq!(other.next().await, Some(Frame::Pong(number)));
            let meanwhile = slots.get() - before;
            assert!(meanwhile <= 4 * SLOTS, "{meanwhile} slots before a Pong");
        }
    };
    tokio::select! {
        () = busy => {}
        () = asking => {}
    }
    assert!(slots.get() > 50, "the ring was busy: {}", slots.get());
}
