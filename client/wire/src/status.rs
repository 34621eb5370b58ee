use std::fmt;

/// Why a request failed or a session ended. The numbers are fixed and never
/// reused; their hundreds are the class, so that a client can sort even a number
/// that is newer than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// 100: the request cannot be carried out as written.
    Invalid,
    /// 101: the agreed version has no such request.
    Unsupported,
    /// 102: the bytes are not this protocol; the session ends.
    Protocol,
    /// 103: this user may not do that.
    NotAllowed,
    /// 104: the caller cancelled it.
    Cancelled,
    /// 105: no attached device can run this work, another header would do.
    NotRunnable,
    /// 200: more jobs than credits, or more sessions than places.
    Busy,
    /// 201: the deadline passed.
    Deadline,
    /// 202: the daemon is stopping.
    ShuttingDown,
    /// 300: no device is attached.
    NoDevice,
    /// 301: the device went away and did not come back in time.
    DeviceGone,
    /// 400: a fault of the daemon; the message carries a reference to its log.
    Internal,
    /// A number that this version does not know.
    Other(u16),
}

/// What kind of trouble a [`Status`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// The caller must change something (100 to 199).
    Caller,
    /// The same request may succeed later (200 to 299).
    RetryLater,
    /// Hardware is missing or failed (300 to 399).
    Hardware,
    /// A fault of Hasher itself (400 and above, and 0 to 99, which nobody sends).
    Bug,
}

impl Status {
    /// Every status this version knows.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::Unsupported,
        Self::Protocol,
        Self::NotAllowed,
        Self::Cancelled,
        Self::NotRunnable,
        Self::Busy,
        Self::Deadline,
        Self::ShuttingDown,
        Self::NoDevice,
        Self::DeviceGone,
        Self::Internal,
    ];

    /// The fixed number.
    pub const fn code(self) -> u16 {
        match self {
            Self::Invalid => 100,
            Self::Unsupported => 101,
            Self::Protocol => 102,
            Self::NotAllowed => 103,
            Self::Cancelled => 104,
            Self::NotRunnable => 105,
            Self::Busy => 200,
            Self::Deadline => 201,
            Self::ShuttingDown => 202,
            Self::NoDevice => 300,
            Self::DeviceGone => 301,
            Self::Internal => 400,
            Self::Other(code) => code,
        }
    }

    /// The status of a number; [`Status::Other`] for one that is not known.
    pub fn from_code(code: u16) -> Self {
        Self::ALL
            .into_iter()
            .find(|status| status.code() == code)
            .unwrap_or(Self::Other(code))
    }

    /// What kind of trouble it is.
    pub const fn class(self) -> StatusClass {
        match self.code() {
            100..=199 => StatusClass::Caller,
            200..=299 => StatusClass::RetryLater,
            300..=399 => StatusClass::Hardware,
            _ => StatusClass::Bug,
        }
    }

    /// Whether the very same request may succeed when it is sent again. Searches
    /// are pure, so sending one twice is harmless.
    pub const fn is_retryable(self) -> bool {
        matches!(self.class(), StatusClass::RetryLater) || matches!(self, Self::DeviceGone)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid request",
            Self::Unsupported => "not supported in this protocol version",
            Self::Protocol => "protocol error",
            Self::NotAllowed => "not allowed",
            Self::Cancelled => "cancelled",
            Self::NotRunnable => "no attached device can run this work",
            Self::Busy => "busy",
            Self::Deadline => "deadline passed",
            Self::ShuttingDown => "daemon is shutting down",
            Self::NoDevice => "no device",
            Self::DeviceGone => "device gone",
            Self::Internal => "internal error of the daemon",
            Self::Other(code) => return write!(f, "unknown status {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_is_used_twice_and_each_comes_back() {
        let codes: HashSet<u16> = Status::ALL.iter().map(|status| status.code()).collect();
        assert_eq!(codes.len(), Status::ALL.len());
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), status);
        }
        assert_eq!(Status::from_code(299), Status::Other(299));
    }

    #[test]
    fn only_what_may_succeed_later_is_retryable() {
        let retryable: Vec<u16> = Status::ALL
            .into_iter()
            .filter(|status| status.is_retryable())
            .map(Status::code)
            .collect();
        assert_eq!(retryable, [200, 201, 202, 301]);
        assert!(Status::Other(250).is_retryable());
        assert!(!Status::Other(350).is_retryable());
    }
}
