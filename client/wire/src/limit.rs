//! Every bound of the protocol, each with its reason.

/// Longest frame in bytes, its length field included. Bounds what a peer can make
/// the other side hold before a frame is complete.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// Most jobs in one Search frame: 256 records of 130 bytes fill half a frame, and
/// no session gets more credits at once anyway.
pub const MAX_JOBS: usize = 256;

/// Most hits in one SearchDone frame; equals `SearchJob::MAX_HITS`.
pub const MAX_HITS: usize = hasher_work::SearchJob::MAX_HITS as usize;

/// Most devices that one answer may name; the daemon attaches no more.
pub const MAX_COMPUTED_BY: usize = 16;

/// Most messages in one Digest frame: their digests fill half a frame.
pub const MAX_MESSAGES: usize = 1024;

/// Most data bytes in one DigestChunk frame: 60 KiB leave room for the head.
pub const MAX_CHUNK_BYTES: usize = 60 * 1024;

/// Most bytes of a JSON document in one frame.
pub const MAX_JSON_BYTES: usize = 60 * 1024;

/// Most bytes of a name (client, device), in UTF-8.
pub const MAX_NAME_BYTES: usize = 64;

/// Most bytes of a message for people, in UTF-8.
pub const MAX_TEXT_BYTES: usize = 256;
