//! A boxed list of facts: what it is about on the left, what there is to say on the
//! right.
//!
//! Owns its rows and keeps them while only the words change, so that a reader's
//! place and a selection survive.

use std::cell::RefCell;

use adw::prelude::*;
use hasher_monitor_core::Fact;

/// The list.
pub struct FactList {
    /// To be placed in the window.
    pub widget: adw::PreferencesGroup,
    rows: RefCell<Vec<(adw::ActionRow, gtk::Label)>>,
}

impl FactList {
    /// An empty list with a heading.
    pub fn new(title: &str) -> Self {
        Self {
            widget: adw::PreferencesGroup::builder().title(title).build(),
            rows: RefCell::default(),
        }
    }

    /// Shows these facts instead.
    pub fn show(&self, facts: &[Fact]) {
        let mut rows = self.rows.borrow_mut();
        while rows.len() > facts.len() {
            if let Some((row, _)) = rows.pop() {
                self.widget.remove(&row);
            }
        }
        while rows.len() < facts.len() {
            let (row, value) = new_row();
            self.widget.add(&row);
            rows.push((row, value));
        }
        for ((row, value), fact) in rows.iter().zip(facts) {
            row.set_title(fact.label);
            value.set_label(&fact.value);
        }
    }
}

fn new_row() -> (adw::ActionRow, gtk::Label) {
    let value = gtk::Label::builder()
        .wrap(true)
        .xalign(1.0)
        .justify(gtk::Justification::Right)
        .selectable(true)
        .can_focus(false)
        .margin_top(6)
        .margin_bottom(6)
        .hexpand(true)
        .build();
    value.add_css_class("dim-label");
    let row = adw::ActionRow::new();
    row.add_suffix(&value);
    (row, value)
}
