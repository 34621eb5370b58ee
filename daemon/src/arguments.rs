//! The command line of `hasherd` as clap reads it, and as its manual page and
//! completions are made from.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use hasher_driver::DeviceSpec;

use crate::MessageBus;
use crate::config::LOG_VARIABLE;

/// Shares hash devices among programs over a Unix socket.
///
/// Without any --device it uses every board on USB, now and later. While there is none it
/// still serves digests and status; searches are answered "no device". Under systemd's socket activation it takes the socket named "jobs".
#[derive(Debug, Parser)]
#[command(name = "hasherd", version)]
pub struct Arguments {
    /// Device to attach; repeatable. `usb` means every board on USB, `usb:PORT` the one
    /// at a port; `sim:s3` and `sim:s1` simulate an Antminer (`sim:s3,zero-bits=14`),
    /// `cpu` searches on this CPU (`cpu,threads=2`). Devices of the configuration do not
    /// count then [default: usb]
    #[arg(long = "device", value_name = "SPEC")]
    pub devices: Vec<DeviceSpec>,

    /// Socket to listen on [default: $HASHER_SOCKET, else /run/hasher/hasherd.sock
    /// for root and user hasherd, else $XDG_RUNTIME_DIR/hasher/hasherd.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Bus on which the daemon can be watched and controlled: system, session, or none
    /// [default: system for root and user hasherd, else none]
    #[arg(long, value_name = "BUS")]
    pub bus: Option<MessageBus>,

    /// Configuration to read [default: /etc/hasher/hasherd.toml for root and user
    /// hasherd, if it is there; none for anybody else]
    #[arg(long, value_name = "PATH", overrides_with = "config")]
    pub config: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace, or a filter by module [default: as
    /// configured, else info]
    #[arg(long, value_name = "FILTER", env = LOG_VARIABLE)]
    pub log: Option<String>,

    /// Check a configuration and say what is wrong with it, instead of serving; without
    /// PATH the one that would be used
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub check_config: Option<Option<PathBuf>>,

    /// Print a configuration with every setting, explained and at its default, instead
    /// of serving
    #[arg(long, conflicts_with = "check_config")]
    pub print_config: bool,

    /// Stop in good order when standard input ends. For a program that starts a
    /// daemon of its own: holding a pipe to it is enough to leave none behind.
    #[arg(long)]
    pub exit_on_stdin_eof: bool,
}

/// The whole command line.
pub fn command() -> clap::Command {
    Arguments::command()
}
