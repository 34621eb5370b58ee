//! What this project ever sends to a controller: the narrow door to the wire.
//!
//! The codec in [`crate::token`] can express every packet; a controller checks
//! almost nothing and some packets erase its program, overrun its memory or overheat its
//! chips (protocol reference, section 8). A [`Command`] can only be made here, from
//! values that are safe by their type, and the host sends nothing else.
//!
//! | Rule of the reference | Kept by |
//! | --- | --- |
//! | at most 394 bytes a transfer | [`Works`] holds at most 8 works |
//! | never begin with `55 aa aa bb` | every command begins with 0x51, 0x52 or 0x53 |
//! | clock from the model's own table, never an empty register | [`Clock`] |
//! | timeout 1 to 69 ms | [`Clock::timeout_ms`] |
//! | never `temp_over_ctrl` | always 0 here |
//! | no work with midstate byte 31 = 0xaa to an S3 | [`Works::push`] |
//! | boot loader gets only two frames | [`crate::boot_loader`] |

use bytes::Bytes;

use crate::token::{
    ConfigFlags, ControlFlags, MAX_WORKS_PER_TASK, RxStatus, TxConfig, TxTask, Voltage, WorkEntry,
};
use crate::{Clock, Layout};

/// Fan setting for full speed. Known images ignore it and drive their fans alone;
/// others may not, and then full speed is the safe wish.
const FAN_FULL: u8 = 0xa0;

/// Register address of the PLL.
const PLL_REGISTER: u8 = 4;

/// One packet that is safe to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    bytes: Bytes,
    kind: CommandKind,
}

/// What a [`Command`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// Asks for a status.
    Poll,
    /// Flushes the device and asks for a status.
    Detect,
    /// Sets the clock.
    Configure,
    /// Carries works.
    Works,
}

impl Command {
    /// Asks for a status and changes nothing.
    pub fn poll(layout: Layout) -> Self {
        Self {
            bytes: RxStatus::POLL.encode(layout),
            kind: CommandKind::Poll,
        }
    }

    /// Drops all works and results on the device, zeroes its counters, and asks for a
    /// status.
    pub fn detect(layout: Layout) -> Self {
        Self {
            bytes: RxStatus::DETECT.encode(layout),
            kind: CommandKind::Detect,
        }
    }

    /// Resets the device and sets clock and work period.
    ///
    /// An S3 is told to verify every nonce itself: it then counts its errors and
    /// wrong nonces cost no transfer. `chains` and `chips` are stored only.
    pub fn configure(clock: Clock, chains: u8, chips: u8) -> Self {
        let layout = clock.model().layout();
        let config = TxConfig {
            flags: ConfigFlags {
                reset: true,
                fan: true,
                timeout: true,
                frequency: true,
                voltage: true,
                chain_check_time: false,
                chip_config: true,
                hw_error: layout == Layout::S3,
            },
            control: ControlFlags::default(),
            chain_check_time: 0,
            // Both must be above 0 for hosts of the same family; so they are here.
            chain_num: chains.max(1),
            asic_num: chips.max(1),
            fan_pwm: FAN_FULL,
            timeout_ms: clock.timeout_ms(),
            frequency_mhz: clock.whole_mhz(),
            voltage: match layout {
                Layout::S1 => Voltage::S1,
                Layout::S3 => Voltage::UNSET,
            },
            reg_data: clock.reg_data(),
            chip_address: 0,
            reg_address: PLL_REGISTER,
        };
        Self {
            bytes: config.encode(layout),
            kind: CommandKind::Configure,
        }
    }

    /// Gives works to the device.
    pub fn works(works: Works) -> Self {
        let task = TxTask {
            new_block: false,
            diff: 0,
            works: works.entries,
        };
        Self {
            bytes: task.encode(),
            kind: CommandKind::Works,
        }
    }

    /// What it is for.
    pub const fn kind(&self) -> CommandKind {
        self.kind
    }

    /// The packet.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Works for one packet: at most 8, each runnable on the layout's chips.
#[derive(Debug, Clone)]
pub struct Works {
    layout: Layout,
    entries: Vec<WorkEntry>,
}

impl Works {
    /// No works yet.
    pub const fn new(layout: Layout) -> Self {
        Self {
            layout,
            entries: Vec::new(),
        }
    }

    /// Adds a work, or gives it back when the packet is full or the device would
    /// silently drop it.
    ///
    /// # Errors
    /// The entry itself.
    pub fn push(&mut self, entry: WorkEntry) -> Result<(), WorkEntry> {
        let is_dropped = self.layout == Layout::S3 && entry.work.midstate.is_dropped_by_s3();
        if is_dropped || self.entries.len() == MAX_WORKS_PER_TASK {
            return Err(entry);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::{Midstate, Tail, Work, to_hex};
    use proptest::prelude::*;

    use super::*;
    use crate::Model;
    use crate::token::Request;
    use crate::transport::MAX_OUT_BYTES;
    use crate::vectors::{bytes, vectors};

    fn entry(id: u32, last_word: u32) -> WorkEntry {
        WorkEntry {
            id,
            work: Work {
                midstate: Midstate([0, 0, 0, 0, 0, 0, 0, last_word]),
                tail: Tail([0; 3]),
            },
        }
    }

    #[test]
    fn commands_are_the_packets_of_the_vectors() {
        let vectors = vectors();
        let packets = vectors["packets"].as_array().unwrap();
        let wire = |layout: &str, name: &str| {
            let packet = packets
                .iter()
                .find(|p| p["name"] == name && p["layout"] == layout)
                .unwrap();
            to_hex(&bytes(&packet["hex"]))
        };
        let hex = |command: &Command| to_hex(command.bytes());
        for (layout, name) in [(Layout::S1, "S1"), (Layout::S3, "S3")] {
            assert_eq!(hex(&Command::poll(layout)), wire(name, "rxstatus_poll"));
            assert_eq!(hex(&Command::detect(layout)), wire(name, "rxstatus_detect"));
        }
        let stock = Command::configure(Clock::stock(Model::AntminerS1), 2, 32);
        assert_eq!(hex(&stock), wire("S1", "txconfig_350MHz_reset"));
        // The recorded S3 configuration with verification also lets the board beep.
        let stock = Command::configure(Clock::stock(Model::AntminerS3), 2, 16);
        let mut recorded = bytes(
            &packets
                .iter()
                .find(|p| p["name"] == "txconfig_218_75MHz_reset_hw_error_beeper")
                .unwrap()["hex"],
        );
        recorded[5] = 0;
        assert_eq!(stock.bytes()[..22], recorded[..22]);
    }

    #[test]
    fn works_are_bounded_and_runnable() {
        let mut works = Works::new(Layout::S3);
        assert_eq!(
            works.push(entry(0, 0xaa00_0000)),
            Err(entry(0, 0xaa00_0000))
        );
        for id in 0..8 {
            assert_eq!(works.push(entry(id, 1)), Ok(()));
        }
        assert_eq!(works.push(entry(8, 1)), Err(entry(8, 1)));
        assert_eq!(Command::works(works).bytes().len(), MAX_OUT_BYTES);
        let mut works = Works::new(Layout::S1);
        assert_eq!(works.push(entry(0, 0xaa00_0000)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_command_breaks_a_safety_rule(mhz_at in 0usize..4000, s3 in any::<bool>(), chains: u8, chips: u8) {
            let model = if s3 { Model::AntminerS3 } else { Model::AntminerS1 };
            let layout = model.layout();
            let clock = Clock::new(model, mhz_at as f64 / 8.0).unwrap_or(Clock::stock(model));
            for command in [Command::poll(layout), Command::detect(layout), Command::configure(clock, chains, chips)] {
                let wire = command.bytes();
                prop_assert!(wire.len() <= MAX_OUT_BYTES);
                prop_assert!(!wire.starts_with(&[0x55, 0xaa, 0xaa, 0xbb]));
                if let Ok(Request::Config(config)) = Request::decode(layout, wire) {
                    prop_assert!(!config.control.temp_over_ctrl);
                    prop_assert!((1..=69).contains(&config.timeout_ms));
                    prop_assert_ne!(config.reg_data, [0; 4]);
                    let word = u16::from_be_bytes([config.reg_data[0], config.reg_data[1]]);
                    let on_board = Clock::from_word(model, word).unwrap();
                    let limit = if s3 { 250.0 } else { 468.0 };
                    prop_assert!(on_board.mhz() <= limit);
                }
            }
        }
    }
}
