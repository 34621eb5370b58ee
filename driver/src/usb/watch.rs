//! Follows the bus.
//!
//! Owns the kernel's hotplug watch and the moments at which the bus is listed. The
//! watch is made before the first list, so that no board that is plugged in between is
//! missed. The daemon has one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(not(feature = "udev"))]
use futures_core::Stream;
#[cfg(not(feature = "udev"))]
use nusb::hotplug::HotplugWatch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::bus;
use super::tracker::{BusChange, Tracker};
#[cfg(feature = "udev")]
use super::udev::{UdevAction, UdevMonitor};
use crate::DeviceId;

/// The bus is listed this often without any event: the watch says nothing when it lost
/// events, or when the process may not hear them.
pub const LIST_EVERY: Duration = Duration::from_secs(30);

/// The same where no watch can be had at all.
pub const LIST_EVERY_WITHOUT_WATCH: Duration = Duration::from_secs(1);

/// When to look again for a board that udev has not finished with.
const SETTLE_EVERY: Duration = Duration::from_millis(250);

/// A replugged hub makes an event for each device behind it; one look serves them all.
const EVENTS_PER_LOOK: usize = 64;

/// What an event asks for.
enum News {
    /// Something came, left or changed: look at the bus.
    Look,
    /// A driver let go of the device at this port.
    #[cfg_attr(not(feature = "udev"), expect(dead_code, reason = "only udev tells"))]
    Released(DeviceId),
}

/// Where events come from.
#[cfg(not(feature = "udev"))]
struct Events(HotplugWatch);

#[cfg(not(feature = "udev"))]
impl Events {
    fn new() -> Result<Self, nusb::Error> {
        nusb::watch_devices().map(Self)
    }

    /// Nothing when it ended.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<News>> {
        let event = Pin::new(&mut self.0).poll_next(cx);
        event.map(|event| event.map(|_| News::Look))
    }
}

/// Where events come from.
#[cfg(feature = "udev")]
struct Events(UdevMonitor);

#[cfg(feature = "udev")]
impl Events {
    fn new() -> std::io::Result<Self> {
        UdevMonitor::new().map(Self)
    }

    /// Nothing when it ended.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<News>> {
        self.0.poll_event(cx).map(|event| {
            let event = event.ok()?;
            Some(match (event.action, event.port) {
                (UdevAction::Unbind, Some(port)) => News::Released(port),
                _ => News::Look,
            })
        })
    }
}

/// Boards coming and going.
pub struct UsbWatch {
    events: Option<Events>,
    tracker: Tracker,
    changes: VecDeque<BusChange>,
    list_at: Pin<Box<Sleep>>,
}

impl UsbWatch {
    /// Watches from now on; boards that are there already arrive first. Works, with no
    /// boards, on a machine without USB.
    pub fn new() -> Self {
        let events = Events::new()
            .inspect_err(|error| {
                tracing::warn!(%error, "no hotplug events; the bus is listed every second");
            })
            .ok();
        Self {
            events,
            tracker: Tracker::default(),
            changes: VecDeque::new(),
            list_at: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// The next change. Cancel-safe.
    pub async fn next(&mut self) -> BusChange {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<BusChange> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Poll::Ready(change);
            }
            let must_look = self.take_events(cx);
            if must_look || self.list_at.as_mut().poll(cx).is_ready() {
                self.look();
            } else if self.changes.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// Takes the events that wait; whether the bus must be looked at.
    fn take_events(&mut self, cx: &mut Context<'_>) -> bool {
        let mut must_look = false;
        for _ in 0..EVENTS_PER_LOOK {
            let Some(events) = &mut self.events else {
                return must_look;
            };
            match events.poll_news(cx) {
                Poll::Ready(Some(News::Look)) => must_look = true,
                Poll::Ready(Some(News::Released(port))) => {
                    if self.tracker.knows(&port) {
                        self.changes.push_back(BusChange::Released(port));
                    }
                }
                Poll::Ready(None) => {
                    self.events = None;
                    must_look = true;
                }
                Poll::Pending => return must_look,
            }
        }
        true // there are more; nothing woke this task for them
    }

    fn look(&mut self) {
        let boards: Vec<_> = bus::list().into_iter().map(|found| found.board).collect();
        let pause = if boards.iter().any(|board| !board.is_settled) {
            SETTLE_EVERY
        } else if self.events.is_some() {
            LIST_EVERY
        } else {
            LIST_EVERY_WITHOUT_WATCH
        };
        self.changes.extend(self.tracker.on_list(boards));
        self.list_at.as_mut().reset(Instant::now() + pause);
    }
}

impl Default for UsbWatch {
    fn default() -> Self {
        Self::new()
    }
}
