use bytes::{BufMut, Bytes};

use super::{TX_CONFIG, TokenError, array_at, begin, checked, expect_size, finish, u16_at};
use crate::Layout;

/// Total bytes of a configuration in each layout; the controller looks for the
/// checksum at these fixed places.
const BYTES_S1: usize = 20;
const BYTES_S3: usize = 24;

/// Which fields of a [`TxConfig`] the controller shall apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConfigFlags {
    /// Drop queued works and results, zero the counters, leave the running state.
    pub reset: bool,
    /// Take `fan_pwm`.
    pub fan: bool,
    /// Take `timeout_ms`.
    pub timeout: bool,
    /// Take `frequency_mhz`.
    pub frequency: bool,
    /// Take `voltage`.
    pub voltage: bool,
    /// Take `chain_check_time`.
    pub chain_check_time: bool,
    /// Write `reg_data` to the chips' register `reg_address`.
    pub chip_config: bool,
    /// S3: verify every nonce, count errors, obey the works' difficulty. Taken from
    /// every configuration, set or not. S1 images always verify.
    pub hw_error: bool,
}

impl ConfigFlags {
    /// From the wire's byte; the first named flag is bit 0.
    pub const fn from_bits(bits: u8) -> Self {
        Self {
            reset: bits & 0x01 != 0,
            fan: bits & 0x02 != 0,
            timeout: bits & 0x04 != 0,
            frequency: bits & 0x08 != 0,
            voltage: bits & 0x10 != 0,
            chain_check_time: bits & 0x20 != 0,
            chip_config: bits & 0x40 != 0,
            hw_error: bits & 0x80 != 0,
        }
    }

    /// The wire's byte.
    pub const fn bits(self) -> u8 {
        self.reset as u8
            | (self.fan as u8) << 1
            | (self.timeout as u8) << 2
            | (self.frequency as u8) << 3
            | (self.voltage as u8) << 4
            | (self.chain_check_time as u8) << 5
            | (self.chip_config as u8) << 6
            | (self.hw_error as u8) << 7
    }
}

/// The second flag byte, S3 only, taken from every configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ControlFlags {
    /// The board may beep.
    pub beeper: bool,
    /// On the known S3 image 1 *disables* the main over-temperature stop. Never set.
    pub temp_over_ctrl: bool,
    /// A quieter fan law on later models; without effect on the known images.
    pub fan_home_mode: bool,
}

impl ControlFlags {
    /// From the wire's byte.
    pub const fn from_bits(bits: u8) -> Self {
        Self {
            beeper: bits & 0x01 != 0,
            temp_over_ctrl: bits & 0x02 != 0,
            fan_home_mode: bits & 0x04 != 0,
        }
    }

    /// The wire's byte.
    pub const fn bits(self) -> u8 {
        self.beeper as u8 | (self.temp_over_ctrl as u8) << 1 | (self.fan_home_mode as u8) << 2
    }
}

/// The voltage field as it travels: on an S3 four binary-coded decimal digits of
/// millivolts, on an S1 the constant 5. Known images store it and do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Voltage(pub u16);

impl Voltage {
    /// What every S1 host sends.
    pub const S1: Self = Self(5);
    /// Leaves the voltage of an S3 alone.
    pub const UNSET: Self = Self(0);

    /// From millivolts, at most 9999.
    pub const fn from_millivolts(millivolts: u16) -> Option<Self> {
        if millivolts > 9999 {
            return None;
        }
        Some(Self(
            (millivolts / 1000) << 12
                | (millivolts / 100 % 10) << 8
                | (millivolts / 10 % 10) << 4
                | (millivolts % 10),
        ))
    }

    /// In millivolts, unless a digit is above 9.
    pub fn millivolts(self) -> Option<u16> {
        (0..4).rev().try_fold(0, |sum, place| {
            let digit = self.0 >> (4 * place) & 0xf;
            (digit <= 9).then_some(sum * 10 + digit)
        })
    }
}

/// Token 0x51: settings of the board. There is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxConfig {
    /// Which of the other fields count.
    pub flags: ConfigFlags,
    /// S3 only.
    pub control: ControlFlags,
    /// Stored only.
    pub chain_check_time: u8,
    /// Chains, stored only.
    pub chain_num: u8,
    /// Chips on a chain, stored only.
    pub asic_num: u8,
    /// 0 to 0xa0 for 0 to 100 %; stored only, the controller drives its fans alone.
    pub fan_pwm: u8,
    /// Period of the work timer in milliseconds.
    pub timeout_ms: u8,
    /// Whole MHz for people; the register decides.
    pub frequency_mhz: u16,
    /// Core voltage.
    pub voltage: Voltage,
    /// Register bytes; the first two reach the chips.
    pub reg_data: [u8; 4],
    /// Stored; the write is always a broadcast.
    pub chip_address: u8,
    /// 4 is the PLL; other registers have no effect.
    pub reg_address: u8,
}

impl TxConfig {
    /// The packet's bytes: 20 (S1) or 24 (S3). An S1 carries the low byte of the
    /// voltage and no control flags.
    pub fn encode(&self, layout: Layout) -> Bytes {
        let mut packet;
        match layout {
            Layout::S1 => {
                packet = begin(layout, TX_CONFIG, BYTES_S1);
                packet.put_u8(self.flags.bits());
                packet.put_u8(0);
                self.put_common(&mut packet);
                packet.put_u8(self.voltage.0.to_le_bytes()[0]);
                packet.put_u8(self.chain_check_time);
            }
            Layout::S3 => {
                packet = begin(layout, TX_CONFIG, BYTES_S3);
                packet.put_u8(self.flags.bits());
                packet.put_u8(self.control.bits());
                packet.put_u8(self.chain_check_time);
                packet.put_u8(0);
                self.put_common(&mut packet);
                packet.put_u16(self.voltage.0);
            }
        }
        packet.put_slice(&self.reg_data);
        packet.put_u8(self.chip_address);
        packet.put_u8(self.reg_address);
        finish(packet)
    }

    /// The run of fields that both layouts share.
    fn put_common(&self, packet: &mut impl BufMut) {
        packet.put_u8(self.chain_num);
        packet.put_u8(self.asic_num);
        packet.put_u8(self.fan_pwm);
        packet.put_u8(self.timeout_ms);
        packet.put_u16_le(self.frequency_mhz);
    }

    /// Decodes exactly one configuration.
    ///
    /// # Errors
    /// [`TokenError`] for a wrong size or checksum.
    pub fn decode(layout: Layout, bytes: &[u8]) -> Result<Self, TokenError> {
        let size = match layout {
            Layout::S1 => BYTES_S1,
            Layout::S3 => BYTES_S3,
        };
        expect_size(layout, bytes, size)?;
        let body = checked(bytes)?;
        // Both layouts end alike; the runs before start at different places.
        let (flags_at, common, check_at, control, voltage) = match layout {
            Layout::S1 => (2, 4, 11, 0, u16::from(body[10])),
            Layout::S3 => (4, 8, 6, body[5], u16::from_be_bytes(array_at(body, 14))),
        };
        let end = size - 8;
        Ok(Self {
            flags: ConfigFlags::from_bits(body[flags_at]),
            control: ControlFlags::from_bits(control),
            chain_check_time: body[check_at],
            chain_num: body[common],
            asic_num: body[common + 1],
            fan_pwm: body[common + 2],
            timeout_ms: body[common + 3],
            frequency_mhz: u16_at(body, common + 4),
            voltage: Voltage(voltage),
            reg_data: array_at(body, end),
            chip_address: body[end + 4],
            reg_address: body[end + 5],
        })
    }
}
