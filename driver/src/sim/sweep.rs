//! How the simulated chips find nonces: the only place of the simulator that hashes.
//!
//! Owns the mapping between a sweep (so many nonces of one work, by all chips of a
//! chain side by side) and calls of the kernel. It never reads a clock: a find is
//! placed by the share of the sweep that was done when it was found, and the board
//! turns that into a moment. Called inline or on the sweeper thread.
//!
//! ```text
//!   position   0     1     2   …  31  │ 32    33   …        (32 chips)
//!   chip       0     1     2      31  │ 0     1
//!   W3        0<<27 1<<27 2<<27       │ +1    +1            top bits = chip
//! ```

use hasher_kernel::{ScanOrder, scan};
use hasher_work::{Nonce, Target, Work};

use super::book::{Book, SILICON_ZERO_BITS};

/// Most finds of one sweep that a chain reports. The mean is at most 1, so a 65th
/// is out of the question (Poisson); the bound is for a book full of one work.
pub const FINDS_PER_SWEEP_MAX: usize = 64;
/// Nonces hashed between two looks at the stop mark: less than a millisecond of any
/// CPU that tries two million in a second.
const SLICE_NONCES: u64 = 1 << 11;

/// A part of a work that all chips of one chain sweep together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// Ties the answer to the request; rises by one with every sweep of a board.
    pub ticket: u64,
    /// What to hash.
    pub work: Work,
    /// Chips on the chain, a power of two.
    pub chips: u32,
    /// First position.
    pub first: u64,
    /// How many positions.
    pub count: u64,
    /// Positions that stand for the work's whole nonce space: 2^zero_bits, as many
    /// as yield one find on average.
    pub space: u64,
    /// Leading zero bits that the chips demand.
    pub zero_bits: u32,
}

/// A nonce that passed the chips' filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Find {
    /// The nonce.
    pub nonce: Nonce,
    /// Share of the sweep that was done when it was found, above 0 and at most 1.
    pub progress: f64,
}

impl Sweep {
    /// Does the sweep: by the kernel, or from the book when it stands for the full
    /// 2³² nonces of silicon. Finds come in the order of their discovery.
    ///
    /// `go_on` is asked at least every millisecond; when it says no, the sweep ends
    /// without an answer.
    pub fn run(&self, book: &Book, go_on: impl FnMut() -> bool) -> Option<Vec<Find>> {
        let mut finds = if self.space == 1 << SILICON_ZERO_BITS {
            self.look_up(book)
        } else {
            self.scan(go_on)?
        };
        finds.sort_by(|a, b| {
            (a.progress.total_cmp(&b.progress)).then(a.nonce.w3().cmp(&b.nonce.w3()))
        });
        finds.truncate(FINDS_PER_SWEEP_MAX);
        Some(finds)
    }

    /// Bits of W3 that a chip counts through; the bits above are its number.
    const fn slice_bits(&self) -> u32 {
        32 - self.chips.trailing_zeros()
    }

    fn scan(&self, mut go_on: impl FnMut() -> bool) -> Option<Vec<Find>> {
        let target = Target::from_zero_bits(self.zero_bits.min(256))
            .expect("256 is the largest number of zero bits");
        let chips = u64::from(self.chips);
        let end = (self.first + self.count).min(self.space);
        let mut finds = Vec::new();
        for chip in 0..chips {
            // Positions p = offset · chips + chip with first ≤ p < end.
            let mut offset = self.first.saturating_sub(chip).div_ceil(chips);
            let offset_end = end.saturating_sub(chip).div_ceil(chips);
            while offset < offset_end {
                if !go_on() {
                    return None;
                }
                let count = (offset_end - offset).min(SLICE_NONCES);
                // Offsets stay below 2^slice_bits because positions stay below 2³².
                let w3 = ((chip << self.slice_bits()) + offset) as u32;
                scan(
                    &self.work,
                    w3,
                    count,
                    ScanOrder::Chip,
                    &target,
                    |nonce, _| {
                        let offset = u64::from(nonce.w3()) & ((1 << self.slice_bits()) - 1);
                        let done = offset * chips + chip + 1 - self.first;
                        finds.push(Find {
                            nonce,
                            progress: done as f64 / self.count as f64,
                        });
                        true
                    },
                );
                offset += count;
            }
        }
        Some(finds)
    }

    /// Every solution in the book is found, at its own share of the whole space: in
    /// which order a real chip's cores go through its slice is unknown, so which
    /// nonces the timer cuts off is unknown too. Only a work's first sweep asks.
    fn look_up(&self, book: &Book) -> Vec<Find> {
        if self.first > 0 {
            return Vec::new();
        }
        let space = self.space as f64;
        book.nonces(&self.work)
            .iter()
            .filter(|nonce| self.work.verify(**nonce, self.zero_bits).is_some())
            .map(|nonce| {
                let offset = u64::from(nonce.w3()) & ((1 << self.slice_bits()) - 1);
                Find {
                    nonce: *nonce,
                    progress: (offset + 1) as f64 * f64::from(self.chips) / space,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::Header;
    use proptest::prelude::*;

    use super::*;

    fn sweep(work: Work, chips: u32, first: u64, count: u64, bits: u32) -> Sweep {
        Sweep {
            ticket: 0,
            work,
            chips,
            first,
            count,
            space: 1 << bits,
            zero_bits: bits,
        }
    }

    #[test]
    fn a_stopped_sweep_has_no_answer() {
        let sweep = sweep(Header([3; 80]).work(), 16, 0, 1 << 14, 14);
        let mut asked = 0;
        let answer = sweep.run(&Book::of_blocks(), || {
            asked += 1;
            asked < 3
        });
        assert_eq!((answer, asked), (None, 3));
    }

    #[test]
    fn a_book_solution_is_found_by_the_chip_that_owns_it() {
        let genesis: Header = "0100000000000000000000000000000000000000000000000000000000000000\
            000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
            4b1e5e4a29ab5f49ffff001d1dac2b7c"
            .parse()
            .unwrap();
        let book = Book::of_blocks();
        for chips in [16, 32] {
            let mut sweep = sweep(genesis.work(), chips, 0, 3_000_000_000, 32);
            let finds = sweep.run(&book, || true).unwrap();
            assert_eq!(finds.len(), 1);
            assert_eq!(finds[0].nonce, genesis.nonce());
            assert!(finds[0].progress > 0.0 && finds[0].progress <= 1.0);
            sweep.zero_bits = 44; // the block's digest has 43
            assert_eq!(sweep.run(&book, || true).unwrap(), []);
        }
    }

    proptest! {
        #[test]
        fn a_sweep_in_parts_finds_what_a_whole_sweep_finds(seed in any::<[u8; 8]>(), cut in 0u64..4096, s1 in any::<bool>()) {
            let mut header = [0; 80];
            header[..8].copy_from_slice(&seed);
            let work = Header(header).work();
            let chips = if s1 { 32 } else { 16 };
            let book = Book::of_blocks();
            let nonces = |first, count| -> Vec<Nonce> {
                let mut sweep = sweep(work, chips, first, count, 12);
                sweep.zero_bits = 6;
                let finds = sweep.run(&book, || true).unwrap();
                assert!(finds.iter().all(|f| f.progress > 0.0 && f.progress <= 1.0));
                finds.iter().map(|find| find.nonce).collect()
            };
            // 4096 nonces at 6 bits give 64 on average: stay below the bound.
            let (a, b) = (nonces(0, cut.min(2000)), nonces(cut.min(2000), 2000 - cut.min(2000)));
            let whole = nonces(0, 2000);
            prop_assert_eq!([a, b].concat(), whole.clone());
            // Each nonce belongs to the slice of some chip and near its start.
            for nonce in whole {
                let offset = nonce.w3() & ((1 << (32 - chips.trailing_zeros())) - 1);
                prop_assert!(offset < 2000u32.div_ceil(chips));
            }
        }
    }
}
