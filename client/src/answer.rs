use std::fmt;

use hasher_wire::DeviceKind;
use hasher_work::{Digest, SearchResult};

/// What computed an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComputedKind {
    /// Chips on a real board behind USB.
    Usb,
    /// A simulated board in the daemon, whose chips are the daemon's CPU.
    Simulated,
    /// The daemon's CPU.
    Cpu,
    /// This very process.
    Local,
}

impl ComputedKind {
    /// The word for outputs: `usb`, `simulated`, `cpu` or `local`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Simulated => "simulated",
            Self::Cpu => "cpu",
            Self::Local => "local",
        }
    }
}

impl From<DeviceKind> for ComputedKind {
    fn from(kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Usb => Self::Usb,
            DeviceKind::Simulated => Self::Simulated,
            DeviceKind::Cpu => Self::Cpu,
        }
    }
}

impl fmt::Display for ComputedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who computed an answer; never left out, so that a simulated or local result
/// cannot pass for one of real chips.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComputedBy {
    /// What did the hashing.
    pub kind: ComputedKind,
    /// Its name, such as `sim-s3-0`; `local` for this process.
    pub device: String,
}

impl ComputedBy {
    /// This process.
    pub fn local() -> Self {
        Self {
            kind: ComputedKind::Local,
            device: "local".into(),
        }
    }
}

impl From<hasher_wire::ComputedBy> for ComputedBy {
    fn from(by: hasher_wire::ComputedBy) -> Self {
        Self {
            kind: by.kind.into(),
            device: by.device.to_string(),
        }
    }
}

impl fmt::Display for ComputedBy {
    /// `sim-s3-0 (simulated)`; just `local` for this process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ComputedKind::Local => f.write_str(&self.device),
            kind => write!(f, "{} ({kind})", self.device),
        }
    }
}

/// The answer to one search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchAnswer {
    /// Hits, each verified again on arrival, and how the search ended. Often
    /// there is no hit, and that is no failure.
    pub result: SearchResult,
    /// The devices that worked on it, in the order in which they began.
    pub by: Vec<ComputedBy>,
}

/// The answer to a batch of messages to digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestAnswer {
    /// One digest a message, in the order of the messages.
    pub digests: Vec<Digest>,
    /// Who computed them: always a CPU, no device can.
    pub by: ComputedBy,
}

/// The answer to a digest stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamAnswer {
    /// The digest of all bytes.
    pub digest: Digest,
    /// How many bytes the daemon digested; equals what was pushed.
    pub length: u64,
    /// Who computed it: always a CPU, no device can.
    pub by: ComputedBy,
}
