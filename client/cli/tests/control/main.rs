//! `hasher device` and `hasher reload` on a private bus, word for word.

mod bus;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/terminal.rs"]
mod terminal;

use std::process::Command;

use bus::{Bus, Calls, serve};
use common::{hasher, path, text};
use terminal::Terminal;

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
    let mut command = Command::new(hasher().get_program());
    command
        .args(["device", "configure", "sim-s3-0", "--frequency-mhz", "200"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
    let mut terminal = Terminal::start(&mut command);
    terminal.wait_for("Keep it?");
    terminal.write(answer);
    let code = terminal.end();
    (terminal.screen.clone(), code)
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
