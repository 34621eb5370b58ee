//! `hasher-monitor`: the desktop app of Hasher.
//!
//! ```text
//!  D-Bus ──► bus ──► Daemon ──► Window ──► pages of devices, sessions, answers
//!                       └── what is known: hasher-monitor-core
//! ```
//!
//! The app talks to the daemon over D-Bus only. This crate holds the widgets and
//! the bus; what is known, decided and said is in `hasher-monitor-core`, where it
//! is tested without a display.

mod accessible;
mod advice_view;
mod answer_view;
mod bus;
mod chart_area;
mod classify_page;
mod device_detail;
mod device_row;
mod devices_page;
mod digit_area;
mod fact_list;
mod menu;
mod page_stack;
mod sessions_page;
mod window;

use std::cell::OnceCell;
use std::rc::Rc;

use adw::prelude::*;
use gtk::{gio, glib};

use crate::window::Window;

/// Names the app for the desktop: its entry, icon and metadata.
const APP_ID: &str = "org.hasher.Monitor";

fn main() -> glib::ExitCode {
    let app = adw::Application::builder()
        .application_id(APP_ID)
        .flags(gio::ApplicationFlags::HANDLES_OPEN)
        .build();
    let window: Rc<OnceCell<Window>> = Rc::default();
    app.connect_startup(|app| {
        gtk::Window::set_default_icon_name(APP_ID);
        add_style();
        menu::add_actions(app);
    });
    let shown = window.clone();
    app.connect_activate(move |app| {
        shown.get_or_init(|| Window::new(app)).present();
    });
    app.connect_open(move |app, files, _| {
        let window = window.get_or_init(|| Window::new(app));
        window.present();
        for path in files.iter().filter_map(|file| file.path()) {
            window.open(path);
        }
    });
    app.run()
}

fn add_style() {
    let css = gtk::CssProvider::new();
    css.load_from_data(include_str!("style.css"));
    if let Some(display) = gtk::gdk::Display::default() {
        gtk::style_context_add_provider_for_display(
            &display,
            &css,
            gtk::STYLE_PROVIDER_PRIORITY_APPLICATION,
        );
    }
}
