//! The client's side.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use hasher_wire::DigestAlgorithm;
use hasher_work::Digest;

use crate::daemon::{sleep, takes_bell};
use crate::layout::{ALIVE, DIGESTS_AT, HEAD_BYTES, Head, Word, slot_at};
use crate::memory::Memory;
use crate::{RingError, SLOTS};

/// A client's end of a ring.
#[derive(Debug)]
pub struct ClientRing {
    memory: Memory,
    /// Slots handed in, ever. Its own count, as is the next: the memory's are the daemon's
    /// to read.
    submitted: u32,
    /// Slots whose digests were taken, ever.
    collected: u32,
    /// Messages in each slot.
    messages: [usize; SLOTS],
}

impl ClientRing {
    /// The ring behind a descriptor that the daemon passed.
    ///
    /// # Errors
    /// `InvalidData` when it is no such ring; else what the system said.
    pub fn map(descriptor: impl AsFd) -> io::Result<Self> {
        Ok(Self {
            memory: Memory::open(descriptor)?,
            submitted: 0,
            collected: 0,
            messages: [0; SLOTS],
        })
    }

    /// Slots that were handed in and whose digests were not taken.
    pub const fn in_flight(&self) -> usize {
        self.submitted.wrapping_sub(self.collected) as usize
    }

    /// Hands in the first of `messages` in one slot; says how many fit. None do when every
    /// slot is in flight, or when the first is longer than
    /// [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX).
    pub fn submit<M: AsRef<[u8]>>(&mut self, algorithm: DigestAlgorithm, messages: &[M]) -> usize {
        if self.in_flight() == SLOTS {
            return 0;
        }
        let slot = slot_at(self.submitted);
        let mut head = Head::new(algorithm);
        let mut at = slot + HEAD_BYTES;
        let mut count = 0;
        for message in messages {
            let message = message.as_ref();
            if !head.push(message.len()) {
                break;
            }
            self.memory.copy_in(at, message);
            at += message.len();
            count += 1;
        }
        if count > 0 {
            head.write(|at, bytes| self.memory.copy_in(slot + at, bytes));
            self.messages[self.submitted as usize % SLOTS] = count;
            self.submitted = self.submitted.wrapping_add(1);
            let submitted = self.memory.word(Word::Submitted);
            submitted.store(self.submitted, Release);
        }
        count
    }

    /// The digests of the oldest slot in flight, if they are there.
    ///
    /// # Errors
    /// [`RingError::Ended`], or [`RingError::Unasked`] from a daemon that counts wrongly.
    pub fn collect(&mut self) -> Result<Option<Vec<Digest>>, RingError> {
        let done = self.done();
        let slot = self.collected;
        let mut digests = Vec::new();
        if (1..=self.in_flight()).contains(&(done as usize)) {
            digests = vec![Digest([0; 32]); self.messages[slot as usize % SLOTS]];
            let mut at = slot_at(slot) + DIGESTS_AT;
            for digest in &mut digests {
                self.memory.copy_out(at, &mut digest.0);
                at += digest.0.len();
            }
        }
        // After all that was read: what a daemon that ends has cleared was none.
        fence(Acquire);
        if self.memory.word(Word::Life).load(Relaxed) != ALIVE {
            return Err(RingError::Ended);
        }
        if done == 0 {
            return Ok(None);
        }
        if digests.is_empty() {
            return Err(RingError::Unasked(done));
        }
        self.collected = self.collected.wrapping_add(1);
        Ok(Some(digests))
    }

    /// Whether the daemon sleeps and wants a bell; asking is a promise to ring it.
    pub fn takes_bell(&self) -> bool {
        takes_bell(&self.memory, Word::DaemonSleeps)
    }

    /// Tells the daemon that this side is going to sleep; false, and not told, if digests
    /// came meanwhile.
    pub fn sleep(&self) -> bool {
        sleep(&self.memory, Word::ClientSleeps, || self.done() > 0)
    }

    /// This side is awake again.
    pub fn wake(&self) {
        self.memory.word(Word::ClientSleeps).store(0, Relaxed);
    }

    fn done(&self) -> u32 {
        let completed = self.memory.word(Word::Completed).load(Acquire);
        completed.wrapping_sub(self.collected)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::{DaemonRing, MESSAGE_BYTES_MAX, MESSAGES_MAX};

    fn pair() -> (DaemonRing, ClientRing, File) {
        let (daemon, descriptor) = DaemonRing::new().unwrap();
        let client = ClientRing::map(&descriptor).unwrap();
        (daemon, client, descriptor.into())
    }

    /// Answers one slot; how many messages it had.
    fn serve(daemon: &mut DaemonRing) -> usize {
        let order = daemon.pull().unwrap().unwrap();
        let messages = order.messages();
        let digests: Vec<_> = messages.map(hasher_work::digest).collect();
        daemon.complete(&digests);
        digests.len()
    }

    #[test]
    fn digests_come_in_order_round_and_round() {
        let (mut daemon, mut client, _) = pair();
        for round in 0..5 * SLOTS {
            let messages: Vec<Vec<u8>> = (0..=round).map(|i| vec![i as u8; 3 * i]).collect();
            assert_eq!(client.submit(DigestAlgorithm::Sha256, &messages), round + 1);
            assert_eq!(client.collect(), Ok(None));
            assert_eq!(serve(&mut daemon), round + 1);
            let expected: Vec<_> = messages.iter().map(|m| hasher_work::digest(m)).collect();
            assert_eq!(client.collect(), Ok(Some(expected)));
        }
        assert!(daemon.pull().unwrap().is_none());
    }

    #[test]
    fn a_slot_takes_what_fits_and_a_full_ring_nothing() {
        let (mut daemon, mut client, _) = pair();
        let algorithm = DigestAlgorithm::Sha256d;
        assert_eq!(client.submit(algorithm, &[[0; MESSAGE_BYTES_MAX + 1]]), 0);
        assert_eq!(client.submit(algorithm, &[""; 0]), 0);
        assert_eq!(
            client.submit(algorithm, &[""; MESSAGES_MAX + 1]),
            MESSAGES_MAX
        );
        assert_eq!(
            client.submit(algorithm, &[[0; MESSAGE_BYTES_MAX / 2]; 3]),
            2
        );
        while client.in_flight() < SLOTS {
            assert_eq!(client.submit(algorithm, &["a"]), 1);
        }
        assert_eq!(client.submit(algorithm, &["a"]), 0);
        serve(&mut daemon);
        assert_eq!(
            client.submit(algorithm, &["a"]),
            0,
            "its digests are still there"
        );
        assert_eq!(client.collect().unwrap().unwrap().len(), MESSAGES_MAX);
        assert_eq!(client.submit(algorithm, &["a"]), 1);
    }

    #[test]
    fn a_sleeper_is_rung_once_and_does_not_sleep_over_news() {
        let (mut daemon, mut client, _) = pair();
        assert!(!client.takes_bell() && daemon.sleep());
        client.submit(DigestAlgorithm::Sha256, &["a"]);
        assert!(client.takes_bell() && !client.takes_bell());
        assert!(!daemon.sleep() && !client.takes_bell());
        assert!(client.sleep());
        serve(&mut daemon);
        assert!(daemon.takes_bell() && !daemon.takes_bell());
        assert!(!client.sleep() && !daemon.takes_bell());
        assert!(daemon.sleep());
        daemon.wake();
        assert!(!client.takes_bell());
    }

    #[test]
    fn zeros_of_a_ring_that_ended_are_no_digests() {
        let (mut daemon, mut client, file) = pair();
        client.submit(DigestAlgorithm::Sha256, &["a"]);
        serve(&mut daemon);
        drop(daemon);
        assert_eq!(client.collect(), Err(RingError::Ended));
        // Even if somebody makes them look complete.
        file.write_all_at(&[1, 0, 0, 0], Word::Completed as u64)
            .unwrap();
        assert_eq!(client.collect(), Err(RingError::Ended));
    }

    #[test]
    fn digests_that_nobody_asked_for_are_refused() {
        let (_daemon, mut client, file) = pair();
        client.submit(DigestAlgorithm::Sha256, &["a"]);
        file.write_all_at(&[2, 0, 0, 0], Word::Completed as u64)
            .unwrap();
        assert_eq!(client.collect(), Err(RingError::Unasked(2)));
    }
}
