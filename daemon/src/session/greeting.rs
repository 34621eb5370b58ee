//! The first and the last frames of a connection.

use std::time::Duration;

use hasher_wire::{Frame, Goodbye, Hello, Refused, Status, Version};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::End;
use crate::carrier::Carrier;
use crate::error_text::one_line;
use crate::link::{Io, Link};
use crate::places::Full;

/// A client says Hello within this time or is dropped; its library does so at once.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The last frames are given this long to leave.
pub(super) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells a client that there is no place for it.
pub(crate) async fn turn_away<S: Carrier>(stream: S, full: Full) {
    let mut link = Link::new(stream);
    link.push(&Frame::Goodbye(Goodbye {
        status: Some(Status::Busy),
        message: full.to_string().into(),
    }));
    let _ = timeout(FAREWELL_TIMEOUT, link.flush()).await;
}

/// Waits for Hello and agrees on a version; nothing when the client left or was
/// refused.
pub(super) async fn greet<S: Carrier>(
    link: &mut Link<S>,
    stop: &CancellationToken,
) -> Result<Option<(Hello, Version)>, End> {
    let first_frame = async {
        loop {
            match link.next_frame() {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(error) => return Err(End::Protocol(one_line(&error))),
            }
            if let Io::Closed = link.advance(true).await {
                return Ok(None);
            }
        }
    };
    let first_frame = tokio::select! {
        frame = timeout(HELLO_TIMEOUT, first_frame) => frame,
        () = stop.cancelled() => return Err(End::Shutdown),
    };
    let hello = match first_frame {
        Ok(Ok(Some(Frame::Hello(hello)))) => hello,
        Ok(Ok(Some(_))) => return Err(End::Protocol("the first frame must be Hello".into())),
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(end)) => return Err(end),
        Err(_) => return Err(End::Protocol("no Hello within 5 s".into())),
    };
    if let Some(version) = Version::agree(hello.min, hello.max) {
        return Ok(Some((hello, version)));
    }
    link.push(&Frame::Refused(Refused {
        min: Version::OLDEST,
        max: Version::NEWEST,
    }));
    let _ = timeout(FAREWELL_TIMEOUT, link.flush()).await;
    Ok(None)
}

/// The last frame, if the client is still there to read it.
pub(super) async fn say_goodbye<S: Carrier>(link: &mut Link<S>, end: &End) {
    let (status, message) = match end {
        End::Client | End::Stalled => return,
        End::Protocol(message) => (Status::Protocol, message.as_str()),
        End::Shutdown => (Status::ShuttingDown, "hasherd is shutting down"),
    };
    link.push(&Frame::Goodbye(Goodbye {
        status: Some(status),
        message: message.into(),
    }));
    let _ = timeout(FAREWELL_TIMEOUT, link.flush()).await;
}
