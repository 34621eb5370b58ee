//! Multi-head soft-max attention inside one example; every position attends to
//! every position, or to itself and those before it.

use hasher_kernel::{Loop, run};

use crate::vector::{Rows, add_mixture, add_scaled, dot, exp};

/// Shape of one attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    /// Positions per example.
    pub positions: usize,
    /// Heads; divides `width`.
    pub heads: usize,
    /// Values per row, all heads together.
    pub width: usize,
    /// Whether a position sees only itself and those before it.
    pub is_causal: bool,
}

/// Query, key and value rows: `examples · positions × width` each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Qkv<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
}

/// Where the gradients of [`Qkv`] are added.
#[derive(Debug)]
pub(crate) struct QkvGradient<'a> {
    pub q: &'a mut [f32],
    pub k: &'a mut [f32],
    pub v: &'a mut [f32],
}

impl Attention {
    /// Length of the attention weights of `rows` rows.
    pub(crate) fn weights_len(&self, rows: usize) -> usize {
        rows * self.heads * self.positions
    }

    /// How many positions the one of row `row` sees.
    fn seen(&self, row: usize) -> usize {
        if self.is_causal {
            row % self.positions + 1
        } else {
            self.positions
        }
    }

    fn score_scale(&self) -> f32 {
        1.0 / ((self.width / self.heads) as f32).sqrt()
    }

    /// Writes the mixed values to `out` and the soft-max weights to `weights`
    /// (one run of `positions` values per row and head).
    pub(crate) fn forward(&self, qkv: Qkv<'_>, weights: &mut [f32], out: &mut [f32]) {
        run(Forward {
            attention: *self,
            qkv,
            weights,
            out,
        });
    }

    /// Adds the gradients of queries, keys and values, given dL/d`out` and the
    /// forward's `weights`.
    pub(crate) fn backward(
        &self,
        qkv: Qkv<'_>,
        weights: &[f32],
        d_out: &[f32],
        gradient: QkvGradient<'_>,
        d_weights: &mut Vec<f32>,
    ) {
        d_weights.resize(self.positions, 0.0);
        run(Backward {
            attention: *self,
            qkv,
            weights,
            d_out,
            gradient,
            d_weights,
        });
    }
}

struct Forward<'a> {
    attention: Attention,
    qkv: Qkv<'a>,
    weights: &'a mut [f32],
    out: &'a mut [f32],
}

impl Loop for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self {
            attention,
            qkv,
            weights,
            out,
        } = self;
        let (width, heads) = (attention.width, attention.heads);
        let head_width = width / heads;
        let scale = attention.score_scale();
        out.fill(0.0);
        let runs = weights.chunks_exact_mut(attention.positions).enumerate();
        for (run, weights) in runs {
            let (row, head) = (run / heads, run % heads);
            let first = row - row % attention.positions;
            let at = |row: usize| row * width + head * head_width..;
            let q = &qkv.q[at(row)][..head_width];
            let (weights, unseen) = weights.split_at_mut(attention.seen(row));
            unseen.fill(0.0);
            for (j, weight) in weights.iter_mut().enumerate() {
                *weight = dot(q, &qkv.k[at(first + j)][..head_width]) * scale;
            }
            soft_max(weights);
            let values = Rows {
                values: &qkv.v[at(first)],
                stride: width,
            };
            add_mixture(&mut out[at(row)][..head_width], weights, values);
        }
    }
}

struct Backward<'a> {
    attention: Attention,
    qkv: Qkv<'a>,
    weights: &'a [f32],
    d_out: &'a [f32],
    gradient: QkvGradient<'a>,
    /// Scratch, as many as there are positions.
    d_weights: &'a mut [f32],
}

impl Loop for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self {
            attention,
            qkv,
            weights,
            d_out,
            gradient,
            d_weights,
        } = self;
        let (width, heads) = (attention.width, attention.heads);
        let head_width = width / heads;
        let scale = attention.score_scale();
        for (run, weights) in weights.chunks_exact(attention.positions).enumerate() {
            let (row, head) = (run / heads, run % heads);
            let first = row - row % attention.positions;
            let at = |row: usize| row * width + head * head_width..;
            let d_out = &d_out[at(row)][..head_width];
            let weights = &weights[..attention.seen(row)];
            let d_weights = &mut d_weights[..weights.len()];
            for (j, d_weight) in d_weights.iter_mut().enumerate() {
                *d_weight = dot(d_out, &qkv.v[at(first + j)][..head_width]);
            }
            let mean = dot(weights, d_weights);
            for (weight, d_weight) in weights.iter().zip(d_weights.iter_mut()) {
                *d_weight = weight * (*d_weight - mean) * scale;
            }
            let d_scores = &*d_weights;
            let keys = Rows {
                values: &qkv.k[at(first)],
                stride: width,
            };
            add_mixture(&mut gradient.q[at(row)][..head_width], d_scores, keys);
            let q = &qkv.q[at(row)][..head_width];
            for (j, (weight, d_score)) in weights.iter().zip(d_scores).enumerate() {
                let key = at(first + j);
                add_scaled(&mut gradient.v[key.clone()][..head_width], *weight, d_out);
                add_scaled(&mut gradient.k[key][..head_width], *d_score, q);
            }
        }
    }
}

/// Replaces scores by their soft-max.
#[inline(always)]
pub(crate) fn soft_max(scores: &mut [f32]) {
    const LANES: usize = 16;
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    // What is missing of the last block weighs nothing.
    let mut last = [f32::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let mut most = last;
    for block in blocks.iter() {
        for i in 0..LANES {
            most[i] = most[i].max(block[i]);
        }
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    for block in blocks.iter_mut().chain([&mut last]) {
        for i in 0..LANES {
            block[i] = exp(block[i] - most);
            sums[i] += block[i];
        }
    }
    let scale = 1.0 / sums.iter().sum::<f32>();
    for block in blocks.iter_mut().chain([&mut last]) {
        block.iter_mut().for_each(|s| *s *= scale);
    }
    rest.copy_from_slice(&last[..rest.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{assert_gradient, values};

    #[test]
    fn gradients_match_finite_differences() {
        gradients_match(false);
        gradients_match(true);
    }

    fn gradients_match(is_causal: bool) {
        let attention = Attention {
            positions: 3,
            heads: 2,
            width: 8,
            is_causal,
        };
        let len = 2 * 3 * 8;
        let point = values(3 * len, 31);
        let weights_of_y = values(len, 32);
        let run = |point: &[f32], gradient: Option<&mut [f32]>| {
            let (q, rest) = point.split_at(len);
            let (k, v) = rest.split_at(len);
            let qkv = Qkv { q, k, v };
            let mut weights = vec![0.0; attention.weights_len(6)];
            let mut out = vec![0.0; len];
            attention.forward(qkv, &mut weights, &mut out);
            if let Some(gradient) = gradient {
                let (q, rest) = gradient.split_at_mut(len);
                let (k, v) = rest.split_at_mut(len);
                let gradient = QkvGradient { q, k, v };
                attention.backward(qkv, &weights, &weights_of_y, gradient, &mut Vec::new());
            }
            out.iter()
                .zip(&weights_of_y)
                .map(|(y, w)| f64::from(y * w))
                .sum()
        };
        assert_gradient(&point, run);
    }

    #[test]
    fn equal_keys_give_the_mean_of_the_values() {
        let attention = Attention {
            positions: 2,
            heads: 1,
            width: 2,
            is_causal: false,
        };
        let mut out = [0.0; 4];
        let qkv = Qkv {
            q: &[1.0, 2.0, 3.0, 4.0],
            k: &[0.5; 4],
            v: &[0.0, 2.0, 4.0, 6.0],
        };
        attention.forward(qkv, &mut [0.0; 4], &mut out);
        assert_eq!(out, [2.0, 4.0, 2.0, 4.0]);
        let causal = Attention {
            is_causal: true,
            ..attention
        };
        causal.forward(qkv, &mut [0.0; 4], &mut out);
        assert_eq!(out, [0.0, 2.0, 2.0, 4.0], "the first sees only itself");
    }
}
