//! SHA-NI: the CPU's own SHA-256 instructions, four streams.
//!
//! `sha256rnds2` takes several cycles for two rounds but can begin a next one
//! before, so that one stream alone uses half of the unit at best.

use std::arch::x86_64::*;

use hasher_work::{Digest, INITIAL_STATE};

use crate::ahead::Ahead;
use crate::scan::{Candidates, Plan, ScanOrder};
use crate::sha256::{DIGEST_BITS, HEADER_BITS, K, MARKER, block, blocks};

/// Messages or numbers of one group.
pub(crate) const LANES: u32 = STREAMS as u32;
const STREAMS: usize = 4;

/// Proof that this CPU has SHA-NI, SSSE3 and SSE4.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShaNi(());

impl ShaNi {
    pub fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        there.then_some(Self(()))
    }

    /// See [`crate::kernel::Kernel::scan_groups`].
    pub fn scan_groups(self, plan: &Plan, first: u32, groups: u32) -> Candidates {
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe { scan_groups(plan, first, groups) }
    }

    /// Digests of the first few messages; how many.
    pub fn digest_group(
        self,
        messages: &[&[u8]],
        double: bool,
        digests: &mut [Digest],
        ahead: &mut Ahead,
    ) -> usize {
        // Often enough: a group is four messages at most.
        ahead.ask();
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe {
            match messages.len() {
                4.. => digest_group::<4>(messages, double, digests),
                3 => digest_group::<3>(messages, double, digests),
                2 => digest_group::<2>(messages, double, digests),
                _ => digest_group::<1>(messages, double, digests),
            }
        }
    }
}

/// One vector of each stream.
type Streams<const S: usize> = [__m128i; S];

/// State words of each stream as the instructions want them, high word first:
/// a b e f, and c d g h.
#[derive(Clone, Copy)]
struct State<const S: usize> {
    abef: Streams<S>,
    cdgh: Streams<S>,
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn vector([low, b, c, high]: [u32; 4]) -> __m128i {
    _mm_setr_epi32(
        low.cast_signed(),
        b.cast_signed(),
        c.cast_signed(),
        high.cast_signed(),
    )
}

impl<const S: usize> State<S> {
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn new([a, b, c, d, e, f, g, h]: [u32; 8]) -> Self {
        Self {
            abef: [vector([f, e, b, a]); S],
            cdgh: [vector([h, g, d, c]); S],
        }
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn add(&mut self, other: &Self) {
        for s in 0..S {
            self.abef[s] = _mm_add_epi32(self.abef[s], other.abef[s]);
            self.cdgh[s] = _mm_add_epi32(self.cdgh[s], other.cdgh[s]);
        }
    }

    /// a to d and e to h of each stream, low word first.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn words(&self) -> [Streams<S>; 2] {
        let (mut first, mut second) = (self.abef, self.cdgh);
        for s in 0..S {
            let abef = _mm_shuffle_epi32::<0x1b>(self.abef[s]); // now f e b a reversed: a b e f
            let cdgh = _mm_shuffle_epi32::<0x1b>(self.cdgh[s]);
            first[s] = _mm_unpacklo_epi64(abef, cdgh);
            second[s] = _mm_unpackhi_epi64(abef, cdgh);
        }
        [first, second]
    }

    /// Two rounds of which words 0 and 1 of `words` are W plus K.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn two_rounds(&mut self, words: Streams<S>) {
        for ((abef, cdgh), words) in self.abef.iter_mut().zip(&mut self.cdgh).zip(words) {
            let next = _mm_sha256rnds2_epu32(*cdgh, *abef, words);
            *cdgh = *abef;
            *abef = next;
        }
    }

    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn four_rounds(&mut self, words: Streams<S>) {
        self.two_rounds(words);
        self.two_rounds(high_half(words));
    }
}

/// Moves words 2 and 3 to where the instruction reads them.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn high_half<const S: usize>(words: Streams<S>) -> Streams<S> {
    let mut high = words;
    for word in &mut high {
        *word = _mm_shuffle_epi32::<0x0e>(*word);
    }
    high
}

/// Adds the constants of rounds 4·`n` to 4·`n` + 3.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn with_constants<const S: usize>(words: Streams<S>, n: usize) -> Streams<S> {
    let constants = vector(K.as_chunks().0[n]);
    let mut sums = words;
    for sum in &mut sums {
        *sum = _mm_add_epi32(*sum, constants);
    }
    sums
}

/// Replaces words 4·`n` − 16 to 4·`n` − 13 of the schedule by those that follow
/// the sixteen there are.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn expand<const S: usize>(words: &mut [Streams<S>; 4], n: usize) {
    let [b, c, d] = [1, 2, 3].map(|i| words[(n + i) % 4]);
    for (((a, b), c), d) in words[n % 4].iter_mut().zip(b).zip(c).zip(d) {
        let sum = _mm_sha256msg1_epu32(*a, b);
        let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(d, c));
        *a = _mm_sha256msg2_epu32(sum, d);
    }
}

/// Rounds 16 to 59.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn expanded_rounds<const S: usize>(state: &mut State<S>, words: &mut [Streams<S>; 4]) {
    macro_rules! unrolled {
        ($($n:literal)*) => { $(
            expand(words, $n);
            state.four_rounds(with_constants(words[$n % 4], $n));
        )* };
    }
    unrolled!(4 5 6 7 8 9 10 11 12 13 14);
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress<const S: usize>(state: &mut State<S>, mut words: [Streams<S>; 4]) {
    let mut now = *state;
    now.four_rounds(with_constants(words[0], 0));
    now.four_rounds(with_constants(words[1], 1));
    now.four_rounds(with_constants(words[2], 2));
    now.four_rounds(with_constants(words[3], 3));
    expanded_rounds(&mut now, &mut words);
    expand(&mut words, 15);
    now.four_rounds(with_constants(words[3], 15));
    state.add(&now);
}

/// The only block of a 32-byte message that `state` stands for.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn digest_block<const S: usize>(state: &State<S>) -> [Streams<S>; 4] {
    let [first, second] = state.words();
    [
        first,
        second,
        [vector([MARKER, 0, 0, 0]); S],
        [vector([0, 0, 0, DIGEST_BITS]); S],
    ]
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn swap_bytes(words: __m128i) -> __m128i {
    let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    _mm_shuffle_epi8(words, order)
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn digest_group<const S: usize>(messages: &[&[u8]], double: bool, digests: &mut [Digest]) -> usize {
    let messages = &messages[..S];
    let common = messages.iter().map(|m| blocks(m.len())).min().unwrap_or(0);
    let mut state = State::<S>::new(INITIAL_STATE);
    let mut padded = [0; 64];
    for number in 0..common {
        let mut words = [[_mm_setzero_si128(); S]; 4];
        for (s, message) in messages.iter().enumerate().take(S) {
            let bytes = block(message, number, &mut padded);
            for (words, bytes) in words.iter_mut().zip(bytes.as_chunks::<16>().0) {
                // SAFETY: the array has the 16 bytes that are read.
                words[s] = swap_bytes(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
            }
        }
        compress(&mut state, words);
    }
    for (s, message) in messages.iter().enumerate().take(S) {
        // What is longer than the shortest goes on alone.
        let mut alone = State {
            abef: [state.abef[s]],
            cdgh: [state.cdgh[s]],
        };
        for number in common..blocks(message.len()) {
            let bytes = block(message, number, &mut padded);
            let mut words = [[_mm_setzero_si128(); 1]; 4];
            for (words, bytes) in words.iter_mut().zip(bytes.as_chunks::<16>().0) {
                // SAFETY: the array has the 16 bytes that are read.
                words[0] = swap_bytes(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
            }
            compress(&mut alone, words);
        }
        [state.abef[s], state.cdgh[s]] = [alone.abef[0], alone.cdgh[0]];
    }
    if double {
        let words = digest_block(&state);
        state = State::new(INITIAL_STATE);
        compress(&mut state, words);
    }
    for (half, words) in state.words().into_iter().enumerate() {
        for (digest, words) in digests.iter_mut().zip(words) {
            let out = &mut digest.0.as_chunks_mut::<16>().0[half];
            // SAFETY: half a digest has the 16 bytes that are written.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), swap_bytes(words)) }
        }
    }
    S
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn scan_groups(plan: &Plan, first: u32, groups: u32) -> Candidates {
    let [w0, w1, w2, _] = [0, 1, 2, 3].map(|t| plan.words_and_constants[t].wrapping_sub(K[t]));
    let midstate = State::<STREAMS>::new(plan.midstate);
    let after_round_1 = State::<STREAMS>::new(plan.after_round_1);
    let marker = [vector([MARKER, 0, 0, 0]); STREAMS];
    let zero = [_mm_setzero_si128(); STREAMS];
    let length = [vector([0, 0, 0, HEADER_BITS]); STREAMS];
    for done in 0..groups {
        let number = first.wrapping_add(done.wrapping_mul(LANES));
        let mut block = [zero; 4];
        for (s, words) in block[0].iter_mut().enumerate() {
            let nonce = number.wrapping_add(s as u32);
            let w3 = match plan.order {
                ScanOrder::Chip => nonce,
                ScanOrder::Header => nonce.swap_bytes(),
            };
            *words = vector([w0, w1, w2, w3]);
        }
        block[1] = marker;
        block[3] = length;

        let mut state = after_round_1;
        state.two_rounds(high_half(with_constants(block[0], 0)));
        state.four_rounds(with_constants(marker, 1));
        state.four_rounds(with_constants(zero, 2));
        state.four_rounds(with_constants(length, 3));
        expanded_rounds(&mut state, &mut block);
        expand(&mut block, 15);
        state.four_rounds(with_constants(block[3], 15));
        state.add(&midstate);

        let mut block = digest_block(&state);
        let mut state = State::<STREAMS>::new(INITIAL_STATE);
        state.four_rounds(with_constants(block[0], 0));
        state.four_rounds(with_constants(block[1], 1));
        state.four_rounds(with_constants(block[2], 2));
        state.four_rounds(with_constants(block[3], 3));
        expanded_rounds(&mut state, &mut block);
        // h after round 63 is f after round 61.
        expand(&mut block, 15);
        state.two_rounds(with_constants(block[3], 15));
        let mut lanes = 0;
        for (s, abef) in state.abef.into_iter().enumerate() {
            let f = _mm_cvtsi128_si32(abef).cast_unsigned();
            let top = f.wrapping_add(INITIAL_STATE[7]).swap_bytes();
            lanes |= u32::from(top <= plan.top) << s;
        }
        if lanes != 0 {
            return Candidates {
                groups: done + 1,
                lanes,
            };
        }
    }
    Candidates { groups, lanes: 0 }
}
