//! The operations on vectors that attention is made of, in a fixed order.

/// Σ aᵢ·bᵢ in eight interleaved partial sums: a fixed order that vectorises.
#[inline(always)]
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
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    let (y_blocks, y_rest) = y.as_chunks_mut::<8>();
    let (x_blocks, x_rest) = x.as_chunks::<8>();
    for (y, x) in y_blocks.iter_mut().zip(x_blocks) {
        for i in 0..8 {
            y[i] += a * x[i];
        }
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y += a * x;
    }
}

/// Vectors side by side in the lanes of a block.
pub(crate) const LANES: usize = 16;

/// [`dot`] of `a` with each of sixteen vectors, whose values of one number are a block.
#[inline(always)]
pub(crate) fn dots(a: &[f32], b: &[[f32; LANES]]) -> [f32; LANES] {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut sums = [[0.0f32; LANES]; 8];
    let mut add = |number: usize, a: f32, b: &[f32; LANES]| {
        for i in 0..LANES {
            sums[number][i] += a * b[i];
        }
    };
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for number in 0..8 {
            add(number, a[number], &b[number]);
        }
    }
    for (number, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        add(number, *a, b);
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    let mut dots = s0;
    for i in 0..LANES {
        dots[i] = ((s0[i] + s4[i]) + (s2[i] + s6[i])) + ((s1[i] + s5[i]) + (s3[i] + s7[i]));
    }
    dots
}

/// Values at equal distances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strided<'a> {
    /// From the first one on.
    pub values: &'a [f32],
    /// From one to the next; of rows, from the first value of each.
    pub stride: usize,
}

/// `y += Σ weightⱼ · rowⱼ`, row by row, for `count` weights.
#[inline(always)]
pub(crate) fn add_mixture(y: &mut [f32], count: usize, weights: Strided<'_>, rows: Strided<'_>) {
    let (blocks, rest) = y.as_chunks_mut::<{ 2 * LANES }>();
    let mut begin = 0;
    for block in blocks {
        add_block(block, count, weights, rows, begin);
        begin += block.len();
    }
    let (blocks, rest) = rest.as_chunks_mut::<LANES>();
    for block in blocks {
        add_block(block, count, weights, rows, begin);
        begin += block.len();
    }
    if !rest.is_empty() {
        for j in 0..count {
            let row = &rows.values[j * rows.stride + begin..][..rest.len()];
            add_scaled(rest, weights.values[j * weights.stride], row);
        }
    }
}

/// [`add_mixture`] of the rows' values from `begin` on, which stay in registers.
#[inline(always)]
fn add_block<const N: usize>(
    y: &mut [f32; N],
    count: usize,
    weights: Strided<'_>,
    rows: Strided<'_>,
    begin: usize,
) {
    let mut sums = *y;
    for j in 0..count {
        let weight = weights.values[j * weights.stride];
        let row = rows.values[j * rows.stride + begin..].first_chunk::<N>();
        let row = row.expect("every weight has a row");
        for i in 0..N {
            sums[i] += weight * row[i];
        }
    }
    *y = sums;
}

/// `eˣ` for x ≤ 0, to two units in the last place; zero below −87. The same bits on every
/// machine, and a loop of it takes vectors.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// From here on a float's last bit is worth one.
    const INTEGERS: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first has few bits: its products are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let halvings = (x * std::f32::consts::LOG2_E + INTEGERS) - INTEGERS;
    let rest = (x - halvings * LN_2[0]) - halvings * LN_2[1];
    // The Taylor series: |rest| is at most ln 2 / 2, so the next term is below 2⁻²⁶.
    let mut power = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = power * rest + factor;
    }
    // No cast: its result is defined for every number, which takes many instructions.
    let exponent = (halvings.max(-126.0) + INTEGERS).to_bits();
    let exponent = exponent.wrapping_sub(INTEGERS.to_bits()).wrapping_add(127);
    let scaled = power * f32::from_bits(exponent << 23);
    if x < -87.0 { 0.0 } else { scaled }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exp_is_that_of_double_precision() {
        for step in 0..=870_000 {
            let x = -step as f32 / 10_000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "{x}: {error}");
        }
        for x in [-87.001, -1000.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn dot_equals_the_definition(a in proptest::collection::vec(-256i16..256, 0..40)) {
            // Integers of at most 2⁸ make every sum exact, so order cannot matter.
            let a: Vec<f32> = a.into_iter().map(f32::from).collect();
            let b: Vec<f32> = a.iter().rev().map(|a| a - 3.0).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            prop_assert_eq!(dot(&a, &b), expected);
        }

        #[test]
        fn dots_have_the_bits_of_single_ones(
            a in proptest::collection::vec(-9f32..9.0, 0..40), salt in 0f32..1.0,
        ) {
            let b: Vec<[f32; LANES]> = (0..a.len())
                .map(|at| std::array::from_fn(|lane| (at as f32 - 7.0) / (lane as f32 + salt + 0.1)))
                .collect();
            for (lane, got) in dots(&a, &b).into_iter().enumerate() {
                let vector: Vec<f32> = b.iter().map(|block| block[lane]).collect();
                prop_assert_eq!(got.to_bits(), dot(&a, &vector).to_bits());
            }
        }

        #[test]
        fn a_mixture_adds_one_row_after_the_other(
            start in proptest::collection::vec(-9f32..9.0, 0..70),
            weights in proptest::collection::vec(-9f32..9.0, 0..20),
        ) {
            let width = start.len();
            let rows: Vec<f32> = (0..width * weights.len()).map(|at| (at as f32).sin()).collect();
            let mut expected = start.clone();
            for (weight, row) in weights.iter().zip(rows.chunks(width.max(1))) {
                add_scaled(&mut expected, *weight, row);
            }
            let mut got = start;
            let (values, stride) = (&weights[..], 1);
            let rows = Strided { values: &rows, stride: width };
            add_mixture(&mut got, weights.len(), Strided { values, stride }, rows);
            prop_assert_eq!(got, expected);
        }
    }
}
