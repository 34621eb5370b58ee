//! An ordinary session inside the daemon, for one request that came over D-Bus.
//!
//! It enters by the same door as every client, with the caller as its peer, and speaks
//! the socket protocol over memory, so that there is no second way to a device and no
//! second set of bounds. It ends with its request, or when the caller leaves the bus.

use std::future::Future;

use hasher_wire::{Frame, Hello, Status, Version};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::Header;

use super::access::Pass;
use crate::core::CallError;
use crate::door::Door;
use crate::link::{Io, Link};
use crate::session::Peer;

/// Memory between the two ends; a frame passes in pieces.
const PIPE_BYTES: usize = 16 * 1024;

/// Carries one request out and returns the frame that answers it.
///
/// # Errors
/// What the session said, in the words of the socket.
pub(super) async fn ask(
    door: &Door,
    pass: &Pass,
    name: &str,
    request: &Frame,
) -> Result<Frame, CallError> {
    let mut link = enter(door, pass.peer)?;
    link.push(&Frame::Hello(Hello {
        min: Version::OLDEST,
        max: Version::NEWEST,
        name: name.into(),
    }));
    link.push(request);
    loop {
        match link.next_frame() {
            Ok(Some(Frame::Welcome(_))) => {}
            Ok(Some(Frame::Failed(failed))) => {
                return Err(CallError::failed(failed.status, failed.message.to_string()));
            }
            Ok(Some(Frame::Goodbye(goodbye))) => {
                let status = goodbye.status.unwrap_or(Status::ShuttingDown);
                return Err(CallError::failed(status, goodbye.message.to_string()));
            }
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {
                if let Io::Closed = link.advance(true).await {
                    return Err(CallError::failed(
                        Status::ShuttingDown,
                        "the session ended without an answer",
                    ));
                }
            }
            Err(error) => return Err(CallError::failed(Status::Internal, error.to_string())),
        }
    }
}

fn enter(door: &Door, peer: Peer) -> Result<Link<tokio::io::DuplexStream>, CallError> {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    match door.admit(theirs, peer) {
        Ok(()) => Ok(Link::new(ours)),
        Err((_, full)) => Err(CallError::failed(Status::Busy, full.to_string())),
    }
}

/// Runs `work` for as long as the caller is on the bus; nothing when it left before.
pub(super) async fn while_caller_stays<T>(
    connection: &Connection,
    header: &Header<'_>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = caller_leaves(connection, header) => None,
    }
}

/// Resolves when the caller's connection to the bus has ended, or our own.
async fn caller_leaves(connection: &Connection, header: &Header<'_>) {
    match watch_caller(connection, header).await {
        // A unique name has one owner and is never given again: the first change is its end.
        Ok(Some(mut changes)) => {
            super::next(&mut changes).await;
        }
        Ok(None) => {}
        // Without a watch the work is bounded by its own deadline.
        Err(_) => std::future::pending().await,
    }
}

/// What tells that the caller leaves; nothing when it has left before the watch began.
async fn watch_caller(
    connection: &Connection,
    header: &Header<'_>,
) -> zbus::Result<Option<zbus::fdo::NameOwnerChangedStream>> {
    let sender = header.sender().ok_or(zbus::Error::MissingField)?;
    let bus = DBusProxy::new(connection).await?;
    let changes = bus
        .receive_name_owner_changed_with_args(&[(0, sender.as_str())])
        .await?;
    let is_there = bus.name_has_owner(sender.to_owned().into()).await?;
    Ok(is_there.then_some(changes))
}
