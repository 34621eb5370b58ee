//! The daemon's side: slots come from a client that may be hostile.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use hasher_wire::DigestAlgorithm;
use hasher_work::Digest;

use crate::layout::{ALIVE, DIGESTS_AT, HEAD_BYTES, Head, Word, slot_at};
use crate::memory::Memory;
use crate::{MESSAGE_BYTES_MAX, MESSAGES_MAX, RingError, SLOTS};

/// The daemon's end of a ring. Dropping it ends the ring and gives its pages back, even if
/// the client keeps the descriptor.
#[derive(Debug)]
pub struct DaemonRing {
    memory: Memory,
    /// Its own count: the memory's is never read back.
    completed: u32,
    /// The client's count when it was looked at last. While it is ahead it is not looked at
    /// again: the client has that line.
    submitted: u32,
    /// Of the slot that was pulled last, out of the client's reach.
    head: Head,
    messages: Box<[u8]>,
}

impl DaemonRing {
    /// New memory, and the descriptor for the client.
    ///
    /// # Errors
    /// The system gives no memory or no descriptor.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (memory, descriptor) = Memory::new()?;
        memory.word(Word::Life).store(ALIVE, Release);
        let ring = Self {
            memory,
            completed: 0,
            submitted: 0,
            head: Head::new(DigestAlgorithm::Sha256),
            messages: vec![0; MESSAGE_BYTES_MAX].into(),
        };
        Ok((ring, descriptor))
    }

    /// The oldest slot that was handed in and is not completed, if there is one.
    ///
    /// # Errors
    /// The client broke a rule; nothing it hands in can be trusted any more.
    pub fn pull(&mut self) -> Result<Option<Order<'_>>, RingError> {
        if self.submitted == self.completed {
            self.submitted = self.memory.word(Word::Submitted).load(Acquire);
        }
        let pending = self.submitted.wrapping_sub(self.completed);
        if pending == 0 {
            return Ok(None);
        }
        if pending as usize > SLOTS {
            return Err(RingError::Slots(pending));
        }
        let (memory, slot) = (&self.memory, slot_at(self.completed));
        let head = &mut self.head;
        head.read(|at, bytes| memory.copy_out(slot + at, bytes))?;
        let bytes = &mut self.messages[..head.bytes];
        memory.copy_out(slot + HEAD_BYTES, bytes);
        let digests = head.count() * size_of::<Digest>();
        // The next one's messages are as long, in all likelihood.
        let next = if pending > 1 {
            HEAD_BYTES + bytes.len()
        } else {
            0
        };
        Ok(Some(Order {
            soon_written: memory.range(slot + DIGESTS_AT, digests),
            soon_read: memory.range(slot_at(self.completed.wrapping_add(1)), next),
            head,
            bytes,
        }))
    }

    /// Answers the slot that [`pull`](Self::pull) gave.
    ///
    /// # Panics
    /// When there are more digests than a slot has room for.
    pub fn complete(&mut self, digests: &[Digest]) {
        assert!(digests.len() <= MESSAGES_MAX, "one digest a message");
        let mut at = slot_at(self.completed) + DIGESTS_AT;
        for digest in digests {
            self.memory.copy_in(at, &digest.0);
            at += digest.0.len();
        }
        self.completed = self.completed.wrapping_add(1);
        let completed = self.memory.word(Word::Completed);
        completed.store(self.completed, Release);
    }

    /// Whether the client sleeps and wants a bell; asking is a promise to ring it.
    pub fn takes_bell(&self) -> bool {
        takes_bell(&self.memory, Word::ClientSleeps)
    }

    /// Tells the client that this side is going to sleep; false, and not told, if a slot was
    /// handed in meanwhile.
    pub fn sleep(&self) -> bool {
        sleep(&self.memory, Word::DaemonSleeps, || self.pending() > 0)
    }

    /// This side is awake again.
    pub fn wake(&self) {
        self.memory.word(Word::DaemonSleeps).store(0, Relaxed);
    }

    fn pending(&self) -> u32 {
        let submitted = self.memory.word(Word::Submitted).load(Acquire);
        submitted.wrapping_sub(self.completed)
    }
}

impl Drop for DaemonRing {
    fn drop(&mut self) {
        // First, so that whoever reads zeros afterwards finds this one, too.
        self.memory.word(Word::Life).store(0, SeqCst);
        self.memory.remove();
    }
}

/// What one slot asks for: a private copy.
#[derive(Debug)]
pub struct Order<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    /// Where the digests will be written: addresses for a processor that asks for memory
    /// ahead, not to be followed.
    pub soon_written: Range<*const u8>,
    /// Where the next slot will be read from, if it was handed in; the same.
    pub soon_read: Range<*const u8>,
}

impl<'a> Order<'a> {
    /// Which digest.
    pub const fn algorithm(&self) -> DigestAlgorithm {
        self.head.algorithm
    }

    /// The messages, in order: 1 to [`MESSAGES_MAX`].
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.bytes;
        self.head.lengths().map(move |length| {
            let (message, later) = rest.split_at(length);
            rest = later;
            message
        })
    }

    /// How long the messages are together.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Says that one side sleeps, unless `has_news`. The fence stands between the flag and the
/// look, and that of [`takes_bell`] between the news and its look at the flag: one of the
/// two sides sees what the other did, so no wake-up is lost.
pub(crate) fn sleep(memory: &Memory, flag: Word, has_news: impl Fn() -> bool) -> bool {
    memory.word(flag).store(1, Relaxed);
    fence(SeqCst);
    let sleeps = !has_news();
    if !sleeps {
        memory.word(flag).store(0, Relaxed);
    }
    sleeps
}

/// Whether the other side sleeps; it is told once.
pub(crate) fn takes_bell(memory: &Memory, flag: Word) -> bool {
    fence(SeqCst);
    memory.word(flag).load(Relaxed) != 0 && memory.word(flag).swap(0, Relaxed) != 0
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::RING_BYTES;

    #[test]
    fn more_slots_than_there_are_break_the_ring() {
        for slots in [17, u32::MAX] {
            let (mut ring, descriptor) = DaemonRing::new().unwrap();
            let client = File::from(descriptor);
            let bytes = slots.to_le_bytes();
            client.write_all_at(&bytes, Word::Submitted as u64).unwrap();
            assert_eq!(ring.pull().unwrap_err(), RingError::Slots(slots));
        }
    }

    #[test]
    fn what_is_written_after_the_look_changes_no_order() {
        let (mut ring, descriptor) = DaemonRing::new().unwrap();
        let mut client = crate::ClientRing::map(&descriptor).unwrap();
        client.submit(DigestAlgorithm::Sha256, &["before"]);
        let order = ring.pull().unwrap().unwrap();
        let file = File::from(descriptor);
        file.write_all_at(&[0xff; 1024], slot_at(0) as u64).unwrap();
        assert!(order.messages().eq([b"before"]));
        assert!(ring.pull().is_err(), "another look sees it");
    }

    #[test]
    fn a_ring_that_ended_holds_no_memory() {
        let (ring, descriptor) = DaemonRing::new().unwrap();
        let file = File::from(descriptor);
        file.write_all_at(&[7; RING_BYTES - 4096], 4096).unwrap();
        drop(ring);
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn whatever_a_client_writes_an_order_stays_in_its_slot(
            writes in vec((0..RING_BYTES as u64 - 16, vec(any::<u8>(), 1..16)), 0..8),
            head in vec(0u8..4, 8),
            submitted in 0u32..20,
        ) {
            let (mut ring, descriptor) = DaemonRing::new().unwrap();
            let client = File::from(descriptor);
            for slot in 0..SLOTS as u32 {
                client.write_all_at(&head, slot_at(slot) as u64).unwrap();
            }
            client.write_all_at(&submitted.to_le_bytes(), Word::Submitted as u64).unwrap();
            for (at, bytes) in writes {
                client.write_all_at(&bytes, at).unwrap();
            }
            for _ in 0..2 * SLOTS {
                let Ok(Some(order)) = ring.pull() else { break };
                let messages: Vec<_> = order.messages().collect();
                prop_assert!((1..=MESSAGES_MAX).contains(&messages.len()));
                prop_assert_eq!(messages.concat().len(), order.bytes());
                prop_assert!(order.bytes() <= MESSAGE_BYTES_MAX);
                let digests = vec![Digest([0; 32]); messages.len()];
                ring.complete(&digests);
            }
        }
    }
}
