//! Names for USB ports that survive replugs and reboots.
//!
//! Owns the walk from a device's place in sysfs to the same text that udev calls
//! `ID_PATH`, such as `pci-0000:00:14.0-usb-0:2.3`: the controller's own path and
//! the chain of ports behind it. Bus numbers and device numbers change; these do not.

use std::path::{Component, Path, PathBuf};

/// Longest port path; status documents and clients keep no more of a name. Real ones
/// are well below: controllers have two levels, hubs five.
pub const PORT_PATH_BYTES_MAX: usize = 64;

/// The port path of a device from its real (not linked) folder in sysfs, such as
/// `/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3`.
///
/// Nothing when the folder is not that of a USB device.
pub(crate) fn port_path(sysfs: &Path) -> Option<String> {
    let device = sysfs.file_name()?.to_str()?;
    let (_, ports) = device.split_once('-')?;
    if ports.contains(':') {
        return None; // an interface, not a device
    }
    let root_hub = sysfs
        .ancestors()
        .find(|folder| name_of(folder).is_some_and(|name| is_root_hub(&name)))?;
    let mut path = format!("usb-0:{ports}");
    // From the controller upwards; a run of one subsystem counts once, by its
    // lowest member, as udev does it.
    let mut last = String::new();
    for folder in root_hub.ancestors().skip(1) {
        let (Some(name), Some(subsystem)) = (name_of(folder), subsystem_of(folder)) else {
            if folder.join("uevent").exists() {
                last.clear(); // a device without a subsystem ends a run
            }
            continue;
        };
        if subsystem != last && matches!(subsystem.as_str(), "pci" | "platform" | "acpi") {
            path = format!("{subsystem}-{name}-{path}");
        }
        last = subsystem;
    }
    Some(shortened(path))
}

/// The end of a path that is too long: it is the end that tells ports apart.
fn shortened(path: String) -> String {
    let extra = path.len().saturating_sub(PORT_PATH_BYTES_MAX);
    match path.get(extra..) {
        Some(end) if extra > 0 => end.to_owned(),
        _ => path,
    }
}

fn name_of(folder: &Path) -> Option<String> {
    match folder.components().next_back()? {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    }
}

fn is_root_hub(name: &str) -> bool {
    name.strip_prefix("usb")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn subsystem_of(folder: &Path) -> Option<String> {
    let link: PathBuf = std::fs::read_link(folder.join("subsystem")).ok()?;
    name_of(&link)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sysfs tree with these folders and their subsystems.
    fn tree(folders: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (folder, subsystem) in folders {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            symlink(format!("../../bus/{subsystem}"), folder.join("subsystem")).unwrap();
        }
        root
    }

    #[test]
    fn a_device_behind_a_hub_on_a_pci_controller_is_named_as_udev_names_it() {
        let root = tree(&[
            ("devices/pci0000:00/0000:00:1c.0", "pci"),
            ("devices/pci0000:00/0000:00:1c.0/0000:02:00.0", "pci"),
            (
                "devices/pci0000:00/0000:00:1c.0/0000:02:00.0/usb3/3-2/3-2.4",
                "usb",
            ),
        ]);
        let device = root
            .path()
            .join("devices/pci0000:00/0000:00:1c.0/0000:02:00.0/usb3/3-2/3-2.4");
        assert_eq!(port_path(&device).unwrap(), "pci-0000:02:00.0-usb-0:2.4");
    }

    #[test]
    fn a_controller_behind_a_platform_bridge_names_both() {
        let root = tree(&[
            ("devices/platform/fd500000.pcie", "platform"),
            (
                "devices/platform/fd500000.pcie/pci0000:00/0000:01:00.0",
                "pci",
            ),
            (
                "devices/platform/fd500000.pcie/pci0000:00/0000:01:00.0/usb1/1-1",
                "usb",
            ),
        ]);
        let device = root
            .path()
            .join("devices/platform/fd500000.pcie/pci0000:00/0000:01:00.0/usb1/1-1");
        assert_eq!(
            port_path(&device).unwrap(),
            "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1"
        );
    }

    #[test]
    fn a_bridge_with_a_domain_of_its_own_is_named_too() {
        let root = tree(&[
            ("devices/pci0000:00/0000:00:0e.0", "pci"),
            (
                "devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0",
                "pci",
            ),
            (
                "devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/usb1/1-1",
                "usb",
            ),
        ]);
        let bridge = "devices/pci0000:00/0000:00:0e.0/pci10000:e0";
        fs::write(root.path().join(bridge).join("uevent"), "").unwrap();
        let device = root.path().join(bridge).join("10000:e0:06.0/usb1/1-1");
        assert_eq!(
            port_path(&device).unwrap(),
            "pci-0000:00:0e.0-pci-10000:e0:06.0-usb-0:1"
        );
    }

    #[test]
    fn a_name_that_is_too_long_keeps_its_end() {
        let controller = "a-controller-with-a-name-as-long-as-no-real-one-has-had-so-far.0";
        let root = tree(&[
            (&format!("devices/platform/{controller}"), "platform"),
            (&format!("devices/platform/{controller}/usb1/1-1.2"), "usb"),
        ]);
        let device = root
            .path()
            .join(format!("devices/platform/{controller}/usb1/1-1.2"));
        let path = port_path(&device).unwrap();
        assert_eq!(path.len(), PORT_PATH_BYTES_MAX);
        assert!(path.ends_with("so-far.0-usb-0:1.2"));
    }

    #[test]
    fn interfaces_and_other_folders_have_no_port_path() {
        assert_eq!(
            port_path(Path::new("/sys/devices/x/usb1/1-1/1-1:1.0")),
            None
        );
        assert_eq!(port_path(Path::new("/sys/devices/x/usb1")), None);
        assert_eq!(port_path(Path::new("/")), None);
    }
}
