//! One of several screens at a time.
//!
//! A stack of GTK 4.8 keeps telling screen readers about the screens that it does not
//! show; this one hides them.

use adw::prelude::*;

/// Screens by name.
pub struct PageStack {
    /// To be placed in the window.
    pub widget: gtk::Stack,
}

impl PageStack {
    /// The first screen is shown at first.
    pub fn new(screens: &[(&str, &gtk::Widget)]) -> Self {
        let stack = Self {
            widget: gtk::Stack::new(),
        };
        for (name, screen) in screens {
            stack.widget.add_named(*screen, Some(name));
        }
        if let Some((first, _)) = screens.first() {
            stack.show(first);
        }
        stack
    }

    /// Shows the screen of this name and hides all others.
    pub fn show(&self, name: &str) {
        let Some(shown) = self.widget.child_by_name(name) else {
            return;
        };
        shown.set_visible(true);
        self.widget.set_visible_child(&shown);
        let mut next = self.widget.first_child();
        while let Some(screen) = next {
            next = screen.next_sibling();
            screen.set_visible(screen == shown);
        }
    }
}
