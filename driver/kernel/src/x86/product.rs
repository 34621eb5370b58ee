//! The model's integer products with vectors: pairs of codes against pairs of weights.

use std::arch::x86_64::*;
use std::iter;

use super::avx2::Avx2;
use super::avx512::Avx512;
use crate::product::{BLOCK_OUTPUTS, Block, Codes, Finish, Rows, Sums};

/// Vectors that multiply integers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Vectors {
    Avx2(Avx2),
    Avx512(Avx512),
}

/// How they add a product of pairs to a sum.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products {
    Avx2(Avx2),
    Avx512(Avx512),
    /// In one instruction.
    Avx512Vnni(Avx512),
}

/// Rows that share one reading of the weights, on AVX-512 and on AVX2.
const ROWS_512: usize = 8;
const ROWS_256: usize = 4;

impl Products {
    /// The best that this CPU has for these vectors.
    pub fn new(vectors: Vectors) -> Self {
        match vectors {
            Vectors::Avx2(proof) => Self::Avx2(proof),
            Vectors::Avx512(proof) if is_x86_feature_detected!("avx512vnni") => {
                Self::Avx512Vnni(proof)
            }
            Vectors::Avx512(proof) => Self::Avx512(proof),
        }
    }

    /// See [`crate::Kernel::multiply`]; `codes` holds a tile's codes each.
    pub fn multiply(self, block: &Block, codes: &[Codes], finish: &Finish, out: &mut Rows<'_>) {
        let mut row = 0;
        let mut rest = codes;
        while !rest.is_empty() {
            let rows = match rest.len() / block.tiles {
                ROWS_512.. if !matches!(self, Self::Avx2(_)) => {
                    self.rows::<ROWS_512>(block, rest, finish, row, out)
                }
                ROWS_256.. => self.rows::<ROWS_256>(block, rest, finish, row, out),
                _ => self.rows::<1>(block, rest, finish, row, out),
            };
            row += rows;
            rest = &rest[rows * block.tiles..];
        }
    }

    /// The first R vectors, which become `out`'s rows from `row` on; R.
    fn rows<const R: usize>(
        self,
        block: &Block,
        codes: &[Codes],
        finish: &Finish,
        row: usize,
        out: &mut Rows<'_>,
    ) -> usize {
        let codes: [_; R] = std::array::from_fn(|r| &codes[r * block.tiles..][..block.tiles]);
        match self {
            // SAFETY: a value of this type exists only where the CPU has AVX2.
            Self::Avx2(_) => unsafe { rows_avx2(block, codes, finish, row, out) },
            // SAFETY: a value of this type exists only where the CPU has these features.
            Self::Avx512(_) => unsafe { rows_avx512(block, codes, finish, row, out) },
            // SAFETY: as before, and `new` makes this variant only where the CPU has VNNI.
            Self::Avx512Vnni(_) => unsafe { rows_avx512_vnni(block, codes, finish, row, out) },
        }
        R
    }
}

/// Two codes in one lane.
#[inline(always)]
fn pair(codes: &Codes, number: usize) -> i32 {
    let [low, high] = codes.as_chunks::<2>().0[number];
    i32::from(high) << 16 | i32::from(low.cast_unsigned())
}

/// A loop over all runs and tiles for AVX-512, with one expression for a sum of products.
macro_rules! rows_of_512_bits {
    ($name:ident, $features:literal, |$sum:ident, $weights:ident, $codes:ident| $add:expr) => {
        #[target_feature(enable = $features)]
        fn $name<const R: usize>(
            block: &Block,
            mut codes: [&[Codes]; R],
            finish: &Finish,
            row: usize,
            out: &mut Rows<'_>,
        ) {
            let mut sums: [Sums; R] = [[0; BLOCK_OUTPUTS]; R];
            for run in &block.runs {
                let mut products = [_mm512_setzero_si512(); R];
                let of_run = run.take_codes(&mut codes);
                for (t, weights) in run.weights.iter().enumerate() {
                    for (p, weights) in weights.iter().enumerate() {
                        // SAFETY: the array has the 64 bytes that are read.
                        let $weights = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
                        for (product, codes) in iter::zip(&mut products, of_run) {
                            let ($sum, $codes) = (*product, _mm512_set1_epi32(pair(&codes[t], p)));
                            *product = $add;
                        }
                    }
                }
                for (sums, product) in iter::zip(&mut sums, products) {
                    let mut words = [0i32; BLOCK_OUTPUTS];
                    // SAFETY: the array has the 64 bytes that are written.
                    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), product) };
                    run.add_shifted(&words, sums);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                out.set(row + r, finish.row(sums));
            }
        }
    };
}

rows_of_512_bits!(
    rows_avx512,
    "avx512f,avx512bw,avx512dq,avx512vl",
    |sum, weights, codes| _mm512_add_epi32(sum, _mm512_madd_epi16(weights, codes))
);
rows_of_512_bits!(
    rows_avx512_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    |sum, weights, codes| _mm512_dpwssd_epi32(sum, weights, codes)
);

#[target_feature(enable = "avx2")]
fn rows_avx2<const R: usize>(
    block: &Block,
    mut codes: [&[Codes]; R],
    finish: &Finish,
    row: usize,
    out: &mut Rows<'_>,
) {
    let mut sums: [Sums; R] = [[0; BLOCK_OUTPUTS]; R];
    for run in &block.runs {
        let mut products = [[0i32; BLOCK_OUTPUTS]; R];
        let of_run = run.take_codes(&mut codes);
        for half in 0..2 {
            let mut words = [_mm256_setzero_si256(); R];
            for (t, weights) in run.weights.iter().enumerate() {
                for (p, weights) in weights.iter().enumerate() {
                    let weights = &weights[16 * half..][..16];
                    // SAFETY: the slice has the 32 bytes that are read.
                    let weights = unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) };
                    for (word, codes) in iter::zip(&mut words, of_run) {
                        let codes = _mm256_set1_epi32(pair(&codes[t], p));
                        *word = _mm256_add_epi32(*word, _mm256_madd_epi16(weights, codes));
                    }
                }
            }
            for (products, words) in iter::zip(&mut products, words) {
                let place = products[8 * half..][..8].as_mut_ptr().cast();
                // SAFETY: the slice has the 32 bytes that are written.
                unsafe { _mm256_storeu_si256(place, words) };
            }
        }
        for (sums, products) in iter::zip(&mut sums, products) {
            run.add_shifted(&products, sums);
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        out.set(row + r, finish.row(sums));
    }
}
