//! Products of small dense matrices in single precision, the inner loop of training.
//!
//! It owns packing and the choice of a register-blocked loop. Every sum runs over `k` in
//! ascending order, each product added by one fused operation, so the result is the same
//! to the last bit on every CPU and with every backend. Where a CPU has no such
//! operation the C library computes it, many times slower; every x86-64 CPU with AVX2
//! has it, and so has every aarch64 one.

use crate::kernel::Kernel;
use crate::wide::Loop;

/// Rows and columns of a portable block: twelve accumulators of four lanes, which fit
/// the sixteen vector registers that every x86-64 has (measured: faster than 4 rows).
const PORTABLE: [usize; 2] = [6, 8];

/// Left operand of a product: `m × k`, stored by rows or by columns.
#[derive(Debug, Clone, Copy)]
pub enum Left<'a> {
    /// Element (i, p) at `i · k + p`.
    Rows(&'a [f32]),
    /// Element (i, p) at `p · m + i`: the transpose of a matrix stored by rows.
    Columns(&'a [f32]),
}

/// A loop of some backend, with a buffer for the packed right operand, kept between calls.
#[derive(Debug)]
pub struct Gemm {
    kernel: Kernel,
    packed: Vec<f32>,
}

/// Some rows of a left operand: element (i, p) lies at `i · row + p · step`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strip<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub step: usize,
}

/// Operands of one product and where it goes.
struct Product<'a> {
    /// Rows of the result, length of a sum, columns of the result.
    shape: [usize; 3],
    a: Left<'a>,
    b: &'a [f32],
    c: &'a mut [f32],
    /// Buffer for the right operand.
    packed: &'a mut Vec<f32>,
}

impl Default for Gemm {
    /// With the loops of [`Backend::chosen`](crate::Backend::chosen).
    fn default() -> Self {
        Self::new(Kernel::chosen())
    }
}

impl Gemm {
    /// With the loops of `kernel`.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            packed: Vec::new(),
        }
    }

    /// `c += a · b` for `a` of m × k, `b` of k × n and `c` of m × n, the last
    /// two stored by rows.
    ///
    /// # Panics
    /// When an operand has another number of elements.
    pub fn multiply_add(&mut self, [m, k, n]: [usize; 3], a: Left<'_>, b: &[f32], c: &mut [f32]) {
        let (Left::Rows(elements) | Left::Columns(elements)) = a;
        assert_eq!(
            [elements.len(), b.len(), c.len()],
            [m * k, k * n, m * n],
            "elements of m × k, k × n and m × n"
        );
        if k == 0 || n == 0 {
            return;
        }
        let product = Product {
            shape: [m, k, n],
            a,
            b,
            c,
            packed: &mut self.packed,
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.kernel.vectors() {
            use crate::x86::gemm::{AVX2, AVX512};
            use crate::x86::product::Vectors;
            return match vectors {
                Vectors::Avx2(avx2) => {
                    self.kernel.run(Blocks::<{ AVX2[0] }, { AVX2[1] }, _> {
                        product,
                        block: |a: Strip<'_>, b: &[_]| avx2.block(a, b),
                    });
                }
                Vectors::Avx512(avx512) => {
                    self.kernel.run(Blocks::<{ AVX512[0] }, { AVX512[1] }, _> {
                        product,
                        block: |a: Strip<'_>, b: &[_]| avx512.block(a, b),
                    });
                }
            };
        }
        Blocks::<{ PORTABLE[0] }, { PORTABLE[1] }, _> { product, block }.run();
    }
}

/// Goes through the result in blocks of R × C, which `block` makes of a strip of the
/// left operand and a packed one of the right.
struct Blocks<'a, const R: usize, const C: usize, F> {
    product: Product<'a>,
    block: F,
}

impl<const R: usize, const C: usize, F> Loop for Blocks<'_, R, C, F>
where
    F: Fn(Strip<'_>, &[[f32; C]]) -> [[f32; C]; R],
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Product {
            shape: [m, k, n],
            a,
            b,
            c,
            packed,
        } = self.product;
        packed.resize(n.div_ceil(C) * k * C, 0.0);
        let packed = packed.as_chunks_mut::<C>().0;
        pack_right(packed, [k, n], b);
        let mut last_rows = Vec::new();
        for (number, c_rows) in c.chunks_mut(R * n).enumerate() {
            let first = number * R;
            let strip = match a {
                _ if m - first < R => {
                    last_rows.resize(k * R, 0.0);
                    pack_last_rows::<R>(&mut last_rows, a, [m, k], first)
                }
                Left::Rows(a) => Strip {
                    values: &a[first * k..],
                    row: k,
                    step: 1,
                },
                Left::Columns(a) => Strip {
                    values: &a[first..],
                    row: 1,
                    step: m,
                },
            };
            let columns = (0..n).step_by(C);
            for (panel, column) in packed.chunks_exact(k).zip(columns) {
                let sums = (self.block)(strip, panel);
                for (row, sum) in c_rows.chunks_exact_mut(n).zip(&sums) {
                    // Whole blocks have a length that the compiler knows.
                    if let Some(row) = row[column..].first_chunk_mut::<C>() {
                        for (c, s) in row.iter_mut().zip(sum) {
                            *c += s;
                        }
                    } else {
                        for (c, s) in row[column..].iter_mut().zip(sum) {
                            *c += s;
                        }
                    }
                }
            }
        }
    }
}

/// Cuts `b` into panels of `C` columns, zero-padded on the right.
#[inline(always)]
fn pack_right<const C: usize>(packed: &mut [[f32; C]], [k, n]: [usize; 2], b: &[f32]) {
    for (panel, column) in packed.chunks_exact_mut(k).zip((0..n).step_by(C)) {
        let width = C.min(n - column);
        for (packed, row) in panel.iter_mut().zip(b.chunks_exact(n)) {
            if width == C {
                packed.copy_from_slice(&row[column..column + C]);
            } else {
                *packed = [0.0; C];
                packed[..width].copy_from_slice(&row[column..]);
            }
        }
    }
}

/// Copies the rows of `a` from `first` on, fewer than `R`, column by column, with zeros
/// below them.
fn pack_last_rows<'p, const R: usize>(
    packed: &'p mut [f32],
    a: Left<'_>,
    [m, k]: [usize; 2],
    first: usize,
) -> Strip<'p> {
    for (p, group) in packed.as_chunks_mut::<R>().0.iter_mut().enumerate() {
        for (i, value) in group.iter_mut().enumerate().take(m - first) {
            *value = match a {
                Left::Rows(a) => a[(first + i) * k + p],
                Left::Columns(a) => a[p * m + first + i],
            };
        }
    }
    Strip {
        values: packed,
        row: 1,
        step: R,
    }
}

/// One block of the result.
fn block<const R: usize, const C: usize>(left: Strip<'_>, right: &[[f32; C]]) -> [[f32; C]; R] {
    let mut sums = [[0.0f32; C]; R];
    for (p, b) in right.iter().enumerate() {
        for (i, sum) in sums.iter_mut().enumerate() {
            let a = left.values[i * left.row + p * left.step];
            for (s, b) in sum.iter_mut().zip(b) {
                *s = a.mul_add(*b, *s);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Backend;

    /// Numbers of very different size: an addition in another order, or one that is not
    /// fused, would end with other bits.
    fn matrix(len: usize, salt: u32) -> Vec<f32> {
        let mut state = salt | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let number = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            number * f32::powi(2.0, (state & 15) as i32)
        };
        (0..len).map(|_| next()).collect()
    }

    proptest! {
        #[test]
        fn every_backend_gives_the_bits_of_the_definition(
            m in 0usize..40, k in 0usize..20, n in 0usize..70, salt: u32,
        ) {
            let (a, b) = (matrix(m * k, salt), matrix(k * n, salt ^ 0x5555));
            let start = matrix(m * n, salt ^ 0xaaaa);
            let mut expected = start.clone();
            let mut transposed = vec![0.0; m * k];
            for i in 0..m {
                for p in 0..k {
                    transposed[p * m + i] = a[i * k + p];
                }
                for j in 0..n {
                    let mut sum = 0.0f32;
                    for p in 0..k {
                        sum = a[i * k + p].mul_add(b[p * n + j], sum);
                    }
                    expected[i * n + j] += sum;
                }
            }
            let bits = |c: &[f32]| c.iter().map(|c| c.to_bits()).collect::<Vec<_>>();
            for kernel in Backend::ALL.into_iter().filter_map(Kernel::new) {
                let mut gemm = Gemm::new(kernel);
                // Leftovers of an earlier, larger product must not leak into this one.
                let (left, right) = (matrix(9 * 41, 9), matrix(9 * 71, 8));
                gemm.multiply_add([41, 9, 71], Left::Rows(&left), &right, &mut [0.0; 41 * 71]);
                for a in [Left::Rows(&a), Left::Columns(&transposed)] {
                    let mut c = start.clone();
                    gemm.multiply_add([m, k, n], a, &b, &mut c);
                    prop_assert_eq!(bits(&c), bits(&expected), "{}", kernel.backend());
                }
            }
        }
    }
}
