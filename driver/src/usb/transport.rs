//! Two endpoints of a claimed interface as a [`Transport`].
//!
//! Owns the rules of the pipe: IN transfers are always outstanding, every OUT transfer
//! is bounded in time, and a fault brings both directions to rest, with cancelled
//! transfers drained and halts cleared, before it is told: the host then starts anew.
//! It never looks into the bytes and never retries. [`super::claim`] makes it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use nusb::transfer::TransferError;
use tokio::time::{Sleep, sleep};

use super::pipe::{Ended, Pipe, transfer_error};
use crate::transport::{MAX_OUT_BYTES, Transport, TransportError, TransportEvent};

/// Longest time that one OUT transfer may take. Source: cgminer `driver-bitmain`,
/// 200 ms on S1; a token needs 7 packets, under a millisecond on an idle bus.
pub(super) const OUT_WITHIN: Duration = Duration::from_millis(200);

/// Longest time until cancelled transfers are back and halts are cleared. The kernel
/// does both at once unless the host controller hangs.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// Longest time for the release: the owner waits for it when the program ends.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_millis(400);

/// IN transfers kept outstanding: one arriving while the next already waits.
const IN_PENDING: usize = 2;

/// Pause after an IN transfer that failed or was empty. A device that is being pulled
/// out fails each transfer at once for a moment; that must not become a busy loop.
pub(super) const IN_PAUSE: Duration = Duration::from_millis(10);

type Timer = Pin<Box<Sleep>>;

/// Gives the interface back once its endpoints are closed.
pub(super) type Release = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A claimed interface.
pub(super) struct UsbTransport<I, O> {
    /// Nothing once closed. Before `release`, so that a drop closes endpoints first.
    pipes: Option<(Side<I>, Side<O>)>,
    /// When the OUT transfer in flight is cancelled.
    send_until: Option<Timer>,
    /// A fault that is told once both directions are at rest, and until when.
    fault: Option<(TransportError, Timer)>,
    /// Until when nothing new is read.
    pause: Option<Timer>,
    is_gone: bool,
    /// That it is gone was told; nothing follows.
    is_told: bool,
    close_until: Option<Timer>,
    release: Option<Release>,
}

/// One direction.
struct Side<P> {
    pipe: P,
    /// It stalled; to be cleared when nothing is pending.
    is_halted: bool,
}

impl<P: Pipe> Side<P> {
    const fn new(pipe: P) -> Self {
        Self {
            pipe,
            is_halted: false,
        }
    }

    fn note(&mut self, error: TransferError) {
        self.is_halted |= error == TransferError::Stall;
    }

    /// Ready when nothing is pending and no halt is left.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.pipe.pending() > 0 {
            return Poll::Pending; // its end was asked for where it is taken
        }
        if std::mem::take(&mut self.is_halted) {
            self.pipe.begin_clearing();
        }
        if self.pipe.is_open() {
            return Poll::Ready(Ok(()));
        }
        self.pipe.poll_cleared(cx)
    }
}

impl<I: Pipe, O: Pipe> UsbTransport<I, O> {
    pub(super) const fn new(input: I, output: O, release: Release) -> Self {
        Self {
            pipes: Some((Side::new(input), Side::new(output))),
            send_until: None,
            fault: None,
            pause: None,
            is_gone: false,
            is_told: false,
            close_until: None,
            release: Some(release),
        }
    }

    /// Brings both directions to rest; the first fault is the cause.
    fn begin_fault(&mut self, error: TransportError) {
        if let TransportError::Disconnected = error {
            self.is_gone = true; // nothing to bring to rest
        } else if self.fault.is_none() {
            self.fault = Some((error, Box::pin(sleep(REST_WITHIN))));
            self.cancel();
        }
        self.send_until = None;
    }

    fn cancel(&mut self) {
        if let Some((input, output)) = &mut self.pipes {
            input.pipe.cancel();
            output.pipe.cancel();
        }
    }

    /// The OUT transfer: its end or its time limit.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Option<TransportEvent> {
        let (_, output) = self.pipes.as_mut()?;
        if let Poll::Ready(Ended { error, .. }) = output.pipe.poll_ended(cx) {
            self.send_until = None;
            match error {
                None if self.fault.is_none() => return Some(TransportEvent::Sent),
                None => {} // the fault says that it is over
                Some(error) => {
                    output.note(error);
                    self.begin_fault(transfer_error(error));
                }
            }
        } else if let Some(until) = &mut self.send_until
            && until.as_mut().poll(cx).is_ready()
        {
            self.begin_fault(TransportError::Timeout);
        }
        None
    }

    /// IN transfers: keep them outstanding, take what they bring.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Option<TransportEvent> {
        loop {
            if let Some(pause) = &mut self.pause
                && pause.as_mut().poll(cx).is_ready()
            {
                self.pause = None;
            }
            let may_submit = self.pause.is_none() && self.fault.is_none() && !self.is_gone;
            let (input, _) = self.pipes.as_mut()?;
            while may_submit && input.pipe.is_open() && input.pipe.pending() < IN_PENDING {
                input.pipe.submit(&Bytes::new());
            }
            let Poll::Ready(Ended { bytes, error }) = input.pipe.poll_ended(cx) else {
                return None;
            };
            if let Some(error) = error {
                input.note(error);
                // What was cancelled has its fault already.
                if error != TransferError::Cancelled || self.fault.is_none() {
                    self.begin_fault(transfer_error(error));
                }
            }
            if error.is_some() || bytes.is_empty() {
                self.pause = Some(Box::pin(sleep(IN_PAUSE)));
            }
            // What arrived before an error counts; the error follows it.
            if !bytes.is_empty() {
                return Some(TransportEvent::Received(bytes));
            }
        }
    }

    fn tell_gone(&mut self) -> Poll<TransportEvent> {
        self.is_told = true;
        Poll::Ready(TransportEvent::Fault(TransportError::Disconnected))
    }

    /// The fault, once both directions are at rest.
    fn poll_fault(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        if self.is_gone {
            return self.tell_gone();
        }
        let (Some((_, until)), Some((input, output))) = (&mut self.fault, &mut self.pipes) else {
            return Poll::Pending;
        };
        let is_late = until.as_mut().poll(cx).is_ready();
        let at_rest = [input.poll_rest(cx), output.poll_rest(cx)];
        for side in &at_rest {
            if let Poll::Ready(Err(_)) = side {
                // A halt that cannot be cleared nearly always means that the device is
                // being pulled out. If not, opening it again is what may help.
                self.is_gone = true;
            } else if side.is_pending() && is_late {
                self.is_gone = true; // the kernel keeps a transfer for ever
            }
        }
        if self.is_gone {
            return self.tell_gone();
        }
        if at_rest.iter().any(Poll::is_pending) {
            return Poll::Pending;
        }
        match self.fault.take() {
            Some((error, _)) => Poll::Ready(TransportEvent::Fault(error)),
            None => Poll::Pending,
        }
    }
}

impl<I: Pipe, O: Pipe> Transport for UsbTransport<I, O> {
    fn start_send(&mut self, token: Bytes) {
        debug_assert!((1..=MAX_OUT_BYTES).contains(&token.len()), "a legal token");
        // With a fault on its way the token counts as its victim.
        if self.fault.is_some() || self.is_gone {
            return;
        }
        if let Some((_, output)) = &mut self.pipes {
            output.pipe.submit(&token);
            self.send_until = Some(Box::pin(sleep(OUT_WITHIN)));
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        if self.is_told || self.pipes.is_none() {
            return Poll::Pending;
        }
        if let Some(event) = self.poll_output(cx) {
            return Poll::Ready(event);
        }
        if let Some(event) = self.poll_input(cx) {
            return Poll::Ready(event);
        }
        self.poll_fault(cx)
    }

    /// Takes every transfer back, closes the endpoints and releases the interface, all
    /// within 400 ms. A kernel driver that was there before is then back.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.close_until.is_none() {
            self.close_until = Some(Box::pin(sleep(CLOSE_WITHIN)));
            self.cancel();
        }
        let is_late = match &mut self.close_until {
            Some(until) => until.as_mut().poll(cx).is_ready(),
            None => false,
        };
        if let Some((input, output)) = &mut self.pipes {
            while input.pipe.poll_ended(cx).is_ready() {}
            while output.pipe.poll_ended(cx).is_ready() {}
            let rests = [input.poll_rest(cx), output.poll_rest(cx)];
            if rests.iter().any(Poll::is_pending) && !is_late {
                return Poll::Pending;
            }
            self.pipes = None;
        }
        if let Some(release) = &mut self.release {
            if !is_late {
                ready!(release.as_mut().poll(cx));
            }
            self.release = None;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
