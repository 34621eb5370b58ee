//! Why jobs and calls fail, and the one table from there to the socket protocol's
//! numbers and the names of errors over D-Bus.

use hasher_wire::Status;
use hasher_work::WorkError;

/// Why a request is refused or an accepted job fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JobError {
    /// The job is out of bounds.
    #[error(transparent)]
    Invalid(#[from] WorkError),
    /// The request number is still in use.
    #[error("request {0} is still unanswered")]
    DuplicateRequest(u32),
    /// The session's version lacks the request.
    #[error("{0} need protocol 1.1")]
    Unsupported(&'static str),
    /// There is no such document.
    #[error("no document {0:?}")]
    NoDocument(String),
    /// The client gave it up.
    #[error("cancelled")]
    Cancelled,
    /// Every attached device refuses works with this midstate.
    #[error("every attached device drops works with this midstate; change the first 64 bytes")]
    NotRunnable,
    /// More unanswered requests than credits.
    #[error("all {0} credits are in use")]
    Busy(u16),
    /// The user's sessions have as many jobs as the user may have.
    #[error("you have {0} search jobs unanswered, as many as a user may have")]
    UserBusy(usize),
    /// The deadline passed.
    #[error("no answer within {0} ms")]
    Deadline(u128),
    /// The deadline passed while no device that could help took works.
    #[error("no answer within {allowed_ms} ms: {device} is paused: {reason}")]
    DeadlinePaused {
        allowed_ms: u128,
        device: String,
        reason: String,
    },
    /// The daemon stops.
    #[error("hasherd is shutting down")]
    ShuttingDown,
    /// No device is attached, and none is expected back.
    #[error("no device is attached")]
    NoDevice,
    /// The device did not come back, or loses every attempt.
    #[error("{0}")]
    DeviceGone(&'static str),
    /// The session may not share memory with the daemon.
    #[error("shared memory was not offered to this session")]
    NotShared,
    /// The session has shared memory already.
    #[error("this session has a ring already")]
    SecondRing,
    /// A fault of the daemon; the number stands in its log.
    #[error("fault {0} in hasherd's log")]
    Internal(u64),
}

impl JobError {
    /// The number that travels.
    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Invalid(_) | Self::DuplicateRequest(_) | Self::SecondRing => Status::Invalid,
            Self::Unsupported(_) | Self::NoDocument(_) => Status::Unsupported,
            Self::NotShared => Status::NotAllowed,
            Self::Cancelled => Status::Cancelled,
            Self::NotRunnable => Status::NotRunnable,
            Self::Busy(_) | Self::UserBusy(_) => Status::Busy,
            Self::Deadline(_) | Self::DeadlinePaused { .. } => Status::Deadline,
            Self::ShuttingDown => Status::ShuttingDown,
            Self::NoDevice => Status::NoDevice,
            Self::DeviceGone(_) => Status::DeviceGone,
            Self::Internal(_) => Status::Internal,
        }
    }
}

/// Why a call over D-Bus fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// For the reason that a request over the socket would fail, in its words.
    #[error("{message}")]
    Failed { status: Status, message: String },
    /// No device has this name.
    #[error("no device {0:?}")]
    UnknownDevice(String),
    /// The device is of a kind that cannot do this.
    #[error("{0}")]
    NotSupported(String),
    /// The configuration file is wrong; the text names file and line.
    #[error("{0}")]
    ConfigurationInvalid(String),
}

impl CallError {
    /// A failure for the reason that a status stands for.
    pub(crate) fn failed(status: Status, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Failed { status, message }
    }

    /// The name that travels over D-Bus.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Failed { status, .. } => error_name(*status),
            Self::UnknownDevice(_) => "org.hasher.Hasher1.Error.UnknownDevice",
            Self::NotSupported(_) => "org.hasher.Hasher1.Error.NotSupported",
            Self::ConfigurationInvalid(_) => "org.hasher.Hasher1.Error.ConfigurationInvalid",
        }
    }
}

impl From<JobError> for CallError {
    fn from(error: JobError) -> Self {
        Self::failed(error.status(), error.to_string())
    }
}

/// The name over D-Bus of what is a number on the socket.
const fn error_name(status: Status) -> &'static str {
    match status {
        Status::Invalid => "org.hasher.Hasher1.Error.Invalid",
        Status::Unsupported => "org.hasher.Hasher1.Error.Unsupported",
        Status::NotAllowed => "org.hasher.Hasher1.Error.NotAllowed",
        Status::Cancelled => "org.hasher.Hasher1.Error.Cancelled",
        Status::NotRunnable => "org.hasher.Hasher1.Error.NotRunnable",
        Status::Busy => "org.hasher.Hasher1.Error.Busy",
        Status::Deadline => "org.hasher.Hasher1.Error.Deadline",
        Status::ShuttingDown => "org.hasher.Hasher1.Error.ShuttingDown",
        Status::NoDevice => "org.hasher.Hasher1.Error.NoDevice",
        Status::DeviceGone => "org.hasher.Hasher1.Error.DeviceGone",
        // The bytes of the inner session are the daemon's own, so a protocol error is
        // its fault; so is a number that it does not know.
        Status::Internal | Status::Protocol | Status::Other(_) => {
            "org.hasher.Hasher1.Error.Internal"
        }
        // A status of a later protocol gets its name here before the daemon sends it.
        _ => "org.hasher.Hasher1.Error.Internal",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn every_kind() -> Vec<CallError> {
        let failed = Status::ALL
            .into_iter()
            .map(|status| CallError::failed(status, "why"));
        let own = [
            CallError::UnknownDevice("cpu-0".into()),
            CallError::NotSupported("why".into()),
            CallError::ConfigurationInvalid("why".into()),
        ];
        failed.chain(own).collect()
    }

    #[test]
    fn every_error_has_a_name_of_its_own() {
        let names: Vec<&str> = every_kind()
            .iter()
            // It has no name: the inner session is the daemon's own.
            .filter(|error| {
                !matches!(
                    error,
                    CallError::Failed {
                        status: Status::Protocol,
                        ..
                    }
                )
            })
            .map(CallError::name)
            .collect();
        let distinct: HashSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        for name in names {
            let kind = name.strip_prefix("org.hasher.Hasher1.Error.").unwrap();
            assert!(
                kind.bytes().all(|byte| byte.is_ascii_alphabetic()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_job_fails_for_the_same_reason_on_the_socket_and_on_the_bus() {
        let errors: [(JobError, Status, &str); 12] = [
            (
                WorkError::BadZeroBits(257).into(),
                Status::Invalid,
                "Invalid",
            ),
            (JobError::DuplicateRequest(7), Status::Invalid, "Invalid"),
            (
                JobError::Unsupported("x"),
                Status::Unsupported,
                "Unsupported",
            ),
            (JobError::Cancelled, Status::Cancelled, "Cancelled"),
            (JobError::NotRunnable, Status::NotRunnable, "NotRunnable"),
            (JobError::Busy(3), Status::Busy, "Busy"),
            (JobError::Deadline(9), Status::Deadline, "Deadline"),
            (JobError::ShuttingDown, Status::ShuttingDown, "ShuttingDown"),
            (JobError::NoDevice, Status::NoDevice, "NoDevice"),
            (JobError::DeviceGone("x"), Status::DeviceGone, "DeviceGone"),
            (JobError::Internal(5), Status::Internal, "Internal"),
            (
                JobError::NoDocument("x".into()),
                Status::Unsupported,
                "Unsupported",
            ),
        ];
        for (error, status, name) in errors {
            assert_eq!(error.status(), status);
            let text = error.to_string();
            let call = CallError::from(error);
            assert_eq!(call.name(), format!("org.hasher.Hasher1.Error.{name}"));
            assert_eq!(call.to_string(), text);
        }
    }
}
