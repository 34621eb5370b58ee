//! Why a job fails, and the one table from there to the protocol's numbers.

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
    /// A fault of the daemon; the number stands in its log.
    #[error("fault {0} in hasherd's log")]
    Internal(u64),
}

impl JobError {
    /// The number that travels.
    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Invalid(_) | Self::DuplicateRequest(_) => Status::Invalid,
            Self::Unsupported(_) | Self::NoDocument(_) => Status::Unsupported,
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
