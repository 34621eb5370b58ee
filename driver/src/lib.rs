//! Speaks to Bitmain USB hash boards, simulates them, and searches on the CPU.

mod cpu;
pub mod crc;
mod device;
mod error;
mod profile;
pub mod stream;
pub mod token;
pub mod transport;
#[cfg(test)]
mod vectors;

pub use cpu::{CPU_THREADS_MAX, CpuDevice};
pub use device::{
    DeviceCounters, DeviceEvent, DeviceId, DeviceInfo, DeviceKind, DeviceStatus, DeviceWork,
    HashDevice, PauseReason, Sweep, WorkEnd, WorkTag, next_event,
};
pub use error::DriverError;
pub use profile::{Layout, Model};
