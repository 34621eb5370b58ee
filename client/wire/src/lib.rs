//! Frames of the socket protocol between hasherd and its clients.
//!
//! ```text
//! ┌────────────┬──────────┬──────────────────────────────┐
//! │ length u32 │ type u16 │ fields, little-endian        │   at most 64 KiB
//! └────────────┴──────────┴──────────────────────────────┘
//! ```
//!
//! This crate owns the bytes: the values of every frame, their encoder and
//! decoder, the versions, the fixed numbers of the status codes, the typed status
//! document and the default path of the socket. It never opens a socket, knows no
//! runtime and no device. The daemon and the client library call it; programs in
//! other languages are written from `docs/socket-protocol.md`, which is the
//! authority. Both are tested against the same recorded bytes.
//!
//! ```
//! use bytes::BytesMut;
//! use hasher_wire::{Codec, Frame, Hello, Version};
//!
//! let hello = Frame::Hello(Hello {
//!     min: Version::OLDEST,
//!     max: Version::NEWEST,
//!     name: "example".into(),
//! });
//! let mut bytes = BytesMut::new();
//! Codec.encode(&hello, &mut bytes)?;
//! assert_eq!(Codec.decode(&mut bytes)?, Some(hello));
//! # Ok::<(), hasher_wire::WireError>(())
//! ```

mod codec;
mod decode;
mod encode;
mod error;
mod field;
mod frame;
mod limit;
mod messages;
mod report;
mod socket_path;
mod status;
mod version;

pub use codec::Codec;
pub use error::WireError;
pub use field::Text;
pub use frame::{
    Cancel, ComputedBy, DeviceKind, DigestAlgorithm, DigestBatch, DigestBegin, DigestChunk,
    DigestEnd, DigestStreamed, Digests, Document, Event, Failed, Features, Frame, Goodbye, Hello,
    JobRequest, Limits, Priority, Query, Refused, RequestId, RingOpened, Search, SearchDone,
    StatusReply, Subscribe, Topics, Welcome,
};
pub use limit::{
    MAX_CHUNK_BYTES, MAX_COMPUTED_BY, MAX_FRAME_BYTES, MAX_HITS, MAX_JOBS, MAX_JSON_BYTES,
    MAX_MESSAGES, MAX_NAME_BYTES, MAX_TEXT_BYTES,
};
pub use messages::Messages;
pub use report::{
    CaptureReport, ConfigurationReport, DaemonReport, DeviceCountersReport, DeviceReport,
    DeviceState, EventBody, HashRateReport, ProtocolReport, SessionReport, SettingReport,
    StatusReport, TotalsReport, TransferData, TransferReport,
};
pub use socket_path::{SOCKET_VARIABLE, SYSTEM_SOCKET, SocketEnvironment};
pub use status::{Status, StatusClass};
pub use version::Version;
