//! What is on the bus now.
//!
//! Owns the two ids of the family, the listing of boards, and what sysfs and udev's
//! database say about one. It opens nothing and sends nothing.

use std::path::{Path, PathBuf};

use nusb::MaybeFuture;

use super::port::port_path;
use super::tracker::{Board, Stage};
use crate::DeviceId;

/// Vendor number of all boards: "TB" on the wire (protocol reference, section 2.1).
pub const VENDOR: u16 = 0x4254;
/// Product number of a running controller.
pub const APPLICATION: u16 = 0x4153;
/// Product number of a controller that waits in its boot loader.
pub const BOOT_LOADER: u16 = 0x424c;

/// Where udev keeps what it knows about devices; one file each, written after the
/// device's node has its owner and mode.
const UDEV_DATA: &str = "/run/udev/data";
/// There while udev runs.
const UDEV_CONTROL: &str = "/run/udev/control";

/// A board and the way to open it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub board: Board,
    pub info: nusb::DeviceInfo,
}

/// All boards on the bus. None where the machine has no USB, or lets nobody look.
pub(super) fn list() -> Vec<Found> {
    let devices = match nusb::list_devices().wait() {
        Ok(devices) => devices,
        Err(error) => {
            tracing::debug!(%error, "no usb on this machine");
            return Vec::new();
        }
    };
    devices.filter_map(found).collect()
}

/// The board at a port, if one is there and udev has finished with it.
pub(super) fn find(port: &DeviceId) -> Option<Found> {
    list()
        .into_iter()
        .find(|found| found.board.id == *port && found.board.is_settled)
}

fn found(info: nusb::DeviceInfo) -> Option<Found> {
    let stage = stage(info.vendor_id(), info.product_id())?;
    let sysfs = info.sysfs_path();
    let board = Board {
        id: DeviceId(port_path(sysfs)?),
        stage,
        address: (info.busnum(), info.device_address()),
        is_settled: is_settled(sysfs, Path::new(UDEV_DATA), Path::new(UDEV_CONTROL)),
    };
    Some(Found { board, info })
}

const fn stage(vendor: u16, product: u16) -> Option<Stage> {
    match (vendor, product) {
        (VENDOR, APPLICATION) => Some(Stage::Application),
        (VENDOR, BOOT_LOADER) => Some(Stage::BootLoader),
        _ => None,
    }
}

/// Whether udev has finished with a device. Where no udev runs there is nothing to
/// wait for.
fn is_settled(sysfs: &Path, data: &Path, control: &Path) -> bool {
    let Ok(number) = std::fs::read_to_string(sysfs.join("dev")) else {
        return false; // on its way out
    };
    data.join(format!("c{}", number.trim())).exists() || !control.exists()
}

/// The node of a device.
pub(super) fn node(address: (u8, u8)) -> PathBuf {
    PathBuf::from(format!("/dev/bus/usb/{:03}/{:03}", address.0, address.1))
}

/// The driver that holds an interface of a device, if one does: a kernel driver's name,
/// or `usbfs` for a program.
pub(super) fn driver_of(sysfs: &Path, interface: u8) -> Option<String> {
    let device = sysfs.file_name()?.to_str()?;
    let configuration = std::fs::read_to_string(sysfs.join("bConfigurationValue")).ok()?;
    let folder = format!("{device}:{}.{interface}", configuration.trim());
    let driver = std::fs::read_link(sysfs.join(folder).join("driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_the_two_products_of_the_family_are_boards() {
        assert_eq!(stage(0x4254, 0x4153), Some(Stage::Application));
        assert_eq!(stage(0x4254, 0x424c), Some(Stage::BootLoader));
        assert_eq!(stage(0x4254, 0x4154), None);
        assert_eq!(stage(0x10c4, 0xea60), None);
    }

    #[test]
    fn a_device_is_settled_when_udev_has_an_entry_or_does_not_run() {
        let root = tempfile::tempdir().unwrap();
        let (data, control) = (root.path().join("data"), root.path().join("control"));
        fs::create_dir(&data).unwrap();
        let sysfs = root.path().join("1-1");
        assert!(!is_settled(&sysfs, &data, &control), "it left");
        fs::create_dir(&sysfs).unwrap();
        fs::write(sysfs.join("dev"), "189:3\n").unwrap();
        assert!(is_settled(&sysfs, &data, &control), "no udev");
        fs::write(&control, "").unwrap();
        assert!(
            !is_settled(&sysfs, &data, &control),
            "udev still works on it"
        );
        fs::write(data.join("c189:3"), "").unwrap();
        assert!(is_settled(&sysfs, &data, &control));
    }

    #[test]
    fn the_holder_of_an_interface_is_the_driver_in_sysfs() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("1-1.2");
        let interface = device.join("1-1.2:1.0");
        fs::create_dir_all(&interface).unwrap();
        assert_eq!(driver_of(&device, 0), None);
        fs::write(device.join("bConfigurationValue"), "1\n").unwrap();
        assert_eq!(driver_of(&device, 0), None);
        symlink("../../bus/usb/drivers/usbfs", interface.join("driver")).unwrap();
        assert_eq!(driver_of(&device, 0).as_deref(), Some("usbfs"));
    }

    #[test]
    fn nodes_are_named_by_bus_and_device_number() {
        assert_eq!(node((1, 42)), Path::new("/dev/bus/usb/001/042"));
    }

    #[test]
    fn listing_works_on_any_machine() {
        for found in list() {
            assert!(found.board.id.0.contains("usb-0:"));
        }
    }
}
