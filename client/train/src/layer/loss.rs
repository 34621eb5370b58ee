//! Soft-max cross-entropy of one row of logits.

use super::attention::soft_max;

/// What one row contributes to a step's report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowLoss {
    /// −ln p(label), in nats.
    pub loss: f32,
    /// The largest logit is the label's (the lowest index wins ties).
    pub is_correct: bool,
}

/// Loss of `logits` against `label`; `gradient` becomes dL/dlogits · `weight`.
pub(crate) fn cross_entropy(
    logits: &[f32],
    label: usize,
    weight: f32,
    gradient: &mut [f32],
) -> RowLoss {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    gradient.copy_from_slice(logits);
    soft_max(gradient);
    // A probability that underflows to zero would make the loss infinite.
    let loss = -libm::logf(gradient[label].max(f32::MIN_POSITIVE));
    gradient[label] -= 1.0;
    gradient.iter_mut().for_each(|g| *g *= weight);
    RowLoss {
        loss,
        is_correct: best == label,
    }
}

/// Changes the gradient of [`cross_entropy`] to that against a mixture of the label and a
/// teacher's `probabilities`, of which `share` is the teacher's.
pub(crate) fn follow(
    probabilities: &[f32],
    share: f32,
    label: usize,
    weight: f32,
    gradient: &mut [f32],
) {
    for (gradient, p) in gradient.iter_mut().zip(probabilities) {
        *gradient -= share * weight * p;
    }
    gradient[label] += share * weight;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{assert_gradient, values};

    #[test]
    fn gradient_matches_finite_differences() {
        let point = values(7, 41);
        let run = |logits: &[f32], gradient: Option<&mut [f32]>| {
            let mut unused = vec![0.0; logits.len()];
            let gradient = gradient.unwrap_or(&mut unused);
            f64::from(cross_entropy(logits, 4, 1.0, gradient).loss)
        };
        assert_gradient(&point, run);
    }

    #[test]
    fn gradient_of_a_lesson_is_that_of_the_mixed_losses() {
        let (logits, lesson) = (values(5, 42), [0.1, 0.2, 0.3, 0.25, 0.15]);
        let of = |label: usize| {
            let mut gradient = [0.0; 5];
            cross_entropy(&logits, label, 2.0, &mut gradient);
            gradient
        };
        let mut followed = of(3);
        follow(&lesson, 0.4, 3, 2.0, &mut followed);
        for (class, got) in followed.iter().enumerate() {
            let mixed = (0..5)
                .map(|label| lesson[label] * of(label)[class])
                .sum::<f32>();
            let expected = 0.6 * of(3)[class] + 0.4 * mixed;
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() {
        let row = cross_entropy(&[1.0; 10], 3, 1.0, &mut [0.0; 10]);
        assert!((row.loss - 10f32.ln()).abs() < 1e-6);
        assert!(!row.is_correct, "a tie goes to class 0");
    }
}
