//! From the text of a file to entries of the table: known keys with values of the right
//! kind. What the values mean together is the part of [`build`](super::build).

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kind::{Item, Value, clip, found, quoted};
use super::line::Lines;
use super::problem::Problem;
use super::table::{Effect, Section, Setting, section, sections};

/// Most bytes of the name of an instance, such as a port or a user.
const INSTANCE_BYTES_MAX: usize = 128;

/// A setting in the file: section, instance if the section is repeated, and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) instance: Option<String>,
    pub(super) name: &'static str,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody said anything.
    Default,
    /// This line of the file.
    Line(usize),
    CommandLine,
    /// A variable of the environment.
    Environment,
}

/// A value that somebody set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The file says otherwise by now, but that needs a restart.
    pub(super) is_overdue: bool,
}

/// Everything that is set, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Entries {
    entries: BTreeMap<Key, Entry>,
    /// The lines of the headings of repeated sections, by table and instance.
    headings: BTreeMap<(&'static str, String), usize>,
}

impl Key {
    pub(super) const fn new(section: &'static str, name: &'static str) -> Self {
        Self {
            section,
            instance: None,
            name,
        }
    }

    pub(super) fn of(section: &'static str, instance: &str, name: &'static str) -> Self {
        Self {
            section,
            instance: Some(instance.to_owned()),
            name,
        }
    }

    /// The setting; every key was made from one.
    pub(super) fn setting(&self) -> &'static Setting {
        section(self.section)
            .and_then(|section| section.setting(self.name))
            .expect("a key names a setting of the table")
    }
}

impl std::fmt::Display for Key {
    /// `limits.sessions`, `usb."pci-0000:00:14.0-usb-0:2".rest_s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.section, &self.instance) {
            ("", _) => f.write_str(self.name),
            (section, None) => write!(f, "{section}.{}", self.name),
            (section, Some(instance)) => {
                write!(f, "{section}.{}.{}", quoted(instance), self.name)
            }
        }
    }
}

impl Entries {
    /// The entries of a file's text, and everything that is wrong with it.
    pub(super) fn read(text: &str) -> (Self, Vec<Problem>) {
        let lines = Lines::new(text);
        let mut reading = Reading {
            lines: &lines,
            entries: Self::default(),
            problems: Vec::new(),
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        // What follows a wrong heading or a wrong value would only seem wrong, too.
        if errors.is_empty() {
            reading.root(root.get_ref());
        }
        for error in errors {
            let line = error.span().map_or(1, |span| lines.of(span));
            let text = format!("this is no TOML: {}", error.message());
            reading.problems.push(Problem { line, text });
        }
        (reading.entries, reading.problems)
    }

    /// Sets a value that does not come from the file.
    pub(super) fn put(&mut self, key: Key, value: Value, origin: Origin) {
        let entry = Entry {
            value,
            origin,
            is_overdue: false,
        };
        self.entries.insert(key, entry);
    }

    pub(super) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The line of a setting in the file; 0 when it is not there.
    pub(super) fn line(&self, key: &Key) -> usize {
        match self.entries.get(key).map(|entry| entry.origin) {
            Some(Origin::Line(line)) => line,
            _ => 0,
        }
    }

    /// The instances of a repeated section, and the lines of their headings.
    pub(super) fn instances(&self, section: &'static str) -> impl Iterator<Item = (&str, usize)> {
        self.headings
            .iter()
            .filter(move |((table, _), _)| *table == section)
            .map(|((_, instance), line)| (instance.as_str(), *line))
    }

    /// All entries, in the order of the manual; instances by name.
    pub(super) fn in_order(&self) -> Vec<(&Key, &Entry)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_cached_key(|(key, _)| place_of(key));
        entries
    }

    /// The settings whose values differ in `newer`, in the order of the manual.
    pub(super) fn changed(&self, newer: &Self) -> Vec<Key> {
        let keys: BTreeSet<&Key> = self.entries.keys().chain(newer.entries.keys()).collect();
        let mut changed: Vec<Key> = keys
            .into_iter()
            .filter(|key| self.value(key) != newer.value(key))
            .cloned()
            .collect();
        changed.sort_by_cached_key(place_of);
        changed
    }

    /// These entries, but with the old ones of those settings that need a restart.
    pub(super) fn with_kept(mut self, old: &Self, changed: &[Key]) -> Self {
        let needs_restart = |key: &&Key| key.setting().effect() == Effect::Restart;
        for key in changed.iter().filter(needs_restart) {
            let kept = match old.entries.get(key) {
                Some(entry) => Some(entry.clone()),
                // The default still holds, though the file says otherwise.
                None if key.instance.is_none() => {
                    key.setting().default_value().map(|value| Entry {
                        value,
                        origin: Origin::Default,
                        is_overdue: true,
                    })
                }
                None => None,
            };
            match kept {
                Some(entry) => {
                    let is_overdue = true;
                    let entry = Entry {
                        is_overdue,
                        ..entry
                    };
                    self.entries.insert(key.clone(), entry);
                }
                None => drop(self.entries.remove(key)),
            }
        }
        self
    }

    /// The value that holds; nothing when it depends on others.
    pub(super) fn value(&self, key: &Key) -> Option<Value> {
        match self.entries.get(key) {
            Some(entry) => Some(entry.value.clone()),
            None => key.setting().default_value(),
        }
    }
}

/// Where a setting stands in the manual: its section, then all of one instance together.
fn place_of(key: &Key) -> (usize, Option<String>, usize) {
    let at = sections().iter().position(|s| s.name() == key.section);
    let at = at.expect("a key names a section of the table");
    let settings = sections()[at].settings();
    let of_setting = settings.iter().position(|s| s.name() == key.name);
    (at, key.instance.clone(), of_setting.unwrap_or_default())
}

struct Reading<'a> {
    lines: &'a Lines,
    entries: Entries,
    problems: Vec<Problem>,
}

type Span = std::ops::Range<usize>;

impl Reading<'_> {
    fn problem(&mut self, span: Span, text: String) {
        let line = self.lines.of(span);
        self.problems.push(Problem { line, text });
    }

    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            let top = section("").expect("there are settings before the first heading");
            let own = section(name.get_ref()).filter(|section| section.heading().is_some());
            match (own, value.get_ref()) {
                (Some(section), DeValue::Table(table)) if section.is_repeated() => {
                    self.instances(section, table);
                }
                (Some(section), DeValue::Table(table)) => self.section(section, None, table),
                (Some(section), other) => {
                    let example = section.example().unwrap_or_default();
                    let text = format!(
                        "{} is a section, written as {example}, and not {}",
                        section.name(),
                        found(other)
                    );
                    self.problem(name.span(), text);
                }
                (None, DeValue::Table(_)) if top.setting(name.get_ref()).is_none() => {
                    self.unknown_section(name.span(), name.get_ref());
                }
                (None, _) => self.setting(top, None, name.span(), name.get_ref(), value),
            }
        }
    }

    fn instances(&mut self, section: &'static Section, table: &DeTable<'_>) {
        let example = section.example().unwrap_or_default();
        for (count, (instance, value)) in table.iter().enumerate() {
            let name = instance.get_ref();
            let DeValue::Table(settings) = value.get_ref() else {
                let text = if section.setting(name).is_some() {
                    format!("{name} needs a heading that says whose it is, such as {example}")
                } else {
                    format!(
                        "unknown key {} in [{}]; its headings are written as {example}",
                        quoted(&clip(name)),
                        section.name()
                    )
                };
                self.problem(instance.span(), text);
                continue;
            };
            if name.is_empty() || name.len() > INSTANCE_BYTES_MAX {
                let text = format!(
                    "{} names nothing in 1 to {INSTANCE_BYTES_MAX} bytes",
                    quoted(&clip(name))
                );
                self.problem(instance.span(), text);
                continue;
            }
            if count >= section.most() {
                let text = format!(
                    "there may be {} sections [{}.…] at most",
                    section.most(),
                    section.name()
                );
                return self.problem(instance.span(), text);
            }
            let line = self.lines.of(instance.span());
            let heading = (section.name(), name.to_string());
            self.entries.headings.insert(heading, line);
            self.section(section, Some(name), settings);
        }
    }

    fn section(&mut self, section: &'static Section, instance: Option<&str>, table: &DeTable<'_>) {
        for (name, value) in table {
            self.setting(section, instance, name.span(), name.get_ref(), value);
        }
    }

    fn setting(
        &mut self,
        section: &'static Section,
        instance: Option<&str>,
        span: Span,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) {
        let Some(setting) = section.setting(name) else {
            let text = unknown_key(section, name);
            return self.problem(span, text);
        };
        let key = Key {
            section: section.name(),
            instance: instance.map(str::to_owned),
            name: setting.name(),
        };
        match setting.kind().read(value.get_ref(), self.lines) {
            Some(value) => {
                let origin = Origin::Line(self.lines.of(span));
                self.entries.put(key, value, origin);
            }
            None => {
                let text = format!(
                    "{key}: expected {}, found {}",
                    setting.kind(),
                    found(value.get_ref())
                );
                self.problem(value.span(), text);
            }
        }
    }

    fn unknown_section(&mut self, span: Span, name: &str) {
        let headings = sections().iter().filter(|s| s.heading().is_some());
        let names = headings.map(Section::name);
        let name_shown = clip(name);
        let text = match alike(name, names.clone()).and_then(section) {
            Some(meant) => format!(
                "unknown section [{name_shown}]; did you mean {}?",
                meant.example().unwrap_or_default()
            ),
            None => format!(
                "unknown section [{name_shown}]; there are {}",
                names.collect::<Vec<_>>().join(", ")
            ),
        };
        self.problem(span, text);
    }
}

fn unknown_key(section: &Section, name: &str) -> String {
    let shown = quoted(&clip(name));
    let place = match section.name() {
        "" => String::new(),
        table => format!(" in [{table}]"),
    };
    let names = section.settings().iter().map(Setting::name);
    if let Some(meant) = alike(name, names.clone()) {
        return format!(
            "unknown key {shown}{place}; did you mean {}?",
            quoted(meant)
        );
    }
    let elsewhere = sections()
        .iter()
        .find(|other| other.setting(name).is_some());
    match elsewhere {
        Some(other) => format!(
            "unknown key {shown}{place}; it stands {}",
            other.example().map_or_else(
                || "before the first heading".to_owned(),
                |heading| format!("under {heading}")
            )
        ),
        None => format!(
            "unknown key {shown}{place}; there are {}",
            names.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The word that was probably meant: a third of its letters may be wrong.
fn alike(word: &str, words: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // The distance takes the product of both lengths in time.
    let word = clip(word);
    words
        .map(|known| (strsim::damerau_levenshtein(&word, known), known))
        .filter(|(wrong, known)| *wrong <= known.len().max(3) / 3)
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, known)| known)
}

impl Value {
    /// A list that does not come from the file.
    pub(super) fn list(texts: impl IntoIterator<Item = String>) -> Self {
        let items = texts.into_iter().map(|text| Item { text, line: 0 });
        Self::List(items.collect())
    }
}
