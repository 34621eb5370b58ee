//! What the entries mean: typed settings, checked against each other.

use std::time::Duration;

use hasher_driver::host::HeatLimits;
use hasher_driver::{Clock, DeviceSpec, DriverError, Model, UsbSpec};

use super::LOG_VARIABLE;
use super::accounts::Accounts;
use super::entries::{Entries, Key, Origin};
use super::kind::{Item, Value, quoted};
use super::problem::Problem;
use crate::core::{DEVICES_MAX, Limits, Quota, SharedMemory, Terms};
use crate::dbus::MessageBus;
use hasher_wire::Priority;

/// Settings as the daemon's parts take them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Devices that are on no bus, and their places among all that are named.
    pub(super) devices: Vec<(usize, DeviceSpec)>,
    /// What is wanted on USB.
    pub(super) boards: Vec<UsbSpec>,
    pub(super) log: String,
    pub(super) bus: Option<MessageBus>,
    pub(super) socket_mode: Option<u32>,
    pub(super) socket_group: Option<u32>,
    pub(super) heat_limits: HeatLimits,
    pub(super) limits: Limits,
}

/// The settings that the entries give, or everything that is wrong with them.
pub(super) fn build(entries: &Entries, accounts: &Accounts) -> Result<Settings, Vec<Problem>> {
    let mut builder = Builder {
        entries,
        accounts,
        problems: Vec::new(),
    };
    let (devices, boards) = builder.devices();
    let settings = Settings {
        boards: builder.boards(boards),
        devices,
        log: builder.log(),
        bus: builder.bus(),
        socket_mode: builder.socket_mode(),
        socket_group: builder.socket_group(),
        heat_limits: builder.heat_limits(),
        limits: builder.limits(),
    };
    if builder.problems.is_empty() {
        Ok(settings)
    } else {
        Err(builder.problems)
    }
}

struct Builder<'a> {
    entries: &'a Entries,
    accounts: &'a Accounts,
    problems: Vec<Problem>,
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl Builder<'_> {
    fn problem(&mut self, key: &Key, why: impl std::fmt::Display) {
        let (line, text) = match self.entries.entry(key).map(|entry| entry.origin) {
            Some(Origin::Line(line)) => (line, format!("{key}: {why}")),
            Some(Origin::CommandLine) => (0, format!("--{}: {why}", option(key))),
            Some(Origin::Environment) => (0, format!("{LOG_VARIABLE}: {why}")),
            Some(Origin::Default) | None => (0, format!("{key}: {why}")),
        };
        self.problem_at(line, text);
    }

    fn problem_at(&mut self, line: usize, text: String) {
        self.problems.push(Problem { line, text });
    }

    fn whole(&self, key: &Key) -> Option<u64> {
        match self.entries.value(key) {
            Some(Value::Whole(number)) => Some(number),
            _ => None,
        }
    }

    fn text(&self, key: &Key) -> Option<String> {
        match self.entries.value(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn flag(&self, key: &Key) -> bool {
        self.entries.value(key) == Some(Value::Flag(true))
    }

    fn devices(&mut self) -> (Vec<(usize, DeviceSpec)>, Vec<UsbSpec>) {
        let key = Key::new("", "devices");
        let Some(Value::List(items)) = self.entries.value(&key) else {
            return Default::default();
        };
        // Those of a file were counted when it was read.
        if items.len() > DEVICES_MAX {
            let why = format!(
                "{} devices given, at most {DEVICES_MAX} are possible",
                items.len()
            );
            self.problem(&key, why);
        }
        let (mut devices, mut boards) = (Vec::new(), Vec::new());
        for (index, Item { text, line }) in items.into_iter().enumerate() {
            match text.parse() {
                Ok(DeviceSpec::Usb(board)) => boards.push(board),
                Ok(device) => devices.push((index, device)),
                Err(error) => self.problem_at(line, format!("{key}: {error}")),
            }
        }
        (devices, boards)
    }

    /// What is wanted on USB, with what the sections of ports say about it.
    fn boards(&mut self, mut boards: Vec<UsbSpec>) -> Vec<UsbSpec> {
        let sections: Vec<_> = self.entries.instances("usb").collect();
        for (port, line) in sections {
            let Some(spec) = self.board(port, line) else {
                continue;
            };
            let Ok(plain) = UsbSpec::at(port) else {
                continue; // was told
            };
            let own = boards.iter().position(|board| board.port() == plain.port());
            match own {
                Some(at) if boards[at] == plain => boards[at] = spec,
                Some(_) => self.problem_at(
                    line,
                    format!("the board at {port} is set in `devices`, too; say it in one place"),
                ),
                None if boards.iter().any(|board| covers(board, &plain)) => boards.push(spec),
                // The board is not wanted, so how it would be set does not matter.
                None => {}
            }
        }
        boards
    }

    fn board(&mut self, port: &str, line: usize) -> Option<UsbSpec> {
        let spec = UsbSpec::at(port);
        if let Err(error) = &spec {
            self.problem_at(line, error.to_string());
        }
        let key = |name| Key::of("usb", port, name);
        let beyond_limit = self.flag(&key("beyond_limit"));
        let s1 = self.clock(&key("s1_mhz"), Model::AntminerS1, false);
        let s3 = self.clock(&key("s3_mhz"), Model::AntminerS3, beyond_limit);
        let rest = self.whole(&key("rest_s")).filter(|seconds| *seconds > 0);
        let spec = spec
            .ok()?
            .with_rest_after(rest.map(Duration::from_secs))
            .with_give_back(self.flag(&key("give_back")));
        Some(
            [s1, s3]
                .into_iter()
                .flatten()
                .fold(spec, UsbSpec::with_clock),
        )
    }

    fn clock(&mut self, key: &Key, model: Model, beyond_limit: bool) -> Option<Clock> {
        let Some(Value::Decimal(mhz)) = self.entries.value(key) else {
            return None;
        };
        let clock = if beyond_limit {
            Clock::beyond_default_limit(model, mhz)
        } else {
            Clock::new(model, mhz)
        };
        let could_be = !beyond_limit && Clock::beyond_default_limit(model, mhz).is_ok();
        let why = match clock {
            Ok(clock) => return Some(clock),
            Err(DriverError::UnsafeSetting(why)) if could_be => {
                format!("{why}; beyond_limit = true is that wish")
            }
            Err(DriverError::UnsafeSetting(why)) => why,
            Err(error) => error.to_string(),
        };
        self.problem(key, why);
        None
    }

    fn log(&mut self) -> String {
        let key = Key::new("", "log");
        let filter = self.text(&key).unwrap_or_default();
        // Any word would pass as the name of a module that does not exist.
        let is_known = |part: &str| {
            let word = part.trim();
            word.contains('=') || word.starts_with("hasher") || LEVELS.contains(&word)
        };
        let unknown = filter.split(',').find(|part| !is_known(part));
        if let Some(part) = unknown {
            self.problem(
                &key,
                format!(
                    "{} is not one of {}",
                    quoted(part.trim()),
                    LEVELS.join(", ")
                ),
            );
        } else if crate::log::targets(&filter).is_none() {
            let example = "info,hasher_driver=debug";
            self.problem(
                &key,
                format!("{} is no filter such as {example}", quoted(&filter)),
            );
        }
        filter
    }

    fn bus(&self) -> Option<MessageBus> {
        self.text(&Key::new("", "bus"))?.parse().ok() // "auto" is none
    }

    fn socket_mode(&self) -> Option<u32> {
        let mode = self.text(&Key::new("socket", "mode"))?;
        u32::from_str_radix(&mode, 8).ok() // "auto" is none
    }

    fn socket_group(&mut self) -> Option<u32> {
        let key = Key::new("socket", "group");
        let name = self.text(&key).filter(|name| !name.is_empty())?;
        let group = self.accounts.group(&name);
        if group.is_none() {
            self.problem(&key, no_group(&name));
        }
        group
    }

    fn heat_limits(&mut self) -> HeatLimits {
        let (pause, resume) = ("pause_celsius", "resume_celsius");
        let keys = [pause, resume].map(|name| Key::new("thermal", name));
        let [pause, resume] = keys
            .each_ref()
            .map(|key| self.whole(key).unwrap_or_default() as u8);
        HeatLimits::new(pause, resume).unwrap_or_else(|error| {
            let why = match error {
                DriverError::UnsafeSetting(why) => why,
                other => other.to_string(),
            };
            self.problem(self.first_set(&keys), why);
            HeatLimits::default()
        })
    }

    /// The setting to blame when two do not go together: one that is in the file.
    fn first_set<'k>(&self, keys: &'k [Key; 2]) -> &'k Key {
        let [first, second] = keys;
        if self.entries.line(first) > 0 {
            first
        } else {
            second
        }
    }

    fn limits(&mut self) -> Limits {
        let sessions = self.whole(&Key::new("limits", "sessions"));
        let others = self.quota_of_others();
        let mut limits = Limits {
            sessions: sessions.unwrap_or_default() as usize,
            others,
            users: Default::default(),
            shared_memory: self.shared_memory(),
        };
        self.add_groups(&mut limits);
        self.add_users(&mut limits);
        limits
    }

    fn quota_of_others(&mut self) -> Quota {
        let whole = |name| self.whole(&Key::new("limits", name)).unwrap_or_default();
        let quota = Quota {
            sessions: whole("sessions_per_user") as usize,
            jobs: whole("jobs_per_user") as usize,
            weight: 1,
            priority_max: self
                .priority(&Key::new("limits", "priority_max"))
                .unwrap_or_default(),
            terms: Terms {
                credits: whole("credits") as u16,
                deadline_default: Duration::from_secs(whole("deadline_default_s")),
                deadline_max: Duration::from_secs(whole("deadline_max_s")),
            },
        };
        let keys = ["deadline_default_s", "deadline_max_s"].map(|name| Key::new("limits", name));
        let Terms {
            deadline_default,
            deadline_max,
            ..
        } = quota.terms;
        if deadline_default > deadline_max {
            let why = format!(
                "a default of {} is above the longest deadline of {}",
                deadline_default.as_secs(),
                deadline_max.as_secs()
            );
            self.problem(self.first_set(&keys), why);
        }
        quota
    }

    fn shared_memory(&self) -> SharedMemory {
        let rule = self.text(&Key::new("limits", "shared_memory"));
        match rule.as_deref() {
            Some("all") => SharedMemory::All,
            Some("none") => SharedMemory::None,
            _ => SharedMemory::Own,
        }
    }

    /// Who is in several groups has the best of each.
    fn add_groups(&mut self, limits: &mut Limits) {
        let mut priorities = std::collections::BTreeMap::new();
        let sections: Vec<_> = self.entries.instances("group").collect();
        for (name, line) in sections {
            let Some(group) = self.accounts.group(name) else {
                self.problem_at(line, no_group(name));
                continue;
            };
            let priority = self.priority(&Key::of("group", name, "priority_max"));
            let weight = self.whole(&Key::of("group", name, "weight")).unwrap_or(1) as u16;
            for user in self.accounts.members(group) {
                let quota = limits.users.entry(user).or_insert(limits.others);
                quota.weight = quota.weight.max(weight);
                if let Some(priority) = priority {
                    let best: &mut Priority = priorities.entry(user).or_insert(priority);
                    *best = priority.min(*best);
                }
            }
        }
        for (user, priority) in priorities {
            limits
                .users
                .entry(user)
                .or_insert(limits.others)
                .priority_max = priority;
        }
    }

    fn add_users(&mut self, limits: &mut Limits) {
        let mut known: Vec<(u32, &str)> = Vec::new();
        let sections: Vec<_> = self.entries.instances("user").collect();
        for (name, line) in sections {
            let Some(user) = self.accounts.user(name) else {
                let text = format!(
                    "there is no user {} in /etc/passwd; name one from elsewhere by number",
                    quoted(name)
                );
                self.problem_at(line, text);
                continue;
            };
            if let Some((_, other)) = known.iter().find(|(other, _)| *other == user) {
                let text = format!("{} and {} are the same user", quoted(other), quoted(name));
                self.problem_at(line, text);
            }
            known.push((user, name));
            let key = |setting| Key::of("user", name, setting);
            let mut quota = *limits.quota(Some(user));
            let set = |name| self.whole(&key(name));
            quota.sessions = set("sessions").map_or(quota.sessions, |n| n as usize);
            quota.jobs = set("jobs").map_or(quota.jobs, |n| n as usize);
            quota.weight = set("weight").map_or(quota.weight, |n| n as u16);
            quota.terms.credits = set("credits").map_or(quota.terms.credits, |n| n as u16);
            quota.priority_max = self
                .priority(&key("priority_max"))
                .unwrap_or(quota.priority_max);
            limits.users.insert(user, quota);
        }
    }

    fn priority(&self, key: &Key) -> Option<Priority> {
        match self.text(key)?.as_str() {
            "interactive" => Some(Priority::Interactive),
            "batch" => Some(Priority::Batch),
            "background" => Some(Priority::Background),
            _ => None,
        }
    }
}

/// The option of the command line for a setting.
fn option(key: &Key) -> &str {
    match key.name {
        "devices" => "device",
        name => name,
    }
}

fn covers(board: &UsbSpec, plain: &UsbSpec) -> bool {
    plain.port().is_some_and(|port| board.covers(port))
}

fn no_group(name: &str) -> String {
    format!(
        "there is no group {} in /etc/group; a number is possible, too",
        quoted(name)
    )
}
