//! The generator behind every random choice of training.
//!
//! A stream is a pure function of (`rng_seed`, purpose, index), so a training
//! run has no generator state beyond its step number: a resumed run and a run
//! with other threads draw the same numbers. Only integer and exact floating
//! point operations are used, hence the same numbers on every machine.
//! It is no cryptographic generator; the network's oracle is `hasher-model`'s.

/// What a stream is drawn for; keeps the streams of one `rng_seed` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// First values of the latents; index = matrix.
    Initialisation = 1,
    /// Order of the training rows; index = epoch.
    Order = 2,
    /// Dither of the activations; index = step and chunk.
    Dither = 3,
    /// Which rows of a user's file become test rows; index = 0.
    Split = 4,
    /// Dither of a simulated evaluation; index = example and pass.
    Simulation = 5,
    /// Moves of input codes in an evaluation; index = example and pass.
    Jitter = 6,
}

/// xoshiro256++ 1.0 (Blackman, Vigna), seeded through SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Rng([u64; 4]);

/// One output of SplitMix64 after advancing `state`.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The stream of these three numbers.
    pub(crate) fn new(rng_seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut state = rng_seed;
        for part in [purpose as u64, index] {
            state = split_mix(&mut state) ^ part;
        }
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// The next 64 random bits.
    #[inline(always)]
    pub(crate) fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `0..bound` (`bound` > 0), with a bias below `bound` / 2⁶⁴.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Mean 0, variance 1: the sum of twelve uniform numbers minus six. Near
    /// enough to normal for first weights, and free of `ln` and `cos`, whose
    /// last bit differs between mathematics libraries.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum: u64 = (0..12).map(|_| self.next_u64() >> 32).sum();
        (sum as f64 / (1u64 << 32) as f64 - 6.0) as f32
    }

    /// Brings `values` into a random order (Fisher-Yates).
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| Rng::new(seed, purpose, index).next_u64();
        let base = first(1, Purpose::Order, 2);
        assert_eq!(base, first(1, Purpose::Order, 2));
        assert_ne!(base, first(2, Purpose::Order, 2));
        assert_ne!(base, first(1, Purpose::Dither, 2));
        assert_ne!(base, first(1, Purpose::Order, 3));
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut rng = Rng::new(5, Purpose::Initialisation, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(rng.normal())).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.04, "variance {variance}");
    }

    #[test]
    fn shuffle_keeps_every_value_once() {
        let mut values: Vec<u32> = (0..100).collect();
        Rng::new(3, Purpose::Order, 0).shuffle(&mut values);
        assert_ne!(values, (0..100).collect::<Vec<_>>());
        values.sort_unstable();
        assert_eq!(values, (0..100).collect::<Vec<_>>());
    }
}
