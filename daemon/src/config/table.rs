//! Every setting of `hasherd.toml`: the one definition.
//!
//! Checking, the documented default file, the manual page, `docs/configuration.md` and
//! the report of what is in effect are all made from [`sections`]. What a value *does*
//! is the part of [`build`](super::build).

use hasher_driver::host::{PAUSE_CELSIUS, RESUME_CELSIUS};

use super::kind::Kind;
use crate::core::{self, Quota};

/// Sections of boards; the daemon attaches no more devices.
const BOARDS_MAX: usize = core::DEVICES_MAX;
/// Sections of users: the report of all settings must fit into one frame.
const USERS_MAX: usize = 32;
/// Sections of groups; as for users.
const GROUPS_MAX: usize = 16;

/// Longest rest time, in seconds: a day, as the driver allows.
const REST_SECONDS_MAX: u64 = 24 * 3600;

/// Lowest limits of temperature, in °C: below, a board in a warm room would never work.
const PAUSE_CELSIUS_MIN: u64 = 40;
const RESUME_CELSIUS_MIN: u64 = 30;

/// Largest weight of a user: with the priorities' 8 to 1 beyond it, the least would wait
/// for minutes.
const WEIGHT_MAX: u64 = 100;

pub(super) const PRIORITIES: &[&str] = &["interactive", "batch", "background"];
const SHARED_MEMORY: &[&str] = &["own", "all", "none"];

/// A part of the file, under one heading.
#[derive(Debug)]
pub struct Section {
    place: Place,
    meaning: &'static str,
    settings: &'static [Setting],
}

/// Where a section stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first heading.
    Top,
    /// Under the heading `[name]`.
    Table(&'static str),
    /// Under headings `[name."INSTANCE"]`, as many as there are things to set.
    Each {
        name: &'static str,
        instance: &'static str,
        example: &'static str,
        most: usize,
    },
}

/// When a change of the file takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// At the next reload.
    Reload,
    /// At the next reload, for clients that connect from then on: what an open session
    /// was promised stays true.
    NewSessions,
    /// When the daemon starts the next time.
    Restart,
}

impl Effect {
    /// In words: `at reload`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "at reload",
            Self::NewSessions => "at reload, for new connections",
            Self::Restart => "at restart",
        }
    }
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    default: Default,
    effect: Effect,
    meaning: &'static str,
}

/// What holds when nothing is said.
#[derive(Debug, Clone, Copy)]
enum Default {
    Whole(u64),
    Flag(bool),
    Text(&'static str),
    List(&'static [&'static str]),
    /// It depends; in words, and a value as an example.
    Words(&'static str, &'static str),
}

impl Section {
    /// The heading as it stands in the file, with a word in capitals where a name
    /// stands; nothing for the settings before the first heading.
    pub fn heading(&self) -> Option<String> {
        match self.place {
            Place::Top => None,
            Place::Table(name) => Some(format!("[{name}]")),
            Place::Each { name, instance, .. } => Some(format!("[{name}.\"{instance}\"]")),
        }
    }

    /// What the section is about.
    pub const fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// Its settings, in the order of the manual.
    pub const fn settings(&self) -> &'static [Setting] {
        self.settings
    }

    /// Whether it may stand in the file several times, for several things.
    pub const fn is_repeated(&self) -> bool {
        matches!(self.place, Place::Each { .. })
    }

    /// The name of its table; empty for the settings before the first heading.
    pub(super) const fn name(&self) -> &'static str {
        match self.place {
            Place::Top => "",
            Place::Table(name) | Place::Each { name, .. } => name,
        }
    }

    /// A heading as somebody might write it.
    pub(super) fn example(&self) -> Option<String> {
        match self.place {
            Place::Each { name, example, .. } => Some(format!("[{name}.\"{example}\"]")),
            _ => self.heading(),
        }
    }

    /// How often it may stand in the file.
    pub(super) const fn most(&self) -> usize {
        match self.place {
            Place::Top | Place::Table(_) => 1,
            Place::Each { most, .. } => most,
        }
    }

    pub(super) fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

impl Setting {
    /// Its key under the section's heading.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What its value may be; written out, `a whole number from 1 to 64`.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The unit of its value; empty when it has none.
    pub const fn unit(&self) -> &'static str {
        self.unit
    }

    /// Its default as it would be written in the file; words when it depends.
    pub fn default(&self) -> String {
        self.default_value().map_or_else(
            || self.default_words().to_owned(),
            |value| value.to_string(),
        )
    }

    /// When a change takes effect.
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// What it does.
    pub const fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// Its default; nothing when it depends.
    pub(super) fn default_value(&self) -> Option<super::kind::Value> {
        use super::kind::{Item, Value};
        Some(match self.default {
            Default::Whole(number) => Value::Whole(number),
            Default::Flag(flag) => Value::Flag(flag),
            Default::Text(text) => Value::Text(text.to_owned()),
            Default::List(texts) => {
                let item = |text: &&str| Item {
                    text: (*text).to_owned(),
                    line: 0,
                };
                Value::List(texts.iter().map(item).collect())
            }
            Default::Words(..) => return None,
        })
    }

    /// A value as it would be written in the file: the default if it does not depend.
    pub fn example(&self) -> String {
        match (self.default_value(), self.default) {
            (None, Default::Words(_, example)) => example.to_owned(),
            (value, _) => value.map_or_else(String::new, |value| value.to_string()),
        }
    }

    const fn default_words(&self) -> &'static str {
        match self.default {
            Default::Words(words, _) => words,
            _ => "",
        }
    }
}

/// All settings, in the order of the manual.
pub const fn sections() -> &'static [Section] {
    SECTIONS
}

/// The section of this table.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name() == name)
}

const QUOTA: Quota = Quota::DEFAULT;

const SECTIONS: &[Section] = &[
    Section {
        place: Place::Top,
        meaning: "The daemon as a whole. These stand before the first heading.",
        settings: &[
            Setting {
                name: "devices",
                kind: Kind::List {
                    items_max: core::DEVICES_MAX,
                },
                unit: "",
                default: Default::List(&["usb"]),
                effect: Effect::Restart,
                meaning: "Devices to attach, each written as after --device: \"usb\" is every \
                          board on USB, \"usb:PORT\" the one at a port, \"sim:s3\" and \"sim:s1\" \
                          are simulated boards, \"cpu\" is this CPU.",
            },
            Setting {
                name: "log",
                kind: Kind::Text { bytes_max: 256 },
                unit: "",
                default: Default::Text("info"),
                effect: Effect::Reload,
                meaning: "What to log: error, warn, info, debug, trace, or a filter by module \
                          such as \"info,hasher_driver=debug\".",
            },
            Setting {
                name: "bus",
                kind: Kind::Choice(BUSES),
                unit: "",
                default: Default::Text("auto"),
                effect: Effect::Restart,
                meaning: "Message bus on which the daemon can be watched and controlled: \
                          \"system\", \"session\", or \"none\"; \"auto\" is the system's bus for \
                          root and user hasherd, and none for anybody else.",
            },
        ],
    },
    Section {
        place: Place::Table("socket"),
        meaning: "The socket's file, when the daemon makes it itself. One that systemd passes \
                  has what its socket unit says.",
        settings: &[
            Setting {
                name: "mode",
                kind: Kind::Choice(MODES),
                unit: "",
                default: Default::Text("auto"),
                effect: Effect::Restart,
                meaning: "Who may connect: \"0600\" the daemon's user alone, \"0660\" the group \
                          too, \"0666\" everybody on this computer; \"auto\" is \"0660\" for root \
                          and user hasherd, and \"0600\" for anybody else.",
            },
            Setting {
                name: "group",
                kind: Kind::Text { bytes_max: 64 },
                unit: "",
                default: Default::Text(""),
                effect: Effect::Restart,
                meaning: "Group of the file, by name or number; the daemon must be root or in \
                          it. Empty: the group that the folder gives it.",
            },
        ],
    },
    Section {
        place: Place::Table("limits"),
        meaning: "What clients may have. A section of a user says otherwise for that user.",
        settings: &[
            Setting {
                name: "sessions",
                kind: Kind::Whole {
                    least: 1,
                    most: core::SESSIONS_MAX as u64,
                },
                unit: "connections",
                default: Default::Whole(core::SESSIONS_DEFAULT as u64),
                effect: Effect::Reload,
                meaning: "Connections at once, of all users together. Above 64 each has fewer \
                          credits: its share of 16384. So many more can make the daemon hold \
                          more, up to 850 MiB with 1024.",
            },
            Setting {
                name: "sessions_per_user",
                kind: Kind::Whole {
                    least: 1,
                    most: core::SESSIONS_MAX as u64,
                },
                unit: "connections",
                default: Default::Whole(QUOTA.sessions as u64),
                effect: Effect::Reload,
                meaning: "Connections at once of one user. Connections that are open stay.",
            },
            Setting {
                name: "jobs_per_user",
                kind: JOBS,
                unit: "jobs",
                default: Default::Whole(QUOTA.jobs as u64),
                effect: Effect::Reload,
                meaning: "Search jobs of one user that wait or are worked on at once. Those \
                          beyond are answered \"busy\".",
            },
            Setting {
                name: "credits",
                kind: CREDITS,
                unit: "requests",
                default: Default::Whole(QUOTA.terms.credits as u64),
                effect: Effect::NewSessions,
                meaning: "Search jobs and digest requests that one connection may have \
                          unanswered; at most its share of 16384 among all sessions.",
            },
            Setting {
                name: "deadline_default_s",
                kind: DEADLINE,
                unit: "seconds",
                default: Default::Whole(QUOTA.terms.deadline_default.as_secs()),
                effect: Effect::NewSessions,
                meaning: "Deadline of a job that names none; at most deadline_max_s.",
            },
            Setting {
                name: "deadline_max_s",
                kind: DEADLINE,
                unit: "seconds",
                default: Default::Whole(QUOTA.terms.deadline_max.as_secs()),
                effect: Effect::NewSessions,
                meaning: "Longest deadline; longer ones are cut to it.",
            },
            Setting {
                name: "priority_max",
                kind: Kind::Choice(PRIORITIES),
                unit: "",
                default: Default::Text("interactive"),
                effect: Effect::Reload,
                meaning: "Highest priority of a job; what asks for more gets this one.",
            },
            Setting {
                name: "shared_memory",
                kind: Kind::Choice(SHARED_MEMORY),
                unit: "",
                default: Default::Text("own"),
                effect: Effect::NewSessions,
                meaning: "Whose programs may have digests computed through memory that they \
                          share with the daemon: \"own\" those of the daemon's own user, \
                          \"all\" everybody's, \"none\" nobody's.",
            },
        ],
    },
    Section {
        place: Place::Table("thermal"),
        meaning: "When heat stops a board, simulated ones included. The limits can only be \
                  made stricter.",
        settings: &[
            Setting {
                name: "pause_celsius",
                kind: Kind::Whole {
                    least: PAUSE_CELSIUS_MIN,
                    most: PAUSE_CELSIUS as u64,
                },
                unit: "°C",
                default: Default::Whole(PAUSE_CELSIUS as u64),
                effect: Effect::Restart,
                meaning: "A board whose hottest sensor shows so much gets no work.",
            },
            Setting {
                name: "resume_celsius",
                kind: Kind::Whole {
                    least: RESUME_CELSIUS_MIN,
                    most: RESUME_CELSIUS as u64,
                },
                unit: "°C",
                default: Default::Whole(RESUME_CELSIUS as u64),
                effect: Effect::Restart,
                meaning: "It gets work again when none shows more than this; at least 5 below \
                          pause_celsius.",
            },
        ],
    },
    Section {
        place: Place::Each {
            name: "usb",
            instance: "PORT",
            example: "pci-0000:00:14.0-usb-0:2",
            most: BOARDS_MAX,
        },
        meaning: "The board at one port, which is named by udev's ID_PATH and so is the same \
                  after a reboot; `hasher devices` shows it. The port is used if `devices` says \
                  \"usb\" or names it, and is awaited while nothing is plugged in.",
        settings: &[
            Setting {
                name: "s1_mhz",
                kind: Kind::Decimal,
                unit: "MHz",
                default: Default::Words("the stock clock, 350", "350"),
                effect: Effect::Restart,
                meaning: "Clock of the chips if the board is an S1: one of its clock table, at \
                          most 450.",
            },
            Setting {
                name: "s3_mhz",
                kind: Kind::Decimal,
                unit: "MHz",
                default: Default::Words("the stock clock, 218.75", "218.75"),
                effect: Effect::Restart,
                meaning: "Clock of the chips if the board is an S3: one of its clock table, at \
                          most 250 unless beyond_limit is true.",
            },
            Setting {
                name: "beyond_limit",
                kind: Kind::Flag,
                unit: "",
                default: Default::Flag(false),
                effect: Effect::Restart,
                meaning: "Whether s3_mhz may be above 250; heat and supply are then your concern.",
            },
            Setting {
                name: "rest_s",
                kind: Kind::Whole {
                    least: 0,
                    most: REST_SECONDS_MAX,
                },
                unit: "seconds",
                default: Default::Whole(60),
                effect: Effect::Restart,
                meaning: "An S3 without work for so long gets its slowest clock; 0 is never.",
            },
            Setting {
                name: "give_back",
                kind: Kind::Flag,
                unit: "",
                default: Default::Flag(true),
                effect: Effect::Restart,
                meaning: "Whether a kernel driver gets its board back when the daemon ends.",
            },
        ],
    },
    Section {
        place: Place::Each {
            name: "group",
            instance: "GROUP",
            example: "staff",
            most: GROUPS_MAX,
        },
        meaning: "Users of one group, by name or number. /etc/group and /etc/passwd say who is \
                  in it, and are read at start and reload. Who is in several such groups has \
                  the best of each.",
        settings: &[
            Setting {
                name: "priority_max",
                kind: Kind::Choice(PRIORITIES),
                unit: "",
                default: Default::Words("that of [limits]", "\"batch\""),
                effect: Effect::Reload,
                meaning: "Highest priority of their jobs.",
            },
            Setting {
                name: "weight",
                kind: WEIGHT,
                unit: "",
                default: Default::Whole(1),
                effect: Effect::Reload,
                meaning: "Share of each of these users in the devices, as a multiple of the share \
                          of a user about whom nothing is said.",
            },
        ],
    },
    Section {
        place: Place::Each {
            name: "user",
            instance: "USER",
            example: "alice",
            most: USERS_MAX,
        },
        meaning: "One user, by a name in /etc/passwd or by number; users who come from \
                  elsewhere (LDAP, SSSD) need the number. It counts before the sections of the \
                  user's groups.",
        settings: &[
            Setting {
                name: "sessions",
                kind: Kind::Whole {
                    least: 0,
                    most: core::SESSIONS_MAX as u64,
                },
                unit: "connections",
                default: Default::Words("sessions_per_user of [limits]", "16"),
                effect: Effect::Reload,
                meaning: "Connections at once; 0 lets the user have none.",
            },
            Setting {
                name: "jobs",
                kind: JOBS,
                unit: "jobs",
                default: Default::Words("jobs_per_user of [limits]", "4096"),
                effect: Effect::Reload,
                meaning: "Search jobs that wait or are worked on at once.",
            },
            Setting {
                name: "credits",
                kind: CREDITS,
                unit: "requests",
                default: Default::Words("that of [limits]", "256"),
                effect: Effect::NewSessions,
                meaning: "Unanswered requests of each connection.",
            },
            Setting {
                name: "priority_max",
                kind: Kind::Choice(PRIORITIES),
                unit: "",
                default: Default::Words("that of the groups", "\"batch\""),
                effect: Effect::Reload,
                meaning: "Highest priority of the user's jobs.",
            },
            Setting {
                name: "weight",
                kind: WEIGHT,
                unit: "",
                default: Default::Words("that of the groups", "1"),
                effect: Effect::Reload,
                meaning: "Share in the devices, as a multiple of the share of a user about whom \
                          nothing is said.",
            },
        ],
    },
];

const BUSES: &[&str] = &["auto", "system", "session", "none"];
const MODES: &[&str] = &["auto", "0600", "0660", "0666"];

const CREDITS: Kind = Kind::Whole {
    least: 1,
    most: QUOTA.terms.credits as u64,
};
const JOBS: Kind = Kind::Whole {
    least: 1,
    most: core::CREDITS_MAX as u64,
};
const DEADLINE: Kind = Kind::Whole {
    least: 1,
    most: QUOTA.terms.deadline_max.as_secs(),
};
const WEIGHT: Kind = Kind::Whole {
    least: 1,
    most: WEIGHT_MAX,
};
