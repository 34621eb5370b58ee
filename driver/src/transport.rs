//! The pipe between a host and a controller: whole USB transfers, nothing about
//! their content.
//!
//! Owns the trait [`Transport`], which is all that the host code knows of USB.
//! Implementations are the simulated controller and a claimed USB interface.
//! A transport never interprets, splits or joins tokens, and never retries: what to
//! do after a fault is decided by the host, who alone knows what was lost.

pub mod conformance;

use std::task::{Context, Poll};

use bytes::Bytes;

/// Longest OUT transfer that a controller of this family survives, in bytes: a
/// work token with eight works. Its buffer has no bounds check (protocol
/// reference, section 8), so nothing longer may ever be sent.
pub const MAX_OUT_BYTES: usize = 394;

/// Longest IN transfer that is asked for, in bytes. Any multiple of 64 from 320 up
/// ends exactly at the end of one reply, because every reply ends in a short
/// packet.
pub const MAX_IN_BYTES: usize = 512;

/// What happened on a transport.
#[derive(Debug)]
pub enum TransportEvent {
    /// The OUT transfer in flight was taken completely by the device.
    Sent,
    /// One IN transfer arrived: 1 to [`MAX_IN_BYTES`] bytes.
    Received(Bytes),
    /// A transfer failed. If an OUT transfer was in flight it is over, and any part
    /// of it may have reached the device. The transport stays usable unless the
    /// error is [`TransportError::Disconnected`].
    Fault(TransportError),
}

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The device refused the transfer and the halt was cleared.
    #[error("endpoint stalled")]
    Stall,
    /// The device took nothing for the transport's time limit.
    #[error("transfer timed out")]
    Timeout,
    /// The device is gone; every further event would be this one.
    #[error("device disconnected")]
    Disconnected,
    /// The operating system reported something else.
    #[error("transfer failed")]
    Io(#[source] std::io::Error),
}

impl TransportError {
    /// The same in words for people.
    pub const fn in_words(&self) -> &'static str {
        match self {
            Self::Stall => "an endpoint stalled",
            Self::Timeout => "it took a transfer too slowly or not at all",
            Self::Disconnected => "it was disconnected",
            Self::Io(_) => "a transfer failed on the bus",
        }
    }
}

/// Whole transfers to and from one device, owned by one task.
pub trait Transport: Send {
    /// Starts one OUT transfer of exactly these bytes (1 to [`MAX_OUT_BYTES`]).
    ///
    /// Only one may be in flight: the next may start after
    /// [`TransportEvent::Sent`] or [`TransportEvent::Fault`].
    fn start_send(&mut self, token: Bytes);

    /// The next thing that happened.
    ///
    /// Drives the transport, which keeps an IN transfer outstanding at all times.
    /// Cancel-safe: an event that was not returned is kept.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent>;

    /// How many times slower than silicon the device's own time runs, at least 1.0;
    /// nothing for real hardware.
    ///
    /// A simulated device whose CPU cannot keep the chips' pace answers here, and
    /// counts a sweep that is still going on. The host uses it to pace its feeding
    /// and to tell users; the end of a work never depends on it.
    fn slowdown(&self) -> Option<f64> {
        None
    }

    /// Gives the device back in good order; ready within half a second.
    ///
    /// Called until it is ready; no transfer follows. Dropping a
    /// transport gives the device back too, but then nobody knows when that is done,
    /// and a program that ends at once may end before it.
    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn start_send(&mut self, token: Bytes) {
        (**self).start_send(token);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        (**self).poll_event(cx)
    }

    fn slowdown(&self) -> Option<f64> {
        (**self).slowdown()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_close(cx)
    }
}
