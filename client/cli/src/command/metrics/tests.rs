//! The text against a parser of its own, written from the format's description and
//! sharing nothing with the encoder.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// One family as a reader of format 0.0.4 sees it.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<(BTreeMap<String, String>, f64)>,
}

/// Reads format 0.0.4; panics where a strict reader would refuse.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line is ended");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("HELP has a text");
            current = name.to_owned();
            let family = Family {
                help: help.to_owned(),
                ..Family::default()
            };
            assert!(
                families.insert(current.clone(), family).is_none(),
                "family {name} is in two pieces"
            );
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("TYPE has a type");
            assert_eq!(name, current, "TYPE follows its HELP");
            assert!(["counter", "gauge"].contains(&kind), "{kind}");
            families.get_mut(name).expect("it has a HELP").kind = kind.to_owned();
        } else {
            assert!(
                !line.starts_with('#'),
                "a comment of another format: {line}"
            );
            let (name, labels, value) = sample(line);
            assert_eq!(name, current, "samples follow their TYPE");
            let family = families.get_mut(name).expect("it has a TYPE");
            family.samples.push((labels, value));
        }
    }
    families
}

/// Name, labels and value of a line.
fn sample(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let name_end = line
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .expect("a sample has a value");
    let (name, rest) = line.split_at(name_end);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest),
        None => (BTreeMap::new(), rest),
    };
    let value = value.strip_prefix(' ').expect("a space before the value");
    (name, labels, value.parse().expect("a number"))
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return (labels, rest);
        }
        let (name, rest) = text.split_once("=\"").expect("a label has a value");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("the value is closed") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("something is escaped").1 {
                    'n' => value.push('\n'),
                    escaped @ ('"' | '\\') => value.push(escaped),
                    other => panic!("unknown escape {other}"),
                },
                (_, plain) => value.push(plain),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "twice");
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
}

fn status() -> StatusReport {
    serde_json::from_str(include_str!("../../../tests/status/several.json")).unwrap()
}

#[test]
fn a_strict_reader_takes_every_line() {
    let text = render(Some(status()));
    let families = parse(&text);
    for (name, family) in &families {
        assert!(name.starts_with("hasher_"), "{name}");
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        assert!(!family.samples.is_empty(), "{name}");
        let distinct: BTreeSet<_> = family.samples.iter().map(|(labels, _)| labels).collect();
        assert_eq!(
            distinct.len(),
            family.samples.len(),
            "{name} has a series twice"
        );
    }
}

#[test]
fn values_are_those_of_the_status() {
    let status = status();
    let families = parse(&render(Some(status.clone())));
    let value = |name: &str, wanted: &[(&str, &str)]| {
        let samples = &families[name].samples;
        let is_it = |labels: &BTreeMap<String, String>| {
            wanted
                .iter()
                .all(|(key, value)| labels.get(*key).is_some_and(|is| is == value))
        };
        let found: Vec<f64> = samples
            .iter()
            .filter(|(labels, _)| is_it(labels))
            .map(|(_, value)| *value)
            .collect();
        assert_eq!(found.len(), 1, "{name} {wanted:?}");
        found[0]
    };
    assert_eq!(value("hasher_up", &[]), 1.0);
    assert_eq!(value("hasher_works_total", &[]), status.totals.works as f64);
    for device in &status.devices {
        let id = ("device", device.id.as_str());
        let works = value("hasher_device_works_total", &[id]);
        assert_eq!(works, device.counters.works as f64);
        let is_in = ("state", device.state.as_str());
        assert_eq!(value("hasher_device_state", &[id, is_in]), 1.0);
        let rate = value("hasher_device_hashes_per_second", &[id, ("window", "15m")]);
        assert_eq!(rate, device.hash_rate_hps.quarter_hour);
    }
    let states = &families["hasher_device_state"].samples;
    let set: f64 = states.iter().map(|(_, value)| value).sum();
    assert_eq!(set, status.devices.len() as f64, "one state each");
    let shares = &families["hasher_user_share_ratio"].samples;
    let shares: f64 = shares.iter().map(|(_, value)| value).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
}

#[test]
fn a_daemon_that_is_away_is_one_metric() {
    let families = parse(&render(None));
    assert_eq!(families.len(), 1);
    assert_eq!(families["hasher_up"].samples, [(BTreeMap::new(), 0.0)]);
}

#[test]
fn a_strange_name_is_escaped_and_read_back() {
    let mut status = status();
    status.devices.truncate(1);
    status.devices[0].model = "a \"b\" \\ c\nd".to_owned();
    let families = parse(&render(Some(status.clone())));
    let (labels, _) = &families["hasher_device_info"].samples[0];
    assert_eq!(labels["model"], status.devices[0].model);
}
