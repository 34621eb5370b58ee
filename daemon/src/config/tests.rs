//! Files as administrators write them, rightly and wrongly.

use std::collections::BTreeMap;
use std::time::Duration;

use hasher_driver::{Clock, Model};
use hasher_wire::{Document, Priority, RequestId};
use proptest::prelude::*;

use super::*;
use crate::core::{Quota, SharedMemory};

const FILE: &str = "/etc/hasher/hasherd.toml";

fn accounts() -> Accounts {
    Accounts::parse(
        "alice:x:1000:1000\nbob:x:1001:100\ncarol:x:1002:1002\n",
        "ops:x:27:alice,carol\nusers:x:100:alice\n",
    )
}

fn check(text: &str) -> Result<Config, ConfigError> {
    ConfigSource::default().check(Some(Path::new(FILE)), text, &accounts())
}

fn config(text: &str) -> Config {
    check(text).unwrap_or_else(|error| panic!("{text}: {:#?}", error.lines()))
}

/// The messages about a text, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let error = check(text).expect_err(text);
    let lines = error.lines().into_iter();
    lines
        .map(|line| {
            line.strip_prefix(&format!("{FILE}:"))
                .unwrap_or(&line)
                .to_owned()
        })
        .collect()
}

fn values(config: &Config) -> BTreeMap<String, String> {
    let settings = config.report().settings.into_iter();
    settings
        .map(|setting| (setting.key, setting.value))
        .collect()
}

#[test]
fn without_a_file_every_setting_has_its_default() {
    let config = config("");
    assert_eq!(config.devices().count(), 0);
    assert_eq!(config.boards(), [UsbSpec::default()]);
    assert_eq!(*config.limits(), Limits::default());
    assert_eq!(config.heat_limits(), HeatLimits::default());
    assert_eq!((config.log(), config.bus()), ("info", None));
    assert_eq!((config.socket_mode(), config.socket_group()), (None, None));
}

#[test]
fn the_default_file_holds_and_changes_nothing() {
    let file = default_file();
    assert_eq!(config(&file).settings, config("").settings);
    assert!(file.lines().all(|line| line.chars().count() <= 120));
    // Nor does it when everything that may stand alone is written out.
    let mut written = String::new();
    let mut is_repeated = false;
    for line in file.lines() {
        is_repeated |= line.starts_with("# [");
        let setting = line.strip_prefix("# ").filter(|line| line.contains(" = "));
        match setting {
            Some(setting) if !is_repeated => written.push_str(setting),
            _ => written.push_str(line),
        }
        written.push('\n');
    }
    assert!(written.contains("\nsessions_per_user = 16\n"), "{written}");
    assert_eq!(config(&written).settings, config("").settings);
}

#[test]
fn the_examples_of_the_default_file_hold() {
    // What is set for ports, groups and users, with names that exist here.
    let file = default_file().replace("staff", "ops");
    let lines = file.lines().skip_while(|line| !line.starts_with("# ["));
    let lines = lines.map(|line| match line.strip_prefix("# ") {
        Some(line) if line.ends_with("\"]") || line.contains(" = ") => line,
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let set = values(&config(&text)).len() - values(&config("")).len();
    let repeated = sections().iter().filter(|section| section.is_repeated());
    let expected: usize = repeated.map(|section| section.settings().len()).sum();
    assert_eq!(set, expected, "{text}");
}

#[test]
fn every_setting_is_obeyed() {
    let config = config(
        r#"
        devices = ["sim:s3", "usb", "cpu,threads=1"]
        log = "warn,hasher_driver=debug"
        bus = "session"
        [socket]
        mode = "0666"
        group = "ops"
        [limits]
        sessions = 40
        sessions_per_user = 9
        jobs_per_user = 77
        credits = 12
        deadline_default_s = 5
        deadline_max_s = 50
        priority_max = "batch"
        shared_memory = "all"
        [thermal]
        pause_celsius = 60
        resume_celsius = 40
        [usb."pci-0000:00:14.0-usb-0:2.3"]
        s1_mhz = 200
        s3_mhz = 300.0
        beyond_limit = true
        rest_s = 0
        give_back = false
        "#,
    );
    let devices: Vec<_> = config
        .devices()
        .map(|(at, device)| (at, device.to_string()))
        .collect();
    assert_eq!(
        devices,
        [
            (0, "sim:s3,zero-bits=14".to_owned()),
            (2, "cpu,threads=1".to_owned())
        ]
    );
    let clock = Clock::beyond_default_limit(Model::AntminerS3, 300.0).unwrap();
    let port = UsbSpec::at("pci-0000:00:14.0-usb-0:2.3").unwrap();
    let port = port.with_clock(Clock::new(Model::AntminerS1, 200.0).unwrap());
    let port = port
        .with_clock(clock)
        .with_rest_after(None)
        .with_give_back(false);
    assert_eq!(config.boards(), [UsbSpec::default(), port]);
    assert_eq!(config.log(), "warn,hasher_driver=debug");
    assert_eq!(config.bus(), Some(MessageBus::Session));
    assert_eq!(
        (config.socket_mode(), config.socket_group()),
        (Some(0o666), Some(27))
    );
    assert_eq!(config.heat_limits(), HeatLimits::new(60, 40).unwrap());
    let limits = config.limits();
    assert_eq!(limits.sessions, 40);
    let quota = limits.others;
    assert_eq!((quota.sessions, quota.jobs, quota.weight), (9, 77, 1));
    assert_eq!(quota.priority_max, Priority::Batch);
    assert_eq!(quota.terms.credits, 12);
    assert_eq!(quota.terms.deadline_default, Duration::from_secs(5));
    assert_eq!(quota.terms.deadline_max, Duration::from_secs(50));
    assert!(limits.users.is_empty());
    assert_eq!(limits.shared_memory, SharedMemory::All);
}

#[test]
fn what_counts_for_a_user_is_the_own_section_then_the_best_of_the_groups() {
    let config = config(
        r#"
        [limits]
        priority_max = "background"
        [group.ops]
        priority_max = "batch"
        weight = 4
        [group.100]
        priority_max = "interactive"
        weight = 2
        [user.carol]
        weight = 1
        sessions = 0
        [user.4711]
        credits = 3
        jobs = 5
        priority_max = "batch"
        "#,
    );
    let of = |user| *config.limits().quota(Some(user));
    let others = Quota {
        priority_max: Priority::Background,
        ..Quota::DEFAULT
    };
    assert_eq!(of(1), others);
    let alice = of(1000);
    assert_eq!(
        (alice.weight, alice.priority_max),
        (4, Priority::Interactive)
    );
    let bob = of(1001);
    assert_eq!((bob.weight, bob.priority_max), (2, Priority::Interactive));
    let carol = of(1002);
    assert_eq!(
        (carol.weight, carol.priority_max, carol.sessions),
        (1, Priority::Batch, 0)
    );
    let stranger = of(4711);
    assert_eq!(
        (stranger.terms.credits, stranger.jobs, stranger.weight),
        (3, 5, 1)
    );
    assert_eq!(config.limits().quota(None), &others);
}

#[test]
fn a_port_is_only_set_if_it_is_wanted() {
    let set = "[usb.\"usb-0:2\"]\ns3_mhz = 200\n";
    assert_eq!(config(&format!("devices = [\"cpu\"]\n{set}")).boards(), []);
    let spec: DeviceSpec = "usb:usb-0:2,s3-mhz=200".parse().unwrap();
    for devices in ["usb:usb-0:2", "usb"] {
        let config = config(&format!("devices = [\"{devices}\"]\n{set}"));
        let last = config.boards().last().unwrap().clone();
        assert_eq!(DeviceSpec::Usb(last), spec);
    }
    assert_eq!(
        problems(&format!("devices = [\"usb:usb-0:2,rest=5\"]\n{set}")),
        ["2: the board at usb-0:2 is set in `devices`, too; say it in one place"]
    );
}

#[test]
fn every_problem_is_told_with_its_line_and_what_was_meant() {
    for (text, expected) in [
        (
            "lgo = \"info\"",
            "1: unknown key \"lgo\"; did you mean \"log\"?",
        ),
        (
            "\n[limits]\nsesions = 5",
            "3: unknown key \"sesions\" in [limits]; did you mean \"sessions\"?",
        ),
        (
            "sessions = 5",
            "1: unknown key \"sessions\"; it stands under [limits]",
        ),
        (
            "[limits]\nlog = \"info\"",
            "2: unknown key \"log\" in [limits]; it stands before the first heading",
        ),
        (
            "[thermal]\nxyz = 1",
            "2: unknown key \"xyz\" in [thermal]; there are pause_celsius, resume_celsius",
        ),
        (
            "[limit]\n",
            "1: unknown section [limit]; did you mean [limits]?",
        ),
        (
            "[zzz]\n",
            "1: unknown section [zzz]; there are socket, limits, thermal, usb, group, user",
        ),
        (
            "limits = 5",
            "1: limits is a section, written as [limits], and not 5",
        ),
        (
            "[usb]\nrest_s = 5",
            "2: rest_s needs a heading that says whose it is, such as [usb.\"pci-0000:00:14.0-usb-0:2\"]",
        ),
        (
            "[usb]\nspeed = 5",
            "2: unknown key \"speed\" in [usb]; its headings are written as \
             [usb.\"pci-0000:00:14.0-usb-0:2\"]",
        ),
        (
            "[limits]\ncredits = 300",
            "2: limits.credits: expected a whole number from 1 to 256, found 300",
        ),
        (
            "[limits]\ncredits = -1",
            "2: limits.credits: expected a whole number from 1 to 256, found -1",
        ),
        (
            "[limits]\ncredits = 1.5",
            "2: limits.credits: expected a whole number from 1 to 256, found 1.5",
        ),
        (
            "[limits]\ncredits = \"many\"",
            "2: limits.credits: expected a whole number from 1 to 256, found \"many\"",
        ),
        (
            "[limits]\ncredits = 99999999999999999999",
            "2: limits.credits: expected a whole number from 1 to 256, found 99999999999999999999",
        ),
        (
            "devices = \"usb\"",
            "1: devices: expected a list of at most 16 texts, found \"usb\"",
        ),
        (
            "devices = [\"usb\", 5]",
            "1: devices: expected a list of at most 16 texts, found a list with 5",
        ),
        (
            "devices = [\"usb\",\n\"sim:s4\"]",
            "2: devices: device \"sim:s4\": no such device; there are usb, sim:s1, sim:s3 and cpu",
        ),
        (
            "log = \"inof\"",
            "1: log: \"inof\" is not one of error, warn, info, debug, trace, off",
        ),
        (
            "log = \"a=b=c\"",
            "1: log: \"a=b=c\" is no filter such as info,hasher_driver=debug",
        ),
        (
            "[socket]\nmode = \"0777\"",
            "2: socket.mode: expected one of \"auto\", \"0600\", \"0660\", \"0666\", found \"0777\"",
        ),
        (
            "[socket]\ngroup = \"nobody\"",
            "2: socket.group: there is no group \"nobody\" in /etc/group; a number is possible, too",
        ),
        (
            "[thermal]\npause_celsius = 80",
            "2: thermal.pause_celsius: expected a whole number from 40 to 75, found 80",
        ),
        (
            "[thermal]\npause_celsius = 50",
            "2: thermal.pause_celsius: a board that stops at 50 °C must cool by 5 °C at least, not to 50 °C",
        ),
        (
            "[limits]\ndeadline_max_s = 5",
            "2: limits.deadline_max_s: a default of 600 is above the longest deadline of 5",
        ),
        (
            "[usb.\"usb-0:2\"]\ns3_mhz = 300",
            "2: usb.\"usb-0:2\".s3_mhz: 300 MHz is above the 250 MHz that an Antminer S3 may run \
             without an explicit wish; beyond_limit = true is that wish",
        ),
        (
            "[usb.\"usb-0:2\"]\ns1_mhz = 201",
            "2: usb.\"usb-0:2\".s1_mhz: 201 MHz is not in the clock table of an Antminer S1",
        ),
        (
            "[usb.\"a b\"]",
            "1: \"a b\" is no port; `hasher doctor` and udev's ID_PATH name them, such as pci-0000:00:14.0-usb-0:2",
        ),
        (
            "[user.dave]",
            "1: there is no user \"dave\" in /etc/passwd; name one from elsewhere by number",
        ),
        (
            "[user.alice]\n[user.1000]",
            "1: \"1000\" and \"alice\" are the same user",
        ),
        (
            "[group.wheel]",
            "1: there is no group \"wheel\" in /etc/group; a number is possible, too",
        ),
        ("[user.\"\"]", "1: \"\" names nothing in 1 to 128 bytes"),
        (
            "[limits\nsessions = 5",
            "1: this is no TOML: unclosed table, expected `]`",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn all_problems_of_a_file_are_told_in_the_order_of_its_lines() {
    let text = "logg = 1\n[limits]\ncredits = 0\n[user.dave]\nx = 1\n[thermal]\npause_celsius = 44";
    let lines: Vec<_> = problems(text)
        .iter()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["1", "3", "4", "5", "7"]);
    let error = check(text).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{FILE}:1: unknown key \"logg\"; did you mean \"log\"? (and 4 more)")
    );
    assert!(!error.is_usage());
    let many: String = (0..100).map(|n| format!("x{n} = 1\n")).collect();
    let told = check(&many).unwrap_err().lines();
    assert_eq!(
        (told.len(), told[20].as_str()),
        (21, "/etc/hasher/hasherd.toml: and 80 more problems")
    );
}

#[test]
fn the_command_line_counts_before_the_file() {
    let source = ConfigSource {
        devices: vec!["cpu".parse().unwrap()],
        bus: Some(MessageBus::None),
        log: Some("debug".to_owned()),
        ..ConfigSource::default()
    };
    let text = "devices = [\"sim:s3\"]\nlog = \"warn\"\nbus = \"system\"\n";
    let both = source
        .check(Some(Path::new(FILE)), text, &accounts())
        .unwrap();
    assert_eq!(both.devices().count(), 1);
    assert_eq!((both.boards(), both.log()), ([].as_slice(), "debug"));
    let report = both.report();
    let origins: Vec<_> = report
        .settings
        .iter()
        .take(3)
        .map(|s| s.origin.as_str())
        .collect();
    assert_eq!(origins, ["command line"; 3]);
    assert_eq!(both.bus(), Some(MessageBus::None));
    let wrong = ConfigSource {
        log: Some("loud".to_owned()),
        log_is_from_environment: true,
        ..source
    };
    let error = wrong.check(None, "", &accounts()).unwrap_err();
    assert!(error.is_usage());
    let expected = "HASHER_LOG: \"loud\" is not one of error, warn, info, debug, trace, off";
    assert_eq!(error.lines(), [expected]);
}

#[test]
fn the_report_names_every_setting_and_where_it_comes_from() {
    let config = config("\n[limits]\ncredits = 5\n[user.alice]\nweight = 3\n");
    let report = config.report();
    assert_eq!(report.file, FILE);
    let line = |key: &str| {
        let setting = report.settings.iter().find(|setting| setting.key == key);
        let setting = setting.unwrap_or_else(|| panic!("no {key}"));
        (setting.value.clone(), setting.origin.clone())
    };
    assert_eq!(
        line("devices"),
        ("[\"usb\"]".to_owned(), "default".to_owned())
    );
    assert_eq!(
        line("limits.credits"),
        ("5".to_owned(), format!("{FILE}:3"))
    );
    assert_eq!(
        line("user.\"alice\".weight"),
        ("3".to_owned(), format!("{FILE}:5"))
    );
    let always = sections().iter().filter(|section| !section.is_repeated());
    let always: usize = always.map(|section| section.settings().len()).sum();
    assert_eq!(report.settings.len(), always + 1);
}

#[test]
fn the_longest_report_fits_into_a_frame() {
    let mut text = String::from("devices = [");
    for _ in 0..16 {
        text.push_str(&format!(
            "\"sim:s3,book={}\",",
            "\u{1}".repeat(0) + &"x".repeat(4000)
        ));
    }
    text.push_str("]\n");
    for section in sections().iter().filter(|section| section.is_repeated()) {
        for number in 0..section.most() {
            let name = match section.name() {
                "usb" => format!("{}{number}", "p".repeat(60)),
                _ => (4_000_000_000 + number as u64).to_string(),
            };
            text.push_str(&format!("[{}.\"{name}\"]\n", section.name()));
            for setting in section.settings() {
                text.push_str(&format!("{} = {}\n", setting.name(), setting.example()));
            }
        }
    }
    let report = config(&text).report();
    Document::new(RequestId(1), &report).unwrap();
}

#[test]
fn a_reload_changes_what_needs_no_restart() {
    let old = config("[limits]\ncredits = 5\n[thermal]\npause_celsius = 70\n");
    let newer = config(
        "\nlog = \"warn\"\ndevices = [\"cpu\"]\n[limits]\nsessions = 7\n\
         [usb.\"usb-0:1\"]\nrest_s = 9\n[user.alice]\nweight = 2\n",
    );
    let (now, changes) = old.reloaded(newer.clone());
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            let value = change.value.as_deref().unwrap_or("-");
            format!("{} {value} {}", change.key, change.effect.as_str())
        })
        .collect();
    assert_eq!(
        changes,
        [
            "devices [\"cpu\"] at restart",
            "log \"warn\" at reload",
            "limits.sessions 7 at reload",
            "limits.credits 256 at reload, for new connections",
            "thermal.pause_celsius 75 at restart",
            "usb.\"usb-0:1\".rest_s 9 at restart",
            "user.\"alice\".weight 2 at reload",
        ]
    );
    assert_eq!(now.limits(), newer.limits());
    assert_eq!(now.log(), "warn");
    assert_eq!(now.boards(), old.boards());
    assert_eq!(now.heat_limits(), old.heat_limits());
    let report = now.report();
    let origin = |key: &str| {
        let setting = report.settings.iter().find(|setting| setting.key == key);
        setting.map(|setting| (setting.value.as_str(), setting.origin.as_str()))
    };
    assert_eq!(
        origin("devices"),
        Some(("[\"usb\"]", "default, until a restart"))
    );
    let pause = format!("{FILE}:4, until a restart");
    assert_eq!(
        origin("thermal.pause_celsius"),
        Some(("70", pause.as_str()))
    );
    assert_eq!(origin("usb.\"usb-0:1\".rest_s"), None);
    // Reading the old file again finds nothing overdue.
    let (again, changes) = now.reloaded(old.clone());
    assert_eq!(again.report(), old.report());
    assert_eq!(changes.len(), 4, "{changes:?}");
}

#[test]
fn files_that_are_none_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path, is_required| {
        let source = ConfigSource {
            file: Some(path.to_owned()),
            is_required,
            ..ConfigSource::default()
        };
        source.read().map_err(|error| error.lines().join("\n"))
    };
    let path = folder.path().join("hasherd.toml");
    let shown = path.display();
    assert_eq!(read(&path, false).unwrap().file(), "");
    let missing = read(&path, true).unwrap_err();
    assert_eq!(
        missing,
        format!("cannot read {shown}: No such file or directory (os error 2)")
    );
    std::fs::write(&path, vec![b'\n'; FILE_BYTES_MAX]).unwrap();
    assert_eq!(read(&path, false).unwrap().file(), shown.to_string());
    std::fs::write(&path, vec![b'\n'; FILE_BYTES_MAX + 1]).unwrap();
    assert_eq!(
        read(&path, false).unwrap_err(),
        format!("{shown} has more than 131072 bytes")
    );
    std::fs::write(&path, b"log = \"info\"\n# caf\xe9\n").unwrap();
    assert_eq!(
        read(&path, false).unwrap_err(),
        format!("{shown}:2: this is no UTF-8")
    );
    let error = read(folder.path(), false).unwrap_err();
    assert_eq!(error, format!("{} is not a file", folder.path().display()));
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    assert_eq!(
        read(&pipe, false).unwrap_err(),
        format!("{} is not a file", pipe.display())
    );
    assert_eq!(
        read(Path::new("/dev/null"), true).unwrap().file(),
        "/dev/null"
    );
}

/// A file of settings that may be right or wrong.
fn any_file() -> impl Strategy<Value = String> {
    let settings = sections().iter().flat_map(|section| {
        let names = section
            .settings()
            .iter()
            .map(|setting| (section.name(), section.is_repeated(), setting.name()));
        names.collect::<Vec<_>>()
    });
    let setting = prop::sample::select(settings.collect::<Vec<_>>());
    let instance = prop::sample::select(vec!["alice", "1001", "ops", "usb-0:2", "", "ü"]);
    let value = prop_oneof![
        (0u64..300).prop_map(|number| number.to_string()),
        Just("218.75".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        prop::sample::select(vec![
            "auto",
            "0660",
            "batch",
            "info",
            "ops",
            "5",
            "q\\\"\\u0007"
        ])
        .prop_map(|word| format!("\"{word}\"")),
        prop::sample::select(vec!["usb", "cpu", "usb:usb-0:2", "sim:s1,seed=7"])
            .prop_map(|device| format!("[\"{device}\"]")),
    ];
    let line = (setting, instance, value).prop_map(
        |((section, is_repeated, name), instance, value)| match (section, is_repeated) {
            ("", _) => format!("{name} = {value}"),
            (section, false) => format!("{section}.{name} = {value}"),
            (section, true) => format!("{section}.\"{instance}\".{name} = {value}"),
        },
    );
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn what_is_refused_has_a_reason_and_what_holds_says_the_same_when_written(text in any_file()) {
        match check(&text) {
            Err(error) => prop_assert!(!error.lines().is_empty()),
            Ok(config) => {
                let settings = config.report().settings.into_iter();
                let written: Vec<_> =
                    settings.map(|setting| format!("{} = {}", setting.key, setting.value)).collect();
                let again = check(&written.join("\n"));
                prop_assert_eq!(&again.unwrap().settings, &config.settings, "{}", text);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a-z\".=\n0-9 ü{},#-]{0,80}") {
        let _ = check(&text);
    }
}

#[test]
fn the_documentation_shows_the_default_file() {
    let documentation = include_str!("../../../docs/configuration.md");
    let shown = documentation.rsplit("```toml\n").next().unwrap();
    let shown = shown.split("```").next().unwrap();
    let advice = "replace it in docs/configuration.md by what hasherd --print-config prints";
    assert_eq!(shown, default_file(), "{advice}");
    // The other example holds, too, where its users exist.
    let example = documentation.split("```toml\n").nth(1).unwrap();
    let accounts = Accounts::parse("backup:x:34:34\n", "lab:x:50:\n");
    let example = example.split("```").next().unwrap();
    ConfigSource::default()
        .check(None, example, &accounts)
        .unwrap();
}
