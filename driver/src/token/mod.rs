//! The packets on the wire, encoded and decoded in both layouts and both
//! directions, so that the host and the simulated controller share one codec.
//!
//! Rules of every packet (protocol reference, section 3.1): integers are
//! little-endian, flags count from bit 0, and a CRC-16/MODBUS over all bytes before it
//! ends the packet, low byte first. This module never does I/O and holds no state.
//! It represents every packet that the wire allows, also dangerous settings; what a
//! host may send is narrowed by [`crate::Command`].

mod config;
mod nonces;
mod query;
mod status;
mod task;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

pub use config::{ConfigFlags, ControlFlags, TxConfig, Voltage};
pub use nonces::{FoundNonce, NonceReply};
pub use query::RxStatus;
pub(crate) use status::MAX_REPLY_BYTES;
pub use status::{ChainStatus, StatusReply};
pub use task::{MAX_WORKS_PER_TASK, TxTask, WorkEntry};

use crate::Layout;
use crate::crc;

/// Type byte of a configuration.
pub(crate) const TX_CONFIG: u8 = 0x51;
/// Type byte of a packet of works.
pub(crate) const TX_TASK: u8 = 0x52;
/// Type byte of a status query.
pub(crate) const RX_STATUS: u8 = 0x53;
/// Type byte of a status reply.
pub(crate) const STATUS_REPLY: u8 = 0xa1;
/// Type byte of a nonce reply.
pub(crate) const NONCE_REPLY: u8 = 0xa2;

/// Bytes of the checksum that ends every packet.
pub(crate) const CRC_BYTES: usize = 2;

/// Why bytes are not a packet of the layout that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There are no bytes at all.
    #[error("packet is empty")]
    Empty,
    /// The type byte belongs to no known packet of this direction.
    #[error("unknown packet type 0x{0:02x}")]
    UnknownType(u8),
    /// The number of bytes contradicts the type or the announced length.
    #[error("packet of type 0x{kind:02x} cannot have {got} bytes")]
    WrongLength {
        /// Type byte.
        kind: u8,
        /// Bytes that were given.
        got: usize,
    },
    /// The checksum does not match.
    #[error("checksum of a packet of type 0x{0:02x} does not match")]
    BadChecksum(u8),
    /// A count inside contradicts the length, or the version byte is not 0.
    #[error("packet of type 0x{0:02x} contradicts itself")]
    Inconsistent(u8),
}

/// A packet from host to device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Settings of the board.
    Config(TxConfig),
    /// Works for the FIFO.
    Task(TxTask),
    /// A question for a status reply.
    Status(RxStatus),
}

impl Request {
    /// Decodes one OUT transfer as the controller would: exact size, checksum at the
    /// place where the controller looks for it. Unknown flag bits and reserved bytes
    /// are ignored.
    ///
    /// # Errors
    /// [`TokenError`]; a controller drops such bytes without any reply.
    pub fn decode(layout: Layout, bytes: &[u8]) -> Result<Self, TokenError> {
        match *bytes.first().ok_or(TokenError::Empty)? {
            TX_CONFIG => TxConfig::decode(layout, bytes).map(Self::Config),
            TX_TASK => TxTask::decode(bytes).map(Self::Task),
            RX_STATUS => RxStatus::decode(layout, bytes).map(Self::Status),
            other => Err(TokenError::UnknownType(other)),
        }
    }

    /// The packet's bytes.
    pub fn encode(&self, layout: Layout) -> Bytes {
        match self {
            Self::Config(config) => config.encode(layout),
            Self::Task(task) => task.encode(),
            Self::Status(query) => query.encode(layout),
        }
    }

    /// The total length that the first bytes of a packet announce, once enough of
    /// them are there; nothing for an unknown type.
    pub fn announced_length(layout: Layout, bytes: &[u8]) -> Option<usize> {
        match (bytes.first()?, layout) {
            (&TX_TASK, _) | (&TX_CONFIG | &RX_STATUS, Layout::S3) => wide_length(bytes),
            (&TX_CONFIG | &RX_STATUS, Layout::S1) => Some(usize::from(*bytes.get(1)?) + 2),
            _ => None,
        }
    }
}

/// A packet from device to host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What the board measures, and its free FIFO places.
    Status(StatusReply),
    /// Nonces that the chips found, possibly none.
    Nonces(NonceReply),
}

impl Reply {
    /// Decodes exactly one reply.
    ///
    /// # Errors
    /// [`TokenError`] names what does not fit.
    pub fn decode(layout: Layout, bytes: &[u8]) -> Result<Self, TokenError> {
        match *bytes.first().ok_or(TokenError::Empty)? {
            STATUS_REPLY => StatusReply::decode(layout, bytes).map(Self::Status),
            NONCE_REPLY => NonceReply::decode(layout, bytes).map(Self::Nonces),
            other => Err(TokenError::UnknownType(other)),
        }
    }

    /// The reply's bytes.
    pub fn encode(&self, layout: Layout) -> Bytes {
        match self {
            Self::Status(status) => status.encode(layout),
            Self::Nonces(nonces) => nonces.encode(layout),
        }
    }
}

/// Begins a packet: type, then the layout's length field for `total` bytes.
fn begin(layout: Layout, kind: u8, total: usize) -> BytesMut {
    let mut packet = BytesMut::with_capacity(total);
    packet.put_u8(kind);
    match layout {
        Layout::S1 => packet.put_u8(u8::try_from(total - 2).expect("S1 packets are short")),
        Layout::S3 => {
            packet.put_u8(0); // version
            packet.put_u16_le(u16::try_from(total - 4).expect("S3 packets fit in 64 KiB"));
        }
    }
    packet
}

/// Ends a packet with its checksum.
fn finish(mut packet: BytesMut) -> Bytes {
    packet.put_u16_le(crc::token(&packet));
    packet.freeze()
}

/// Checks the checksum at the end of `bytes` and returns what stands before it.
fn checked(bytes: &[u8]) -> Result<&[u8], TokenError> {
    let kind = *bytes.first().ok_or(TokenError::Empty)?;
    let got = bytes.len();
    let (body, end) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(TokenError::WrongLength { kind, got })?;
    if crc::token(body) == u16::from_le_bytes(*end) {
        Ok(body)
    } else {
        Err(TokenError::BadChecksum(kind))
    }
}

/// Checks that a packet of one legal size has it, and that its length field says so.
fn expect_size(layout: Layout, bytes: &[u8], size: usize) -> Result<(), TokenError> {
    let announced = match layout {
        Layout::S1 => bytes.get(1).map(|&length| usize::from(length) + 2),
        Layout::S3 => wide_length(bytes),
    };
    if bytes.len() == size && announced == Some(size) {
        Ok(())
    } else {
        Err(TokenError::WrongLength {
            kind: bytes.first().copied().unwrap_or(0),
            got: bytes.len(),
        })
    }
}

/// The total length in the two-byte length field at offset 2.
fn wide_length(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(2..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_le_bytes(*field)) + 4)
}

/// The little-endian number at `at`; the caller has checked the length.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The little-endian number at `at`; the caller has checked the length.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// The `N` bytes at `at`; the caller has checked the length.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..]
        .first_chunk()
        .expect("the caller has checked the length")
}
