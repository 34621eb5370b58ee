//! A Bitmain board behind any transport.
//!
//! Owns the clock and the transport, and drives the [`Host`] with them. It decides
//! nothing: every rule about the device is in [`crate::host`]. The daemon's device
//! task owns it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hasher_work::Work;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::capture::{Capture, Recorder, TransferKind};
use crate::host::{BoardSettings, Host};
use crate::transport::{Transport, TransportEvent};
use crate::{
    Clock, DeviceEvent, DeviceInfo, DeviceStatus, DeviceWork, DriverError, HashDevice, WorkTag,
};

/// Steps that one poll may take before it lets other tasks run: a transport that
/// always has something to say must not keep the thread.
const STEPS_PER_POLL: u32 = 64;

/// A board that speaks the tokens of an Antminer S1 or S3 over `T`.
///
/// Everything happens in [`poll_event`](HashDevice::poll_event), inside a tokio
/// runtime with its timer; with paused time it is exactly repeatable.
#[derive(Debug)]
pub struct BitmainDevice<T> {
    host: Host,
    transport: T,
    begun: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The last event, told once the transport has given the device back.
    last: Option<DeviceEvent>,
    /// Whom to wake when the owner gives new orders between polls.
    waker: Option<Waker>,
    /// [`Host::must_cool`] for whoever opens the board next.
    must_cool: Arc<AtomicBool>,
    recorder: Recorder,
}

impl<T: Transport> BitmainDevice<T> {
    /// Takes over an open device of unknown state; the start begins with the first
    /// poll.
    pub fn new(transport: T, settings: BoardSettings) -> Self {
        Self::remembering(transport, settings, Arc::default())
    }

    /// The same for a board that was open before: `must_cool` says whether it was lost
    /// hot or unseen, and is kept up to date while this device is there.
    pub(crate) fn remembering(
        transport: T,
        settings: BoardSettings,
        must_cool: Arc<AtomicBool>,
    ) -> Self {
        let settings = settings.with_must_cool(must_cool.load(Ordering::Relaxed));
        Self {
            must_cool,
            recorder: Recorder::default(),
            host: Host::new(settings, Duration::ZERO),
            transport,
            begun: Instant::now(),
            alarm: None,
            last: None,
            waker: None,
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the host's next moment; never ready if it has none.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.host.wake_at() else {
            self.alarm = None;
            return Poll::Pending;
        };
        let at = self.begun + at;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }

    /// The host's next event, if it has one. The last one waits for the transport to
    /// give the device back, so that whoever hears it may end the program.
    fn next_event(&mut self, cx: &mut Context<'_>) -> Option<Poll<Option<DeviceEvent>>> {
        if self.last.is_none() {
            match self.host.next_event()? {
                gone @ DeviceEvent::Gone(_) => self.last = Some(gone),
                event => return Some(Poll::Ready(Some(event))),
            }
        }
        let closed = self.transport.poll_close(cx);
        Some(closed.map(|()| self.last.take()))
    }

    /// One step: an event, or progress without one.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Option<DeviceEvent>> {
        // Events first: the host's queue then never holds more than one input's.
        if let Some(event) = self.next_event(cx) {
            return event;
        }
        let now = self.now();
        self.host.set_slowdown(self.transport.slowdown(), now);
        self.host.on_time(now);
        self.must_cool
            .store(self.host.must_cool(), Ordering::Relaxed);
        if let Some(token) = self.host.next_token(now) {
            self.recorder.note(now, TransferKind::Out(token.clone()));
            self.transport.start_send(token);
        }
        if let Some(event) = self.next_event(cx) {
            return event;
        }
        if self.host.is_gone() {
            return Poll::Pending;
        }
        if let Poll::Ready(event) = self.transport.poll_event(cx) {
            match &event {
                TransportEvent::Received(bytes) => {
                    self.recorder.note(now, TransferKind::In(bytes.clone()));
                }
                TransportEvent::Fault(error) => {
                    self.recorder
                        .note(now, TransferKind::Fault(error.in_words()));
                }
                TransportEvent::Sent => {}
            }
            self.host.on_transport(event, now);
            return Poll::Ready(None);
        }
        ready!(self.poll_alarm(cx));
        Poll::Ready(None)
    }
}

impl<T: Transport> HashDevice for BitmainDevice<T> {
    fn info(&self) -> &DeviceInfo {
        self.host.info()
    }

    fn status(&self) -> DeviceStatus {
        self.host.status()
    }

    fn capacity(&self) -> usize {
        self.host.capacity()
    }

    fn can_run(&self, work: &Work) -> bool {
        self.host.can_run(work)
    }

    fn submit(&mut self, work: DeviceWork) -> Result<(), DriverError> {
        let now = self.now();
        self.host.submit(work, now)?;
        self.wake();
        Ok(())
    }

    fn cancel(&mut self, tag: WorkTag) {
        self.host.cancel(tag);
    }

    fn set_paused(&mut self, paused: bool) {
        let now = self.now();
        self.host.set_paused(paused, now);
        self.wake();
    }

    fn set_clock(&mut self, clock: Option<Clock>) -> Result<(), DriverError> {
        let now = self.now();
        self.host.set_clock(clock, now)?;
        self.wake();
        Ok(())
    }

    fn capture(&self) -> Option<Capture> {
        Some(self.recorder.capture())
    }

    fn begin_shutdown(&mut self) {
        let now = self.now();
        self.host.begin_shutdown(now);
        self.wake();
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<DeviceEvent> {
        for _ in 0..STEPS_PER_POLL {
            match self.step(cx) {
                Poll::Ready(Some(event)) => return Poll::Ready(event),
                Poll::Ready(None) => {}
                Poll::Pending => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
