//! The forward pass: embedding, attention, feed-forward part, head.
//!
//! It owns the order of operations of the exact integer network. It never asks
//! for anchors (see [`crate::Inference`]) and checks no sums: a [`Model`] proves
//! when it is read that none can overflow.

use std::iter;

use hasher_kernel::{Loop, run};
use hasher_work::{Digest, digest};

use crate::activation::{HashActivation, Range};
use crate::bounds::score_factor;
use crate::config::Task;
use crate::kind::TILE_COLUMNS;
use crate::lane::{LaneKey, OracleCount};
use crate::number::{Divisor, FloatDivisor, QUOTIENT_TERMS_MAX, exp2_negative, norm};
use crate::{Matrix, Model, Request};

/// Runs a model's layers for many passes at once; owns the scratch space.
///
/// Passes share the weights and differ in their dither. Wherever a buffer holds rows,
/// those of the first pass come first, position by position.
#[derive(Debug)]
pub(crate) struct Forward<'m> {
    model: &'m Model,
    activation: HashActivation,
    score_factor: i64,
    /// Positions of the request at hand.
    positions: usize,
    /// Codes of all rows, each padded as the next matrix wants it.
    codes: Vec<i16>,
    query: Vec<i32>,
    key: Vec<i32>,
    value: Vec<i32>,
    mixed: Vec<i32>,
    /// Normed values or sums of all rows.
    sums: Vec<i32>,
    weights: Vec<i64>,
}

/// Where some passes stand, for keying their dither.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    /// The layer; the number of layers stands for the head.
    pub layer: u16,
    /// Number and anchor of each pass.
    pub passes: &'a [(u16, Digest)],
}

impl Stage<'_> {
    /// The lanes of so many rows of all passes.
    fn lanes(&self, site: u8, rows: usize) -> Vec<(Digest, LaneKey)> {
        let positions = rows / self.passes.len();
        let mut lanes = Vec::with_capacity(rows);
        for (pass, anchor) in self.passes {
            lanes.extend((0..positions as u32).map(|position| {
                let key = LaneKey {
                    layer: self.layer,
                    site,
                    pass: *pass,
                    position,
                };
                (*anchor, key)
            }));
        }
        lanes
    }
}

impl<'m> Forward<'m> {
    pub fn new(model: &'m Model) -> Self {
        Self {
            model,
            activation: HashActivation::new(model.config()),
            score_factor: score_factor(model.config().head_width()),
            positions: 0,
            codes: Vec::new(),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            mixed: Vec::new(),
            sums: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Hashes of the oracle so far.
    pub fn count(&self) -> OracleCount {
        self.activation.count()
    }

    /// The residual stream (Q16, position by position) that enters layer 0. The
    /// request must have been checked against the model.
    pub fn embed(&mut self, request: &Request) -> Vec<i32> {
        let (config, network) = (self.model.config(), &self.model.network);
        let stride = network.embedding.stride();
        let inputs = config.inputs as usize;
        match config.task {
            Task::Classifier => {
                self.positions = config.positions as usize;
                self.codes.clear();
                for row in request.input().chunks_exact(inputs) {
                    self.codes.extend(row.iter().map(|code| i16::from(*code)));
                    self.codes.resize(self.codes.len() + stride - inputs, 0);
                }
            }
            Task::LanguageModel => self.embed_tokens(request, stride),
        }
        let mut residual = network.positions[..self.positions * config.width as usize].to_vec();
        self.add_product(&network.embedding, config.input_fraction, &mut residual);
        residual
    }

    /// Each position sees the signs of its token and of the two before it.
    fn embed_tokens(&mut self, request: &Request, stride: usize) {
        let width = self.model.config().width as usize;
        let start = self.model.config().vocabulary;
        let tokens: Vec<u32> = [start, start].into_iter().chain(request.tokens()).collect();
        self.positions = tokens.len() - 2;
        self.codes.clear();
        for seen in tokens.windows(3) {
            for token in seen.iter().rev() {
                let signs = &self.model.network.tokens[*token as usize * width..][..width];
                self.codes.extend(signs.iter().map(|sign| i16::from(*sign)));
            }
            self.codes.resize(self.codes.len() + stride - 3 * width, 0);
        }
    }

    /// One layer: changes the residual streams in place.
    pub fn layer(&mut self, stage: Stage<'_>, residual: &mut [i32]) {
        let layer = &self.model.network.layers[usize::from(stage.layer)];
        self.quantise_normed(stage, 0, &layer.attention_gains, residual);
        self.project(stage.layer);
        self.attend();
        self.quantise_mixed(stage);
        let fraction = self.code_fraction();
        self.add_product(&layer.output, fraction, residual);
        self.quantise_normed(stage, 2, &layer.feed_gains, residual);
        self.expand(stage);
        self.add_product(&layer.contract, fraction, residual);
    }

    /// What enters the head: the mean over each pass's positions for a classifier,
    /// every position for a language model.
    pub fn pool(&self, residual: Vec<i32>) -> Vec<i32> {
        match self.model.config().task {
            Task::LanguageModel => residual,
            Task::Classifier => {
                let width = self.model.config().width as usize;
                let mut pooled = Vec::new();
                for pass in residual.chunks_exact(self.positions * width) {
                    let mut sums = vec![0i64; width];
                    for row in pass.chunks_exact(width) {
                        iter::zip(&mut sums, row).for_each(|(sum, h)| *sum += i64::from(*h));
                    }
                    let positions = self.positions as i64;
                    // A mean is no larger than the largest of its numbers.
                    pooled.extend(sums.iter().map(|sum| sum.div_euclid(positions) as i32));
                }
                pooled
            }
        }
    }

    /// Logits in Q16: one row of classes per row of `pooled`.
    pub fn head(&mut self, stage: Stage<'_>, pooled: &[i32]) -> Vec<i32> {
        let network = &self.model.network;
        self.quantise_normed(stage, 0, &network.last_gains, pooled);
        self.multiply(&network.head);
        self.sums.clone()
    }

    /// Digest of a residual stream, for anchors that depend on it.
    pub fn state(residual: &[i32]) -> Digest {
        let bytes: Vec<u8> = residual.iter().flat_map(|h| h.to_le_bytes()).collect();
        digest(&bytes)
    }

    fn code_fraction(&self) -> u32 {
        self.model.config().code_bits - 1
    }

    /// Norm and hash activation of each row into `codes`.
    fn quantise_normed(&mut self, stage: Stage<'_>, site: u8, gains: &[i8], residual: &[i32]) {
        let width = gains.len();
        self.sums.resize(residual.len(), 0);
        norm(residual, gains, &mut self.sums);
        self.quantise_sums(stage, site, width, Range::Signed);
    }

    /// Hash activation of each row of `sums` into `codes`.
    fn quantise_sums(&mut self, stage: Stage<'_>, site: u8, width: usize, range: Range) {
        quantise(
            &mut self.activation,
            &self.sums,
            width,
            range,
            |rows| stage.lanes(site, rows),
            &mut self.codes,
        );
    }

    /// Queries, keys and values of all rows.
    fn project(&mut self, layer: u16) {
        let layer = &self.model.network.layers[usize::from(layer)];
        let fraction = self.code_fraction();
        for (matrix, out) in [
            (&layer.query, &mut self.query),
            (&layer.key, &mut self.key),
            (&layer.value, &mut self.value),
        ] {
            multiply(matrix, &self.codes, fraction, out);
        }
    }

    /// Soft-max attention, pass by pass and head by head, into `mixed`.
    fn attend(&mut self) {
        let config = self.model.config();
        self.mixed.resize(self.query.len(), 0);
        run(Attend {
            width: config.width as usize,
            head: config.head_width(),
            positions: self.positions,
            is_causal: config.task == Task::LanguageModel,
            score_factor: self.score_factor,
            query: &self.query,
            key: &self.key,
            value: &self.value,
            mixed: &mut self.mixed,
            weights: &mut self.weights,
        });
    }

    /// Hash activation of what attention mixed.
    fn quantise_mixed(&mut self, stage: Stage<'_>) {
        quantise(
            &mut self.activation,
            &self.mixed,
            self.model.config().width as usize,
            Range::Signed,
            |rows| stage.lanes(1, rows),
            &mut self.codes,
        );
    }

    /// The hidden layer: `codes` in, `codes` out.
    fn expand(&mut self, stage: Stage<'_>) {
        let matrix = &self.model.network.layers[usize::from(stage.layer)].expand;
        self.multiply(matrix);
        self.quantise_sums(stage, 3, matrix.shape().outputs, Range::Unsigned);
    }

    /// `sums = matrix · codes`, row by row.
    fn multiply(&mut self, matrix: &Matrix) {
        let fraction = self.code_fraction();
        multiply(matrix, &self.codes, fraction, &mut self.sums);
    }

    /// `residual += matrix · codes`, row by row.
    fn add_product(&mut self, matrix: &Matrix, fraction: u32, residual: &mut [i32]) {
        multiply(matrix, &self.codes, fraction, &mut self.sums);
        residual
            .iter_mut()
            .zip(&self.sums)
            .for_each(|(h, sum)| *h += sum);
    }
}

/// Soft-max attention of some passes over the same positions.
struct Attend<'a> {
    /// Values of a row, and of a head within it.
    width: usize,
    head: usize,
    positions: usize,
    is_causal: bool,
    score_factor: i64,
    query: &'a [i32],
    key: &'a [i32],
    value: &'a [i32],
    mixed: &'a mut [i32],
    /// Scratch: scores, then weights of one row's positions.
    weights: &'a mut Vec<i64>,
}

impl Loop for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, head) = (self.width, self.head);
        self.weights.resize(self.positions, 0);
        for first_row in (0..self.query.len() / width).step_by(self.positions) {
            for first in (0..width).step_by(head) {
                let begin = |position| (first_row + position) * width + first;
                let keys = &self.key[begin(0)..];
                let values = &self.value[begin(0)..];
                for at in 0..self.positions {
                    // A masked position scores −2³⁰ and weighs nothing, by the
                    // model's bounds; leaving it out is the same.
                    let seen = if self.is_causal {
                        at + 1
                    } else {
                        self.positions
                    };
                    let weights = &mut self.weights[..seen];
                    let query = &self.query[begin(at)..][..head];
                    for (other, score) in weights.iter_mut().enumerate() {
                        let product = dot(query, &keys[other * width..][..head]);
                        *score = ((product >> 16) * self.score_factor) >> 24;
                    }
                    let total = soft_max(weights);
                    let mixed = &mut self.mixed[begin(at)..][..head];
                    mix(weights, values, width, total, mixed);
                }
            }
        }
    }
}

/// Sum of products.
#[inline(always)]
fn dot(a: &[i32], b: &[i32]) -> i64 {
    iter::zip(a, b)
        .map(|(a, b)| i64::from(*a) * i64::from(*b))
        .sum()
}

/// Weights in Q16 in place of scores; their sum.
#[inline(always)]
fn soft_max(scores: &mut [i64]) -> i64 {
    let most = scores.iter().copied().max().unwrap_or(0);
    let mut total = 0;
    for score in scores {
        *score = exp2_negative(most - *score);
        total += *score;
    }
    total
}

/// The mean of rows of values, `stride` apart, by weights of this sum.
#[inline(always)]
fn mix(weights: &[i64], values: &[i32], stride: usize, total: i64, mixed: &mut [i32]) {
    /// Sums that stay in registers while all rows are added to them.
    const LANES: usize = 16;
    let (divisor, quotient) = (Divisor::new(total), FloatDivisor::new(total));
    for (number, mixed) in mixed.chunks_mut(LANES).enumerate() {
        let mut sums = [0; LANES];
        for (row, weight) in weights.iter().enumerate() {
            let row = &values[row * stride + number * LANES..];
            if let Some(row) = row.first_chunk::<LANES>() {
                // Beyond the head's end are values of the next one, not used below.
                for i in 0..LANES {
                    sums[i] += weight * i64::from(row[i]);
                }
            } else {
                iter::zip(&mut sums, row).for_each(|(sum, v)| *sum += weight * i64::from(*v));
            }
        }
        if weights.len() <= QUOTIENT_TERMS_MAX {
            let mut quotients = [0; LANES];
            for i in 0..LANES {
                quotients[i] = quotient.divide(sums[i] as f64);
            }
            match mixed.first_chunk_mut() {
                Some(mixed) => *mixed = quotients,
                None => mixed.copy_from_slice(&quotients[..mixed.len()]),
            }
        } else {
            // A mean is no larger than the largest of its numbers.
            iter::zip(mixed, sums).for_each(|(mixed, sum)| *mixed = divisor.divide(sum) as i32);
        }
    }
}

/// `out = matrix · codes`, row by row.
fn multiply(matrix: &Matrix, codes: &[i16], fraction: u32, out: &mut Vec<i32>) {
    let (stride, width) = (matrix.stride(), matrix.shape().outputs);
    out.resize(codes.len() / stride * width, 0);
    matrix.multiply(codes, fraction, out);
}

/// Hash activation of each row of `z`, padded as the next matrix wants it.
fn quantise(
    activation: &mut HashActivation,
    z: &[i32],
    width: usize,
    range: Range,
    lanes: impl Fn(usize) -> Vec<(Digest, LaneKey)>,
    codes: &mut Vec<i16>,
) {
    let rows = z.len() / width;
    codes.clear();
    codes.resize(rows * width.next_multiple_of(TILE_COLUMNS), 0);
    activation.apply(z, width, range, &lanes(rows), codes);
}

#[cfg(test)]
mod tests;
