//! What a session tells its client without being asked.
//!
//! Owns what the client was told last. Events are made when there is room to send
//! them, from the newest state, so a slow client misses steps but never falls behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hasher_wire::{DeviceReport, Event, EventBody, Frame, StatusReport, Topics};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

use crate::hub::{Hub, Inventory};

/// Shortest time between two status documents.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Documents in such an interval; with more sessions that want them each has its turn
/// less often. One with many sessions takes half a millisecond to write (inferred).
const STATUSES: usize = 64;

/// The subscription of one session; at first to nothing.
pub(crate) struct Subscription {
    topics: Topics,
    inventory: watch::Receiver<Inventory>,
    /// Device events that were made together and leave one by one; at most one for
    /// each device.
    ready: VecDeque<EventBody>,
    told_devices: Inventory,
    told_status: Option<StatusReport>,
    status_due: Instant,
    /// Counts it among the hub's while it wants the status.
    reader: Option<Arc<()>>,
}

impl Subscription {
    /// To nothing.
    pub(crate) fn new(inventory: watch::Receiver<Inventory>) -> Self {
        Self {
            topics: Topics::NONE,
            inventory,
            ready: VecDeque::new(),
            told_devices: Inventory::new(),
            told_status: None,
            status_due: Instant::now(),
            reader: None,
        }
    }

    /// Replaces the topics. The present state is told at once.
    pub(crate) fn set(&mut self, topics: Topics) {
        self.topics = topics;
        self.ready.clear();
        self.told_devices.clear();
        self.told_status = None;
        self.status_due = Instant::now();
        self.reader = None;
        self.inventory.mark_changed();
    }

    /// Whether there may be events.
    pub(crate) const fn is_to_something(&self) -> bool {
        self.topics.0 != Topics::NONE.0
    }

    /// The next event; cancel-safe.
    pub(crate) async fn next(&mut self, hub: &Hub) -> Frame {
        loop {
            let body = match self.ready.pop_front() {
                Some(body) => body,
                None => match self.wait(hub).await {
                    Some(body) => body,
                    None => continue,
                },
            };
            match Event::new(&body) {
                Ok(event) => return Frame::Event(event),
                Err(error) => error!(%error, "no event"),
            }
        }
    }

    async fn wait(&mut self, hub: &Hub) -> Option<EventBody> {
        let wants_devices = self.topics.has(Topics::DEVICES);
        let wants_status = self.topics.has(Topics::STATUS);
        tokio::select! {
            changed = self.inventory.changed(), if wants_devices => {
                if changed.is_err() {
                    return std::future::pending().await; // the hub is gone
                }
                self.compare_devices();
                None
            }
            () = tokio::time::sleep_until(self.status_due), if wants_status => {
                self.reader.get_or_insert_with(|| hub.status_reader());
                self.status_due = Instant::now() + status_interval(hub.status_readers());
                self.compare_status(hub)
            }
            else => std::future::pending().await,
        }
    }

    fn compare_devices(&mut self) {
        let newest = self.inventory.borrow_and_update().clone();
        for (id, device) in &newest {
            let told = self.told_devices.get(id);
            if told.is_none_or(|told| is_news(told, device)) {
                let device = device.clone();
                self.ready.push_back(EventBody::Device { device });
            }
        }
        for id in self
            .told_devices
            .keys()
            .filter(|id| !newest.contains_key(*id))
        {
            self.ready.push_back(EventBody::Removed { id: id.clone() });
        }
        self.told_devices = newest;
    }

    fn compare_status(&mut self, hub: &Hub) -> Option<EventBody> {
        let status = hub.status();
        // The clock alone is no news.
        let mut comparable = status.clone();
        comparable.daemon.uptime_s = 0;
        if self.told_status.as_ref() == Some(&comparable) {
            return None;
        }
        self.told_status = Some(comparable);
        Some(EventBody::Status { status })
    }
}

/// Shortest time between two status documents for one of so many sessions.
fn status_interval(readers: usize) -> Duration {
    STATUS_INTERVAL * readers.div_ceil(STATUSES).max(1) as u32
}

/// Whether a device changed its state, rather than its measurements.
pub(crate) fn is_news(told: &DeviceReport, now: &DeviceReport) -> bool {
    (told.state, &told.reason, told.attachments) != (now.state, &now.reason, now.attachments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_read_the_status_the_less_often_each_is_told() {
        let seconds = |readers| status_interval(readers).as_secs();
        assert_eq!((seconds(1), seconds(64)), (1, 1));
        assert_eq!((seconds(65), seconds(1024)), (2, 16));
    }

    #[tokio::test(start_paused = true)]
    async fn who_no_longer_wants_the_status_is_no_longer_counted() {
        let hub = Hub::new();
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut subscription = Subscription::new(hub.watch_inventory());
            subscription.set(Topics::STATUS);
            assert!(matches!(subscription.next(&hub).await, Frame::Event(_)));
            told.push(subscription);
        }
        assert_eq!(hub.status_readers(), 3);
        told[0].set(Topics::DEVICES);
        told.pop();
        assert_eq!(hub.status_readers(), 1);
    }
}
