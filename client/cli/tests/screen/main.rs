//! `hasher top` on a real terminal: what it takes, it gives back.

#[path = "../common/mod.rs"]
mod common;
#[path = "../golden/fake_daemon.rs"]
#[expect(dead_code, reason = "what only the golden texts need")]
mod fake_daemon;
#[path = "../common/terminal.rs"]
mod terminal;

use std::process::Command;

use common::hasher;
use fake_daemon::{FakeDaemon, Script};
use hasher_wire::EventBody;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use terminal::Terminal;

/// How a program asks for the screen beside the shell's, and how it leaves it.
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// A daemon that tells its state once and then nothing.
fn daemon() -> FakeDaemon {
    let mut script = Script::several();
    let status = script.status.clone();
    script.lives = vec![vec![EventBody::Status { status }]];
    FakeDaemon::start(script)
}

fn top(daemon: &FakeDaemon) -> Terminal {
    let mut command = Command::new(hasher().get_program());
    command.arg("top").env("HASHER_SOCKET", daemon.socket());
    let mut terminal = Terminal::start(&mut command);
    terminal.wait_for(ENTER);
    terminal.wait_for("Sessions 3, by share");
    assert!(!terminal.is_as_before());
    terminal
}

fn pid(terminal: &Terminal) -> Pid {
    Pid::from_child(&terminal.child)
}

#[track_caller]
fn assert_given_back(terminal: &Terminal) {
    assert!(terminal.screen.contains(LEAVE), "{}", terminal.screen);
    assert!(terminal.is_as_before());
}

#[test]
fn q_leaves_with_success_and_ctrl_c_as_an_interrupt() {
    for (key, code) in [("q", 0), ("\u{3}", 130)] {
        let daemon = daemon();
        let mut terminal = top(&daemon);
        terminal.write(key);
        assert_eq!(terminal.end(), Some(code));
        assert_given_back(&terminal);
    }
}

#[test]
fn a_signal_that_asks_for_an_end_gives_the_terminal_back() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let daemon = daemon();
        let mut terminal = top(&daemon);
        kill_process(pid(&terminal), signal).expect("it runs");
        assert_eq!(terminal.end(), Some(130));
        assert_given_back(&terminal);
    }
}

#[test]
fn ctrl_z_stops_it_with_the_terminal_given_back_and_it_goes_on() {
    let daemon = daemon();
    let mut terminal = top(&daemon);
    for _ in 0..2 {
        terminal.write("\u{1a}");
        let stopped = waitpid(Some(pid(&terminal)), WaitOptions::UNTRACED);
        let (_, status) = stopped.expect("it is ours").expect("it was waited for");
        assert!(status.stopped(), "{status:?}");
        assert!(terminal.is_as_before());
        kill_process(pid(&terminal), Signal::CONT).expect("it is stopped");
        terminal.wait_for(ENTER);
        terminal.wait_for("Sessions 3, by share");
        assert!(!terminal.is_as_before());
    }
    terminal.write("q");
    assert_eq!(terminal.end(), Some(0));
    assert_given_back(&terminal);
}

#[test]
fn keys_do_what_the_help_says() {
    let daemon = daemon();
    let mut terminal = top(&daemon);
    // By name the CPU is first, and selected; by temperature it is not.
    terminal.write("ss");
    terminal.wait_for("> cpu-1 ");
    terminal.write("?");
    terminal.wait_for("Keys and columns");
    terminal.write("q");
    assert_eq!(terminal.end(), Some(0));
}
