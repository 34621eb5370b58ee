//! `hasher` against a real `hasherd`: what people and scripts see.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hasher_tests::{Bus, Daemon, GENESIS, Policy, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// `hasher` on this daemon's socket.
fn hasher(daemon: &Daemon, args: &[&str]) -> Output {
    command(daemon, args)
        .output()
        .expect("hasher can be started")
}

fn command(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = Command::new(program("hasher"));
    command
        .arg("--socket")
        .arg(daemon.socket())
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env("NO_COLOR", "1");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of a run that must succeed.
#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The object of a run that must succeed.
#[track_caller]
fn json(daemon: &Daemon, args: &[&str]) -> Value {
    let output = hasher(daemon, &[&["--json"], args].concat());
    serde_json::from_str(&said(&output)).expect("one JSON object")
}

#[track_caller]
fn assert_error(output: &Output, code: i32, what: &str, remedy: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains(what),
        "{error}"
    );
    assert!(
        lines[1].starts_with("  hint: ") && lines[1].contains(remedy),
        "{error}"
    );
}

/// A folder with a model that was trained for a few steps on a few rows.
fn model(daemon: &Daemon) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder for temporary files");
    let (data, model) = (
        folder.path().join("data.csv"),
        folder.path().join("model.hsh"),
    );
    let rows: String = (0..20)
        .map(|i| format!("{}{}\n", "8,".repeat(64), i % 10))
        .collect();
    fs::write(&data, rows).expect("the folder can be written");
    let args = [
        "train",
        "--steps",
        "5",
        "--data",
        path(&data),
        "--out",
        path(&model),
    ];
    said(&hasher(daemon, &args));
    (folder, model)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

#[test]
fn status_tells_people_and_scripts_that_a_device_is_simulated() {
    let daemon = Daemon::start(&["sim:s3,zero-bits=10", "cpu,threads=1"]);
    let told = said(&hasher(&daemon, &["status"]));
    for part in [
        "sim-s3-0",
        "simulated (no hardware)",
        "cpu-1",
        "Sessions",
        "hasher",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    assert!(
        told.lines().skip(2).all(|line| line.chars().count() <= 80),
        "{told}"
    );
    let value = json(&daemon, &["status"]);
    assert_eq!(value["schema"], "hasher.status/1");
    let devices = value["devices"].as_array().unwrap();
    for (id, kind) in [("sim-s3-0", "simulated"), ("cpu-1", "cpu")] {
        let device = devices.iter().find(|device| device["id"] == id);
        assert_eq!(device.unwrap()["kind"], kind);
    }
    for key in [
        "socket",
        "session_protocol",
        "daemon",
        "protocol",
        "sessions",
        "totals",
    ] {
        assert!(!value[key].is_null(), "{key} is missing in {value}");
    }
}

#[test]
fn the_first_block_is_found_at_full_difficulty_on_the_cpu() {
    let daemon = Daemon::start(&["cpu"]);
    let args = [
        "search",
        "--header",
        GENESIS,
        "--nonce-range",
        "0x7c2b0000..0x7c2bffff",
    ];
    let value = json(&daemon, &args);
    assert_eq!(value["schema"], "hasher.search/1");
    assert_eq!(value["end"], "found");
    assert_eq!(value["hits"][0]["nonce"], 2_083_236_893);
    assert_eq!(value["hits"][0]["header"], GENESIS);
    assert_eq!(
        value["hits"][0]["digest"],
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    );
    assert_eq!(value["computed_by"][0]["kind"], "cpu");
    let told = said(&hasher(&daemon, &args));
    assert!(
        told.contains("0x7c2bac1d") && told.contains("cpu-0 (cpu)"),
        "{told}"
    );
}

#[test]
fn lists_metrics_and_settings_are_those_of_the_daemon() {
    let daemon = Daemon::start(&["sim:s3,zero-bits=10", "cpu,threads=1"]);
    let value = json(&daemon, &["devices"]);
    assert_eq!(value["schema"], "hasher.devices/1");
    assert_eq!(value["devices"].as_array().unwrap().len(), 2);
    let value = json(&daemon, &["sessions"]);
    assert_eq!(value["sessions"][0]["name"], "hasher");
    for command in ["devices", "sessions"] {
        let told = said(&hasher(&daemon, &[command]));
        assert!(
            told.lines().all(|line| line.chars().count() <= 80),
            "{told}"
        );
    }
    let told = said(&hasher(&daemon, &["metrics"]));
    for line in [
        "hasher_up 1.0",
        "hasher_device_state{device=\"cpu-1\",state=\"ready\"} 1.0",
        "hasher_user_sessions{uid=",
    ] {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
    let value = json(&daemon, &["config", "show"]);
    assert_eq!(value["schema"], "hasher.configuration/1");
    let settings = value["settings"].as_array().unwrap();
    let devices = settings.iter().find(|setting| setting["key"] == "devices");
    assert_eq!(devices.unwrap()["origin"], "command line");
}

/// Lines of `hasher --json watch` by their event.
struct Watch {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Watch {
    fn start(daemon: &Daemon) -> Self {
        let mut child = command(daemon, &["--json", "watch"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("hasher can be started");
        let (sender, lines) = mpsc::channel();
        let reader = BufReader::new(child.stdout.take().expect("it is piped"));
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("one object a line");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for an event; others may come before it.
    fn wait_for(&self, event: &str) -> Value {
        const PATIENCE: Duration = Duration::from_secs(30);
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("another event");
            if line["event"] == event {
                return line;
            }
        }
    }
}

/// `hasher` that looks for the daemon on this bus.
fn on_bus(bus: &Bus, args: &[&str]) -> Output {
    Command::new(program("hasher"))
        .args(args)
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("hasher can be started")
}

#[test]
fn a_device_is_paused_clocked_and_resumed_over_the_bus() {
    let Some(bus) = Bus::start(Policy::Open) else {
        return;
    };
    let daemon = Daemon::start_on(&bus, &["sim:s3,zero-bits=10", "cpu,threads=1"]);
    let state = || json(&daemon, &["devices"])["devices"].clone();
    let of = |devices: &Value, key: &str| {
        let devices = devices.as_array().unwrap();
        let board = devices.iter().find(|device| device["id"] == "sim-s3-0");
        board.unwrap()[key].clone()
    };
    wait_until(|| of(&state(), "state") == "ready");
    said(&on_bus(&bus, &["device", "pause", "sim-s3-0"]));
    wait_until(|| of(&state(), "state") == "paused");
    assert_eq!(of(&state(), "reason"), "paused on request");
    said(&on_bus(&bus, &["device", "resume", "sim-s3-0"]));
    wait_until(|| of(&state(), "state") == "ready");
    let clock = ["device", "configure", "sim-s3-0", "--frequency-mhz", "200"];
    let told = said(&on_bus(&bus, &clock));
    assert!(told.contains("in 60 s unless confirmed"), "{told}");
    said(&on_bus(&bus, &["device", "confirm", "sim-s3-0"]));
    wait_until(|| of(&state(), "frequency_mhz") == 200.0);
    for (args, code, what, remedy) in [
        (
            &["device", "pause", "sim-s3"][..],
            4,
            "no such device",
            "`sim-s3-0`",
        ),
        (
            &["device", "configure", "cpu-1", "--frequency-mhz", "200"],
            1,
            "clock",
            "boards",
        ),
        (
            &["device", "configure", "sim-s3-0", "--frequency-mhz", "9"],
            2,
            "9 MHz",
            "--help",
        ),
    ] {
        assert_error(&on_bus(&bus, args), code, what, remedy);
    }
    said(&on_bus(&bus, &["reload"]));
    said(&on_bus(&bus, &["device", "reset", "sim-s3-0"]));
    drop(daemon);
    let output = on_bus(&bus, &["reload"]);
    assert_error(
        &output,
        3,
        "nobody owns org.hasher.Hasher1",
        "--bus session",
    );
}

/// Looks again and again until it is so.
#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(30);
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it never came");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_watch_tells_when_the_daemon_is_lost_and_found() {
    let mut daemon = Daemon::start(&["cpu,threads=1"]);
    let mut watch = Watch::start(&daemon);
    watch.wait_for("connected");
    assert_eq!(watch.wait_for("device")["device"]["id"], "cpu-0");
    daemon.kill();
    let lost = watch.wait_for("lost");
    // Whatever is noticed first: the end of the connection, if the daemon had not read
    // everything, or that there is no other.
    let error = lost["error"].as_str().unwrap();
    assert!(
        error.contains("cannot connect") || error.contains("closed the connection"),
        "{lost}"
    );
    daemon.restart();
    watch.wait_for("connected");
    assert_eq!(watch.wait_for("device")["device"]["id"], "cpu-0");
    kill_process(Pid::from_child(&watch.child), Signal::INT).unwrap();
    assert_eq!(watch.child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_search_without_a_hit_ends_like_grep() {
    let daemon = Daemon::start(&["cpu"]);
    let output = hasher(
        &daemon,
        &["search", "--header", GENESIS, "--nonce-range", "0..1000"],
    );
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("no nonce found"), "{told}");
    assert!(told.contains("1 001 nonces"), "{told}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_simulated_board_is_certain_of_nothing_and_says_so() {
    let daemon = Daemon::start(&["sim:s3,zero-bits=10"]);
    let search = ["search", "--header", GENESIS, "--zero-bits", "10"];
    let value = json(
        &daemon,
        &[&search[..], &["--count", "3", "--rolls", "40"]].concat(),
    );
    let hits = value["hits"].as_array().unwrap();
    assert_eq!((hits.len(), &value["end"]), (3, &"found".into()));
    assert!(hits.iter().all(|hit| hit["zero_bits"].as_u64() >= Some(10)));
    assert_eq!(value["certain_nonces"], 0);
    assert_eq!(value["computed_by"][0]["kind"], "simulated");
    let told = said(&hasher(
        &daemon,
        &[&search[..], &["--rolls", "40"]].concat(),
    ));
    assert!(told.contains("certain  nothing"), "{told}");
    assert!(told.contains("sim-s3-0 (simulated)"), "{told}");
}

#[test]
fn a_missed_deadline_is_a_failure_with_a_remedy() {
    let daemon = Daemon::start(&["cpu"]);
    let hopeless = [
        "search",
        "--header",
        GENESIS,
        "--zero-bits",
        "200",
        "--deadline",
        "100ms",
    ];
    assert_error(
        &hasher(&daemon, &hopeless),
        1,
        "deadline passed",
        "more time",
    );
}

#[test]
fn without_a_device_searches_and_work_name_the_remedy() {
    let daemon = Daemon::start(&[]);
    assert_error(
        &hasher(&daemon, &["search", "--header", GENESIS]),
        4,
        "no device",
        "sim:s3",
    );
    let (_folder, model) = model(&daemon);
    let predict = [
        "predict",
        "--model",
        path(&model),
        "--index",
        "0",
        "--mode",
        "work",
    ];
    assert_error(&hasher(&daemon, &predict), 4, "no device", "sim:s3");
    let told = said(&hasher(&daemon, &["status"]));
    assert!(told.contains("No device."), "{told}");
}

#[test]
fn digests_of_the_daemon_equal_local_ones_and_name_its_cpu() {
    let daemon = Daemon::start(&[]);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data");
    let data: Vec<u8> = (0..700_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    fs::write(&file, &data).unwrap();
    for more in [&[][..], &["--double"]] {
        let remote = hasher(&daemon, &[&["digest", path(&file)], more].concat());
        let local = hasher(
            &daemon,
            &[&["digest", "--local", path(&file)], more].concat(),
        );
        assert_eq!(said(&remote), said(&local));
        assert!(
            text(&remote.stderr).contains("(cpu)"),
            "{}",
            text(&remote.stderr)
        );
    }
    let mut child = command(&daemon, &["--json", "digest"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&data).unwrap();
    let value: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(value["schema"], "hasher.digest/1");
    assert_eq!(value["digests"][0]["bytes"], 700_000);
    assert_eq!(value["digests"][0]["name"], "-");
    assert_eq!(value["computed_by"][0]["kind"], "cpu");
}

#[test]
fn every_kind_of_device_backs_an_answer_that_verifies() {
    for (device, kind) in [
        ("sim:s1,zero-bits=9", "simulated"),
        ("sim:s3,zero-bits=9", "simulated"),
        ("cpu", "cpu"),
    ] {
        let daemon = Daemon::start(&[device]);
        let (folder, model) = model(&daemon);
        for level in ["0", "1", "2"] {
            let receipt = folder.path().join(format!("{level}.rcpt"));
            let question = [
                "predict",
                "--model",
                path(&model),
                "--index",
                "1",
                "--passes",
                "5",
            ];
            let how = ["--mode", "work", "--zero-bits", "9", "--level", level];
            let value = json(
                &daemon,
                &[&question[..], &how, &["--receipt", path(&receipt)]].concat(),
            );
            let answer = &value["answer"];
            assert_eq!(answer["mode"], "work", "{device} {level}");
            assert_eq!(answer["computed_by"][0]["kind"], kind, "{device} {level}");
            assert!(
                answer["zero_bits_min"].as_u64().unwrap() >= 9,
                "{device} {level}"
            );
            assert!(
                answer["works"].as_u64() >= answer["anchors"].as_u64(),
                "{answer}"
            );
            let verified = json(
                &daemon,
                &[
                    "verify",
                    path(&receipt),
                    "--model",
                    path(&model),
                    "--min-zero-bits",
                    "9",
                ],
            );
            assert_eq!(verified["verified"], true, "{device} {level}");
            assert_eq!(verified["verdict"]["prediction"], answer["prediction"]);
            assert_eq!(verified["verdict"]["anchors"], answer["anchors"]);
        }
    }
}

#[test]
fn a_simulated_board_is_not_asked_for_anchors_of_silicon() {
    let daemon = Daemon::start(&["sim:s3,zero-bits=14"]);
    let (_folder, model) = model(&daemon);
    let question = ["predict", "--model", path(&model), "--index", "0"];
    let how = ["--mode", "work", "--zero-bits", "32"];
    let output = hasher(&daemon, &[&question[..], &how].concat());
    assert_error(&output, 2, "cannot search 32 zero bits", "--device cpu");
}

#[test]
fn lowered_difficulty_is_never_kept_quiet() {
    let daemon = Daemon::start(&["sim:s3,zero-bits=10"]);
    let (_folder, model) = model(&daemon);
    let question = [
        "predict",
        "--model",
        path(&model),
        "--index",
        "2",
        "--passes",
        "3",
    ];
    let told = said(&hasher(
        &daemon,
        &[&question[..], &["--mode", "work"]].concat(),
    ));
    for part in [
        "sim-s3-0 (simulated)",
        "lowered difficulty: 10 zero bits instead of 32",
        "network     integers on this CPU",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
}
