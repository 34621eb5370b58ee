//! Compares a hand-written gradient with finite differences (tests only).

use crate::rng::{Purpose, Rng};

/// `count` numbers with mean 0 and variance 1.
pub(crate) fn values(count: usize, salt: u64) -> Vec<f32> {
    let mut rng = Rng::new(salt, Purpose::Initialisation, 0);
    (0..count).map(|_| rng.normal()).collect()
}

/// Half the distance of a central difference: large against the rounding of
/// single precision, small against the curvature of the layers.
const STEP: f32 = 4e-3;

/// Largest accepted difference, as a share of the gradient's largest component.
/// Wrong signs, factors and missing terms are all far above it.
const TOLERANCE: f64 = 4e-3;

/// `run(point, Some(gradient))` returns a scalar and adds its gradient; every
/// component must match the central difference of `run(point, None)`.
pub(crate) fn assert_gradient(point: &[f32], run: impl Fn(&[f32], Option<&mut [f32]>) -> f64) {
    let mut gradient = vec![0.0; point.len()];
    run(point, Some(&mut gradient));
    let largest = gradient
        .iter()
        .fold(0.0f64, |max, g| max.max(f64::from(g.abs())));
    assert!(
        largest > 1e-3,
        "the gradient vanishes: the check would prove nothing"
    );
    for (i, &exact) in gradient.iter().enumerate() {
        let at = |offset: f32| {
            let mut moved = point.to_vec();
            moved[i] += offset;
            // The distance really moved, after rounding to single precision.
            (run(&moved, None), f64::from(moved[i]))
        };
        let ((above, upper), (below, lower)) = (at(STEP), at(-STEP));
        let measured = (above - below) / (upper - lower);
        let error = (measured - f64::from(exact)).abs();
        assert!(
            error <= TOLERANCE * largest,
            "component {i}: gradient {exact}, finite difference {measured}, largest {largest}"
        );
    }
}
