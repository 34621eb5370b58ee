//! Soft-max attention in integers, head by head.
//!
//! It owns the order in which scores are computed: the keys of many positions side by side
//! in the CPU's vectors. Sums are exact, so no order changes a result.

use std::iter;

use hasher_kernel::Loop;

use crate::number::{Divisor, FloatDivisor, QUOTIENT_TERMS_MAX, exp2_negative};

/// Soft-max attention of some passes over the same positions.
pub(super) struct Attend<'a> {
    /// Values of a row, and of a head within it.
    pub width: usize,
    pub head: usize,
    pub positions: usize,
    pub is_causal: bool,
    pub score_factor: i64,
    pub query: &'a [i32],
    pub key: &'a [i32],
    pub value: &'a [i32],
    pub mixed: &'a mut [i32],
    pub scratch: &'a mut AttendScratch,
}

/// Room for what attention needs on the way.
#[derive(Debug, Default)]
pub(super) struct AttendScratch {
    /// One head's keys, number by number: those of all positions behind one another, made
    /// up with zeros to whole vectors.
    keys: Vec<i32>,
    /// Scores, then weights of some rows' positions.
    weights: Vec<i64>,
}

impl AttendScratch {
    /// Memory in use.
    pub fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<i32>() + self.weights.capacity() * size_of::<i64>()
    }
}

/// Positions whose keys are multiplied side by side.
const KEYS: usize = 16;
/// Positions whose queries share one reading of the keys.
const QUERIES: usize = 2;

impl Loop for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, head, positions) = (self.width, self.head, self.positions);
        let AttendScratch { keys, weights } = self.scratch;
        let padded = positions.next_multiple_of(KEYS);
        keys.clear();
        keys.resize(head * padded, 0);
        weights.resize(QUERIES * padded, 0);
        for first_row in (0..self.query.len() / width).step_by(positions) {
            for first in (0..width).step_by(head) {
                let begin = |position| (first_row + position) * width + first;
                for position in 0..positions {
                    let key = &self.key[begin(position)..][..head];
                    for (number, key) in key.iter().enumerate() {
                        keys[number * padded + position] = *key;
                    }
                }
                let values = &self.value[begin(0)..];
                for at in (0..positions).step_by(QUERIES) {
                    // The last query stands for those beyond it, too.
                    let query = |number: usize| {
                        &self.query[begin((at + number).min(positions - 1))..][..head]
                    };
                    // A masked position scores −2³⁰ and weighs nothing, by the model's
                    // bounds; leaving it out is the same.
                    let seen = |number: usize| {
                        if self.is_causal {
                            at + number + 1
                        } else {
                            positions
                        }
                    };
                    let queries = std::array::from_fn(query);
                    let last = seen(QUERIES - 1).min(positions);
                    for block in (0..last).step_by(KEYS) {
                        let products = products(queries, &keys[block..], padded);
                        for (number, products) in products.iter().enumerate() {
                            let scores = &mut weights[number * padded + block..];
                            write_scores(products, self.score_factor, scores);
                        }
                    }
                    for number in 0..QUERIES.min(positions - at) {
                        let weights = &mut weights[number * padded..][..seen(number)];
                        let total = soft_max(weights);
                        let mixed = &mut self.mixed[begin(at + number)..][..head];
                        mix(weights, values, width, total, mixed);
                    }
                }
            }
        }
    }
}

/// Base-2 scores in Q8 of inner products in Q32.
#[inline(always)]
fn write_scores(products: &[i64; KEYS], factor: i64, scores: &mut [i64]) {
    for (score, product) in iter::zip(scores, products) {
        *score = ((product >> 16) * factor) >> 24;
    }
}

/// Inner products of queries with the keys of [`KEYS`] positions; numbers of the same place
/// are `stride` apart in `keys`.
#[inline(always)]
fn products(queries: [&[i32]; QUERIES], keys: &[i32], stride: usize) -> [[i64; KEYS]; QUERIES] {
    let mut sums = [[0; KEYS]; QUERIES];
    for (number, keys) in keys.chunks(stride).enumerate() {
        let Some(keys) = keys.first_chunk::<KEYS>() else {
            break;
        };
        let wide = keys.map(i64::from);
        for (sums, query) in iter::zip(&mut sums, queries) {
            let query = i64::from(query[number]);
            for i in 0..KEYS {
                sums[i] += query * wide[i];
            }
        }
    }
    sums
}

/// Weights in Q16 in place of scores; their sum.
#[inline(always)]
fn soft_max(scores: &mut [i64]) -> i64 {
    let most = scores.iter().copied().max().unwrap_or(0);
    let mut total = 0;
    for score in scores {
        *score = exp2_negative(most - *score);
        total += *score;
    }
    total
}

/// The mean of rows of values, `stride` apart, by weights of this sum.
#[inline(always)]
fn mix(weights: &[i64], values: &[i32], stride: usize, total: i64, mixed: &mut [i32]) {
    /// Sums that stay in registers while all rows are added to them.
    const LANES: usize = 16;
    let (divisor, quotient) = (Divisor::new(total), FloatDivisor::new(total));
    for (number, mixed) in mixed.chunks_mut(LANES).enumerate() {
        let mut sums = [0; LANES];
        for (row, weight) in weights.iter().enumerate() {
            let row = &values[row * stride + number * LANES..];
            if let Some(row) = row.first_chunk::<LANES>() {
                // Beyond the head's end are values of the next one, not used below.
                for i in 0..LANES {
                    sums[i] += weight * i64::from(row[i]);
                }
            } else {
                iter::zip(&mut sums, row).for_each(|(sum, v)| *sum += weight * i64::from(*v));
            }
        }
        if weights.len() <= QUOTIENT_TERMS_MAX {
            let mut quotients = [0; LANES];
            for i in 0..LANES {
                quotients[i] = quotient.divide(sums[i] as f64);
            }
            match mixed.first_chunk_mut() {
                Some(mixed) => *mixed = quotients,
                None => mixed.copy_from_slice(&quotients[..mixed.len()]),
            }
        } else {
            // A mean is no larger than the largest of its numbers.
            iter::zip(mixed, sums).for_each(|(mixed, sum)| *mixed = divisor.divide(sum) as i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use hasher_kernel::{Backend, Kernel};
    use proptest::prelude::*;

    use super::*;

    /// The formula of the specification, one position and head after the other.
    fn plain(
        inputs: [&[i32]; 3],
        (width, head, positions): (usize, usize, usize),
        is_causal: bool,
        score_factor: i64,
    ) -> Vec<i32> {
        let [query, key, value] = inputs;
        let mut mixed = Vec::new();
        for row in 0..query.len() / width {
            let first_row = row / positions * positions;
            let last = if is_causal {
                row + 1
            } else {
                first_row + positions
            };
            for unit in 0..width {
                let first = unit / head * head;
                let scores: Vec<i64> = (first_row..last)
                    .map(|other| {
                        let pairs = (first..first + head).map(|i| {
                            i64::from(query[row * width + i]) * i64::from(key[other * width + i])
                        });
                        ((pairs.sum::<i64>() >> 16) * score_factor) >> 24
                    })
                    .collect();
                let most = scores.iter().copied().max().unwrap();
                let weights: Vec<i64> = scores.iter().map(|s| exp2_negative(most - s)).collect();
                let sum: i64 = iter::zip(first_row..last, &weights)
                    .map(|(other, weight)| weight * i64::from(value[other * width + unit]))
                    .sum();
                mixed.push(sum.div_euclid(weights.iter().sum()) as i32);
            }
        }
        mixed
    }

    proptest! {
        #[test]
        fn every_backend_attends_by_the_formula(
            passes in 1usize..3, positions in 1usize..40, heads in 1usize..4, head in 1usize..20,
            is_causal: bool, salt: u32, shift in 8u32..20,
        ) {
            let width = heads * head;
            let numbers = |salt: u32| -> Vec<i32> {
                (0..(passes * positions * width) as u32)
                    .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(salt) as i32) >> shift)
                    .collect()
            };
            let [query, key, value] = [0, 1, 2].map(|i| numbers(salt.wrapping_mul(i + 3)));
            let score_factor = 1 << 22;
            let expected = plain([&query, &key, &value], (width, head, positions), is_causal, score_factor);
            let mut scratch = AttendScratch::default();
            for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
                let mut mixed = vec![0; query.len()];
                kernel.run(Attend {
                    width,
                    head,
                    positions,
                    is_causal,
                    score_factor,
                    query: &query,
                    key: &key,
                    value: &value,
                    mixed: &mut mixed,
                    scratch: &mut scratch,
                });
                prop_assert_eq!(&mixed, &expected, "{}", kernel.backend());
            }
        }
    }

    proptest! {
        #[test]
        fn a_mixture_is_the_mean_rounded_down(
            weights in proptest::collection::vec(0i64..=1 << 16, 1..40), first: i32, head in 1usize..40,
        ) {
            const STRIDE: usize = 40;
            let values: Vec<i32> = (0..weights.len() * STRIDE)
                .map(|i| first.wrapping_mul(2 * i as i32 + 1).wrapping_add(i as i32))
                // The model's bounds leave out the least number.
                .map(|value| value.max(-i32::MAX))
                .collect();
            // The largest score weighs 2¹⁶.
            let mut weights = weights;
            weights[0] = 1 << 16;
            let total = weights.iter().sum();
            let mut mixed = vec![0; head];
            mix(&weights, &values, STRIDE, total, &mut mixed);
            for (at, mixed) in mixed.iter().enumerate() {
                let rows = weights.iter().enumerate();
                let sum: i64 = rows.map(|(row, w)| w * i64::from(values[row * STRIDE + at])).sum();
                prop_assert_eq!(i64::from(*mixed), sum.div_euclid(total));
            }
        }
    }
}
