//! The bus as libudev tells it: events with drivers coming and going, and properties.
//!
//! Owns the monitor. It hears more than the program's own watch: when a driver of the
//! kernel takes a board's interface or lets go of it. A program that holds the interface
//! through usbfs is not told of, neither when it comes nor when it goes: the kernel
//! suppresses those events (`drivers/usb/core/devio.c`). Built with feature `udev`; [`UsbWatch`](super::UsbWatch) then listens here. It never changes a device.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use udev::{Device, EventType, MonitorBuilder, MonitorSocket};

use super::port::port_path;
use crate::DeviceId;

/// News of one USB device or interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdevEvent {
    /// What happened.
    pub action: UdevAction,
    /// The port it happened at; nothing once the device is out of sysfs.
    pub port: Option<DeviceId>,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdevAction {
    /// A device came, left or changed.
    Device,
    /// A driver of the kernel took an interface.
    Bind,
    /// A driver of the kernel let go of an interface.
    Unbind,
}

/// Follows the events that udev sends when it has finished with a device.
pub struct UdevMonitor {
    socket: AsyncFd<MonitorSocket>,
}

impl UdevMonitor {
    /// Listens from now on. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// When udev's socket cannot be had.
    pub fn new() -> io::Result<Self> {
        let socket = MonitorBuilder::new()?.match_subsystem("usb")?.listen()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe to call; this socket keeps its descriptor for life"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket })
    }

    /// The next event. Cancel-safe.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<UdevEvent>> {
        loop {
            let mut readable = ready!(self.socket.poll_read_ready(cx))?;
            if let Some(event) = readable.get_inner().iter().next() {
                let is_interface = event.devtype().is_some_and(|kind| kind == "usb_interface");
                let action = action(event.event_type(), is_interface);
                if let Some(action) = action {
                    let sysfs = event.syspath();
                    let device = if is_interface {
                        sysfs.parent()
                    } else {
                        Some(sysfs)
                    };
                    let port = device.and_then(port_path).map(DeviceId);
                    return Poll::Ready(Ok(UdevEvent { action, port }));
                }
            } else {
                readable.clear_ready();
            }
        }
    }
}

/// Interfaces matter for their drivers only: their device comes and goes with them.
const fn action(kind: EventType, is_interface: bool) -> Option<UdevAction> {
    match (kind, is_interface) {
        (EventType::Bind, true) => Some(UdevAction::Bind),
        (EventType::Unbind, true) => Some(UdevAction::Unbind),
        (_, true) => None,
        (_, false) => Some(UdevAction::Device),
    }
}

/// What udev's rules and database say about the device in a folder of sysfs.
///
/// # Errors
/// When it is not there.
pub fn properties(sysfs: &Path) -> io::Result<BTreeMap<String, String>> {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let device = Device::from_syspath(sysfs)?;
    let properties = device.properties();
    Ok(properties
        .map(|property| (text(property.name()), text(property.value())))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drivers_matter_on_interfaces() {
        assert_eq!(action(EventType::Unbind, true), Some(UdevAction::Unbind));
        assert_eq!(action(EventType::Bind, true), Some(UdevAction::Bind));
        assert_eq!(action(EventType::Add, true), None);
        assert_eq!(action(EventType::Add, false), Some(UdevAction::Device));
        assert_eq!(action(EventType::Bind, false), Some(UdevAction::Device));
    }

    #[tokio::test]
    async fn nothing_happens_on_a_quiet_machine() {
        let mut monitor = UdevMonitor::new().unwrap();
        let event = std::future::poll_fn(|cx| Poll::Ready(monitor.poll_event(cx))).await;
        assert!(event.is_pending() || matches!(event, Poll::Ready(Ok(_))));
    }

    #[test]
    fn a_device_of_this_machine_has_properties_and_a_missing_one_an_error() {
        let properties = properties(Path::new("/sys/class/mem/null")).unwrap();
        assert_eq!(properties["DEVNAME"], "/dev/null");
        assert!(super::properties(Path::new("/sys/class/mem/nothing")).is_err());
    }
}
