//! Root-mean-square norm: `yᵢ = gᵢ · hᵢ / √(mean h² + ε)`, per row.

use hasher_kernel::{Loop, run};

use crate::vector::dot;

/// ε: the exact inference adds 42 950 to a Q32 mean square, which is 1.0·10⁻⁵.
const EPSILON: f32 = 42_950.0 / 4_294_967_296.0;

/// Normalises every row of `h`; `scales` receives 1/√(mean h² + ε) per row.
pub(crate) fn forward(h: &[f32], gain: &[f32], y: &mut [f32], scales: &mut [f32]) {
    run(Forward { h, gain, y, scales });
}

/// Adds dL/dh and dL/dg, given dL/dy and what the forward saw and wrote.
///
/// With `s` the row's scale and `w` its width:
/// `dhⱼ = s·gⱼ·dyⱼ − hⱼ · s³/w · Σᵢ gᵢ·dyᵢ·hᵢ` and `dgᵢ = dyᵢ·hᵢ·s`.
pub(crate) fn backward(
    dy: &[f32],
    h: &[f32],
    gain: &[f32],
    scales: &[f32],
    dh: &mut [f32],
    dgain: &mut [f32],
) {
    run(Backward {
        dy,
        h,
        gain,
        scales,
        dh,
        dgain,
    });
}

struct Forward<'a> {
    h: &'a [f32],
    gain: &'a [f32],
    y: &'a mut [f32],
    scales: &'a mut [f32],
}

impl Loop for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.gain.len();
        let rows = self
            .h
            .chunks_exact(width)
            .zip(self.y.chunks_exact_mut(width))
            .zip(self.scales);
        for ((h, y), scale) in rows {
            *scale = 1.0 / (dot(h, h) / width as f32 + EPSILON).sqrt();
            for ((y, h), g) in y.iter_mut().zip(h).zip(self.gain) {
                *y = g * h * *scale;
            }
        }
    }
}

struct Backward<'a> {
    dy: &'a [f32],
    h: &'a [f32],
    gain: &'a [f32],
    scales: &'a [f32],
    dh: &'a mut [f32],
    dgain: &'a mut [f32],
}

impl Loop for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (gain, dgain) = (self.gain, self.dgain);
        let width = gain.len();
        let rows = self
            .dy
            .chunks_exact(width)
            .zip(self.h.chunks_exact(width))
            .zip(self.dh.chunks_exact_mut(width))
            .zip(self.scales);
        for (((dy, h), dh), &scale) in rows {
            for ((dg, dy), h) in dgain.iter_mut().zip(dy).zip(h) {
                *dg += dy * h * scale;
            }
            let shared = sum_of_products(gain, dy, h) * scale * scale * scale / width as f32;
            for (((dh, dy), h), g) in dh.iter_mut().zip(dy).zip(h).zip(gain) {
                *dh += scale * g * dy - h * shared;
            }
        }
    }
}

/// Σ aᵢ·bᵢ·cᵢ in eight interleaved partial sums: a fixed order that vectorises.
#[inline(always)]
fn sum_of_products(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let (c_blocks, c_rest) = c.as_chunks::<8>();
    let mut sums = [0.0f32; 8];
    for ((a, b), c) in a_blocks.iter().zip(b_blocks).zip(c_blocks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i] * c[i];
        }
    }
    for (i, ((a, b), c)) in a_rest.iter().zip(b_rest).zip(c_rest).enumerate() {
        sums[i] += a * b * c;
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{assert_gradient, values};

    #[test]
    fn gradients_match_finite_differences() {
        let (rows, width) = (3, 10);
        let point = values(width + rows * width, 21);
        let weights_of_y = values(rows * width, 22);
        let run = |point: &[f32], gradient: Option<&mut [f32]>| {
            let (gain, h) = point.split_at(width);
            let mut y = vec![0.0; h.len()];
            let mut scales = vec![0.0; rows];
            forward(h, gain, &mut y, &mut scales);
            if let Some(gradient) = gradient {
                let (dgain, dh) = gradient.split_at_mut(width);
                backward(&weights_of_y, h, gain, &scales, dh, dgain);
            }
            y.iter()
                .zip(&weights_of_y)
                .map(|(y, w)| f64::from(y * w))
                .sum()
        };
        assert_gradient(&point, run);
    }

    #[test]
    fn a_row_of_equal_values_becomes_the_gain() {
        let mut y = [0.0; 4];
        forward(&[-3.0; 4], &[0.5, 1.0, 1.5, 2.0], &mut y, &mut [0.0]);
        for (y, expected) in y.iter().zip([-0.5, -1.0, -1.5, -2.0]) {
            assert!((y - expected).abs() < 1e-5, "{y} instead of {expected}");
        }
    }
}
