//! What the window shows when there is no device to show, and what to do then.
//!
//! Owns the first words that a new user reads. Every such screen says what is the
//! matter, why, and the commands that help.

use crate::Mirror;

/// The bus on which the daemon was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The user's own daemon (`hasherd --bus session`).
    Session,
    /// The system's daemon.
    System,
}

impl Bus {
    /// Whose daemon that is.
    pub const fn whose(self) -> &'static str {
        match self {
            Self::Session => "your own daemon",
            Self::System => "the system's daemon",
        }
    }
}

/// What became of the search for a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// It is not known yet.
    Looking,
    /// Neither bus has one.
    NoDaemon,
    /// There is one, but this user may not see its devices.
    NotPermitted,
    /// There is one, but it does not answer as it should.
    Failed(String),
    /// It is there and answers.
    Connected(Bus),
}

/// A command that helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// What it is for.
    pub purpose: &'static str,
    /// The line for a terminal.
    pub line: &'static str,
}

/// What is the matter and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Name of the symbol above it.
    pub icon: &'static str,
    /// What is the matter.
    pub title: &'static str,
    /// Why, in a sentence or two.
    pub text: String,
    /// What helps.
    pub commands: &'static [Command],
}

/// What the pages of devices and sessions show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Screen {
    /// Nothing yet; the answer comes in a moment.
    Looking,
    /// No device can be shown.
    Advice(Advice),
    /// The devices.
    Devices,
}

/// A daemon of one's own with a simulated board: needs no hardware and no rights.
const TRY: Command = Command {
    purpose: "Try it without hardware",
    line: "hasherd --bus session --device sim:s3",
};

/// The screen for what is known.
pub fn screen(connection: &Connection, mirror: &Mirror) -> Screen {
    let advice = match connection {
        Connection::Looking => return Screen::Looking,
        Connection::Connected(_) if mirror.devices().next().is_some() => return Screen::Devices,
        Connection::Connected(bus) => Advice {
            icon: "drive-harddisk-usb-symbolic",
            title: "No Device",
            text: format!(
                "This is {}, and it is ready. Plug in an Antminer S1 or S3: it appears here by \
                 itself.",
                bus.whose()
            ),
            commands: &[
                Command {
                    purpose: "Find out why a board does not appear",
                    line: "hasher doctor",
                },
                TRY,
            ],
        },
        Connection::NoDaemon => Advice {
            icon: "network-offline-symbolic",
            title: "hasherd Is Not Running",
            text: "Devices are served by the daemon hasherd, and none is on the bus. As soon as \
                   one starts, its devices appear here."
                .to_owned(),
            commands: &[
                Command {
                    purpose: "Start the system's daemon",
                    line: "sudo systemctl start hasherd",
                },
                TRY,
            ],
        },
        Connection::NotPermitted => Advice {
            icon: "system-lock-screen-symbolic",
            title: "Not Permitted",
            text: "hasherd runs, but shows its devices only to members of the group “hasher”. \
                   Join it, then log in again."
                .to_owned(),
            commands: &[
                Command {
                    purpose: "Join the group",
                    line: "sudo usermod -aG hasher $USER",
                },
                TRY,
            ],
        },
        Connection::Failed(why) => Advice {
            icon: "dialog-error-symbolic",
            title: "hasherd Does Not Answer",
            text: format!("It is on the bus, but: {why}."),
            commands: &[Command {
                purpose: "Read its log",
                line: "journalctl -u hasherd",
            }],
        },
    };
    Screen::Advice(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::properties;
    use crate::{Interfaces, ROOT};

    fn advice(connection: &Connection) -> Advice {
        match screen(connection, &Mirror::default()) {
            Screen::Advice(advice) => advice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_empty_screen_says_what_to_do() {
        for connection in [
            Connection::NoDaemon,
            Connection::NotPermitted,
            Connection::Failed("no reply within 10 s".to_owned()),
            Connection::Connected(Bus::Session),
            Connection::Connected(Bus::System),
        ] {
            let advice = advice(&connection);
            assert!(!advice.commands.is_empty(), "{connection:?}");
            assert!(advice.text.ends_with('.'), "{}", advice.text);
        }
        let refused = advice(&Connection::NotPermitted);
        assert!(refused.commands[0].line.contains("usermod -aG hasher"));
    }

    #[test]
    fn a_device_ends_every_advice() {
        let mut mirror = Mirror::default();
        mirror.add(
            format!("{ROOT}/devices/x"),
            Interfaces::from([("org.hasher.Hasher1.Device".to_owned(), properties())]),
        );
        let connected = Connection::Connected(Bus::Session);
        assert_eq!(screen(&connected, &mirror), Screen::Devices);
        // What is left of a daemon that has gone is not shown.
        assert!(matches!(
            screen(&Connection::NoDaemon, &mirror),
            Screen::Advice(_)
        ));
    }
}
