//! The model's integer products with vectors: pairs of codes against pairs of weights.

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::avx512::Avx512;
use crate::product::{BLOCK_OUTPUTS, BlockTile, TILE_INPUTS};

/// Vectors that multiply integers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Vectors {
    Avx2(Avx2),
    Avx512(Avx512),
}

/// Rows that share one reading of the weights.
const ROWS: usize = 4;

type Sums = [i64; BLOCK_OUTPUTS];
type Codes = [i16; TILE_INPUTS];

impl Vectors {
    /// See [`crate::Kernel::add_products`]; `codes` holds a tile's codes each.
    pub fn add_products(self, tiles: &[BlockTile], codes: &[Codes], sums: &mut [Sums]) {
        let codes = codes.chunks(ROWS * tiles.len());
        for (codes, sums) in codes.zip(sums.chunks_mut(ROWS)) {
            if let Ok(sums) = sums.try_into() {
                self.add_rows::<ROWS>(tiles, codes, sums);
                continue;
            }
            let rows = codes.chunks_exact(tiles.len());
            for (codes, sums) in rows.zip(sums.as_chunks_mut::<1>().0) {
                self.add_rows::<1>(tiles, codes, sums);
            }
        }
    }

    fn add_rows<const R: usize>(self, tiles: &[BlockTile], codes: &[Codes], sums: &mut [Sums; R]) {
        match self {
            // SAFETY: a value of this type exists only where the CPU has AVX2.
            Self::Avx2(_) => unsafe { add_rows_avx2(tiles, codes, sums) },
            // SAFETY: a value of this type exists only where the CPU has AVX-512 F and BW.
            Self::Avx512(_) => unsafe { add_rows_avx512(tiles, codes, sums) },
        }
    }
}

/// Two codes in one lane.
#[inline(always)]
fn pair(codes: &Codes, number: usize) -> i32 {
    let [low, high] = codes.as_chunks::<2>().0[number];
    i32::from(high) << 16 | i32::from(low.cast_unsigned())
}

#[target_feature(enable = "avx512f,avx512bw")]
fn add_rows_avx512<const R: usize>(tiles: &[BlockTile], codes: &[Codes], sums: &mut [Sums; R]) {
    let mut low = [_mm512_setzero_si512(); R];
    let mut high = low;
    for (t, tile) in tiles.iter().enumerate() {
        let mut products = [_mm512_setzero_si512(); R];
        for (p, weights) in tile.weights.iter().enumerate() {
            // SAFETY: the array has the 64 bytes that are read.
            let weights = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
            for (r, product) in products.iter_mut().enumerate() {
                let codes = _mm512_set1_epi32(pair(&codes[r * tiles.len() + t], p));
                *product = _mm512_add_epi32(*product, _mm512_madd_epi16(weights, codes));
            }
        }
        // SAFETY: the arrays have the 64 bytes that are read.
        let (factors, exponents) = unsafe {
            (
                _mm512_loadu_si512(tile.factors.as_ptr().cast()),
                _mm512_loadu_si512(tile.exponents.as_ptr().cast()),
            )
        };
        for (half, sums) in [&mut low, &mut high].into_iter().enumerate() {
            let wide = |words| match half {
                0 => _mm512_cvtepi32_epi64(_mm512_castsi512_si256(words)),
                _ => _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(words)),
            };
            let (factors, exponents) = (wide(factors), wide(exponents));
            for (sum, product) in sums.iter_mut().zip(products) {
                let scaled = _mm512_mul_epi32(wide(product), factors);
                *sum = _mm512_add_epi64(*sum, _mm512_sllv_epi64(scaled, exponents));
            }
        }
    }
    for ((sums, low), high) in sums.iter_mut().zip(low).zip(high) {
        for (half, words) in [low, high].into_iter().enumerate() {
            let place = sums[8 * half..][..8].as_mut_ptr().cast();
            // SAFETY: the slice has the 64 bytes that are read and written.
            unsafe {
                let sum = _mm512_add_epi64(_mm512_loadu_si512(place), words);
                _mm512_storeu_si512(place, sum);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn add_rows_avx2<const R: usize>(tiles: &[BlockTile], codes: &[Codes], sums: &mut [Sums; R]) {
    for (t, tile) in tiles.iter().enumerate() {
        for half in 0..2 {
            let mut products = [_mm256_setzero_si256(); R];
            for (p, weights) in tile.weights.iter().enumerate() {
                let weights = &weights[16 * half..][..16];
                // SAFETY: the slice has the 32 bytes that are read.
                let weights = unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) };
                for (r, product) in products.iter_mut().enumerate() {
                    let codes = _mm256_set1_epi32(pair(&codes[r * tiles.len() + t], p));
                    *product = _mm256_add_epi32(*product, _mm256_madd_epi16(weights, codes));
                }
            }
            let (factors, exponents) = (
                &tile.factors[8 * half..][..8],
                &tile.exponents[8 * half..][..8],
            );
            // SAFETY: the slices have the 32 bytes that are read.
            let (factors, exponents) = unsafe {
                (
                    _mm256_loadu_si256(factors.as_ptr().cast()),
                    _mm256_loadu_si256(exponents.as_ptr().cast()),
                )
            };
            for quarter in 0..2 {
                let wide = |words| match quarter {
                    0 => _mm256_cvtepi32_epi64(_mm256_castsi256_si128(words)),
                    _ => _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(words)),
                };
                let (factors, exponents) = (wide(factors), wide(exponents));
                for (sums, product) in sums.iter_mut().zip(products) {
                    let scaled = _mm256_mul_epi32(wide(product), factors);
                    let place = sums[8 * half + 4 * quarter..][..4].as_mut_ptr().cast();
                    // SAFETY: the slice has the 32 bytes that are read and written.
                    unsafe {
                        let sum = _mm256_loadu_si256(place);
                        let sum = _mm256_add_epi64(sum, _mm256_sllv_epi64(scaled, exponents));
                        _mm256_storeu_si256(place, sum);
                    }
                }
            }
        }
    }
}
