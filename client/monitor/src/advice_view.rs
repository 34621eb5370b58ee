//! What is the matter and what to do, with commands that can be copied.

use std::cell::RefCell;

use adw::prelude::*;
use hasher_monitor_core::{Advice, Command};

use crate::accessible;

/// The screen of an [`Advice`].
pub struct AdviceView {
    /// To be placed in the window.
    pub widget: adw::StatusPage,
    shown: RefCell<Option<Advice>>,
}

impl AdviceView {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            widget: adw::StatusPage::new(),
            shown: RefCell::default(),
        }
    }

    /// Shows this advice.
    pub fn show(&self, advice: &Advice) {
        if self.shown.borrow().as_ref() == Some(advice) {
            return;
        }
        self.widget.set_icon_name(Some(advice.icon));
        self.widget.set_title(advice.title);
        let text = gtk::glib::markup_escape_text(&advice.text);
        self.widget.set_description(Some(&text));
        self.widget.set_child(Some(&commands(advice.commands)));
        self.shown.replace(Some(advice.clone()));
    }
}

/// A boxed list of commands, each with a button that copies it.
pub fn commands(commands: &[Command]) -> adw::Clamp {
    let list: gtk::ListBox = accessible::named("Commands that help");
    list.set_selection_mode(gtk::SelectionMode::None);
    list.add_css_class("boxed-list");
    for command in commands {
        list.append(&command_row(command));
    }
    adw::Clamp::builder().maximum_size(520).child(&list).build()
}

fn command_row(command: &Command) -> adw::ActionRow {
    let line = command.line;
    let copy: gtk::Button = accessible::named(&format!("Copy the command {line}"));
    copy.set_icon_name("edit-copy-symbolic");
    copy.set_tooltip_text(Some("Copy"));
    copy.set_valign(gtk::Align::Center);
    copy.add_css_class("flat");
    copy.connect_clicked(move |button| {
        button.clipboard().set_text(line);
        toast(button, "Copied");
    });
    let row = adw::ActionRow::builder()
        .title(command.purpose)
        .subtitle(format!("<tt>{}</tt>", gtk::glib::markup_escape_text(line)))
        .build();
    row.add_suffix(&copy);
    row
}

/// Shows a short message at the bottom of the window of `widget`.
pub fn toast(widget: &impl IsA<gtk::Widget>, text: &str) {
    // A widget that has left its window has nobody to tell.
    _ = widget.activate_action("win.toast", Some(&text.to_variant()));
}
