//! Blocks of a dense product with vectors.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::avx512::Avx512;

/// Rows and columns of a block: twelve of sixteen registers hold sums.
pub(crate) const AVX2: [usize; 2] = [6, 16];
/// Sixteen of thirty-two registers hold sums, enough of them in flight that none is
/// waited for.
pub(crate) const AVX512: [usize; 2] = [8, 32];

impl Avx2 {
    /// The block of two packed strips: sums over their length, in its order.
    pub fn block(
        self,
        left: &[[f32; AVX2[0]]],
        right: &[[f32; AVX2[1]]],
    ) -> [[f32; AVX2[1]]; AVX2[0]] {
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe { block_avx2(left, right) }
    }
}

impl Avx512 {
    /// The block of two packed strips: sums over their length, in its order.
    pub fn block(
        self,
        left: &[[f32; AVX512[0]]],
        right: &[[f32; AVX512[1]]],
    ) -> [[f32; AVX512[1]]; AVX512[0]] {
        // SAFETY: a value of this type exists only where the CPU has the features.
        unsafe { block_avx512(left, right) }
    }
}

#[target_feature(enable = "avx2")]
fn block_avx2(left: &[[f32; AVX2[0]]], right: &[[f32; AVX2[1]]]) -> [[f32; AVX2[1]]; AVX2[0]] {
    let mut sums = [[_mm256_setzero_ps(); 2]; AVX2[0]];
    for (a, b) in left.iter().zip(right) {
        // SAFETY: the array has the two times 32 bytes that are read.
        let b = unsafe {
            [
                _mm256_loadu_ps(b.as_ptr()),
                _mm256_loadu_ps(b[8..].as_ptr()),
            ]
        };
        for (sums, &a) in sums.iter_mut().zip(a) {
            let a = _mm256_set1_ps(a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_add_ps(*sum, _mm256_mul_ps(a, b));
            }
        }
    }
    let mut block = [[0.0; AVX2[1]]; AVX2[0]];
    for (row, sums) in block.iter_mut().zip(sums) {
        for (place, sum) in row.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            // SAFETY: the array has the 32 bytes that are written.
            unsafe { _mm256_storeu_ps(place.as_mut_ptr(), sum) };
        }
    }
    block
}

#[target_feature(enable = "avx512f")]
fn block_avx512(
    left: &[[f32; AVX512[0]]],
    right: &[[f32; AVX512[1]]],
) -> [[f32; AVX512[1]]; AVX512[0]] {
    let mut sums = [[_mm512_setzero_ps(); 2]; AVX512[0]];
    for (a, b) in left.iter().zip(right) {
        // SAFETY: the array has the two times 64 bytes that are read.
        let b = unsafe {
            [
                _mm512_loadu_ps(b.as_ptr()),
                _mm512_loadu_ps(b[16..].as_ptr()),
            ]
        };
        for (sums, &a) in sums.iter_mut().zip(a) {
            let a = _mm512_set1_ps(a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm512_add_ps(*sum, _mm512_mul_ps(a, b));
            }
        }
    }
    let mut block = [[0.0; AVX512[1]]; AVX512[0]];
    for (row, sums) in block.iter_mut().zip(sums) {
        for (place, sum) in row.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
            // SAFETY: the array has the 64 bytes that are written.
            unsafe { _mm512_storeu_ps(place.as_mut_ptr(), sum) };
        }
    }
    block
}
