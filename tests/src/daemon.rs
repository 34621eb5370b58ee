use std::fs::File;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hasher_client::{Client, ClientBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Bus, program};

/// Longest wait for a daemon to be ready or to end; milliseconds are usual, and a
/// loaded machine may take a thousand times as long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest datagram of the notify protocol that is read; READY is far shorter.
const NOTE_BYTES: usize = 4096;

/// A real `hasherd` on a private socket. Dropping it kills it; if the test fails,
/// its log is printed.
pub struct Daemon {
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    run: Option<Run>,
}

/// One process.
struct Run {
    pid: Pid,
    ended: mpsc::Receiver<ExitStatus>,
}

impl Daemon {
    /// Starts a daemon with these devices and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start(devices: &[&str]) -> Self {
        let devices = devices.iter().map(|device| format!("--device={device}"));
        Self::start_with(devices)
    }

    /// Starts a daemon with these arguments besides `--socket`; without a `--config=` it
    /// has the default configuration, and without a `--bus=` it is on none.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_with(arguments: impl IntoIterator<Item = String>) -> Self {
        Self::start_in(arguments, Vec::new())
    }

    /// Starts a daemon with these devices that is on the system's bus, and this is that.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_on(bus: &Bus, devices: &[&str]) -> Self {
        let devices = devices.iter().map(|device| format!("--device={device}"));
        let arguments = devices.chain(["--bus=system".to_owned()]);
        let environment = vec![("DBUS_SYSTEM_BUS_ADDRESS", bus.address())];
        Self::start_in(arguments, environment)
    }

    fn start_in(
        arguments: impl IntoIterator<Item = String>,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let mut daemon = Self {
            folder: TempDir::new().expect("a folder for temporary files"),
            arguments: arguments.into_iter().collect(),
            environment,
            run: None,
        };
        daemon.restart();
        daemon
    }

    /// Starts it again on the same socket, after it ended or was killed.
    ///
    /// # Panics
    /// When it still runs, or does not get ready.
    pub fn restart(&mut self) {
        assert!(self.run.is_none(), "the daemon still runs");
        // The daemon tells readiness as it would tell systemd.
        let notify = self.folder.path().join("notify");
        _ = std::fs::remove_file(&notify);
        let notes = UnixDatagram::bind(&notify).expect("a notify socket");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let mut child = Command::new(program("hasherd"))
            .arg("--socket")
            .arg(self.socket())
            .args(self.config())
            .args(self.message_bus())
            .args(&self.arguments)
            .env_remove("HASHER_SOCKET")
            // Not on the bus of the machine that runs the tests.
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
            .env("NOTIFY_SOCKET", &notify)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("hasherd can be started");
        let pid = Pid::from_child(&child);
        let (end, ended) = mpsc::channel();
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // A test that is over has no one to tell.
                _ = end.send(status);
            }
        });
        self.run = Some(Run { pid, ended });
        self.wait_until_ready(&notes).expect("hasherd gets ready");
    }

    /// As root it would be on this computer's own bus.
    fn message_bus(&self) -> &[&str] {
        let is_own = |argument: &String| argument.starts_with("--bus=");
        match self.arguments.iter().any(is_own) {
            true => &[],
            false => &["--bus=none"],
        }
    }

    /// As root it would read what this computer's own daemon reads.
    fn config(&self) -> &[&str] {
        let is_own = |argument: &String| argument.starts_with("--config=");
        match self.arguments.iter().any(is_own) {
            true => &[],
            false => &["--config=/dev/null"],
        }
    }

    fn wait_until_ready(&mut self, notes: &UnixDatagram) -> io::Result<()> {
        let begin = Instant::now();
        notes.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut note = [0; NOTE_BYTES];
        while begin.elapsed() < PATIENCE {
            match notes.recv(&mut note) {
                Ok(length) => {
                    let mut lines = note[..length].split(|byte| *byte == b'\n');
                    if lines.any(|line| line == b"READY=1") {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(Ok(status)) = self.run.as_ref().map(|run| run.ended.try_recv()) {
                        self.run = None;
                        return Err(io::Error::other(format!("hasherd ended: {status}")));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("hasherd.sock")
    }

    /// Settings of a client of this daemon.
    pub fn client(&self) -> ClientBuilder {
        Client::builder().socket(self.socket())
    }

    /// Everything it has logged so far, over all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> Pid {
        self.run.as_ref().expect("the daemon runs").pid
    }

    /// Lets it read its configuration anew, as `systemctl reload` does, and waits until
    /// it has; whether the new one is in effect.
    ///
    /// # Panics
    /// When it does not run, or says nothing.
    pub fn reload(&self) -> bool {
        let before = self.reloads();
        kill_process(self.pid(), Signal::HUP).expect("the process is ours");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let now = self.reloads();
            if now != before {
                return now.0 > before.0;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("hasherd said nothing about a reload");
    }

    /// How many reloads the log reports to be in effect, and refused.
    fn reloads(&self) -> (usize, usize) {
        let log = self.log();
        let count = |phrase| log.matches(phrase).count();
        (
            count("configuration reloaded"),
            count("configuration refused"),
        )
    }

    /// Kills it without warning, as `kill -9` does, and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Asks it to stop, as systemd does, and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.end(Signal::TERM)
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        let run = self.run.take().expect("the daemon runs");
        kill_process(run.pid, signal).expect("the process is ours");
        run.ended.recv_timeout(PATIENCE).expect("hasherd ends")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(run) = self.run.take()
            && run.ended.try_recv().is_err()
        {
            // It may have ended by itself just now.
            _ = kill_process(run.pid, Signal::KILL);
            _ = run.ended.recv_timeout(PATIENCE);
        }
        if thread::panicking() {
            eprintln!("--- log of hasherd ---\n{}", self.log());
        }
    }
}
