//! AVX2: eight lanes, one stream. Sixteen registers hold no second one.

use std::arch::x86_64::*;

use hasher_work::Digest;

use crate::ahead::Ahead;
use crate::lanes::{self, Lanes, State, Words};
use crate::scan::{Candidates, Plan};
use crate::sha256::blocks;

/// Messages or numbers of one group.
pub(crate) const LANES: u32 = Avx2::COUNT as u32;

/// Proof that this CPU has AVX2, and FMA as nearly every one with AVX2 has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        there.then_some(Self(()))
    }

    /// See [`crate::kernel::Kernel::scan_groups`].
    pub fn scan_groups(self, plan: &Plan, first: u32, groups: u32) -> Candidates {
        // SAFETY: a value of this type exists only where the CPU has the feature.
        unsafe { scan_groups(self, plan, first, groups) }
    }

    /// Digests of [`LANES`] messages.
    pub fn digest_group(
        self,
        messages: &[&[u8]],
        double: bool,
        digests: &mut [Digest],
        ahead: &mut Ahead,
    ) {
        // SAFETY: a value of this type exists only where the CPU has the feature.
        unsafe { digest_group(self, messages, double, digests, ahead) }
    }
}

#[target_feature(enable = "avx2")]
fn scan_groups(l: Avx2, plan: &Plan, first: u32, groups: u32) -> Candidates {
    lanes::scan_groups::<_, 1>(l, plan, first, groups)
}

#[target_feature(enable = "avx2")]
fn digest_group(
    l: Avx2,
    messages: &[&[u8]],
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    lanes::digest_group::<_, 1>(l, messages, double, digests, ahead);
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn expand_and_round<const S: usize>(
    l: Avx2,
    state: &mut State<Avx2, S>,
    words: &mut Words<Avx2, S>,
    constants: &[u32; 16],
) {
    lanes::expand_and_round(l, state, words, constants);
}

// SAFETY of every block below that says "feature": a value of `Avx2` exists only
// where the CPU has AVX2.
impl Lanes for Avx2 {
    type Vector = __m256i;
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(self, word: u32) -> __m256i {
        // SAFETY: feature.
        unsafe { _mm256_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn count_from(self, first: u32) -> __m256i {
        // SAFETY: feature.
        unsafe {
            let steps = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_add_epi32(_mm256_set1_epi32(first.cast_signed()), steps)
        }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn add_where(self, mask: u32, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe {
            let bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let lanes = _mm256_and_si256(_mm256_set1_epi32(mask.cast_signed()), bit);
            let lanes = _mm256_cmpeq_epi32(lanes, bit);
            _mm256_add_epi32(a, _mm256_and_si256(b, lanes))
        }
    }

    #[inline(always)]
    fn rotate<const R: i32, const L: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe { _mm256_or_si256(_mm256_srli_epi32::<R>(a), _mm256_slli_epi32::<L>(a)) }
    }

    #[inline(always)]
    fn shift<const N: u32>(self, a: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe { _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    fn xor3(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe { _mm256_xor_si256(_mm256_xor_si256(a, b), c) }
    }

    #[inline(always)]
    fn choose(self, e: __m256i, f: __m256i, g: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe { _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g))) }
    }

    #[inline(always)]
    fn majority(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        // a ^ b of this round is b ^ c of the next: the compiler reuses it.
        // SAFETY: feature.
        unsafe {
            let (ab, bc) = (_mm256_xor_si256(a, b), _mm256_xor_si256(b, c));
            _mm256_xor_si256(b, _mm256_and_si256(ab, bc))
        }
    }

    #[inline(always)]
    fn swap_bytes(self, a: __m256i) -> __m256i {
        // SAFETY: feature.
        unsafe {
            let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
            _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order))
        }
    }

    #[inline(always)]
    fn at_most(self, a: __m256i, limit: __m256i) -> u32 {
        // SAFETY: feature.
        let lanes = unsafe {
            let is = _mm256_cmpeq_epi32(_mm256_min_epu32(a, limit), a);
            _mm256_movemask_ps(_mm256_castsi256_ps(is))
        };
        lanes.cast_unsigned()
    }

    #[inline(always)]
    fn load_block(self, messages: &[&[u8]], block: usize) -> [__m256i; 16] {
        // SAFETY: feature.
        unsafe { load_block(self, messages, block) }
    }

    #[inline(always)]
    fn store_digests(self, state: [__m256i; 8], digests: &mut [Digest]) {
        // SAFETY: feature.
        unsafe { store_digests(self, state, digests) }
    }

    #[inline(always)]
    fn expand_and_round<const S: usize>(
        self,
        state: &mut State<Self, S>,
        words: &mut Words<Self, S>,
        constants: &[u32; 16],
    ) {
        // SAFETY: feature.
        unsafe { expand_and_round(self, state, words, constants) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_block(l: Avx2, messages: &[&[u8]], block: usize) -> [__m256i; 16] {
    let mut halves = [[_mm256_setzero_si256(); 8]; 2];
    let mut padded = [0; 64];
    for (lane, message) in messages.iter().enumerate().take(8) {
        let row = crate::sha256::block(message, block.min(blocks(message.len()) - 1), &mut padded);
        for (half, bytes) in halves.iter_mut().zip(row.as_chunks::<32>().0) {
            // SAFETY: the array has the 32 bytes that are read.
            half[lane] = l.swap_bytes(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) });
        }
    }
    let [low, high] = halves.map(|rows| transpose(rows));
    std::array::from_fn(|word| if word < 8 { low[word] } else { high[word - 8] })
}

/// Word `j` of row `i` becomes word `i` of row `j`.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose([a, b, c, d, e, f, g, h]: [__m256i; 8]) -> [__m256i; 8] {
    let first = transpose_halves([a, b, c, d]);
    let second = transpose_halves([e, f, g, h]);
    let mut words = [a; 8];
    for i in 0..4 {
        words[i] = _mm256_permute2x128_si256::<0x20>(first[i], second[i]);
        words[4 + i] = _mm256_permute2x128_si256::<0x31>(first[i], second[i]);
    }
    words
}

/// Transposes the 4 × 4 words in each half of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_halves([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab_low, cd_low),
        _mm256_unpackhi_epi64(ab_low, cd_low),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_digests(l: Avx2, state: [__m256i; 8], digests: &mut [Digest]) {
    for (digest, words) in digests.iter_mut().zip(transpose(state)) {
        // SAFETY: a digest has the 32 bytes that are written.
        unsafe { _mm256_storeu_si256(digest.0.as_mut_ptr().cast(), l.swap_bytes(words)) }
    }
}
