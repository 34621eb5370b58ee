//! Blocks of a dense product with vectors.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::avx512::Avx512;
use crate::gemm::{Block, Strip};

/// Columns of a block: two vectors.
pub(crate) const AVX2_COLUMNS: usize = 16;
pub(crate) const AVX512_COLUMNS: usize = 32;

impl Block<AVX2_COLUMNS> for Avx2 {
    /// Twelve of sixteen registers hold sums.
    const ROWS: &'static [usize] = &[6, 2, 1];

    fn add(
        self,
        rows: usize,
        left: Strip<'_>,
        right: &[[f32; AVX2_COLUMNS]],
        c: &mut [f32],
        stride: usize,
    ) {
        check::<AVX2_COLUMNS>(rows, left, right.len(), c, stride);
        // SAFETY: a value of this type exists only where the CPU has the features, and
        // strip and `c` hold every element of so many rows.
        unsafe {
            match rows {
                6 => add_avx2::<6>(left, right, c, stride),
                2 => add_avx2::<2>(left, right, c, stride),
                _ => add_avx2::<1>(left, right, c, stride),
            }
        }
    }
}

impl Block<AVX512_COLUMNS> for Avx512 {
    /// Twenty-four of thirty-two registers hold sums, enough of them in flight that none
    /// is waited for.
    const ROWS: &'static [usize] = &[12, 8, 4, 2, 1];

    fn add(
        self,
        rows: usize,
        left: Strip<'_>,
        right: &[[f32; AVX512_COLUMNS]],
        c: &mut [f32],
        stride: usize,
    ) {
        check::<AVX512_COLUMNS>(rows, left, right.len(), c, stride);
        // SAFETY: a value of this type exists only where the CPU has the features, and
        // strip and `c` hold every element of so many rows.
        unsafe {
            match rows {
                12 => add_avx512::<12>(left, right, c, stride),
                8 => add_avx512::<8>(left, right, c, stride),
                4 => add_avx512::<4>(left, right, c, stride),
                2 => add_avx512::<2>(left, right, c, stride),
                _ => add_avx512::<1>(left, right, c, stride),
            }
        }
    }
}

/// # Panics
/// When the last element of `rows` rows lies outside of the strip, or that of `COLUMNS`
/// columns outside of `c`.
fn check<const COLUMNS: usize>(
    rows: usize,
    left: Strip<'_>,
    length: usize,
    c: &[f32],
    stride: usize,
) {
    let last = (rows - 1) * left.row + length.saturating_sub(1) * left.step;
    assert!(last < left.values.len(), "a strip of whole rows");
    let end = (rows - 1) * stride + COLUMNS;
    assert!(end <= c.len(), "a block of whole rows");
}

/// # Safety
/// The CPU has AVX2 and FMA, `left` holds element (i, p) for each row i below `ROWS` and
/// each p below the length of `right`, and `c` the columns of a block for each row.
#[target_feature(enable = "avx2,fma")]
unsafe fn add_avx2<const ROWS: usize>(
    left: Strip<'_>,
    right: &[[f32; AVX2_COLUMNS]],
    c: &mut [f32],
    stride: usize,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
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
    for (i, [low, high]) in sums.into_iter().enumerate() {
        // SAFETY: the caller's promise: two times 32 bytes from here on lie in `c`.
        unsafe {
            let place = c.as_mut_ptr().add(i * stride);
            _mm256_storeu_ps(place, _mm256_add_ps(_mm256_loadu_ps(place), low));
            let place = place.add(8);
            _mm256_storeu_ps(place, _mm256_add_ps(_mm256_loadu_ps(place), high));
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F, `left` holds element (i, p) for each row i below `ROWS` and each
/// p below the length of `right`, and `c` the columns of a block for each row.
#[target_feature(enable = "avx512f")]
unsafe fn add_avx512<const ROWS: usize>(
    left: Strip<'_>,
    right: &[[f32; AVX512_COLUMNS]],
    c: &mut [f32],
    stride: usize,
) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
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
    for (i, [low, high]) in sums.into_iter().enumerate() {
        // SAFETY: the caller's promise: two times 64 bytes from here on lie in `c`.
        unsafe {
            let place = c.as_mut_ptr().add(i * stride);
            _mm512_storeu_ps(place, _mm512_add_ps(_mm512_loadu_ps(place), low));
            let place = place.add(16);
            _mm512_storeu_ps(place, _mm512_add_ps(_mm512_loadu_ps(place), high));
        }
    }
}
