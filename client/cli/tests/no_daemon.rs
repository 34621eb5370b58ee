//! Commands that need a daemon, when there is none for them.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Trained, assert_error, hasher, path, run};

const HEADER: &str = "0100000000000000000000000000000000000000000000000000000000000000\
    000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
    4b1e5e4a29ab5f49ffff001d1dac2b7c";

#[test]
fn every_command_that_needs_a_daemon_says_how_to_start_one() {
    let trained = Trained::new();
    let socket = trained.file("no.sock");
    for command in [
        vec!["status"],
        vec!["search", "--header", HEADER],
        vec!["digest", "--text", "abc"],
        vec![
            "predict",
            "--model",
            path(&trained.model),
            "--index",
            "0",
            "--mode",
            "work",
        ],
    ] {
        let output = run(&[&["--socket", path(&socket)], &command[..]].concat());
        assert_error(&output, 3, "no.sock: no such socket", "hasherd");
        let output = hasher()
            .env("HASHER_SOCKET", &socket)
            .args(&command)
            .output()
            .unwrap();
        assert_error(&output, 3, "no.sock: no such socket", "hasherd");
    }
}

#[test]
fn a_socket_that_nobody_serves_and_a_plain_file_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("dead.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let output = run(&["--socket", path(&socket), "status"]);
    assert_error(&output, 3, "connection refused", "start it");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let output = run(&["--socket", path(&file), "status"]);
    assert_error(&output, 3, "not a socket", "HASHER_SOCKET");
}

/// The program in another folder. `cp` writes it, so that no other test's child
/// inherits the open file and makes it "busy" for `exec`.
fn copy_of_hasher(directory: &Path) -> PathBuf {
    let copied = Command::new("cp")
        .arg(hasher().get_program())
        .arg(directory)
        .status();
    assert!(copied.expect("cp can be started").success());
    directory.join("hasher")
}

/// Root may open every socket, so a test run by root lends the program to
/// another user.
const NOBODY: u32 = 65_534;

#[test]
fn a_socket_of_somebody_else_is_not_permitted() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("closed.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let program = copy_of_hasher(directory.path());
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&program, 0o755);
    mode(directory.path(), 0o755);
    mode(&socket, 0o000);
    let mut command = Command::new(&program);
    command
        .args(["--socket", path(&socket), "status"])
        .env_remove("HASHER_SOCKET");
    // Only root can give a file away; others are refused by the mode alone.
    if chown(&socket, Some(0), Some(0)).is_ok() {
        command.uid(NOBODY).gid(NOBODY);
    }
    assert_error(
        &command.output().unwrap(),
        5,
        "closed.sock: permission denied",
        "ls -l",
    );
}

#[test]
fn a_wrong_header_is_wrong_usage_before_any_daemon_is_asked() {
    let search = |header: &str, more: &[&str]| {
        let args = [
            &["--socket", "/nonexistent", "search", "--header", header],
            more,
        ]
        .concat();
        run(&args)
    };
    assert_error(
        &search("00", &[]),
        2,
        "must be 80 bytes long, got 1",
        "160 hexadecimal digits",
    );
    assert_error(
        &search(&HEADER[2..], &[]),
        2,
        "got 79",
        "160 hexadecimal digits",
    );
    assert_error(
        &search("zz", &[]),
        2,
        "not hexadecimal",
        "160 hexadecimal digits",
    );
    assert_error(
        &search(&"00".repeat(80), &[]),
        2,
        "own target",
        "--zero-bits",
    );
    assert_error(
        &search(HEADER, &["--zero-bits", "257"]),
        2,
        "257",
        "hasher search --help",
    );
    assert_error(
        &search(HEADER, &["--nonce-range", "9..1"]),
        2,
        "empty",
        "hasher search --help",
    );
    assert_error(
        &search(HEADER, &["--deadline", "30"]),
        2,
        "duration",
        "hasher search --help",
    );
    assert_error(
        &search(HEADER, &["--rolls", "4096"]),
        2,
        "4096",
        "hasher search --help",
    );
    assert_error(
        &search(HEADER, &["--count", "0"]),
        2,
        "0",
        "hasher search --help",
    );
}

#[test]
fn the_demo_without_hasherd_says_where_it_looked() {
    if Path::new("/usr/sbin/hasherd").exists() {
        return; // An installed daemon is found, as it should be.
    }
    let directory = tempfile::tempdir().unwrap();
    let program = copy_of_hasher(directory.path());
    let output = Command::new(&program)
        .args(["demo", "--out", path(&directory.path().join("out"))])
        .env("PATH", directory.path())
        .output()
        .unwrap();
    assert_error(&output, 1, "cannot find hasherd", "cargo build --release");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let mut command = hasher();
    command.args(["digest", "--local", "--text", "abc"]);
    let output = command.env("HASHER_SOCKET", "").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}
