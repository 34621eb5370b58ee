//! `HashAct` in floating point: a quantiser to a few bits whose rounding is
//! dithered, and its straight-through gradient.
//!
//! With `t` the input in code units, the code is `floor(t + u)` for a dither
//! `u` in (0, 1), so its expectation is `t` clipped to the code range: the
//! gradient is one inside that range and zero outside. Where the dither comes
//! from is the caller's choice ([`Activate`]).

use hasher_model::CodeRange;

use crate::rng::Rng;

/// Which activation vector is rounded: the key of its dither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Example inside the chunk.
    pub example: usize,
    /// Layer; the number of layers stands for the read-out.
    pub layer: usize,
    /// Site inside the layer, 0 … 3.
    pub site: usize,
    /// Position inside the example.
    pub position: usize,
}

/// Maps real values to code units and back; `b` = bits of a code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantiser {
    /// Signed or unsigned codes.
    pub range: CodeRange,
    slope: f32,
    offset: f32,
    max: f32,
    unit: f32,
    origin: f32,
}

impl Quantiser {
    /// The quantiser of `bits` (1 … 8) and `range`.
    pub(crate) fn new(bits: u32, range: CodeRange) -> Self {
        let levels = (1u32 << bits) as f32;
        let max = levels - 1.0;
        match range {
            CodeRange::Signed => Self {
                range,
                slope: levels / 4.0,
                offset: max / 2.0,
                max,
                unit: 4.0 / levels,
                origin: -2.0 * max / levels,
            },
            CodeRange::Unsigned => Self {
                range,
                slope: levels / 2.0,
                offset: 0.0,
                max,
                unit: 2.0 / levels,
                origin: 0.0,
            },
        }
    }

    /// `z` in code units, not clipped.
    fn position(&self, z: f32) -> f32 {
        z * self.slope + self.offset
    }

    /// The code of `z` under the dither `u` in (0, 1).
    fn code(&self, z: f32, u: f32) -> f32 {
        // Truncation is floor here: the clipped position is not negative.
        (self.position(z).clamp(0.0, self.max) + u) as i32 as f32
    }

    /// The output for `z` under the dither `u` in (0, 1).
    fn round(&self, z: f32, u: f32) -> f32 {
        self.code(z, u) * self.unit + self.origin
    }

    /// Sets dL/dy to zero where `z` is outside the clip range.
    pub(crate) fn backward(&self, z: &[f32], dy: &mut [f32]) {
        for (dy, z) in dy.iter_mut().zip(z) {
            let t = self.position(*z);
            *dy = if t >= 0.0 && t <= self.max { *dy } else { 0.0 };
        }
    }
}

/// Rounds one lane after another; implementations differ in the dither.
pub(crate) trait Activate {
    /// Writes the activation of `z` to `y`.
    fn activate(&mut self, lane: Lane, quantiser: &Quantiser, z: &[f32], y: &mut [f32]);
}

/// The centre of dither step `k` of 2^`bits`.
fn dither(k: u64, bits: u32) -> f32 {
    (k as f32 + 0.5) / (1u32 << bits) as f32
}

/// Dither from the fast generator: same distribution as the oracle's.
#[derive(Debug)]
pub(crate) struct FastDither {
    rng: Rng,
    bits: u32,
}

impl FastDither {
    /// `bits` (1, 2, 4 or 8) of dither per unit, drawn from `rng`.
    pub(crate) fn new(rng: Rng, bits: u32) -> Self {
        Self { rng, bits }
    }
}

impl Activate for FastDither {
    fn activate(&mut self, _: Lane, quantiser: &Quantiser, z: &[f32], y: &mut [f32]) {
        // 8 units a draw for every width: an unused draw costs less than a
        // loop whose length depends on `bits`.
        const UNITS: usize = 8;
        let mask = (1 << self.bits) - 1;
        for (z, y) in z.chunks(UNITS).zip(y.chunks_mut(UNITS)) {
            let random = self.rng.next_u64();
            for (i, (z, y)) in z.iter().zip(y).enumerate() {
                let k = random >> (8 * i) & mask;
                *y = quantiser.round(*z, dither(k, self.bits));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{assert_gradient, values};
    use crate::rng::Purpose;

    const LANE: Lane = Lane {
        example: 0,
        layer: 0,
        site: 0,
        position: 0,
    };

    /// The expectation of the dithered activation: clipped, not quantised.
    pub(crate) struct Expected;

    impl Activate for Expected {
        fn activate(&mut self, _: Lane, quantiser: &Quantiser, z: &[f32], y: &mut [f32]) {
            for (z, y) in z.iter().zip(y) {
                let t = quantiser.position(*z).clamp(0.0, quantiser.max);
                *y = t * quantiser.unit + quantiser.origin;
            }
        }
    }

    #[test]
    fn gradient_matches_finite_differences_of_the_expectation() {
        for range in [CodeRange::Signed, CodeRange::Unsigned] {
            let quantiser = Quantiser::new(4, range);
            let point: Vec<f32> = values(24, 51).iter().map(|z| 1.7 * z).collect();
            let weights_of_y = values(24, 52);
            let run = |z: &[f32], gradient: Option<&mut [f32]>| {
                let mut y = vec![0.0; z.len()];
                Expected.activate(LANE, &quantiser, z, &mut y);
                if let Some(gradient) = gradient {
                    gradient.copy_from_slice(&weights_of_y);
                    quantiser.backward(z, gradient);
                }
                y.iter()
                    .zip(&weights_of_y)
                    .map(|(y, w)| f64::from(y * w))
                    .sum()
            };
            assert_gradient(&point, run);
        }
    }

    #[test]
    fn mean_of_dithered_outputs_is_the_expectation() {
        for range in [CodeRange::Signed, CodeRange::Unsigned] {
            for bits in [1, 2, 4, 8] {
                let quantiser = Quantiser::new(4, range);
                let z = values(16, 53);
                let mut fast = FastDither::new(Rng::new(1, Purpose::Dither, 0), bits);
                let (mut y, mut mean) = (vec![0.0; 16], vec![0.0f64; 16]);
                const DRAWS: usize = 4000;
                for _ in 0..DRAWS {
                    fast.activate(LANE, &quantiser, &z, &mut y);
                    for (mean, y) in mean.iter_mut().zip(&y) {
                        *mean += f64::from(*y) / DRAWS as f64;
                    }
                }
                Expected.activate(LANE, &quantiser, &z, &mut y);
                // Unbiased up to half a dither step, plus sampling noise.
                let allowed = f64::from(quantiser.unit) * (0.5f64.powi(bits as i32 + 1) + 0.03);
                for (mean, y) in mean.iter().zip(&y) {
                    assert!(
                        (mean - f64::from(*y)).abs() < allowed,
                        "{mean} instead of {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn outputs_are_the_codes_of_the_specification() {
        let signed = Quantiser::new(4, CodeRange::Signed);
        assert_eq!(signed.round(-9.0, 0.5), -15.0 / 8.0);
        assert_eq!(signed.round(9.0, 0.97), 15.0 / 8.0);
        assert_eq!(signed.round(0.1, 0.5), 1.0 / 8.0);
        let unsigned = Quantiser::new(4, CodeRange::Unsigned);
        assert_eq!(unsigned.round(-1.0, 0.97), 0.0);
        assert_eq!(unsigned.round(0.5, 0.5), 4.0 / 8.0);
        assert_eq!(unsigned.round(7.0, 0.97), 15.0 / 8.0);
    }
}
