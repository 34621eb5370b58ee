//! The arguments of a search and of a digest over D-Bus, and the frames they become.
//!
//! Owns the names of the options, their defaults and bounds. What the socket protocol
//! checks is left to it.

use hasher_wire::{
    DigestAlgorithm, DigestBatch, Frame, JobRequest, Priority, RequestId, Search, Status,
};
use hasher_work::{Header, Nonce, NonceRange, SearchJob, SearchMode, Target, WorkError};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zbus::{DeserializeDict, Type};

use crate::core::CallError;

/// The one request of an inner session.
pub(super) const REQUEST: RequestId = RequestId(1);

/// Zero bits of a search that asks for no target: what chips filter for.
const ZERO_BITS_DEFAULT: u32 = 32;

/// Most bytes of all messages of one digest: with their lengths they travel in one frame.
const MESSAGES_BYTES_MAX: usize = hasher_wire::MAX_CHUNK_BYTES;

/// Options of `OpenSession`: none so far.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct SessionOptions {}

/// Options of `Search`.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct SearchOptions {
    zero_bits: Option<u32>,
    target: Option<Vec<u8>>,
    hits: Option<u16>,
    rolls: Option<u16>,
    first_nonce: Option<u32>,
    last_nonce: Option<u32>,
    deadline_ms: Option<u32>,
    priority: Option<String>,
}

/// Options of `Digest`.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", deny_unknown_fields)]
pub(super) struct DigestOptions {
    algorithm: Option<String>,
}

/// Settings of `Configure`.
#[derive(Debug, Default, DeserializeDict, Type)]
#[zbus(signature = "a{sv}", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct DeviceSettings {
    pub(super) frequency_mhz: Option<f64>,
}

/// The messages of a digest. No more is kept of them than one frame may hold, whatever
/// the caller sent.
#[derive(Debug, Type)]
#[zbus(signature = "aay")]
pub(super) struct Messages(hasher_wire::Messages);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;

        impl<'de> Visitor<'de> for Bounded {
            type Value = hasher_wire::Messages;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("messages, as arrays of bytes")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
                let (mut messages, mut bytes) = (Vec::new(), 0);
                while let Some(message) = seq.next_element::<&'de [u8]>()? {
                    bytes += message.len();
                    if messages.len() == hasher_wire::MAX_MESSAGES || bytes > MESSAGES_BYTES_MAX {
                        return Err(S::Error::custom(format_args!(
                            "at most {} messages of {MESSAGES_BYTES_MAX} bytes together; \
                             use a session for more",
                            hasher_wire::MAX_MESSAGES
                        )));
                    }
                    messages.push(message);
                }
                hasher_wire::Messages::new(messages).map_err(S::Error::custom)
            }
        }

        deserializer.deserialize_seq(Bounded).map(Self)
    }
}

/// The frame that asks for a search.
///
/// # Errors
/// [`Status::Invalid`] names the argument that is wrong.
pub(super) fn search(header: &[u8], options: SearchOptions) -> Result<Frame, CallError> {
    let header = Header::from_bytes(header).map_err(invalid)?;
    let first = Nonce(options.first_nonce.unwrap_or(0));
    let last = Nonce(options.last_nonce.unwrap_or(u32::MAX));
    let mode = match options.hits.unwrap_or(1) {
        0 => SearchMode::Exhaust,
        hits => SearchMode::FirstFound(hits),
    };
    let job = SearchJob {
        header,
        range: NonceRange::new(first, last).map_err(invalid)?,
        target: target(options.zero_bits, options.target.as_deref())?,
        mode,
        rolls: options.rolls.unwrap_or(0),
    };
    job.check().map_err(invalid)?;
    let request = JobRequest {
        job,
        deadline_ms: options.deadline_ms.unwrap_or(0),
        priority: priority(options.priority.as_deref())?,
    };
    Ok(Frame::Search(Search {
        request: REQUEST,
        jobs: vec![request],
    }))
}

fn target(zero_bits: Option<u32>, target: Option<&[u8]>) -> Result<Target, CallError> {
    match (zero_bits, target) {
        (Some(_), Some(_)) => Err(wrong("give either zero-bits or target, not both")),
        (zero_bits, None) => {
            Target::from_zero_bits(zero_bits.unwrap_or(ZERO_BITS_DEFAULT)).map_err(invalid)
        }
        (None, Some(bytes)) => match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(Target::from_le_bytes(bytes)),
            Err(_) => Err(invalid(WorkError::BadLength {
                what: "target",
                expected: 32,
                got: bytes.len(),
            })),
        },
    }
}

fn priority(word: Option<&str>) -> Result<Priority, CallError> {
    match word {
        Some("interactive") => Ok(Priority::Interactive),
        Some("batch") | None => Ok(Priority::Batch),
        Some("background") => Ok(Priority::Background),
        Some(other) => Err(wrong(format!(
            "no priority {other:?}; there are interactive, batch and background"
        ))),
    }
}

/// The frame that asks for digests.
///
/// # Errors
/// [`Status::Invalid`] names the argument that is wrong.
pub(super) fn digest(messages: Messages, options: &DigestOptions) -> Result<Frame, CallError> {
    let algorithm = match options.algorithm.as_deref() {
        Some("sha256") | None => DigestAlgorithm::Sha256,
        Some("sha256d") => DigestAlgorithm::Sha256d,
        Some(other) => {
            let why = format!("no algorithm {other:?}; there are sha256 and sha256d");
            return Err(wrong(why));
        }
    };
    if messages.0.is_empty() {
        return Err(wrong("give at least one message"));
    }
    Ok(Frame::DigestBatch(DigestBatch {
        request: REQUEST,
        algorithm,
        messages: messages.0,
    }))
}

fn invalid(error: WorkError) -> CallError {
    wrong(error.to_string())
}

/// An argument is wrong.
pub(super) fn wrong(why: impl Into<String>) -> CallError {
    CallError::failed(Status::Invalid, why)
}
