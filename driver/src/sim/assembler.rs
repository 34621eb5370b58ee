//! How the controller puts a token together from USB packets.
//!
//! Owns the controller's OUT buffer and its two rules for the end of a token: a
//! packet shorter than 64 bytes, or the announced length. It does not look at
//! checksums and never resynchronises: the images do not either. Called with one USB
//! packet at a time by the simulated controller.

use crate::Layout;
use crate::token::Request;

/// Bytes of a full packet of the bulk endpoints (descriptor).
pub const PACKET_BYTES: usize = 64;

/// What a packet did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// The token goes on in the next packet.
    More,
    /// These bytes are the token, or whatever the host sent instead.
    Token(Vec<u8>),
    /// The buffer is full and the token is not at its end. The images write beyond
    /// it without a check (read in the images, not executed).
    Overrun,
}

/// The controller's OUT buffer.
#[derive(Debug)]
pub(super) struct Assembler {
    layout: Layout,
    buffer_bytes: usize,
    buffer: Vec<u8>,
}

impl Assembler {
    pub(super) fn new(layout: Layout, buffer_bytes: usize) -> Self {
        Self {
            layout,
            buffer_bytes,
            buffer: Vec::with_capacity(buffer_bytes),
        }
    }

    /// Takes one USB packet of at most [`PACKET_BYTES`].
    pub(super) fn packet(&mut self, packet: &[u8]) -> Assembled {
        debug_assert!(packet.len() <= PACKET_BYTES);
        if self.buffer.len() + packet.len() > self.buffer_bytes {
            self.buffer.clear();
            return Assembled::Overrun;
        }
        self.buffer.extend_from_slice(packet);
        let announced = Request::announced_length(self.layout, &self.buffer);
        let complete = announced.is_some_and(|bytes| self.buffer.len() >= bytes);
        if packet.len() == PACKET_BYTES && !complete {
            return Assembled::More;
        }
        Assembled::Token(std::mem::take(&mut self.buffer))
    }

    /// Forgets a token that was begun.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3() -> Assembler {
        Assembler::new(Layout::S3, 448)
    }

    #[test]
    fn a_short_packet_ends_a_token_whatever_it_announced() {
        let mut assembler = s3();
        let token = vec![0x52, 0, 0xff, 0];
        assert_eq!(assembler.packet(&token), Assembled::Token(token));
        assert_eq!(assembler.packet(&[]), Assembled::Token(vec![]));
    }

    #[test]
    fn the_announced_length_ends_a_token_without_a_short_packet() {
        let mut assembler = s3();
        let mut first = [0u8; 64];
        first[0] = 0x52;
        first[2] = 60; // 64 in all: the packet is the token
        assert_eq!(assembler.packet(&first), Assembled::Token(first.to_vec()));
        first[2] = 61;
        assert_eq!(assembler.packet(&first), Assembled::More);
        let Assembled::Token(token) = assembler.packet(&[7]) else {
            panic!("a short packet ends the token");
        };
        assert_eq!((token.len(), token[64]), (65, 7));
    }

    #[test]
    fn a_stray_full_packet_costs_the_next_token() {
        let mut assembler = s3();
        assert_eq!(assembler.packet(&[0xff; 64]), Assembled::More);
        let poll = [0x53, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x82, 0xef];
        let Assembled::Token(token) = assembler.packet(&poll) else {
            panic!("a short packet ends the token");
        };
        assert_eq!(
            token.len(),
            76,
            "the poll is buried behind the stray packet"
        );
        assert_eq!(assembler.packet(&poll), Assembled::Token(poll.to_vec()));
    }

    #[test]
    fn an_over_long_token_overruns_the_buffer() {
        for (layout, bytes, packets) in [(Layout::S1, 512, 8), (Layout::S3, 448, 7)] {
            let mut assembler = Assembler::new(layout, bytes);
            let mut packet = [0; 64];
            packet[0] = 0x52;
            packet[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
            for _ in 0..packets {
                assert_eq!(assembler.packet(&packet), Assembled::More);
            }
            assert_eq!(assembler.packet(&packet), Assembled::Overrun);
        }
    }
}
