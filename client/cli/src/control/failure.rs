//! What D-Bus says when it does not work, as a person reads it.
//!
//! Owns the table from names of D-Bus errors to messages, hints and exit codes. It
//! decides by names alone; the daemon's and polkit's words are passed on.

use strsim::damerau_levenshtein;
use zbus::DBusError;

use super::{Bus, NAME, Request};
use crate::error::{CliError, Exit, chain, io_reason};

/// Prefix of the daemon's own errors.
const OURS: &str = "org.hasher.Hasher1.Error.";
/// Prefix of the errors of D-Bus itself.
const BUS: &str = "org.freedesktop.DBus.Error.";

/// Names that differ in at most so many places are worth a suggestion.
const TYPING_ERRORS_MAX: usize = 4;

/// What a failed call said.
#[derive(Debug)]
pub struct Failure {
    bus: Bus,
    kind: Kind,
    /// The other side's words, or ours when it said nothing.
    words: String,
}

/// What the words are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody owns the daemon's name.
    NoDaemon,
    /// It did not answer.
    NoAnswer,
    /// The bus, the daemon or polkit refuses.
    NotAllowed,
    /// There is no such device.
    UnknownDevice,
    /// The device is there, but not usable now.
    NoDevice,
    /// Not at this moment.
    Busy,
    /// This device cannot do it.
    NotSupported,
    /// The value is not possible.
    Invalid,
    /// The configuration file is wrong.
    Configuration,
    /// The daemon is older than this program.
    UnknownMethod,
    /// Anything else.
    Other,
}

impl Failure {
    /// Sorts an error of a call.
    pub fn new(bus: Bus, error: &zbus::Error) -> Self {
        let (kind, words) = match error {
            zbus::Error::MethodError(name, words, _) => {
                let words = words.clone().unwrap_or_else(|| name.to_string());
                (kind(name.as_str()), words)
            }
            zbus::Error::FDO(error) => {
                let name = error.name();
                let words = error.description().unwrap_or(name.as_str()).to_owned();
                (kind(name.as_str()), words)
            }
            zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                (Kind::NoAnswer, io_reason(error))
            }
            other => (Kind::Other, chain(other)),
        };
        Self { bus, kind, words }
    }

    /// Whether a list of the devices would help.
    pub fn is_unknown_device(&self) -> bool {
        self.kind == Kind::UnknownDevice
    }

    /// The failure of a request to a device; `known` are those that are there.
    pub fn of_device(self, id: &str, request: Request, known: &[String]) -> CliError {
        let word = request.word();
        let what = format!("cannot {word} {id}");
        match self.kind {
            Kind::UnknownDevice => {
                let hint = match nearest(id, known) {
                    Some(near) => format!("did you mean `{near}`? `hasher devices` lists all"),
                    None => "`hasher devices` lists all".to_owned(),
                };
                CliError::new(Exit::NoDevice, format!("{what}: no such device")).hint(hint)
            }
            Kind::NotSupported if matches!(request, Request::Configure { .. }) => {
                CliError::failed(format!("{what}: {}", self.words))
                    .hint("only boards have a clock that can be set")
            }
            Kind::Invalid => CliError::usage(format!("{what}: {}", self.words))
                .hint(format!("see `hasher device {word} --help`")),
            _ => self.of_anything(&what, &format!("hasher device {word} {id}")),
        }
    }

    /// The failure of a reload.
    pub fn of_reload(self) -> CliError {
        let what = "cannot reload the configuration";
        match self.kind {
            Kind::Configuration => CliError::failed(format!("{what}: {}", self.words)).hint(
                "the old settings stay in effect; try the file with `hasherd --check-config`",
            ),
            _ => self.of_anything(what, "hasher reload"),
        }
    }

    fn of_anything(self, what: &str, command: &str) -> CliError {
        let Self { bus, kind, words } = self;
        match kind {
            Kind::NoDaemon => CliError::new(
                Exit::NoDaemon,
                format!("{what}: nobody owns {NAME} on the {bus} bus"),
            )
            .hint(match bus {
                Bus::System => {
                    "start it with `sudo systemctl start hasherd`; for a daemon of your own, \
                     started with `hasherd --bus session`, add `--bus session`"
                }
                Bus::Session => {
                    "start your own with `hasherd --bus session`, or leave `--bus` away for the \
                     system's"
                }
            }),
            Kind::NoAnswer => {
                CliError::new(Exit::NoDaemon, format!("{what}: the daemon did not answer"))
                    .hint("see the daemon's log: `journalctl -u hasherd`")
            }
            Kind::NotAllowed => {
                let failure = CliError::new(Exit::NotPermitted, format!("{what}: {words}"));
                match bus {
                    Bus::System => failure.hint(format!("run it as root: `sudo {command}`")),
                    Bus::Session => failure.hint("only the user who started the daemon may"),
                }
            }
            Kind::NoDevice => CliError::new(Exit::NoDevice, format!("{what}: {words}"))
                .hint("see `hasher devices`"),
            Kind::Busy => CliError::failed(format!("{what}: {words}"))
                .hint("`hasher devices` shows what it is doing; try again in a moment"),
            Kind::UnknownMethod => CliError::failed(format!("{what}: {words}"))
                .hint("the daemon is older than this program: update hasherd and restart it"),
            _ => CliError::failed(format!("{what}: {words}"))
                .hint("see the daemon's log: `journalctl -u hasherd`"),
        }
    }
}

/// The failure to reach a bus at all.
pub fn no_bus(bus: Bus, error: &zbus::Error) -> CliError {
    let reason = match error {
        zbus::Error::InputOutput(error) => io_reason(error),
        other => chain(other),
    };
    let message = format!("cannot connect to the {bus} bus: {reason}");
    CliError::new(Exit::NoDaemon, message).hint(match bus {
        Bus::System => "is D-Bus running? see `systemctl status dbus`",
        Bus::Session => {
            "log in to a desktop session, or run both programs below `dbus-run-session`"
        }
    })
}

fn kind(name: &str) -> Kind {
    if let Some(ours) = name.strip_prefix(OURS) {
        return match ours {
            "NotAllowed" => Kind::NotAllowed,
            "UnknownDevice" => Kind::UnknownDevice,
            "NoDevice" | "DeviceGone" => Kind::NoDevice,
            "Busy" => Kind::Busy,
            "NotSupported" => Kind::NotSupported,
            "Invalid" => Kind::Invalid,
            "ConfigurationInvalid" => Kind::Configuration,
            "Unsupported" => Kind::UnknownMethod,
            _ => Kind::Other,
        };
    }
    match name.strip_prefix(BUS).unwrap_or_default() {
        "ServiceUnknown" | "NameHasNoOwner" | "Disconnected" => Kind::NoDaemon,
        spawn if spawn.starts_with("Spawn.") => Kind::NoDaemon,
        "NoReply" | "Timeout" | "TimedOut" => Kind::NoAnswer,
        "AccessDenied" | "AuthFailed" | "InteractiveAuthorizationRequired" => Kind::NotAllowed,
        "UnknownObject" => Kind::UnknownDevice,
        "UnknownMethod" | "UnknownInterface" => Kind::UnknownMethod,
        "InvalidArgs" => Kind::Invalid,
        _ => Kind::Other,
    }
}

/// The known name that the user may have meant.
fn nearest<'a>(id: &str, known: &'a [String]) -> Option<&'a String> {
    let distance = |known: &&String| damerau_levenshtein(id, known);
    let near = known.iter().min_by_key(distance)?;
    let is_part = !id.is_empty() && near.contains(id);
    (is_part || distance(&near) <= TYPING_ERRORS_MAX)
        .then_some(near)
        .or_else(|| {
            known
                .iter()
                .find(|known| !id.is_empty() && known.contains(id))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(name: &str, words: &str) -> Failure {
        Failure {
            bus: Bus::System,
            kind: kind(name),
            words: words.to_owned(),
        }
    }

    #[test]
    fn every_failure_has_its_exit_code_and_a_hint() {
        for (name, exit) in [
            ("org.freedesktop.DBus.Error.ServiceUnknown", Exit::NoDaemon),
            (
                "org.freedesktop.DBus.Error.Spawn.ExecFailed",
                Exit::NoDaemon,
            ),
            ("org.freedesktop.DBus.Error.NoReply", Exit::NoDaemon),
            (
                "org.freedesktop.DBus.Error.AccessDenied",
                Exit::NotPermitted,
            ),
            ("org.freedesktop.DBus.Error.UnknownObject", Exit::NoDevice),
            ("org.freedesktop.DBus.Error.UnknownMethod", Exit::Failed),
            ("org.hasher.Hasher1.Error.NotAllowed", Exit::NotPermitted),
            ("org.hasher.Hasher1.Error.UnknownDevice", Exit::NoDevice),
            ("org.hasher.Hasher1.Error.DeviceGone", Exit::NoDevice),
            ("org.hasher.Hasher1.Error.NotSupported", Exit::Failed),
            ("org.hasher.Hasher1.Error.Busy", Exit::Failed),
            ("org.hasher.Hasher1.Error.Invalid", Exit::Usage),
            ("org.hasher.Hasher1.Error.Internal", Exit::Failed),
            ("com.example.Error", Exit::Failed),
        ] {
            let request = Request::Configure {
                frequency_mhz: 250.0,
            };
            let error = failure(name, "why").of_device("sim-s3-0", request, &[]);
            assert_eq!(error.exit, exit, "{name}: {error}");
            assert!(error.hint.is_some(), "{name}: {error}");
            assert!(error.message.starts_with("cannot configure sim-s3-0: "));
        }
    }

    #[test]
    fn what_polkit_said_is_passed_on_with_the_command_for_root() {
        let error = failure("org.hasher.Hasher1.Error.NotAllowed", "polkit refused").of_device(
            "a",
            Request::Pause,
            &[],
        );
        assert_eq!(error.message, "cannot pause a: polkit refused");
        let hint = error.hint.unwrap();
        assert!(hint.contains("`sudo hasher device pause a`"), "{hint}");
    }

    #[test]
    fn the_nearest_device_is_suggested() {
        let known = ["cpu-1", "pci-0000:00:14.0-usb-0:2.3", "sim-s3-0"].map(str::to_owned);
        let suggested = |id: &str| nearest(id, &known).map(String::as_str);
        assert_eq!(suggested("sim-s30"), Some("sim-s3-0"));
        assert_eq!(suggested("usb-0:2.3"), Some("pci-0000:00:14.0-usb-0:2.3"));
        assert_eq!(suggested("something else"), None);
        assert_eq!(suggested(""), None);
        assert_eq!(nearest("sim", &[]), None);
    }

    #[test]
    fn a_refused_file_is_named_and_the_old_one_stays() {
        let words = "/etc/hasher/hasherd.toml:3: unknown key `clok`";
        let error = failure("org.hasher.Hasher1.Error.ConfigurationInvalid", words).of_reload();
        assert!(error.message.contains(words), "{error}");
        assert!(error.hint.unwrap().contains("stay in effect"));
    }
}
