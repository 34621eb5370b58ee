//! The watchdog hears nothing once nothing moves.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::PATIENCE;
use crate::hasherd::{Hasherd, hasherd};

/// What systemd would be told to wait for; it restarts the daemon after that.
const LIMIT: Duration = Duration::from_millis(500);

fn start(device: &str) -> Hasherd {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hasherd.sock");
    let mut command = hasherd();
    command
        .args(["--device", device, "--socket"])
        .arg(&socket)
        .env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
    Hasherd::spawn(command, socket, folder)
}

/// Whether no sign of life comes for so long; every other one starts the time anew.
fn is_silent(hasherd: &Hasherd, for_so_long: Duration) -> bool {
    let begin = Instant::now();
    let mut buffer = [0; 1024];
    while begin.elapsed() < PATIENCE {
        hasherd
            .notifications
            .set_read_timeout(Some(for_so_long))
            .unwrap();
        match hasherd.notifications.recv(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) => panic!("{error}"),
        }
    }
    false
}

#[test]
fn the_watchdog_is_fed_while_the_device_task_takes_turns() {
    let mut hasherd = start("sim:s3,zero-bits=8");
    for _ in 0..4 {
        hasherd.wait_for("WATCHDOG=1");
    }
    hasherd.signal(Signal::TERM);
    assert!(hasherd.end().success());
}

#[test]
fn a_device_whose_driver_hangs_starves_the_watchdog() {
    let hasherd = start("sim:s3,zero-bits=8,script=hang@2s");
    hasherd.wait_for("WATCHDOG=1");
    assert!(is_silent(&hasherd, 3 * LIMIT));
    // What systemd does next; the hang must not survive it.
    hasherd.signal(Signal::ABORT);
    let mut hasherd = hasherd;
    assert!(!hasherd.end().success());
}

#[test]
fn a_driver_that_only_hung_for_a_while_goes_on() {
    let hasherd = start("sim:s3,zero-bits=8,script=hang@1s+3s");
    hasherd.wait_for("WATCHDOG=1");
    assert!(is_silent(&hasherd, 3 * LIMIT));
    hasherd
        .notifications
        .set_read_timeout(Some(PATIENCE))
        .unwrap();
    hasherd.wait_for("WATCHDOG=1");
}

#[test]
fn a_stopped_daemon_starves_the_watchdog() {
    let hasherd = start("cpu,threads=1");
    hasherd.wait_for("WATCHDOG=1");
    hasherd.signal(Signal::STOP);
    assert!(is_silent(&hasherd, 3 * LIMIT));
    hasherd.signal(Signal::CONT);
    hasherd
        .notifications
        .set_read_timeout(Some(PATIENCE))
        .unwrap();
    hasherd.wait_for("WATCHDOG=1");
}
