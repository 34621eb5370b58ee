//! The program itself: arguments, signals, systemd's two protocols, exit codes.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

mod configuration;
mod hasherd;
mod watchdog;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use hasher_wire::{
    Codec, DeviceKind, Frame, Goodbye, Hello, JobRequest, Priority, RequestId, Search, Status,
    Version,
};
use hasher_work::{Header, Nonce, NonceRange, SearchJob, SearchMode, Target};
use rustix::process::Signal;

use self::hasherd::{Hasherd, hasherd};

/// Longest wait for anything the program does; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

struct Client {
    stream: UnixStream,
    incoming: BytesMut,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        let mut client = Self::connect_silently(socket);
        assert!(client.try_hello());
        assert!(matches!(client.next(), Some(Frame::Welcome(_))));
        client
    }

    /// Connects and says nothing.
    fn connect_silently(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let incoming = BytesMut::new();
        Self { stream, incoming }
    }

    /// Says Hello, unless the daemon has closed the connection.
    fn try_hello(&mut self) -> bool {
        self.try_send(&Frame::Hello(Hello {
            min: Version::OLDEST,
            max: Version::NEWEST,
            name: "program test".into(),
        }))
    }

    fn send(&mut self, frame: &Frame) {
        assert!(self.try_send(frame), "the daemon closed the connection");
    }

    fn try_send(&mut self, frame: &Frame) -> bool {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        self.stream.write_all(&bytes).is_ok()
    }

    fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Codec.decode(&mut self.incoming).unwrap() {
                return Some(frame);
            }
            let mut buffer = [0; 4096];
            let length = self.stream.read(&mut buffer).unwrap();
            if length == 0 {
                return None;
            }
            self.incoming.extend_from_slice(&buffer[..length]);
        }
    }

    fn search(&mut self, request: u32, range: NonceRange) {
        let header: Header = "0100000000000000000000000000000000000000000000000000000000000000\
            000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
            4b1e5e4a29ab5f49ffff001d1dac2b7c"
            .parse()
            .unwrap();
        let job = SearchJob {
            header,
            range,
            target: Target::from_zero_bits(32).unwrap(),
            mode: SearchMode::Exhaust,
            rolls: 0,
        };
        self.send(&Frame::Search(Search {
            request: RequestId(request),
            jobs: vec![JobRequest {
                job,
                deadline_ms: 0,
                priority: Priority::Interactive,
            }],
        }));
    }

    fn assert_finds_block_0(&mut self) {
        let range = NonceRange::new(Nonce(0x7c2b_0000), Nonce(0x7c2b_ffff)).unwrap();
        self.search(1, range);
        let Some(Frame::SearchDone(done)) = self.next() else {
            panic!("a search is answered")
        };
        assert_eq!(done.result.hits[0].nonce, Nonce(0x7c2b_ac1d));
        assert_eq!(done.result.certain_nonces, 0x1_0000);
        assert_eq!(done.computed_by[0].kind, DeviceKind::Cpu);
    }
}

#[test]
fn block_0_is_found_and_sigterm_answers_everyone_before_the_end() {
    let mut hasherd = Hasherd::start(&["--device", "cpu,threads=1"]);
    let mut client = Client::connect(&hasherd.socket);
    client.assert_finds_block_0();
    client.search(2, NonceRange::WHOLE);
    client.send(&Frame::Ping(1)); // both have arrived when the answer comes
    assert_eq!(client.next(), Some(Frame::Pong(1)));
    hasherd.signal(Signal::TERM);
    hasherd.wait_for("STOPPING=1");
    let Some(Frame::Failed(failed)) = client.next() else {
        panic!("the open job is answered")
    };
    assert_eq!(
        (failed.request, failed.status),
        (RequestId(2), Status::ShuttingDown)
    );
    let Some(Frame::Goodbye(Goodbye { status, .. })) = client.next() else {
        panic!("the daemon says goodbye")
    };
    assert_eq!(status, Some(Status::ShuttingDown));
    assert_eq!(client.next(), None);
    assert!(hasherd.end().success());
    assert!(!hasherd.socket.exists());
}

#[test]
fn one_user_gets_sixteen_places_and_one_back_for_each_that_it_leaves() {
    let hasherd = Hasherd::start(&[]);
    let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(&hasherd.socket)).collect();
    let mut refused = Client::connect_silently(&hasherd.socket);
    let Some(Frame::Goodbye(goodbye)) = refused.next() else {
        panic!("there is no place for it")
    };
    assert_eq!(goodbye.status, Some(Status::Busy));
    let expected = "hasherd serves 16 clients of one user at once";
    assert_eq!(&*goodbye.message, expected);
    clients.pop();
    // The daemon sees the end of the one before or after it accepts the other.
    let is_admitted = (0..10_000).any(|_| {
        let mut client = Client::connect_silently(&hasherd.socket);
        client.try_hello() && matches!(client.next(), Some(Frame::Welcome(_)))
    });
    assert!(is_admitted);
}

#[test]
fn ctrl_c_ends_an_idle_daemon_without_devices() {
    let mut hasherd = Hasherd::start(&[]);
    let _client = Client::connect(&hasherd.socket);
    hasherd.signal(Signal::INT);
    assert!(hasherd.end().success());
}

#[test]
fn a_socket_that_systemd_passes_is_used_and_left_in_place() {
    let mut hasherd = Hasherd::start_activated(&["--device", "cpu,threads=1"]);
    Client::connect(&hasherd.socket).assert_finds_block_0();
    hasherd.signal(Signal::TERM);
    assert!(hasherd.end().success());
    assert!(hasherd.socket.exists(), "systemd removes it");
}

#[test]
fn sockets_that_were_passed_to_another_process_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("own.sock");
    let mut command = hasherd();
    command
        .envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "1")])
        .env("LISTEN_FDNAMES", "jobs")
        .env("HASHER_SOCKET", &socket);
    let mut hasherd = Hasherd::spawn(command, socket, folder);
    drop(Client::connect(&hasherd.socket));
    hasherd.signal(Signal::TERM);
    assert!(hasherd.end().success());
}

#[test]
fn a_passed_socket_of_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let listener: OwnedFd = UnixListener::bind(folder.path().join("s")).unwrap().into();
    let output = Command::new("sh")
        .arg("-c")
        .arg(r#"LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=other exec "$0" 3<&0"#)
        .arg(env!("CARGO_BIN_EXE_hasherd"))
        .stdin(Stdio::from(listener))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("no listening stream socket named \"jobs\""),
        "{error}"
    );
}

#[test]
fn bad_arguments_end_with_one_clear_error_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let mut first = Hasherd::start(&[]);
    let cases: [(Vec<&Path>, i32, &str); 5] = [
        (
            vec!["--device".as_ref(), "sim:s9".as_ref()],
            2,
            "there are usb, sim:s1, sim:s3 and cpu",
        ),
        (
            vec!["--log".as_ref(), "=,=".as_ref()],
            2,
            "--log: \"=,=\" is no filter",
        ),
        (vec!["--socket".as_ref(), &file], 1, "hint: move it away"),
        (
            vec!["--socket".as_ref(), &first.socket],
            1,
            "hint: stop it first",
        ),
        (
            vec!["--socket".as_ref(), "/proc/hasherd.sock".as_ref()],
            1,
            "cannot open the lock",
        ),
    ];
    for (arguments, code, text) in cases {
        let output = hasherd().args(&arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(text), "{error}");
        let errors = error
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        assert_eq!(errors, 1, "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    first.signal(Signal::TERM);
    assert!(first.end().success());
}

#[test]
fn a_hash_kernel_that_does_not_exist_is_refused() {
    let output = hasherd().env("HASHER_KERNEL", "mmx").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("HASHER_KERNEL=mmx names no hash kernel; there are portable,"),
        "{error}"
    );
}

#[test]
fn too_many_devices_are_refused() {
    let output = hasherd()
        .args(["--device", "cpu"].repeat(17))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("17 devices given, at most 16 are possible"),
        "{error}"
    );
}
