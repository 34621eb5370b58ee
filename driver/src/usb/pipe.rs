//! One endpoint with the recovery that every endpoint needs: a stall is cleared
//! before anything new, and a cancelled transfer is drained.
//!
//! Owns the trait [`Pipe`], so that the rules of [`super::transport`] can be tried
//! without a kernel, and its only real form, [`EndpointPipe`]. It decides nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nusb::Endpoint;
use nusb::transfer::{
    Buffer, BulkOrInterrupt, Completion, Direction, EndpointDirection, TransferError,
};

use crate::transport::{MAX_IN_BYTES, TransportError};

/// How a transfer ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What an IN transfer brought, also when it failed later.
    pub bytes: Bytes,
    /// Why it failed, if it did.
    pub error: Option<TransferError>,
}

/// One endpoint and its transfers in order.
pub(super) trait Pipe: Send {
    /// Transfers submitted and not yet ended.
    fn pending(&self) -> usize;

    /// Whether transfers may be submitted: it is not being cleared.
    fn is_open(&self) -> bool;

    /// Submits a transfer: of these bytes on an OUT endpoint; on an IN endpoint one
    /// of whole packets, whatever is given.
    fn submit(&mut self, bytes: &Bytes);

    /// Asks for every pending transfer to end; their ends still come.
    fn cancel(&mut self);

    /// The next end. Pending when nothing was submitted.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended>;

    /// Begins to clear a stall. Nothing may be pending.
    fn begin_clearing(&mut self);

    /// Ready once the stall is cleared or cannot be; pending when none is being
    /// cleared.
    fn poll_cleared(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
}

type Clearing<E, D> = Pin<Box<dyn Future<Output = (Endpoint<E, D>, ClearResult)> + Send>>;
type ClearResult = Result<(), nusb::Error>;

/// An endpoint of a claimed interface.
pub(super) struct EndpointPipe<E: BulkOrInterrupt, D: EndpointDirection> {
    state: State<E, D>,
    /// A buffer that came back, for the next IN transfer.
    spare: Option<Buffer>,
}

enum State<E: BulkOrInterrupt, D: EndpointDirection> {
    Open(Endpoint<E, D>),
    Clearing(Clearing<E, D>),
    /// Only while one state becomes the next.
    Between,
}

impl<E: BulkOrInterrupt, D: EndpointDirection> EndpointPipe<E, D> {
    pub(super) const fn new(endpoint: Endpoint<E, D>) -> Self {
        Self {
            state: State::Open(endpoint),
            spare: None,
        }
    }
}

impl<E, D> Pipe for EndpointPipe<E, D>
where
    E: BulkOrInterrupt + 'static,
    D: EndpointDirection + 'static,
{
    fn pending(&self) -> usize {
        match &self.state {
            State::Open(endpoint) => endpoint.pending(),
            State::Clearing(_) | State::Between => 0,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    fn submit(&mut self, bytes: &Bytes) {
        let State::Open(endpoint) = &mut self.state else {
            return;
        };
        let buffer = match D::DIR {
            Direction::Out => Buffer::from(&bytes[..]),
            Direction::In => {
                // A kernel refuses IN transfers that are no whole number of packets.
                let packet = endpoint.max_packet_size().max(1);
                let length = MAX_IN_BYTES.next_multiple_of(packet);
                let mut buffer = self.spare.take().unwrap_or_else(|| Buffer::new(length));
                buffer.clear();
                buffer.set_requested_len(length);
                buffer
            }
        };
        endpoint.submit(buffer);
    }

    fn cancel(&mut self) {
        if let State::Open(endpoint) = &mut self.state {
            endpoint.cancel_all();
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let State::Open(endpoint) = &mut self.state else {
            return Poll::Pending;
        };
        if endpoint.pending() == 0 {
            return Poll::Pending; // nusb panics when nothing is awaited
        }
        let Completion {
            buffer,
            actual_len,
            status,
        } = ready!(endpoint.poll_next_complete(cx));
        let mut bytes = Bytes::new();
        if D::DIR == Direction::In {
            bytes = Bytes::copy_from_slice(&buffer[..actual_len.min(buffer.len())]);
            self.spare = Some(buffer);
        }
        Poll::Ready(Ended {
            bytes,
            error: status.err(),
        })
    }

    fn begin_clearing(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Between) {
            State::Open(mut endpoint) => State::Clearing(Box::pin(async move {
                let result = endpoint.clear_halt().await;
                (endpoint, result)
            })),
            other => other,
        };
    }

    fn poll_cleared(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let State::Clearing(clearing) = &mut self.state else {
            return Poll::Pending;
        };
        let (endpoint, result) = ready!(clearing.as_mut().poll(cx));
        self.state = State::Open(endpoint);
        Poll::Ready(result.map_err(|error| match error.kind() {
            nusb::ErrorKind::Disconnected => TransportError::Disconnected,
            _ => TransportError::Io(error.into()),
        }))
    }
}

/// What a failed transfer means for the host.
pub(super) fn transfer_error(error: TransferError) -> TransportError {
    match error {
        TransferError::Disconnected => TransportError::Disconnected,
        TransferError::Stall => TransportError::Stall,
        // Nobody but the transport cancels, and only what took too long.
        TransferError::Cancelled => TransportError::Timeout,
        other => TransportError::Io(other.into()),
    }
}
