//! Verdicts about what a package installs: units, users, policies.

use super::{Check, Verdict};
use crate::command::doctor::machine::{Machine, Service, Unit, Units};

/// Nothing where systemd does not run the machine; one note where the service is not
/// installed, for the daemon may be started by hand.
pub(super) fn service(machine: &Machine) -> Vec<Check> {
    let Some(units) = &machine.service.units else {
        return Vec::new();
    };
    if units.service.load == "not-found" {
        return vec![Check::new(
            "service",
            Verdict::Note,
            "hasherd.service is not installed; docs/installation.md says how to",
        )];
    }
    let mut checks = vec![unit(units), socket(&units.socket)];
    checks.extend(users(machine));
    checks.extend(policies(&machine.service));
    checks
}

fn unit(units: &Units) -> Check {
    let name = "service";
    let Unit {
        load,
        active,
        result,
        ..
    } = &units.service;
    match (load.as_str(), active.as_str()) {
        ("masked", _) => Check::new(name, Verdict::Bad, "hasherd.service is masked")
            .remedy("`sudo systemctl unmask hasherd.service`"),
        ("loaded", "failed") => Check::new(
            name,
            Verdict::Bad,
            format!("hasherd.service failed: {result}"),
        )
        .remedy("`journalctl --unit=hasherd` says why; then `sudo systemctl restart hasherd`"),
        ("loaded", "inactive") => Check::new(
            name,
            Verdict::Ok,
            "hasherd.service is installed; a board or a client starts it",
        ),
        ("loaded", active) => Check::new(name, Verdict::Ok, format!("hasherd.service is {active}")),
        (load, _) => Check::new(
            name,
            Verdict::Bad,
            format!("systemd cannot use hasherd.service: {load}"),
        )
        .remedy("`systemctl status hasherd` says why"),
    }
}

fn socket(socket: &Unit) -> Check {
    let name = "socket unit";
    match (socket.load.as_str(), socket.active.as_str()) {
        ("masked", _) => Check::new(name, Verdict::Bad, "hasherd.socket is masked")
            .remedy("`sudo systemctl unmask hasherd.socket`, then `sudo systemctl enable --now hasherd.socket`"),
        ("loaded", "active") if socket.file == "disabled" => Check::new(
            name,
            Verdict::Warning,
            "hasherd.socket listens, but will not after the next start of the computer",
        )
        .remedy("`sudo systemctl enable hasherd.socket`"),
        ("loaded", "active") => Check::new(name, Verdict::Ok, "hasherd.socket listens"),
        ("loaded", active) => Check::new(name, Verdict::Bad, format!("hasherd.socket is {active}"))
            .remedy("`sudo systemctl enable --now hasherd.socket`"),
        (load, _) => Check::new(
            name,
            Verdict::Bad,
            format!("systemd cannot use hasherd.socket: {load}"),
        )
        .remedy("install the package anew"),
    }
}

fn users(machine: &Machine) -> Option<Check> {
    let has_group = machine.viewer.has_hasher_group;
    let missing = match (machine.service.has_user, has_group) {
        (true, true) => return None,
        (false, true) => "there is no user hasherd, as which the daemon runs",
        (true, false) => "there is no group hasher, whose members may use the daemon",
        (false, false) => "there are neither user hasherd nor group hasher",
    };
    let remedy = "`sudo systemd-sysusers`, then plug the boards in again";
    Some(Check::new("users", Verdict::Bad, missing).remedy(remedy))
}

fn policies(service: &Service) -> Vec<Check> {
    let mut checks = Vec::new();
    if service.bus_policy.is_none() {
        checks.push(
            Check::new(
                "bus policy",
                Verdict::Warning,
                "not installed; the daemon cannot be reached over D-Bus",
            )
            .remedy("copy systemd/org.hasher.Hasher1.conf to /etc/dbus-1/system.d/"),
        );
    }
    if service.polkit_actions.is_none() {
        checks.push(
            Check::new(
                "polkit actions",
                Verdict::Warning,
                "not installed; only root may pause, reset and set devices",
            )
            .remedy("copy systemd/org.hasher.hasher1.policy to /usr/share/polkit-1/actions/"),
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::machine::Viewer;

    fn unit(load: &str, active: &str, file: &str) -> Unit {
        Unit {
            load: load.into(),
            active: active.into(),
            file: file.into(),
            result: "success".into(),
        }
    }

    fn installed() -> Machine {
        Machine {
            service: Service {
                units: Some(Units {
                    service: unit("loaded", "inactive", "enabled"),
                    socket: unit("loaded", "active", "enabled"),
                }),
                has_user: true,
                bus_policy: Some("/usr/share/dbus-1/system.d/x.conf".into()),
                polkit_actions: Some("/usr/share/polkit-1/actions/x.policy".into()),
            },
            viewer: Viewer {
                has_hasher_group: true,
                ..Viewer::default()
            },
            ..Machine::default()
        }
    }

    fn with_units(change: impl Fn(&mut Units)) -> Machine {
        let mut machine = installed();
        change(machine.service.units.as_mut().unwrap());
        machine
    }

    /// What is not well, as `name: text`, and what helps.
    fn complaints(machine: &Machine) -> Vec<(Verdict, String, String)> {
        let not_well = |check: &Check| check.verdict != Verdict::Ok;
        let checks = service(machine).into_iter().filter(not_well);
        let line = |check: Check| {
            let text = format!("{}: {}", check.name, check.text);
            (check.verdict, text, check.remedy.unwrap_or_default())
        };
        checks.map(line).collect()
    }

    #[test]
    fn an_installed_service_that_waits_to_be_needed_is_well() {
        assert_eq!(complaints(&installed()), []);
        assert_eq!(service(&Machine::default()), []);
    }

    #[test]
    fn without_the_units_there_is_one_note_and_nothing_else() {
        let absent = with_units(|units| units.service = unit("not-found", "inactive", ""));
        let complaints = complaints(&absent);
        assert_eq!(complaints.len(), 1);
        assert_eq!(complaints[0].0, Verdict::Note);
    }

    #[test]
    fn each_way_in_which_a_unit_is_not_usable_has_its_remedy() {
        for (load, active, result, remedy) in [
            ("masked", "inactive", "success", "systemctl unmask"),
            ("loaded", "failed", "watchdog", "journalctl"),
            ("bad-setting", "inactive", "success", "systemctl status"),
        ] {
            let machine = with_units(|units| {
                units.service = unit(load, active, "enabled");
                units.service.result = result.to_owned();
            });
            let complaints = complaints(&machine);
            assert_eq!(complaints.len(), 1, "{load} {active}");
            assert_eq!(complaints[0].0, Verdict::Bad);
            assert!(complaints[0].2.contains(remedy), "{complaints:?}");
        }
        let failed = with_units(|units| {
            units.service.active = "failed".into();
            units.service.result = "watchdog".into();
        });
        assert!(complaints(&failed)[0].1.contains("failed: watchdog"));
    }

    #[test]
    fn a_socket_that_does_not_listen_or_soon_will_not_is_noticed() {
        for (load, active, file, verdict) in [
            ("masked", "inactive", "masked", Verdict::Bad),
            ("loaded", "inactive", "disabled", Verdict::Bad),
            ("loaded", "failed", "enabled", Verdict::Bad),
            ("not-found", "inactive", "", Verdict::Bad),
            ("loaded", "active", "disabled", Verdict::Warning),
        ] {
            let machine = with_units(|units| units.socket = unit(load, active, file));
            let complaints = complaints(&machine);
            assert_eq!(complaints.len(), 1, "{load} {active} {file}");
            assert_eq!(complaints[0].0, verdict, "{load} {active} {file}");
        }
    }

    #[test]
    fn what_else_a_package_brings_is_missed_when_it_is_not_there() {
        let mut machine = installed();
        machine.service.has_user = false;
        machine.service.bus_policy = None;
        machine.service.polkit_actions = None;
        let texts: Vec<_> = complaints(&machine)
            .into_iter()
            .map(|(_, text, _)| text)
            .collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[0].contains("no user hasherd"), "{texts:?}");
        assert!(texts[1].contains("over D-Bus"), "{texts:?}");
        assert!(texts[2].contains("only root"), "{texts:?}");
    }
}
