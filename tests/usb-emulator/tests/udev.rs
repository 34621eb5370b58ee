//! What libudev tells about emulated boards, on a real kernel.
//!
//! Needs root, `vhci-hcd`, and `usbserial` that takes every board, so the suite `usb-udev` of
//! `tests/vm` runs it in a guest.

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hasher_driver::DeviceId;
use hasher_driver::usb::udev::{UdevAction, UdevEvent, UdevMonitor, properties};
use hasher_driver::usb::{BusChange, Opening, UsbWatch, open_port};
use hasher_usb_emulator::control::Boards;
use hasher_usb_emulator::simulated::make_board;

/// Longest wait for the kernel and udev.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first port of the virtual controller, as udev names it and as the kernel does.
const PORT: &str = "platform-vhci_hcd.0-usb-0:1";
const DEVICE: &str = "1-1";

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

async fn until(monitor: &mut UdevMonitor, wanted: &UdevEvent) {
    let seen = async {
        loop {
            let event = poll_fn(|cx| monitor.poll_event(cx)).await;
            let event = event.expect("the monitor works");
            println!("{event:?}");
            if event == *wanted {
                return;
            }
        }
    };
    in_time(&format!("{wanted:?}"), seen).await;
}

fn event(action: UdevAction) -> UdevEvent {
    UdevEvent {
        action,
        port: Some(DeviceId(PORT.to_owned())),
    }
}

async fn board() -> Arc<Boards> {
    let boards = Arc::new(Boards::new(make_board));
    let add = boards.execute("add a 0 sim:s3,boot-loader=no,zero-bits=32");
    add.await.expect("a board");
    boards
}

/// The folder of the board in sysfs.
fn sysfs() -> PathBuf {
    let link = Path::new("/sys/bus/usb/devices").join(DEVICE);
    std::fs::canonicalize(link).expect("it is plugged in")
}

#[ignore = "needs root, vhci-hcd, udev and usbserial; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugs_and_drivers_are_told_in_order() {
    let boards = board().await;
    let mut monitor = UdevMonitor::new().expect("udev runs");
    boards.execute("plug a").await.expect("plugged");
    until(&mut monitor, &event(UdevAction::Device)).await;
    until(&mut monitor, &event(UdevAction::Bind)).await; // usbserial
    let port = DeviceId(PORT.to_owned());
    let transport = in_time("claiming", open_port(&port, Opening::default())).await;
    let transport = transport.expect("ours");
    until(&mut monitor, &event(UdevAction::Unbind)).await; // usbserial was detached
    // The kernel does not tell that usbfs comes and goes.
    drop(transport);
    until(&mut monitor, &event(UdevAction::Bind)).await; // usbserial has it back
    boards.execute("unplug a").await.expect("unplugged");
    // Its folder may be gone before anybody can ask which port it was.
    let unbound = async {
        loop {
            let event = poll_fn(|cx| monitor.poll_event(cx)).await;
            if event.expect("the monitor works").action == UdevAction::Unbind {
                return;
            }
        }
    };
    in_time("the end of the driver", unbound).await;
}

#[ignore = "needs root, vhci-hcd, udev and usbserial; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn udev_names_the_port_as_we_do_and_knows_what_the_rule_asked_for() {
    let boards = board().await;
    let mut watch = UsbWatch::new();
    boards.execute("plug a").await.expect("plugged");
    let arrived = in_time("arrival", watch.next()).await;
    let BusChange::Arrived(board) = arrived else {
        panic!("{arrived:?}");
    };
    assert_eq!(board.id.0, PORT);
    let properties = properties(&sysfs()).expect("it is plugged in");
    assert_eq!(properties["ID_PATH"], PORT);
    assert_eq!(properties["ID_VENDOR_ID"], "4254");
    assert_eq!(properties["ID_MODEL_ID"], "4153");
    assert_eq!(properties["SYSTEMD_WANTS"], "hasherd.service");
    boards.execute("unplug a").await.expect("unplugged");
    // The kernel's driver lets go first.
    loop {
        match in_time("departure", watch.next()).await {
            BusChange::Left(port) => break assert_eq!(port.0, PORT),
            BusChange::Released(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[ignore = "needs root, vhci-hcd, udev and usbserial; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_tells_when_a_driver_lets_go() {
    let boards = board().await;
    let mut watch = UsbWatch::new();
    boards.execute("plug a").await.expect("plugged");
    let arrived = in_time("arrival", watch.next()).await;
    assert!(matches!(arrived, BusChange::Arrived(_)), "{arrived:?}");
    let quiet = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let unbind = Path::new("/sys/bus/usb/drivers/usbserial_generic/unbind");
    std::fs::write(unbind, format!("{DEVICE}:1.0")).expect("usbserial has it");
    assert_eq!(
        in_time("release", watch.next()).await,
        BusChange::Released(DeviceId(PORT.to_owned()))
    );
}
