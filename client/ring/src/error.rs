use crate::{MESSAGE_BYTES_MAX, MESSAGES_MAX, SLOTS};

/// What is wrong with what the other side put into the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The client counts more slots than there are.
    #[error("{0} slots of the ring are handed in, it has {SLOTS}")]
    Slots(u32),
    /// The algorithm of a slot has no such number.
    #[error("a slot of the ring asks for algorithm {0}")]
    Algorithm(u8),
    /// A slot holds no message, or more than it has room for.
    #[error("a slot of the ring holds {0} messages, not 1 to {MESSAGES_MAX}")]
    Messages(u16),
    /// The messages of a slot are longer than it.
    #[error("the messages of a slot have {0} bytes, not at most {MESSAGE_BYTES_MAX}")]
    Bytes(usize),
    /// The daemon counts digests that nobody asked for.
    #[error("{0} slots of the ring are done, fewer were handed in")]
    Unasked(u32),
    /// The daemon has ended the ring.
    #[error("the daemon ended the ring")]
    Ended,
}
