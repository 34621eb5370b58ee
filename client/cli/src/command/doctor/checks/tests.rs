use std::path::PathBuf;

use hasher_wire::DeviceReport;

use super::super::machine::{NodeOwner, UdevRecord, Viewer};
use super::*;
use crate::error::{CliError, Exit};

const PORT: &str = "pci-0000:00:14.0-usb-0:2";

fn board() -> Board {
    Board {
        port: PORT.into(),
        driver: Some("usbfs".into()),
        node: "/dev/bus/usb/001/007".into(),
        node_owner: Some(NodeOwner {
            user: "hasherd".into(),
            group: "hasherd".into(),
            mode: 0o660,
        }),
        udev: Some(UdevRecord { wants_daemon: true }),
        power_control: Some("on".into()),
        ..Board::default()
    }
}

fn machine(board: Board) -> Machine {
    Machine {
        has_usb: true,
        boards: vec![board],
        rules: vec![PathBuf::from("/etc/udev/rules.d/70-hasher.rules")],
        viewer: Viewer {
            groups: vec!["hasher".into()],
            has_hasher_group: true,
            ..Viewer::default()
        },
        ..Machine::default()
    }
}

fn process(name: &str, unit: Option<&str>) -> Process {
    Process {
        pid: 4321,
        name: name.into(),
        command: format!("/usr/bin/{name}"),
        user: "mallory".into(),
        unit: unit.map(str::to_owned),
    }
}

fn device(state: &str, more: &str) -> DeviceReport {
    serde_json::from_str(&format!(
        r#"{{"id":"{PORT}","kind":"usb","state":"{state}","model":"Antminer S3",
        "firmware":"07000003","layout":"S3","chips_per_chain":[16,16],"frequency_mhz":218.75,
        "filter_zero_bits":32,"nominal_hash_rate_hps":4.4e11,"fans_rpm":[1800],
        "works_in_flight":0,"attachments":1,{more}}}"#
    ))
    .unwrap()
}

fn healthy() -> DeviceReport {
    device(
        "ready",
        r#""temperatures_celsius":[45,43],"counters":{"works":1000,"hits":910}"#,
    )
}

fn status(devices: Vec<DeviceReport>) -> DaemonAnswer {
    let mut status = StatusReport {
        devices,
        ..StatusReport::default()
    };
    status.daemon.pid = 99;
    Ok(status)
}

/// The only check of a name.
fn one<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    let mut found = checks.iter().filter(|check| check.name == name);
    match (found.next(), found.next()) {
        (Some(check), None) => check,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_healthy_machine_is_well_in_every_line() {
    let checks = check(&machine(board()), &status(vec![healthy()]));
    for check in &checks {
        assert_eq!(
            (check.verdict, &check.remedy),
            (Verdict::Ok, &None),
            "{check:?}"
        );
    }
    assert_eq!(worst(&checks), Verdict::Ok);
    assert_eq!(
        one(&checks, &format!("{PORT} claim")).text,
        "the daemon holds it"
    );
    let ready = checks
        .iter()
        .find(|check| check.text.starts_with("ready"))
        .unwrap();
    assert_eq!(
        ready.text,
        "ready, Antminer S3, firmware 07000003, S3 layout"
    );
}

#[test]
fn the_program_in_the_way_is_named_with_what_to_do_about_it() {
    let mut held = board();
    held.holders = vec![process("cgminer", Some("cgminer.service"))];
    let checks = check(
        &machine(held),
        &status(vec![device(
            "busy",
            r#""reason":"held by another program","temperatures_celsius":[],"counters":{}"#,
        )]),
    );
    let claim = one(&checks, &format!("{PORT} claim"));
    assert_eq!(claim.verdict, Verdict::Bad);
    assert_eq!(
        claim.text,
        "held by process 4321 of mallory: /usr/bin/cgminer"
    );
    assert_eq!(
        claim.remedy.as_deref(),
        Some(
            "`sudo systemctl disable --now cgminer.service`, or write Conflicts=cgminer.service into hasherd.service"
        )
    );
    let mut held = board();
    held.holders = vec![process("strange", None)];
    let checks = check(&machine(held), &status(vec![]));
    let claim = one(&checks, &format!("{PORT} claim"));
    assert_eq!(claim.remedy.as_deref(), Some("stop it; it is process 4321"));
}

#[test]
fn who_is_not_root_is_sent_to_sudo() {
    let mut machine = machine(board());
    let busy = device("busy", r#""temperatures_celsius":[],"counters":{}"#);
    let checks = check(&machine, &status(vec![busy.clone()]));
    let claim = one(&checks, &format!("{PORT} claim"));
    assert_eq!(claim.verdict, Verdict::Bad);
    assert_eq!(
        claim.remedy.as_deref(),
        Some("`sudo hasher doctor` names it")
    );
    machine.viewer.is_root = true;
    let checks = check(&machine, &status(vec![busy]));
    assert_eq!(one(&checks, &format!("{PORT} claim")).remedy, None);
}

#[test]
fn a_kernel_driver_is_no_trouble_but_is_named() {
    let mut bound = board();
    bound.driver = Some("usbserial_generic".into());
    let checks = check(&machine(bound), &status(vec![]));
    let claim = one(&checks, &format!("{PORT} claim"));
    assert_eq!(claim.verdict, Verdict::Note);
    assert!(claim.text.contains("\"usbserial_generic\""));
}

#[test]
fn each_fault_of_node_rule_and_power_is_found() {
    let name = |what: &str| format!("{PORT} {what}");
    let verdict = |change: fn(&mut Board), what: &str| {
        let mut board = board();
        change(&mut board);
        let checks = check(&machine(board), &status(vec![]));
        one(&checks, &name(what)).verdict
    };
    assert_eq!(verdict(|b| b.node_owner = None, "node"), Verdict::Bad);
    assert_eq!(
        verdict(
            |b| b.node_owner.as_mut().unwrap().user = "root".into(),
            "node"
        ),
        Verdict::Bad
    );
    assert_eq!(
        verdict(|b| b.node_owner.as_mut().unwrap().mode = 0o440, "node"),
        Verdict::Bad
    );
    assert_eq!(
        verdict(|b| b.node_owner.as_mut().unwrap().mode = 0o666, "node"),
        Verdict::Warning
    );
    assert_eq!(verdict(|b| b.udev = None, "udev"), Verdict::Warning);
    assert_eq!(
        verdict(|b| b.udev = Some(UdevRecord::default()), "udev"),
        Verdict::Warning
    );
    assert_eq!(
        verdict(|b| b.power_control = Some("auto".into()), "power"),
        Verdict::Warning
    );

    let mut without = machine(board());
    without.rules.clear();
    assert_eq!(
        one(&check(&without, &status(vec![])), "udev rule").verdict,
        Verdict::Bad
    );
    without.rules = vec!["/etc/udev/rules.d/01-cgminer.rules".into()];
    assert_eq!(
        one(&check(&without, &status(vec![])), "udev rule").verdict,
        Verdict::Warning
    );
}

#[test]
fn no_board_is_bad_only_where_one_is_expected() {
    let mut empty = machine(board());
    empty.boards.clear();
    assert_eq!(
        one(&check(&empty, &status(vec![])), "usb").verdict,
        Verdict::Bad
    );
    let simulated = DeviceReport {
        kind: DeviceKind::Simulated,
        ..healthy()
    };
    assert_eq!(
        one(&check(&empty, &status(vec![simulated])), "usb").verdict,
        Verdict::Note
    );
    empty.has_usb = false;
    assert_eq!(
        one(&check(&empty, &status(vec![])), "usb").verdict,
        Verdict::Note
    );
}

#[test]
fn a_daemon_that_does_not_answer_brings_its_own_hint() {
    let error = CliError::new(Exit::NoDaemon, "cannot connect").hint("start it");
    let checks = check(&machine(board()), &Err(error));
    let daemon = one(&checks, "daemon");
    assert_eq!(
        (daemon.verdict, daemon.text.as_str()),
        (Verdict::Bad, "cannot connect")
    );
    assert_eq!(daemon.remedy.as_deref(), Some("start it"));
}

#[test]
fn missing_membership_is_told_in_its_three_forms() {
    let text = |viewer: Viewer| {
        let machine = Machine {
            viewer,
            ..machine(board())
        };
        let checks = check(&machine, &status(vec![]));
        checks
            .into_iter()
            .find(|check| check.name == "group hasher")
            .map(|check| check.text)
    };
    assert_eq!(
        text(Viewer {
            is_root: true,
            ..Viewer::default()
        }),
        None
    );
    assert_eq!(
        text(Viewer::default()).unwrap(),
        "there is none; the system's daemon is not installed"
    );
    let known = Viewer {
        has_hasher_group: true,
        ..Viewer::default()
    };
    assert_eq!(text(known.clone()).unwrap(), "you are not in it");
    let listed = Viewer {
        is_listed_in_hasher: true,
        ..known
    };
    assert_eq!(
        text(listed).unwrap(),
        "you are in it, but not in this session"
    );
}

#[test]
fn heat_yield_and_errors_are_judged() {
    let verdict = |more: &str, what: &str| {
        let checks = check(&machine(board()), &status(vec![device("ready", more)]));
        one(&checks, &format!("{PORT} {what}")).verdict
    };
    let heat = |celsius| format!(r#""temperatures_celsius":[0,{celsius}],"counters":{{}}"#);
    assert_eq!(verdict(&heat(64), "heat"), Verdict::Ok);
    assert_eq!(verdict(&heat(65), "heat"), Verdict::Warning);
    assert_eq!(verdict(&heat(75), "heat"), Verdict::Bad);
    let hits =
        |hits| format!(r#""temperatures_celsius":[],"counters":{{"works":1000,"hits":{hits}}}"#);
    assert_eq!(verdict(&hits(830), "hash rate"), Verdict::Ok);
    assert_eq!(verdict(&hits(450), "hash rate"), Verdict::Warning);
    let errors =
        r#""temperatures_celsius":[],"counters":{"works":1000,"hits":800,"hardware_errors":100}"#;
    assert_eq!(verdict(errors, "errors"), Verdict::Warning);
    // A handful of works says nothing.
    let few = r#""temperatures_celsius":[],"counters":{"works":10,"hits":0}"#;
    let checks = check(&machine(board()), &status(vec![device("ready", few)]));
    assert!(!checks.iter().any(|check| check.name.ends_with("hash rate")));
}

#[test]
fn a_missing_hash_board_is_found() {
    let of = |device| check(&machine(board()), &status(vec![device]));
    let checks = of(healthy());
    let chips = format!("{PORT} chips");
    assert_eq!(one(&checks, &chips).text, "16 and 16 on its chains");
    for chains in [vec![16, 0], vec![16]] {
        let mut device = healthy();
        device.chips_per_chain = chains;
        let checks = of(device);
        let check = one(&checks, &chips);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.remedy.as_ref().unwrap().contains("cable"));
    }
}

#[test]
fn another_miner_that_runs_is_pointed_out_even_without_a_board() {
    let mut machine = machine(board());
    machine.miners = vec![process("cgminer", Some("cgminer.service"))];
    let checks = check(&machine, &status(vec![healthy()]));
    let miner = one(&checks, "other miner");
    assert_eq!(miner.verdict, Verdict::Warning);
    assert!(
        miner
            .remedy
            .as_ref()
            .unwrap()
            .contains("Conflicts=cgminer.service")
    );
}

/// The whole report, as text and as JSON.
fn report(checks: &[Check]) -> String {
    use super::super::{Report, text};
    use crate::style::Style;

    let verdict = worst(checks);
    let json = Report {
        schema: "hasher.doctor/1",
        verdict,
        checks,
    };
    let text = text(checks, verdict, Style::plain(true)).join("\n");
    let json = serde_json::to_string_pretty(&json).unwrap();
    format!("{text}\n\n{json}\n").replace(env!("CARGO_PKG_VERSION"), "[VERSION]")
}

#[test]
fn reports_read_as_they_were_looked_at() {
    let well = check(&machine(board()), &status(vec![healthy()]));
    insta::assert_snapshot!("well", report(&well));
    let mut held = board();
    held.holders = vec![process("cgminer", Some("cgminer.service"))];
    let busy = device(
        "busy",
        r#""reason":"held by another program","temperatures_celsius":[],"counters":{}"#,
    );
    let in_the_way = check(&machine(held), &status(vec![busy]));
    insta::assert_snapshot!("in_the_way", report(&in_the_way));
    let away = CliError::new(Exit::NoDaemon, "cannot connect to /run/x: no such socket");
    let nothing = check(&Machine::default(), &Err(away.hint("start it")));
    insta::assert_snapshot!("nothing", report(&nothing));
}
