//! Digests through memory that the client library shares with the real daemon.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hasher_client::blocking::DigestRing;
use hasher_client::{Client, DigestAlgorithm, Status, digest, double_digest};
use hasher_ring::ClientRing;
use hasher_tests::Daemon;
use hasher_wire::{Codec, Frame, Hello, RequestId, Version};

/// `nobody` on every Linux.
const NOBODY: u32 = 65534;

/// Longest wait for something that has to come; a loaded machine may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(daemon: &Daemon) -> DigestRing {
    daemon.client().open_ring_blocking().unwrap()
}

/// Messages of all lengths that matter to a hash loop, some of them long.
fn messages(count: usize) -> Vec<Vec<u8>> {
    let length = |i: usize| match i % 97 {
        96 => hasher_client::DigestRing::MESSAGE_BYTES_MAX - i % 5,
        95 => 0,
        short => short * (i % 7),
    };
    (0..count).map(|i| vec![i as u8; length(i)]).collect()
}

#[test]
fn digests_of_many_slots_are_those_of_this_cpu() {
    let daemon = Daemon::start(&["cpu"]);
    let mut ring = open(&daemon);
    let messages = messages(5000);
    for (algorithm, expected) in [
        (DigestAlgorithm::Sha256, digest as fn(&[u8]) -> _),
        (DigestAlgorithm::Sha256d, double_digest),
    ] {
        let answer = ring.digest_batch(algorithm, &messages).unwrap();
        assert_eq!(answer.by.to_string(), "cpu (cpu)");
        let expected: Vec<_> = messages.iter().map(|m| expected(m)).collect();
        assert!(answer.digests == expected, "{algorithm:?}");
    }
    assert_eq!(ring.session().version, Version::V1_3);
    let client = daemon.client().connect_blocking().unwrap();
    let status = client.status().unwrap();
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let totals = &status.totals;
    assert_eq!(
        (totals.digests, totals.digest_bytes),
        (10_000, 2 * bytes as u64)
    );
    assert_eq!(
        status.sessions.iter().map(|s| s.digests).max(),
        Some(10_000)
    );
}

#[test]
fn a_daemon_that_slept_is_woken_each_time() {
    let daemon = Daemon::start(&["cpu"]);
    let mut ring = open(&daemon);
    let client = daemon.client().connect_blocking().unwrap();
    for i in 0..300_u32 {
        let message = i.to_le_bytes();
        // Another client's round trip is longer than the daemon stays awake.
        client.status().unwrap();
        assert_eq!(ring.submit(DigestAlgorithm::Sha256, &[message]).unwrap(), 1);
        assert_eq!(ring.collect().unwrap(), [digest(&message)]);
    }
}

#[test]
fn a_ring_ends_with_its_daemon_and_says_so() {
    let mut daemon = Daemon::start(&["cpu"]);
    let mut ring = open(&daemon);
    daemon.kill();
    let error = ring
        .digest_batch(DigestAlgorithm::Sha256, &["a"])
        .unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    daemon.restart();
    let answer = open(&daemon).digest_batch(DigestAlgorithm::Sha256, &["a"]);
    assert_eq!(answer.unwrap().digests, [digest(b"a")]);
}

/// A client that keeps to no rule.
struct Hostile {
    stream: UnixStream,
    input: BytesMut,
}

impl Hostile {
    fn connect(daemon: &Daemon) -> (Self, File) {
        let stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let input = BytesMut::new();
        let mut hostile = Self { stream, input };
        hostile.send(&Frame::Hello(Hello {
            min: Version::V1_3,
            max: Version::V1_3,
            name: "hostile".into(),
        }));
        assert!(matches!(hostile.next(), Some(Frame::Welcome(_))));
        hostile.send(&Frame::RingOpen(RequestId(1)));
        let begin = Instant::now();
        let (count, descriptor, bytes) = loop {
            let mut bytes = [0; 64];
            match hasher_ring::receive(&hostile.stream, &mut bytes) {
                Ok((count, descriptor)) => break (count, descriptor, bytes),
                Err(_) => assert!(begin.elapsed() < PATIENCE, "no ring"),
            }
        };
        hostile.input.extend_from_slice(&bytes[..count]);
        assert!(matches!(hostile.next(), Some(Frame::RingOpened(_))));
        (hostile, descriptor.unwrap().into())
    }

    fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        // Fails when the daemon has ended the session already.
        _ = self.stream.write_all(&bytes);
    }

    /// The next frame; nothing when the session is over.
    fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Codec.decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                // What we sent last was not read any more.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Numbers that follow each other in no obvious way.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.0 >> 33
    }
}

#[test]
fn nonsense_ends_its_session_and_no_other() {
    let daemon = Daemon::start(&["cpu"]);
    let mut ring = open(&daemon);
    let mut noise = Noise(1);
    let mut ended = 0;
    for _ in 0..60 {
        let (mut hostile, memory) = Hostile::connect(&daemon);
        // Slots that look right in part, changed while the daemon works on them.
        for _ in 0..40 {
            let slot = 4096 + 15360 * (noise.next() % 16);
            let head = [
                1 + (noise.next() % 8 / 7) as u8,
                0,
                (noise.next() % 129) as u8,
                0,
            ];
            memory.write_all_at(&head, slot).unwrap();
            let length = (noise.next() % 200).to_le_bytes();
            memory
                .write_all_at(&length[..2], slot + 64 + 2 * (noise.next() % 128))
                .unwrap();
        }
        let submitted = (1 + noise.next() % 17) as u32;
        memory.write_all_at(&submitted.to_le_bytes(), 128).unwrap();
        hostile.send(&Frame::RingBell);
        // If none of it was wrong, this is.
        memory.write_all_at(&[0xff; 64], 4096).unwrap();
        memory.write_all_at(&u32::MAX.to_le_bytes(), 128).unwrap();
        hostile.send(&Frame::RingBell);
        while let Some(frame) = hostile.next() {
            match frame {
                Frame::Goodbye(goodbye) => {
                    assert_eq!(goodbye.status, Some(Status::Protocol));
                    ended += 1;
                }
                Frame::RingBell => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        let answer = ring.digest_batch(DigestAlgorithm::Sha256, &["well-behaved"]);
        assert_eq!(answer.unwrap().digests, [digest(b"well-behaved")]);
    }
    assert_eq!(ended, 60);
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let daemon = Daemon::start(&["cpu"]);
    let client = daemon.client().connect_blocking().unwrap();
    let mut kept = Vec::new();
    for round in 0..40 {
        let (mut vanishing, memory) = Hostile::connect(&daemon);
        let mut ring = ClientRing::map(&memory).unwrap();
        while ring.submit(DigestAlgorithm::Sha256, &[[round; 80]; 100]) > 0 {}
        vanishing.send(&Frame::RingBell);
        kept.push(memory);
    }
    let begin = Instant::now();
    while client.status().unwrap().sessions.len() > 1 {
        assert!(begin.elapsed() < PATIENCE, "sessions are left");
    }
    // The descriptors that are still held have no pages.
    for memory in &kept {
        assert_eq!(rustix::fs::fstat(memory).unwrap().st_blocks, 0);
    }
}

/// A daemon with one line under `[limits]`, whose socket is open to everybody.
fn configured(line: &str) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hasherd.toml");
    let text = format!("[socket]\nmode = \"0666\"\n[limits]\n{line}\n");
    std::fs::write(&config, text).unwrap();
    let arguments = [
        "--device=cpu".to_owned(),
        format!("--config={}", config.display()),
    ];
    let daemon = Daemon::start_with(arguments);
    let socket_folder = daemon.socket().parent().unwrap().to_owned();
    std::fs::set_permissions(socket_folder, Permissions::from_mode(0o755)).unwrap();
    (daemon, folder)
}

/// What another user's program hears that asks for a ring.
fn as_nobody(daemon: &Daemon) -> Result<(), Status> {
    let socket = daemon.socket();
    let asking = std::thread::spawn(move || {
        // Of this thread only.
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(NOBODY)).unwrap();
        let ring = Client::builder().socket(socket).open_ring_blocking();
        ring.map(drop).map_err(|error| error.status().unwrap())
    });
    asking.join().unwrap()
}

#[test]
fn memory_is_shared_as_configured() {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("not root: nobody else can ask");
    }
    let (daemon, _folder) = configured("shared_memory = \"none\"");
    let error = daemon.client().open_ring_blocking().unwrap_err();
    assert_eq!(error.status(), Some(Status::NotAllowed));
    for (line, expected) in [
        ("", Err(Status::NotAllowed)),
        ("shared_memory = \"all\"", Ok(())),
    ] {
        let (daemon, _folder) = configured(line);
        drop(open(&daemon));
        if is_root {
            assert_eq!(as_nobody(&daemon), expected, "{line:?}");
        }
    }
}
