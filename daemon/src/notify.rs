//! What systemd is told: ready, status, stopping, and that we are alive.
//!
//! The watchdog is fed only while every device task and the hub's lock make
//! progress: a feed asks each task for a sign of life, and the next feed happens
//! only when all have given it. With two feeds in each limit, systemd acts at most one and
//! a half limits after a task hung or the process was stopped. Without systemd all of this
//! does nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hasher_wire::DeviceState;
use sd_notify::NotifyState;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::hub::Hub;

/// Shortest time between two texts for `systemctl status`.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Signs of life that were asked for and given.
pub(crate) struct Watchdog {
    asked: Arc<AtomicU64>,
    pulses: Mutex<Vec<Weak<PulseState>>>,
}

struct PulseState {
    given: AtomicU64,
    wake: Arc<Notify>,
}

/// One task's way to show that it lives; dropping it means the task ended.
pub(crate) struct Pulse {
    asked: Arc<AtomicU64>,
    state: Arc<PulseState>,
}

impl Pulse {
    /// Notified when a sign of life is asked for; tasks use it for other wake-ups too.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.state.wake)
    }

    /// The task took a turn.
    pub(crate) fn beat(&self) {
        let asked = self.asked.load(Ordering::Relaxed);
        self.state.given.store(asked, Ordering::Relaxed);
    }
}

impl Watchdog {
    /// Nobody is watched yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            asked: Arc::default(),
            pulses: Mutex::default(),
        })
    }

    /// Watches one more task.
    pub(crate) fn pulse(&self) -> Pulse {
        let asked = Arc::clone(&self.asked);
        let state = Arc::new(PulseState {
            given: AtomicU64::new(asked.load(Ordering::Relaxed)),
            wake: Arc::default(),
        });
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&state));
        Pulse { asked, state }
    }

    /// Whether every task has given the sign of life that was asked for last; asks
    /// for the next one.
    pub(crate) fn all_alive(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        let mut all_alive = true;
        for pulse in pulses.iter().filter_map(Weak::upgrade) {
            all_alive &= pulse.given.load(Ordering::Relaxed) >= asked;
            pulse.wake.notify_one();
        }
        all_alive
    }
}

/// Feeds systemd's watchdog for as long as it is polled.
pub(crate) async fn feed_watchdog(watchdog: &Watchdog, hub: &Hub) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(limit / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hub.sessions(); // the lock must be free, too
        if watchdog.all_alive() {
            send(&[NotifyState::Watchdog]);
        } else {
            warn!("a device task gives no sign of life; watchdog not fed");
        }
    }
}

/// Tells systemd that the socket can be used, and the state of the devices from
/// now on, for as long as it is polled.
pub(crate) async fn publish_status(hub: &Hub) {
    ready();
    let mut inventory = hub.watch_inventory();
    inventory.mark_changed();
    while inventory.changed().await.is_ok() {
        let text = {
            let inventory = inventory.borrow_and_update();
            let ready = |device: &&hasher_wire::DeviceReport| device.state == DeviceState::Ready;
            let ready = inventory.values().filter(ready).count();
            format!("{ready} of {} devices ready", inventory.len())
        };
        send(&[NotifyState::Status(&text)]);
        tokio::time::sleep(STATUS_INTERVAL).await;
    }
}

/// Tells systemd that the settings are read anew; [`ready`] must follow.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "cannot tell systemd the time of a reload"),
    }
}

/// Tells systemd that the daemon serves, for the first time or again.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Tells systemd that the daemon is about to end.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_only_while_every_task_takes_turns() {
        let watchdog = Watchdog::new();
        assert!(watchdog.all_alive(), "nobody is watched");
        let (quick, stuck) = (watchdog.pulse(), watchdog.pulse());
        assert!(watchdog.all_alive(), "new tasks have a turn's time");
        quick.beat();
        assert!(!watchdog.all_alive());
        quick.beat();
        drop(stuck);
        assert!(watchdog.all_alive(), "a task that ended is not awaited");
    }
}
