//! Plugs a socket into a port of the kernel's virtual host controller.
//!
//! Owns the files below `/sys/devices/platform/vhci_hcd.0`: finds out whether a port
//! is free and hands one end of a socket pair to it. Needs root and the module
//! `vhci-hcd`. Carries requests and responses, whose meaning is not known here.
//!
//! Source: Linux, `drivers/usb/usbip/vhci_sysfs.c`. Pulling the plug needs no file:
//! closing the other end of the socket does it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::usbip::{self, HEADER_BYTES, MAX_TRANSFER_BYTES, Request, Response};

/// Where the kernel shows its virtual host controller.
pub const SYSFS: &str = "/sys/devices/platform/vhci_hcd.0";

/// USB 2 ports of the first virtual host controller: 0 to 14 on Debian 12's kernel.
pub const PORTS: u8 = 15;

/// `USB_SPEED_FULL` of the kernel, 12 Mbit/s.
const FULL_SPEED: u8 = 2;

/// `VDEV_ST_NULL`: nothing is plugged into the port.
const PORT_IS_FREE: u8 = 4;

/// Why a board could not be plugged in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VhciError {
    /// The module is not there, or this is not root.
    #[error("cannot use {path}: {source} (module vhci-hcd loaded? root?)")]
    Sysfs {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gave no socket.
    #[error("cannot make a socket pair: {0}")]
    Socket(#[from] io::Error),
    /// The controller has no such port.
    #[error("virtual host controller has no USB 2 port {0}")]
    NoPort(u8),
    /// Something is plugged into the port.
    #[error("port {0} of the virtual host controller is in use")]
    InUse(u8),
}

/// One USB 2 port of the virtual host controller.
#[derive(Debug, Clone)]
pub struct VhciPort {
    directory: PathBuf,
    number: u8,
}

impl VhciPort {
    /// The port of this number, 0 to [`PORTS`] - 1.
    pub fn new(number: u8) -> Self {
        Self {
            directory: SYSFS.into(),
            number,
        }
    }

    /// Its number.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Whether something can be plugged in.
    ///
    /// # Errors
    /// [`VhciError::InUse`] while something is, or while the kernel still takes down
    /// what was; try again after some milliseconds. [`VhciError::NoPort`] and
    /// [`VhciError::Sysfs`] where no waiting helps.
    pub fn check_free(&self) -> Result<(), VhciError> {
        let path = self.directory.join("status");
        let status = std::fs::read_to_string(&path).map_err(sysfs(&path))?;
        match port_status(&status, self.number) {
            None => Err(VhciError::NoPort(self.number)),
            Some(PORT_IS_FREE) => Ok(()),
            Some(_) => Err(VhciError::InUse(self.number)),
        }
    }

    /// Plugs in: from now on the kernel sends its requests, beginning with the
    /// enumeration. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`VhciError::Sysfs`] if the kernel refuses, as for a port that is in use;
    /// [`VhciError::Socket`] if the system gives no socket.
    pub fn plug(&self) -> Result<UsbipWire, VhciError> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let wire = UsbipWire::new(tokio::net::UnixStream::from_std(ours)?);
        // Bus 1 of a far host that does not exist; the kernel only wants it unique.
        let device_id = 1 << 16 | (u32::from(self.number) + 1);
        let path = self.directory.join("attach");
        let request = format!(
            "{} {} {device_id} {FULL_SPEED}",
            self.number,
            theirs.as_raw_fd()
        );
        std::fs::write(&path, request).map_err(sysfs(&path))?;
        // The kernel holds its end now; our handle of it closes here.
        Ok(wire)
    }

    /// The name of the device below `/sys/bus/usb/devices`, such as `1-3`. It depends
    /// on the port only, so a board that is plugged in again keeps it.
    ///
    /// # Errors
    /// [`VhciError::Sysfs`] if the controller is not there.
    pub fn device_name(&self) -> Result<String, VhciError> {
        let entries = std::fs::read_dir(&self.directory).map_err(sysfs(&self.directory))?;
        let bus = entries
            .filter_map(Result::ok)
            .filter(|entry| is_high_speed_hub(&entry.path()))
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix("usb")?
                    .parse()
                    .ok()
            })
            .min()
            .unwrap_or(0u16);
        Ok(format!("{bus}-{}", self.number + 1))
    }
}

fn is_high_speed_hub(path: &Path) -> bool {
    std::fs::read_to_string(path.join("speed")).is_ok_and(|speed| speed.trim() == "480")
}

fn sysfs(path: &Path) -> impl FnOnce(io::Error) -> VhciError {
    move |source| VhciError::Sysfs {
        path: path.to_owned(),
        source,
    }
}

/// State number of a USB 2 port in the text of the file `status`.
fn port_status(status: &str, number: u8) -> Option<u8> {
    status
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find_map(|words| match words[..] {
            ["hs", port, state, ..] if port.parse() == Ok(number) => state.parse().ok(),
            _ => None,
        })
}

/// How long the kernel may take to read a response; its reader thread does nothing
/// else, so only a dead kernel side takes longer.
const RESPONSE_READ_WITHIN: Duration = Duration::from_secs(10);

/// Our end of a cable to the virtual host controller; dropping it unplugs.
#[derive(Debug)]
pub struct UsbipWire {
    socket: tokio::net::UnixStream,
    stream: BytesMut,
}

impl UsbipWire {
    pub(crate) fn new(socket: tokio::net::UnixStream) -> Self {
        Self {
            socket,
            stream: BytesMut::with_capacity(HEADER_BYTES + MAX_TRANSFER_BYTES),
        }
    }

    /// The kernel's next request. Cancel-safe: what was read is kept.
    ///
    /// # Errors
    /// A text that says why the cable is out.
    pub async fn next_request(&mut self) -> Result<Request, String> {
        loop {
            match usbip::decode(&mut self.stream) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => {}
                Err(error) => return Err(format!("cannot follow the kernel: {error}")),
            }
            match self.socket.read_buf(&mut self.stream).await {
                Ok(0) => return Err("unplugged by the kernel".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(format!("kernel dropped the cable: {error}")),
            }
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// A text that says why the cable is out.
    pub async fn respond(&mut self, response: &Response) -> Result<(), String> {
        let mut bytes = BytesMut::new();
        response.encode(&mut bytes);
        match timeout(RESPONSE_READ_WITHIN, self.socket.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("kernel dropped the cable: {error}")),
            Err(_) => Err("kernel takes no responses".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = "\
hub port sta spd dev      sockfd local_busid
hs  0000 006 002 00010001 000003 1-1
hs  0001 004 000 00000000 000000 0-0
ss  0002 004 000 00000000 000000 0-0
";

    #[test]
    fn a_port_is_free_only_in_the_state_null() {
        assert_eq!(port_status(STATUS, 0), Some(6));
        assert_eq!(port_status(STATUS, 1), Some(PORT_IS_FREE));
    }

    #[test]
    fn a_usb_3_port_is_no_port_for_these_boards() {
        assert_eq!(port_status(STATUS, 2), None);
    }

    #[test]
    fn a_missing_controller_is_told_with_the_likely_cause() {
        let port = VhciPort {
            directory: "/nonexistent".into(),
            number: 0,
        };
        let error = port.check_free().unwrap_err();
        assert!(error.to_string().contains("module vhci-hcd"), "{error}");
    }

    proptest! {
        #[test]
        fn any_status_text_is_read_without_panic(text in "\\PC{0,200}", number in any::<u8>()) {
            let _ = port_status(&text, number);
        }
    }
}
