//! The daemon's events as one story that goes on when the daemon goes away.
//!
//! Owns the connection of `watch` and `top`: it subscribes, tells what comes, tells
//! when the daemon is lost, and connects again. It never asks twice for what the
//! daemon tells by itself.

use std::convert::Infallible;
use std::path::Path;
use std::thread;
use std::time::Duration;

use hasher_client::{Retry, Session};
use hasher_wire::{EventBody, Topics};

use crate::daemon;
use crate::error::{CliError, Exit};

/// Pause before the first attempt to connect again; each further one is twice as
/// long, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause: a daemon that is back is seen soon, and one that stays away costs
/// nothing.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// What happens.
#[derive(Debug)]
pub enum Update {
    /// A session stands, the first or another one; the present state comes next.
    Connected(Session),
    /// The daemon says something.
    Event(Box<EventBody>),
    /// The daemon is out of reach; it is sought until it is back.
    Lost(CliError),
}

/// Tells everything about `topics` until `tell` fails.
///
/// There is no bound on how long it seeks a daemon that was there once: whoever
/// watches ends it.
///
/// # Errors
/// What `tell` says; or that there was no daemon in the first place.
pub fn follow(
    socket: Option<&Path>,
    topics: Topics,
    mut tell: impl FnMut(Update) -> Result<(), CliError>,
) -> Result<Infallible, CliError> {
    let mut is_first = true;
    let mut pause = PAUSE;
    loop {
        match listen(socket, topics, &mut is_first, &mut tell) {
            Err(Ended::Told(error)) => return Err(error),
            Err(Ended::Lost(error)) if is_first => return Err(error),
            Err(Ended::Lost(error)) => {
                tell(Update::Lost(error))?;
                pause = PAUSE;
            }
            // Still away, which was told.
            Err(Ended::Away) => pause = (pause * 2).min(PAUSE_MAX),
            Ok(never) => match never {},
        }
        thread::sleep(pause);
    }
}

/// Why a connection is over.
enum Ended {
    /// There was none this time either.
    Away,
    /// It was lost.
    Lost(CliError),
    /// The listener wants no more.
    Told(CliError),
}

/// One connection from its beginning to its end.
fn listen(
    socket: Option<&Path>,
    topics: Topics,
    is_first: &mut bool,
    tell: &mut impl FnMut(Update) -> Result<(), CliError>,
) -> Result<Infallible, Ended> {
    // The library would reconnect by itself, but not say so.
    let builder = daemon::builder(socket).retry(Retry::NONE);
    let client = match builder.connect_blocking() {
        Ok(client) => client,
        Err(error) if *is_first => return Err(Ended::Lost(error.into())),
        Err(_) => return Err(Ended::Away),
    };
    *is_first = false;
    let session = client.session();
    let mut connection = session.connection;
    tell(Update::Connected(session)).map_err(Ended::Told)?;
    let events = client.subscribe(topics);
    let mut events = events.map_err(|error| Ended::Lost(error.into()))?;
    while let Some(event) = events.next() {
        let event = event.map_err(|error| Ended::Lost(error.into()))?;
        // A daemon that restarts behind its socket is lost and found in one step.
        if events.connection() != connection {
            connection = events.connection();
            tell(Update::Connected(client.session())).map_err(Ended::Told)?;
        }
        tell(Update::Event(Box::new(event))).map_err(Ended::Told)?;
    }
    Err(Ended::Lost(CliError::new(
        Exit::NoDaemon,
        "the daemon ended the subscription",
    )))
}
