//! Products of small dense matrices in single precision, the inner loop of training.
//!
//! It owns packing and the choice of a register-blocked loop. Every sum runs over `k` in
//! ascending order, each product added by one fused operation, so the result is the same
//! to the last bit on every CPU and with every backend. Where a CPU has no such
//! operation the C library computes it, many times slower; every x86-64 CPU with AVX2
//! has it, and so has every aarch64 one.

use crate::kernel::Kernel;
use crate::wide::Loop;

/// Columns of a portable block, and the rows of those there are: at most twelve
/// accumulators of four lanes, which fit the sixteen vector registers that every x86-64
/// has (measured: faster than 4 rows).
const PORTABLE_COLUMNS: usize = 8;
const PORTABLE_ROWS: [usize; 3] = [6, 2, 1];

/// An operand of a product, `rows × columns`.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a> {
    /// Element (i, j) at `i · columns + j`.
    Rows(&'a [f32]),
    /// Element (i, j) at `j · rows + i`: the transpose of a matrix stored by rows.
    Columns(&'a [f32]),
}

/// Loops of some backend, with a buffer for the packed right operand, kept between calls.
#[derive(Debug)]
pub struct Gemm {
    kernel: Kernel,
    packed: Packed,
}

/// A right operand as the loops of some backend take it, for many products.
#[derive(Debug, Default)]
pub struct Packed {
    /// Panels of as many columns as a block, one after the other, each by rows; zeros
    /// make up for missing columns. They begin where a cache line does.
    values: Vec<f32>,
    /// Rows and columns of the matrix.
    shape: [usize; 2],
    /// Columns of a panel.
    panel: usize,
}

/// Some rows of a left operand: element (i, p) lies at `i · row + p · step`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strip<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub step: usize,
}

/// Loops of a backend for blocks of `C` columns.
pub(crate) trait Block<const C: usize>: Copy {
    /// The rows of the blocks there are, the most first, one last.
    const ROWS: &'static [usize];

    /// Adds to the first `rows` rows of `c`, which are `stride` apart, the product of a
    /// strip of as many rows and a panel: sums over its length, in its order.
    fn add(self, rows: usize, left: Strip<'_>, right: &[[f32; C]], c: &mut [f32], stride: usize);
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
            packed: Packed::default(),
        }
    }

    /// `c += a · b` for `a` of m × k, `b` of k × n and `c` of m × n, the last
    /// two stored by rows.
    ///
    /// # Panics
    /// When an operand has another number of elements.
    pub fn multiply_add(
        &mut self,
        [m, k, n]: [usize; 3],
        a: Operand<'_>,
        b: &[f32],
        c: &mut [f32],
    ) {
        let mut packed = std::mem::take(&mut self.packed);
        self.pack([k, n], Operand::Rows(b), &mut packed);
        self.multiply_add_packed(m, a, &packed, c);
        self.packed = packed;
    }

    /// Packs `b`, of k × n.
    ///
    /// # Panics
    /// When it has another number of elements.
    pub fn pack(&self, shape: [usize; 2], b: Operand<'_>, packed: &mut Packed) {
        let (Operand::Rows(elements) | Operand::Columns(elements)) = b;
        assert_eq!(elements.len(), shape[0] * shape[1], "elements of k × n");
        packed.shape = shape;
        packed.panel = self.panel();
        let kernel = self.kernel;
        match packed.panel {
            8 => kernel.run(Pack::<8> { b, packed }),
            16 => kernel.run(Pack::<16> { b, packed }),
            _ => kernel.run(Pack::<32> { b, packed }),
        }
    }

    /// [`Gemm::multiply_add`] with a packed `b`.
    ///
    /// # Panics
    /// When an operand has another number of elements, or `b` was packed for a backend
    /// with other blocks.
    pub fn multiply_add_packed(&self, m: usize, a: Operand<'_>, b: &Packed, c: &mut [f32]) {
        let (Operand::Rows(elements) | Operand::Columns(elements)) = a;
        let [k, n] = b.shape;
        assert_eq!(
            [elements.len(), c.len()],
            [m * k, m * n],
            "elements of m × k and m × n"
        );
        assert_eq!(b.panel, self.panel(), "columns of a panel");
        if k == 0 || n == 0 {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.kernel.vectors() {
            use crate::x86::product::Vectors;
            return match vectors {
                Vectors::Avx2(block) => multiply(block, m, a, b, c),
                Vectors::Avx512(block) => multiply(block, m, a, b, c),
            };
        }
        multiply(Portable, m, a, b, c);
    }

    /// Columns of a panel.
    fn panel(&self) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.kernel.vectors() {
            use crate::x86::gemm::{AVX2_COLUMNS, AVX512_COLUMNS};
            use crate::x86::product::Vectors;
            return match vectors {
                Vectors::Avx2(_) => AVX2_COLUMNS,
                Vectors::Avx512(_) => AVX512_COLUMNS,
            };
        }
        PORTABLE_COLUMNS
    }
}

impl Packed {
    /// Bytes of a cache line.
    const LINE: usize = 64;

    /// Where the first panel begins: the vector may begin within a cache line.
    fn begin(&self) -> usize {
        self.values.as_ptr().align_offset(Self::LINE)
    }
}

/// Cuts `b` into panels of `C` columns.
struct Pack<'a, const C: usize> {
    b: Operand<'a>,
    packed: &'a mut Packed,
}

impl<const C: usize> Loop for Pack<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { b, packed } = self;
        let [k, n] = packed.shape;
        let len = n.div_ceil(C) * k * C;
        packed.values.resize(len + Packed::LINE, 0.0);
        let begin = packed.begin();
        let panels = packed.values[begin..][..len].as_chunks_mut::<C>().0;
        for (panel, column) in panels.chunks_exact_mut(k.max(1)).zip((0..n).step_by(C)) {
            let width = C.min(n - column);
            if width < C {
                panel.fill([0.0; C]);
            }
            match b {
                Operand::Rows(b) => {
                    for (packed, row) in panel.iter_mut().zip(b.chunks_exact(n)) {
                        let row = &row[column..column + width];
                        match row.first_chunk() {
                            Some(row) => *packed = *row,
                            None => packed[..width].copy_from_slice(row),
                        }
                    }
                }
                Operand::Columns(b) => {
                    for (at, values) in b.chunks_exact(k).skip(column).take(C).enumerate() {
                        for (packed, value) in panel.iter_mut().zip(values) {
                            packed[at] = *value;
                        }
                    }
                }
            }
        }
    }
}

/// Adds `a · b` to `c`, of `m` rows, block by block. A panel stays in the cache while
/// all rows are multiplied by it.
fn multiply<const C: usize, B: Block<C>>(
    block: B,
    m: usize,
    a: Operand<'_>,
    b: &Packed,
    c: &mut [f32],
) {
    let [k, n] = b.shape;
    let panels = b.values[b.begin()..].as_chunks::<C>().0.chunks_exact(k);
    for (column, panel) in (0..n).step_by(C).zip(panels) {
        let width = C.min(n - column);
        let mut first = 0;
        while let Some(rows) = B::ROWS.iter().find(|rows| **rows <= m - first) {
            let strip = match a {
                Operand::Rows(a) => Strip {
                    values: &a[first * k..],
                    row: k,
                    step: 1,
                },
                Operand::Columns(a) => Strip {
                    values: &a[first..],
                    row: 1,
                    step: m,
                },
            };
            let c = &mut c[first * n + column..];
            if width == C {
                block.add(*rows, strip, panel, c, n);
            } else {
                add_narrow(block, *rows, strip, panel, c, [width, n]);
            }
            first += rows;
        }
    }
}

/// Adds a block of which only the first `width` columns count.
fn add_narrow<const C: usize, B: Block<C>>(
    block: B,
    rows: usize,
    left: Strip<'_>,
    right: &[[f32; C]],
    c: &mut [f32],
    [width, stride]: [usize; 2],
) {
    /// The most rows of any block.
    const ROWS_MAX: usize = 12;
    let mut whole = [[0.0; C]; ROWS_MAX];
    let whole = &mut whole[..rows];
    for (whole, c) in whole.iter_mut().zip(c.chunks(stride)) {
        whole[..width].copy_from_slice(&c[..width]);
    }
    block.add(rows, left, right, whole.as_flattened_mut(), C);
    for (whole, c) in whole.iter().zip(c.chunks_mut(stride)) {
        c[..width].copy_from_slice(&whole[..width]);
    }
}

/// Blocks in plain code.
#[derive(Clone, Copy)]
struct Portable;

impl Block<PORTABLE_COLUMNS> for Portable {
    const ROWS: &'static [usize] = &PORTABLE_ROWS;

    fn add(
        self,
        rows: usize,
        left: Strip<'_>,
        right: &[[f32; PORTABLE_COLUMNS]],
        c: &mut [f32],
        stride: usize,
    ) {
        match rows {
            6 => add_portable::<6>(left, right, c, stride),
            2 => add_portable::<2>(left, right, c, stride),
            _ => add_portable::<1>(left, right, c, stride),
        }
    }
}

fn add_portable<const R: usize>(
    left: Strip<'_>,
    right: &[[f32; PORTABLE_COLUMNS]],
    c: &mut [f32],
    stride: usize,
) {
    let mut sums = [[0.0f32; PORTABLE_COLUMNS]; R];
    for (p, b) in right.iter().enumerate() {
        for (i, sum) in sums.iter_mut().enumerate() {
            let a = left.values[i * left.row + p * left.step];
            for (s, b) in sum.iter_mut().zip(b) {
                *s = a.mul_add(*b, *s);
            }
        }
    }
    for (c, sum) in c.chunks_mut(stride).zip(sums) {
        for (c, sum) in c.iter_mut().zip(sum) {
            *c += sum;
        }
    }
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
                gemm.multiply_add([41, 9, 71], Operand::Rows(&left), &right, &mut [0.0; 41 * 71]);
                let by_columns: Vec<f32> =
                    (0..k * n).map(|at| b[at % k * n + at / k]).collect();
                let mut packed = [Packed::default(), Packed::default()];
                gemm.pack([9, 71], Operand::Rows(&right), &mut packed[0]);
                gemm.pack([k, n], Operand::Rows(&b), &mut packed[0]);
                gemm.pack([k, n], Operand::Columns(&by_columns), &mut packed[1]);
                for a in [Operand::Rows(&a), Operand::Columns(&transposed)] {
                    let mut c = start.clone();
                    gemm.multiply_add([m, k, n], a, &b, &mut c);
                    prop_assert_eq!(bits(&c), bits(&expected), "{}", kernel.backend());
                    for b in &packed {
                        let mut c = start.clone();
                        gemm.multiply_add_packed(m, a, b, &mut c);
                        prop_assert_eq!(bits(&c), bits(&expected), "{}", kernel.backend());
                    }
                }
            }
        }
    }
}
