use std::fmt;

use crate::WorkError;

/// The last four bytes of a header, read as the little-endian number that block
/// explorers print.
///
/// Chips count through the same four bytes as a *big-endian* word, called W3 in
/// SHA-256's message schedule. [`Nonce::from_w3`] and [`Nonce::w3`] cross over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub u32);

impl Nonce {
    /// From message word W3, the order in which chips count.
    pub const fn from_w3(w3: u32) -> Self {
        Self(w3.swap_bytes())
    }

    /// Message word W3, the order in which chips count.
    pub const fn w3(self) -> u32 {
        self.0.swap_bytes()
    }

    /// From the four bytes of a device's nonce reply, which hold W3 little-endian.
    pub const fn from_wire(bytes: [u8; 4]) -> Self {
        Self::from_w3(u32::from_le_bytes(bytes))
    }

    /// The four bytes of a device's nonce reply.
    pub const fn to_wire(self) -> [u8; 4] {
        self.w3().to_le_bytes()
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// The nonces from `first` to `last`, both included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NonceRange {
    first: u32,
    last: u32,
}

impl NonceRange {
    /// Every nonce there is, 2³² of them.
    pub const WHOLE: Self = Self {
        first: 0,
        last: u32::MAX,
    };

    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`WorkError::EmptyRange`] when `last` is below `first`.
    pub const fn new(first: Nonce, last: Nonce) -> Result<Self, WorkError> {
        if last.0 < first.0 {
            return Err(WorkError::EmptyRange {
                first: first.0,
                last: last.0,
            });
        }
        Ok(Self {
            first: first.0,
            last: last.0,
        })
    }

    /// First nonce of the range.
    pub const fn first(self) -> Nonce {
        Nonce(self.first)
    }

    /// Last nonce of the range.
    pub const fn last(self) -> Nonce {
        Nonce(self.last)
    }

    /// How many nonces the range holds, 1 to 2³².
    pub const fn count(self) -> u64 {
        self.last as u64 - self.first as u64 + 1
    }

    /// Whether `nonce` lies inside.
    pub const fn contains(self, nonce: Nonce) -> bool {
        self.first <= nonce.0 && nonce.0 <= self.last
    }

    /// Cuts off the first `count` nonces (at least 1): that piece, and the rest if
    /// anything is left.
    pub fn split_at(self, count: u64) -> (Self, Option<Self>) {
        let count = count.max(1);
        if count >= self.count() {
            return (self, None);
        }
        // count < 2³² here, so both conversions are exact.
        let cut = self.first + count as u32;
        (
            Self {
                first: self.first,
                last: cut - 1,
            },
            Some(Self {
                first: cut,
                last: self.last,
            }),
        )
    }
}

impl fmt::Display for NonceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first(), self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_splits_without_loss_or_overlap() {
        let (head, rest) = NonceRange::WHOLE.split_at(1 << 31);
        assert_eq!(head.count(), 1 << 31);
        let rest = rest.unwrap();
        assert_eq!(rest.first(), Nonce(1 << 31));
        assert_eq!(rest.last(), Nonce(u32::MAX));
        assert_eq!(rest.split_at(1 << 31), (rest, None));
        assert_eq!(NonceRange::WHOLE.split_at(0).0.count(), 1);
    }

    #[test]
    fn an_empty_range_is_refused() {
        assert!(NonceRange::new(Nonce(2), Nonce(1)).is_err());
        assert_eq!(NonceRange::new(Nonce(7), Nonce(7)).unwrap().count(), 1);
    }
}
