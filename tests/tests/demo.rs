//! The whole demo with tiny settings, and that it leaves nothing running.

use std::fs::{self, DirEntry};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use hasher_tests::program;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for the demo's daemon to come or to go on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Steps of a demo that lasts longer than its test.
const ENDLESS: &str = "1000000";

/// A demo whose private folder lies in a folder of the test.
struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a folder for temporary files"),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("hasher"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env_remove("HASHER_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("hasher can be started")
    }

    fn file(&self, name: &str) -> Vec<u8> {
        let path = self.folder.path().join("hasher-demo").join(name);
        fs::read(path).expect("the demo leaves this file")
    }

    /// Private folders of demos.
    fn private_folders(&self) -> usize {
        let entries = fs::read_dir(self.folder.path()).expect("the folder is there");
        let names = entries.flatten().map(|entry| entry.file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("hasher-demo-"))
            .count()
    }

    /// Daemons with a socket in a private folder.
    fn daemons(&self) -> Vec<Pid> {
        let folder = self.folder.path().to_string_lossy();
        let is_daemon = |process: &DirEntry| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("--exit-on-stdin-eof") && line.contains(&*folder)
        };
        let processes = fs::read_dir("/proc").expect("Linux has /proc").flatten();
        processes
            .filter(is_daemon)
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// A demo of so many steps, as soon as it has said that its daemon runs.
    fn begin_demo(&self, steps: &str) -> Running {
        let mut command = self.command(&["demo", "--passes", "1", "--steps", steps]);
        let mut demo = command.spawn().expect("hasher can be started");
        let mut told = BufReader::new(demo.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.contains("runs on a private socket") {
            line.clear();
            // Poll sees only what is not buffered yet.
            let is_told = !told.buffer().is_empty() || is_ready(told.get_ref());
            assert!(is_told, "it does not happen");
            let count = told.read_line(&mut line).expect("the demo tells its story");
            assert_ne!(count, 0, "the demo ends early");
        }
        let [daemon] = self.daemons()[..] else {
            panic!("a demo has one daemon");
        };
        let end = pidfd_open(daemon, PidfdFlags::empty()).expect("the daemon runs");
        Running {
            demo,
            daemon,
            end,
            _told: told,
        }
    }
}

/// A demo and its daemon.
struct Running {
    demo: Child,
    daemon: Pid,
    /// Readable when the daemon has ended.
    end: OwnedFd,
    /// Read no further; open, so that the demo may go on.
    _told: BufReader<ChildStdout>,
}

/// Waits until there is something to read, or the end; false when it takes too long.
fn is_ready(file: &impl AsFd) -> bool {
    let mut files = [PollFd::new(file, PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).expect("a minute is a time");
    poll(&mut files, Some(&patience)).expect("poll of one file") == 1
}

fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).expect("the process runs");
}

#[test]
fn the_demo_tells_its_story_and_leaves_three_files() {
    let stage = Stage::new();
    let output = stage.run(&["demo", "--steps", "20", "--passes", "3"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{error}\n{told}");
    for part in [
        "is simulated: no miner is connected",
        "1 347 handwritten digits",
        "450 images",
        "accuracy",
        "calibration error",
        "agreement",
        "4 928 bytes of seeds",
        "274 216",
        "sim-s3-0 (simulated)",
        "lowered difficulty: 14 zero bits instead of 32",
        "verified",
        "hasher verify hasher-demo/answer.hrc --model hasher-demo/digits.hsh",
    ] {
        assert!(told.contains(part), "`{part}` is missing in\n{told}");
    }
    assert!(
        told.lines().all(|line| line.chars().count() <= 80),
        "{told}"
    );
    assert!(!told.contains('\u{1b}'), "colours away from a terminal");
    assert!(stage.file("digits.hsh").starts_with(b"HSHM"));
    assert!(stage.file("answer.hrc").starts_with(b"HSHR"));
    let plot = String::from_utf8(stage.file("accuracy.svg")).unwrap();
    assert_eq!(plot.matches("<circle").count(), 2);
    assert_eq!((stage.private_folders(), stage.daemons().len()), (0, 0));
    let files = [
        "hasher-demo/answer.hrc",
        "--model",
        "hasher-demo/digits.hsh",
    ];
    let again = stage.run(&[&["verify", "--min-zero-bits", "14"], &files[..]].concat());
    assert_eq!(again.status.code(), Some(0));
}

#[test]
fn the_demo_runs_on_the_cpu_and_reports_as_json() {
    let stage = Stage::new();
    let args = [
        "--json",
        "demo",
        "--device",
        "cpu",
        "--zero-bits",
        "12",
        "--steps",
        "5",
    ];
    let output = stage.run(&[&args[..], &["--passes", "1", "--out", "here"]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{error}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], "hasher.demo/1");
    let mut keys: Vec<_> = value.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "answer", "device", "files", "receipt", "schema", "seconds", "test", "training"
        ]
    );
    assert_eq!(value["device"]["kind"], "cpu");
    assert!(value["device"]["works"].as_u64().unwrap() > 0);
    assert_eq!(value["answer"]["zero_bits_demanded"], 12);
    assert_eq!(value["receipt"]["worked"], true);
    assert!(stage.folder.path().join("here/digits.hsh").exists());
}

#[test]
fn an_unknown_device_is_wrong_usage_with_the_daemons_own_words() {
    let stage = Stage::new();
    let output = stage.run(&["demo", "--device", "toaster"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines[0].starts_with("error: hasherd did not start: "),
        "{error}"
    );
    assert!(lines[0].contains("toaster"), "{error}");
    assert!(lines[1].starts_with("  hint: "), "{error}");
    assert_eq!(stage.private_folders(), 0);
}

#[test]
fn a_private_folder_that_cannot_be_is_named_with_its_remedy() {
    let stage = Stage::new();
    let long = stage.folder.path().join("long".repeat(25));
    fs::create_dir(&long).unwrap();
    for (folder, what) in [
        (long, "the path is too long"),
        ("none".into(), "no such file"),
    ] {
        let output = stage.command(&["demo"]).env("TMPDIR", folder).output();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(what) && error.contains("hint: set TMPDIR"),
            "{error}"
        );
    }
}

#[test]
fn what_is_set_for_a_daemon_is_not_for_the_private_one() {
    let stage = Stage::new();
    // Refused as soon as the daemon runs; with these it would not.
    let mut command = stage.command(&["demo", "--zero-bits", "32"]);
    command.env("HASHER_LOG", "hasherd=loud");
    command.env("LISTEN_FDNAMES", "hasherd.socket");
    let error = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(error.contains("cannot search 32 zero bits"), "{error}");
}

#[test]
fn a_simulated_board_is_not_asked_for_real_difficulty() {
    let stage = Stage::new();
    let output = stage.run(&["--quiet", "demo", "--zero-bits", "32"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("cannot search 32 zero bits"), "{error}");
    assert!(error.contains("--device cpu"), "{error}");
    assert_eq!((stage.private_folders(), stage.daemons().len()), (0, 0));
}

#[test]
fn ctrl_c_stops_the_daemon_and_removes_its_folder() {
    let stage = Stage::new();
    let running = stage.begin_demo(ENDLESS);
    signal(Pid::from_child(&running.demo), Signal::INT);
    let output = running.demo.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("interrupted")
    );
    assert!(is_ready(&running.end), "the daemon lives on");
    assert_eq!(stage.private_folders(), 0);
}

#[test]
fn a_daemon_that_dies_is_named_as_the_cause() {
    let stage = Stage::new();
    let running = stage.begin_demo("1");
    signal(running.daemon, Signal::KILL);
    let output = running.demo.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.starts_with("error: hasherd "), "{error}");
    assert!(error.contains("SIGKILL"), "{error}");
    assert!(error.contains("\n  hint: "), "{error}");
    assert_eq!(stage.private_folders(), 0);
}

#[test]
fn a_killed_demo_takes_its_daemon_along() {
    let stage = Stage::new();
    let mut running = stage.begin_demo(ENDLESS);
    signal(Pid::from_child(&running.demo), Signal::KILL);
    running.demo.wait().unwrap();
    assert!(is_ready(&running.end), "the daemon lives on");
}
