//! Where everything lies in the memory, and what a slot's head says.

use hasher_wire::DigestAlgorithm;
use hasher_work::Digest;

use crate::RingError;

/// Slots of a ring: enough for one side to work while the other wakes up, few enough that
/// all of them stay in a core's second cache.
pub const SLOTS: usize = 16;

/// Most messages in one slot: from 128 on a vector engine gains nothing more.
pub const MESSAGES_MAX: usize = 128;

/// Bytes of the memory: a page of counters, and the slots.
pub const RING_BYTES: usize = COUNTERS_BYTES + SLOTS * SLOT_BYTES;

/// Most bytes that the messages of one slot may have together.
pub const MESSAGE_BYTES_MAX: usize = DIGESTS_AT - HEAD_BYTES;

/// Bytes before the first slot.
pub(crate) const COUNTERS_BYTES: usize = 4096;
/// Bytes of a slot.
const SLOT_BYTES: usize = 15 * 1024;
/// Where the lengths begin in a slot.
const LENGTHS_AT: usize = 64;
/// Bytes of a slot before its messages: algorithm, count and lengths.
pub(crate) const HEAD_BYTES: usize = LENGTHS_AT + 2 * MESSAGES_MAX;
/// Where the digests begin in a slot.
pub(crate) const DIGESTS_AT: usize = SLOT_BYTES - MESSAGES_MAX * size_of::<Digest>();

/// What [`Word::Life`] holds while the daemon serves the ring: "HSHR".
pub(crate) const ALIVE: u32 = u32::from_le_bytes(*b"HSHR");

/// A 32-bit word that both sides look at. Each lies in a pair of cache lines of its own,
/// because processors fetch two at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// [`ALIVE`] until the daemon ends the ring.
    Life = 0,
    /// Slots that the client has handed in, ever; wraps.
    Submitted = 128,
    /// Slots whose digests the daemon has written, ever; wraps.
    Completed = 256,
    /// 1 while the daemon wants a RingBell for the next slot that is handed in.
    DaemonSleeps = 384,
    /// 1 while the client wants a RingBell for the next slot that is completed.
    ClientSleeps = 512,
}

/// Where the slot begins that comes after so many others.
pub(crate) const fn slot_at(before: u32) -> usize {
    COUNTERS_BYTES + before as usize % SLOTS * SLOT_BYTES
}

/// What a slot says about its messages: checked numbers only.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) algorithm: DigestAlgorithm,
    /// As they lie in the slot, little end first.
    lengths: [[u8; 2]; MESSAGES_MAX],
    count: usize,
    /// How long the messages are together; at most [`MESSAGE_BYTES_MAX`].
    pub(crate) bytes: usize,
}

impl Head {
    /// Of no message.
    pub(crate) const fn new(algorithm: DigestAlgorithm) -> Self {
        Self {
            algorithm,
            lengths: [[0; 2]; MESSAGES_MAX],
            count: 0,
            bytes: 0,
        }
    }

    /// Adds a message of this length, if it fits.
    pub(crate) fn push(&mut self, length: usize) -> bool {
        let fits = self.count < MESSAGES_MAX && length <= MESSAGE_BYTES_MAX - self.bytes;
        if fits {
            self.lengths[self.count] = (length as u16).to_le_bytes();
            self.count += 1;
            self.bytes += length;
        }
        fits
    }

    /// How many messages there are.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// The lengths of the messages, in order.
    pub(crate) fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        let lengths = self.lengths[..self.count].iter();
        lengths.map(|length| usize::from(u16::from_le_bytes(*length)))
    }

    /// Takes in and checks what a client wrote; `copy_out` copies a slot's bytes, from so
    /// many after its beginning on. Nothing but what the messages need is looked at: each
    /// line comes from another processor.
    pub(crate) fn read(&mut self, copy_out: impl Fn(usize, &mut [u8])) -> Result<(), RingError> {
        let mut start = [0; 4];
        copy_out(0, &mut start);
        let [algorithm, _, low, high] = start;
        self.algorithm =
            DigestAlgorithm::from_code(algorithm).ok_or(RingError::Algorithm(algorithm))?;
        let messages = u16::from_le_bytes([low, high]);
        if !(1..=MESSAGES_MAX).contains(&messages.into()) {
            return Err(RingError::Messages(messages));
        }
        self.count = messages.into();
        copy_out(LENGTHS_AT, self.lengths[..self.count].as_flattened_mut());
        self.bytes = self.lengths().sum();
        if self.bytes > MESSAGE_BYTES_MAX {
            return Err(RingError::Bytes(self.bytes));
        }
        Ok(())
    }

    /// Writes what [`read`](Self::read) reads; `copy_in` copies bytes into the slot, to so
    /// many after its beginning.
    pub(crate) fn write(&self, mut copy_in: impl FnMut(usize, &[u8])) {
        let [low, high] = (self.count as u16).to_le_bytes();
        copy_in(0, &[self.algorithm.code(), 0, low, high]);
        copy_in(LENGTHS_AT, self.lengths[..self.count].as_flattened());
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read(slot: &[u8; HEAD_BYTES]) -> Result<(DigestAlgorithm, Vec<usize>), RingError> {
        let mut head = Head::new(DigestAlgorithm::Sha256);
        // Something that an earlier slot left.
        head.push(77);
        head.read(|at, bytes| bytes.copy_from_slice(&slot[at..][..bytes.len()]))?;
        let lengths: Vec<usize> = head.lengths().collect();
        assert_eq!(
            (head.count(), head.bytes),
            (lengths.len(), lengths.iter().sum())
        );
        Ok((head.algorithm, lengths))
    }

    #[test]
    fn the_layout_is_that_of_the_protocol() {
        assert_eq!((RING_BYTES, MESSAGE_BYTES_MAX), (249_856, 10_944));
        assert_eq!((HEAD_BYTES, DIGESTS_AT), (320, 11_264));
        assert_eq!(
            [0, 15, 16, u32::MAX].map(slot_at),
            [4096, 234_496, 4096, 234_496]
        );
    }

    #[test]
    fn each_rule_that_a_head_breaks_is_named() {
        let mut head = Head::new(DigestAlgorithm::Sha256d);
        assert!(head.push(10_944) && head.push(0) && !head.push(1));
        let mut good = [0; HEAD_BYTES];
        head.write(|at, bytes| good[at..][..bytes.len()].copy_from_slice(bytes));
        let (algorithm, lengths) = read(&good).unwrap();
        assert_eq!(
            (algorithm, lengths),
            (DigestAlgorithm::Sha256d, vec![10_944, 0])
        );
        let broken = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            read(&bytes).unwrap_err()
        };
        assert_eq!(broken(0, 3), RingError::Algorithm(3));
        assert_eq!(broken(2, 0), RingError::Messages(0));
        assert_eq!(broken(2, 129), RingError::Messages(129));
        assert_eq!(broken(3, 1), RingError::Messages(258));
        assert_eq!(broken(66, 1), RingError::Bytes(10_945));
    }

    proptest! {
        #[test]
        fn no_head_that_passes_leaves_its_slot(
            start in vec(any::<u8>(), 4),
            algorithm in 0u8..4,
            count in 0u16..140,
            lengths in vec(any::<u16>().prop_map(|n| n % 200), MESSAGES_MAX),
        ) {
            let mut bytes = [0; HEAD_BYTES];
            bytes[..4].copy_from_slice(&start);
            bytes[0] = algorithm;
            bytes[2..4].copy_from_slice(&count.to_le_bytes());
            for (at, length) in lengths.iter().enumerate() {
                bytes[LENGTHS_AT + 2 * at..][..2].copy_from_slice(&length.to_le_bytes());
            }
            let given: usize = lengths.iter().take(count.into()).map(|n| usize::from(*n)).sum();
            let is_good = (1..=2).contains(&algorithm)
                && (1..=128).contains(&count)
                && given <= MESSAGE_BYTES_MAX;
            match read(&bytes) {
                Ok((_, read)) => {
                    prop_assert!(is_good);
                    prop_assert_eq!(read.iter().sum::<usize>(), given);
                    prop_assert_eq!(read.len(), usize::from(count));
                }
                Err(_) => prop_assert!(!is_good),
            }
        }
    }
}
