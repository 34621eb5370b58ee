//! The page of devices: the list, the selected device, or what to do when there is
//! none.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use adw::prelude::*;
use hasher_monitor_core::{
    Action, Bus, Connection, DeviceView, History, Manager, Mirror, Screen, screen,
};

use crate::accessible;
use crate::advice_view::AdviceView;
use crate::device_detail::DeviceDetail;
use crate::device_row::DeviceRow;
use crate::page_stack::PageStack;

/// Width of the list, in pixels.
const LIST_WIDTH: i32 = 270;

/// The page. Clones are the same.
#[derive(Clone)]
pub struct DevicesPage {
    inner: Rc<Inner>,
}

struct Inner {
    stack: PageStack,
    advice: AdviceView,
    leaflet: adw::Leaflet,
    list: gtk::ListBox,
    footer: gtk::Label,
    rows: RefCell<Vec<DeviceRow>>,
    detail: DeviceDetail,
    /// Path of the device that is shown.
    selected: RefCell<Option<String>>,
}

impl DevicesPage {
    /// The page before anything is known. `selected` is called when the person chose
    /// another device.
    pub fn new(selected: impl Fn() + 'static) -> Self {
        let (advice, leaflet) = (AdviceView::new(), adw::Leaflet::new());
        let stack = PageStack::new(&[
            ("looking", spinner().upcast_ref()),
            ("advice", advice.widget.upcast_ref()),
            ("devices", leaflet.upcast_ref()),
        ]);
        let page = Self {
            inner: Rc::new(Inner {
                stack,
                advice,
                leaflet,
                list: accessible::named("Devices"),
                footer: gtk::Label::new(None),
                rows: RefCell::default(),
                detail: DeviceDetail::new(),
                selected: RefCell::default(),
            }),
        };
        page.arrange();
        page.follow_selection(selected);
        page
    }

    /// To be placed in the window.
    pub fn widget(&self) -> &gtk::Stack {
        &self.inner.stack.widget
    }

    /// The device that is shown, and what a person can ask of it.
    pub fn selected(&self, mirror: &Mirror) -> Option<(String, Option<Action>)> {
        let path = self.inner.selected.borrow().clone()?;
        let device = mirror.device(&path)?;
        Some((path, DeviceView::new(device).action))
    }

    /// Shows what is known now.
    pub fn show(&self, connection: &Connection, mirror: &Mirror) {
        match screen(connection, mirror) {
            Screen::Looking => self.inner.stack.show("looking"),
            Screen::Advice(advice) => {
                self.inner.advice.show(&advice);
                self.inner.stack.show("advice");
            }
            Screen::Devices => {
                self.show_list(mirror);
                self.show_selected(mirror);
                self.inner.stack.show("devices");
            }
        }
        if let Connection::Connected(bus) = connection {
            self.inner.footer.set_label(&footer(*bus, mirror.manager()));
        }
    }

    /// Draws the graphs of the selected device as of `now`.
    pub fn draw(&self, mirror: &Mirror, history: &History, now: Duration) {
        let selected = self.inner.selected.borrow();
        let path = selected.as_deref().unwrap_or_default();
        if let Some(device) = mirror.device(path) {
            self.inner.detail.draw(device, path, history, now);
        }
    }

    fn arrange(&self) {
        let inner = &self.inner;
        inner.list.add_css_class("navigation-sidebar");
        inner.footer.add_css_class("caption");
        inner.footer.add_css_class("dim-label");
        inner.footer.set_wrap(true);
        inner.footer.set_xalign(0.0);
        inner.footer.set_margin_start(18);
        inner.footer.set_margin_end(12);
        inner.footer.set_margin_top(12);
        inner.footer.set_margin_bottom(12);
        let scroller = gtk::ScrolledWindow::builder()
            .hscrollbar_policy(gtk::PolicyType::Never)
            .vexpand(true)
            .child(&inner.list)
            .build();
        let sidebar = gtk::Box::new(gtk::Orientation::Vertical, 0);
        sidebar.set_width_request(LIST_WIDTH);
        sidebar.append(&scroller);
        sidebar.append(&inner.footer);

        inner.leaflet.append(&sidebar);
        let line = gtk::Separator::new(gtk::Orientation::Vertical);
        inner.leaflet.append(&line).set_navigatable(false);
        inner.leaflet.append(&inner.detail.widget);
        inner.leaflet.set_can_navigate_back(true);
        inner
            .leaflet
            .bind_property("folded", &inner.detail.back, "visible")
            .sync_create()
            .build();
        let leaflet = inner.leaflet.clone();
        inner.detail.back.connect_clicked(move |_| {
            leaflet.navigate(adw::NavigationDirection::Back);
        });
    }

    fn follow_selection(&self, selected: impl Fn() + 'static) {
        let weak = Rc::downgrade(&self.inner);
        self.inner.list.connect_row_selected(move |_, row| {
            let (Some(inner), Some(row)) = (weak.upgrade(), row) else {
                return;
            };
            // While the list itself changes, its owner chooses.
            let Ok(rows) = inner.rows.try_borrow() else {
                return;
            };
            let path = rows.iter().find(|known| known.widget == *row);
            let path = path.map(|row| row.path.clone());
            // The listener shows everything anew.
            drop(rows);
            if *inner.selected.borrow() != path {
                inner.selected.replace(path);
                selected();
            }
        });
        let leaflet = self.inner.leaflet.clone();
        self.inner.list.connect_row_activated(move |_, _| {
            leaflet.navigate(adw::NavigationDirection::Forward);
        });
    }

    /// One row a device, in the order of the paths.
    fn show_list(&self, mirror: &Mirror) {
        let mut rows = self.inner.rows.borrow_mut();
        rows.retain(|row| {
            let is_there = mirror.device(&row.path).is_some();
            if !is_there {
                self.inner.list.remove(&row.widget);
            }
            is_there
        });
        for (index, (path, device)) in mirror.devices().enumerate() {
            if rows.get(index).is_none_or(|row| row.path != path) {
                let row = DeviceRow::new(path);
                self.inner.list.insert(&row.widget, index as i32);
                rows.insert(index, row);
            }
            rows[index].show(device, &DeviceView::new(device));
        }
    }

    /// The chosen device, or the first when that one is gone.
    fn show_selected(&self, mirror: &Mirror) {
        let path = self.inner.selected.borrow().clone();
        let path = path.filter(|path| mirror.device(path).is_some());
        let first = mirror.devices().next().map(|(path, _)| path.to_owned());
        let Some(path) = path.or(first) else { return };
        self.inner.selected.replace(Some(path.clone()));
        let rows = self.inner.rows.borrow();
        let row = rows.iter().find(|row| row.path == path);
        self.inner.list.select_row(row.map(|row| &row.widget));
        if let Some(device) = mirror.device(&path) {
            self.inner.detail.show(device, &DeviceView::new(device));
        }
    }
}

fn spinner() -> gtk::Spinner {
    let spinner: gtk::Spinner = accessible::named("Looking for hasherd");
    spinner.set_spinning(true);
    spinner.set_size_request(32, 32);
    spinner.set_halign(gtk::Align::Center);
    spinner.set_valign(gtk::Align::Center);
    spinner
}

fn footer(bus: Bus, manager: Option<&Manager>) -> String {
    let version = manager.map(|manager| manager.version.as_str());
    match version.filter(|version| !version.is_empty()) {
        Some(version) => format!("hasherd {version}, {}", bus.whose()),
        None => format!("hasherd, {}", bus.whose()),
    }
}
