//! The hasherd daemon: owns hash devices and shares them among programs.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use hasher_daemon::{Control, DEVICES_MAX, ListenError, Listener, UsbBus};
use hasher_driver::{DeviceSpec, UsbSpec};
use hasher_wire::{SOCKET_VARIABLE, SocketEnvironment};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// Shares hash devices among programs over a Unix socket.
///
/// Without any --device it uses every board on USB, now and later. While there is none it
/// still serves digests and status; searches are answered "no device". Under systemd's socket activation it takes the socket named "jobs".
#[derive(Debug, Parser)]
#[command(name = "hasherd", version)]
struct Arguments {
    /// Device to attach; repeatable. `usb` means every board on USB, `usb:PORT` the one
    /// at a port; `sim:s3` and `sim:s1` simulate an Antminer (`sim:s3,zero-bits=14`),
    /// `cpu` searches on this CPU (`cpu,threads=2`) [default: usb]
    #[arg(long = "device", value_name = "SPEC")]
    devices: Vec<DeviceSpec>,

    /// Socket to listen on [default: $HASHER_SOCKET, else /run/hasher/hasherd.sock
    /// for root and user hasherd, else $XDG_RUNTIME_DIR/hasher/hasherd.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace, or a filter by module
    #[arg(
        long,
        value_name = "FILTER",
        env = "HASHER_LOG",
        default_value = "info"
    )]
    log: String,

    /// Stop in good order when standard input ends. For a program that starts a
    /// daemon of its own: holding a pipe to it is enough to leave none behind.
    #[arg(long)]
    exit_on_stdin_eof: bool,
}

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const NOT_PERMITTED: u8 = 5;

/// Helper threads for larger digests: with two, one client's digest need not wait
/// for another's; more would take the CPU from the devices' tasks.
const DIGEST_THREADS: usize = 2;

/// Helper threads for opening boards, which the kernel may hold up for seconds while it
/// resets a port or a board does not answer.
const USB_THREADS: usize = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Ok(filter) = EnvFilter::try_new(&arguments.log) else {
        eprintln!("error: no such log filter: {:?}", arguments.log);
        eprintln!("  hint: try --log info");
        return ExitCode::from(WRONG_USAGE);
    };
    start_log(filter);
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let listen = error.downcast_ref::<ListenError>();
            if let Some(hint) = listen.and_then(|error| hint(error, is_system())) {
                eprintln!("  hint: {hint}");
            }
            match listen {
                Some(error) if error.is_permission() => ExitCode::from(NOT_PERMITTED),
                _ => ExitCode::from(FAILED),
            }
        }
    }
}

/// Logs to stderr; the journal adds the time itself.
fn start_log(filter: EnvFilter) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.devices.len() > DEVICES_MAX {
        bail!(
            "{} devices given, at most {DEVICES_MAX} are possible",
            arguments.devices.len()
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DIGEST_THREADS + USB_THREADS)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
        let listener = listen(arguments.socket.as_deref())?;
        let (mut sources, mut boards) = (Vec::new(), Vec::new());
        for (index, device) in (0..).zip(arguments.devices) {
            match device {
                DeviceSpec::Usb(spec) => boards.push(spec),
                other => sources.push(other.open(index).context("cannot set a device up")?),
            }
        }
        if sources.is_empty() && boards.is_empty() {
            boards.push(UsbSpec::default());
        }
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = stdin_end(arguments.exit_on_stdin_eof) => {}
            }
        };
        let control = Control::default();
        hasher_daemon::run(listener, sources, UsbBus::new(boards), control, shutdown).await;
        Ok(())
    })
}

/// Resolves when standard input ends or breaks; never if nobody asked for it.
async fn stdin_end(is_wanted: bool) {
    if !is_wanted {
        return std::future::pending().await;
    }
    let (over, ended) = oneshot::channel::<()>();
    // A thread of its own: the runtime's helper threads are for digests. It holds
    // nothing, so the process may end while it waits. If it cannot be started,
    // `over` is dropped and the daemon stops rather than outlive its owner.
    let _ = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(over);
        });
    let _ = ended.await;
}

fn listen(path: Option<&Path>) -> anyhow::Result<Listener> {
    if path.is_none()
        && let Some(listener) = Listener::from_systemd()?
    {
        return Ok(listener);
    }
    let is_system = is_system();
    let path = match path {
        Some(path) => path.to_owned(),
        None => SocketEnvironment::from_variables(|name| std::env::var_os(name))
            .daemon_socket(is_system)
            .with_context(|| {
                format!("no place for a socket: set --socket, {SOCKET_VARIABLE} or XDG_RUNTIME_DIR")
            })?,
    };
    Ok(Listener::bind(&path, is_system)?)
}

/// Whether this is the system's daemon: root, or the user made for it.
fn is_system() -> bool {
    let uid = rustix::process::geteuid().as_raw();
    // getpwuid needs a C library; the user of a system service is in the file.
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    uid == 0 || user_id(&users, "hasherd") == Some(uid)
}

/// The number of a user in the text of `/etc/passwd`.
fn user_id(users: &str, name: &str) -> Option<u32> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// What a person can do about it.
fn hint(error: &ListenError, is_system: bool) -> Option<&'static str> {
    match error {
        ListenError::InUse(_) => Some("stop it first, or choose another --socket"),
        ListenError::NotASocket(_) => Some("move it away, or choose another --socket"),
        ListenError::NotActivated => {
            Some("the socket unit needs ListenStream= and FileDescriptorName=jobs")
        }
        error if error.is_permission() && is_system => Some(
            "let root run `systemd-tmpfiles --create`, so that the folder belongs to hasherd, \
             or start the socket unit",
        ),
        error if error.is_permission() => {
            Some("choose a --socket in a folder of yours, or run as user hasherd")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_daemons_own_user_is_not_told_to_become_itself() {
        let error = ListenError::Io {
            action: "bind",
            path: "/run/hasher/hasherd.sock".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        assert!(hint(&error, false).unwrap().contains("run as user hasherd"));
        let of_system = hint(&error, true).unwrap();
        assert!(
            of_system.contains("systemd-tmpfiles --create"),
            "{of_system}"
        );
        assert!(!of_system.contains("as user hasherd"), "{of_system}");
    }

    #[test]
    fn a_user_is_found_by_name_in_the_password_file() {
        let users = "root:x:0:0::/:/bin/sh\nhasherd:x:977:977::/:/usr/sbin/nologin\n";
        assert_eq!(user_id(users, "hasherd"), Some(977));
        assert_eq!(user_id(users, "hasher"), None);
        assert_eq!(user_id("hasherd:x", "hasherd"), None);
    }
}
