//! The boot loader of the simulated board.
//!
//! Owns the loader's one waiting answer. It does what the real one does for the two
//! commands a host may send, and nothing for all others: erasing and programming are
//! not imitated (no code of this project can build those frames either). Called by
//! [`super::board`].

use bytes::Bytes;

use crate::boot_loader::{FRAME_BYTES, LoaderCommand, LoaderVersion};

/// Source: loader image, executed; a real S3's log says the same.
const VERSION: LoaderVersion = LoaderVersion { major: 1, minor: 0 };

/// A loader that waits for commands.
#[derive(Debug, Default)]
pub(super) struct Loader {
    reply: Option<Bytes>,
}

impl Loader {
    /// Takes one packet; whether the application is to be started.
    ///
    /// The loader always scans 64 bytes. What it makes of a shorter packet is unknown;
    /// this one ignores it, so that a host that forgets the padding notices.
    pub(super) fn packet(&mut self, packet: &[u8]) -> bool {
        if packet.len() != FRAME_BYTES {
            return false;
        }
        match LoaderCommand::decode(packet) {
            Ok(LoaderCommand::ReadVersion) => self.reply = Some(VERSION.frame()),
            Ok(LoaderCommand::RunApplication) => return true,
            Err(_) => {} // no answer to anything else
        }
        false
    }

    pub(super) const fn has_reply(&self) -> bool {
        self.reply.is_some()
    }

    pub(super) fn collect(&mut self) -> Option<Bytes> {
        self.reply.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, vectors};

    fn padded(frame: &[u8]) -> Vec<u8> {
        let mut packet = frame.to_vec();
        packet.resize(FRAME_BYTES, 0);
        packet
    }

    #[test]
    fn the_loader_answers_as_in_the_vectors() {
        let vectors = vectors();
        let frames = &vectors["bootloader"];
        let mut loader = Loader::default();
        let read = bytes(&frames["read_info"]);
        assert!(!loader.packet(&padded(&read)));
        let reply = loader.collect().unwrap();
        assert_eq!(reply, bytes(&frames["read_info_reply_v1_0"]));
        assert!(!loader.has_reply());
        assert!(!loader.packet(&read), "not padded: ignored");
        assert!(!loader.has_reply());
        assert!(loader.packet(&padded(&bytes(&frames["run_application"]))));
    }

    #[test]
    fn the_loader_is_silent_to_everything_else() {
        let mut loader = Loader::default();
        for frame in [
            &[0x53, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0x83, 0x0d][..], // an application's token
            &[0x01, 0x02, 0x42, 0x20, 0x04],                    // erase: CRC of 2 is 0x2042
            &[0x55, 0xaa, 0xaa, 0xbb],
            &[0xff; 64],
        ] {
            assert!(!loader.packet(&padded(frame)));
            assert!(!loader.has_reply());
        }
    }
}
