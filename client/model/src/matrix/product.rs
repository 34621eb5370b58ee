//! The integer product of a matrix and a vector of activation codes.

use super::{Matrix, Scales};
use crate::kind::TILE_COLUMNS;

/// Fractional bits of a scale.
const SCALE_BITS: u32 = 24;
/// Fractional bits of a bias.
const BIAS_BITS: u32 = 6;
/// Fractional bits of every sum that a product yields.
const OUTPUT_BITS: u32 = 16;

impl Matrix {
    /// `out[o] = Σ weight · scale · x + bias` in Q16 for codes `x` with
    /// `fraction` fractional bits, rounded towards minus infinity.
    ///
    /// `x` must have [`Matrix::stride`] entries; those beyond the inputs are
    /// ignored. Nothing can overflow where [`Matrix::product_bound`] knows a bound.
    ///
    /// # Panics
    /// When `x` or `out` has another length than that, or than the outputs.
    pub fn multiply(&self, x: &[i16], fraction: u32, out: &mut [i64]) {
        assert_eq!(x.len(), self.stride(), "codes of one position");
        assert_eq!(out.len(), self.shape.outputs, "sums of one position");
        let bias_shift = SCALE_BITS + fraction - BIAS_BITS;
        let shift = SCALE_BITS + fraction - OUTPUT_BITS;
        let rows = self.weights.chunks_exact(self.stride());
        match &self.scales {
            Scales::Tiles { rows: height, q24 } => {
                let columns = self.tile_columns();
                for (output, ((row, bias), out)) in rows.zip(&self.biases).zip(out).enumerate() {
                    let scales = &q24[output / height * columns..][..columns];
                    let sum = dot_tiles(row, x, scales) + (i64::from(*bias) << bias_shift);
                    *out = sum >> shift;
                }
            }
            Scales::Groups { .. } => {
                for (output, ((row, bias), out)) in rows.zip(&self.biases).zip(out).enumerate() {
                    let mut sum = i64::from(*bias) << bias_shift;
                    for (columns, scale) in self.runs(output) {
                        sum += scale * i64::from(dot(&row[columns.clone()], &x[columns]));
                    }
                    *out = sum >> shift;
                }
            }
        }
    }

    /// The largest magnitude that [`Matrix::multiply`] can yield for codes of
    /// magnitude up to `code_max`, or nothing if an intermediate sum might leave
    /// 63 bits.
    pub fn product_bound(&self, code_max: i64, fraction: u32) -> Option<i64> {
        let mut bound: u128 = 0;
        for (output, bias) in self.biases.iter().enumerate() {
            let row = &self.weights[output * self.stride()..];
            let weights: u128 = self
                .runs(output)
                .map(|(columns, scale)| {
                    let sum: u128 = row[columns]
                        .iter()
                        .map(|w| u128::from(w.unsigned_abs()))
                        .sum();
                    sum * scale.unsigned_abs() as u128
                })
                .sum();
            let bias = u128::from(bias.unsigned_abs()) << (SCALE_BITS + fraction - BIAS_BITS);
            bound = bound.max(weights * code_max.unsigned_abs() as u128 + bias);
        }
        // Rounding down can add one to the magnitude of a negative result.
        let bound = i64::try_from(bound).ok()?;
        Some((bound >> (SCALE_BITS + fraction - OUTPUT_BITS)) + 1)
    }
}

/// Sum over tiles of scale times the inner product of 16 columns.
fn dot_tiles(row: &[i16], x: &[i16], scales: &[i64]) -> i64 {
    let rows = row.as_chunks::<TILE_COLUMNS>().0;
    let xs = x.as_chunks::<TILE_COLUMNS>().0;
    rows.iter()
        .zip(xs)
        .zip(scales)
        .map(|((row, x), scale)| scale * i64::from(dot(row, x)))
        .sum()
}

/// Inner product. Each term is below 2⁹ · 2⁸ in magnitude and a run has at most
/// 160 of them, so 32 bits are enough.
#[inline]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| i32::from(*a) * i32::from(*b))
        .sum()
}
