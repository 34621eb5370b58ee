use std::path::PathBuf;
use std::time::Duration;

use hasher_wire::{Hello, Priority, SocketEnvironment, Version};

use crate::connect::{Dial, SocketDial};
use crate::{Client, ClientError, DigestRing, blocking};

/// Time for a request unless the caller says otherwise: long enough for a queue of
/// other programs, short enough for a person.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Time for connect and Welcome: a healthy daemon needs milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request may take and how soon it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchOptions {
    /// Time from the call to the answer, everything included: waiting for credit,
    /// reconnects, repetitions. The daemon may cut it to its own longest deadline.
    pub deadline: Duration,
    /// How soon the daemon serves it among all clients' jobs.
    pub priority: Priority,
}

impl Default for SearchOptions {
    /// 60 seconds, [`Priority::Batch`].
    fn default() -> Self {
        Self {
            deadline: DEADLINE,
            priority: Priority::default(),
        }
    }
}

/// How often the library repeats by itself what may succeed later.
///
/// It repeats two things: connecting after a connection was lost, and searches,
/// digests and status queries that were lost with it or failed with a retryable
/// status. All of them are pure, so running one twice is harmless. No repetition
/// goes beyond a request's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Repetitions of one request, and connects in a row that may fail.
    pub attempts: u32,
    /// Pause before the first repetition.
    pub first_delay: Duration,
    /// Each further pause is twice the one before, up to this.
    pub max_delay: Duration,
}

impl Retry {
    /// Nothing is repeated; a lost connection fails what was in flight, and the
    /// next request tries once to connect again.
    pub const NONE: Self = Self {
        attempts: 0,
        first_delay: Duration::ZERO,
        max_delay: Duration::ZERO,
    };

    /// The pause before repetition number `repetition`, counted from 0.
    pub(crate) fn delay(&self, repetition: u32) -> Duration {
        let factor = 1u32.checked_shl(repetition).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.max_delay)
    }
}

impl Default for Retry {
    /// Six repetitions within 6.3 seconds: a daemon under systemd is back in less.
    fn default() -> Self {
        Self {
            attempts: 6,
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(4),
        }
    }
}

/// Settings of a client before it connects.
///
/// ```no_run
/// use std::time::Duration;
/// use hasher_client::{Client, Priority};
///
/// # async fn f() -> Result<(), hasher_client::ClientError> {
/// let client = Client::builder()
///     .name("nightly-job")
///     .priority(Priority::Background)
///     .deadline(Duration::from_secs(600))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    socket: Option<PathBuf>,
    name: String,
    pub(crate) options: SearchOptions,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Retry,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            socket: None,
            name: program_name(),
            options: SearchOptions::default(),
            connect_timeout: CONNECT_TIMEOUT,
            retry: Retry::default(),
        }
    }
}

impl ClientBuilder {
    /// The daemon's socket. Without it: `HASHER_SOCKET`, else the user's own
    /// (`$XDG_RUNTIME_DIR/hasher/hasherd.sock`), then the system's
    /// (`/run/hasher/hasherd.sock`).
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// What the daemon's status and log call this client; the program's name at
    /// first. Cut at 64 bytes.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Priority of jobs that name none.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Deadline of requests that name none, see [`SearchOptions::deadline`].
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Time for connect and Welcome together, 5 s at first.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// What the library repeats by itself.
    #[must_use]
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Connects, once; repetitions begin when this connection is lost.
    ///
    /// Must be called inside a tokio runtime with I/O and time; the connection
    /// lives in a task of that runtime.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Refused`],
    /// [`ClientError::Closed`] when the daemon has no place for a session,
    /// [`ClientError::Protocol`].
    pub async fn connect(self) -> Result<Client, ClientError> {
        let sockets = self.sockets();
        self.connect_with(SocketDial::new(sockets)).await
    }

    /// Opens shared memory for bulk digests, over a connection of its own. Of the settings
    /// only socket, name and timeout matter.
    ///
    /// Must be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`ClientError::Failed`] with `NotAllowed` when the
    /// daemon shares no memory with this user, or `Unsupported` from one that cannot;
    /// [`ClientError::Map`].
    pub async fn open_ring(self) -> Result<DigestRing, ClientError> {
        DigestRing::open(self).await
    }

    /// Opens shared memory for bulk digests, for code without a runtime.
    ///
    /// # Errors
    /// As [`open_ring`](Self::open_ring).
    pub fn open_ring_blocking(self) -> Result<blocking::DigestRing, ClientError> {
        blocking::DigestRing::open(self)
    }

    /// Connects over streams of the caller's own making, for example a
    /// descriptor that the daemon handed out over D-Bus.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(self, dial: impl Dial) -> Result<Client, ClientError> {
        Client::open(self, dial).await
    }

    /// Connects for code without a runtime.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_blocking(self) -> Result<blocking::Client, ClientError> {
        blocking::Client::open(self)
    }

    /// Where to look for the daemon, at least one.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        match &self.socket {
            Some(socket) => vec![socket.clone()],
            None => {
                SocketEnvironment::from_variables(|name| std::env::var_os(name)).client_sockets()
            }
        }
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            min: Version::OLDEST,
            max: Version::NEWEST,
            name: self.name.as_str().into(),
        }
    }
}

fn program_name() -> String {
    std::env::args_os()
        .next()
        .map(PathBuf::from)
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| env!("CARGO_PKG_NAME").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let retry = Retry::default();
        let pauses: Vec<_> = (0..7).map(|n| retry.delay(n).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 4000]);
        assert_eq!(retry.delay(u32::MAX), retry.max_delay);
        assert_eq!(Retry::NONE.delay(40), Duration::ZERO);
    }
}
