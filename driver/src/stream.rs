//! Finds replies in the bytes that a device sends.
//!
//! Owns the one buffer between IN transfers and decoded replies, and the rule for
//! getting back in step: a byte that cannot begin a sound reply is dropped and the next
//! one is tried (protocol reference, section 7.4). It holds at most one announced
//! reply and one transfer. It has no clock: the caller says when waiting for the
//! rest of a reply has lasted too long.

use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::Layout;
use crate::token::{MAX_REPLY_BYTES, NONCE_REPLY, NonceReply, Reply, STATUS_REPLY, StatusReply};

/// How long the rest of a begun reply may be awaited. A device sends a reply without
/// pause, so a longer wait means that the announced length was noise (reference,
/// section 7.4).
pub const REST_WITHIN: Duration = Duration::from_millis(200);

/// Collects bytes of one device and yields its replies.
#[derive(Debug)]
pub struct Reassembler {
    layout: Layout,
    buffer: BytesMut,
    dropped: u64,
}

/// What the first bytes of the buffer say.
enum Head {
    /// More bytes are needed to tell.
    Short,
    /// No reply begins like this.
    Insane,
    /// A reply of this many bytes in total.
    Total(usize),
}

impl Reassembler {
    /// An empty buffer for one layout.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            buffer: BytesMut::with_capacity(MAX_REPLY_BYTES),
            dropped: 0,
        }
    }

    /// The layout that replies are read in.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Appends the bytes of one IN transfer. Take all replies out before the next
    /// one: the buffer then stays below one reply and one transfer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete reply, skipping whatever is none.
    ///
    /// While the front announces more bytes than there are, a sound reply further back
    /// unmasks it as noise: replies do not hold replies, and a checksum that fits by
    /// chance behind a sane head is rarer than any fault on the bus.
    pub fn next_reply(&mut self) -> Option<Reply> {
        loop {
            match self.head(0) {
                Head::Insane => self.drop_bytes(1),
                Head::Total(total) if total <= self.buffer.len() => match self.sound(0, total) {
                    Some(reply) => {
                        self.buffer.advance(total);
                        return Some(reply);
                    }
                    None => self.drop_bytes(1),
                },
                Head::Short | Head::Total(_) => {
                    let behind = (1..self.buffer.len()).find(|&at| self.is_reply(at))?;
                    self.drop_bytes(behind);
                }
            }
        }
    }

    /// Gives up waiting for the rest of the reply at the front, as after
    /// [`REST_WITHIN`]. Call [`next_reply`](Self::next_reply) afterwards: a sound
    /// reply may stand behind.
    pub fn give_up_waiting(&mut self) {
        if !self.buffer.is_empty() {
            self.drop_bytes(1);
        }
    }

    /// Drops everything that was collected.
    pub fn clear(&mut self) {
        self.dropped += self.buffer.len() as u64;
        self.buffer.clear();
    }

    /// Bytes that wait for the rest of their reply.
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that were dropped since the beginning.
    pub const fn dropped_bytes(&self) -> u64 {
        self.dropped
    }

    fn drop_bytes(&mut self, count: usize) {
        self.buffer.advance(count);
        self.dropped += count as u64;
    }

    /// Whether a complete, sound reply stands at `at`.
    fn is_reply(&self, at: usize) -> bool {
        match self.head(at) {
            Head::Total(total) if at + total <= self.buffer.len() => {
                self.sound(at, total).is_some()
            }
            _ => false,
        }
    }

    fn sound(&self, at: usize, total: usize) -> Option<Reply> {
        Reply::decode(self.layout, &self.buffer[at..at + total]).ok()
    }

    fn head(&self, at: usize) -> Head {
        let bytes = &self.buffer[at..];
        let is_sane = match bytes.first() {
            None => return Head::Short,
            Some(&STATUS_REPLY) => StatusReply::is_sane_total,
            Some(&NONCE_REPLY) => NonceReply::is_sane_total,
            Some(_) => return Head::Insane,
        };
        let total = match (self.layout, &bytes[1..]) {
            (Layout::S1, [length, ..]) => usize::from(*length) + 2,
            (Layout::S3, [version, ..]) if *version != 0 => return Head::Insane,
            (Layout::S3, [_, low, high, ..]) => usize::from(u16::from_le_bytes([*low, *high])) + 4,
            _ => return Head::Short,
        };
        if is_sane(self.layout, total) {
            Head::Total(total)
        } else {
            Head::Insane
        }
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::{Nonce, to_hex};
    use proptest::prelude::*;

    use super::*;
    use crate::token::FoundNonce;
    use crate::transport::MAX_IN_BYTES;
    use crate::vectors::{bytes, vectors};

    fn replies_of(layout: Layout, chunks: &[Vec<u8>]) -> (Vec<Reply>, Reassembler) {
        let mut stream = Reassembler::new(layout);
        let mut replies = Vec::new();
        for chunk in chunks {
            stream.push(chunk);
            replies.extend(std::iter::from_fn(|| stream.next_reply()));
            assert!(stream.waiting() < MAX_REPLY_BYTES);
        }
        (replies, stream)
    }

    #[test]
    fn streams_of_the_vectors_give_the_expected_packets() {
        let vectors = vectors();
        let streams = vectors["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 6);
        for stream in streams {
            let layout = match stream["layout"].as_str().unwrap() {
                "S1" => Layout::S1,
                _ => Layout::S3,
            };
            let list = |name: &str| stream[name].as_array().unwrap().iter().map(bytes).collect();
            let (chunks, expected): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
                (list("chunks"), list("expected_packets"));
            let (replies, rest) = replies_of(layout, &chunks);
            let replies: Vec<_> = replies.iter().map(|r| to_hex(&r.encode(layout))).collect();
            let expected: Vec<_> = expected.iter().map(|packet| to_hex(packet)).collect();
            assert_eq!(replies, expected, "{}", stream["name"]);
            assert_eq!(rest.waiting(), 0, "{}", stream["name"]);
        }
    }

    #[test]
    fn a_sound_reply_behind_a_false_start_does_not_wait() {
        let sound = Reply::Nonces(NonceReply::default());
        let mut stream = Reassembler::new(Layout::S3);
        stream.push(&[0xa1, 0, 0x2a, 0x04]); // announces 1070 bytes that never come
        assert_eq!(stream.next_reply(), None);
        stream.push(&sound.encode(Layout::S3));
        assert_eq!(stream.next_reply(), Some(sound));
        assert_eq!((stream.waiting(), stream.dropped_bytes()), (0, 4));
    }

    #[test]
    fn a_begun_reply_is_waited_for_until_given_up() {
        let sound = Reply::Nonces(NonceReply::default());
        let wire = sound.encode(Layout::S3);
        let mut stream = Reassembler::new(Layout::S3);
        stream.push(&[0xa1, 0, 0x2a, 0x04]);
        stream.push(&wire[..7]);
        assert_eq!(stream.next_reply(), None);
        stream.give_up_waiting();
        assert_eq!(stream.next_reply(), None);
        stream.push(&wire[7..]);
        assert_eq!(stream.next_reply(), Some(sound));
    }

    /// Sound replies and garbage between them.
    fn any_stream() -> impl Strategy<Value = (Layout, Vec<u8>)> {
        let piece = |layout| {
            let nonces =
                proptest::collection::vec(any::<(u32, u32)>(), 0..7).prop_map(move |nonces| {
                    Reply::Nonces(NonceReply {
                        fifo_space: 255,
                        nonces: nonces
                            .into_iter()
                            .map(|(work_id, nonce)| FoundNonce {
                                work_id,
                                nonce: Nonce(nonce),
                            })
                            .collect(),
                        ..NonceReply::default()
                    })
                    .encode(layout)
                    .to_vec()
                });
            let garbage = proptest::collection::vec(
                prop_oneof![Just(0xa1u8), Just(0xa2), Just(0), Just(14), any::<u8>()],
                0..40,
            );
            prop_oneof![2 => nonces, 1 => garbage]
        };
        prop_oneof![Just(Layout::S1), Just(Layout::S3)].prop_flat_map(move |layout| {
            proptest::collection::vec(piece(layout), 0..12)
                .prop_map(move |pieces| (layout, pieces.concat()))
        })
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_replies((layout, all) in any_stream(), cuts in proptest::collection::vec(1usize..MAX_IN_BYTES, 1..60)) {
            let (whole, whole_end) = replies_of(layout, std::slice::from_ref(&all));
            let mut chunks = Vec::new();
            let mut rest = all.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, more) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk.to_vec());
                rest = more;
            }
            let (split, split_end) = replies_of(layout, &chunks);
            prop_assert_eq!(&whole, &split);
            prop_assert_eq!(whole_end.dropped_bytes(), split_end.dropped_bytes());
            // Nothing vanishes: every byte is in a reply, dropped, or waiting.
            let used: usize = whole.iter().map(|r| r.encode(layout).len()).sum();
            prop_assert_eq!(
                used + whole_end.dropped_bytes() as usize + whole_end.waiting(),
                all.len()
            );
        }

        #[test]
        fn giving_up_often_enough_empties_the_buffer((layout, all) in any_stream()) {
            let (_, mut stream) = replies_of(layout, std::slice::from_ref(&all));
            for _ in 0..stream.waiting() {
                stream.give_up_waiting();
                while stream.next_reply().is_some() {}
            }
            prop_assert_eq!(stream.waiting(), 0);
        }
    }
}
