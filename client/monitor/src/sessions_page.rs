//! The page of sessions: who uses the daemon, and how much of it each gets.

use std::cell::RefCell;

use adw::prelude::*;
use hasher_monitor_core::{Connection, Mirror, Screen, SessionView, screen};

use crate::accessible;
use crate::advice_view::AdviceView;
use crate::page_stack::PageStack;

/// The page.
pub struct SessionsPage {
    stack: PageStack,
    advice: AdviceView,
    group: adw::PreferencesGroup,
    rows: RefCell<Vec<SessionRow>>,
    /// User of this app.
    own_uid: u32,
}

struct SessionRow {
    widget: adw::ActionRow,
    bar: gtk::ProgressBar,
    share: gtk::Label,
}

impl SessionsPage {
    /// The page before anything is known.
    pub fn new(own_uid: u32) -> Self {
        let group = adw::PreferencesGroup::builder()
            .title("Sessions")
            .description("Programs that use the daemon. The bar shows each one's part of all works of the last minute.")
            .build();
        let column = adw::Clamp::builder()
            .maximum_size(760)
            .margin_top(24)
            .margin_bottom(24)
            .margin_start(18)
            .margin_end(18)
            .child(&group)
            .build();
        let scroller = gtk::ScrolledWindow::builder()
            .hscrollbar_policy(gtk::PolicyType::Never)
            .child(&column)
            .build();
        let empty = adw::StatusPage::builder()
            .icon_name("system-users-symbolic")
            .title("No Session")
            .description("No program uses the daemon now. Each one that connects appears here.")
            .build();
        let advice = AdviceView::new();
        let stack = PageStack::new(&[
            ("looking", gtk::Box::default().upcast_ref()),
            ("advice", advice.widget.upcast_ref()),
            ("empty", empty.upcast_ref()),
            ("sessions", scroller.upcast_ref()),
        ]);
        Self {
            stack,
            advice,
            group,
            rows: RefCell::default(),
            own_uid,
        }
    }

    /// To be placed in the window.
    pub fn widget(&self) -> &gtk::Stack {
        &self.stack.widget
    }

    /// Shows what is known now.
    pub fn show(&self, connection: &Connection, mirror: &Mirror) {
        let sessions = mirror.sessions();
        let name = match screen(connection, mirror) {
            Screen::Looking => "looking",
            // Without a device there can still be sessions.
            Screen::Advice(advice) if !matches!(connection, Connection::Connected(_)) => {
                self.advice.show(&advice);
                "advice"
            }
            _ if sessions.is_empty() => "empty",
            _ => "sessions",
        };
        let views: Vec<_> = sessions
            .into_iter()
            .map(|session| SessionView::new(session, self.own_uid))
            .collect();
        self.show_rows(&views);
        self.stack.show(name);
    }

    fn show_rows(&self, views: &[SessionView]) {
        let mut rows = self.rows.borrow_mut();
        while rows.len() > views.len() {
            if let Some(row) = rows.pop() {
                self.group.remove(&row.widget);
            }
        }
        while rows.len() < views.len() {
            let row = SessionRow::new();
            self.group.add(&row.widget);
            rows.push(row);
        }
        for (row, view) in rows.iter().zip(views) {
            row.show(view);
        }
    }
}

impl SessionRow {
    fn new() -> Self {
        let bar: gtk::ProgressBar = accessible::named("Part of all works");
        bar.set_width_request(110);
        bar.set_valign(gtk::Align::Center);
        let share = gtk::Label::builder().width_chars(6).xalign(1.0).build();
        share.add_css_class("numeric");
        let widget = adw::ActionRow::builder().subtitle_lines(3).build();
        widget.add_suffix(&bar);
        widget.add_suffix(&share);
        Self { widget, bar, share }
    }

    fn show(&self, view: &SessionView) {
        let escape = gtk::glib::markup_escape_text;
        self.widget.set_title(&escape(&view.title));
        let lines = format!("{}\n{}", view.subtitle, view.work_text);
        self.widget.set_subtitle(&escape(&lines));
        self.bar.set_fraction(view.share);
        self.share.set_label(&view.share_text);
    }
}
