use std::os::unix::fs::symlink;

use super::*;

/// A system of files, as sparse as the test needs it.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        let uid = fs::metadata(tree.0.path()).unwrap().uid();
        let gid = fs::metadata(tree.0.path()).unwrap().gid();
        tree.write(
            "etc/passwd",
            &format!("hasherd:x:{uid}:{gid}::/:/bin/false\nmallory:x:54321:1::/:/bin/sh\n"),
        );
        tree.write(
            "etc/group",
            &format!("hasherd:x:{gid}:\nhasher:x:54322:alice,mallory\n"),
        );
        tree.write("proc/sys/kernel/osrelease", "6.1.0-test\n");
        tree.write(
            "proc/self/status",
            "Name:\thasher\nUid:\t54321\t54321\t54321\t54321\nGid:\t54322\t54322\nGroups:\t7 9\n",
        );
        tree
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.0.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn link(&self, file: &str, target: &str) {
        let file = self.0.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        symlink(target, file).unwrap();
    }

    /// A board behind a hub, with its node.
    fn board(&self, product: &str) {
        let device = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3";
        for (file, text) in [
            ("idVendor", "4254\n"),
            ("idProduct", product),
            ("busnum", "1\n"),
            ("devnum", "7\n"),
            ("dev", "189:6\n"),
            ("bConfigurationValue", "1\n"),
            ("power/control", "on\n"),
            ("speed", "12\n"),
            ("descriptors", "\u{12}\u{1}"),
        ] {
            self.write(&format!("{device}/{file}"), text);
        }
        self.link(
            "sys/devices/pci0000:00/0000:00:14.0/subsystem",
            "../../../bus/pci",
        );
        self.write("sys/devices/pci0000:00/uevent", "");
        for folder in ["usb1", "usb1/1-2", "usb1/1-2/1-2.3"] {
            self.link(
                &format!("sys/devices/pci0000:00/0000:00:14.0/{folder}/subsystem"),
                "../../bus/usb",
            );
        }
        self.link(
            "sys/bus/usb/devices/1-2.3",
            "../../../devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3",
        );
        self.write("dev/bus/usb/001/007", "");
    }

    fn driver(&self, driver: &str) {
        let interface = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3/1-2.3:1.0";
        self.link(
            &format!("{interface}/driver"),
            &format!("../../drivers/{driver}"),
        );
    }

    fn process(&self, pid: u32, name: &str, node: Option<&str>) {
        self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.write(
            &format!("proc/{pid}/cmdline"),
            &format!("/usr/bin/{name}\0--api\u{7}\0"),
        );
        self.write(
            &format!("proc/{pid}/status"),
            "Uid:\t54321\t54321\t54321\t54321\n",
        );
        self.write(
            &format!("proc/{pid}/cgroup"),
            &format!("0::/system.slice/{name}.service\n"),
        );
        self.link(&format!("proc/{pid}/fd/0"), "/dev/null");
        if let Some(node) = node {
            self.link(&format!("proc/{pid}/fd/5"), node);
        }
    }

    fn look(&self) -> Machine {
        Machine::look(self.0.path())
    }
}

#[test]
fn a_machine_without_usb_has_no_boards() {
    let machine = Tree::new().look();
    assert!(!machine.has_usb);
    assert_eq!(machine.boards, []);
    assert_eq!(machine.kernel, "6.1.0-test");
}

#[test]
fn a_board_is_described_from_port_to_node() {
    let tree = Tree::new();
    tree.board("4153\n");
    tree.driver("usbserial_generic");
    tree.write(
        "run/udev/data/c189:6",
        "E:SYSTEMD_WANTS=x.service hasherd.service\nG:systemd\n",
    );
    let machine = tree.look();
    let [board] = machine.boards.as_slice() else {
        panic!("{machine:?}");
    };
    assert_eq!(board.port, "pci-0000:00:14.0-usb-0:2.3");
    assert!(!board.is_in_boot_loader);
    assert_eq!(board.driver.as_deref(), Some("usbserial_generic"));
    assert_eq!(board.node, Path::new("/dev/bus/usb/001/007"));
    let owner = board.node_owner.as_ref().unwrap();
    assert_eq!(
        (owner.user.as_str(), owner.group.as_str()),
        ("hasherd", "hasherd")
    );
    assert_eq!(board.udev, Some(UdevRecord { wants_daemon: true }));
    assert_eq!(board.power_control.as_deref(), Some("on"));
    assert_eq!(board.descriptors, [0x12, 1]);
    assert!(machine.has_usb);
}

#[test]
fn a_cold_board_is_in_its_boot_loader_and_other_products_are_no_boards() {
    let tree = Tree::new();
    tree.board("424c\n");
    assert!(tree.look().boards[0].is_in_boot_loader);
    let tree = Tree::new();
    tree.board("1234\n");
    assert_eq!(tree.look().boards, []);
}

#[test]
fn the_program_that_holds_a_node_is_named_with_user_and_unit() {
    let tree = Tree::new();
    tree.board("4153\n");
    tree.process(4321, "cgminer", Some("/dev/bus/usb/001/007"));
    tree.process(4322, "innocent", Some("/dev/bus/usb/001/008"));
    tree.process(4323, "bfgminer", None);
    let machine = tree.look();
    assert_eq!(
        machine.boards[0].holders,
        [Process {
            pid: 4321,
            name: "cgminer".into(),
            command: "/usr/bin/cgminer --api?".into(),
            user: "mallory".into(),
            unit: Some("cgminer.service".into()),
        }]
    );
    let miners: Vec<_> = machine.miners.iter().map(|miner| miner.pid).collect();
    assert_eq!(miners, [4321, 4323]);
}

#[test]
fn the_viewer_is_known_with_groups() {
    let viewer = Tree::new().look().viewer;
    assert!(!viewer.is_root);
    assert_eq!(viewer.groups, ["hasher", "7", "9"]);
    assert!(viewer.has_hasher_group && viewer.is_listed_in_hasher);
}

#[test]
fn only_rules_that_name_the_boards_count_and_the_first_of_a_name_wins() {
    let tree = Tree::new();
    tree.write("etc/udev/rules.d/70-hasher.rules", "# switched off\n");
    tree.write(
        "usr/lib/udev/rules.d/70-hasher.rules",
        "ATTR{idVendor}!=\"4254\"\n",
    );
    tree.write(
        "usr/lib/udev/rules.d/01-cgminer.rules",
        "ATTRS{idVendor}==\"4254\"\n",
    );
    tree.write(
        "usr/lib/udev/rules.d/99-other.rules",
        "ATTRS{idVendor}==\"1234\"\n",
    );
    tree.write("usr/lib/udev/rules.d/README", "4254");
    let rules = tree.look().rules;
    assert_eq!(rules.len(), 1);
    assert!(rules[0].ends_with("usr/lib/udev/rules.d/01-cgminer.rules"));
}

#[test]
fn looking_at_this_very_machine_works() {
    let machine = Machine::look(Path::new("/"));
    assert!(!machine.kernel.is_empty());
    assert!(!machine.viewer.groups.is_empty());
}

#[test]
fn what_a_package_brings_beside_the_programs_is_found() {
    let tree = Tree::new();
    let before = Machine::look(tree.0.path()).service;
    assert_eq!((&before.bus_policy, &before.polkit_actions), (&None, &None));
    assert!(before.has_user);
    let bus = "usr/share/dbus-1/system.d/org.hasher.Hasher1.conf";
    let polkit = "usr/share/polkit-1/actions/org.hasher.hasher1.policy";
    tree.write(bus, "");
    tree.write(polkit, "");
    let after = Machine::look(tree.0.path()).service;
    assert_eq!(after.bus_policy, Some(Path::new("/").join(bus)));
    assert_eq!(after.polkit_actions, Some(Path::new("/").join(polkit)));
}
