//! Randomness of the tests: one number decides everything.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough for schedules.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (at least 1).
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The seed from `HASHER_TEST_SEED`, else a new one; printed, so that a failed test
/// shows it.
pub(crate) fn test_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let seed = std::env::var("HASHER_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    println!("HASHER_TEST_SEED={seed}");
    seed
}
