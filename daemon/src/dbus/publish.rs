//! Which objects there are on the bus, and what is told of their changes.
//!
//! Owns what was told last. Devices and sessions get their objects when they appear;
//! changes of their properties are told together, at most once a second for each object
//! and only if there are any. A device that changes its state is told at once. Nothing
//! is polled: without news it sleeps.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hasher_wire::DeviceReport;
use tokio::time::Instant;
use zbus::fdo::Properties;
use zbus::object_server::Interface;
use zbus::{Connection, OwnedVariant, Variant};

use super::device::{self, Device};
use super::manager::{self, Manager};
use super::session::{self, Session};
use super::{Context, ROOT, device_path, session_path};
use crate::core::{BUCKET, SessionId};
use crate::hub::Inventory;
use crate::subscription::is_news;
use crate::time::sleep_until;

/// Shortest time between two signals about the properties of one object.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Sessions whose properties are told at most in one such interval; with more of them
/// each has its turn less often. A signal costs the daemon and the bus about as much as
/// a small request.
const SESSIONS_TOLD: usize = 64;

/// Shortest time between two looks at which sessions there are: a client that connects
/// and leaves at once need not have an object, and a thousand of them must not flood
/// the bus.
const SESSIONS_INTERVAL: Duration = Duration::from_millis(100);

/// An object that is on the bus.
struct Published {
    path: String,
    /// Not to be told.
    silent: &'static [&'static str],
    told: HashMap<String, OwnedVariant>,
    told_at: Instant,
    /// Something may have changed since.
    is_stale: bool,
}

impl Published {
    async fn new<I: Interface>(
        connection: &Connection,
        path: String,
        silent: &'static [&'static str],
    ) -> zbus::Result<Self> {
        let told = read::<I>(connection, &path).await?;
        Ok(Self {
            path,
            silent,
            told,
            told_at: Instant::now(),
            is_stale: false,
        })
    }

    /// When its changes may be told, if there may be some.
    fn due(&self, interval: Duration) -> Option<Instant> {
        self.is_stale.then(|| self.told_at + interval)
    }

    fn is_due(&self, now: Instant, interval: Duration) -> bool {
        self.due(interval).is_some_and(|due| due <= now)
    }

    /// Tells what has changed, if anything has.
    async fn tell<I: Interface>(&mut self, connection: &Connection) -> zbus::Result<()> {
        self.is_stale = false;
        let now = read::<I>(connection, &self.path).await?;
        let mut changed = HashMap::new();
        for (name, value) in &now {
            let is_told = self.told.get(name) == Some(value);
            if !is_told && !self.silent.contains(&name.as_str()) {
                changed.insert(name.as_str(), Variant::try_from(value)?);
            }
        }
        if !changed.is_empty() {
            let server = connection.object_server();
            let object = server.interface::<_, I>(self.path.as_str()).await?;
            let emitter = object.signal_emitter();
            Properties::properties_changed(emitter, I::name(), changed, Cow::Borrowed(&[])).await?;
            self.told_at = Instant::now();
        }
        self.told = now;
        Ok(())
    }
}

/// Every property of an object.
async fn read<I: Interface>(
    connection: &Connection,
    path: &str,
) -> zbus::Result<HashMap<String, OwnedVariant>> {
    let server = connection.object_server();
    let object = server.interface::<_, I>(path).await?;
    let interface = object.get().await;
    let properties = interface.get_all(server, connection, None, object.signal_emitter());
    Ok(properties.await?)
}

/// All objects.
struct Objects<'a> {
    context: &'a Arc<Context>,
    connection: &'a Connection,
    manager: Published,
    devices: BTreeMap<String, (Published, DeviceReport)>,
    sessions: BTreeMap<SessionId, Published>,
    /// The daemon's state when it was told last.
    state: &'static str,
}

/// Keeps the objects true for as long as the connection takes them.
pub(super) async fn follow(context: &Arc<Context>, connection: &Connection) -> zbus::Result<()> {
    let hub = &context.hub;
    let mut inventory = hub.watch_inventory();
    let mut sleeping = hub.power().watch();
    let mut objects = Objects {
        context,
        connection,
        manager: Published::new::<Manager>(connection, ROOT.to_owned(), manager::SILENT).await?,
        devices: BTreeMap::new(),
        sessions: BTreeMap::new(),
        state: "",
    };
    let mut sessions_due = Some(Instant::now());
    let mut fades_at: Option<Instant> = None;
    let mut has_news_of_devices = true;
    loop {
        if std::mem::take(&mut has_news_of_devices) {
            let newest = inventory.borrow_and_update().clone();
            objects.follow_devices(newest).await?;
        }
        let now = Instant::now();
        if sessions_due.is_some_and(|due| due <= now) {
            sessions_due = None;
            objects.follow_sessions().await?;
        }
        if fades_at.is_some_and(|at| at <= now) {
            fades_at = None;
            objects.mark_sessions();
        }
        if objects.tell_due().await? {
            // What a session got a minute ago is worth less by the moment.
            fades_at = Some(Instant::now() + BUCKET);
        }
        let due = [objects.next_due(), sessions_due, fades_at];
        let due = due.into_iter().flatten().min();
        // Counters change with every job; one look a second is enough.
        let is_marked = objects.manager.is_stale;
        tokio::select! {
            // It counts as seen from here on.
            _ = inventory.changed() => has_news_of_devices = true,
            _ = sleeping.changed() => objects.manager.is_stale = true,
            () = hub.sessions_changed() => {
                let soon = Instant::now() + SESSIONS_INTERVAL;
                sessions_due.get_or_insert(soon);
                objects.manager.is_stale = true;
            }
            () = hub.counters_changed(), if !is_marked => {
                objects.manager.is_stale = true;
                objects.mark_sessions();
            }
            () = sleep_until(due) => {}
        }
    }
}

impl Objects<'_> {
    async fn follow_devices(&mut self, newest: Inventory) -> zbus::Result<()> {
        let gone: Vec<String> = self
            .devices
            .keys()
            .filter(|id| !newest.contains_key(*id))
            .cloned()
            .collect();
        let server = self.connection.object_server();
        for id in gone {
            self.devices.remove(&id);
            self.manager.is_stale = true;
            server.remove::<Device, _>(device_path(&id)).await?;
        }
        for (id, report) in newest {
            match self.devices.get_mut(&id) {
                None => {
                    let path = device_path(&id);
                    let object = Device::new(&id, Arc::clone(self.context));
                    server.at(path.as_str(), object).await?;
                    self.manager.is_stale = true;
                    let silent = device::SILENT;
                    let published = Published::new::<Device>(self.connection, path, silent).await?;
                    self.devices.insert(id, (published, report));
                }
                Some((published, told)) => {
                    let is_news = is_news(told, &report);
                    published.is_stale |= *told != report;
                    *told = report;
                    if is_news {
                        published.tell::<Device>(self.connection).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn follow_sessions(&mut self) -> zbus::Result<()> {
        let open = self.context.hub.session_ids();
        let gone: Vec<SessionId> = self
            .sessions
            .keys()
            .filter(|id| open.binary_search(id).is_err())
            .copied()
            .collect();
        let server = self.connection.object_server();
        for id in gone {
            self.sessions.remove(&id);
            server.remove::<Session, _>(session_path(id.0)).await?;
        }
        for id in open {
            if !self.sessions.contains_key(&id) {
                let path = session_path(id.0);
                let object = Session::new(id, Arc::clone(self.context));
                server.at(path.as_str(), object).await?;
                let silent = session::SILENT;
                let published = Published::new::<Session>(self.connection, path, silent).await?;
                self.sessions.insert(id, published);
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn mark_sessions(&mut self) {
        for published in self.sessions.values_mut() {
            published.is_stale = true;
        }
    }

    /// When the next object is due.
    fn next_due(&self) -> Option<Instant> {
        let devices = self.devices.values().map(|(published, _)| published);
        let others = devices.chain([&self.manager]);
        let others = others.filter_map(|published| published.due(TELL_INTERVAL));
        let interval = sessions_interval(self.sessions.len());
        let sessions = self.sessions.values();
        let sessions = sessions.filter_map(|published| published.due(interval));
        others.chain(sessions).min()
    }

    /// Tells the changes that are due; says whether a session has a share that will fade.
    async fn tell_due(&mut self) -> zbus::Result<bool> {
        let now = Instant::now();
        let state = self.context.hub.state();
        if self.manager.is_due(now, TELL_INTERVAL) || self.state != state {
            self.state = state;
            self.manager.tell::<Manager>(self.connection).await?;
        }
        for (published, _) in self.devices.values_mut() {
            if published.is_due(now, TELL_INTERVAL) {
                published.tell::<Device>(self.connection).await?;
            }
        }
        let mut fades = false;
        let interval = sessions_interval(self.sessions.len());
        for published in self.sessions.values_mut() {
            if published.is_due(now, interval) {
                published.tell::<Session>(self.connection).await?;
                // Many are due at once, and clients wait for their turns.
                tokio::task::yield_now().await;
                fades |= published.told.get("Share").is_some_and(is_above_zero);
            }
        }
        Ok(fades)
    }
}

/// Shortest time between two signals about the properties of one of so many sessions.
fn sessions_interval(sessions: usize) -> Duration {
    TELL_INTERVAL.saturating_mul(sessions.div_ceil(SESSIONS_TOLD).max(1) as u32)
}

fn is_above_zero(number: &OwnedVariant) -> bool {
    f64::try_from(number).is_ok_and(|number| number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_sessions_there_are_the_less_often_each_is_told() {
        let seconds = |sessions| sessions_interval(sessions).as_secs();
        assert_eq!((seconds(0), seconds(1), seconds(64)), (1, 1, 1));
        assert_eq!((seconds(65), seconds(1024)), (2, 16));
    }
}
