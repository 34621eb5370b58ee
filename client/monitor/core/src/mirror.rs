//! The daemon's objects as last heard of on the bus.
//!
//! Owns what is known; the bus side feeds it whole listings and single changes
//! in the order in which they arrive. It never asks for anything.

use std::collections::BTreeMap;

use crate::value::Properties;
use crate::{Device, Manager, Session};

/// Path of the daemon's manager; every other object lies below it.
pub const ROOT: &str = "/org/hasher/Hasher1";

const MANAGER: &str = "org.hasher.Hasher1.Manager";
const DEVICE: &str = "org.hasher.Hasher1.Device";
const SESSION: &str = "org.hasher.Hasher1.Session";

/// Objects that are kept at most; far above what one daemon serves.
const OBJECTS_MAX: usize = 4096;

/// The interfaces of one object, each with its properties.
pub type Interfaces = BTreeMap<String, Properties>;

/// What is known of the daemon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mirror {
    objects: BTreeMap<String, Interfaces>,
    manager: Option<Manager>,
    devices: BTreeMap<String, Device>,
    sessions: BTreeMap<String, Session>,
}

impl Mirror {
    /// Forgets everything and takes this listing instead.
    pub fn replace(&mut self, objects: BTreeMap<String, Interfaces>) {
        *self = Self::default();
        for (path, interfaces) in objects {
            self.add(path, interfaces);
        }
    }

    /// An object appeared, or one got more interfaces.
    pub fn add(&mut self, path: String, interfaces: Interfaces) {
        if self.objects.len() >= OBJECTS_MAX && !self.objects.contains_key(&path) {
            return;
        }
        let names: Vec<String> = interfaces.keys().cloned().collect();
        let object = self.objects.entry(path.clone()).or_default();
        object.extend(interfaces);
        for name in names {
            self.read(&path, &name);
        }
    }

    /// An object lost some of its interfaces, or all of them.
    pub fn remove(&mut self, path: &str, interfaces: &[String]) {
        let Some(object) = self.objects.get_mut(path) else {
            return;
        };
        for name in interfaces {
            object.remove(name);
        }
        if object.is_empty() {
            self.objects.remove(path);
        }
        for name in interfaces {
            self.read(path, name);
        }
    }

    /// Some properties of one interface have new values. An object that nobody
    /// announced is ignored: its announcement will bring them.
    pub fn change(&mut self, path: &str, interface: &str, changed: Properties) {
        let object = self.objects.get_mut(path);
        if let Some(properties) = object.and_then(|object| object.get_mut(interface)) {
            properties.extend(changed);
            self.read(path, interface);
        }
    }

    /// The daemon itself.
    pub const fn manager(&self) -> Option<&Manager> {
        self.manager.as_ref()
    }

    /// All devices with their paths, in the order of the paths.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &Device)> {
        let devices = self.devices.iter();
        devices.map(|(path, device)| (path.as_str(), device))
    }

    /// The device at this path.
    pub fn device(&self, path: &str) -> Option<&Device> {
        self.devices.get(path)
    }

    /// All sessions, oldest first.
    pub fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<_> = self.sessions.values().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// Brings the typed view of one interface up to date.
    fn read(&mut self, path: &str, interface: &str) {
        let object = self.objects.get(path);
        let properties = object.and_then(|object| object.get(interface));
        match interface {
            MANAGER if path == ROOT => self.manager = properties.map(Manager::from_properties),
            DEVICE => put(
                &mut self.devices,
                path,
                properties.map(Device::from_properties),
            ),
            SESSION => put(
                &mut self.sessions,
                path,
                properties.map(Session::from_properties),
            ),
            _ => {}
        }
    }
}

fn put<T>(all: &mut BTreeMap<String, T>, path: &str, value: Option<T>) {
    match value {
        Some(value) => {
            all.insert(path.to_owned(), value);
        }
        None => {
            all.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use hasher_client::DeviceState;

    use super::*;
    use crate::Value;
    use crate::device::tests::properties;

    const PATH: &str = "/org/hasher/Hasher1/devices/sim_2ds3_2d0";

    fn interfaces() -> Interfaces {
        Interfaces::from([
            (DEVICE.to_owned(), properties()),
            (
                "org.freedesktop.DBus.Peer".to_owned(),
                Properties::default(),
            ),
        ])
    }

    fn with_device() -> Mirror {
        let mut mirror = Mirror::default();
        mirror.add(PATH.to_owned(), interfaces());
        mirror
    }

    #[test]
    fn a_device_that_is_plugged_in_appears_and_one_unplugged_goes() {
        let mut mirror = with_device();
        assert_eq!(mirror.devices().next().unwrap().1.id, "sim-s3-0");
        mirror.remove(PATH, &[DEVICE.to_owned()]);
        assert_eq!(mirror.devices().count(), 0);
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let mut mirror = with_device();
        let before = mirror.device(PATH).unwrap().clone();
        let paused = Properties::from([("State".to_owned(), Value::Text("paused".to_owned()))]);
        mirror.change(PATH, DEVICE, paused.clone());
        let after = mirror.device(PATH).unwrap();
        assert_eq!(after.state, DeviceState::Paused);
        assert_eq!(after.works, before.works);

        let known = mirror.clone();
        mirror.change("/org/hasher/Hasher1/devices/other", DEVICE, paused.clone());
        mirror.change(PATH, SESSION, paused);
        assert_eq!(mirror, known);
    }

    #[test]
    fn a_new_listing_replaces_what_was_known() {
        let mut mirror = with_device();
        mirror.replace(BTreeMap::from([(
            ROOT.to_owned(),
            Interfaces::from([(
                MANAGER.to_owned(),
                Properties::from([("Version".to_owned(), Value::Text("0.1.0".to_owned()))]),
            )]),
        )]));
        assert_eq!(mirror.devices().count(), 0);
        assert_eq!(mirror.manager().unwrap().version, "0.1.0");
    }

    #[test]
    fn sessions_are_in_the_order_of_their_numbers() {
        let mut mirror = Mirror::default();
        for id in [10, 9, 11] {
            let properties = Properties::from([("Id".to_owned(), Value::Natural(id))]);
            mirror.add(
                format!("{ROOT}/sessions/{id}"),
                Interfaces::from([(SESSION.to_owned(), properties)]),
            );
        }
        let ids: Vec<_> = mirror.sessions().iter().map(|session| session.id).collect();
        assert_eq!(ids, [9, 10, 11]);
    }

    #[test]
    fn objects_without_number_do_not_fill_the_memory() {
        let mut mirror = Mirror::default();
        for id in 0..OBJECTS_MAX + 10 {
            mirror.add(format!("{ROOT}/devices/{id}"), interfaces());
        }
        assert_eq!(mirror.devices().count(), OBJECTS_MAX);
    }
}
