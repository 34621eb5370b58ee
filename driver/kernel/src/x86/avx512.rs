//! AVX-512: sixteen lanes, two streams.
//!
//! A round's chain of dependent instructions is longer than the time in which a
//! unit of full width could issue all of them, so two vectors go side by side.

use std::arch::x86_64::*;

use hasher_work::Digest;

use crate::ahead::Ahead;
use crate::lanes::{self, Lanes, State, Words};
use crate::scan::{Candidates, Plan};
use crate::sha256::{MARKER, blocks};

/// Messages or numbers of one group.
pub(crate) const LANES: u32 = (STREAMS * Avx512::COUNT) as u32;
const STREAMS: usize = 2;

/// Proof that this CPU has AVX-512 F, BW, DQ and VL, as nearly every one with BW has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        there.then_some(Self(()))
    }

    /// See [`crate::kernel::Kernel::scan_groups`].
    pub fn scan_groups(self, plan: &Plan, first: u32, groups: u32) -> Candidates {
        // SAFETY: a value of this type exists only where the CPU has the features.
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
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe { digest_group(self, messages, double, digests, ahead) }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn scan_groups(l: Avx512, plan: &Plan, first: u32, groups: u32) -> Candidates {
    lanes::scan_groups::<_, STREAMS>(l, plan, first, groups)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn digest_group(
    l: Avx512,
    messages: &[&[u8]],
    double: bool,
    digests: &mut [Digest],
    ahead: &mut Ahead,
) {
    lanes::digest_group::<_, STREAMS>(l, messages, double, digests, ahead);
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
fn expand_and_round<const S: usize>(
    l: Avx512,
    state: &mut State<Avx512, S>,
    words: &mut Words<Avx512, S>,
    constants: &[u32; 16],
) {
    lanes::expand_and_round(l, state, words, constants);
}

// SAFETY of every block below that says "features": a value of `Avx512` exists only
// where the CPU has AVX-512 F and BW.
impl Lanes for Avx512 {
    type Vector = __m512i;
    const COUNT: usize = 16;

    #[inline(always)]
    fn splat(self, word: u32) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn count_from(self, first: u32) -> __m512i {
        // SAFETY: features.
        unsafe {
            let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_add_epi32(_mm512_set1_epi32(first.cast_signed()), steps)
        }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn add_where(self, mask: u32, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_mask_add_epi32(a, mask as u16, a, b) }
    }

    #[inline(always)]
    fn rotate<const R: i32, const L: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_ror_epi32::<R>(a) }
    }

    #[inline(always)]
    fn shift<const N: u32>(self, a: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_srli_epi32::<N>(a) }
    }

    #[inline(always)]
    fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_ternarylogic_epi32::<0x96>(a, b, c) }
    }

    #[inline(always)]
    fn choose(self, e: __m512i, f: __m512i, g: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_ternarylogic_epi32::<0xca>(e, f, g) }
    }

    #[inline(always)]
    fn majority(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe { _mm512_ternarylogic_epi32::<0xe8>(a, b, c) }
    }

    #[inline(always)]
    fn swap_bytes(self, a: __m512i) -> __m512i {
        // SAFETY: features.
        unsafe {
            let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
            _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(order))
        }
    }

    #[inline(always)]
    fn at_most(self, a: __m512i, limit: __m512i) -> u32 {
        // SAFETY: features.
        u32::from(unsafe { _mm512_cmple_epu32_mask(a, limit) })
    }

    #[inline(always)]
    fn load_block(self, messages: &[&[u8]], block: usize) -> [__m512i; 16] {
        // SAFETY: features.
        unsafe { load_block(self, messages, block) }
    }

    #[inline(always)]
    fn store_digests(self, state: [__m512i; 8], digests: &mut [Digest]) {
        // SAFETY: features.
        unsafe { store_digests(self, &state, digests) }
    }

    #[inline(always)]
    fn expand_and_round<const S: usize>(
        self,
        state: &mut State<Self, S>,
        words: &mut Words<Self, S>,
        constants: &[u32; 16],
    ) {
        // SAFETY: features.
        unsafe { expand_and_round(self, state, words, constants) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_block(l: Avx512, messages: &[&[u8]], block: usize) -> [__m512i; 16] {
    let length = messages.first().map_or(0, |message| message.len());
    if messages.iter().all(|message| message.len() == length) {
        load_equal(l, messages, length, block)
    } else {
        load_mixed(l, messages, block)
    }
}

/// A block of messages of one length: all have their padding in the same place.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_equal(l: Avx512, messages: &[&[u8]], length: usize, block: usize) -> [__m512i; 16] {
    let start = 64 * block;
    let mut rows = [_mm512_setzero_si512(); 16];
    let there = length.saturating_sub(start).min(64);
    if there > 0 {
        let mask = u64::MAX >> (64 - there);
        for (row, message) in rows.iter_mut().zip(messages) {
            let bytes = &message[start..];
            // SAFETY: the mask names at most as many bytes as the slice has; the
            // others are not read.
            let bytes = unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) };
            *row = l.swap_bytes(bytes);
        }
    }
    let mut words = transpose(rows);
    if start <= length && there < 64 {
        let marker = l.splat(MARKER >> (8 * (there % 4)));
        words[there / 4] = _mm512_or_si512(words[there / 4], marker);
    }
    if block + 1 == blocks(length) {
        let bits = 8 * length as u64;
        words[14] = l.splat((bits >> 32) as u32);
        words[15] = l.splat(bits as u32);
    }
    words
}

#[cold]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_mixed(l: Avx512, messages: &[&[u8]], block: usize) -> [__m512i; 16] {
    let start = 64 * block;
    let mut rows = [_mm512_setzero_si512(); 16];
    let mut bits = [[0u32; 16]; 2];
    for (lane, (row, message)) in rows.iter_mut().zip(messages).enumerate() {
        *row = l.swap_bytes(load_row(message, start));
        // Only a last block ends with the length; the bytes there are zero so far.
        if block + 1 == blocks(message.len()) {
            let length = 8 * message.len() as u64;
            bits[0][lane] = (length >> 32) as u32;
            bits[1][lane] = length as u32;
        }
    }
    let mut words = transpose(rows);
    for (word, bits) in words[14..].iter_mut().zip(&bits) {
        // SAFETY: an array of sixteen words has the 64 bytes that are read.
        *word = _mm512_or_si512(*word, unsafe { _mm512_loadu_si512(bits.as_ptr().cast()) });
    }
    words
}

/// One block of a message, with its padding but for the length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_row(message: &[u8], start: usize) -> __m512i {
    match message.get(start..) {
        Some(rest) if rest.len() >= 64 => {
            // SAFETY: at least 64 bytes are there.
            unsafe { _mm512_loadu_si512(rest.as_ptr().cast()) }
        }
        Some(rest) => {
            let marker = 1u64 << rest.len();
            // SAFETY: the mask names the bytes that are there; the others are not read.
            let row = unsafe { _mm512_maskz_loadu_epi8(marker - 1, rest.as_ptr().cast()) };
            _mm512_mask_blend_epi8(marker, row, _mm512_set1_epi8(0x80u8.cast_signed()))
        }
        None => _mm512_setzero_si512(),
    }
}

/// Word `j` of row `i` becomes word `i` of row `j`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut fours = [_mm512_setzero_si512(); 16];
    for i in 0..4 {
        let quarter = [
            rows[4 * i],
            rows[4 * i + 1],
            rows[4 * i + 2],
            rows[4 * i + 3],
        ];
        fours[4 * i..4 * i + 4].copy_from_slice(&transpose_quarters(quarter));
    }
    // fours[4i + c] holds, in its quarter q, word 4q + c of rows 4i to 4i + 3.
    let mut words = fours;
    for c in 0..4 {
        let [a, b, x, y] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        let (ab_low, ab_high) = (
            _mm512_shuffle_i32x4::<0x88>(a, b),
            _mm512_shuffle_i32x4::<0xdd>(a, b),
        );
        let (xy_low, xy_high) = (
            _mm512_shuffle_i32x4::<0x88>(x, y),
            _mm512_shuffle_i32x4::<0xdd>(x, y),
        );
        words[c] = _mm512_shuffle_i32x4::<0x88>(ab_low, xy_low);
        words[4 + c] = _mm512_shuffle_i32x4::<0x88>(ab_high, xy_high);
        words[8 + c] = _mm512_shuffle_i32x4::<0xdd>(ab_low, xy_low);
        words[12 + c] = _mm512_shuffle_i32x4::<0xdd>(ab_high, xy_high);
    }
    words
}

/// Transposes the 4 × 4 words in each quarter of four vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose_quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_digests(l: Avx512, state: &[__m512i; 8], digests: &mut [Digest]) {
    let [a, b, c, d, e, f, g, h] = state.map(|word| l.swap_bytes(word));
    // Quarter q of first[i] and of second[i] is one half of the digest of lane 4q + i.
    let first = transpose_quarters([a, b, c, d]);
    let second = transpose_quarters([e, f, g, h]);
    for i in 0..4 {
        for (half, words) in [first[i], second[i]].into_iter().enumerate() {
            let quarters = [
                _mm512_extracti32x4_epi32::<0>(words),
                _mm512_extracti32x4_epi32::<1>(words),
                _mm512_extracti32x4_epi32::<2>(words),
                _mm512_extracti32x4_epi32::<3>(words),
            ];
            for (q, quarter) in quarters.into_iter().enumerate() {
                let (low, high) = digests[4 * q + i].0.split_at_mut(16);
                let out = if half == 0 { low } else { high };
                // SAFETY: half a digest has the 16 bytes that are written.
                unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), quarter) }
            }
        }
    }
}
