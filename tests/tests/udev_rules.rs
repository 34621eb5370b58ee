//! The udev rules and the modprobe file, read as udev and modprobe read them.

use std::collections::BTreeMap;
use std::path::Path;

/// Numbers of the family (docs/wire-protocol.md).
const VENDOR: u16 = 0x4254;
const APPLICATION: u16 = 0x4153;
const BOOT_LOADER: u16 = 0x424c;

/// One `KEY{attribute}OP"value"`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    key: String,
    operator: String,
    value: String,
}

impl Part {
    fn is_match(&self) -> bool {
        matches!(self.operator.as_str(), "==" | "!=")
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../udev-rules")
}

fn rules() -> Vec<Vec<Part>> {
    let file = folder().join("70-hasher.rules");
    let text = std::fs::read_to_string(file).expect("the rules file is there");
    parse(&text).expect("the rules can be read")
}

/// Splits a rules file into rules and their parts, by the grammar of udev(7).
fn parse(text: &str) -> Result<Vec<Vec<Part>>, String> {
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut parts = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (part, after) = parse_part(rest).ok_or(format!("line {number}: {rest}"))?;
            parts.push(part);
            rest = after.trim_start_matches([',', ' ', '\t']);
        }
        rules.push(parts);
    }
    Ok(rules)
}

fn parse_part(text: &str) -> Option<(Part, &str)> {
    let at = text.find(['=', '!', '+', '-', ':'])?;
    let key = text[..at].trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || "_{}/.".contains(c);
    let operator = ["==", "!=", "+=", "-=", ":=", "="]
        .into_iter()
        .find(|operator| text[at..].starts_with(operator))?;
    let value = text[at + operator.len()..].trim_start().strip_prefix('"')?;
    let (value, rest) = value.split_once('"')?;
    let part = Part {
        key: key.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    (!key.is_empty() && key.chars().all(is_key)).then_some((part, rest))
}

/// A device as udev sees it.
type Device = BTreeMap<&'static str, String>;

fn device(action: &str, vendor: u16, product: u16) -> Device {
    let mut device = BTreeMap::from([
        ("ACTION", action.to_owned()),
        ("SUBSYSTEM", "usb".to_owned()),
        ("ENV{DEVTYPE}", "usb_device".to_owned()),
        ("ATTR{idVendor}", format!("{vendor:04x}")),
        ("ATTR{idProduct}", format!("{product:04x}")),
        ("TEST", "power/control".to_owned()),
    ]);
    if action == "remove" {
        device.retain(|key, _| !key.starts_with("ATTR"));
    }
    device
}

/// Runs the rules on a device; returns what they set.
fn apply(rules: &[Vec<Part>], device: &Device) -> BTreeMap<String, String> {
    let mut set = BTreeMap::new();
    let mut at = 0;
    while at < rules.len() {
        let parts = &rules[at];
        at += 1;
        let holds = parts.iter().filter(|part| part.is_match()).all(|part| {
            let own = device.get(part.key.as_str()).map_or("", String::as_str);
            let is_equal = part.value.split('|').any(|value| value == own);
            is_equal == (part.operator == "==")
        });
        if !holds {
            continue;
        }
        for part in parts.iter().filter(|part| !part.is_match()) {
            match part.key.as_str() {
                "LABEL" => {}
                "GOTO" => {
                    let label = |rule: &Vec<Part>| {
                        rule.iter()
                            .any(|p| p.key == "LABEL" && p.value == part.value)
                    };
                    at = rules.iter().position(label).expect("the label exists");
                }
                key => {
                    set.insert(key.to_owned(), part.value.clone());
                }
            }
        }
    }
    set
}

#[test]
fn both_products_get_owner_mode_and_the_daemon_at_every_event() {
    let rules = rules();
    for product in [APPLICATION, BOOT_LOADER] {
        for action in ["add", "change", "bind"] {
            let set = apply(&rules, &device(action, VENDOR, product));
            assert_eq!(set["OWNER"], "hasherd");
            assert_eq!(set["GROUP"], "hasherd");
            assert_eq!(set["MODE"], "0660", "nobody but the daemon opens the board");
            assert_eq!(set["TAG"], "systemd");
            assert_eq!(set["ENV{SYSTEMD_WANTS}"], "hasherd.service");
        }
    }
}

#[test]
fn autosuspend_is_switched_off_once() {
    let rules = rules();
    for product in [APPLICATION, BOOT_LOADER] {
        let added = apply(&rules, &device("add", VENDOR, product));
        assert_eq!(added["ATTR{power/control}"], "on");
        let changed = apply(&rules, &device("change", VENDOR, product));
        assert!(!changed.contains_key("ATTR{power/control}"));
    }
}

#[test]
fn other_devices_and_removals_are_left_alone() {
    let rules = rules();
    for (action, vendor, product) in [
        ("add", VENDOR, 0x4154),
        ("add", 0x10c4, 0xea60),
        ("remove", VENDOR, APPLICATION),
    ] {
        assert!(apply(&rules, &device(action, vendor, product)).is_empty());
    }
    let mut interface = device("add", VENDOR, APPLICATION);
    interface.insert("ENV{DEVTYPE}", "usb_interface".to_owned());
    assert!(apply(&rules, &interface).is_empty());
}

#[test]
fn no_seated_user_gets_around_the_daemon() {
    for part in rules().iter().flatten() {
        assert_ne!(part.value, "uaccess");
        assert!(!part.value.starts_with("06") || part.value == "0660");
    }
}

#[test]
fn every_rule_uses_keys_that_udev_knows() {
    const KEYS: [&str; 14] = [
        "ACTION",
        "SUBSYSTEM",
        "ENV{DEVTYPE}",
        "ATTR{idVendor}",
        "ATTR{idProduct}",
        "GOTO",
        "LABEL",
        "OWNER",
        "GROUP",
        "MODE",
        "TAG",
        "ENV{SYSTEMD_WANTS}",
        "TEST",
        "ATTR{power/control}",
    ];
    for part in rules().iter().flatten() {
        assert!(KEYS.contains(&part.key.as_str()), "{part:?}");
        let is_list = matches!(part.key.as_str(), "TAG" | "ENV{SYSTEMD_WANTS}");
        assert_eq!(part.operator == "+=", is_list, "{part:?}");
    }
}

#[test]
fn a_broken_rule_is_noticed_by_this_test() {
    assert!(parse("ATTR{idVendor}==4254").is_err());
    assert!(parse("OWNER \"x\"").is_err());
    assert!(parse("MODE=\"0660").is_err());
}

#[test]
fn the_modprobe_file_only_blacklists() {
    let text = std::fs::read_to_string(folder().join("hasher-modprobe.conf")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let modules: Vec<_> = lines
        .map(|line| line.strip_prefix("blacklist ").expect("a blacklist line"))
        .collect();
    assert!(modules.contains(&"usb_bitmain"));
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(modules.iter().all(is_name), "{modules:?}");
}
