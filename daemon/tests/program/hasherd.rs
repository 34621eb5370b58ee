//! A hasherd of a test, watched as systemd would watch it.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::PATIENCE;

/// A running hasherd that has said READY.
pub struct Hasherd {
    child: Child,
    pub notifications: UnixDatagram,
    pub socket: PathBuf,
    _folder: TempDir,
}

impl Hasherd {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("own").join("hasherd.sock");
        let mut command = hasherd();
        command.args(arguments).arg("--socket").arg(&socket);
        Self::spawn(command, socket, folder)
    }

    /// Starts it as systemd does for the first client of a socket unit.
    pub fn start_activated(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("activated.sock");
        let listener: OwnedFd = UnixListener::bind(&socket).unwrap().into();
        let mut command = Command::new("sh");
        command
            .arg("-c")
            // Two sockets, as a unit with another ListenStream= would pass.
            .arg(r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@" 3</dev/null 4<&0"#)
            .arg(env!("CARGO_BIN_EXE_hasherd"))
            .args(["--config", "/dev/null"])
            .args(arguments)
            .env("LISTEN_FDNAMES", "other:jobs")
            .stdin(Stdio::from(listener));
        Self::spawn(command, socket, folder)
    }

    pub fn spawn(command: Command, socket: PathBuf, folder: TempDir) -> Self {
        Self::spawn_on(command, Stdio::null(), socket, folder)
    }

    /// With its log on this screen.
    pub fn spawn_on(mut command: Command, screen: Stdio, socket: PathBuf, folder: TempDir) -> Self {
        let notify = folder.path().join("notify");
        let notifications = UnixDatagram::bind(&notify).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command
            .env("NOTIFY_SOCKET", &notify)
            .stderr(screen)
            .spawn()
            .unwrap();
        let hasherd = Self {
            child,
            notifications,
            socket,
            _folder: folder,
        };
        hasherd.wait_for("READY=1");
        hasherd
    }

    /// Waits for a notification to systemd.
    pub fn wait_for(&self, text: &str) {
        let mut buffer = [0; 1024];
        loop {
            let length = self.notifications.recv(&mut buffer).unwrap();
            if String::from_utf8_lossy(&buffer[..length]).contains(text) {
                return;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Hasherd {
    /// A failed test leaves no daemon behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn hasherd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hasherd"));
    command.env_remove("HASHER_SOCKET").env_remove("HASHER_LOG");
    // As root it would read what this computer's own daemon reads.
    command.args(["--config", "/dev/null"]);
    command
}
