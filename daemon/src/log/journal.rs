//! Log messages with fields for systemd's journal.
//!
//! Writes the journal's native protocol (systemd, "Native Journal Protocol"): one datagram
//! a message, in it fields with explicit lengths. `journalctl` shows only `MESSAGE`, so
//! that holds phrase and values together; each value also is a field of its own, such as
//! `HASHER_DEVICE`, for filters. It never waits: what the journal does not take at once
//! is lost and counted.

use std::fmt::{Debug, Write as _};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hasher_wire::Text;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Where systemd says that standard error is the journal: its device and inode.
const STREAM_VARIABLE: &str = "JOURNAL_STREAM";

/// Longest value. With the most fields that an event can have, 32, a datagram stays below
/// what a socket takes by default, 208 KiB.
const VALUE_BYTES_MAX: usize = 4096;

/// The journal of this computer.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Messages that it did not take since the last one it took.
    lost: AtomicU64,
}

impl Journal {
    /// The journal, if standard error leads to it and it can be reached.
    pub(super) fn of_standard_error() -> Option<Self> {
        let stream = std::env::var(STREAM_VARIABLE).ok()?;
        let stderr = rustix::fs::fstat(io::stderr().as_fd()).ok()?;
        let is_journal = stream == format!("{}:{}", stderr.st_dev, stderr.st_ino);
        is_journal.then(|| Self::at(Path::new(SOCKET)).ok())?
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // An empty datagram is ignored; it shows whether anybody listens.
        socket.send_to(&[], path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            lost: AtomicU64::new(0),
        })
    }

    fn send(&self, mut message: Message) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            message.put("HASHER_LOST_BEFORE", &lost.to_string());
        }
        match self.socket.send_to(&message.0, &self.path) {
            Ok(_) => self.lost.fetch_sub(lost, Ordering::Relaxed),
            Err(_) => self.lost.fetch_add(1, Ordering::Relaxed),
        };
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut values = Values::default();
        event.record(&mut values);
        let metadata = event.metadata();
        let mut message = Message::default();
        message.put("PRIORITY", priority(*metadata.level()));
        message.put("SYSLOG_IDENTIFIER", "hasherd");
        message.put("TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            message.put("CODE_FILE", file);
            message.put("CODE_LINE", &line.to_string());
        }
        message.put("MESSAGE", &values.text());
        for (name, value) in &values.fields {
            message.put(&field_name(name), value);
        }
        self.send(message);
    }
}

/// The journal's number of a level.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// A name that the journal takes: capitals, digits and underscores.
fn field_name(name: &str) -> String {
    let letters = name.bytes().map(|byte| match byte.to_ascii_uppercase() {
        byte @ (b'A'..=b'Z' | b'0'..=b'9') => char::from(byte),
        _ => '_',
    });
    std::iter::once("HASHER_".to_owned())
        .chain(letters.map(String::from))
        .collect()
}

/// One datagram.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn put(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Values {
    phrase: String,
    fields: Vec<(&'static str, String)>,
}

impl Values {
    /// `device ready device=sim-s3-0 chips=32`.
    fn text(&self) -> String {
        let mut text = self.phrase.clone();
        for (name, value) in &self.fields {
            let _ = write!(text, " {name}={value}");
        }
        clip(&text)
    }
}

impl Visit for Values {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.phrase = clip(value),
            name => self.fields.push((name, clip(value))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn clip(text: &str) -> String {
    Text::<VALUE_BYTES_MAX>::new(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tracing::{info, subscriber, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn read(socket: &UnixDatagram) -> HashMap<String, String> {
        let mut bytes = vec![0; 256 * 1024];
        let length = socket.recv(&mut bytes).unwrap();
        let (mut fields, mut rest) = (HashMap::new(), &bytes[..length]);
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let name = String::from_utf8(rest[..at].to_vec()).unwrap();
            let length = u64::from_le_bytes(rest[at + 1..at + 9].try_into().unwrap()) as usize;
            let value = rest[at + 9..at + 9 + length].to_vec();
            fields.insert(name, String::from_utf8(value).unwrap());
            assert_eq!(rest[at + 9 + length], b'\n');
            rest = &rest[at + 10 + length..];
        }
        fields
    }

    #[test]
    fn a_message_holds_its_values_as_text_and_as_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let socket = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        assert!(read(&socket).is_empty(), "the first datagram only asks");
        let log = tracing_subscriber::registry().with(journal);
        subscriber::with_default(log, || {
            info!(device = %"sim-s3-0", chips = 32, reason = "a\nb", "device ready");
            warn!(uid = 7u32, "client refused");
        });
        let ready = read(&socket);
        assert_eq!(
            ready["MESSAGE"],
            "device ready device=sim-s3-0 chips=32 reason=a\u{fffd}b"
        );
        assert_eq!(ready["PRIORITY"], "6");
        assert_eq!(ready["HASHER_DEVICE"], "sim-s3-0");
        assert_eq!(ready["HASHER_REASON"], "a\u{fffd}b");
        assert_eq!(ready["SYSLOG_IDENTIFIER"], "hasherd");
        let refused = read(&socket);
        assert_eq!(
            (refused["PRIORITY"].as_str(), refused["HASHER_UID"].as_str()),
            ("4", "7")
        );
    }

    #[test]
    fn messages_that_the_journal_does_not_take_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let socket = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        let log = tracing_subscriber::registry().with(journal);
        subscriber::with_default(log, || {
            info!("one");
            info!("two");
            let socket = UnixDatagram::bind(&path).unwrap();
            info!("three");
            info!("four");
            assert_eq!(read(&socket)["HASHER_LOST_BEFORE"], "2");
            assert!(!read(&socket).contains_key("HASHER_LOST_BEFORE"));
        });
        assert!(Journal::at(&folder.path().join("nobody")).is_err());
    }
}
