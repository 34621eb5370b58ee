use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hasher_wire::{SYSTEM_SOCKET, Status, Version, WireError};
use hasher_work::WorkError;

/// What can go wrong between a program and the daemon.
///
/// Errors can be cloned, because one lost connection may end many jobs.
/// [`hint`](Self::hint) gives the remedy for a person, where there is one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No session could be opened.
    #[error("cannot connect to {}: {why}", list(sockets))]
    Unreachable {
        /// The sockets for which `why` holds, in the order in which they were tried.
        sockets: Vec<PathBuf>,
        /// The reason.
        why: Why,
    },
    /// The daemon serves no version of the protocol that this library knows.
    #[error(
        "the daemon speaks protocol {min} to {max}, this program {} to {}",
        Version::OLDEST,
        Version::NEWEST
    )]
    Refused {
        /// Oldest version the daemon serves.
        min: Version,
        /// Newest version the daemon serves.
        max: Version,
    },
    /// A request failed; the daemon's own words, or a local check before sending.
    #[error("{status}{}", details(message))]
    Failed {
        /// Why; programs decide by this.
        status: Status,
        /// For people; often empty.
        message: String,
    },
    /// The connection ended while a request was open, and the library's own
    /// attempts to repeat it are used up.
    #[error("the daemon closed the connection{}", details(reason))]
    Closed {
        /// What the daemon said as it went, if it said anything.
        status: Option<Status>,
        /// For people; often empty.
        reason: String,
    },
    /// The daemon is connected but did not answer in time, not even that it
    /// needs longer.
    #[error("the daemon did not answer {what} within {} ms", after.as_millis())]
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// The peer sent bytes or answers that the protocol does not allow.
    #[error("the peer does not follow the protocol: {reason}")]
    Protocol {
        /// What was wrong.
        reason: String,
        /// The decoder's error, if the bytes themselves were wrong.
        #[source]
        source: Option<Arc<WireError>>,
    },
    /// A job cannot be carried out as written; it was not sent.
    #[error(transparent)]
    BadJob(#[from] WorkError),
    /// Data that was to be digested could not be read.
    #[error("cannot read the data to digest")]
    Read(#[source] Arc<io::Error>),
    /// The memory that the daemon shares cannot be used.
    #[error("cannot map the daemon's shared memory")]
    Map(#[source] Arc<io::Error>),
    /// The system gave no thread for a blocking client.
    #[error("cannot start the client's thread")]
    Thread(#[source] Arc<io::Error>),
    /// This client was closed by [`close`](crate::Client::close).
    #[error("this client was closed")]
    Ended,
}

/// Why a socket cannot be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// There is no such file: the daemon is not installed or not started.
    #[error("no such socket")]
    NoSocket,
    /// The socket is there, but nobody listens: the daemon died.
    #[error("connection refused, no daemon listens there")]
    NobodyListens,
    /// This user may not open the socket.
    #[error("permission denied")]
    PermissionDenied,
    /// The file is something else.
    #[error("not a socket")]
    NotASocket,
    /// The path can never be that of a socket.
    #[error("bad path: {0}")]
    BadPath(&'static str),
    /// More programs are waiting to be let in than the system holds.
    #[error("too many programs are connecting")]
    Crowded,
    /// The connection stands, but no Welcome came.
    #[error("no answer within {} ms", .0.as_millis())]
    NoWelcome(Duration),
    /// Anything else the system said.
    #[error("{0}")]
    Io(Arc<io::Error>),
}

impl ClientError {
    /// Whether the same request may succeed later without anyone changing it.
    ///
    /// The client has then already tried as often as its
    /// [`Retry`](crate::Retry) allows.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { why, .. } => matches!(
                why,
                Why::NoSocket | Why::NobodyListens | Why::Crowded | Why::NoWelcome(_)
            ),
            Self::Failed { status, .. } => status.is_retryable(),
            Self::Closed { status, .. } => match status {
                Some(status) => status.is_retryable(),
                None => true,
            },
            Self::Timeout { .. } => true,
            Self::Refused { .. }
            | Self::Protocol { .. }
            | Self::BadJob(_)
            | Self::Read(_)
            | Self::Map(_)
            | Self::Thread(_)
            | Self::Ended => false,
        }
    }

    /// The daemon's status, if the error carries one.
    pub const fn status(&self) -> Option<Status> {
        match self {
            Self::Failed { status, .. } => Some(*status),
            Self::Closed { status, .. } => *status,
            _ => None,
        }
    }

    /// What a person can do about it, in one line; nothing when we do not know.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { sockets, why } => why.hint(sockets),
            Self::Refused { min, .. } if *min > Version::NEWEST => {
                Some("the daemon is newer than this program: update this program".into())
            }
            Self::Refused { .. } => {
                Some("the daemon is older than this program: update hasherd and restart it".into())
            }
            Self::Failed { status, .. }
            | Self::Closed {
                status: Some(status),
                ..
            } => status_hint(*status).map(Into::into),
            Self::Closed { status: None, .. } | Self::Timeout { .. } => {
                Some("see the daemon's log: `journalctl -u hasherd`".into())
            }
            Self::Protocol { .. } => Some(
                "another program may own this socket, or hasherd and this program differ in \
                 version: update both"
                    .into(),
            ),
            Self::BadJob(_) | Self::Read(_) | Self::Map(_) | Self::Thread(_) | Self::Ended => None,
        }
    }

    pub(crate) fn failed(status: Status, message: impl Into<String>) -> Self {
        Self::Failed {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn deadline() -> Self {
        Self::failed(Status::Deadline, "")
    }

    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Protocol {
            reason: reason.into(),
            source: None,
        }
    }

    pub(crate) fn lost(error: &io::Error) -> Self {
        Self::Closed {
            status: None,
            reason: error.to_string(),
        }
    }

    /// Sorts the system's error of a connect to `socket`.
    pub(crate) fn unreachable(socket: &Path, error: io::Error) -> Self {
        Self::Unreachable {
            sockets: vec![socket.to_owned()],
            why: Why::from_connect(socket, error),
        }
    }
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        Self::Protocol {
            reason: error.to_string(),
            source: Some(Arc::new(error)),
        }
    }
}

impl Why {
    fn from_connect(socket: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoSocket,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            // The kernel refuses a plain file and a dead socket with one number.
            io::ErrorKind::ConnectionRefused if is_socket(socket) => Self::NobodyListens,
            io::ErrorKind::ConnectionRefused => Self::NotASocket,
            io::ErrorKind::NotADirectory => Self::BadPath("a part of it is not a folder"),
            io::ErrorKind::InvalidInput => {
                Self::BadPath("the system takes at most 107 bytes without a zero")
            }
            io::ErrorKind::WouldBlock => Self::Crowded,
            _ => Self::Io(Arc::new(error)),
        }
    }

    fn hint(&self, sockets: &[PathBuf]) -> Option<String> {
        let start = "start it with `sudo systemctl start hasherd`, or as yourself with a \
                     simulated board: `hasherd --device sim:s3`";
        match self {
            Self::NoSocket => Some(format!("the daemon is not running; {start}")),
            Self::NobodyListens => Some(format!("the daemon has ended; {start}")),
            Self::PermissionDenied if sockets.iter().any(|s| s == Path::new(SYSTEM_SOCKET)) => {
                Some(
                    "your user is not in group `hasher`; run `sudo usermod -aG hasher $USER` \
                     and log in again"
                        .into(),
                )
            }
            Self::PermissionDenied => Some(format!(
                "the socket belongs to someone else; look at `ls -l {}`, or choose another \
                 with HASHER_SOCKET",
                list(sockets)
            )),
            Self::NotASocket | Self::BadPath(_) => {
                Some("give the path of hasherd's socket, or unset HASHER_SOCKET".into())
            }
            Self::Crowded => Some("try again in a moment".into()),
            Self::NoWelcome(_) => Some(
                "the daemon hangs, or another program owns this socket; see `journalctl -u \
                 hasherd`"
                    .into(),
            ),
            Self::Io(_) => None,
        }
    }
}

fn status_hint(status: Status) -> Option<&'static str> {
    match status {
        Status::NoDevice => Some(
            "plug a board in, or start the daemon with a simulated one: `hasherd --device \
             sim:s3`",
        ),
        Status::DeviceGone => Some("plug the board in again and check its power"),
        Status::Busy => Some("other programs use every place; try again in a moment"),
        Status::Deadline => Some("allow more time, or ask for fewer zero bits"),
        Status::ShuttingDown => Some("start the daemon again"),
        Status::NotRunnable => {
            Some("change anything in the header's first 64 bytes and search again")
        }
        Status::Unsupported => Some("update hasherd and restart it"),
        Status::NotAllowed => Some(
            "an administrator can allow it: shared_memory = \"all\" under [limits] of hasherd.toml",
        ),
        Status::Internal => Some("see the daemon's log: `journalctl -u hasherd`"),
        _ => None,
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// `a or b` for messages.
fn list(sockets: &[PathBuf]) -> impl fmt::Display {
    let names: Vec<_> = sockets.iter().map(|s| s.display().to_string()).collect();
    names.join(" or ")
}

/// `: text`, or nothing.
fn details(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_error_says_the_command_that_fixes_it() {
        let error = ClientError::Unreachable {
            sockets: vec![SYSTEM_SOCKET.into()],
            why: Why::PermissionDenied,
        };
        assert_eq!(
            error.to_string(),
            "cannot connect to /run/hasher/hasherd.sock: permission denied"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("sudo usermod -aG hasher $USER"), "{hint}");
    }

    #[test]
    fn texts_are_one_line_and_end_without_a_stop() {
        let errors = [
            ClientError::failed(Status::NoDevice, ""),
            ClientError::failed(Status::Internal, "see 4711"),
            ClientError::protocol("frame too long"),
            ClientError::Ended,
            ClientError::Closed {
                status: None,
                reason: String::new(),
            },
            ClientError::Timeout {
                what: "a search",
                after: Duration::from_secs(2),
            },
            ClientError::Refused {
                min: Version::V1_0,
                max: Version::V1_0,
            },
            ClientError::Unreachable {
                sockets: vec!["a".into(), "b".into()],
                why: Why::NoSocket,
            },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            assert!(error.hint().is_none_or(|hint| !hint.contains('\n')));
        }
        assert_eq!(
            ClientError::failed(Status::Internal, "see 4711").to_string(),
            "internal error of the daemon: see 4711"
        );
    }

    #[test]
    fn only_what_may_pass_by_itself_is_retryable() {
        assert!(ClientError::failed(Status::Busy, "").is_retryable());
        assert!(!ClientError::failed(Status::NoDevice, "").is_retryable());
        assert!(!ClientError::protocol("x").is_retryable());
        let closed = |status| ClientError::Closed {
            status,
            reason: String::new(),
        };
        assert!(closed(None).is_retryable());
        assert!(closed(Some(Status::ShuttingDown)).is_retryable());
        assert!(!closed(Some(Status::Protocol)).is_retryable());
    }
}
