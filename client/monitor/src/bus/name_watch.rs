//! Who owns the daemon's name on one bus, now and later.
//!
//! Owns one subscription. GIO's own watcher for names cannot be used here: its
//! binding fails when there is no bus at all, which is a plain state for the app.

use gtk::gio::{self, prelude::*};
use gtk::glib::{self, VariantTy};

/// What GIO hands back; dropping it ends the watch.
pub struct NameWatch {
    _owner_changed: gio::SignalSubscription,
}

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// Time for the bus's own answer, in milliseconds.
const BUS_TIMEOUT_MS: i32 = 10_000;

impl NameWatch {
    /// Tells `heard` the unique name of the owner, or nothing, once at first and then
    /// whenever it changes.
    pub async fn start(
        connection: &gio::DBusConnection,
        name: &str,
        heard: impl Fn(Option<String>) + Clone + 'static,
    ) -> Self {
        let heard_signal = heard.clone();
        let owner_changed = connection.subscribe_to_signal(
            Some(BUS),
            Some(BUS),
            Some("NameOwnerChanged"),
            Some(BUS_PATH),
            Some(name),
            gio::DBusSignalFlags::NONE,
            move |signal| {
                let parts = signal.parameters.get::<(String, String, String)>();
                let owner = parts.map(|(_, _, owner)| owner);
                heard_signal(owner.filter(|owner| !owner.is_empty()));
            },
        );
        let heard_closed = heard.clone();
        // GIO emits it on the main loop, where the connection was made.
        connection.connect_local("closed", false, move |_| {
            heard_closed(None);
            None
        });
        let answer = connection
            .call_future(
                Some(BUS),
                BUS_PATH,
                BUS,
                "GetNameOwner",
                Some(&(name,).to_variant()),
                Some(VariantTy::new("(s)").expect("a valid type")),
                gio::DBusCallFlags::NONE,
                BUS_TIMEOUT_MS,
            )
            .await;
        // An error means that nobody owns the name.
        heard(owner_of(answer));
        Self {
            _owner_changed: owner_changed,
        }
    }
}

fn owner_of(answer: Result<glib::Variant, glib::Error>) -> Option<String> {
    answer.ok()?.get::<(String,)>().map(|(owner,)| owner)
}
