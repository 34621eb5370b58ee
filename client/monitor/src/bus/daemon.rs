//! The daemon that the app looks at.
//!
//! Owns the choice between the two buses (the user's own daemon comes first, as for
//! the command line), the mirror of its objects, and its methods. Everything runs
//! on the main loop; nothing here blocks.

use std::cell::{Cell, Ref, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use gtk::gio::{self, prelude::*};
use gtk::glib::{self, Variant, VariantTy};
use hasher_monitor_core::{Action, Bus, CallError, Connection, Mirror, ROOT};

use super::name_watch::NameWatch;
use super::variant;

/// The daemon's name on the bus.
const NAME: &str = "org.hasher.Hasher1";
const MANAGER: &str = "org.hasher.Hasher1.Manager";
const DEVICE: &str = "org.hasher.Hasher1.Device";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Time for the listing of all objects, in milliseconds.
const LISTING_TIMEOUT_MS: i32 = 10_000;
/// Time for a call that may ask a person for a password, in milliseconds.
const PERSON_TIMEOUT_MS: i32 = 300_000;

/// The buses in the order of preference.
const BUSES: [(Bus, gio::BusType); 2] = [
    (Bus::Session, gio::BusType::Session),
    (Bus::System, gio::BusType::System),
];

/// The daemon, wherever it is. Clones are the same.
#[derive(Clone)]
pub struct Daemon {
    inner: Rc<Inner>,
}

struct Inner {
    connection: RefCell<Connection>,
    mirror: RefCell<Mirror>,
    owners: RefCell<[Owner; BUSES.len()]>,
    watches: RefCell<Vec<NameWatch>>,
    attached: RefCell<Option<Attached>>,
    /// Whether the listener will be told before the next frame.
    is_told: Cell<bool>,
    listener: RefCell<Rc<dyn Fn()>>,
}

/// Who owns the name on one bus.
#[derive(Clone, Default)]
enum Owner {
    /// Not known yet.
    #[default]
    Asked,
    Nobody,
    Somebody(gio::DBusConnection, String),
}

/// The owner that is followed.
struct Attached {
    bus: Bus,
    connection: gio::DBusConnection,
    owner: String,
    _signals: Vec<gio::SignalSubscription>,
}

impl Daemon {
    /// Begins to look for the daemon on both buses. `listener` is called, on the main
    /// loop, after anything changed.
    pub fn watch(listener: impl Fn() + 'static) -> Self {
        let daemon = Self {
            inner: Rc::new(Inner {
                connection: RefCell::new(Connection::Looking),
                mirror: RefCell::default(),
                owners: RefCell::default(),
                watches: RefCell::default(),
                attached: RefCell::default(),
                is_told: Cell::new(false),
                listener: RefCell::new(Rc::new(listener)),
            }),
        };
        for (index, (_, kind)) in BUSES.into_iter().enumerate() {
            let daemon = daemon.clone();
            glib::spawn_future_local(async move { daemon.watch_bus(index, kind).await });
        }
        daemon
    }

    /// Whether and where the daemon is.
    pub fn connection(&self) -> Ref<'_, Connection> {
        self.inner.connection.borrow()
    }

    /// What is known of its objects.
    pub fn mirror(&self) -> Ref<'_, Mirror> {
        self.inner.mirror.borrow()
    }

    /// Pauses or resumes the device at `path`. May show a password prompt.
    pub async fn act(&self, path: &str, action: Action) -> Result<(), CallError> {
        let (connection, owner) = self.peer()?;
        let answer = connection
            .call_future(
                Some(&owner),
                path,
                DEVICE,
                action.method(),
                None,
                None,
                gio::DBusCallFlags::ALLOW_INTERACTIVE_AUTHORIZATION,
                PERSON_TIMEOUT_MS,
            )
            .await;
        answer.map(drop).map_err(call_error)
    }

    /// A connected socket that speaks the socket protocol. May show a password prompt.
    pub async fn open_session(&self) -> Result<OwnedFd, CallError> {
        let (connection, owner) = self.peer()?;
        let options = glib::VariantDict::new(None).end();
        let (reply, descriptors) = connection
            .call_with_unix_fd_list_future(
                Some(&owner),
                ROOT,
                MANAGER,
                "OpenSession",
                Some(&Variant::tuple_from_iter([options])),
                Some(VariantTy::new("(h)").expect("a valid type")),
                gio::DBusCallFlags::ALLOW_INTERACTIVE_AUTHORIZATION,
                PERSON_TIMEOUT_MS,
                None::<&gio::UnixFDList>,
            )
            .await
            .map_err(call_error)?;
        let index = reply.child_value(0).get::<glib::variant::Handle>();
        let index = index.map_or(0, |handle| handle.0);
        let descriptors = descriptors.ok_or_else(|| CallError {
            name: String::new(),
            message: "hasherd sent no socket".to_owned(),
        })?;
        descriptors.get(index).map_err(call_error)
    }

    fn peer(&self) -> Result<(gio::DBusConnection, String), CallError> {
        let attached = self.inner.attached.borrow();
        let attached = attached.as_ref().ok_or_else(|| CallError {
            name: "org.freedesktop.DBus.Error.ServiceUnknown".to_owned(),
            message: String::new(),
        })?;
        Ok((attached.connection.clone(), attached.owner.clone()))
    }

    async fn watch_bus(&self, index: usize, kind: gio::BusType) {
        let Ok(connection) = gio::bus_get_future(kind).await else {
            self.owner_changed(index, Owner::Nobody);
            return;
        };
        // The app outlives a bus that is restarted.
        connection.set_exit_on_close(false);
        let (daemon, on) = (self.clone(), connection.clone());
        let watch = NameWatch::start(&connection, NAME, move |owner| {
            let owner = owner.map_or(Owner::Nobody, |owner| Owner::Somebody(on.clone(), owner));
            daemon.owner_changed(index, owner);
        })
        .await;
        self.inner.watches.borrow_mut().push(watch);
    }

    fn owner_changed(&self, index: usize, owner: Owner) {
        self.inner.owners.borrow_mut()[index] = owner;
        let owners = self.inner.owners.borrow().clone();
        let found = owners.iter().zip(BUSES).find_map(|(owner, (bus, _))| {
            let Owner::Somebody(connection, name) = owner else {
                return None;
            };
            Some((bus, connection.clone(), name.clone()))
        });
        match found {
            Some((bus, connection, name)) => self.attach(bus, connection, name),
            None => {
                self.inner.attached.replace(None);
                self.inner.mirror.replace(Mirror::default());
                let is_known = owners.iter().all(|owner| matches!(owner, Owner::Nobody));
                self.set_connection(if is_known {
                    Connection::NoDaemon
                } else {
                    Connection::Looking
                });
            }
        }
    }

    /// Follows this owner from now on.
    fn attach(&self, bus: Bus, connection: gio::DBusConnection, owner: String) {
        let attached = self.inner.attached.borrow();
        if attached
            .as_ref()
            .is_some_and(|a| a.bus == bus && a.owner == owner)
        {
            return;
        }
        drop(attached);
        self.inner.mirror.replace(Mirror::default());
        self.set_connection(Connection::Looking);
        // Subscribed before the listing is asked for, so that nothing is missed.
        let signals = self.subscribe(&connection, &owner);
        self.inner.attached.replace(Some(Attached {
            bus,
            connection: connection.clone(),
            owner: owner.clone(),
            _signals: signals,
        }));
        let daemon = self.clone();
        glib::spawn_future_local(async move { daemon.list(bus, connection, owner).await });
    }

    async fn list(&self, bus: Bus, connection: gio::DBusConnection, owner: String) {
        let answer = connection
            .call_future(
                Some(&owner),
                ROOT,
                OBJECT_MANAGER,
                "GetManagedObjects",
                None,
                Some(VariantTy::new("(a{oa{sa{sv}}})").expect("a valid type")),
                gio::DBusCallFlags::NONE,
                LISTING_TIMEOUT_MS,
            )
            .await;
        let is_current = |attached: &Attached| attached.bus == bus && attached.owner == owner;
        if !self
            .inner
            .attached
            .borrow()
            .as_ref()
            .is_some_and(is_current)
        {
            return;
        }
        match answer {
            Ok(listing) => {
                let objects = variant::objects(&listing.child_value(0));
                self.inner.mirror.borrow_mut().replace(objects);
                self.set_connection(Connection::Connected(bus));
                self.read_manager(connection, owner).await;
            }
            Err(error) => {
                let error = call_error(error);
                self.set_connection(if error.is_refusal() {
                    Connection::NotPermitted
                } else {
                    Connection::Failed(error.reason())
                });
            }
        }
    }

    /// The manager lies above the objects that it lists, so it is read by itself.
    async fn read_manager(&self, connection: gio::DBusConnection, owner: String) {
        let answer = connection
            .call_future(
                Some(&owner),
                ROOT,
                PROPERTIES,
                "GetAll",
                Some(&(MANAGER,).to_variant()),
                Some(VariantTy::new("(a{sv})").expect("a valid type")),
                gio::DBusCallFlags::NONE,
                LISTING_TIMEOUT_MS,
            )
            .await;
        let attached = self.inner.attached.borrow();
        let is_current = attached.as_ref().is_some_and(|a| a.owner == owner);
        // Without an answer its version is not shown; the devices are.
        if let (true, Ok(answer)) = (is_current, answer) {
            let properties = variant::properties(&answer.child_value(0));
            let manager = [(MANAGER.to_owned(), properties)].into();
            let mut mirror = self.inner.mirror.borrow_mut();
            mirror.add(ROOT.to_owned(), manager);
            drop(mirror);
            self.tell();
        }
    }

    fn subscribe(
        &self,
        connection: &gio::DBusConnection,
        owner: &str,
    ) -> Vec<gio::SignalSubscription> {
        let follow = |interface: &str, signal: &str, take: fn(&mut Mirror, &str, &Variant)| {
            let daemon = Rc::downgrade(&self.inner);
            connection.subscribe_to_signal(
                Some(owner),
                Some(interface),
                Some(signal),
                None,
                None,
                gio::DBusSignalFlags::NONE,
                move |signal| {
                    if let Some(inner) = daemon.upgrade() {
                        let daemon = Self { inner };
                        let mut mirror = daemon.inner.mirror.borrow_mut();
                        take(&mut mirror, signal.object_path, signal.parameters);
                        drop(mirror);
                        daemon.tell();
                    }
                },
            )
        };
        vec![
            follow(OBJECT_MANAGER, "InterfacesAdded", |mirror, _, parts| {
                if let Some(path) = parts.child_value(0).str() {
                    mirror.add(path.to_owned(), variant::interfaces(&parts.child_value(1)));
                }
            }),
            follow(OBJECT_MANAGER, "InterfacesRemoved", |mirror, _, parts| {
                let names = parts.child_value(1).get::<Vec<String>>();
                if let Some(path) = parts.child_value(0).str() {
                    mirror.remove(path, &names.unwrap_or_default());
                }
            }),
            follow(PROPERTIES, "PropertiesChanged", |mirror, path, parts| {
                if let Some(interface) = parts.child_value(0).str() {
                    let changed = variant::properties(&parts.child_value(1));
                    mirror.change(path, interface, changed);
                }
            }),
        ]
    }

    fn set_connection(&self, connection: Connection) {
        self.inner.connection.replace(connection);
        self.tell();
    }

    /// Tells the listener, once for everything that happens before the next turn of
    /// the main loop.
    fn tell(&self) {
        if self.inner.is_told.replace(true) {
            return;
        }
        let daemon = self.clone();
        glib::idle_add_local_once(move || {
            daemon.inner.is_told.set(false);
            let listener = daemon.inner.listener.borrow().clone();
            listener();
        });
    }
}

fn call_error(mut error: glib::Error) -> CallError {
    let remote = gio::DBusError::remote_error(&error).map(String::from);
    gio::DBusError::strip_remote_error(&mut error);
    let name = remote.unwrap_or_else(|| {
        if error.matches(gio::IOErrorEnum::TimedOut) {
            "org.freedesktop.DBus.Error.Timeout".to_owned()
        } else if error.matches(gio::IOErrorEnum::Closed) {
            "org.freedesktop.DBus.Error.Disconnected".to_owned()
        } else {
            String::new()
        }
    });
    CallError {
        name,
        message: error.message().to_owned(),
    }
}
