//! Captures of boards, replayed: those in `fixtures/captures`, and one made now.
//!
//! A capture is what `hasher doctor --report` writes. Its bytes must be understood as they
//! were when it was made, and the host must begin with the board as it did then.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hasher_driver::host::{BoardSettings, Host};
use hasher_driver::stream::Reassembler;
use hasher_driver::token::{Reply, Request};
use hasher_driver::transport::TransportEvent;
use hasher_driver::{DeviceEvent, DeviceId, DeviceKind, Layout};
use hasher_tests::{Daemon, program};
use hasher_wire::{CaptureReport, DeviceReport, DeviceState, TransferData, TransferReport};
use hasher_work::from_hex;
use serde::Deserialize;
use tempfile::TempDir;

/// Longest wait for two boards that start; seconds are usual.
const PATIENCE: Duration = Duration::from_secs(60);

/// What of a capture is replayed; the rest is for people.
#[derive(Debug, Deserialize)]
struct Capture {
    schema: String,
    devices: Vec<DeviceReport>,
    wires: Vec<CaptureReport>,
}

/// What the board of a capture said.
#[derive(Debug, Default)]
struct Heard {
    statuses: usize,
    nonces: usize,
    noise: u64,
}

fn read(path: &Path) -> Capture {
    let text = fs::read_to_string(path).expect("a capture is readable");
    let capture: Capture = serde_json::from_str(&text).expect("a capture is JSON");
    assert_eq!(capture.schema, "hasher.capture/1", "{}", path.display());
    capture
}

/// Devices whose layout is known, with their wires.
fn wires(capture: &Capture) -> Vec<(Layout, &CaptureReport)> {
    let layout = |wire: &CaptureReport| {
        let device = capture.devices.iter().find(|d| d.id == wire.device);
        match device?.layout.as_str() {
            "S1" => Some(Layout::S1),
            "S3" => Some(Layout::S3),
            _ => None,
        }
    };
    let known = |wire| Some((layout(wire)?, wire));
    capture.wires.iter().filter_map(known).collect()
}

fn bytes(hex: &str) -> Bytes {
    from_hex(hex).expect("hexadecimal digits").into()
}

fn at(transfer: &TransferReport) -> Duration {
    Duration::from_micros((transfer.ms * 1000.0).round() as u64)
}

/// Reads what the board sent.
fn listen(layout: Layout, transfers: &[TransferReport], heard: &mut Heard) {
    let mut stream = Reassembler::new(layout);
    for transfer in transfers {
        let TransferData::In(hex) = &transfer.data else {
            continue;
        };
        for _ in 0..transfer.times {
            stream.push(&bytes(hex));
            while let Some(reply) = stream.next_reply() {
                match reply {
                    Reply::Status(status) => {
                        heard.statuses += 1;
                        assert!(!status.chains.is_empty(), "{status:?}");
                    }
                    Reply::Nonces(reply) => heard.nonces += reply.nonces.len(),
                }
            }
        }
    }
    heard.noise += stream.dropped_bytes() + stream.waiting() as u64;
}

/// Every token is one of ours; works are blank.
fn check_tokens(layout: Layout, wire: &CaptureReport) {
    for transfer in wire.start.iter().chain(&wire.recent) {
        let TransferData::Out(hex) = &transfer.data else {
            continue;
        };
        let token = bytes(hex);
        // A board of unknown layout is asked in both.
        let request = [layout, Layout::S1, Layout::S3]
            .iter()
            .find_map(|layout| Request::decode(*layout, &token).ok())
            .unwrap_or_else(|| panic!("{hex} is no token"));
        if let Request::Task(task) = request {
            let is_blank = |work: hasher_work::Work| work.midstate.0 == [0; 8];
            assert!(task.works.iter().all(|entry| is_blank(entry.work)), "{hex}");
        }
    }
}

/// Starts with the board of a capture: the host must say what it said then, and be ready
/// before it sends the first works.
fn start_again(layout: Layout, wire: &CaptureReport) {
    let id = DeviceId(wire.device.clone());
    let settings = BoardSettings::new(id, DeviceKind::Simulated);
    let mut host = Host::new(settings, Duration::ZERO);
    let mut is_ready = false;
    for transfer in &wire.start {
        let now = at(transfer);
        host.on_time(now);
        match &transfer.data {
            TransferData::Out(hex) if hex.starts_with("52") => break,
            TransferData::Out(hex) => {
                let said = host.next_token(now).expect("it says something here");
                // Another clock than the stock clock may have been set.
                let compared = if hex.starts_with("51") { 1 } else { said.len() };
                assert_eq!(said[..compared], bytes(hex)[..compared], "at {now:?}");
                host.on_transport(TransportEvent::Sent, now);
            }
            TransferData::In(hex) => {
                for _ in 0..transfer.times {
                    host.on_transport(TransportEvent::Received(bytes(hex)), now);
                }
            }
            TransferData::Fault(why) => panic!("a fault in the start: {why}"),
        }
        while let Some(event) = host.next_event() {
            is_ready |= matches!(event, DeviceEvent::Ready);
        }
    }
    assert!(is_ready, "{} did not become ready", wire.device);
    let expected = match layout {
        Layout::S1 => "Antminer S1",
        Layout::S3 => "Antminer S3",
    };
    assert_eq!(host.info().model, expected);
}

fn replay(layout: Layout, wire: &CaptureReport) -> Heard {
    let mut heard = Heard::default();
    listen(layout, &wire.start, &mut heard);
    listen(layout, &wire.recent, &mut heard);
    check_tokens(layout, wire);
    start_again(layout, wire);
    heard
}

#[test]
fn every_capture_that_was_sent_in_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let mut layouts = Vec::new();
    for file in fs::read_dir(folder).expect("a folder of captures") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let capture = read(&path);
        for (layout, wire) in wires(&capture) {
            println!("{}: {}", path.display(), wire.device);
            let heard = replay(layout, wire);
            assert!(heard.statuses > 0 && heard.noise == 0, "{heard:?}");
            layouts.push(layout);
        }
    }
    for layout in [Layout::S1, Layout::S3] {
        assert!(layouts.contains(&layout), "no capture of layout {layout}");
    }
}

#[test]
fn a_capture_of_a_running_daemon_can_be_replayed() {
    let daemon = Daemon::start(&["sim:s3", "sim:s1"]);
    let hasher = |arguments: &[&str]| {
        let mut command = Command::new(program("hasher"));
        command.arg("--socket").arg(daemon.socket());
        command.args(arguments).output().expect("hasher runs")
    };
    let client = daemon.client().connect_blocking().expect("a daemon");
    let are_ready = || {
        let status = client.status().expect("a status");
        status
            .devices
            .iter()
            .all(|device| device.state == DeviceState::Ready)
    };
    let patience = Instant::now() + PATIENCE;
    while !are_ready() {
        assert!(Instant::now() < patience, "the boards become ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    let header = "5a".repeat(80);
    let search = [
        "search",
        "--zero-bits",
        "14",
        "--count",
        "8",
        "--rolls",
        "64",
    ];
    let found = hasher(&[&search[..], &["--header", &header]].concat());
    assert!(found.status.success(), "{found:?}");

    let folder = TempDir::new().expect("a folder for temporary files");
    // The daemon's reports are up to a second old.
    let patience = Instant::now() + PATIENCE;
    for attempt in 0.. {
        let path = folder.path().join(format!("{attempt}.json"));
        // What it thinks of this machine is another matter.
        let doctor = hasher(&["doctor", "--report", path.to_str().expect("a sane path")]);
        assert!(path.is_file(), "{doctor:?}");
        let capture = read(&path);
        let wires = wires(&capture);
        assert_eq!(wires.len(), 2);
        let mut nonces = 0;
        for (layout, wire) in wires {
            let heard = replay(layout, wire);
            assert!(heard.statuses > 0 && heard.noise == 0, "{heard:?}");
            nonces += heard.nonces;
        }
        if nonces > 0 {
            return;
        }
        assert!(Instant::now() < patience, "nonces are in the capture");
    }
}
