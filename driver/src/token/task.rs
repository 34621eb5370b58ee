use bytes::{BufMut, Bytes, BytesMut};
use hasher_work::{Midstate, Tail, Work};

use super::{CRC_BYTES, TX_TASK, TokenError, array_at, checked, finish, u32_at, wide_length};

/// Most works that one packet may carry on an S1 or S3.
pub const MAX_WORKS_PER_TASK: usize = 8;

/// Bytes before the first work.
const HEAD_BYTES: usize = 8;
/// Bytes of one work: id, midstate, tail.
const WORK_BYTES: usize = 48;
/// What the length field counts besides works: four bytes of head and the checksum.
const LENGTH_BESIDES_WORKS: usize = 6;

/// One work as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkEntry {
    /// The host's number for it; the chips return only its low 5 bits.
    pub id: u32,
    /// Midstate and tail.
    pub work: Work,
}

/// Token 0x52: works for the FIFO, the same bytes in both layouts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TxTask {
    /// Drop the works that wait in the FIFO first. Without works: a pure flush.
    pub new_block: bool,
    /// S3 in verified mode: zero bits asked for beyond 32.
    pub diff: u8,
    /// The works in order, at most [`MAX_WORKS_PER_TASK`] for a real board.
    pub works: Vec<WorkEntry>,
}

impl TxTask {
    /// The packet's bytes, 10 + 48 for each work.
    ///
    /// # Panics
    /// Beyond [`MAX_WORKS_PER_TASK`] works: the packet would overrun the
    /// controller's buffer.
    pub fn encode(&self) -> Bytes {
        assert!(
            self.works.len() <= MAX_WORKS_PER_TASK,
            "{} works do not fit in one packet",
            self.works.len()
        );
        let works_bytes = WORK_BYTES * self.works.len();
        let mut packet = BytesMut::with_capacity(HEAD_BYTES + works_bytes + CRC_BYTES);
        packet.put_u8(TX_TASK);
        packet.put_u8(0);
        packet.put_u16_le(
            u16::try_from(LENGTH_BESIDES_WORKS + works_bytes).expect("at most 8 works"),
        );
        packet.put_u8(self.new_block.into());
        packet.put_u8(self.diff);
        packet.put_u16_le(0);
        for entry in &self.works {
            packet.put_u32_le(entry.id);
            packet.put_slice(&entry.work.midstate.to_wire());
            packet.put_slice(&entry.work.tail.to_wire());
        }
        finish(packet)
    }

    /// Decodes exactly one packet of works. As on the controller the number of works
    /// is (length - 6) / 48, rounded down.
    ///
    /// # Errors
    /// [`TokenError`] for a wrong size or checksum, or too many works.
    pub fn decode(bytes: &[u8]) -> Result<Self, TokenError> {
        let wrong_length = TokenError::WrongLength {
            kind: TX_TASK,
            got: bytes.len(),
        };
        if bytes.len() < HEAD_BYTES + CRC_BYTES || wide_length(bytes) != Some(bytes.len()) {
            return Err(wrong_length);
        }
        let body = checked(bytes)?;
        let works = body[HEAD_BYTES..].chunks_exact(WORK_BYTES);
        if works.len() > MAX_WORKS_PER_TASK {
            return Err(wrong_length);
        }
        Ok(Self {
            new_block: body[4] & 1 != 0,
            diff: body[5],
            works: works
                .map(|entry| WorkEntry {
                    id: u32_at(entry, 0),
                    work: Work {
                        midstate: Midstate::from_wire(array_at(entry, 4)),
                        tail: Tail::from_wire(array_at(entry, 36)),
                    },
                })
                .collect(),
        })
    }
}
