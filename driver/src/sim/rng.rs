//! The simulator's own random numbers.
//!
//! Owns one SplitMix64 generator (public domain, Steele et al. 2014). It decides what
//! garbage looks like and which bit flips, never where a nonce lies. The same seed
//! gives the same numbers on every machine and for ever, which a crate's "standard"
//! generator does not promise. Used by the scripted faults only.

/// A generator with 64 bits of state; every seed is good.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(rng_seed: u64) -> Self {
        Self(rng_seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, 0 when `bound` is 0. The bias of the remainder does
    /// not matter for bounds this small.
    pub(super) const fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // First outputs for seed 1234567 of the reference implementation.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
        assert_eq!(rng.below(0), 0);
        assert!((0..100).all(|_| rng.below(7) < 7));
    }
}
