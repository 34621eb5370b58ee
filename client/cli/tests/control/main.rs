//! `hasher device` and `hasher reload` on a private bus, word for word.

mod bus;
#[path = "../common/mod.rs"]
mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use bus::{Bus, Calls, serve};
use common::{hasher, path, text};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// What a run said and how it ended.
fn run(bus: &Bus, kind: &str, arguments: &[&str]) -> String {
    let mut command = hasher();
    let variable = format!("DBUS_{}_BUS_ADDRESS", kind.to_uppercase());
    command.env(variable, bus.address());
    let output = command.args(arguments).args(["--bus", kind]).output();
    let output = output.expect("hasher can be started");
    let code = output.status.code().expect("it ends by itself");
    let mut told = format!("$ hasher {}\n[exit {code}]\n", arguments.join(" "));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            told.push_str(&format!("--- {name}\n{}", text(bytes)));
        }
    }
    told.replace(path(bus.directory()), "[DIR]")
}

fn made(calls: &Calls) -> Vec<String> {
    std::mem::take(&mut calls.lock().expect("no thread has failed"))
}

#[test]
fn every_request_reaches_its_device() {
    let bus = Bus::start();
    let calls = serve(&bus, false, 60);
    for request in ["pause", "resume", "reset", "confirm", "revert"] {
        let arguments = ["device", request, "sim-s3-0"];
        insta::assert_snapshot!(request, run(&bus, "system", &arguments));
        assert_eq!(made(&calls), [format!("{request} sim-s3-0")]);
        let told = run(&bus, "session", &[&["--json"], &arguments[..]].concat());
        insta::assert_snapshot!(format!("{request}_json"), told);
        assert_eq!(made(&calls), [format!("{request} sim-s3-0")]);
    }
    let arguments = [
        "device",
        "configure",
        "sim-s3-0",
        "--frequency-mhz",
        "218.75",
    ];
    insta::assert_snapshot!("configure", run(&bus, "system", &arguments));
    let told = run(&bus, "system", &[&["--json"], &arguments[..]].concat());
    insta::assert_snapshot!("configure_json", told);
    // Nobody was there to be asked, so nobody confirmed.
    assert_eq!(made(&calls), ["configure 218.75 sim-s3-0"; 2]);
    insta::assert_snapshot!("reload", run(&bus, "session", &["reload"]));
}

#[test]
fn every_refusal_says_why_and_what_helps() {
    let bus = Bus::start();
    let nobody = run(&bus, "system", &["device", "pause", "sim-s3-0"]);
    insta::assert_snapshot!("nobody_system", nobody);
    insta::assert_snapshot!("nobody_session", run(&bus, "session", &["reload"]));
    let calls = serve(&bus, true, 60);
    for (name, arguments) in [
        ("refused", &["device", "pause", "secret"][..]),
        ("refused_json", &["--json", "device", "pause", "secret"]),
        ("unknown", &["device", "pause", "sim-s30"]),
        ("unknown_far", &["device", "reset", "something"]),
        (
            "no_clock",
            &["device", "configure", "cpu-1", "--frequency-mhz", "200"],
        ),
        (
            "bad_clock",
            &["device", "configure", "sim-s3-0", "--frequency-mhz", "400"],
        ),
        ("bad_file", &["reload"]),
        ("bad_file_json", &["--json", "reload"]),
    ] {
        insta::assert_snapshot!(name, run(&bus, "system", arguments));
    }
    assert_eq!(made(&calls), [""; 0]);
}

/// Runs `configure` at a terminal of its own, where somebody types `answer`; the whole
/// screen and the exit code.
fn at_a_terminal(bus: &Bus, answer: &str) -> (String, Option<i32>) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("it is ours");
    unlockpt(&terminal).expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name");
    let name = name.to_str().expect("a path");
    let side = || {
        let file = File::options().read(true).write(true).open(name);
        Stdio::from(file.expect("it can be opened"))
    };
    let mut child = Command::new(hasher().get_program())
        .args(["device", "configure", "sim-s3-0", "--frequency-mhz", "200"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env("NO_COLOR", "1")
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .expect("hasher can be started");
    let mut terminal = File::from(terminal);
    let mut screen = Vec::new();
    let mut chunk = [0; 1024];
    let mut has_answered = false;
    // The terminal ends with an error when the program has closed it.
    while let Ok(count @ 1..) = terminal.read(&mut chunk) {
        screen.extend_from_slice(&chunk[..count]);
        if !has_answered && String::from_utf8_lossy(&screen).contains("Keep it?") {
            has_answered = true;
            terminal.write_all(answer.as_bytes()).expect("it is open");
        }
    }
    let code = child.wait().expect("it ends").code();
    (text(&screen).replace("\r\n", "\n"), code)
}

#[test]
fn a_person_is_asked_whether_to_keep_a_clock() {
    let bus = Bus::start();
    let calls = serve(&bus, false, 60);
    let (screen, code) = at_a_terminal(&bus, "y\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("goes back in 60 s unless confirmed"),
        "{screen}"
    );
    assert!(screen.contains("sim-s3-0 keeps its settings"), "{screen}");
    assert_eq!(made(&calls), ["configure 200 sim-s3-0", "confirm sim-s3-0"]);
    let (screen, code) = at_a_terminal(&bus, "\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("back at its former settings"), "{screen}");
    assert_eq!(made(&calls), ["configure 200 sim-s3-0", "revert sim-s3-0"]);
}

#[test]
fn a_person_who_says_nothing_keeps_nothing() {
    let bus = Bus::start();
    let calls = serve(&bus, false, 1);
    let (screen, code) = at_a_terminal(&bus, "");
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("was not confirmed in time"), "{screen}");
    assert_eq!(made(&calls), ["configure 200 sim-s3-0"]);
}
