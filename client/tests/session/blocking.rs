//! The blocking face over a real socket, with a daemon of a few lines.

use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use bytes::BytesMut;
use hasher_client::blocking::Client;
use hasher_client::{
    ClientError, DigestAlgorithm, Engine, EventBody, LocalEngine, Priority, RemoteEngine,
    SearchOptions, Status, Topics,
};
use hasher_wire::{Codec, DeviceKind, DigestStreamed, Digests, Event, Failed, Frame, StatusReply};
use hasher_work::digest;
use tempfile::TempDir;

use crate::peer::{computed_by, done, job, jobs, numbers, welcome};

/// Answers one client until its Goodbye; tells the frames that came.
fn serve(listener: UnixListener) -> thread::JoinHandle<Vec<Frame>> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut input = BytesMut::new();
        let mut frames = Vec::new();
        let mut data = Vec::new();
        let mut chunk = [0; 4096];
        while !matches!(frames.last(), Some(Frame::Goodbye(_))) {
            let count = stream.read(&mut chunk).unwrap();
            assert_ne!(count, 0, "a client says Goodbye");
            input.extend_from_slice(&chunk[..count]);
            while let Some(frame) = Codec.decode(&mut input).unwrap() {
                let mut out = BytesMut::new();
                for answer in answers(&frame, &mut data) {
                    Codec.encode(&answer, &mut out).unwrap();
                }
                stream.write_all(&out).unwrap();
                frames.push(frame);
            }
        }
        frames
    })
}

fn answers(frame: &Frame, data: &mut Vec<u8>) -> Vec<Frame> {
    let cpu = || computed_by(DeviceKind::Cpu, "cpu");
    match frame {
        Frame::Hello(_) => vec![Frame::Welcome(welcome(8))],
        Frame::Search(search) => (0..)
            .zip(&search.jobs)
            .map(|(index, asked)| {
                if asked.job == job(99) {
                    return Frame::Failed(Failed {
                        request: search.request,
                        index: Some(index),
                        status: Status::NotRunnable,
                        message: "".into(),
                    });
                }
                done(search.request, index, &asked.job)
            })
            .collect(),
        Frame::DigestBatch(batch) => vec![Frame::Digests(Digests {
            request: batch.request,
            computed_by: cpu(),
            digests: batch.messages.iter().map(digest).collect(),
        })],
        Frame::DigestChunk(chunk) => {
            data.extend_from_slice(&chunk.data);
            Vec::new()
        }
        Frame::DigestEnd(end) => vec![Frame::DigestStreamed(DigestStreamed {
            request: end.request,
            length: data.len() as u64,
            digest: digest(data),
            computed_by: cpu(),
        })],
        Frame::StatusQuery(request) => vec![Frame::Status(
            StatusReply::new(*request, &Default::default()).unwrap(),
        )],
        // The end of a subscription is not answered: its client may be gone already.
        Frame::Subscribe(wanted) if wanted.topics != Topics::NONE => {
            let status = Default::default();
            let event = Event::new(&EventBody::Status { status }).unwrap();
            vec![Frame::Event(event)]
        }
        _ => Vec::new(),
    }
}

struct Daemon {
    _folder: TempDir,
    socket: PathBuf,
    thread: thread::JoinHandle<Vec<Frame>>,
}

fn daemon() -> Daemon {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("hasherd.sock");
    let thread = serve(UnixListener::bind(&socket).unwrap());
    Daemon {
        _folder: folder,
        socket,
        thread,
    }
}

fn connect(daemon: &Daemon) -> Client {
    let builder = hasher_client::Client::builder();
    builder.socket(&daemon.socket).connect_blocking().unwrap()
}

#[test]
fn every_request_works_without_a_runtime() {
    let daemon = daemon();
    let client = connect(&daemon);
    assert_eq!(client.session().peer, daemon.socket.to_str().unwrap());
    assert_eq!(numbers(&[client.search(job(4)).unwrap()]), [4]);
    let answers = client.search_batch(&jobs(0..20)).unwrap();
    assert_eq!(numbers(&answers), (0..20).collect::<Vec<_>>());
    let error = client.search_batch(&[job(1), job(99)]).unwrap_err();
    assert_eq!(error.status(), Some(Status::NotRunnable));
    let algorithm = DigestAlgorithm::Sha256;
    let answer = client.digest(algorithm, "abc").unwrap();
    assert_eq!(answer.digests, [digest(b"abc")]);
    let data = vec![5; 300_000];
    let answer = client.digest_stream(algorithm, &data[..]).unwrap();
    assert_eq!(answer.digest, digest(&data));
    assert_eq!(client.status().unwrap().devices, []);
    let mut events = client.subscribe(Topics::ALL).unwrap();
    assert!(matches!(events.next(), Some(Ok(EventBody::Status { .. }))));
    drop(events);
    drop(client);
    let frames = daemon.thread.join().unwrap();
    assert!(matches!(frames.first(), Some(Frame::Hello(_))));
}

#[test]
fn threads_share_a_client() {
    let daemon = daemon();
    let client = connect(&daemon);
    thread::scope(|scope| {
        for thread in 0..4u32 {
            let client = &client;
            scope.spawn(move || {
                let wanted = thread * 10..thread * 10 + 10;
                let answers = client.search_batch(&jobs(wanted.clone())).unwrap();
                assert_eq!(numbers(&answers), wanted.collect::<Vec<_>>());
            });
        }
    });
    drop(client);
    daemon.thread.join().unwrap();
}

/// A reader that is interrupted once, then fails.
struct Broken(u8);

impl Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0 += 1;
        match self.0 {
            1 => Err(io::ErrorKind::Interrupted.into()),
            2 => {
                buf[..3].copy_from_slice(b"abc");
                Ok(3)
            }
            _ => Err(io::Error::other("tape torn")),
        }
    }
}

#[test]
fn a_reader_that_fails_ends_its_stream_only() {
    let daemon = daemon();
    let client = connect(&daemon);
    let error = client.digest_stream(DigestAlgorithm::Sha256, Broken(0));
    let error = error.unwrap_err();
    assert!(matches!(error, ClientError::Read(_)), "{error:?}");
    assert_eq!(numbers(&[client.search(job(4)).unwrap()]), [4]);
    drop(client);
    let frames = daemon.thread.join().unwrap();
    assert!(frames.iter().any(|frame| matches!(frame, Frame::Cancel(_))));
}

#[test]
fn engines_are_used_without_knowing_which() {
    let daemon = daemon();
    let options = SearchOptions {
        priority: Priority::Interactive,
        ..SearchOptions::default()
    };
    let remote = RemoteEngine::new(connect(&daemon)).with_options(options);
    let local = LocalEngine::with_threads(NonZero::new(2).unwrap());
    let engines: [&dyn Engine; 2] = [&remote, &local];
    for engine in engines {
        let answers = engine.search(&jobs(3..6)).unwrap();
        assert_eq!(numbers(&answers), [3, 4, 5]);
        assert_eq!(numbers(&[engine.search_one(&job(8)).unwrap()]), [8]);
    }
    let by = |engine: &dyn Engine| engine.search_one(&job(1)).unwrap().by[0].to_string();
    assert_eq!(by(&remote), "sim-s3-0 (simulated)");
    assert_eq!(by(&local), "local");
    drop(remote);
    let frames = daemon.thread.join().unwrap();
    let priorities = frames.iter().filter_map(|frame| match frame {
        Frame::Search(search) => Some(search.jobs[0].priority),
        _ => None,
    });
    assert!(priorities.into_iter().all(|p| p == Priority::Interactive));
}
