//! A `hasherd` of our own: found, started on a private socket, always stopped.
//!
//! Owns the child process, its folder and its log. `demo` is the only caller. The
//! child ends when this value is dropped, when the process panics, and also when
//! the process is killed: its standard input is a pipe of ours, and `hasherd
//! --exit-on-stdin-eof` stops in good order when that pipe closes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::{CliError, Exit};

/// Name of the daemon's program.
const PROGRAM: &str = "hasherd";
/// Where packages put it, when PATH of an ordinary user does not say so.
const SYSTEM_DIRECTORY: &str = "/usr/sbin";
/// Longest wait for the socket: a daemon without hardware binds within
/// milliseconds, a busy machine is given a hundred times that.
const START_MAX: Duration = Duration::from_secs(10);
/// Longest wait for an orderly end; the daemon ends within 11 s, idle at once.
const STOP_MAX: Duration = Duration::from_secs(12);
/// A process that dies closes its sockets a little before its end can be seen.
const END_MAX: Duration = Duration::from_millis(500);
/// Pause between two looks at the child.
const LOOK: Duration = Duration::from_millis(20);
/// Longest path of a Unix socket on Linux, without the closing zero (`unix(7)`).
const SOCKET_PATH_MAX: usize = 107;
/// Most bytes of the child's log that are searched for its last words.
const LOG_BYTES_MAX: usize = 1 << 20;

/// Finds the daemon: beside this program, then in PATH, then in `/usr/sbin`.
///
/// # Errors
/// Says where it looked.
pub fn find() -> Result<PathBuf, CliError> {
    let beside = std::env::current_exe().ok();
    candidates(beside.as_deref(), std::env::var_os("PATH"))
        .into_iter()
        .find(|path| is_program(path))
        .ok_or_else(|| {
            CliError::failed(format!(
                "cannot find {PROGRAM} beside this program, in PATH or in {SYSTEM_DIRECTORY}"
            ))
            .hint("build both with `cargo build --release`, or install the package of the daemon")
        })
}

fn candidates(this_program: Option<&Path>, path: Option<OsString>) -> Vec<PathBuf> {
    let beside = this_program.and_then(Path::parent).map(Path::to_owned);
    let in_path = path.iter().flat_map(std::env::split_paths);
    beside
        .into_iter()
        // An empty entry means the current folder, which nobody should run from.
        .chain(in_path.filter(|directory| directory.is_absolute()))
        .chain([PathBuf::from(SYSTEM_DIRECTORY)])
        .map(|directory| directory.join(PROGRAM))
        .collect()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A running daemon that nobody else can reach.
#[derive(Debug)]
pub struct PrivateDaemon {
    child: Child,
    /// Closing it asks the daemon to stop.
    lifeline: Option<ChildStdin>,
    socket: PathBuf,
    directory: TempDir,
}

impl PrivateDaemon {
    /// Starts `program` with one device in a folder that only this user can enter,
    /// and waits until its socket answers.
    ///
    /// # Errors
    /// What the daemon said when it ended at once, or that it did not get ready
    /// within its time.
    pub fn start(program: &Path, device: &str) -> Result<Self, CliError> {
        let directory = private_directory()?;
        let socket = directory.path().join("hasherd.sock");
        let log = fs::File::create(directory.path().join("hasherd.log"))
            .map_err(|error| CliError::io("create the daemon's log", &error))?;
        let mut child = Command::new(program)
            .arg("--exit-on-stdin-eof")
            .arg("--socket")
            .arg(&socket)
            // As root it would read what the system's daemon reads.
            .args(["--config", "/dev/null"])
            .args(["--device", device])
            // It is for this program alone, also when root runs it.
            .args(["--bus", "none"])
            // What a service manager may have left for us is not for our child.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES")
            // Our own settings; the log is read for its last words.
            .env_remove("HASHER_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C at the terminal is for us; the daemon is stopped in order.
            .process_group(0)
            .spawn()
            .map_err(|error| CliError::io(format_args!("start {}", program.display()), &error))?;
        let lifeline = child.stdin.take();
        let mut daemon = Self {
            child,
            lifeline,
            socket,
            directory,
        };
        daemon.wait_for_socket()?;
        Ok(daemon)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn wait_for_socket(&mut self) -> Result<(), CliError> {
        let begin = Instant::now();
        while begin.elapsed() < START_MAX {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.last_words(status, "did not start"));
            }
            if UnixStream::connect(&self.socket).is_ok() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(CliError::new(
            Exit::NoDaemon,
            format!(
                "{PROGRAM} did not get ready within {} s",
                START_MAX.as_secs()
            ),
        ))
    }

    /// Why the daemon ended before it was asked to; nothing if it goes on running.
    pub fn early_end(&mut self) -> Option<CliError> {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(self.last_words(status, "ended early")),
                Ok(None) if begin.elapsed() < END_MAX => std::thread::sleep(LOOK),
                _ => return None,
            }
        }
    }

    /// What a daemon that ended said, as our own error.
    fn last_words(&self, status: ExitStatus, what: &str) -> CliError {
        let mut log = fs::read(self.directory.path().join("hasherd.log")).unwrap_or_default();
        log.truncate(LOG_BYTES_MAX);
        let log = String::from_utf8_lossy(&log);
        let exit = match status.code() {
            Some(2) => Exit::Usage,
            Some(5) => Exit::NotPermitted,
            _ => Exit::NoDaemon,
        };
        let said = |prefix: &str| {
            let mut lines = log.lines().rev();
            lines.find_map(|line| line.trim_start().strip_prefix(prefix))
        };
        let error = CliError::new(
            exit,
            match said("error: ") {
                Some(reason) => format!("{PROGRAM} {what}: {reason}"),
                None => format!("{PROGRAM} {what}: {status}"),
            },
        );
        match said("hint: ") {
            Some(hint) => error.hint(hint),
            None if exit == Exit::Usage => error.hint("see `hasherd --help`"),
            None => error.hint("start it by hand with the same --device to see its log"),
        }
    }
}

impl Drop for PrivateDaemon {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let begin = Instant::now();
        while begin.elapsed() < STOP_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(LOOK),
                _ => return,
            }
        }
        // It had its time; what remains belongs to nobody else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new folder with mode 0700, on a path short enough for a socket in it.
fn private_directory() -> Result<TempDir, CliError> {
    let place = std::env::temp_dir();
    let directory = tempfile::Builder::new()
        .prefix("hasher-demo-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(&place)
        .map_err(|error| {
            let doing = format_args!("create a folder in {}", place.display());
            CliError::io(doing, &error).hint("set TMPDIR to a folder that you can write")
        })?;
    let socket_length = directory.path().as_os_str().len() + "/hasherd.sock".len();
    if socket_length > SOCKET_PATH_MAX {
        return Err(CliError::failed(format!(
            "cannot put a socket into {}: the path is too long",
            place.display()
        ))
        .hint("set TMPDIR to a folder with a shorter name"));
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_is_looked_for_in_the_documented_order() {
        let found = candidates(
            Some(Path::new("/a/bin/hasher")),
            Some("/b:relative::/c".into()),
        );
        let expected = [
            "/a/bin/hasherd",
            "/b/hasherd",
            "/c/hasherd",
            "/usr/sbin/hasherd",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_file_that_cannot_be_run_is_no_program() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(PROGRAM);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!is_program(&path));
        assert!(!is_program(directory.path()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_program(&path));
    }

    #[test]
    fn a_daemon_that_ends_at_once_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(PROGRAM);
        fs::write(
            &program,
            "#!/bin/sh\necho 'error: unknown device' >&2\necho '  hint: try cpu' >&2\nexit 2\n",
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let error = PrivateDaemon::start(&program, "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "error: hasherd did not start: unknown device\n  hint: try cpu"
        );
        assert_eq!(error.exit, Exit::Usage);
    }
}
