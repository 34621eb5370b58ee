//! Real boards on USB, claimed through usbfs without root and without a C library.
//!
//! ```text
//!  watch ── what is plugged in: Arrived, Left          (tracker: pure)
//!  port ─── names of ports that survive a replug
//!  open ─── find ─► boot loader? start it ─► claim ─► BitmainDevice
//!    claim ─── open, detach, claim; why not; give back
//!      transport ── two endpoints as a Transport       (pipe: one endpoint)
//!  udev ─── the same news from libudev, and more        (feature `udev`)
//!    libusb ── claim and transport through libusb      (feature `libusb`)
//! ```
//!
//! It never sends anything itself: tokens come from [`crate::host`], the two boot loader
//! frames from [`crate::boot_loader`]. It never retries; the daemon's manager decides
//! when to open again, with [`DriverError::retry`](crate::DriverError::retry).

mod bus;
mod claim;
#[cfg(feature = "libusb")]
mod libusb;
mod open;
mod pipe;
mod port;
mod tracker;
mod transport;
#[cfg(feature = "udev")]
pub mod udev;
mod watch;

pub use bus::{APPLICATION, BOOT_LOADER, VENDOR};
pub use open::{Opening, Via, open_port};
pub use port::PORT_PATH_BYTES_MAX;
pub use tracker::{BOARDS_MAX, Board, BusChange, Stage, Tracker};
pub use watch::{LIST_EVERY, LIST_EVERY_WITHOUT_WATCH, UsbWatch};
