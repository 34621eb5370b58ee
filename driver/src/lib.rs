//! Speaks to Bitmain USB hash boards, simulates them, and searches on the CPU.

mod cpu;
mod device;
mod error;

pub use cpu::{CPU_THREADS_MAX, CpuDevice};
pub use device::{
    DeviceCounters, DeviceEvent, DeviceId, DeviceInfo, DeviceKind, DeviceStatus, DeviceWork,
    HashDevice, PauseReason, Sweep, WorkEnd, WorkTag, next_event,
};
pub use error::DriverError;
