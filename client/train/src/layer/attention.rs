//! Multi-head soft-max attention inside one example; every position attends to
//! every position, or to itself and those before it.

use hasher_kernel::{Loop, run};

use crate::vector::{LANES, Strided, add_mixture, dot, dots, exp};

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

    /// How many positions the one of this number sees.
    fn seen(&self, position: usize) -> usize {
        if self.is_causal {
            position + 1
        } else {
            self.positions
        }
    }

    /// The first position that sees the one of this number.
    fn first_that_sees(&self, position: usize) -> usize {
        if self.is_causal { position } else { 0 }
    }

    /// Each head of each example, of so many values in all: its number and the example's
    /// first row.
    fn runs(&self, values: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (heads, positions) = (self.heads, self.positions);
        let examples = values / (self.width * positions);
        (0..examples * heads).map(move |run| (run % heads, run / heads * positions))
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
    ) {
        run(Backward {
            attention: *self,
            qkv,
            weights,
            d_out,
            gradient,
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
        let Attention {
            positions,
            heads,
            width,
            ..
        } = attention;
        let head_width = width / heads;
        let scale = attention.score_scale();
        let mut keys = Columns::new(attention);
        let mut scores = vec![[0.0; LANES]; keys.blocks()];
        out.fill(0.0);
        for (head, first) in attention.runs(qkv.q.len()) {
            let at = |row: usize| (first + row) * width + head * head_width..;
            keys.take(&qkv.k[at(0)]);
            let values = Strided {
                values: &qkv.v[at(0)],
                stride: width,
            };
            for row in 0..positions {
                let seen = attention.seen(row);
                let scores = &mut scores[..seen.div_ceil(LANES)];
                keys.dots(&qkv.q[at(row)][..head_width], scores);
                for score in scores.as_flattened_mut() {
                    *score *= scale;
                }
                if let Some((last, blocks)) = scores.split_last_mut() {
                    // What is missing of the last block weighs nothing.
                    last[seen - blocks.len() * LANES..].fill(f32::NEG_INFINITY);
                    soft_max_blocks(blocks, last);
                }
                let begin = ((first + row) * heads + head) * positions;
                let (weights, unseen) = weights[begin..][..positions].split_at_mut(seen);
                weights.copy_from_slice(&scores.as_flattened()[..seen]);
                unseen.fill(0.0);
                let weights = Strided {
                    values: weights,
                    stride: 1,
                };
                add_mixture(&mut out[at(row)][..head_width], seen, weights, values);
            }
        }
    }
}

struct Backward<'a> {
    attention: Attention,
    qkv: Qkv<'a>,
    weights: &'a [f32],
    d_out: &'a [f32],
    gradient: QkvGradient<'a>,
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
        } = self;
        let Attention {
            positions,
            heads,
            width,
            ..
        } = attention;
        let head_width = width / heads;
        let scale = attention.score_scale();
        let mut values = Columns::new(attention);
        // Gradients of a row's weights, then of the scores of each row.
        let mut d_weights = vec![[0.0; LANES]; values.blocks()];
        let mut d_scores = vec![0.0; positions * positions];
        for (head, first) in attention.runs(d_out.len()) {
            let at = |row: usize| (first + row) * width + head * head_width..;
            let of_row = |row: usize| ((first + row) * heads + head) * positions..;
            let rows_of = |matrix| Strided {
                values: matrix,
                stride: width,
            };
            values.take(&qkv.v[at(0)]);
            for (row, d_scores) in d_scores.chunks_exact_mut(positions).enumerate() {
                let seen = attention.seen(row);
                let d_weights = &mut d_weights[..seen.div_ceil(LANES)];
                values.dots(&d_out[at(row)][..head_width], d_weights);
                let d_weights = &d_weights.as_flattened()[..seen];
                let weights = &weights[of_row(row)][..seen];
                let mean = dot(weights, d_weights);
                let d_scores = &mut d_scores[..seen];
                for ((d_score, weight), d) in d_scores.iter_mut().zip(weights).zip(d_weights) {
                    *d_score = weight * (*d - mean) * scale;
                }
                let d_scores = Strided {
                    values: d_scores,
                    stride: 1,
                };
                let d_q = &mut gradient.q[at(row)][..head_width];
                add_mixture(d_q, seen, d_scores, rows_of(&qkv.k[at(0)]));
            }
            for key in 0..positions {
                // The rows that see it, one after the other.
                let row = attention.first_that_sees(key);
                let count = positions - row;
                let weights = Strided {
                    values: &weights[of_row(row)][key..],
                    stride: heads * positions,
                };
                let d_v = &mut gradient.v[at(key)][..head_width];
                add_mixture(d_v, count, weights, rows_of(&d_out[at(row)]));
                let d_scores = Strided {
                    values: &d_scores[row * positions + key..],
                    stride: positions,
                };
                let d_k = &mut gradient.k[at(key)][..head_width];
                add_mixture(d_k, count, d_scores, rows_of(&qkv.q[at(row)]));
            }
        }
    }
}

/// One head of an example's keys or values by columns: sixteen positions side by side.
struct Columns {
    width: usize,
    head_width: usize,
    positions: usize,
    /// Blocks of positions, each of `head_width` columns.
    values: Vec<[f32; LANES]>,
}

impl Columns {
    fn new(attention: Attention) -> Self {
        let head_width = attention.width / attention.heads;
        let blocks = attention.positions.div_ceil(LANES);
        Self {
            width: attention.width,
            head_width,
            positions: attention.positions,
            values: vec![[0.0; LANES]; blocks * head_width],
        }
    }

    fn blocks(&self) -> usize {
        self.positions.div_ceil(LANES)
    }

    /// Takes a head whose first value is that of `rows`.
    #[inline(always)]
    fn take(&mut self, rows: &[f32]) {
        for (position, row) in rows.chunks(self.width).take(self.positions).enumerate() {
            let (block, lane) = (position / LANES, position % LANES);
            let columns = &mut self.values[block * self.head_width..][..self.head_width];
            for (column, value) in columns.iter_mut().zip(row) {
                column[lane] = *value;
            }
        }
    }

    /// Writes the products of `a` with the first of the positions.
    #[inline(always)]
    fn dots(&self, a: &[f32], products: &mut [[f32; LANES]]) {
        let blocks = self.values.chunks_exact(self.head_width);
        for (products, columns) in products.iter_mut().zip(blocks) {
            *products = dots(a, columns);
        }
    }
}

/// Replaces scores by their soft-max.
#[inline(always)]
pub(crate) fn soft_max(scores: &mut [f32]) {
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    // What is missing of the last block weighs nothing.
    let mut last = [f32::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    soft_max_blocks(blocks, &mut last);
    rest.copy_from_slice(&last[..rest.len()]);
}

/// [`soft_max`] of whole blocks, the last of which lies elsewhere.
#[inline(always)]
fn soft_max_blocks(blocks: &mut [[f32; LANES]], last: &mut [f32; LANES]) {
    let mut most = *last;
    for block in blocks.iter() {
        for i in 0..LANES {
            most[i] = most[i].max(block[i]);
        }
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    for block in blocks.iter_mut().chain([&mut *last]) {
        for i in 0..LANES {
            block[i] = exp(block[i] - most);
            sums[i] += block[i];
        }
    }
    let scale = 1.0 / sums.iter().sum::<f32>();
    for block in blocks.iter_mut().chain([last]) {
        block.iter_mut().for_each(|s| *s *= scale);
    }
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
                attention.backward(qkv, &weights, &weights_of_y, gradient);
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
