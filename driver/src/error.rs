use std::fmt;
use std::path::PathBuf;
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
    /// Somebody else holds the device.
    #[error("held by {by}")]
    Busy {
        /// Who.
        by: Holder,
    },
    /// The system lets this process not use the device.
    #[error("no permission for {}: {why}", node.display())]
    PermissionDenied {
        /// The device's node.
        node: PathBuf,
        /// Which rule is in the way.
        why: Denial,
    },
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
    /// The board stayed in its boot loader, or came back in it.
    #[error("its boot loader does not start the application")]
    NotStarted,
    /// Recovery was tried its bounded number of times without success.
    #[error("device does not recover: {0}")]
    Unrecoverable(&'static str),
    /// A setting would damage the hardware or is not in the model's table.
    #[error("refused setting: {0}")]
    UnsafeSetting(String),
    /// This kind of device has nothing of the sort.
    #[error("{0}")]
    NotSupported(&'static str),
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

/// Who holds a device that cannot be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A driver in the kernel, by name, that does not let go.
    KernelDriver(String),
    /// Another program, through usbfs. Which one, only root can find out.
    Program,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelDriver(name) => write!(f, "kernel driver \"{name}\""),
            Self::Program => f.write_str("another program"),
        }
    }
}

/// Why a device's node cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// Owner and mode of the node (`EACCES`).
    Mode,
    /// A policy above them (`EPERM`): the device list of the service's unit, most
    /// likely.
    Policy,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "its owner and mode do not let this user write",
            Self::Policy => "the service may not use USB devices",
        })
    }
}

/// When attaching a device again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Soon, and without growing patience: somebody else has it and may let go.
    Soon,
    /// After a pause that grows.
    Later,
    /// Only after it was unplugged and plugged in: it is not what its id says, and is
    /// left alone.
    AfterReplug,
    /// Never: the owner asked for something impossible, or closed it.
    Never,
}

impl DriverError {
    /// When attaching the device again may succeed.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::UnsafeSetting(_) | Self::BadSpec(_) | Self::Closed => Retry::Never,
            Self::Busy { .. } => Retry::Soon,
            Self::UnknownLayout => Retry::AfterReplug,
            _ => Retry::Later,
        }
    }

    /// Whether attaching the device again may ever succeed.
    pub const fn is_retryable(&self) -> bool {
        !matches!(self.retry(), Retry::Never)
    }

    /// What a person can do about it, in one line; nothing where the driver goes on by
    /// itself or nothing is known to help.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Busy {
                by: Holder::KernelDriver(name),
            } => format!("unload it with `sudo modprobe -r {name}` and keep it away with the modprobe file in udev-rules/"),
            Self::Busy {
                by: Holder::Program,
            } => "stop that program (a miner? `systemctl stop cgminer`); `sudo hasher doctor` names it".to_owned(),
            Self::PermissionDenied {
                why: Denial::Mode, ..
            } => "install udev-rules/70-hasher.rules, run `sudo udevadm control --reload`, and plug the board in again".to_owned(),
            Self::PermissionDenied {
                why: Denial::Policy,
                ..
            } => "the service's unit needs `DeviceAllow=char-usb_device rw`".to_owned(),
            Self::UnknownLayout => "it is left alone; switch the board off and on and plug it in again".to_owned(),
            Self::NotFound(_) => "plug the board in and switch it on".to_owned(),
            Self::Unrecoverable(_) | Self::NotStarted => "if it does not come back, switch the board off and on".to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_denied_say_who_and_what_helps() {
        let busy = |by| DriverError::Busy { by };
        let driver = busy(Holder::KernelDriver("bitmain".into()));
        assert_eq!(driver.to_string(), "held by kernel driver \"bitmain\"");
        assert!(driver.remedy().unwrap().contains("modprobe -r bitmain"));
        assert_eq!(driver.retry(), Retry::Soon);
        let program = busy(Holder::Program);
        assert_eq!(program.to_string(), "held by another program");
        assert!(program.remedy().unwrap().contains("sudo hasher doctor"));
        let denied = |why| DriverError::PermissionDenied {
            node: "/dev/bus/usb/001/004".into(),
            why,
        };
        assert_eq!(
            denied(Denial::Mode).to_string(),
            "no permission for /dev/bus/usb/001/004: its owner and mode do not let this user write"
        );
        assert!(
            denied(Denial::Mode)
                .remedy()
                .unwrap()
                .contains("70-hasher.rules")
        );
        assert!(
            denied(Denial::Policy)
                .remedy()
                .unwrap()
                .contains("DeviceAllow")
        );
        assert_eq!(denied(Denial::Policy).retry(), Retry::Later);
    }

    #[test]
    fn every_remedy_is_one_line() {
        let errors = [
            DriverError::NotFound(DeviceId("usb-1".into())),
            DriverError::UnknownLayout,
            DriverError::Unrecoverable("it stays silent"),
            DriverError::Busy {
                by: Holder::Program,
            },
        ];
        for error in errors {
            let remedy = error.remedy().unwrap();
            assert!(!remedy.contains('\n') && remedy.len() <= 128, "{remedy}");
        }
    }

    #[test]
    fn what_is_not_this_kind_of_device_is_left_alone_until_it_is_replugged() {
        assert_eq!(DriverError::UnknownLayout.retry(), Retry::AfterReplug);
        assert_eq!(DriverError::Closed.retry(), Retry::Never);
        assert!(!DriverError::Closed.is_retryable());
        assert!(DriverError::Disconnected.is_retryable());
    }
}
