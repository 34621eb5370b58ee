//! Frames over a byte stream: one read buffer, one write buffer, both bounded.
//!
//! Owns a client's connection. It knows nothing of what frames mean; the
//! [`session`](crate::session) does.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hasher_wire::{Codec, ComputedBy, Frame, MAX_FRAME_BYTES, RequestId, WireError};
use hasher_work::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::error;

use crate::carrier::Carrier;

/// Bytes read at once at least, if there are so many.
const READ_BYTES: usize = 8 * 1024;

/// From so many unsent bytes on, no further frame is read or answered until the
/// client has taken some. With the longest frame on top the buffer stays below
/// 128 KiB.
const OUT_BYTES_HIGH: usize = MAX_FRAME_BYTES;

/// A connection that carries frames.
pub(crate) struct Link<S> {
    stream: S,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Leaves with the next byte.
    passing: Option<OwnedFd>,
}

/// What the stream did.
#[derive(Debug)]
pub(crate) enum Io {
    /// Bytes came.
    Read,
    /// The client took bytes.
    Written,
    /// The client is gone.
    Closed,
}

impl<S: Carrier> Link<S> {
    /// Over a connected stream.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            passing: None,
        }
    }

    /// The next whole frame that was read already.
    ///
    /// # Errors
    /// The bytes are not the protocol; nothing more can be read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        Codec.decode(&mut self.incoming)
    }

    /// Puts a frame behind the unsent bytes.
    pub(crate) fn push(&mut self, frame: &Frame) {
        report_unencoded(Codec.encode(frame, &mut self.outgoing));
    }

    /// Puts the digests of one request behind the unsent bytes.
    pub(crate) fn push_digests(&mut self, request: RequestId, by: &ComputedBy, digests: &[Digest]) {
        report_unencoded(Codec.encode_digests(request, by, digests, &mut self.outgoing));
    }

    /// Puts a frame behind the unsent bytes; the descriptor leaves no later than it.
    pub(crate) fn push_with(&mut self, frame: &Frame, descriptor: OwnedFd) {
        self.push(frame);
        self.passing = Some(descriptor);
    }

    /// Whether more may be pushed before the client takes some.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_behind(0)
    }

    /// Whether more may be pushed behind so many bytes that are still to be.
    pub(crate) fn has_room_behind(&self, bytes: usize) -> bool {
        self.outgoing.len() + bytes < OUT_BYTES_HIGH
    }

    /// Whether bytes wait for the client.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads (if `reads`) and writes, whichever is possible first. Cancel-safe; never
    /// ends when there is nothing to do.
    pub(crate) async fn advance(&mut self, reads: bool) -> Io {
        poll_fn(|cx| self.poll_advance(reads, cx)).await
    }

    /// Reads and writes only what is possible at once.
    pub(crate) async fn advance_now(&mut self, reads: bool) -> Option<Io> {
        poll_fn(|cx| match self.poll_advance(reads, cx) {
            Poll::Ready(io) => Poll::Ready(Some(io)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_advance(&mut self, reads: bool, cx: &mut Context<'_>) -> Poll<Io> {
        if self.is_unsent()
            && let Poll::Ready(written) = self.poll_write(cx)
        {
            return Poll::Ready(written.map_or(Io::Closed, |()| Io::Written));
        }
        if !reads {
            return Poll::Pending;
        }
        self.incoming.reserve(READ_BYTES);
        let read = pin!(self.stream.read_buf(&mut self.incoming)).poll(cx);
        read.map(|read| match read {
            Ok(0) | Err(_) => Io::Closed,
            Ok(_) => Io::Read,
        })
    }

    /// Writes some of what is unsent; there must be some.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let count = match &self.passing {
            Some(passing) => {
                let descriptor = passing.as_fd();
                ready!(self.stream.poll_pass(cx, &self.outgoing, descriptor))?
            }
            None => ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing))?,
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.passing = None;
        self.outgoing.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Sends all that is unsent.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while self.is_unsent() {
            poll_fn(|cx| self.poll_write(cx)).await?;
        }
        self.stream.flush().await
    }
}

/// A frame that cannot be encoded is a fault of the daemon: every bound of what it sends is
/// below the protocol's.
fn report_unencoded(encoded: Result<(), WireError>) {
    if let Err(error) = encoded {
        error!(%error, "cannot encode an answer");
        debug_assert!(false, "{error}");
    }
}
