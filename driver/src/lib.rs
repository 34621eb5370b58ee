//! Speaks to Bitmain USB hash boards, simulates them, and searches on the CPU.

mod device;
mod error;

pub use device::{
    DeviceCounters, DeviceEvent, DeviceId, DeviceInfo, DeviceKind, DeviceStatus, DeviceWork,
    HashDevice, PauseReason, Sweep, WorkEnd, WorkTag, next_event,
};
pub use error::DriverError;
