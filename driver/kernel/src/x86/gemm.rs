//! Blocks of a dense product with vectors.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::avx512::Avx512;
use crate::gemm::Strip;

/// Rows and columns of a block: twelve of sixteen registers hold sums.
pub(crate) const AVX2: [usize; 2] = [6, 16];
/// Twenty-four of thirty-two registers hold sums, enough of them in flight that none is
/// waited for.
pub(crate) const AVX512: [usize; 2] = [12, 32];

impl Avx2 {
    /// The block of a strip of rows and a packed one of columns: sums over their length,
    /// in its order.
    pub fn block(self, left: Strip<'_>, right: &[[f32; AVX2[1]]]) -> [[f32; AVX2[1]]; AVX2[0]] {
        check::<{ AVX2[0] }>(left, right.len());
        // SAFETY: a value of this type exists only where the CPU has the features, and
        // the strip holds every element of so many rows and steps.
        unsafe { block_avx2(left, right) }
    }
}

impl Avx512 {
    /// The block of a strip of rows and a packed one of columns: sums over their length,
    /// in its order.
    pub fn block(
        self,
        left: Strip<'_>,
        right: &[[f32; AVX512[1]]],
    ) -> [[f32; AVX512[1]]; AVX512[0]] {
        check::<{ AVX512[0] }>(left, right.len());
        // SAFETY: a value of this type exists only where the CPU has the features, and
        // the strip holds every element of so many rows and steps.
        unsafe { block_avx512(left, right) }
    }
}

/// # Panics
/// When the last element of `rows` rows of `length` steps lies outside of the strip.
fn check<const ROWS: usize>(left: Strip<'_>, length: usize) {
    let last = (ROWS - 1) * left.row + length.saturating_sub(1) * left.step;
    assert!(last < left.values.len(), "a strip of whole rows");
}

/// # Safety
/// The CPU has AVX2 and FMA, and `left` holds element (i, p) for each row i of a block
/// and each p below the length of `right`.
#[target_feature(enable = "avx2,fma")]
unsafe fn block_avx2(left: Strip<'_>, right: &[[f32; AVX2[1]]]) -> [[f32; AVX2[1]]; AVX2[0]] {
    let mut sums = [[_mm256_setzero_ps(); 2]; AVX2[0]];
    for (p, b) in right.iter().enumerate() {
        // SAFETY: the array has the two times 32 bytes that are read.
        let b = unsafe {
            [
                _mm256_loadu_ps(b.as_ptr()),
                _mm256_loadu_ps(b[8..].as_ptr()),
            ]
        };
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let a = unsafe { left.values.get_unchecked(i * left.row + p * left.step) };
            let a = _mm256_set1_ps(*a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_fmadd_ps(a, b, *sum);
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

/// # Safety
/// The CPU has AVX-512 F, and `left` holds element (i, p) for each row i of a block and
/// each p below the length of `right`.
#[target_feature(enable = "avx512f")]
unsafe fn block_avx512(
    left: Strip<'_>,
    right: &[[f32; AVX512[1]]],
) -> [[f32; AVX512[1]]; AVX512[0]] {
    let mut sums = [[_mm512_setzero_ps(); 2]; AVX512[0]];
    for (p, b) in right.iter().enumerate() {
        // SAFETY: the array has the two times 64 bytes that are read.
        let b = unsafe {
            [
                _mm512_loadu_ps(b.as_ptr()),
                _mm512_loadu_ps(b[16..].as_ptr()),
            ]
        };
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let a = unsafe { left.values.get_unchecked(i * left.row + p * left.step) };
            let a = _mm512_set1_ps(*a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm512_fmadd_ps(a, b, *sum);
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
