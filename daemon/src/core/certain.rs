//! Which part of a nonce range was tried without a gap.

use std::collections::BTreeMap;

use hasher_work::NonceRange;

/// Collects swept pieces, which may come in any order, of one range.
#[derive(Debug, Default)]
pub(crate) struct Certain {
    /// Nonces from the start of the range without a gap.
    prefix: u64,
    /// Swept pieces beyond the first gap: start to end (excluded), as offsets.
    /// Never more than there are works of the job on devices.
    islands: BTreeMap<u64, u64>,
}

impl Certain {
    /// All of `piece`, a part of `range`, was tried.
    pub(crate) fn add(&mut self, range: NonceRange, piece: NonceRange) {
        let start = u64::from(piece.first().0) - u64::from(range.first().0);
        self.islands.insert(start, start + piece.count());
        while let Some(first) = self.islands.first_entry() {
            if *first.key() > self.prefix {
                break;
            }
            self.prefix = self.prefix.max(first.remove());
        }
    }

    /// Nonces tried from the start of the range without a gap.
    pub(crate) const fn nonces(&self) -> u64 {
        self.prefix
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::Nonce;

    use super::*;

    #[test]
    fn only_what_has_no_gap_before_it_is_certain() {
        let range = |first, last| NonceRange::new(Nonce(first), Nonce(last)).unwrap();
        let whole = range(100, 199);
        let mut certain = Certain::default();
        certain.add(whole, range(120, 129));
        assert_eq!(certain.nonces(), 0);
        certain.add(whole, range(100, 109));
        assert_eq!(certain.nonces(), 10);
        certain.add(whole, range(110, 114));
        assert_eq!(certain.nonces(), 15);
        certain.add(whole, range(115, 119));
        assert_eq!(certain.nonces(), 30);
    }
}
