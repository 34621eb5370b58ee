//! The daemon itself, as it describes itself on the bus.

use crate::value::{Properties, Reader};

/// The properties of `org.hasher.Hasher1.Manager`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manager {
    /// Version of the daemon's program.
    pub version: String,
    /// Newest version of the socket protocol it speaks.
    pub protocol: String,
    /// `running`, `suspended` or `stopping`.
    pub state: String,
    /// Path of its socket; may be empty.
    pub socket: String,
    /// When it started, in seconds since 1970; 0 if it does not say.
    pub started_at: u64,
}

impl Manager {
    /// From what the bus says.
    pub fn from_properties(properties: &Properties) -> Self {
        let read = Reader(properties);
        Self {
            version: read.text("Version"),
            protocol: read.text("ProtocolVersion"),
            state: read.text("State"),
            socket: read.text("Socket"),
            started_at: read.u64("StartedAt"),
        }
    }

    /// What a person must know of its state; nothing while it simply runs.
    pub fn notice(&self) -> Option<&'static str> {
        match self.state.as_str() {
            "suspended" => Some("The computer is going to sleep: devices rest."),
            "stopping" => Some("The daemon is stopping: no new work is taken."),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn only_a_daemon_that_does_not_run_needs_a_notice() {
        let of = |state: &str| {
            let properties =
                Properties::from([("State".to_owned(), Value::Text(state.to_owned()))]);
            Manager::from_properties(&properties)
        };
        assert_eq!(of("running").notice(), None);
        assert!(of("suspended").notice().is_some());
        assert!(of("stopping").notice().is_some());
    }
}
