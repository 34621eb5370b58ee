//! The configuration as an administrator and systemd meet it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::hasherd::{Hasherd, hasherd};

fn run(arguments: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hasherd"))
        .env_remove("HASHER_LOG")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_print_config_prints_is_accepted_by_check_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hasherd.toml");
    let printed = run(&["--print-config"], Path::new("--log=info"));
    assert!(printed.status.success());
    std::fs::write(&path, printed.stdout).unwrap();
    let checked = run(&["--check-config"], &path);
    assert!(checked.status.success());
    assert_eq!(text(checked.stdout), format!("{} holds\n", path.display()));
}

#[test]
fn a_wrong_file_is_told_line_by_line_and_the_daemon_does_not_start_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hasherd.toml");
    std::fs::write(&path, "lgo = \"info\"\n\n[limits]\ncredits = 300\n").unwrap();
    let shown = path.display();
    for option in ["--check-config", "--config"] {
        let output = run(&["--socket", "/nonexistent/socket", option], &path);
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert_eq!(
            text(output.stderr),
            format!(
                "error: {shown}:1: unknown key \"lgo\"; did you mean \"log\"?\n\
                 error: {shown}:4: limits.credits: expected a whole number from 1 to 256, found 300\n  \
                 hint: hasherd --print-config shows every setting and its default\n"
            )
        );
    }
    let missing = run(&["--config"], &folder.path().join("none.toml"));
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(missing.stderr).contains("none.toml: No such file or directory"));
}

#[test]
fn a_reload_is_announced_as_systemd_expects_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hasherd.toml");
    std::fs::write(&path, "log = \"warn\"\n").unwrap();
    let config = format!("--config={}", path.display());
    let mut hasherd = Hasherd::start(&["--device", "cpu,threads=1", &config]);
    for text in ["log = \"info\"\n", "log = 5\n", ""] {
        std::fs::write(&path, text).unwrap();
        hasherd.signal(Signal::HUP);
        hasherd.wait_for("RELOADING=1\nMONOTONIC_USEC=");
        hasherd.wait_for("READY=1");
    }
    std::fs::remove_file(&path).unwrap();
    hasherd.signal(Signal::HUP);
    hasherd.wait_for("READY=1");
    hasherd.signal(Signal::TERM);
    assert!(hasherd.end().success());
}

#[test]
fn a_daemon_in_a_terminal_reloads_while_there_is_one_and_ends_with_it() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let screen = File::options().write(true).open(name.to_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hasherd.sock");
    let mut command = hasherd();
    command
        .args(["--device", "cpu,threads=1", "--socket"])
        .arg(&socket);
    let mut hasherd = Hasherd::spawn_on(command, screen.unwrap().into(), socket, folder);
    hasherd.signal(Signal::HUP);
    hasherd.wait_for("RELOADING=1");
    hasherd.wait_for("READY=1");
    drop(terminal);
    hasherd.signal(Signal::HUP);
    hasherd.wait_for("STOPPING=1");
    assert!(hasherd.end().success());
}
