//! Adam with decoupled weight decay, gradient clipping and the learning-rate
//! schedule. It knows nothing about what the numbers mean; the trainer calls it.

use hasher_kernel::{Loop, run};

/// Decay rates of the two moment averages (specification, section 9).
const BETA: [f32; 2] = [0.9, 0.98];
/// Keeps the step finite where the gradient has always been zero.
const EPSILON: f32 = 1e-8;
/// Largest gradient norm that is used as it is (specification, section 9).
const CLIP_NORM: f64 = 1.0;

/// Learning rate over a run: linear warm-up, then a cosine to a last share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    /// Rate at the end of the warm-up.
    pub peak: f32,
    /// Steps of the warm-up.
    pub warm_up: u32,
    /// All steps.
    pub steps: u32,
    /// Share of the peak that the last step approaches.
    pub last_share: f32,
}

impl Schedule {
    /// The rate of step `step`, from 0.
    pub(crate) fn rate(&self, step: u32) -> f32 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f32 / self.warm_up as f32;
        }
        let rest = self.steps.saturating_sub(self.warm_up).max(1);
        let progress = f64::from(step - self.warm_up) / f64::from(rest);
        let cosine = (1.0 + libm::cos(std::f64::consts::PI * progress.min(1.0))) / 2.0;
        self.peak * (self.last_share + (1.0 - self.last_share) * cosine as f32)
    }
}

/// How far one step goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    /// Learning rate of weights and coefficients.
    pub weights: f32,
    /// That of gains and biases.
    pub vectors: f32,
    /// Decoupled decay of the weights.
    pub decay: f32,
}

/// First and second moments of every latent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adam {
    /// Averages of the gradient.
    pub mean: Vec<f32>,
    /// Averages of its square.
    pub square: Vec<f32>,
}

impl Adam {
    /// Moments of `count` latents before the first step.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            mean: vec![0.0; count],
            square: vec![0.0; count],
        }
    }

    /// Moves `values` against `gradient` as step number `step` (from 0). `is_weight`
    /// tells which of them are weights; the others have a rate of their own and do not
    /// decay.
    pub(crate) fn apply(
        &mut self,
        step: u32,
        rates: Rates,
        values: &mut [f32],
        gradient: &[f32],
        is_weight: &[bool],
    ) {
        let correction = BETA.map(|beta| {
            let power = libm::pow(f64::from(beta), f64::from(step) + 1.0);
            (1.0 / (1.0 - power)) as f32
        });
        run(Step {
            mean: &mut self.mean,
            square: &mut self.square,
            correction,
            rates,
            values,
            gradient,
            is_weight,
        });
    }
}

struct Step<'a> {
    mean: &'a mut [f32],
    square: &'a mut [f32],
    correction: [f32; 2],
    rates: Rates,
    values: &'a mut [f32],
    gradient: &'a [f32],
    is_weight: &'a [bool],
}

impl Loop for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self {
            correction, rates, ..
        } = self;
        let moments = self.mean.iter_mut().zip(self.square);
        let values = self.values.iter_mut().zip(self.gradient);
        for (((value, g), is_weight), (mean, square)) in values.zip(self.is_weight).zip(moments) {
            *mean = BETA[0] * *mean + (1.0 - BETA[0]) * g;
            *square = BETA[1] * *square + (1.0 - BETA[1]) * g * g;
            let move_by = *mean * correction[0] / ((*square * correction[1]).sqrt() + EPSILON);
            let (rate, decay) = if *is_weight {
                (rates.weights, rates.decay)
            } else {
                (rates.vectors, 0.0)
            };
            *value -= rate * (move_by + decay * *value);
        }
    }
}

/// Steps before which an average keeps less than half.
const AVERAGE_WARM_UP: f32 = 9.0;

/// Moves `average` to `values`, those of step number `step` (from 0), and keeps at most the
/// share `keep` of what it was. Early it keeps less, `step / (step + 9)`, so that it never
/// looks back over much more than a tenth of the run.
pub(crate) fn follow(step: u32, keep: f32, average: &mut [f32], values: &[f32]) {
    let keep = keep.min(step as f32 / (step as f32 + AVERAGE_WARM_UP));
    run(Follow {
        keep,
        average,
        values,
    });
}

struct Follow<'a> {
    keep: f32,
    average: &'a mut [f32],
    values: &'a [f32],
}

impl Loop for Follow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (average, value) in self.average.iter_mut().zip(self.values) {
            *average = self.keep * *average + (1.0 - self.keep) * value;
        }
    }
}

/// Shrinks `gradient` to norm [`CLIP_NORM`] if it is longer; the norm before.
pub(crate) fn clip(gradient: &mut [f32]) -> f64 {
    let norm = gradient
        .iter()
        .map(|g| f64::from(*g) * f64::from(*g))
        .sum::<f64>()
        .sqrt();
    if norm > CLIP_NORM {
        let factor = (CLIP_NORM / norm) as f32;
        gradient.iter_mut().for_each(|g| *g *= factor);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_warms_up_peaks_and_ends_at_its_share() {
        let schedule = Schedule {
            peak: 1.0,
            warm_up: 50,
            steps: 800,
            last_share: 0.02,
        };
        assert_eq!(schedule.rate(0), 0.02);
        assert_eq!(schedule.rate(49), 1.0);
        assert_eq!(schedule.rate(50), 1.0);
        assert!((schedule.rate(425) - 0.51).abs() < 1e-3);
        assert!((schedule.rate(800) - 0.02).abs() < 1e-6);
        let rates: Vec<f32> = (50..800).map(|step| schedule.rate(step)).collect();
        assert!(rates.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_schedule_shorter_than_its_warm_up_stays_finite() {
        let schedule = Schedule {
            peak: 1.0,
            warm_up: 50,
            steps: 10,
            last_share: 0.02,
        };
        assert!((0..60).all(|step| schedule.rate(step).is_finite()));
    }

    #[test]
    fn the_first_step_moves_by_the_rate_against_the_sign() {
        let rates = Rates {
            weights: 0.1,
            vectors: 0.2,
            decay: 0.5,
        };
        let mut adam = Adam::new(4);
        let mut values = [1.0; 4];
        adam.apply(
            0,
            rates,
            &mut values,
            &[4.0, -0.01, 0.0, 4.0],
            &[false, false, true, true],
        );
        for (value, expected) in values.iter().zip([0.8, 1.2, 0.95, 0.85]) {
            assert!(
                (value - expected).abs() < 1e-5,
                "{value} instead of {expected}"
            );
        }
    }

    #[test]
    fn adam_finds_the_bottom_of_a_bowl() {
        let (mut adam, mut values) = (Adam::new(2), [3.0f32, -2.0]);
        let rates = Rates {
            weights: 0.01,
            vectors: 0.01,
            decay: 0.0,
        };
        for step in 0..2000 {
            let gradient = [2.0 * (values[0] - 1.0), 20.0 * (values[1] + 0.5)];
            adam.apply(step, rates, &mut values, &gradient, &[false, true]);
        }
        assert!(
            (values[0] - 1.0).abs() < 1e-2 && (values[1] + 0.5).abs() < 1e-2,
            "{values:?}"
        );
    }

    #[test]
    fn an_average_keeps_more_and_more_up_to_its_share() {
        let mut average = [f32::MAX];
        for (step, value, expected) in [
            (0, 6.0, 6.0),    // nothing of what was before
            (1, 16.0, 15.0),  // a tenth
            (9, 5.0, 10.0),   // half
            (1000, 0.0, 9.0), // the share, nine tenths
        ] {
            follow(step, 0.9, &mut average, &[value]);
            assert!((average[0] - expected).abs() < 1e-5, "{average:?}");
        }
        follow(1001, 0.0, &mut average, &[7.0]);
        assert_eq!(average, [7.0]);
    }

    #[test]
    fn clipping_keeps_direction_and_short_gradients() {
        let mut long = [3.0, 4.0];
        assert!((clip(&mut long) - 5.0).abs() < 1e-9);
        assert!((long[0] - 0.6).abs() < 1e-6 && (long[1] - 0.8).abs() < 1e-6);
        let mut short = [0.3, 0.4];
        clip(&mut short);
        assert_eq!(short, [0.3, 0.4]);
    }
}
