//! Root-mean-square norm: `yᵢ = gᵢ · hᵢ / √(mean h² + ε)`, per row.

use crate::vector::dot;

/// ε: the exact inference adds 42 950 to a Q32 mean square, which is 1.0·10⁻⁵.
const EPSILON: f32 = 42_950.0 / 4_294_967_296.0;

/// Normalises every row of `h`; `scales` receives 1/√(mean h² + ε) per row.
pub(crate) fn forward(h: &[f32], gain: &[f32], y: &mut [f32], scales: &mut [f32]) {
    let width = gain.len();
    let rows = h
        .chunks_exact(width)
        .zip(y.chunks_exact_mut(width))
        .zip(scales);
    for ((h, y), scale) in rows {
        *scale = 1.0 / (dot(h, h) / width as f32 + EPSILON).sqrt();
        for ((y, h), g) in y.iter_mut().zip(h).zip(gain) {
            *y = g * h * *scale;
        }
    }
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
    let width = gain.len();
    let rows = dy
        .chunks_exact(width)
        .zip(h.chunks_exact(width))
        .zip(dh.chunks_exact_mut(width))
        .zip(scales);
    for (((dy, h), dh), &scale) in rows {
        for ((dg, dy), h) in dgain.iter_mut().zip(dy).zip(h) {
            *dg += dy * h * scale;
        }
        let mut projection = [0.0f32; 8];
        for (i, ((dy, h), g)) in dy.iter().zip(h).zip(gain).enumerate() {
            projection[i % 8] += g * dy * h;
        }
        let shared = projection.iter().sum::<f32>() * scale * scale * scale / width as f32;
        for (((dh, dy), h), g) in dh.iter_mut().zip(dy).zip(h).zip(gain) {
            *dh += scale * g * dy - h * shared;
        }
    }
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
