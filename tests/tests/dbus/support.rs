//! A bus, a daemon on it, and a client of both.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use hasher_tests::{Bus, Daemon, Policy};
use zbus::connection::Builder;
use zbus::fdo::{DBusProxy, ManagedObjects, ObjectManagerProxy, PropertiesProxy};
use zbus::{Connection, OwnedFd, OwnedVariant, Proxy, Variant, proxy};

pub const NAME: &str = "org.hasher.Hasher1";
pub const ROOT: &str = "/org/hasher/Hasher1";
pub const DEVICE: &str = "org.hasher.Hasher1.Device";
pub const SESSION: &str = "org.hasher.Hasher1.Session";

/// Longest wait for anything; the machine may be loaded.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Options<'a> = HashMap<&'a str, Variant<'a>>;
pub type Answer = (
    String,
    u64,
    u32,
    Vec<(u32, u32, Vec<u8>)>,
    Vec<(String, String)>,
);

#[proxy(
    interface = "org.hasher.Hasher1.Manager",
    default_service = "org.hasher.Hasher1",
    default_path = "/org/hasher/Hasher1"
)]
pub trait Manager {
    fn open_session(&self, options: &Options<'_>) -> zbus::Result<OwnedFd>;
    fn reload(&self) -> zbus::Result<()>;
    fn search(&self, header: &[u8], options: &Options<'_>) -> zbus::Result<Answer>;
    fn digest(
        &self,
        messages: &[&[u8]],
        options: &Options<'_>,
    ) -> zbus::Result<(Vec<Vec<u8>>, (String, String))>;
}

#[proxy(
    interface = "org.hasher.Hasher1.Device",
    default_service = "org.hasher.Hasher1"
)]
pub trait Device {
    fn pause(&self) -> zbus::Result<()>;
    fn resume(&self) -> zbus::Result<()>;
    fn reset(&self) -> zbus::Result<()>;
    fn configure(&self, settings: &Options<'_>) -> zbus::Result<u32>;
    fn confirm_configuration(&self) -> zbus::Result<()>;
    fn revert_configuration(&self) -> zbus::Result<()>;
}

/// A daemon on a bus of its own. Parts end in the order of the fields.
pub struct Rig {
    pub connection: Connection,
    pub daemon: Daemon,
    pub bus: Bus,
}

impl Rig {
    /// Nothing where there is no `dbus-daemon`.
    pub async fn start(devices: &[&str]) -> Option<Self> {
        let bus = Bus::start(Policy::Open)?;
        Some(Self::start_on(bus, devices).await)
    }

    pub async fn start_on(bus: Bus, devices: &[&str]) -> Self {
        let connection = connect(&bus).await;
        let daemon = Daemon::start_on(&bus, devices);
        let rig = Self {
            connection,
            daemon,
            bus,
        };
        rig.until_on_bus().await;
        rig
    }

    pub async fn until_on_bus(&self) {
        let bus = DBusProxy::new(&self.connection).await.unwrap();
        eventually("hasherd is on the bus", async || {
            bus.name_has_owner(NAME.try_into().unwrap()).await.unwrap()
        })
        .await;
    }

    pub async fn manager(&self) -> ManagerProxy<'static> {
        ManagerProxy::new(&self.connection).await.unwrap()
    }

    pub async fn device(&self, id: &str) -> DeviceProxy<'static> {
        let builder = DeviceProxy::builder(&self.connection);
        builder.path(device_path(id)).build().await.unwrap()
    }

    pub async fn objects(&self) -> ManagedObjects {
        let manager = ObjectManagerProxy::builder(&self.connection)
            .destination(NAME)
            .path(ROOT)
            .build()
            .await
            .unwrap();
        manager.get_managed_objects().await.unwrap()
    }

    /// All properties of an interface of an object, as they are now.
    pub async fn properties(&self, path: &str, interface: &str) -> HashMap<String, OwnedVariant> {
        let properties = PropertiesProxy::builder(&self.connection)
            .destination(NAME)
            .path(path)
            .build()
            .await
            .unwrap();
        let interface = interface.try_into().unwrap();
        properties.get_all(interface).await.unwrap()
    }

    pub async fn device_state(&self, id: &str) -> String {
        let properties = self.properties(&device_path(id), DEVICE).await;
        text(&properties["State"])
    }

    pub async fn until_device(&self, id: &str, state: &str) {
        eventually(&format!("{id} is {state}"), async || {
            self.device_state(id).await == state
        })
        .await;
    }

    /// What the daemon tells from now on.
    pub async fn signals(&self) -> Signals {
        let proxy = Proxy::new(
            &self.connection,
            NAME,
            ROOT,
            "org.freedesktop.DBus.Properties",
        );
        drop(proxy.await.unwrap());
        let rule = zbus::MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(NAME)
            .path_namespace(ROOT)
            .build()
            .unwrap();
        let stream = zbus::MessageStream::for_match_rule(rule, &self.connection, None);
        Signals(stream.await.unwrap())
    }
}

/// Connects to a bus as this test.
pub async fn connect(bus: &Bus) -> Connection {
    let builder = Builder::address(bus.address().as_str());
    builder.build().await.unwrap()
}

/// Signals of the daemon in their order.
pub struct Signals(zbus::MessageStream);

/// One of them.
#[derive(Debug)]
pub enum Told {
    Added(String),
    Removed(String),
    Changed {
        path: String,
        changed: HashMap<String, OwnedVariant>,
    },
}

impl Signals {
    pub async fn next(&mut self) -> Told {
        let message = tokio::time::timeout(PATIENCE, next(&mut self.0)).await;
        let message = message.expect("a signal comes").unwrap().unwrap();
        let header = message.header();
        let body = message.body();
        match header.member().unwrap().as_str() {
            "InterfacesAdded" => {
                type Added = (
                    zbus::OwnedObjectPath,
                    HashMap<String, HashMap<String, OwnedVariant>>,
                );
                let (path, _): Added = body.deserialize().unwrap();
                Told::Added(path.to_string())
            }
            "InterfacesRemoved" => {
                let (path, _): (zbus::OwnedObjectPath, Vec<String>) = body.deserialize().unwrap();
                Told::Removed(path.to_string())
            }
            "PropertiesChanged" => {
                type Changed = (String, HashMap<String, OwnedVariant>, Vec<String>);
                let (_, changed, invalidated): Changed = body.deserialize().unwrap();
                assert!(invalidated.is_empty() && !changed.is_empty());
                Told::Changed {
                    path: header.path().unwrap().to_string(),
                    changed,
                }
            }
            other => panic!("unexpected signal {other}"),
        }
    }

    /// Waits until a device is told to be in a state; returns the reason.
    pub async fn until_state(&mut self, id: &str, state: &str) -> String {
        let wanted = device_path(id);
        let mut reason = String::new();
        let deadline = Instant::now() + Duration::from_secs(120);
        while Instant::now() < deadline {
            if let Told::Changed { path, changed, .. } = self.next().await
                && path == wanted
            {
                if let Some(told) = changed.get("StateReason") {
                    reason = text(told);
                }
                if changed.get("State").is_some_and(|told| text(told) == state) {
                    return reason;
                }
            }
        }
        panic!("{id} is never told to be {state}");
    }

    /// What comes within some time.
    pub async fn within(&mut self, time: Duration) -> Vec<Told> {
        let end = tokio::time::Instant::now() + time;
        let mut told = Vec::new();
        while let Ok(one) = tokio::time::timeout_at(end, self.next()).await {
            told.push(one);
        }
        told
    }
}

/// The next item of a stream; nothing when it has ended.
pub async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Waits until something is so; looks every 20 ms.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn device_path(id: &str) -> String {
    format!("{ROOT}/devices/{}", id.replace('-', "_2d"))
}

pub fn text(value: &OwnedVariant) -> String {
    value.try_clone().unwrap().try_into().unwrap()
}

pub fn number(value: &OwnedVariant) -> f64 {
    value.try_into().unwrap()
}

/// Name without prefix, and message, of what a call failed with.
pub fn failure<T: std::fmt::Debug>(result: zbus::Result<T>) -> (String, String) {
    match result.unwrap_err() {
        zbus::Error::MethodError(name, message, _) => {
            let name = name.as_str().rsplit('.').next().unwrap().to_owned();
            (name, message.unwrap_or_default())
        }
        zbus::Error::FDO(error) => {
            let text = error.to_string();
            let name = text.split(':').next().unwrap();
            let name = name.rsplit('.').next().unwrap().to_owned();
            (name, text)
        }
        other => panic!("{other:?}"),
    }
}
