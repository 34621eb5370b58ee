//! The Gaussian error linear unit, which float runs compare with, and its derivative.
//!
//! Both are loops that take vectors: every branch is a choice between two values. The
//! error function and the exponential have the bits of the crate `libm`, which the tests
//! compare; their coefficients and the order of operations are those of FreeBSD's
//! `s_erff.c` and `e_expf.c`:
//!
//! > Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
//! > Developed at SunPro, a Sun Microsystems, Inc. business. Permission to use, copy,
//! > modify, and distribute this software is freely granted, provided that this notice
//! > is preserved.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use hasher_kernel::{Loop, run};

/// Writes x · Φ(x) for every `x`, with Φ the normal distribution.
pub(crate) fn forward(x: &[f32], y: &mut [f32]) {
    run(Forward { x, y });
}

/// Multiplies dL/dy by the derivative, Φ(x) + x · φ(x).
pub(crate) fn backward(x: &[f32], dy: &mut [f32]) {
    run(Backward { x, dy });
}

/// x · Φ(x).
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// Derivative of [`gelu`].
#[inline(always)]
fn slope(x: f32) -> f32 {
    /// 1 / √(2π).
    const DENSITY: f32 = 0.398_942_3;
    let share = 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2));
    share + x * DENSITY * exp(-0.5 * x * x)
}

struct Forward<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Loop for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y = gelu(*x);
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    dy: &'a mut [f32],
}

impl Loop for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (dy, x) in self.dy.iter_mut().zip(self.x) {
            *dy *= slope(*x);
        }
    }
}

/// c₀ + x · (c₁ + x · (c₂ + …)).
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = coefficients[i] + x * sum;
    }
    sum
}

/// The error function: one of four quotients of polynomials, by the size of x.
#[inline(always)]
fn erf(x: f32) -> f32 {
    /// Ends of the ranges of the first three quotients, and where it is one.
    const ENDS: [f32; 4] = [0.843_75, 1.25, 2.857_142_7, 6.0];
    /// Below this, it is a multiple of x.
    const TINY: f32 = 1.0 / (1 << 28) as f32;
    const TINY_FACTOR: f32 = 1.027_033_3;
    /// About the value at one.
    const AT_ONE: f32 = 0.845_062_9;
    const P: [f32; 5] = [
        1.283_791_7e-1,
        -3.250_421e-1,
        -2.848_175e-2,
        -5.770_270_2e-3,
        -2.376_301_7e-5,
    ];
    const Q: [f32; 6] = [
        1.0,
        3.979_172e-1,
        6.502_225e-2,
        5.081_306e-3,
        1.324_947_4e-4,
        -3.960_228_2e-6,
    ];
    const PA: [f32; 7] = [
        -2.362_118_6e-3,
        4.148_561e-1,
        -3.722_078_8e-1,
        3.183_466_2e-1,
        -1.108_946_95e-1,
        3.547_830_5e-2,
        -2.166_375_5e-3,
    ];
    const QA: [f32; 7] = [
        1.0,
        1.064_208_8e-1,
        5.403_979_4e-1,
        7.182_865_6e-2,
        1.261_712_2e-1,
        1.363_708_4e-2,
        1.198_45e-2,
    ];
    const RA: [f32; 8] = [
        -9.864_944e-3,
        -6.938_585_6e-1,
        -1.055_862_6e1,
        -6.237_533e1,
        -1.623_966_7e2,
        -1.846_050_9e2,
        -8.128_744e1,
        -9.814_329,
    ];
    const SA: [f32; 9] = [
        1.0,
        1.965_127_2e1,
        1.376_577_6e2,
        4.345_659e2,
        6.453_872_7e2,
        4.290_081_5e2,
        1.086_35e2,
        6.570_249_6,
        -6.042_441_4e-2,
    ];
    const RB: [f32; 7] = [
        -9.864_943e-3,
        -7.992_832_7e-1,
        -1.775_795_6e1,
        -1.606_363_8e2,
        -6.375_664_7e2,
        -1.025_095_1e3,
        -4.835_192e2,
    ];
    const SB: [f32; 8] = [
        1.0,
        3.033_806e1,
        3.257_925e2,
        1.536_729_6e3,
        3.199_858_2e3,
        2.553_050_3e3,
        4.745_285_3e2,
        -2.244_095_2e1,
    ];
    let size = x.abs();
    let square = x * x;
    let near = x + x * (polynomial(square, P) / polynomial(square, Q));
    let tiny = 0.125 * (8.0 * x + TINY_FACTOR * x);
    let near = if size < TINY { tiny } else { near };

    let from_one = size - 1.0;
    let middle = 1.0 - AT_ONE - polynomial(from_one, PA) / polynomial(from_one, QA);

    let inverse = 1.0 / (size * size);
    let (numerator, denominator) = if size < ENDS[2] {
        (polynomial(inverse, RA), polynomial(inverse, SA))
    } else {
        (polynomial(inverse, RB), polynomial(inverse, SB))
    };
    // Half of the bits of |x|, so that its square is exact.
    let high = f32::from_bits(size.to_bits() & 0xffff_e000);
    let rest = (high - size) * (high + size) + numerator / denominator;
    let far = exp(-high * high - 0.5625) * exp(rest) / size;

    let far = 1.0 - if size < ENDS[1] { middle } else { far };
    // Not a number stays so: it is in none of the ranges.
    let far = if size >= ENDS[3] { 1.0 } else { far };
    if size < ENDS[0] {
        near
    } else {
        far.copysign(x)
    }
}

/// `eˣ` for x below 88.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// ln 2 in two parts, of which the first has few bits: its products are exact.
    const LN_2: [f32; 2] = [6.931_457_5e-1, 1.428_606_8e-6];
    const P: [f32; 2] = [1.666_662_5e-1, -2.766_733_3e-3];
    /// Below this, it is 1 + x.
    const TINY: f32 = 1.0 / (1 << 13) as f32;
    /// Half and three halves of ln 2.
    const HALVES: [f32; 2] = [0.346_573_6, 1.039_720_8];
    /// From here on it is zero.
    const ZERO: f32 = -103.972_084;
    /// About here a float's last bit is worth one.
    const INTEGERS: f32 = 12_582_912.0;
    /// The smallest power of two with all bits.
    const EXPONENT_MIN: i32 = -126;
    let size = x.abs();
    let one = 1f32.copysign(x);
    let power = x.max(ZERO) * LOG2_E + 0.5 * one;
    let power = if size > HALVES[1] { power } else { one };
    let power = if size > HALVES[0] { power } else { 0.0 };
    // Towards zero, without a cast: its result is defined for every number.
    let nearest = (power + INTEGERS) - INTEGERS;
    let is_above = nearest.abs() > power.abs();
    let power = if is_above { nearest - one } else { nearest };
    let exponent = (power + INTEGERS)
        .to_bits()
        .wrapping_sub(INTEGERS.to_bits())
        .cast_signed();
    let high = x - power * LN_2[0];
    let low = power * LN_2[1];
    let rest = high - low;
    let square = rest * rest;
    let c = rest - square * (P[0] + square * P[1]);
    let y = 1.0 + (rest * c / (2.0 - c) - low + high);
    // A result with fewer bits is rounded once, by the second of the factors.
    let first = if exponent < EXPONENT_MIN { -102 } else { 0 };
    let y = y * two_to(first) * two_to(exponent - first);
    let y = if size <= TINY { 1.0 + x } else { y };
    if x <= ZERO { 0.0 } else { y }
}

/// 2 to the power of an exponent from -126 to 127.
#[inline(always)]
fn two_to(exponent: i32) -> f32 {
    f32::from_bits((exponent + 127).cast_unsigned() << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of every size and sign, `step` bit patterns apart.
    fn numbers(step: usize) -> impl Iterator<Item = f32> {
        (0..=u32::MAX).step_by(step).map(f32::from_bits)
    }

    fn assert_same(ours: f32, theirs: f32, x: f32) {
        assert!(
            ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()),
            "{x}: {ours} instead of {theirs}"
        );
    }

    #[test]
    fn the_error_function_and_the_exponential_are_those_of_libm() {
        for x in numbers(4093) {
            assert_same(erf(x), libm::erff(x), x);
            if x < 88.0 || x.is_nan() {
                assert_same(exp(x), libm::expf(x), x);
            }
        }
    }

    #[test]
    fn loops_give_the_bits_of_the_definition() {
        let x: Vec<f32> = numbers(40_009).collect();
        let (mut y, mut dy) = (vec![0.0; x.len()], vec![1.0; x.len()]);
        forward(&x, &mut y);
        backward(&x, &mut dy);
        for ((x, y), dy) in x.into_iter().zip(y).zip(dy) {
            let share = 1.0 + libm::erff(x * FRAC_1_SQRT_2);
            assert_same(y, 0.5 * x * share, x);
            let density = x * 0.398_942_3 * libm::expf(-0.5 * x * x);
            assert_same(dy, 0.5 * share + density, x);
        }
    }
}
