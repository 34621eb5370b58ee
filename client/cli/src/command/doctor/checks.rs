//! The verdicts: from what was seen to what is well, what is not, and what helps.
//!
//! Pure. Every rule is a small function; the order is the order of the cable.

mod device;
mod service;

use hasher_wire::{DeviceKind, DeviceState, StatusReport};
use serde::Serialize;

use self::device::{device_state, measured};
use self::service::service;
use super::DaemonAnswer;
use super::machine::{Board, Machine, Process};

/// How a check ended, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Nothing to judge.
    Note,
    /// It works, for now.
    Warning,
    /// It does not work.
    Bad,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub text: String,
    /// What helps, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// A check without a remedy.
    pub fn new(name: impl Into<String>, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict,
            text: text.into(),
            remedy: None,
        }
    }

    /// Adds what helps.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The worst verdict of all.
pub fn worst(checks: &[Check]) -> Verdict {
    let verdicts = checks.iter().map(|check| check.verdict);
    verdicts.max().unwrap_or(Verdict::Note)
}

/// All checks in the order of the cable.
pub fn check(machine: &Machine, answer: &DaemonAnswer) -> Vec<Check> {
    let status = answer.as_ref().ok();
    let mut checks = vec![bus(machine, status)];
    checks.extend(rule(machine));
    for board in &machine.boards {
        checks.push(stage(board));
        checks.extend(node(board));
        checks.extend(udev(board));
        checks.extend(autosuspend(board));
        checks.push(claim(board, machine.viewer.is_root, status));
    }
    checks.extend(machine.miners.iter().map(miner));
    checks.extend(service(machine));
    checks.push(daemon(answer));
    checks.extend(group(machine));
    for device in status.iter().flat_map(|status| &status.devices) {
        checks.push(device_state(device));
        checks.extend(measured(device));
    }
    checks
}

fn bus(machine: &Machine, status: Option<&StatusReport>) -> Check {
    let name = "usb";
    match machine.boards.len() {
        _ if !machine.has_usb => Check::new(name, Verdict::Note, "this machine has no USB"),
        0 => {
            let has_other = status.is_some_and(|status| {
                status
                    .devices
                    .iter()
                    .any(|device| device.kind != DeviceKind::Usb)
            });
            let verdict = if has_other {
                Verdict::Note
            } else {
                Verdict::Bad
            };
            Check::new(
                name,
                verdict,
                "no board is plugged in (4254:4153 or 4254:424c)",
            )
            .remedy("check supply and cable; docs/hardware.md says how a board is connected")
        }
        1 => Check::new(name, Verdict::Ok, "1 board is plugged in"),
        count => Check::new(name, Verdict::Ok, format!("{count} boards are plugged in")),
    }
}

fn rule(machine: &Machine) -> Option<Check> {
    let name = "udev rule";
    let ours = |file: &&std::path::PathBuf| {
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().contains("hasher"))
    };
    let others: Vec<_> = machine.rules.iter().filter(|file| !ours(file)).collect();
    if let Some(other) = others.first() {
        return Some(
            Check::new(
                name,
                Verdict::Warning,
                format!("{} is about these boards too", other.display()),
            )
            .remedy("remove that file if its program is not used any more"),
        );
    }
    match machine.rules.iter().find(ours) {
        Some(file) => Some(Check::new(
            name,
            Verdict::Ok,
            format!("{} is installed", file.display()),
        )),
        // Without USB there is nothing that needs it.
        None if !machine.has_usb => None,
        None => Some(
            Check::new(name, Verdict::Bad, "not installed").remedy(
                "copy udev-rules/70-hasher.rules to /etc/udev/rules.d/ and run `sudo udevadm control --reload`",
            ),
        ),
    }
}

fn stage(board: &Board) -> Check {
    let text = if board.is_in_boot_loader {
        "waits in its boot loader; the daemon starts it"
    } else {
        "runs its application"
    };
    Check::new(&board.port, Verdict::Ok, text)
}

fn node(board: &Board) -> Option<Check> {
    let name = format!("{} node", board.port);
    let Some(owner) = &board.node_owner else {
        return Some(
            Check::new(
                name,
                Verdict::Bad,
                format!("{} is missing", board.node.display()),
            )
            .remedy("is udev running? `systemctl status systemd-udevd`"),
        );
    };
    let text = format!(
        "{} belongs to {}:{}, mode {:04o}",
        board.node.display(),
        owner.user,
        owner.group,
        owner.mode
    );
    let replug = "install udev-rules/70-hasher.rules, run `sudo udevadm control --reload`, and plug the board in again";
    let check = if owner.user != "hasherd" || owner.mode & 0o600 != 0o600 {
        Check::new(
            name,
            Verdict::Bad,
            format!("{text}: the daemon may not open it"),
        )
        .remedy(replug)
    } else if owner.mode & 0o007 != 0 {
        Check::new(
            name,
            Verdict::Warning,
            format!("{text}: everybody may open it"),
        )
        .remedy(replug)
    } else {
        Check::new(name, Verdict::Ok, text)
    };
    Some(check)
}

fn udev(board: &Board) -> Option<Check> {
    let name = format!("{} udev", board.port);
    Some(match &board.udev {
        None => Check::new(name, Verdict::Warning, "udev has not seen it")
            .remedy("is udev running? `systemctl status systemd-udevd`"),
        Some(record) if record.wants_daemon => return None,
        Some(_) => Check::new(
            name,
            Verdict::Warning,
            "the rule was not in effect when it came",
        )
        .remedy("run `sudo udevadm control --reload` and plug the board in again"),
    })
}

fn autosuspend(board: &Board) -> Option<Check> {
    let control = board.power_control.as_deref()?;
    (control != "on").then(|| {
        Check::new(
            format!("{} power", board.port),
            Verdict::Warning,
            "the kernel may suspend it while it idles",
        )
        .remedy("the udev rule switches that off; plug the board in again")
    })
}

/// Who has the interface, and whether it is the daemon.
fn claim(board: &Board, is_root: bool, status: Option<&StatusReport>) -> Check {
    let name = format!("{} claim", board.port);
    // Another hasherd is in the way like any other program.
    let is_daemons = |process: &&Process| match status {
        Some(status) => status.daemon.pid == process.pid,
        None => process.name == "hasherd",
    };
    if let Some(other) = board.holders.iter().find(|process| !is_daemons(process)) {
        let stop = other.unit.as_ref().map_or_else(
            || format!("stop it; it is process {}", other.pid),
            |unit| {
                format!(
                    "`sudo systemctl disable --now {unit}`, or write Conflicts={unit} into hasherd.service"
                )
            },
        );
        let who = format!(
            "held by process {} of {}: {}",
            other.pid, other.user, other.command
        );
        return Check::new(name, Verdict::Bad, who).remedy(stop);
    }
    let ours = status.is_some_and(|status| {
        status.devices.iter().any(|device| {
            device.id == board.port
                && matches!(
                    device.state,
                    DeviceState::Starting | DeviceState::Ready | DeviceState::Paused
                )
        })
    });
    match board.driver.as_deref() {
        Some("usbfs") if ours || board.holders.iter().any(|p| is_daemons(&p)) => {
            Check::new(name, Verdict::Ok, "the daemon holds it")
        }
        Some("usbfs") => {
            let check = Check::new(name, Verdict::Bad, "held by a program");
            if is_root {
                check
            } else {
                check.remedy("`sudo hasher doctor` names it")
            }
        }
        Some(driver) => Check::new(
            name,
            Verdict::Note,
            format!("kernel driver \"{driver}\" has it; the daemon takes it over"),
        ),
        None => Check::new(name, Verdict::Note, "nobody holds it"),
    }
}

fn miner(process: &Process) -> Check {
    let check = Check::new(
        "other miner",
        Verdict::Warning,
        format!(
            "{} runs as process {} of {}; it takes boards when it can",
            process.name, process.pid, process.user
        ),
    );
    match &process.unit {
        Some(unit) => check.remedy(format!(
            "`sudo systemctl disable --now {unit}`, or write Conflicts={unit} into hasherd.service"
        )),
        None => check.remedy("stop it before the boards are used here"),
    }
}

fn daemon(answer: &DaemonAnswer) -> Check {
    let name = "daemon";
    match answer {
        Ok(status) => Check::new(
            name,
            Verdict::Ok,
            format!(
                "hasherd {} runs as process {}",
                status.daemon.version, status.daemon.pid
            ),
        ),
        Err(error) => Check {
            remedy: error.hint.clone(),
            ..Check::new(name, Verdict::Bad, &error.message)
        },
    }
}

fn group(machine: &Machine) -> Option<Check> {
    let name = "group hasher";
    let viewer = &machine.viewer;
    if viewer.is_root || viewer.groups.iter().any(|group| group == "hasher") {
        return None; // nothing is in the way
    }
    Some(if !viewer.has_hasher_group {
        Check::new(
            name,
            Verdict::Note,
            "there is none; the system's daemon is not installed",
        )
    } else if viewer.is_listed_in_hasher {
        Check::new(
            name,
            Verdict::Warning,
            "you are in it, but not in this session",
        )
        .remedy("log out and in again")
    } else {
        Check::new(name, Verdict::Warning, "you are not in it")
            .remedy("`sudo usermod -aG hasher $USER`, then log out and in again")
    })
}

#[cfg(test)]
mod tests;
