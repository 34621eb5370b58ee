//! Speaks to Bitmain USB hash boards, simulates them, and searches on the CPU.

mod bitmain;
pub mod boot_loader;
pub mod capture;
mod command;
mod cpu;
pub mod crc;
mod device;
mod error;
pub mod host;
mod pll;
mod profile;
pub mod sim;
mod source;
mod spec;
pub mod stream;
pub mod token;
pub mod transport;
pub mod usb;
#[cfg(test)]
mod vectors;

pub use bitmain::BitmainDevice;
pub use command::{Command, CommandKind, Works};
pub use cpu::{CPU_THREADS_MAX, CpuDevice};
pub use device::{
    DeviceCounters, DeviceEvent, DeviceId, DeviceInfo, DeviceKind, DeviceStatus, DeviceWork,
    HashDevice, Mishap, PauseReason, Sweep, WorkEnd, WorkTag, next_event, next_event_or_room,
};
pub use error::{Denial, DriverError, Holder, Retry};
pub use pll::{Clock, MAX_TIMEOUT_MS};
pub use profile::{Layout, Model};
pub use source::DeviceSource;
pub use spec::{DeviceSpec, SPEC_BYTES_MAX, SimSpec, UsbSpec};
