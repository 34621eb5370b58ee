//! What a package installs beside the programs, and what systemd says of it.
//!
//! Owns the question to systemd and the reading of its answer. It starts, stops and
//! enables nothing.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// systemd answers in milliseconds, and in 25 s at the latest if it is in trouble; nobody
/// wants to wait for that.
const SYSTEMD_WITHIN: Duration = Duration::from_secs(5);
/// Two units with five properties each take some 300 bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Where policies of the bus lie, in the order in which an administrator looks.
const BUS_POLICIES: [&str; 2] = [
    "etc/dbus-1/system.d/org.hasher.Hasher1.conf",
    "usr/share/dbus-1/system.d/org.hasher.Hasher1.conf",
];
const POLKIT_ACTIONS: &str = "usr/share/polkit-1/actions/org.hasher.hasher1.policy";

/// The service as it is installed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// What systemd says; nothing where it does not run or gave no answer.
    pub units: Option<Units>,
    /// The daemon's user exists.
    pub has_user: bool,
    /// Without it nobody may own the daemon's name on the bus.
    pub bus_policy: Option<PathBuf>,
    /// Without it only root may change the hardware.
    pub polkit_actions: Option<PathBuf>,
}

/// The units of the service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Units {
    /// `hasherd.service`.
    pub service: Unit,
    /// `hasherd.socket`.
    pub socket: Unit,
}

/// A unit in systemd's own words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, `bad-setting`…
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`…
    pub active: String,
    /// `enabled`, `disabled`, `masked`, `static`…
    pub file: String,
    /// `success`, or how it failed: `watchdog`, `exit-code`…
    pub result: String,
}

impl Service {
    /// Looks below `root`; systemd is not asked.
    pub fn look(root: &Path, has_user: bool) -> Self {
        let found = |file: &str| {
            let is_there = root.join(file).is_file();
            is_there.then(|| Path::new("/").join(file))
        };
        Self {
            units: None,
            has_user,
            bus_policy: BUS_POLICIES.into_iter().find_map(found),
            polkit_actions: found(POLKIT_ACTIONS),
        }
    }
}

impl Units {
    /// Asks the systemd of this machine, if it is what runs it.
    pub fn ask() -> Option<Self> {
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        let mut systemctl = Command::new("systemctl")
            .args(["show", "--property=Id,LoadState,ActiveState"])
            .args(["--property=UnitFileState,Result"])
            .args(["hasherd.service", "hasherd.socket"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let output = systemctl.stdout.take()?.take(ANSWER_BYTES_MAX);
        let (answer, answered) = mpsc::channel();
        thread::spawn(move || {
            // Nobody listens any more when the answer is late.
            _ = answer.send(std::io::read_to_string(output));
        });
        let text = answered.recv_timeout(SYSTEMD_WITHIN);
        // Done, or too late; either way it must not be left behind.
        _ = systemctl.kill();
        _ = systemctl.wait();
        Self::parse(&text.ok()?.ok()?)
    }

    /// Reads `key=value` lines, an empty line between units.
    fn parse(text: &str) -> Option<Self> {
        let unit = |id: &str| {
            let of_unit = |block: &&str| block.lines().any(|line| line == format!("Id={id}"));
            let block = text.split("\n\n").find(of_unit)?;
            let value = |key: &str| {
                let of_key =
                    |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
                block.lines().find_map(of_key).unwrap_or_default()
            };
            Some(Unit {
                load: value("LoadState"),
                active: value("ActiveState"),
                file: value("UnitFileState"),
                result: value("Result"),
            })
        };
        Some(Self {
            service: unit("hasherd.service")?,
            socket: unit("hasherd.socket")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 prints it; the order of the properties is its own.
    const ANSWER: &str = "\
Result=watchdog
Id=hasherd.service
LoadState=loaded
ActiveState=failed
UnitFileState=enabled

Result=success
Id=hasherd.socket
LoadState=loaded
ActiveState=active
UnitFileState=disabled
";

    #[test]
    fn the_answer_of_systemd_is_told_apart_by_unit() {
        let units = Units::parse(ANSWER).unwrap();
        assert_eq!(
            (units.service.active.as_str(), units.service.result.as_str()),
            ("failed", "watchdog")
        );
        assert_eq!(
            (units.socket.active.as_str(), units.socket.file.as_str()),
            ("active", "disabled")
        );
        assert_eq!(Units::parse(""), None);
        assert_eq!(Units::parse("Id=hasherd.service\n"), None);
    }
}
