//! Everything about the device that is selected: state, button, graphs, facts.

use std::time::Duration;

use adw::prelude::*;
use hasher_monitor_core::{Action, Chart, Device, DeviceView, History, Notice, Tone};

use crate::accessible;
use crate::chart_area::ChartArea;
use crate::device_row::set_tone;
use crate::fact_list::FactList;

/// The right-hand side of the page of devices.
pub struct DeviceDetail {
    /// To be placed in the window.
    pub widget: gtk::ScrolledWindow,
    /// Leads back to the list where there is no room for both.
    pub back: gtk::Button,
    title: gtk::Label,
    subtitle: gtk::Label,
    state: gtk::Label,
    button: gtk::Button,
    notice: gtk::Box,
    notice_icon: gtk::Image,
    notice_text: gtk::Label,
    notice_remedy: gtk::Label,
    hash_rate: ChartArea,
    temperature: ChartArea,
    facts: FactList,
}

impl DeviceDetail {
    /// Without a device yet.
    pub fn new() -> Self {
        let label = |class: &str| {
            let label = gtk::Label::builder().xalign(0.0).wrap(true).build();
            label.add_css_class(class);
            label
        };
        let (title, subtitle) = (label("title-1"), label("dim-label"));
        let (notice_text, notice_remedy) = (label("heading"), label("body"));
        let state = gtk::Label::new(None);
        state.add_css_class("state");
        state.set_valign(gtk::Align::Center);
        let back: gtk::Button = accessible::named("All devices");
        back.set_icon_name("go-previous-symbolic");
        back.set_tooltip_text(Some("All devices"));
        back.set_valign(gtk::Align::Center);
        let button = gtk::Button::builder()
            .action_name("win.toggle-device")
            .valign(gtk::Align::Center)
            .build();
        let notice_icon = gtk::Image::builder()
            .valign(gtk::Align::Start)
            .margin_top(2)
            .accessible_role(gtk::AccessibleRole::Presentation)
            .build();
        let notice = notice_box(&notice_icon, &notice_text, &notice_remedy);
        let detail = Self {
            widget: gtk::ScrolledWindow::new(),
            back,
            title,
            subtitle,
            state,
            button,
            notice,
            notice_icon,
            notice_text,
            notice_remedy,
            hash_rate: ChartArea::new("Hash rate"),
            temperature: ChartArea::new("Temperature"),
            facts: FactList::new("Details"),
        };
        detail.arrange();
        detail
    }

    fn arrange(&self) {
        let names = gtk::Box::new(gtk::Orientation::Vertical, 2);
        names.set_hexpand(true);
        names.append(&self.title);
        names.append(&self.subtitle);
        let heading = gtk::Box::new(gtk::Orientation::Horizontal, 12);
        heading.append(&self.back);
        heading.append(&names);
        heading.append(&self.state);
        heading.append(&self.button);
        let column = gtk::Box::new(gtk::Orientation::Vertical, 18);
        column.set_margin_top(24);
        column.set_margin_bottom(24);
        column.set_margin_start(18);
        column.set_margin_end(18);
        column.append(&heading);
        column.append(&self.notice);
        column.append(&self.hash_rate.widget);
        column.append(&self.temperature.widget);
        column.append(&self.facts.widget);
        let clamp = adw::Clamp::builder()
            .maximum_size(760)
            .child(&column)
            .build();
        self.widget.set_hscrollbar_policy(gtk::PolicyType::Never);
        self.widget.set_hexpand(true);
        self.widget.set_child(Some(&clamp));
    }

    /// Shows what is known of the device now.
    pub fn show(&self, device: &Device, view: &DeviceView) {
        self.title.set_label(&view.title);
        self.subtitle.set_label(&view.subtitle);
        self.state.set_label(view.state);
        set_tone(&self.state, view.tone);
        self.show_action(device, view.action);
        self.show_notice(view.notice.as_ref(), view.tone);
        self.facts.show(&view.facts);
    }

    /// Draws its graphs as of `now`.
    pub fn draw(&self, device: &Device, path: &str, history: &History, now: Duration) {
        let rate = Chart::hash_rate(device, history.of(path), now);
        self.hash_rate.show(Some(rate));
        let warmth = Chart::temperature(device, history.of(path), now);
        self.temperature.show(warmth);
    }

    fn show_action(&self, device: &Device, action: Option<Action>) {
        self.button.set_visible(action.is_some());
        let Some(action) = action else { return };
        self.button.set_label(action.label());
        let class = "suggested-action";
        match action {
            Action::Pause => self.button.remove_css_class(class),
            Action::Resume => self.button.add_css_class(class),
        }
        let tooltip = format!("{} {} (Ctrl+P)", action.label(), device.id);
        self.button.set_tooltip_text(Some(&tooltip));
    }

    fn show_notice(&self, notice: Option<&Notice>, tone: Tone) {
        self.notice.set_visible(notice.is_some());
        if let Some(notice) = notice {
            let icon = match tone {
                Tone::Good | Tone::Calm => "dialog-information-symbolic",
                Tone::Warning => "dialog-warning-symbolic",
                Tone::Bad => "dialog-error-symbolic",
            };
            self.notice_icon.set_icon_name(Some(icon));
            set_tone(&self.notice_icon, tone);
            self.notice_text.set_label(&notice.text);
            let remedy = notice.remedy.as_deref().unwrap_or_default();
            self.notice_remedy.set_label(remedy);
            self.notice_remedy.set_visible(!remedy.is_empty());
        }
    }
}

fn notice_box(icon: &gtk::Image, text: &gtk::Label, remedy: &gtk::Label) -> gtk::Box {
    let words = gtk::Box::new(gtk::Orientation::Vertical, 4);
    words.append(text);
    words.append(remedy);
    let notice = gtk::Box::new(gtk::Orientation::Horizontal, 12);
    notice.add_css_class("card");
    notice.add_css_class("panel");
    notice.append(icon);
    notice.append(&words);
    notice
}
