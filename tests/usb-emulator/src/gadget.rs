//! Plays the board through this machine's USB device controller, by gadgetfs.
//!
//! Owns the files of a mounted gadgetfs and what is written to them to set a device up.
//! A plugged-in gadget ([`GadgetWire`]) says the same requests as the virtual host
//! controller, so that all behaviour stays in [`crate::transfers`].
//!
//! The stack answers the requests for device and configuration descriptors itself and
//! forces some things: the size of endpoint 0's packets is the controller's, an OUT
//! packet is accepted before the board sees it (so `stall out` and `nak out` begin
//! one packet late), and bus errors cannot be made.
//!
//! Source: Linux, `include/uapi/linux/usb/gadgetfs.h`, and `drivers/usb/gadget/legacy/inode.c`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::descriptors::{IN_ADDRESS, OUT_ADDRESS, Program};
use crate::usbip::Direction;

mod endpoint;
mod wire;

pub use wire::GadgetWire;

/// What could not be done with the gadget's files.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source} (gadgetfs mounted? device controller free? root?)")]
pub struct GadgetError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl GadgetError {
    /// Whether another device is plugged in there, or still on its way out.
    pub fn is_busy(&self) -> bool {
        self.source.kind() == io::ErrorKind::ResourceBusy
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GadgetError {
    move |source| GadgetError {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// A device controller, as the directory where gadgetfs is mounted.
#[derive(Debug, Clone)]
pub struct GadgetPort {
    directory: String,
}

impl GadgetPort {
    /// The controller behind this directory.
    pub fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Whether gadgetfs is mounted here.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(&self) -> Result<(), GadgetError> {
        self.control_file().map(drop)
    }

    /// The file that stands for the device; it is named after the controller.
    fn control_file(&self) -> Result<PathBuf, GadgetError> {
        self.find("find the control file in", |name| !name.starts_with("ep"))
    }

    fn find(
        &self,
        operation: &'static str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<PathBuf, GadgetError> {
        let directory = Path::new(&self.directory);
        let entries = std::fs::read_dir(directory).map_err(failed(operation, directory))?;
        entries
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_str().is_some_and(&is_wanted))
            .map(|entry| entry.path())
            .ok_or_else(|| failed(operation, directory)(io::ErrorKind::NotFound.into()))
    }

    /// Puts the plug in: the host sees the device from now on.
    ///
    /// # Errors
    /// If the controller is busy or does not like the descriptors.
    pub fn plug(&self, program: Program) -> Result<GadgetWire, GadgetError> {
        let path = self.control_file()?;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(&path)
            .map_err(failed("open", &path))?;
        (&control)
            .write_all(&device_message(program))
            .map_err(failed("configure", &path))?;
        endpoint::prepare_interrupts().map_err(failed("prepare", &path))?;
        Ok(GadgetWire::new(self.clone(), program, control))
    }

    /// Opens and enables the endpoint 1 of this direction.
    fn open_endpoint(&self, program: Program, direction: Direction) -> Result<File, GadgetError> {
        let (prefix, address) = match direction {
            Direction::In => ("ep1in", IN_ADDRESS),
            Direction::Out => ("ep1out", OUT_ADDRESS),
        };
        let path = self.find("find endpoint 1 in", |name| name.starts_with(prefix))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        (&file)
            .write_all(&endpoint_message(program, address))
            .map_err(failed("enable", &path))?;
        Ok(file)
    }
}

/// What is written to the control file: a tag, the configuration at full speed, the
/// device. Without one for high speed the device is a full-speed device everywhere.
fn device_message(program: Program) -> Vec<u8> {
    let mut message = 0u32.to_ne_bytes().to_vec();
    message.extend(program.configuration_descriptor());
    message.extend(program.device_descriptor());
    message
}

/// What is written to an endpoint file: a tag and its descriptor.
fn endpoint_message(program: Program, address: u8) -> Vec<u8> {
    let mut message = 1u32.to_ne_bytes().to_vec();
    // The two endpoint descriptors end the configuration, seven bytes each.
    let endpoints = program.configuration_descriptor()[18..].chunks(7);
    message.extend(
        endpoints
            .filter(|descriptor| descriptor[2] == address)
            .flatten(),
    );
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_message_is_tag_configuration_device() {
        let message = device_message(Program::Application);
        assert_eq!(message.len(), 4 + 32 + 18);
        assert_eq!(message[..6], [0, 0, 0, 0, 9, 2]);
        assert_eq!(message[36..38], [18, 1]);
    }

    #[test]
    fn an_endpoint_message_is_tag_and_that_endpoint() {
        let message = endpoint_message(Program::BootLoader, OUT_ADDRESS);
        assert_eq!(message[..4], 1u32.to_ne_bytes());
        assert_eq!(message[4..], [7, 5, 0x01, 3, 64, 0, 1]);
    }

    #[test]
    fn a_directory_without_gadgetfs_is_told_with_the_likely_cause() {
        let error = GadgetPort::new("/nonexistent").check().unwrap_err();
        assert!(error.to_string().contains("gadgetfs mounted"), "{error}");
    }
}
