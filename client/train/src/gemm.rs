//! Products of small dense matrices, the inner loop of training.
//!
//! Owns packing and one register-blocked kernel in safe Rust; never starts
//! threads. Every sum runs over `k` in ascending order with separate
//! multiplication and addition (Rust never fuses them), so the result is the
//! same on every CPU, whatever vector width the compiler chooses. The layers
//! call it; a kernel for one CPU can replace it here and nowhere else.

/// Rows of one block: with [`COLUMNS`], twelve 4-lane accumulators, which fit
/// the sixteen vector registers every x86-64 has (measured: faster than 4 rows).
const ROWS: usize = 6;

/// Columns of one block.
const COLUMNS: usize = 8;

/// Left operand of a product: `m × k`, stored by rows or by columns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Element (i, p) at `i · k + p`.
    Rows(&'a [f32]),
    /// Element (i, p) at `p · m + i`: the transpose of a matrix stored by rows.
    Columns(&'a [f32]),
}

/// Buffers for the packed operands, kept between calls.
#[derive(Debug, Default)]
pub(crate) struct Gemm {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Gemm {
    /// `c += a · b` for `a` of m × k, `b` of k × n and `c` of m × n, the last
    /// two stored by rows.
    pub(crate) fn multiply_add(
        &mut self,
        [m, k, n]: [usize; 3],
        a: Left<'_>,
        b: &[f32],
        c: &mut [f32],
    ) {
        debug_assert_eq!((b.len(), c.len()), (k * n, m * n));
        if k == 0 || n == 0 {
            return;
        }
        self.pack_right(k, n, b);
        self.left.resize(k * ROWS, 0.0);
        for (block, c_rows) in c.chunks_mut(ROWS * n).enumerate() {
            pack_left(&mut self.left, a, [m, k], block * ROWS);
            let height = c_rows.len() / n;
            for (panel, column) in self
                .right
                .chunks_exact(k * COLUMNS)
                .zip((0..n).step_by(COLUMNS))
            {
                let sums = block_product(&self.left, panel);
                let width = COLUMNS.min(n - column);
                for (row, sum) in c_rows.chunks_exact_mut(n).zip(&sums).take(height) {
                    for (c, s) in row[column..column + width].iter_mut().zip(sum) {
                        *c += s;
                    }
                }
            }
        }
    }

    /// Cuts `b` into panels of [`COLUMNS`] columns, zero-padded on the right.
    fn pack_right(&mut self, k: usize, n: usize, b: &[f32]) {
        let panels = n.div_ceil(COLUMNS);
        self.right.resize(panels * k * COLUMNS, 0.0);
        for (panel, column) in self
            .right
            .chunks_exact_mut(k * COLUMNS)
            .zip((0..n).step_by(COLUMNS))
        {
            let width = COLUMNS.min(n - column);
            for (packed, row) in panel
                .as_chunks_mut::<COLUMNS>()
                .0
                .iter_mut()
                .zip(b.chunks_exact(n))
            {
                if width == COLUMNS {
                    packed.copy_from_slice(&row[column..column + COLUMNS]);
                } else {
                    *packed = [0.0; COLUMNS];
                    packed[..width].copy_from_slice(&row[column..]);
                }
            }
        }
    }
}

/// Copies rows `first..first + ROWS` of `a` as `k` groups of [`ROWS`] values;
/// rows past the end become zero.
fn pack_left(packed: &mut [f32], a: Left<'_>, [m, k]: [usize; 2], first: usize) {
    let height = ROWS.min(m - first);
    let groups = packed.as_chunks_mut::<ROWS>().0;
    match a {
        Left::Columns(a) => {
            for (group, row) in groups.iter_mut().zip(a.chunks_exact(m)) {
                *group = [0.0; ROWS];
                group[..height].copy_from_slice(&row[first..first + height]);
            }
        }
        Left::Rows(a) => {
            for i in 0..ROWS {
                if i < height {
                    let row = &a[(first + i) * k..(first + i + 1) * k];
                    for (group, value) in groups.iter_mut().zip(row) {
                        group[i] = *value;
                    }
                } else {
                    groups.iter_mut().for_each(|group| group[i] = 0.0);
                }
            }
        }
    }
}

/// One block of the result from a packed strip of each operand.
fn block_product(left: &[f32], right: &[f32]) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    let pairs = left
        .as_chunks::<ROWS>()
        .0
        .iter()
        .zip(right.as_chunks::<COLUMNS>().0);
    for (a, b) in pairs {
        for (sum, &a) in sums.iter_mut().zip(a) {
            for (s, b) in sum.iter_mut().zip(b) {
                *s += a * b;
            }
        }
    }
    sums
}

/// Σ aᵢ·bᵢ in eight interleaved partial sums: a fixed order that vectorises.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0f32; 8];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[i] += a * b;
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
}

/// `y += a · x`.
pub(crate) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Integers of at most 2⁸ make every sum exact, so order cannot matter.
    fn matrix(len: usize, salt: u64) -> Vec<f32> {
        let mut rng = crate::rng::Rng::new(salt, crate::rng::Purpose::Order, 0);
        (0..len).map(|_| rng.below(513) as f32 - 256.0).collect()
    }

    proptest! {
        #[test]
        fn product_equals_the_definition(m in 1usize..20, k in 0usize..20, n in 1usize..20, salt: u64) {
            let (a, b) = (matrix(m * k, salt), matrix(k * n, salt ^ 1));
            let start = matrix(m * n, salt ^ 2);
            let mut expected = start.clone();
            for i in 0..m {
                for j in 0..n {
                    for p in 0..k {
                        expected[i * n + j] += a[i * k + p] * b[p * n + j];
                    }
                }
            }
            let mut gemm = Gemm::default();
            // Leftovers of an earlier, larger product must not leak into this one.
            gemm.multiply_add([9, 9, 9], Left::Rows(&matrix(81, 9)), &matrix(81, 8), &mut [0.0; 81]);
            let mut by_rows = start.clone();
            gemm.multiply_add([m, k, n], Left::Rows(&a), &b, &mut by_rows);
            prop_assert_eq!(&by_rows, &expected);
            let mut transposed = vec![0.0; m * k];
            for i in 0..m {
                for p in 0..k {
                    transposed[p * m + i] = a[i * k + p];
                }
            }
            let mut by_columns = start;
            gemm.multiply_add([m, k, n], Left::Columns(&transposed), &b, &mut by_columns);
            prop_assert_eq!(&by_columns, &expected);
        }

        #[test]
        fn dot_equals_the_definition(len in 0usize..40, salt: u64) {
            let (a, b) = (matrix(len, salt), matrix(len, !salt));
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            prop_assert_eq!(dot(&a, &b), expected);
        }
    }
}
