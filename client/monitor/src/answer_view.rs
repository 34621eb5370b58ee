//! An answer: the class, how sure it is, and how probable each class is.

use adw::prelude::*;
use hasher_monitor_core::{Answer, Progress};

use crate::accessible;
use crate::page_stack::PageStack;

/// The card that holds it.
pub struct AnswerView {
    stack: PageStack,
    digit: gtk::Label,
    headline: gtk::Label,
    certainty: gtk::Label,
    classes: gtk::Grid,
    progress: gtk::ProgressBar,
}

impl AnswerView {
    /// Without an answer yet.
    pub fn new() -> Self {
        let label = |class: &str| {
            let label = gtk::Label::builder()
                .wrap(true)
                .justify(gtk::Justification::Center)
                .build();
            label.add_css_class(class);
            label
        };
        let (digit, headline) = (label("digit"), label("heading"));
        let certainty = label("dim-label");
        let classes = gtk::Grid::builder()
            .column_spacing(10)
            .row_spacing(2)
            .build();
        let answer = gtk::Box::new(gtk::Orientation::Vertical, 4);
        answer.set_valign(gtk::Align::Center);
        answer.append(&digit);
        answer.append(&headline);
        answer.append(&certainty);
        classes.set_margin_top(12);
        answer.append(&classes);

        let progress = gtk::ProgressBar::builder()
            .show_text(true)
            .hexpand(true)
            .build();
        let cancel = gtk::Button::builder()
            .label("Cancel")
            .action_name("win.cancel")
            .halign(gtk::Align::Center)
            .build();
        let running = gtk::Box::new(gtk::Orientation::Vertical, 18);
        running.set_valign(gtk::Align::Center);
        running.append(&progress);
        running.append(&cancel);

        let empty = label("dim-label");
        empty.set_label("The answer appears here");
        let stack = PageStack::new(&[
            ("empty", empty.upcast_ref()),
            ("running", running.upcast_ref()),
            ("answer", answer.upcast_ref()),
        ]);
        Self {
            stack,
            digit,
            headline,
            certainty,
            classes,
            progress,
        }
    }

    /// To be placed in the window.
    pub fn widget(&self) -> &gtk::Stack {
        &self.stack.widget
    }

    /// Back to the beginning.
    pub fn clear(&self) {
        self.stack.show("empty");
    }

    /// Shows how far a run is.
    pub fn show_progress(&self, progress: Progress) {
        let of = progress.of.max(1);
        self.progress
            .set_fraction(progress.anchors as f64 / of as f64);
        let text = format!("{} of {of} anchors found", progress.anchors);
        self.progress.set_text(Some(&text));
        self.stack.show("running");
    }

    /// Shows an answer.
    pub fn show(&self, answer: &Answer) {
        self.digit.set_label(&answer.prediction.to_string());
        self.headline.set_label(&answer.headline);
        self.headline.remove_css_class("error");
        if answer.is_right == Some(false) {
            self.headline.add_css_class("error");
        }
        self.certainty.set_label(&answer.certainty);
        while let Some(child) = self.classes.first_child() {
            self.classes.remove(&child);
        }
        for (row, (class, probability)) in answer.classes.iter().enumerate() {
            self.add_class(row as i32, *class, *probability, answer.prediction);
        }
        self.stack.show("answer");
    }

    fn add_class(&self, row: i32, class: usize, probability: f64, best: usize) {
        let name = gtk::Label::new(Some(&class.to_string()));
        let bar: gtk::ProgressBar = accessible::named(&format!("Probability of {class}"));
        bar.set_fraction(probability);
        bar.set_hexpand(true);
        bar.set_valign(gtk::Align::Center);
        let percent = gtk::Label::builder()
            .label(format!("{:.1} %", probability * 100.0))
            .xalign(1.0)
            .width_chars(7)
            .build();
        for label in [&name, &percent] {
            label.add_css_class("numeric");
            label.add_css_class(if class == best {
                "heading"
            } else {
                "dim-label"
            });
        }
        self.classes.attach(&name, 0, row, 1, 1);
        self.classes.attach(&bar, 1, row, 1, 1);
        self.classes.attach(&percent, 2, row, 1, 1);
    }
}
