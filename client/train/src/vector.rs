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

/// Rows of a matrix, or of some of its columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// From the first value of the first row on.
    pub values: &'a [f32],
    /// From a row to the next.
    pub stride: usize,
}

/// `y += Σ weightⱼ · rowⱼ`, row by row, as long as there are weights.
#[inline(always)]
pub(crate) fn add_mixture(y: &mut [f32], weights: &[f32], rows: Rows<'_>) {
    /// Values that stay in registers while all rows are added to them.
    const LANES: usize = 16;
    let (blocks, rest) = y.as_chunks_mut::<LANES>();
    let rest_begin = blocks.len() * LANES;
    for (number, block) in blocks.iter_mut().enumerate() {
        let mut sums = *block;
        for (row, weight) in weights.iter().enumerate() {
            let begin = row * rows.stride + number * LANES;
            let row = rows.values[begin..].first_chunk::<LANES>();
            let row = row.expect("every weight has a row");
            for i in 0..LANES {
                sums[i] += weight * row[i];
            }
        }
        *block = sums;
    }
    if !rest.is_empty() {
        for (row, weight) in weights.iter().enumerate() {
            let begin = row * rows.stride + rest_begin;
            add_scaled(rest, *weight, &rows.values[begin..][..rest.len()]);
        }
    }
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
    let exponent = (halvings.max(-126.0) as i32 + 127).cast_unsigned();
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
    }
}
