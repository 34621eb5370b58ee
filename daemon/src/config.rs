//! `hasherd.toml`: what an administrator may set, checked before it takes effect.
//!
//! Owns the table of settings and everything that is made from it: checking, messages
//! with file and line, the documented default file, the report of what is in effect. It
//! changes nothing; [`Configuration`](crate::Configuration) puts it into effect.
//!
//! ```text
//! file ── entries: known keys, right kinds ──► build: what they mean together ──► Config
//!               ▲                                                    │
//!            table ──► default_file, manual page            ConfigurationReport
//! ```

mod accounts;
mod build;
mod entries;
mod example;
mod kind;
mod line;
mod problem;
mod table;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hasher_driver::host::HeatLimits;
use hasher_driver::{DeviceSpec, UsbSpec};
use hasher_wire::{ConfigurationReport, SettingReport, Text};

pub use self::accounts::Accounts;
use self::build::{Settings, build};
use self::entries::{Entries, Entry, Key, Origin};
pub use self::example::default_file;
pub use self::kind::Kind;
use self::kind::Value;
use self::problem::Problem;
pub use self::problem::{ConfigError, Problems};
pub use self::table::{Effect, Section, Setting, sections};
use crate::core::Limits;
use crate::dbus::MessageBus;

/// Where the system's daemon looks for its settings.
pub const SYSTEM_FILE: &str = "/etc/hasher/hasherd.toml";

/// The variable of the environment that says what to log.
pub const LOG_VARIABLE: &str = "HASHER_LOG";

/// Most bytes of a file. Every section at its longest takes a quarter of it, so what is
/// longer is something else.
pub const FILE_BYTES_MAX: usize = 128 * 1024;

/// Longest path that is repeated for each setting of the report; of longer ones the
/// file's name.
const ORIGIN_PATH_BYTES_MAX: usize = 64;

/// Longest value in the report, so that all of them fit into one frame.
const REPORT_VALUE_BYTES_MAX: usize = 4096;

/// Where settings come from, again at each reload.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// The file; nothing when there is none to read.
    pub file: Option<PathBuf>,
    /// Whether the file must be there.
    pub is_required: bool,
    /// Devices of the command line; if there are any, those of the file do not count.
    pub devices: Vec<DeviceSpec>,
    /// The bus of the command line.
    pub bus: Option<MessageBus>,
    /// What to log, by the command line or else by the environment.
    pub log: Option<String>,
    /// Whether `log` is of the environment.
    pub log_is_from_environment: bool,
}

impl ConfigSource {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and each line that does not hold.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let text = match &self.file {
            Some(path) => self.text_of(path)?,
            None => None,
        };
        // A file that is not there is not named either.
        let file = self.file.as_deref().filter(|_| text.is_some());
        self.check(file, &text.unwrap_or_default(), &Accounts::of_system())
    }

    /// Checks the text of a file, for users and groups of `accounts`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn check(
        &self,
        file: Option<&Path>,
        text: &str,
        accounts: &Accounts,
    ) -> Result<Config, ConfigError> {
        let file = file
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        let (mut entries, problems) = Entries::read(text);
        self.override_with(&mut entries);
        // Also what is right is checked against the rest, so that all problems are told.
        match build(&entries, accounts) {
            Ok(settings) if problems.is_empty() => Ok(Config {
                file,
                entries,
                settings,
            }),
            built => {
                let more = built.err().unwrap_or_default();
                let problems = [problems, more].concat();
                Err(ConfigError::Wrong(Problems::new(file, problems)))
            }
        }
    }

    /// The error of a file that cannot be read.
    pub(crate) fn unreadable(&self, source: io::Error) -> ConfigError {
        let path = self.file.clone().unwrap_or_default();
        ConfigError::Unreadable { path, source }
    }

    fn override_with(&self, entries: &mut Entries) {
        if !self.devices.is_empty() {
            let devices = Value::list(self.devices.iter().map(DeviceSpec::to_string));
            entries.put(Key::new("", "devices"), devices, Origin::CommandLine);
        }
        if let Some(bus) = self.bus {
            let bus = Value::Text(bus.to_string());
            entries.put(Key::new("", "bus"), bus, Origin::CommandLine);
        }
        if let Some(log) = &self.log {
            let origin = if self.log_is_from_environment {
                Origin::Environment
            } else {
                Origin::CommandLine
            };
            entries.put(Key::new("", "log"), Value::Text(log.clone()), origin);
        }
    }

    /// The file's text; nothing when it is not there and need not be.
    fn text_of(&self, path: &Path) -> Result<Option<String>, ConfigError> {
        let unreadable = |source| self.unreadable(source);
        let file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_required => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(error)),
        };
        let not_settings = |why: String| ConfigError::NotSettings {
            path: path.to_owned(),
            why,
        };
        let kind = file.metadata().map_err(unreadable)?.file_type();
        // /dev/null is a usual way to say that there are no settings.
        if !kind.is_file() && !kind.is_char_device() {
            return Err(not_settings("is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        let most = FILE_BYTES_MAX as u64 + 1;
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(not_settings(format!(
                "has more than {FILE_BYTES_MAX} bytes"
            )));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                Err(ConfigError::Wrong(Problems::new(
                    path.display().to_string(),
                    vec![Problem {
                        line,
                        text: "this is no UTF-8".to_owned(),
                    }],
                )))
            }
        }
    }
}

/// Opens without waiting for whoever writes into a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Settings that hold together, and where each comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file; empty when there is none.
    file: String,
    entries: Entries,
    settings: Settings,
}

impl Config {
    /// Devices to attach that are on no bus, and the place of each among all that are
    /// named: the number in its name.
    pub fn devices(&self) -> impl Iterator<Item = (usize, &DeviceSpec)> {
        let devices = self.settings.devices.iter();
        devices.map(|(index, device)| (*index, device))
    }

    /// What is wanted on USB.
    pub fn boards(&self) -> &[UsbSpec] {
        &self.settings.boards
    }

    /// What to log.
    pub fn log(&self) -> &str {
        &self.settings.log
    }

    /// The bus to be on; nothing leaves it to the daemon.
    pub const fn bus(&self) -> Option<MessageBus> {
        self.settings.bus
    }

    /// The mode of a socket that the daemon binds; nothing leaves it to the daemon.
    pub const fn socket_mode(&self) -> Option<u32> {
        self.settings.socket_mode
    }

    /// The group of a socket that the daemon binds; nothing leaves it to the folder.
    pub const fn socket_group(&self) -> Option<u32> {
        self.settings.socket_group
    }

    /// When heat stops a board.
    pub const fn heat_limits(&self) -> HeatLimits {
        self.settings.heat_limits
    }

    /// What clients may have.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// The file that was read; empty when there was none.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Every setting in effect and where it comes from, in the order of the manual.
    pub fn report(&self) -> ConfigurationReport {
        let file = match &self.file {
            path if path.len() <= ORIGIN_PATH_BYTES_MAX => path.clone(),
            path => Path::new(path)
                .file_name()
                .map_or_else(String::new, |name| clip::<64>(&name.to_string_lossy())),
        };
        let set = self.entries.in_order();
        let mut settings = Vec::new();
        for section in sections().iter() {
            if section.is_repeated() {
                let of_section = set.iter().filter(|(key, _)| key.section == section.name());
                settings.extend(of_section.map(|(key, entry)| report(key, Some(entry), &file)));
                continue;
            }
            for setting in section.settings() {
                let key = Key::new(section.name(), setting.name());
                let entry = self.entries.entry(&key);
                settings.push(report(&key, entry, &file));
            }
        }
        ConfigurationReport {
            file: clip::<1024>(&self.file),
            settings,
        }
    }

    /// The settings that hold once `newer` was read by a daemon that runs, and what
    /// changed: settings that need a restart keep their values.
    #[must_use]
    pub(crate) fn reloaded(&self, newer: Self) -> (Self, Vec<Change>) {
        let changed = self.entries.changed(&newer.entries);
        let changes = changed.iter().map(|key| Change {
            key: key.to_string(),
            value: newer
                .entries
                .value(key)
                .map(|value| clip::<256>(&value.to_string())),
            effect: key.setting().effect(),
        });
        let changes = changes.collect();
        let config = Self {
            file: newer.file,
            entries: newer.entries.with_kept(&self.entries, &changed),
            settings: Settings {
                limits: newer.settings.limits,
                log: newer.settings.log,
                ..self.settings.clone()
            },
        };
        (config, changes)
    }
}

/// A setting that a reload found changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its dotted name.
    pub(crate) key: String,
    /// What the file says now, as written there; nothing when it depends on others again.
    pub(crate) value: Option<String>,
    /// When that takes effect.
    pub(crate) effect: Effect,
}

fn report(key: &Key, entry: Option<&Entry>, file: &str) -> SettingReport {
    let value = entry.map_or_else(|| key.setting().default(), |entry| entry.value.to_string());
    let mut origin = match entry.map(|entry| entry.origin) {
        None | Some(Origin::Default) => "default".to_owned(),
        Some(Origin::Line(line)) => format!("{file}:{line}"),
        Some(Origin::CommandLine) => "command line".to_owned(),
        Some(Origin::Environment) => "environment".to_owned(),
    };
    if entry.is_some_and(|entry| entry.is_overdue) {
        origin.push_str(", until a restart");
    }
    SettingReport {
        key: key.to_string(),
        value: clip::<REPORT_VALUE_BYTES_MAX>(&value),
        origin,
    }
}

fn clip<const MAX: usize>(text: &str) -> String {
    Text::<MAX>::new(text).to_string()
}
