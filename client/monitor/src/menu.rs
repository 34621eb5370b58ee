//! The main menu, the keyboard shortcuts and what they do for the whole app.
//!
//! Owns every key. What a key does to a page is the page's action.

use adw::prelude::*;
use gtk::gio;

use crate::{APP_ID, accessible};

/// Actions and the keys that start them.
const KEYS: [(&str, &[&str]); 11] = [
    ("app.quit", &["<Control>q"]),
    ("window.close", &["<Control>w"]),
    ("win.show-help-overlay", &["<Control>question", "F1"]),
    ("win.page::devices", &["<Alt>1"]),
    ("win.page::sessions", &["<Alt>2"]),
    ("win.page::answers", &["<Alt>3"]),
    ("win.toggle-device", &["<Control>p"]),
    ("win.open-model", &["<Control>o"]),
    ("win.open-picture", &["<Control>i"]),
    ("win.sample", &["<Control>d"]),
    ("win.classify", &["<Control>Return"]),
];

/// The window of shortcuts. The same keys as above, in words.
const HELP: &str = include_str!("shortcuts.ui");

/// Adds the app's own actions and all keys.
pub fn add_actions(app: &adw::Application) {
    let quit =
        gio::ActionEntry::builder("quit").activate(|app: &adw::Application, _, _| app.quit());
    let about = gio::ActionEntry::builder("about").activate(|app: &adw::Application, _, _| {
        about_window(app.active_window().as_ref()).present();
    });
    app.add_action_entries([quit.build(), about.build()]);
    for (action, keys) in KEYS {
        app.set_accels_for_action(action, keys);
    }
}

/// The button with the main menu.
pub fn button() -> gtk::MenuButton {
    let menu = gio::Menu::new();
    menu.append(Some("_Keyboard Shortcuts"), Some("win.show-help-overlay"));
    menu.append(Some("_About Hasher Monitor"), Some("app.about"));
    menu.append(Some("_Quit"), Some("app.quit"));
    let button: gtk::MenuButton = accessible::named("Main menu");
    button.set_icon_name("open-menu-symbolic");
    button.set_menu_model(Some(&menu));
    button.set_primary(true);
    button.set_tooltip_text(Some("Main menu"));
    button
}

/// The window that explains the keys.
pub fn help_window() -> gtk::ShortcutsWindow {
    gtk::Builder::from_string(HELP)
        .object("help")
        .expect("the file names its window so")
}

fn about_window(parent: Option<&gtk::Window>) -> adw::AboutWindow {
    let about = adw::AboutWindow::builder()
        .application_name("Hasher Monitor")
        .application_icon(APP_ID)
        .version(env!("CARGO_PKG_VERSION"))
        .developer_name("The Hasher project")
        .website(env!("CARGO_PKG_REPOSITORY"))
        .license_type(gtk::License::MitX11)
        .comments(
            "Watches the devices and clients of hasherd, and answers with a model.\n\n\
             A mining chip searches nonces. Everything else is computed by a CPU, and each \
             answer says by whose.",
        )
        .modal(true)
        .build();
    about.set_transient_for(parent);
    about
}
