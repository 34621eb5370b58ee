use std::time::Duration;

use crate::DeviceId;

/// What can go wrong with a device.
///
/// The texts name the operation and the cause; the caller knows and adds the
/// device. [`is_retryable`](Self::is_retryable) says whether attaching again may help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// No such device is plugged in.
    #[error("device {0} is not plugged in")]
    NotFound(DeviceId),
    /// The device vanished: unplugged, powered off, or reset.
    #[error("device disconnected")]
    Disconnected,
    /// An operation took longer than its bound.
    #[error("{operation} did not finish within {} ms", after.as_millis())]
    Timeout {
        /// What was being done.
        operation: &'static str,
        /// The bound.
        after: Duration,
    },
    /// The device answers in no layout that this driver knows.
    #[error("device answers neither in the S1 nor in the S3 layout")]
    UnknownLayout,
    /// Recovery was tried its bounded number of times without success.
    #[error("device does not recover: {0}")]
    Unrecoverable(&'static str),
    /// A setting would damage the hardware or is not in the model's table.
    #[error("refused setting: {0}")]
    UnsafeSetting(String),
    /// More works were submitted than fit.
    #[error("device is full")]
    Full,
    /// The work cannot run on this device.
    #[error(
        "this device drops works whose midstate ends in 0xaa; change the header's first 64 bytes"
    )]
    NotRunnable,
    /// The text that names a device is wrong.
    #[error("{0}")]
    BadSpec(String),
    /// The operating system refused.
    #[error("{operation} failed")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The owner closed the device.
    #[error("device closed")]
    Closed,
}

impl DriverError {
    /// Whether attaching the device again later may succeed.
    pub const fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::UnsafeSetting(_) | Self::BadSpec(_) | Self::Closed
        )
    }
}
