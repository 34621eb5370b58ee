//! One client of the daemon, and how the app shows it.

use crate::text;
use crate::value::{Properties, Reader};

/// The properties of `org.hasher.Hasher1.Session`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Session {
    /// Number of the session.
    pub id: u64,
    /// What the client calls itself.
    pub name: String,
    /// User, from the kernel.
    pub uid: u32,
    /// Process, from the kernel; 0 if unknown.
    pub pid: u64,
    /// Version of the socket protocol it speaks.
    pub protocol: String,
    /// Requests that may be unanswered at once.
    pub credits: u64,
    /// How many of them are not used now.
    pub credits_free: u64,
    /// Search jobs that wait for a device or are worked on.
    pub jobs_live: u64,
    /// Its part of all works of the last minute, 0 to 1.
    pub share: f64,
    /// Works given to devices for it.
    pub works: u64,
    /// Messages that the daemon's CPU digested for it.
    pub digests: u64,
}

impl Session {
    /// From what the bus says.
    pub fn from_properties(properties: &Properties) -> Self {
        let read = Reader(properties);
        Self {
            id: read.u64("Id"),
            name: read.text("Name"),
            uid: read.u32("Uid"),
            pid: read.u64("Pid"),
            protocol: read.text("Protocol"),
            credits: read.u64("Credits"),
            credits_free: read.u64("CreditsFree"),
            jobs_live: read.u64("JobsLive"),
            share: read.f64("Share").clamp(0.0, 1.0),
            works: read.u64("Works"),
            digests: read.u64("Digests"),
        }
    }
}

/// A session as one row of the window.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// The client's name.
    pub title: String,
    /// Who and what it is.
    pub subtitle: String,
    /// Its part of all works of the last minute, 0 to 1.
    pub share: f64,
    /// The same in words.
    pub share_text: String,
    /// What it has waiting and what it got.
    pub work_text: String,
}

impl SessionView {
    /// How the user with `own_uid` sees it.
    pub fn new(session: &Session, own_uid: u32) -> Self {
        let title = if session.name.is_empty() {
            "Unnamed client".to_owned()
        } else {
            session.name.clone()
        };
        let who = if session.uid == own_uid {
            "you".to_owned()
        } else {
            format!("user {}", session.uid)
        };
        let process = match session.pid {
            0 => String::new(),
            pid => format!(" · process {pid}"),
        };
        let used = session.credits.saturating_sub(session.credits_free);
        Self {
            title,
            subtitle: format!(
                "{who}{process} · {used} of {} places in use",
                session.credits
            ),
            share: session.share,
            share_text: text::percent(session.share),
            work_text: format!(
                "{} · {} · {}",
                text::counted(session.jobs_live, "job waiting", "jobs waiting"),
                text::counted(session.works, "work", "works"),
                text::counted(session.digests, "digest", "digests"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn a_session_says_who_it_is_and_what_it_gets() {
        let properties = Properties::from(
            [
                ("Id", Value::Natural(4)),
                ("Name", Value::Text("nightly".to_owned())),
                ("Uid", Value::Natural(1000)),
                ("Pid", Value::Integer(812)),
                ("Credits", Value::Natural(64)),
                ("CreditsFree", Value::Natural(61)),
                ("JobsLive", Value::Natural(1)),
                ("Share", Value::Real(0.4167)),
                ("Works", Value::Natural(12_345)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let session = Session::from_properties(&properties);
        let view = SessionView::new(&session, 1000);
        assert_eq!(view.title, "nightly");
        assert_eq!(view.subtitle, "you · process 812 · 3 of 64 places in use");
        assert_eq!(view.share_text, "42 %");
        assert_eq!(
            view.work_text,
            "1 job waiting · 12\u{202f}345 works · 0 digests"
        );
        let other = SessionView::new(&session, 0);
        assert!(other.subtitle.starts_with("user 1000"));
    }

    #[test]
    fn a_share_is_never_outside_its_range() {
        for (said, shown) in [(7.0, 1.0), (-1.0, 0.0)] {
            let properties = Properties::from([("Share".to_owned(), Value::Real(said))]);
            assert_eq!(Session::from_properties(&properties).share, shown);
        }
    }
}
