//! Boards that come and go on a bus.
//!
//! Owns the ports on which a board was seen or is expected, and starts one supervisor
//! for each. A port keeps its name, its counters and its place in the status when its
//! board is unplugged. It opens nothing; the [`manager`](crate::manager) does.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use hasher_driver::host::HeatLimits;
use hasher_driver::usb::{BusChange, UsbWatch};
use hasher_driver::{DeviceId, DeviceSource, UsbSpec};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::hub::Hub;
use crate::manager::{Place, Presence, Source, supervise_at};
use crate::notify::Watchdog;

/// A bus on which devices come and go.
pub trait Bus: Send + 'static {
    /// How its devices are opened.
    type Source: Source;

    /// Ports that are named in advance: their devices are awaited and shown as absent.
    fn expected(&self) -> Vec<DeviceId>;

    /// The source of the device at a port; nothing if it is not ours.
    fn source(&self, port: &DeviceId) -> Option<Self::Source>;

    /// What happens next. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = BusChange> + Send;
}

/// The machine's USB, with what was asked for on it.
pub struct UsbBus {
    watch: UsbWatch,
    specs: Vec<UsbSpec>,
    heat_limits: HeatLimits,
}

impl UsbBus {
    /// Follows USB from now on; nothing if nobody asked for a board on it.
    pub fn new(specs: Vec<UsbSpec>, heat_limits: HeatLimits) -> Option<Self> {
        if specs.is_empty() {
            return None;
        }
        Some(Self {
            watch: UsbWatch::new(),
            specs,
            heat_limits,
        })
    }
}

impl Bus for UsbBus {
    type Source = DeviceSource;

    fn expected(&self) -> Vec<DeviceId> {
        let ports = self.specs.iter().filter_map(UsbSpec::port);
        ports.cloned().collect()
    }

    fn source(&self, port: &DeviceId) -> Option<DeviceSource> {
        // What was said about this very port counts more than what was said about all.
        let own = self.specs.iter().find(|spec| spec.port() == Some(port));
        let spec = own.or_else(|| self.specs.iter().find(|spec| spec.covers(port)))?;
        Some(spec.source(port.clone()).with_heat_limits(self.heat_limits))
    }

    async fn next(&mut self) -> BusChange {
        self.watch.next().await
    }
}

/// What a supervisor on a bus needs.
pub(crate) struct Context {
    pub hub: Arc<Hub>,
    pub watchdog: Arc<Watchdog>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    /// Most ports to follow; the status names no more devices.
    pub ports_max: usize,
}

/// Follows a bus until `stop`.
pub(crate) async fn follow<B: Bus>(mut bus: B, context: Context) {
    let mut ports = Ports {
        senders: BTreeMap::new(),
        context,
    };
    for port in bus.expected() {
        ports.entry(&port, &bus);
    }
    let stop = ports.context.stop.clone();
    loop {
        let change = tokio::select! {
            change = bus.next() => change,
            () = stop.cancelled() => return,
        };
        match change {
            BusChange::Arrived(board) => ports.arrived(&board.id, &bus),
            BusChange::Left(port) => ports.left(&port),
            BusChange::Released(port) => ports.released(&port),
        }
    }
}

struct Ports {
    senders: BTreeMap<DeviceId, watch::Sender<Presence>>,
    context: Context,
}

impl Ports {
    fn arrived<B: Bus>(&mut self, port: &DeviceId, bus: &B) {
        if let Some(sender) = self.entry(port, bus) {
            sender.send_modify(|presence| {
                presence.is_there = true;
                presence.arrivals += 1;
            });
            self.context.hub.expect_device();
        }
    }

    fn left(&mut self, port: &DeviceId) {
        if let Some(sender) = self.senders.get(port) {
            sender.send_modify(|presence| presence.is_there = false);
        }
    }

    /// Wakes the supervisor, which may be waiting for that.
    fn released(&self, port: &DeviceId) {
        if let Some(sender) = self.senders.get(port) {
            sender.send_modify(|presence| presence.releases += 1);
        }
    }

    /// The port's sender; a supervisor is started for a port that is new.
    fn entry<B: Bus>(&mut self, port: &DeviceId, bus: &B) -> Option<&watch::Sender<Presence>> {
        if !self.senders.contains_key(port) {
            let source = bus.source(port)?;
            if !self.make_room() {
                let ports_max = self.context.ports_max;
                warn!(device = %port, ports_max, "too many devices; this one is left alone");
                return None;
            }
            let (sender, receiver) = watch::channel(Presence::default());
            let Context {
                hub,
                watchdog,
                tasks,
                stop,
                ..
            } = &self.context;
            tasks.spawn(supervise_at(
                Place::port(receiver),
                source,
                Arc::clone(hub),
                Arc::clone(watchdog),
                stop.clone(),
            ));
            self.senders.insert(port.clone(), sender);
        }
        self.senders.get(port)
    }

    /// Forgets a port without a device if all places are taken.
    fn make_room(&mut self) -> bool {
        if self.senders.len() < self.context.ports_max {
            return true;
        }
        let empty = self
            .senders
            .iter()
            .find(|(_, sender)| !sender.borrow().is_there)
            .map(|(port, _)| port.clone());
        empty.is_some_and(|port| self.senders.remove(&port).is_some())
    }
}

#[cfg(test)]
mod tests;
