//! The controller's work ring and the works it can still match nonces with.
//!
//! Owns the ring arithmetic of the three firmware images, quirks included, and the
//! last 30 works of each chain. It knows no packets and no time. Used by the
//! simulated controller only; the host's side of this book-keeping is elsewhere and
//! shares no code, so that one cannot hide a mistake of the other.

use std::collections::VecDeque;

use crate::token::WorkEntry;

/// Works per chain that the controller can still match a nonce with. Source: all
/// three images, executed.
pub const MATCHED_WORKS: usize = 30;

/// A ring of works with one slot per place: when as many works lie in it as it has
/// slots, it reads as empty. That is how the real rings behave.
#[derive(Debug)]
pub(super) struct Ring {
    slots: Vec<Option<WorkEntry>>,
    /// Slots never offered to the host: 30 per chain.
    reserve: usize,
    read: usize,
    write: usize,
}

impl Ring {
    pub(super) fn new(slots: usize, reserve: usize) -> Self {
        Self {
            slots: vec![None; slots],
            reserve,
            read: 0,
            write: 0,
        }
    }

    /// Works not yet sent to a chain, as far as the indexes can tell.
    pub(super) fn unsent(&self) -> usize {
        (self.write + self.slots.len() - self.read) % self.slots.len()
    }

    /// What the controller reports as free.
    pub(super) fn space(&self) -> usize {
        (self.slots.len() - self.unsent()).saturating_sub(self.reserve)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read == self.write
    }

    /// Appends without a check, as the images do.
    pub(super) fn push(&mut self, entry: WorkEntry) {
        self.slots[self.write] = Some(entry);
        self.write = (self.write + 1) % self.slots.len();
    }

    pub(super) fn pop(&mut self) -> Option<WorkEntry> {
        if self.is_empty() {
            return None;
        }
        let entry = self.slots[self.read].take();
        self.read = (self.read + 1) % self.slots.len();
        entry
    }

    /// Drops the works that were not sent.
    pub(super) fn clear(&mut self) {
        self.slots.fill(None);
        self.read = self.write;
    }
}

/// The last works that one chain got, newest last.
#[derive(Debug, Default)]
pub(super) struct SentWorks(VecDeque<WorkEntry>);

impl SentWorks {
    pub(super) fn push(&mut self, entry: WorkEntry) {
        if self.0.len() == MATCHED_WORKS {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// The newest work whose number has these low five bits: all that a chip returns.
    pub(super) fn newest(&self, low_bits: u8) -> Option<&WorkEntry> {
        self.0
            .iter()
            .rev()
            .find(|entry| (entry.id & 0x1f) as u8 == low_bits)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::Header;

    use super::*;

    fn entry(id: u32) -> WorkEntry {
        WorkEntry {
            id,
            work: Header([id as u8; 80]).work(),
        }
    }

    #[test]
    fn a_ring_filled_to_the_last_slot_reads_empty() {
        let mut ring = Ring::new(360, 60);
        for i in 0..359 {
            ring.push(entry(i));
        }
        assert_eq!((ring.unsent(), ring.space()), (359, 0));
        ring.push(entry(359));
        assert_eq!((ring.unsent(), ring.space()), (0, 300));
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn works_leave_in_the_order_in_which_they_came() {
        let mut ring = Ring::new(5, 1);
        for round in 0..10 {
            ring.push(entry(round));
            ring.push(entry(round + 100));
            assert_eq!(ring.pop(), Some(entry(round)));
            assert_eq!(ring.pop(), Some(entry(round + 100)));
        }
        ring.push(entry(1));
        ring.clear();
        assert!(ring.is_empty());
        assert_eq!(ring.space(), 4);
    }

    #[test]
    fn a_nonce_is_given_to_the_newest_of_the_last_30_works() {
        let mut sent = SentWorks::default();
        assert_eq!(sent.newest(5), None);
        for id in (5..).step_by(32).take(3) {
            sent.push(entry(id));
        }
        assert_eq!(sent.newest(5), Some(&entry(69)));
        for id in 0..30 {
            sent.push(entry(1000 + id * 32));
        }
        assert_eq!(sent.newest(5), None, "older than 30 works");
    }
}
