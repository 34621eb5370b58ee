//! `HashAct` in floating point: a quantiser to a few bits whose rounding is
//! dithered, and what stands in for its gradient.
//!
//! With `t` the input in code units, the code is `floor(t + u)` for a dither
//! `u` in (0, 1), so its expectation is `t` clipped to the code range: the
//! gradient is one inside that range and zero outside. Where the dither comes
//! from is the caller's choice ([`Activate`]); other forms of activation and
//! gradient are there for comparison ([`Form`]).

use hasher_kernel::{Loop, run};
use hasher_model::CodeRange;

use super::gelu;
use crate::config::{Activation, Surrogate};
use crate::rng::Rng;

/// Scale of the logistic noise in code units: its standard deviation is 0.9 of a
/// code step, wide enough to soften the ends of the clip range.
const NOISE_SCALE: f32 = 0.5;

/// What the activations of a network are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Form {
    pub activation: Activation,
    pub surrogate: Surrogate,
}

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
    form: Form,
}

impl Quantiser {
    /// The quantiser of `bits` (1 … 8) and `range`.
    pub(crate) fn new(bits: u32, range: CodeRange, form: Form) -> Self {
        let levels = (1u32 << bits) as f32;
        let max = levels - 1.0;
        match range {
            CodeRange::Signed => Self {
                form,
                range,
                slope: levels / 4.0,
                offset: max / 2.0,
                max,
                unit: 4.0 / levels,
                origin: -2.0 * max / levels,
            },
            CodeRange::Unsigned => Self {
                form,
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
    #[inline(always)]
    fn position(&self, z: f32) -> f32 {
        z * self.slope + self.offset
    }

    /// The code of `z` under the dither `u` in (0, 1).
    #[inline(always)]
    fn code(&self, z: f32, u: f32) -> f32 {
        floor(self.position(z).clamp(0.0, self.max) + u)
    }

    /// The output for `z` under the dither `u` in (0, 1).
    #[inline(always)]
    fn round(&self, z: f32, u: f32) -> f32 {
        self.code(z, u) * self.unit + self.origin
    }

    /// Writes the outputs for `z` without any dither.
    fn undithered(&self, z: &[f32], y: &mut [f32]) {
        match (self.form.activation, self.range) {
            (Activation::Gelu, CodeRange::Signed) => y.copy_from_slice(z),
            (Activation::Gelu, CodeRange::Unsigned) => gelu::forward(z, y),
            _ => {
                for (y, z) in y.iter_mut().zip(z) {
                    *y = self.round(*z, 0.5);
                }
            }
        }
    }

    /// Turns dL/dy into dL/dz, as the form of the activation has it.
    pub(crate) fn backward(&self, z: &[f32], dy: &mut [f32]) {
        let pairs = dy.iter_mut().zip(z);
        match (self.form.activation, self.form.surrogate) {
            (_, Surrogate::Frozen) => dy.fill(0.0),
            (Activation::Gelu, _) if self.range == CodeRange::Signed => {}
            (Activation::Gelu, _) => gelu::backward(z, dy),
            (_, Surrogate::StraightThrough) => {}
            (_, Surrogate::Clipped) => run(Clip {
                quantiser: *self,
                z,
                dy,
            }),
            (_, Surrogate::Logistic) => pairs.for_each(|(dy, z)| {
                let t = self.position(*z);
                *dy *= logistic(t / NOISE_SCALE) - logistic((t - self.max) / NOISE_SCALE);
            }),
        }
    }
}

/// The gradient inside of the clip range, zero outside.
struct Clip<'a> {
    quantiser: Quantiser,
    z: &'a [f32],
    dy: &'a mut [f32],
}

impl Loop for Clip<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let max = self.quantiser.max;
        for (dy, z) in self.dy.iter_mut().zip(self.z) {
            let t = self.quantiser.position(*z);
            *dy = if t >= 0.0 && t <= max { *dy } else { 0.0 };
        }
    }
}

/// The largest integer that is not above `x`, which is 0 to 2²²: in contrast to a cast,
/// whose result is defined for every number, it becomes three vector instructions.
#[inline(always)]
fn floor(x: f32) -> f32 {
    /// From here on a float's last bit is worth one.
    const INTEGERS: f32 = 8_388_608.0;
    let nearest = (x + INTEGERS) - INTEGERS;
    if nearest > x { nearest - 1.0 } else { nearest }
}

/// Distribution function of the logistic distribution.
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
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
        if quantiser.form.activation != Activation::Hash {
            return quantiser.undithered(z, y);
        }
        if quantiser.form.surrogate == Surrogate::Logistic {
            return self.activate_with_noise(quantiser, z, y);
        }
        run(Dithered {
            dither: self,
            quantiser: *quantiser,
            z,
            y,
        });
    }
}

/// Rounds one row with dither from the fast generator.
struct Dithered<'a> {
    dither: &'a mut FastDither,
    quantiser: Quantiser,
    z: &'a [f32],
    y: &'a mut [f32],
}

impl Loop for Dithered<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // 8 units a draw for every width: an unused draw costs less than a
        // loop whose length depends on the bits of dither.
        const UNITS: usize = 8;
        /// Draws that are made one after the other, for a loop of vectors to take.
        const DRAWS: usize = 16;
        let FastDither { rng, bits } = self.dither;
        let mask = 0xff >> (8 - *bits);
        // A power of two, so the product is as exact as a division.
        let step = 1.0 / (1u32 << *bits) as f32;
        let mut random = [[0; UNITS]; DRAWS];
        let blocks = self.z.chunks(UNITS * DRAWS);
        for (z, y) in blocks.zip(self.y.chunks_mut(UNITS * DRAWS)) {
            for draw in &mut random[..z.len().div_ceil(UNITS)] {
                *draw = rng.next_u64().to_le_bytes();
            }
            for ((z, y), random) in z.iter().zip(y).zip(random.as_flattened()) {
                let dither = (f32::from(*random & mask) + 0.5) * step;
                *y = self.quantiser.round(*z, dither);
            }
        }
    }
}

impl FastDither {
    /// As [`Activate::activate`], with logistic noise on the input.
    fn activate_with_noise(&mut self, quantiser: &Quantiser, z: &[f32], y: &mut [f32]) {
        /// 2⁻²⁴: the middle of the first of 2²³ steps.
        const HALF_STEP: f32 = 1.0 / 16_777_216.0;
        for (z, y) in z.iter().zip(y) {
            let random = self.rng.next_u64();
            let k = random & ((1 << self.bits) - 1);
            // Uniform in (0, 1), both ends left out, from bits that k does not use.
            let p = (random >> 41) as f32 * 2.0 * HALF_STEP + HALF_STEP;
            let noise = NOISE_SCALE * libm::logf(p / (1.0 - p));
            *y = quantiser.round(*z + noise / quantiser.slope, dither(k, self.bits));
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

    /// The expectation of the activation over its randomness: clipped, not
    /// quantised, and softened at the ends by noise if the form has any.
    pub(crate) struct Expected;

    impl Activate for Expected {
        fn activate(&mut self, _: Lane, quantiser: &Quantiser, z: &[f32], y: &mut [f32]) {
            let noisy = |t: f32| {
                // The integral of the logistic distribution function.
                let soft = |t: f32| NOISE_SCALE * libm::log1pf(libm::expf(t / NOISE_SCALE));
                soft(t) - soft(t - quantiser.max)
            };
            for (z, y) in z.iter().zip(y) {
                let t = quantiser.position(*z);
                let t = match quantiser.form.surrogate {
                    Surrogate::Logistic => noisy(t),
                    Surrogate::StraightThrough => t,
                    _ => t.clamp(0.0, quantiser.max),
                };
                *y = match quantiser.form.activation {
                    Activation::Gelu if quantiser.range == CodeRange::Signed => *z,
                    Activation::Gelu => gelu::gelu(*z),
                    _ => t * quantiser.unit + quantiser.origin,
                };
            }
        }
    }

    /// Every form whose gradient is that of an expectation.
    pub(crate) const FORMS: [Form; 4] = [
        Form {
            activation: Activation::Hash,
            surrogate: Surrogate::Clipped,
        },
        Form {
            activation: Activation::Hash,
            surrogate: Surrogate::StraightThrough,
        },
        Form {
            activation: Activation::Hash,
            surrogate: Surrogate::Logistic,
        },
        Form {
            activation: Activation::Gelu,
            surrogate: Surrogate::Clipped,
        },
    ];

    #[test]
    fn gradient_matches_finite_differences_of_the_expectation() {
        let ranges = [CodeRange::Signed, CodeRange::Unsigned];
        for (range, form) in ranges.into_iter().flat_map(|r| FORMS.map(|form| (r, form))) {
            let quantiser = Quantiser::new(4, range, form);
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
    fn a_frozen_activation_lets_no_gradient_through() {
        let form = Form {
            surrogate: Surrogate::Frozen,
            ..Form::default()
        };
        let mut dy = [1.0, -2.0];
        Quantiser::new(4, CodeRange::Signed, form).backward(&[0.1, 0.2], &mut dy);
        assert_eq!(dy, [0.0, 0.0]);
    }

    #[test]
    fn floor_is_that_of_the_standard_library() {
        for sixteenth in 0..(300 * 16) {
            let x = sixteenth as f32 / 16.0;
            assert_eq!(floor(x), x.floor());
            let below = f32::from_bits(x.to_bits().saturating_sub(1));
            assert_eq!(floor(below), below.floor(), "{below}");
        }
    }

    #[test]
    fn without_dither_the_code_is_the_nearest() {
        let form = Form {
            activation: Activation::Nearest,
            ..Form::default()
        };
        let quantiser = Quantiser::new(4, CodeRange::Signed, form);
        let mut y = [0.0; 2];
        let mut fast = FastDither::new(Rng::new(1, Purpose::Dither, 0), 4);
        fast.activate(LANE, &quantiser, &[0.13, -0.12], &mut y);
        assert_eq!(y, [1.0 / 8.0, -1.0 / 8.0]);
    }

    #[test]
    fn mean_of_dithered_outputs_is_the_expectation() {
        let ranges = [CodeRange::Signed, CodeRange::Unsigned];
        for (range, form) in ranges
            .into_iter()
            .flat_map(|r| [FORMS[0], FORMS[2]].map(|f| (r, f)))
        {
            for bits in [1, 2, 4, 8] {
                let quantiser = Quantiser::new(4, range, form);
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
        let signed = Quantiser::new(4, CodeRange::Signed, Form::default());
        assert_eq!(signed.round(-9.0, 0.5), -15.0 / 8.0);
        assert_eq!(signed.round(9.0, 0.97), 15.0 / 8.0);
        assert_eq!(signed.round(0.1, 0.5), 1.0 / 8.0);
        let unsigned = Quantiser::new(4, CodeRange::Unsigned, Form::default());
        assert_eq!(unsigned.round(-1.0, 0.97), 0.0);
        assert_eq!(unsigned.round(0.5, 0.5), 4.0 / 8.0);
        assert_eq!(unsigned.round(7.0, 0.97), 15.0 / 8.0);
    }
}
