//! What differs between the boards of the family: packet layout and the numbers
//! of each model.
//!
//! Numbers come from the protocol reference (sections 1, 2.2, 6 and 6.8); each says
//! how sure it is. Nothing here was measured by this project on hardware.

use std::fmt;

/// Which of the two packet layouts a controller speaks. The USB descriptors do not
/// tell; the host asks in both and sees which one is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One-byte lengths, one-byte FIFO space in nonce replies.
    S1,
    /// Version byte and two-byte lengths: the S2 layout carried over USB.
    S3,
}

impl Layout {
    /// The model that is known to speak this layout.
    ///
    /// An early S3 may speak the S1 layout (reference, section 10); its product name
    /// does not settle that, so the layout decides and the S1's numbers then apply.
    pub const fn model(self) -> Model {
        match self {
            Self::S1 => Model::AntminerS1,
            Self::S3 => Model::AntminerS3,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S1 => "S1",
            Self::S3 => "S3",
        })
    }
}

/// A model of miner and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// Antminer S1: two chains of 32 BM1380.
    AntminerS1,
    /// Antminer S3: two chains of 16 BM1382.
    AntminerS3,
}

impl Model {
    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AntminerS1 => "Antminer S1",
            Self::AntminerS3 => "Antminer S3",
        }
    }

    /// The packet layout that its controller speaks.
    pub const fn layout(self) -> Layout {
        match self {
            Self::AntminerS1 => Layout::S1,
            Self::AntminerS3 => Layout::S3,
        }
    }

    /// Hash boards, one UART each (observed on the controller images).
    pub const fn chains(self) -> u8 {
        2
    }

    /// Chips on each chain (two sources agree).
    pub const fn chips_per_chain(self) -> u8 {
        match self {
            Self::AntminerS1 => 32,
            Self::AntminerS3 => 16,
        }
    }

    /// Hash cores in each chip. 63 is inferred from the S3's rated speed, not read
    /// from a datasheet.
    pub const fn cores_per_chip(self) -> u8 {
        match self {
            Self::AntminerS1 => 8,
            Self::AntminerS3 => 63,
        }
    }

    /// Slots of the controller's work ring.
    pub const fn fifo_slots(self) -> u32 {
        match self {
            Self::AntminerS1 => 360,
            Self::AntminerS3 => 460,
        }
    }

    /// Slots that the controller keeps back to match nonces with: 30 a chain.
    pub const fn fifo_reserve(self) -> u32 {
        60
    }

    /// Free places that an empty controller reports in a status reply.
    pub const fn fifo_depth(self) -> u32 {
        self.fifo_slots() - self.fifo_reserve()
    }

    /// Nonces that the controller queues for the host before it drops them.
    pub const fn nonce_queue(self) -> usize {
        match self {
            Self::AntminerS1 => 128,
            Self::AntminerS3 => 224,
        }
    }

    /// Most nonces in one reply of the known images.
    pub const fn nonces_per_reply(self) -> usize {
        match self {
            Self::AntminerS1 => 7,
            Self::AntminerS3 => 32,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
