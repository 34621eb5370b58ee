//! The two operations on vectors that attention is made of, in a fixed order.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
