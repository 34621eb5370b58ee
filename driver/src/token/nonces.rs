use bytes::{BufMut, Bytes};
use hasher_work::Nonce;

use super::{
    CRC_BYTES, NONCE_REPLY, TokenError, array_at, begin, checked, expect_size, finish, u16_at,
    u32_at,
};
use crate::Layout;

/// Bytes before the first nonce.
const HEAD_S1: usize = 4;
const HEAD_S3: usize = 16;
/// Bytes of one nonce: work id, nonce.
const ENTRY_BYTES: usize = 8;

/// A nonce as a device reports it, unverified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundNonce {
    /// The work that the controller believes it belongs to.
    pub work_id: u32,
    /// The nonce.
    pub nonce: Nonce,
}

/// Reply 0xa2: nonces, or a sign of life without any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NonceReply {
    /// Free FIFO places, capped at 255 by the known images.
    pub fifo_space: u16,
    /// S3: the chips' extra zero bits, 0 to 4. Not carried by an S1.
    pub diff: u16,
    /// S3 in verified mode: nonces that passed the chips' filter since the last
    /// reset. Not carried by an S1.
    pub total_nonces: u64,
    /// The nonces in the order of discovery.
    pub nonces: Vec<FoundNonce>,
}

impl NonceReply {
    /// The reply's bytes: 6 + 8n (S1) or 18 + 8n (S3).
    ///
    /// # Panics
    /// When an S1 reply would exceed its one-byte length or FIFO field.
    pub fn encode(&self, layout: Layout) -> Bytes {
        let entries = self.nonces.len() * ENTRY_BYTES;
        let mut packet;
        match layout {
            Layout::S1 => {
                packet = begin(layout, NONCE_REPLY, HEAD_S1 + entries + CRC_BYTES);
                packet.put_u8(u8::try_from(self.fifo_space).expect("capped at 255"));
                packet.put_u8(u8::try_from(self.nonces.len()).expect("bounded by the length"));
            }
            Layout::S3 => {
                packet = begin(layout, NONCE_REPLY, HEAD_S3 + entries + CRC_BYTES);
                packet.put_u16_le(self.fifo_space);
                packet.put_u16_le(self.diff);
                packet.put_u64_le(self.total_nonces);
            }
        }
        for found in &self.nonces {
            packet.put_u32_le(found.work_id);
            packet.put_slice(&found.nonce.to_wire());
        }
        finish(packet)
    }

    /// Decodes exactly one reply.
    ///
    /// # Errors
    /// [`TokenError`] for a wrong size, checksum or count.
    pub fn decode(layout: Layout, bytes: &[u8]) -> Result<Self, TokenError> {
        let head = match layout {
            Layout::S1 => HEAD_S1,
            Layout::S3 => HEAD_S3,
        };
        expect_size(layout, bytes, bytes.len())?;
        if bytes.len() < head + CRC_BYTES {
            return Err(TokenError::WrongLength {
                kind: NONCE_REPLY,
                got: bytes.len(),
            });
        }
        let body = checked(bytes)?;
        let (entries, rest) = body[head..].as_chunks::<ENTRY_BYTES>();
        let (fifo_space, diff, total_nonces, count) = match layout {
            Layout::S1 => (u16::from(body[2]), 0, 0, usize::from(body[3])),
            Layout::S3 => (
                u16_at(body, 4),
                u16_at(body, 6),
                u64::from_le_bytes(array_at(body, 8)),
                entries.len(),
            ),
        };
        if !rest.is_empty() || count != entries.len() || (layout == Layout::S3 && body[1] != 0) {
            return Err(TokenError::Inconsistent(NONCE_REPLY));
        }
        Ok(Self {
            fifo_space,
            diff,
            total_nonces,
            nonces: entries
                .iter()
                .map(|entry| FoundNonce {
                    work_id: u32_at(entry, 0),
                    nonce: Nonce::from_wire(array_at(entry, 4)),
                })
                .collect(),
        })
    }

    /// Whether a reply of `total` bytes can exist at all.
    pub(crate) fn is_sane_total(layout: Layout, total: usize) -> bool {
        // The largest sizes that any source allows (8 and 128 nonces).
        let (head, most) = match layout {
            Layout::S1 => (HEAD_S1, 8),
            Layout::S3 => (HEAD_S3, 128),
        };
        let least = head + CRC_BYTES;
        total >= least
            && total <= least + most * ENTRY_BYTES
            && (total - least).is_multiple_of(ENTRY_BYTES)
    }
}
