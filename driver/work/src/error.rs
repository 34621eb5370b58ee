/// What can be wrong with a value of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// A byte string has another length than its meaning asks for.
    #[error("{what} must be {expected} bytes long, got {got}")]
    BadLength {
        /// The value that was being read, such as `header`.
        what: &'static str,
        /// Its only legal length in bytes.
        expected: usize,
        /// The length that was given, in bytes.
        got: usize,
    },
    /// A text is not hexadecimal.
    #[error("not hexadecimal: {0:?} at character {1}")]
    BadHex(char, usize),
    /// A hexadecimal text has an odd number of digits.
    #[error("hexadecimal text has an odd number of digits ({0})")]
    OddHex(usize),
    /// More zero bits were asked for than a digest has.
    #[error("zero bits must be 0 to 256, got {0}")]
    BadZeroBits(u32),
    /// A compact target (`nbits`) is negative, zero or larger than 256 bits.
    #[error("compact target 0x{0:08x} is negative, zero or too large")]
    BadCompactTarget(u32),
    /// A nonce range ends before it begins.
    #[error("nonce range is empty: {first} to {last}")]
    EmptyRange {
        /// First nonce asked for.
        first: u32,
        /// Last nonce asked for.
        last: u32,
    },
    /// A search job cannot be carried out as written.
    #[error("search job: {0}")]
    BadJob(&'static str),
}
