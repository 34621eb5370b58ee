//! One device in the list.

use adw::prelude::*;
use gtk::pango::EllipsizeMode;
use hasher_monitor_core::{Device, DeviceKind, DeviceView, Tone};

use crate::accessible;

/// A row and the path of its device.
pub struct DeviceRow {
    /// To be placed in the list.
    pub widget: gtk::ListBoxRow,
    /// Path of the device on the bus.
    pub path: String,
    icon: gtk::Image,
    title: gtk::Label,
    subtitle: gtk::Label,
    state: gtk::Label,
}

impl DeviceRow {
    /// A row without words yet.
    pub fn new(path: &str) -> Self {
        let (widget, title) = accessible::labelled_row();
        let (subtitle, state) = (gtk::Label::new(None), gtk::Label::new(None));
        for (label, class) in [
            (&title, "heading"),
            (&subtitle, "caption"),
            (&state, "caption"),
        ] {
            label.set_xalign(0.0);
            label.set_ellipsize(EllipsizeMode::End);
            label.add_css_class(class);
        }
        subtitle.add_css_class("dim-label");
        state.add_css_class("numeric");
        let words = gtk::Box::new(gtk::Orientation::Vertical, 2);
        words.set_hexpand(true);
        words.append(&title);
        words.append(&subtitle);
        words.append(&state);
        // The words say the same.
        let icon = gtk::Image::builder()
            .accessible_role(gtk::AccessibleRole::Presentation)
            .build();
        let content = gtk::Box::new(gtk::Orientation::Horizontal, 12);
        content.set_margin_top(8);
        content.set_margin_bottom(8);
        content.append(&icon);
        content.append(&words);
        widget.set_child(Some(&content));
        Self {
            widget,
            path: path.to_owned(),
            icon,
            title,
            subtitle,
            state,
        }
    }

    /// Shows what is known of the device now.
    pub fn show(&self, device: &Device, view: &DeviceView) {
        self.icon.set_icon_name(Some(icon(device.kind)));
        self.title.set_label(&view.title);
        self.subtitle.set_label(&view.subtitle);
        let state = if view.reading.is_empty() {
            view.state.to_owned()
        } else {
            format!("{} · {}", view.state, view.reading)
        };
        self.state.set_label(&state);
        set_tone(&self.state, view.tone);
    }
}

/// Colours words or a symbol by how serious a state is.
pub fn set_tone(widget: &impl IsA<gtk::Widget>, tone: Tone) {
    let class = match tone {
        Tone::Good => "success",
        Tone::Calm => "dim-label",
        Tone::Warning => "warning",
        Tone::Bad => "error",
    };
    for other in ["success", "dim-label", "warning", "error"] {
        widget.remove_css_class(other);
    }
    widget.add_css_class(class);
}

const fn icon(kind: Option<DeviceKind>) -> &'static str {
    match kind {
        Some(DeviceKind::Usb) => "drive-harddisk-usb-symbolic",
        Some(DeviceKind::Simulated) => "applications-science-symbolic",
        Some(DeviceKind::Cpu) | None => "computer-symbolic",
    }
}
