//! The hasherd daemon: owns hash devices and shares them among programs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use hasher_daemon::config::{Accounts, Config, ConfigError, ConfigSource, SYSTEM_FILE};
use hasher_daemon::log::{self, LogFilter};
use hasher_daemon::{
    Access, Arguments, Configuration, Control, ListenError, Listener, MessageBus, Reloader, UsbBus,
    config,
};
use hasher_kernel::Backend;
use hasher_wire::{SOCKET_VARIABLE, SocketEnvironment};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

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
    let matches = hasher_daemon::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if arguments.print_config {
        print!("{}", config::default_file());
        return ExitCode::SUCCESS;
    }
    let source = config_source(&arguments, &matches, is_system());
    if let Some(path) = arguments.check_config {
        return check(&match path {
            Some(path) => ConfigSource {
                file: Some(path),
                is_required: true,
                ..source
            },
            None => source,
        });
    }
    let config = match source.read() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let log = log::start(config.log());
    match serve(arguments, source, config, log) {
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

/// Where the settings come from.
fn config_source(arguments: &Arguments, matches: &ArgMatches, is_system: bool) -> ConfigSource {
    let of_system = || is_system.then(|| PathBuf::from(SYSTEM_FILE));
    ConfigSource {
        file: arguments.config.clone().or_else(of_system),
        is_required: arguments.config.is_some(),
        devices: arguments.devices.clone(),
        bus: arguments.bus,
        log: arguments.log.clone(),
        log_is_from_environment: matches.value_source("log") == Some(ValueSource::EnvVariable),
    }
}

/// Says whether a configuration holds.
fn check(source: &ConfigSource) -> ExitCode {
    match source.read() {
        Ok(config) => {
            match config.file() {
                "" => println!("there is no file; every setting has its default"),
                file => println!("{file} holds"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &ConfigError) -> ExitCode {
    for line in error.lines() {
        eprintln!("error: {line}");
    }
    if error.is_usage() {
        eprintln!("  hint: see hasherd --help");
        return ExitCode::from(WRONG_USAGE);
    }
    eprintln!("  hint: hasherd --print-config shows every setting and its default");
    ExitCode::from(FAILED)
}

fn serve(
    arguments: Arguments,
    source: ConfigSource,
    config: Config,
    log: LogFilter,
) -> anyhow::Result<()> {
    Backend::asked_for().context("cannot choose how to hash")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DIGEST_THREADS + USB_THREADS)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
        let listener = listen(arguments.socket.as_deref(), &config)?;
        let heat_limits = config.heat_limits();
        let mut sources = Vec::new();
        for (index, device) in config.devices() {
            let device = device.open(index).context("cannot set a device up")?;
            sources.push(device.with_heat_limits(heat_limits));
        }
        let bus = UsbBus::new(config.boards().to_vec(), heat_limits);
        let config_bus = config.bus();
        let (reloader, requests) = Reloader::channel();
        let configuration =
            Configuration::new(source, config, log, requests).context("cannot watch SIGHUP")?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = stdin_end(arguments.exit_on_stdin_eof) => {}
            }
        };
        let default_bus = if is_system() {
            MessageBus::System
        } else {
            MessageBus::None
        };
        let control = Control {
            reloader: Some(reloader),
            bus: config_bus.unwrap_or(default_bus),
        };
        hasher_daemon::run(listener, sources, bus, configuration, control, shutdown).await;
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

fn listen(path: Option<&Path>, config: &Config) -> anyhow::Result<Listener> {
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
    let access = if is_system {
        Access::of_system()
    } else {
        Access::of_user()
    };
    let access = access
        .with_mode(config.socket_mode())
        .with_group(config.socket_group());
    Ok(Listener::bind(&path, access)?)
}

/// Whether this is the system's daemon: root, or the user made for it.
fn is_system() -> bool {
    let uid = rustix::process::geteuid().as_raw();
    uid == 0 || Accounts::of_system().user("hasherd") == Some(uid)
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
}
