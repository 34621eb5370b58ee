use bytes::{BufMut, Bytes};

use super::{RX_STATUS, TokenError, begin, checked, expect_size, finish};
use crate::Layout;

/// Total bytes of a query in each layout; the controller looks for the checksum at
/// these fixed places.
const BYTES_S1: usize = 8;
const BYTES_S3: usize = 12;

/// Token 0x53: asks for one status reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxStatus {
    /// Asks for a chip register; the known images only store the two addresses.
    pub chip_status: bool,
    /// Drops queued works and results and zeroes all counters before the reply.
    pub detect: bool,
    /// Chip whose register is meant.
    pub chip_address: u8,
    /// The register.
    pub reg_address: u8,
}

impl RxStatus {
    /// A question that changes nothing.
    pub const POLL: Self = Self {
        chip_status: false,
        detect: false,
        chip_address: 0,
        reg_address: 0,
    };

    /// Flushes everything and asks.
    pub const DETECT: Self = Self {
        detect: true,
        ..Self::POLL
    };

    /// The packet's bytes: 8 (S1) or 12 (S3).
    pub fn encode(&self, layout: Layout) -> Bytes {
        let (size, reserved) = match layout {
            Layout::S1 => (BYTES_S1, 1),
            Layout::S3 => (BYTES_S3, 3),
        };
        let mut packet = begin(layout, RX_STATUS, size);
        packet.put_u8(u8::from(self.chip_status) | u8::from(self.detect) << 1);
        packet.put_bytes(0, reserved);
        packet.put_u8(self.chip_address);
        packet.put_u8(self.reg_address);
        finish(packet)
    }

    /// Decodes exactly one query.
    ///
    /// # Errors
    /// [`TokenError`] for a wrong size or checksum.
    pub fn decode(layout: Layout, bytes: &[u8]) -> Result<Self, TokenError> {
        let (size, flags_at) = match layout {
            Layout::S1 => (BYTES_S1, 2),
            Layout::S3 => (BYTES_S3, 4),
        };
        expect_size(layout, bytes, size)?;
        let body = checked(bytes)?;
        Ok(Self {
            chip_status: body[flags_at] & 1 != 0,
            detect: body[flags_at] & 2 != 0,
            chip_address: body[size - 4],
            reg_address: body[size - 3],
        })
    }
}
