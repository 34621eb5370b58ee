//! Opens a board, takes its interface, and says why not.
//!
//! Owns the claim and its errors. The kernel driver that may hold the interface is
//! detached and the interface claimed in one system call, so that nothing can come
//! between; a program that holds it is never thrown out. [`super::open`] calls it.

use std::path::PathBuf;

use nusb::descriptors::TransferType;
use nusb::transfer::{Bulk, BulkOrInterrupt, Direction, In, Interrupt, Out};
use nusb::{Device, ErrorKind, Interface};

use super::bus::{Found, driver_of, node};
use super::pipe::EndpointPipe;
use super::transport::UsbTransport;
use crate::transport::Transport;
use crate::{Denial, DeviceId, DriverError, Holder};

/// The only interface of both products (protocol reference, section 2.1).
const INTERFACE: u8 = 0;
/// Their only configuration. Linux sets it by itself; a device that was left without
/// one cannot be claimed.
const CONFIGURATION: u8 = 1;

/// What the kernel says of an interface that a program holds.
const USBFS: &str = "usbfs";

/// Linux's number of `EPERM`, as against `EACCES`.
const EPERM: u32 = 1;

/// Claims a board. `gives_back` says whether the kernel driver that is detached for it
/// is attached again at the end.
///
/// # Errors
/// [`DriverError::NotFound`] when it just left, [`DriverError::PermissionDenied`],
/// [`DriverError::Busy`], [`DriverError::Io`] for anything else.
pub(super) async fn claim(
    found: &Found,
    gives_back: bool,
) -> Result<Box<dyn Transport>, DriverError> {
    let device = open(found).await?;
    let interface = take(found, &device, gives_back).await?;
    let refused = |error: nusb::Error| io("opening the endpoints", error);
    endpoints(interface)
        .ok_or(DriverError::UnknownLayout)?
        .map_err(refused)
}

/// Resets the board's port: the kernel enumerates it anew, in place. What its
/// application holds stays (protocol reference, section 6.2).
///
/// # Errors
/// As for [`claim`]: only who holds a board may reset it.
pub(super) async fn reset(found: &Found) -> Result<(), DriverError> {
    let device = open(found).await?;
    let interface = take(found, &device, true).await?;
    let result = device.reset().await;
    drop(interface);
    match result {
        // It came back as something else, which the bus will show.
        Err(error) if error.kind() == ErrorKind::Disconnected => Ok(()),
        other => other.map_err(|error| io("resetting the port", error)),
    }
}

async fn open(found: &Found) -> Result<Device, DriverError> {
    let device = found.info.open().await;
    let device = device.map_err(|error| Refusal::of(found, &error).explain("opening"))?;
    if device.active_configuration().is_err() {
        let set = device.set_configuration(CONFIGURATION).await;
        set.map_err(|error| Refusal::of(found, &error).explain("configuring"))?;
    }
    Ok(device)
}

async fn take(found: &Found, device: &Device, gives_back: bool) -> Result<Interface, DriverError> {
    let claimed = if gives_back {
        device.detach_and_claim_interface(INTERFACE).await
    } else {
        // The one call would attach the driver again at the end. Two calls leave a
        // gap, so a program that holds the interface is looked for before.
        match driver_of(found.info.sysfs_path(), INTERFACE) {
            Some(name) if name != USBFS => {
                // Gone already is as good.
                let _ = device.detach_kernel_driver(INTERFACE);
            }
            _ => {}
        }
        device.claim_interface(INTERFACE).await
    };
    claimed.map_err(|error| Refusal::of(found, &error).explain("claiming the interface"))
}

/// The interface's pair of endpoints: bulk in the application, interrupt in the boot
/// loader. Found by their descriptors, because a gadget that plays the board may be
/// forced to other addresses than the board's 0x81 and 0x01.
fn endpoints(interface: Interface) -> Option<Result<Box<dyn Transport>, nusb::Error>> {
    let descriptor = interface.descriptor()?;
    let find = |direction, kind| {
        descriptor
            .endpoints()
            .find(|e| e.direction() == direction && e.transfer_type() == kind)
            .map(|e| e.address())
    };
    let pair = |kind| Some((find(Direction::In, kind)?, find(Direction::Out, kind)?));
    if let Some((input, output)) = pair(TransferType::Bulk) {
        Some(transport::<Bulk>(interface, input, output))
    } else {
        let (input, output) = pair(TransferType::Interrupt)?;
        Some(transport::<Interrupt>(interface, input, output))
    }
}

fn transport<E: BulkOrInterrupt + 'static>(
    interface: Interface,
    input: u8,
    output: u8,
) -> Result<Box<dyn Transport>, nusb::Error> {
    let input = EndpointPipe::new(interface.endpoint::<E, In>(input)?);
    let output = EndpointPipe::new(interface.endpoint::<E, Out>(output)?);
    let release = Box::pin(async move {
        // Fails only while endpoints are open; then their end releases it.
        let _ = interface.release().await;
    });
    Ok(Box::new(UsbTransport::new(input, output, release)))
}

/// Everything that is known when the kernel says no.
#[derive(Debug)]
struct Refusal {
    id: DeviceId,
    kind: ErrorKind,
    os_error: Option<u32>,
    /// The driver that sysfs names for the interface.
    holder: Option<String>,
    node: PathBuf,
    source: std::io::Error,
}

impl Refusal {
    fn of(found: &Found, error: &nusb::Error) -> Self {
        Self {
            id: found.board.id.clone(),
            kind: error.kind(),
            os_error: error.os_error(),
            holder: driver_of(found.info.sysfs_path(), INTERFACE),
            node: node(found.board.address),
            source: error.clone().into(),
        }
    }

    fn explain(self, operation: &'static str) -> DriverError {
        match self.kind {
            ErrorKind::Disconnected => DriverError::NotFound(self.id),
            ErrorKind::PermissionDenied => DriverError::PermissionDenied {
                node: self.node,
                why: match self.os_error {
                    Some(EPERM) => Denial::Policy,
                    _ => Denial::Mode,
                },
            },
            ErrorKind::Busy => DriverError::Busy {
                by: match self.holder {
                    Some(name) if name != USBFS => Holder::KernelDriver(name),
                    // Nobody any more: it let go in this moment.
                    _ => Holder::Program,
                },
            },
            _ => DriverError::Io {
                operation,
                source: self.source,
            },
        }
    }
}

fn io(operation: &'static str, error: nusb::Error) -> DriverError {
    match error.kind() {
        ErrorKind::Disconnected => DriverError::Disconnected,
        _ => DriverError::Io {
            operation,
            source: error.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(kind: ErrorKind, os_error: u32, holder: Option<&str>) -> String {
        let refusal = Refusal {
            id: DeviceId("pci-0000:00:14.0-usb-0:2".into()),
            kind,
            os_error: Some(os_error),
            holder: holder.map(str::to_owned),
            node: "/dev/bus/usb/001/004".into(),
            source: std::io::Error::from_raw_os_error(os_error as i32),
        };
        refusal.explain("claiming the interface").to_string()
    }

    #[test]
    fn a_refused_claim_says_who_is_in_the_way() {
        use ErrorKind::{Busy, Disconnected, Other, PermissionDenied};
        for (kind, os_error, holder, text) in [
            (Busy, 16, Some("usbfs"), "held by another program"),
            (Busy, 16, None, "held by another program"),
            (
                Busy,
                16,
                Some("bitmain"),
                "held by kernel driver \"bitmain\"",
            ),
            (
                PermissionDenied,
                13,
                None,
                "no permission for /dev/bus/usb/001/004: its owner and mode do not let this user write",
            ),
            (
                PermissionDenied,
                1,
                Some("usbfs"),
                "no permission for /dev/bus/usb/001/004: the service may not use USB devices",
            ),
            (
                Disconnected,
                19,
                None,
                "device pci-0000:00:14.0-usb-0:2 is not plugged in",
            ),
            (Other, 5, None, "claiming the interface failed"),
        ] {
            assert_eq!(explained(kind, os_error, holder), text);
        }
    }
}
