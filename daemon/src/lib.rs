//! The hasherd daemon as a library: devices on one side, clients on the other.
//!
//! ```text
//! client ── frames ──► Session ──► Hub { Scheduler } ◄── DeviceTask ──► HashDevice
//!                      1 each      the rules, pure       1 each        driver
//! ```
//!
//! One current-thread runtime runs everything; a CPU device and larger digests have
//! threads of their own. `main.rs` parses arguments and calls [`run()`]; tests call
//! it with invented devices.

mod arguments;
mod boards;
mod carrier;
mod client_socket;
pub mod config;
mod control;
mod core;
mod dbus;
mod descriptors;
mod device_task;
mod digest;
mod document;
mod door;
mod eager;
mod error_text;
mod fault_log;
mod hub;
mod life;
mod link;
mod listener;
pub mod log;
mod manager;
mod notify;
mod orders;
mod places;
mod power;
mod proof;
mod reload;
mod session;
mod socket_file;
mod subscription;
#[cfg(test)]
mod test_device;
#[cfg(test)]
mod test_rng;
mod time;

pub use arguments::{Arguments, command};
pub use boards::{Bus, UsbBus};
pub use control::{Control, ReloadError, ReloadRequest, Reloader};
pub use dbus::MessageBus;
pub use life::run;
pub use listener::{Access, ListenError, Listener};
pub use manager::Source;
pub use reload::Configuration;
