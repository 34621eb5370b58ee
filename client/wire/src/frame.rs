//! The values that frames carry. What each field means on the wire stands in
//! `docs/socket-protocol.md`.

use bytes::Bytes;
use hasher_work::{Digest, SearchJob, SearchResult};

use crate::{
    EventBody, MAX_NAME_BYTES, MAX_TEXT_BYTES, Messages, Status, StatusReport, Text, Version,
    WireError,
};

/// One message of the protocol. Exhaustive on purpose: whoever handles frames must
/// decide about each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Client: first frame of a connection.
    Hello(Hello),
    /// Daemon: answer to Hello; requests may follow.
    Welcome(Welcome),
    /// Daemon: answer to Hello when no version is common; closes.
    Refused(Refused),
    /// Client: a batch of searches.
    Search(Search),
    /// Daemon: the answer to one job of a Search.
    SearchDone(SearchDone),
    /// Client: messages to be digested on the daemon's CPU.
    DigestBatch(DigestBatch),
    /// Daemon: the answer to a DigestBatch.
    Digests(Digests),
    /// Client: begins a digest of data of any length (1.1).
    DigestBegin(DigestBegin),
    /// Client: the next bytes of it (1.1).
    DigestChunk(DigestChunk),
    /// Client: no more bytes; asks for the digest (1.1).
    DigestEnd(DigestEnd),
    /// Daemon: the answer to a digest stream (1.1).
    DigestStreamed(DigestStreamed),
    /// Client: asks for shared memory, see [`RingOpened`] (1.3).
    RingOpen(RequestId),
    /// Daemon: the shared memory, whose descriptor comes along (1.3).
    RingOpened(RingOpened),
    /// Either side: look into the shared memory (1.3).
    RingBell,
    /// Daemon: a request, or one job of it, failed.
    Failed(Failed),
    /// Client: no longer interested in a request or one job of it.
    Cancel(Cancel),
    /// Client: asks for the status document.
    StatusQuery(RequestId),
    /// Daemon: the status document.
    Status(StatusReply),
    /// Client: wants events from now on, or none any more.
    Subscribe(Subscribe),
    /// Daemon: something changed.
    Event(Event),
    /// Client: asks for a document by its topic (1.2).
    Query(Query),
    /// Daemon: the document (1.2).
    Document(Document),
    /// Either side: are you there?
    Ping(u64),
    /// Either side: the answer to a Ping with the same number.
    Pong(u64),
    /// Either side: the last frame it sends.
    Goodbye(Goodbye),
}

/// The client's number for a request, unique among its live requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u32);

/// First frame of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version the client serves.
    pub min: Version,
    /// Newest version the client serves.
    pub max: Version,
    /// What the client calls itself, for logs and status only.
    pub name: Text<MAX_NAME_BYTES>,
}

/// The session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version of this session.
    pub version: Version,
    /// Jobs, digest batches and digest streams that may be unanswered at once.
    pub credits: u16,
    /// Bounds of this daemon.
    pub limits: Limits,
    /// What this daemon can do in this version.
    pub features: Features,
    /// Version of the daemon's program; empty before 1.1.
    pub daemon: Text<MAX_NAME_BYTES>,
}

/// Bounds of a daemon, never above those of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame in bytes.
    pub frame_bytes: u32,
    /// Most jobs in one Search.
    pub jobs: u16,
    /// Most messages in one DigestBatch.
    pub messages: u16,
    /// Most data bytes in one DigestChunk.
    pub chunk_bytes: u16,
    /// Deadline of a job that names none, in milliseconds.
    pub deadline_default_ms: u32,
    /// Longest deadline; longer ones are cut to it. In milliseconds.
    pub deadline_max_ms: u32,
}

/// A set of optional abilities; unknown bits are kept and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub u32);

impl Features {
    /// Jobs may roll the time field (1.1).
    pub const ROLLS: Self = Self(1);
    /// Digest streams (1.1).
    pub const DIGEST_STREAM: Self = Self(2);
    /// Documents by topic (1.2).
    pub const DOCUMENTS: Self = Self(4);
    /// Digests through shared memory, in this session (1.3).
    pub const RING: Self = Self(8);

    /// Whether every ability of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// No common version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Oldest version the daemon serves.
    pub min: Version,
    /// Newest version the daemon serves.
    pub max: Version,
}

/// How soon a job's works are given to a device. Never strict: every priority
/// gets its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Someone waits for the answer.
    Interactive,
    /// A program's ordinary work.
    #[default]
    Batch,
    /// Whatever is left over.
    Background,
}

/// One job of a [`Search`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRequest {
    /// What to search.
    pub job: SearchJob,
    /// Time until the answer is worthless, in milliseconds from arrival; 0 asks
    /// for the daemon's default.
    pub deadline_ms: u32,
    /// How soon it is served.
    pub priority: Priority,
}

/// A batch of 1 to [`MAX_JOBS`](crate::MAX_JOBS) searches. Every job gets exactly
/// one answer, SearchDone or Failed, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The client's number.
    pub request: RequestId,
    /// The jobs; answers name them by their place here.
    pub jobs: Vec<JobRequest>,
}

/// What does the hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Chips on a real board behind USB.
    Usb,
    /// A simulated board, whose chips are the daemon's CPU.
    Simulated,
    /// The daemon's CPU.
    Cpu,
}

impl DeviceKind {
    /// The word that status documents and command lines use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Simulated => "simulated",
            Self::Cpu => "cpu",
        }
    }
}

/// Who computed an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ComputedBy {
    /// What did the hashing.
    pub kind: DeviceKind,
    /// The device's name, such as `sim-s3-0`.
    pub device: Text<MAX_NAME_BYTES>,
}

/// The answer to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchDone {
    /// The Search.
    pub request: RequestId,
    /// The job's place in it.
    pub index: u16,
    /// What it brought.
    pub result: SearchResult,
    /// The devices that worked on it, in the order in which they began.
    pub computed_by: Vec<ComputedBy>,
}

/// Which digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-256 of the SHA-256.
    Sha256d,
}

impl DigestAlgorithm {
    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha256d => 2,
        }
    }

    /// The algorithm with this number, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha256d),
            _ => None,
        }
    }
}

/// 1 to [`MAX_MESSAGES`](crate::MAX_MESSAGES) messages to digest on the daemon's CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestBatch {
    /// The client's number.
    pub request: RequestId,
    /// Which digest.
    pub algorithm: DigestAlgorithm,
    /// The messages.
    pub messages: Messages,
}

/// The answer to a [`DigestBatch`], one digest a message in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// The DigestBatch.
    pub request: RequestId,
    /// Who computed them; always a CPU.
    pub computed_by: ComputedBy,
    /// The digests.
    pub digests: Vec<Digest>,
}

/// Begins a digest stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestBegin {
    /// The client's number, of this stream until it is answered.
    pub request: RequestId,
    /// Which digest.
    pub algorithm: DigestAlgorithm,
}

/// The next bytes of a digest stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestChunk {
    /// The stream.
    pub request: RequestId,
    /// Its next bytes, at most [`MAX_CHUNK_BYTES`](crate::MAX_CHUNK_BYTES).
    pub data: Bytes,
}

/// The end of a digest stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestEnd {
    /// The stream.
    pub request: RequestId,
}

/// The answer to a digest stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestStreamed {
    /// The stream.
    pub request: RequestId,
    /// Bytes that were digested.
    pub length: u64,
    /// Their digest.
    pub digest: Digest,
    /// Who computed it; always a CPU.
    pub computed_by: ComputedBy,
}

/// Shared memory for bulk digests. Its descriptor is passed over the socket, with the
/// first byte of this frame at the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingOpened {
    /// The RingOpen.
    pub request: RequestId,
    /// Its size.
    pub bytes: u32,
    /// Who computes the digests in it; always a CPU.
    pub computed_by: ComputedBy,
}

/// A request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The request.
    pub request: RequestId,
    /// The job's place in a Search; nothing when the whole request failed and no
    /// other answer to it follows.
    pub index: Option<u16>,
    /// Why.
    pub status: Status,
    /// For people; programs read the status only.
    pub message: Text<MAX_TEXT_BYTES>,
}

/// Gives a request up. Each job of it that is unanswered is answered Failed with
/// [`Status::Cancelled`]; what is already answered or unknown is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel {
    /// The request.
    pub request: RequestId,
    /// One job of it; nothing for all.
    pub index: Option<u16>,
}

/// The status document as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReply {
    /// The StatusQuery.
    pub request: RequestId,
    /// The document, see [`StatusReport`].
    pub json: String,
}

impl StatusReply {
    /// Writes a document.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when it gets longer than
    /// [`MAX_JSON_BYTES`](crate::MAX_JSON_BYTES). A number that is not finite has no
    /// JSON form and would make the document unreadable; callers keep them out.
    pub fn new(request: RequestId, report: &StatusReport) -> Result<Self, WireError> {
        let json = to_json("status", "Status", report)?;
        Ok(Self { request, json })
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`WireError::BadJson`] when a field is missing or has another type.
    pub fn report(&self) -> Result<StatusReport, WireError> {
        from_json("status", &self.json)
    }
}

/// A set of events; unknown bits are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Topics(pub u8);

impl Topics {
    /// Nothing: ends the subscription.
    pub const NONE: Self = Self(0);
    /// A device came, went or changed its state.
    pub const DEVICES: Self = Self(1);
    /// The whole status document, at most once a second while it changes.
    pub const STATUS: Self = Self(2);
    /// All of them.
    pub const ALL: Self = Self(3);

    /// Whether every topic of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Asks for events; replaces the session's earlier subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe {
    /// Which events.
    pub topics: Topics,
}

/// Something changed. A reader that is slower than the changes gets the newest
/// state and never a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event as JSON, see [`EventBody`].
    pub json: String,
}

impl Event {
    /// Writes an event.
    ///
    /// # Errors
    /// As [`StatusReply::new`].
    pub fn new(body: &EventBody) -> Result<Self, WireError> {
        let json = to_json("event", "Event", body)?;
        Ok(Self { json })
    }

    /// Reads the event.
    ///
    /// # Errors
    /// [`WireError::BadJson`] when a field is missing or has another type.
    pub fn body(&self) -> Result<EventBody, WireError> {
        from_json("event", &self.json)
    }
}

/// Asks for a document that is wanted now and then, not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The client's number.
    pub request: RequestId,
    /// Which document; the daemon answers [`Status::Unsupported`] to one that it does
    /// not have.
    pub topic: Text<MAX_NAME_BYTES>,
    /// What it is about, such as a device's name; empty where the topic needs none.
    pub argument: Text<MAX_NAME_BYTES>,
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The Query.
    pub request: RequestId,
    /// The document; its form depends on the topic.
    pub json: String,
}

impl Document {
    /// Writes a document.
    ///
    /// # Errors
    /// As [`StatusReply::new`].
    pub fn new(request: RequestId, document: &impl serde::Serialize) -> Result<Self, WireError> {
        let json = to_json("document", "Document", document)?;
        Ok(Self { request, json })
    }
}

/// The last frame of a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Why; nothing when all is well and the peer is simply done.
    pub status: Option<Status>,
    /// For people.
    pub message: Text<MAX_TEXT_BYTES>,
}

fn to_json(
    what: &'static str,
    frame: &'static str,
    value: &impl serde::Serialize,
) -> Result<String, WireError> {
    let json =
        serde_json::to_string(value).map_err(|source| WireError::BadJson { what, source })?;
    crate::field::check_count(frame, "json", json.len(), crate::MAX_JSON_BYTES)?;
    Ok(json)
}

fn from_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    json: &str,
) -> Result<T, WireError> {
    serde_json::from_str(json).map_err(|source| WireError::BadJson { what, source })
}
