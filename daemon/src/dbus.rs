//! The daemon on D-Bus: what desktop programs and scripts see and may ask for.
//!
//! Owns the connection to the bus, which comes and goes without harm to anything else.
//! It moves no work: jobs go through ordinary sessions, and orders to the devices'
//! supervisors. The interfaces are described in `docs/dbus.md`.
//!
//! | File | Owns |
//! | --- | --- |
//! | `manager`, `device`, `session` | the interfaces |
//! | `publish` | which objects there are, and what is told of their changes |
//! | `access`, `polkit` | who may do what |
//! | `calls` | how many calls at once |
//! | `options` | the arguments of a search and of a digest |
//! | `inner` | the session inside the daemon that carries them out |
//! | `sleep` | what logind says about the machine's sleep |

mod access;
mod calls;
mod device;
mod inner;
mod manager;
mod options;
mod polkit;
mod publish;
mod session;
mod sleep;

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use zbus::Connection;
use zbus::connection::Builder;
use zbus::message::{Header, Message};
use zbus::names::ErrorName;

use self::access::{Pass, Right};
pub(crate) use self::calls::Calls;
use self::manager::Manager;
use crate::control::Reloader;
use crate::core::CallError;
use crate::door::Door;
use crate::error_text::one_line;
use crate::hub::Hub;

/// The name of the daemon on the bus.
const BUS_NAME: &str = "org.hasher.Hasher1";
/// The object that stands for the daemon; all others are below it.
const ROOT: &str = "/org/hasher/Hasher1";

/// Waits between two attempts to reach the bus, growing from the first to the second.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// A connection that held so long was no failure.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// The last signals are given this long to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Which bus the daemon is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageBus {
    /// That of the system; who may do what is decided by group `hasher` and polkit.
    System,
    /// That of a login session; only the daemon's own user may ask for anything.
    Session,
    /// None.
    #[default]
    None,
}

impl MessageBus {
    const WORDS: [(&str, Self); 3] = [
        ("system", Self::System),
        ("session", Self::Session),
        ("none", Self::None),
    ];
}

impl fmt::Display for MessageBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, bus)| bus == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

impl FromStr for MessageBus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bus = Self::WORDS.iter().find(|(word, _)| *word == text);
        bus.map(|(_, bus)| *bus)
            .ok_or_else(|| format!("no such bus: {text:?}; there are system, session and none"))
    }
}

/// What the interfaces reach into.
pub(crate) struct Context {
    pub(crate) bus: MessageBus,
    pub(crate) hub: Arc<Hub>,
    pub(crate) door: Door,
    pub(crate) reloader: Option<Reloader>,
    /// Path of the socket; empty if it has none.
    pub(crate) socket: String,
    /// Seconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) calls: Calls,
}

impl Context {
    /// Lets a call in if it may be made and is not one too many.
    async fn enter(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        right: Right,
    ) -> Result<Pass, CallError> {
        access::enter(self, connection, header, right).await
    }
}

/// Keeps the daemon on its bus until `stop`.
pub(crate) async fn serve(context: Context, stop: CancellationToken) {
    if context.bus == MessageBus::None {
        return;
    }
    let context = Arc::new(context);
    let mut back_off = BACK_OFF_MIN;
    let mut is_said = false;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let error = tokio::select! {
            connected = connect(&context) => match connected {
                Ok(connection) => {
                    info!(bus = %context.bus, name = BUS_NAME, "on the bus");
                    is_said = false;
                    match stay(&context, connection, &stop).await {
                        Some(error) => error,
                        None => return,
                    }
                }
                Err(error) => error,
            },
            () = stop.cancelled() => return,
        };
        let error = describe(&error);
        if is_said {
            debug!(bus = %context.bus, error, "still not on the bus");
        } else {
            warn!(bus = %context.bus, error, "not on the bus; everything else works, and it is tried again");
            is_said = true;
        }
        if began.elapsed() >= STEADY_AFTER {
            back_off = BACK_OFF_MIN;
        }
        tokio::select! {
            () = tokio::time::sleep(back_off) => {}
            () = stop.cancelled() => return,
        }
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}

/// Connects, with the objects in place before the name is taken.
async fn connect(context: &Arc<Context>) -> zbus::Result<Connection> {
    let builder = match context.bus {
        MessageBus::System => Builder::system(),
        MessageBus::Session | MessageBus::None => Builder::session(),
    };
    builder
        .serve_at(ROOT, zbus::fdo::ObjectManager)
        .serve_at(ROOT, Manager::new(Arc::clone(context)))
        .allow_name_replacements(false)
        .replace_existing_names(false)
        .name(BUS_NAME)
        .build()
        .await
}

/// Serves a connection until it ends, and says why; nothing when `stop` ended it.
async fn stay(
    context: &Arc<Context>,
    connection: Connection,
    stop: &CancellationToken,
) -> Option<zbus::Error> {
    let error = tokio::select! {
        Err(error) = publish::follow(context, &connection) => Some(error),
        error = sleep::follow(context, &connection) => Some(error),
        () = connection.closed() => Some(zbus::Error::Failure("the bus closed the connection".into())),
        () = stop.cancelled() => None,
    };
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, connection.graceful_shutdown()).await;
    error
}

/// What went wrong, and what a person can do about it.
fn describe(error: &zbus::Error) -> String {
    let text = one_line(error);
    match error {
        zbus::Error::NameTaken => format!("another hasherd owns the name {BUS_NAME}"),
        zbus::Error::FDO(_) => format!(
            "{text}; the bus lets user hasherd and root own the name if {BUS_NAME}.conf is in \
             /usr/share/dbus-1/system.d"
        ),
        _ => text,
    }
}

impl zbus::DBusError for CallError {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(self.to_string(),))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(Self::name(self))
    }

    fn description(&self) -> Option<&str> {
        None // it is made from the fields
    }
}

/// The next item of a stream; nothing when it has ended. Cancel-safe.
async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// The path of a device's object: of its name, letters and digits stay, other bytes are
/// written as `_` and two hexadecimal digits.
fn device_path(id: &str) -> String {
    let mut path = format!("{ROOT}/devices/");
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The path of a session's object.
fn session_path(number: u64) -> String {
    format!("{ROOT}/sessions/{number}")
}

#[cfg(test)]
mod tests;
