//! The files for systemd agree with each other and with the program.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use hasher_wire::SYSTEM_SOCKET;

fn file(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/");
    std::fs::read_to_string(format!("{folder}{name}")).unwrap()
}

/// The fields of the only entry of a tmpfiles.d file.
fn tmpfiles_entry(text: &str) -> Vec<&str> {
    let mut entries = text.lines().filter(|line| !line.starts_with('#'));
    let entry = entries.next().unwrap();
    assert_eq!(entries.next(), None);
    entry.split_whitespace().collect()
}

/// The value of a unit file's key.
fn value<'a>(unit: &'a str, key: &str) -> Option<&'a str> {
    unit.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn the_daemons_user_may_bind_the_socket_and_the_clients_group_may_open_it() {
    let (service, socket) = (file("hasherd.service"), file("hasherd.socket"));
    assert_eq!(value(&socket, "ListenStream"), Some(SYSTEM_SOCKET));
    assert_eq!(value(&socket, "SocketMode"), Some("0660"));
    let user = value(&service, "User").unwrap();
    let group = value(&socket, "SocketGroup").unwrap();
    assert_ne!(
        value(&service, "Group"),
        Some(group),
        "clients get no way to the devices"
    );
    let tmpfiles = file("hasher-tmpfiles.conf");
    let (folder, _) = SYSTEM_SOCKET.rsplit_once('/').unwrap();
    // Only the daemon writes; what is made inside gets the folder's group.
    assert_eq!(
        tmpfiles_entry(&tmpfiles),
        ["d", folder, "2755", user, group, "-"]
    );
    let users = file("hasher-sysusers.conf");
    for (kind, name) in [("u", user), ("g", group)] {
        let mut lines = users.lines().map(|line| line.split_whitespace().take(2));
        assert!(lines.any(|line| line.eq([kind, name])), "{kind} {name}");
    }
}
