//! Why a call over the bus failed, in words.
//!
//! Owns the meaning of the daemon's and the bus's error names. The names are the
//! contract; the messages are the daemon's own words and only repeated.

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The error's name on the bus; empty when the failure was not remote.
    pub name: String,
    /// What it says; may be empty.
    pub message: String,
}

impl CallError {
    /// Whether this user may not do it.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.name.as_str(),
            "org.freedesktop.DBus.Error.AccessDenied"
                | "org.freedesktop.DBus.Error.AuthFailed"
                | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
                | "org.hasher.Hasher1.Error.NotAllowed"
        )
    }

    /// The reason in words, without a final stop.
    pub fn reason(&self) -> String {
        let known = match self.name.as_str() {
            _ if self.is_refusal() => "you are not permitted",
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner"
            | "org.freedesktop.DBus.Error.Disconnected" => "hasherd has gone away",
            "org.freedesktop.DBus.Error.NoReply"
            | "org.freedesktop.DBus.Error.Timeout"
            | "org.freedesktop.DBus.Error.TimedOut" => "hasherd did not answer in time",
            "org.freedesktop.DBus.Error.UnknownObject"
            | "org.hasher.Hasher1.Error.UnknownDevice" => "the device is not there any more",
            "org.freedesktop.DBus.Error.UnknownMethod"
            | "org.freedesktop.DBus.Error.UnknownInterface" => {
                "this hasherd cannot do that; update it"
            }
            "org.hasher.Hasher1.Error.NotSupported" => "this device cannot do that",
            "org.hasher.Hasher1.Error.ShuttingDown" => "hasherd is shutting down",
            _ => "",
        };
        match (known, self.message.trim()) {
            ("", "") => format!("hasherd gave no reason ({})", self.name),
            ("", message) => message.to_owned(),
            (known, "") => known.to_owned(),
            // Here the daemon knows more than the name says.
            (known, message) if self.name.starts_with("org.hasher.") => {
                format!("{known} ({message})")
            }
            (known, _) => known.to_owned(),
        }
    }

    /// A sentence about what could not be done.
    pub fn sentence(&self, cannot: &str) -> String {
        format!("Cannot {cannot}: {}", self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, message: &str) -> CallError {
        CallError {
            name: name.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_refusal_is_told_from_every_other_failure() {
        let refused = error("org.hasher.Hasher1.Error.NotAllowed", "dismissed");
        assert!(refused.is_refusal());
        assert_eq!(
            refused.sentence("pause usb-1-2"),
            "Cannot pause usb-1-2: you are not permitted (dismissed)"
        );
        assert!(error("org.freedesktop.DBus.Error.AccessDenied", "Rejected send").is_refusal());
        assert!(!error("org.freedesktop.DBus.Error.NoReply", "").is_refusal());
    }

    #[test]
    fn the_buss_own_words_are_replaced_and_the_daemons_are_kept() {
        let bus = error(
            "org.freedesktop.DBus.Error.ServiceUnknown",
            "The name is not activatable",
        );
        assert_eq!(bus.reason(), "hasherd has gone away");
        let daemon = error("org.hasher.Hasher1.Error.Busy", "all 64 credits are in use");
        assert_eq!(daemon.reason(), "all 64 credits are in use");
        assert!(error("a.b.C", "").reason().contains("a.b.C"));
    }
}
