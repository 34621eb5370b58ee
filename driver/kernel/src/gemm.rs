//! Products of small dense matrices in single precision, the inner loop of training.
//!
//! It owns packing and the choice of a register-blocked loop. Every sum runs over `k` in
//! ascending order with separate multiplication and addition, never fused, so the result
//! is the same to the last bit on every CPU and with every backend.

use crate::kernel::Kernel;

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

/// A loop of some backend, with buffers for the packed operands, kept between calls.
#[derive(Debug)]
pub struct Gemm {
    kernel: Kernel,
    left: Vec<f32>,
    right: Vec<f32>,
}

/// Operands of one product and where it goes.
struct Product<'a> {
    /// Rows of the result, length of a sum, columns of the result.
    shape: [usize; 3],
    a: Left<'a>,
    b: &'a [f32],
    c: &'a mut [f32],
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
            left: Vec::new(),
            right: Vec::new(),
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
        let shape = [m, k, n];
        let product = Product { shape, a, b, c };
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.kernel.vectors() {
            use crate::x86::gemm::{AVX2, AVX512};
            use crate::x86::product::Vectors;
            match vectors {
                Vectors::Avx2(avx2) => {
                    self.multiply::<{ AVX2[0] }, { AVX2[1] }>(product, |a, b| avx2.block(a, b));
                }
                Vectors::Avx512(avx512) => {
                    self.multiply::<{ AVX512[0] }, { AVX512[1] }>(product, |a, b| {
                        avx512.block(a, b)
                    });
                }
            }
            return;
        }
        self.multiply::<{ PORTABLE[0] }, { PORTABLE[1] }>(product, block);
    }

    /// Goes through the result in blocks of R × C, which `block` makes of a packed strip
    /// of each operand.
    fn multiply<const R: usize, const C: usize>(
        &mut self,
        product: Product<'_>,
        block: impl Fn(&[[f32; R]], &[[f32; C]]) -> [[f32; C]; R],
    ) {
        let Product { shape, a, b, c } = product;
        let [m, k, n] = shape;
        self.right.resize(n.div_ceil(C) * k * C, 0.0);
        self.left.resize(k * R, 0.0);
        let right = self.right.as_chunks_mut::<C>().0;
        let left = self.left.as_chunks_mut::<R>().0;
        pack_right(right, [k, n], b);
        for (number, c_rows) in c.chunks_mut(R * n).enumerate() {
            pack_left(left, a, [m, k], number * R);
            let columns = (0..n).step_by(C);
            for (panel, column) in right.chunks_exact(k).zip(columns) {
                let sums = block(left, panel);
                let width = C.min(n - column);
                for (row, sum) in c_rows.chunks_exact_mut(n).zip(&sums) {
                    for (c, s) in row[column..column + width].iter_mut().zip(sum) {
                        *c += s;
                    }
                }
            }
        }
    }
}

/// Cuts `b` into panels of `C` columns, zero-padded on the right.
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

/// Copies rows `first..first + R` of `a` as `k` groups of `R` values; rows past the end
/// become zero.
fn pack_left<const R: usize>(
    packed: &mut [[f32; R]],
    a: Left<'_>,
    [m, k]: [usize; 2],
    first: usize,
) {
    let height = R.min(m - first);
    match a {
        Left::Columns(a) => {
            for (group, row) in packed.iter_mut().zip(a.chunks_exact(m)) {
                *group = [0.0; R];
                group[..height].copy_from_slice(&row[first..first + height]);
            }
        }
        Left::Rows(a) => {
            for i in 0..R {
                if i < height {
                    let row = &a[(first + i) * k..(first + i + 1) * k];
                    for (group, value) in packed.iter_mut().zip(row) {
                        group[i] = *value;
                    }
                } else {
                    packed.iter_mut().for_each(|group| group[i] = 0.0);
                }
            }
        }
    }
}

/// One block of the result from a packed strip of each operand.
fn block<const R: usize, const C: usize>(left: &[[f32; R]], right: &[[f32; C]]) -> [[f32; C]; R] {
    let mut sums = [[0.0; C]; R];
    for (a, b) in left.iter().zip(right) {
        for (sum, &a) in sums.iter_mut().zip(a) {
            for (s, b) in sum.iter_mut().zip(b) {
                *s += a * b;
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

    /// Numbers of very different size: an addition in another order, or a fused one,
    /// would end with other bits.
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
                        sum += a[i * k + p] * b[p * n + j];
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
