//! The window: three pages, what they are fed with, and the clock of the graphs.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Instant;

use adw::prelude::*;
use gtk::glib::VariantTy;
use gtk::{gio, glib};
use hasher_monitor_core::{Connection, History};

use crate::bus::Daemon;
use crate::classify_page::ClassifyPage;
use crate::devices_page::DevicesPage;
use crate::menu;
use crate::sessions_page::SessionsPage;

/// Seconds that a message stays; long enough to read a sentence with its remedy.
const TOAST_SECONDS: u32 = 8;

/// The app's window. Clones are the same.
#[derive(Clone)]
pub struct Window {
    inner: Rc<Inner>,
}

struct Inner {
    window: adw::ApplicationWindow,
    stack: adw::ViewStack,
    toasts: adw::ToastOverlay,
    notice: gtk::InfoBar,
    notice_text: gtk::Label,
    daemon: Daemon,
    devices: DevicesPage,
    sessions: SessionsPage,
    classify: ClassifyPage,
    toggle: gio::SimpleAction,
    /// A pause or resume is under way, perhaps behind a password prompt.
    is_toggling: Cell<bool>,
    history: RefCell<History>,
    begin: Instant,
}

impl Window {
    /// Builds the window and begins to look for the daemon.
    pub fn new(app: &adw::Application) -> Self {
        let window = adw::ApplicationWindow::builder()
            .application(app)
            .title("Hasher Monitor")
            .default_width(960)
            .default_height(700)
            .build();
        let inner = Rc::new_cyclic(|weak: &Weak<Inner>| {
            let weak = weak.clone();
            let refresh = move || {
                if let Some(inner) = weak.upgrade() {
                    Self { inner }.refresh();
                }
            };
            let daemon = Daemon::watch(refresh.clone());
            Inner {
                stack: adw::ViewStack::new(),
                toasts: adw::ToastOverlay::new(),
                notice: gtk::InfoBar::new(),
                notice_text: gtk::Label::new(None),
                devices: DevicesPage::new(refresh),
                sessions: SessionsPage::new(own_uid()),
                classify: ClassifyPage::new(daemon.clone(), &window),
                toggle: gio::SimpleAction::new("toggle-device", None),
                is_toggling: Cell::new(false),
                history: RefCell::default(),
                begin: Instant::now(),
                daemon,
                window,
            }
        });
        let created = Self { inner };
        created.arrange();
        created.add_actions();
        created.start_clock();
        created.refresh();
        created
    }

    /// Brings the window to the front.
    pub fn present(&self) {
        self.inner.window.present();
    }

    /// Opens a model or a picture on the page of answers.
    pub fn open(&self, path: PathBuf) {
        self.inner.stack.set_visible_child_name("answers");
        self.inner.classify.open(path);
    }

    fn arrange(&self) {
        let inner = &self.inner;
        let pages: [(&gtk::Widget, &str, &str, &str); 3] = [
            (
                inner.devices.widget().upcast_ref(),
                "devices",
                "_Devices",
                "drive-harddisk-usb-symbolic",
            ),
            (
                inner.sessions.widget().upcast_ref(),
                "sessions",
                "_Sessions",
                "system-users-symbolic",
            ),
            (
                inner.classify.widget.upcast_ref(),
                "answers",
                "_Answers",
                "image-x-generic-symbolic",
            ),
        ];
        for (widget, name, title, icon) in pages {
            let page = inner.stack.add_titled(widget, Some(name), title);
            page.set_use_underline(true);
            page.set_icon_name(Some(icon));
        }
        inner.stack.set_vexpand(true);
        let title = adw::ViewSwitcherTitle::builder()
            .stack(&inner.stack)
            .title("Hasher")
            .build();
        let header = adw::HeaderBar::builder()
            .centering_policy(adw::CenteringPolicy::Strict)
            .title_widget(&title)
            .build();
        header.pack_end(&menu::button());
        let bar = adw::ViewSwitcherBar::builder().stack(&inner.stack).build();
        title
            .bind_property("title-visible", &bar, "reveal")
            .sync_create()
            .build();
        inner.notice.set_message_type(gtk::MessageType::Warning);
        inner.notice.add_child(&inner.notice_text);
        inner.notice.set_revealed(false);
        inner.toasts.set_child(Some(&inner.stack));
        let column = gtk::Box::new(gtk::Orientation::Vertical, 0);
        column.append(&header);
        column.append(&inner.notice);
        column.append(&inner.toasts);
        column.append(&bar);
        inner.window.set_content(Some(&column));
        inner.window.set_help_overlay(Some(&menu::help_window()));
        self.accept_files();
    }

    fn add_actions(&self) {
        let window = &self.inner.window;
        let this = Rc::downgrade(&self.inner);
        self.inner.toggle.connect_activate(move |_, _| {
            if let Some(inner) = this.upgrade() {
                Self { inner }.toggle_device();
            }
        });
        window.add_action(&self.inner.toggle);
        let text = Some(VariantTy::STRING);
        let this = Rc::downgrade(&self.inner);
        let toast = gio::SimpleAction::new("toast", text);
        toast.connect_activate(move |_, text| {
            let text = text.and_then(|text| text.str());
            if let (Some(inner), Some(text)) = (this.upgrade(), text) {
                Self { inner }.toast(text);
            }
        });
        window.add_action(&toast);
        let stack = self.inner.stack.clone();
        let page = gio::SimpleAction::new("page", text);
        page.connect_activate(move |_, name| {
            if let Some(name) = name.and_then(|name| name.str()) {
                stack.set_visible_child_name(name);
            }
        });
        window.add_action(&page);
    }

    /// Files dropped anywhere on the window are opened.
    fn accept_files(&self) {
        let target = gtk::DropTarget::new(
            gtk::gdk::FileList::static_type(),
            gtk::gdk::DragAction::COPY,
        );
        let this = Rc::downgrade(&self.inner);
        target.connect_drop(move |_, value, _, _| {
            let (Some(inner), Ok(list)) = (this.upgrade(), value.get::<gtk::gdk::FileList>())
            else {
                return false;
            };
            let window = Self { inner };
            for path in list.files().iter().filter_map(|file| file.path()) {
                window.open(path);
            }
            true
        });
        self.inner.window.add_controller(target);
    }

    /// One sample a second for the graphs.
    fn start_clock(&self) {
        let this = Rc::downgrade(&self.inner);
        glib::timeout_add_seconds_local(1, move || {
            let Some(inner) = this.upgrade() else {
                return glib::ControlFlow::Break;
            };
            Self { inner }.note();
            glib::ControlFlow::Continue
        });
    }

    fn note(&self) {
        let inner = &self.inner;
        let (mirror, now) = (inner.daemon.mirror(), inner.begin.elapsed());
        inner.history.borrow_mut().note(now, mirror.devices());
        inner.devices.draw(&mirror, &inner.history.borrow(), now);
    }

    /// Shows what is known now.
    fn refresh(&self) {
        let inner = &self.inner;
        let (connection, mirror) = (inner.daemon.connection(), inner.daemon.mirror());
        if matches!(*connection, Connection::NoDaemon) {
            inner.history.borrow_mut().clear();
        }
        let notice = mirror.manager().and_then(|manager| manager.notice());
        inner.notice_text.set_label(notice.unwrap_or_default());
        inner.notice.set_revealed(notice.is_some());
        inner.devices.show(&connection, &mirror);
        inner.sessions.show(&connection, &mirror);
        inner.classify.follow(&mirror);
        let now = inner.begin.elapsed();
        inner.devices.draw(&mirror, &inner.history.borrow(), now);
        let action = inner
            .devices
            .selected(&mirror)
            .and_then(|(_, action)| action);
        inner
            .toggle
            .set_enabled(action.is_some() && !inner.is_toggling.get());
    }

    fn toggle_device(&self) {
        let mirror = self.inner.daemon.mirror();
        let Some((path, Some(action))) = self.inner.devices.selected(&mirror) else {
            return;
        };
        let id = mirror.device(&path).map(|device| device.id.clone());
        drop(mirror);
        self.inner.is_toggling.set(true);
        self.inner.toggle.set_enabled(false);
        let window = self.clone();
        glib::spawn_future_local(async move {
            let done = window.inner.daemon.act(&path, action).await;
            window.inner.is_toggling.set(false);
            if let Err(error) = done {
                let verb = action.label().to_lowercase();
                let id = id.unwrap_or_default();
                window.toast(&error.sentence(&format!("{verb} {id}")));
            }
            window.refresh();
        });
    }

    fn toast(&self, text: &str) {
        let toast = adw::Toast::builder()
            .title(glib::markup_escape_text(text))
            .timeout(TOAST_SECONDS)
            .build();
        self.inner.toasts.add_toast(toast);
    }
}

/// The user of this process; its own folder in /proc belongs to it.
fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |folder| folder.uid())
}
