//! The forward pass: embedding, attention, feed-forward part, head.
//!
//! It owns the order of operations of the exact integer network. It never asks
//! for anchors (see [`crate::Inference`]) and checks no sums: a [`Model`] proves
//! when it is read that none can overflow.

use hasher_work::{Digest, digest};

use crate::activation::{HashActivation, Range};
use crate::bounds::score_factor;
use crate::config::Task;
use crate::kind::TILE_COLUMNS;
use crate::lane::{LaneKey, OracleCount};
use crate::number::{Divisor, exp2_negative, norm};
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
    query: Vec<i64>,
    key: Vec<i64>,
    value: Vec<i64>,
    mixed: Vec<i64>,
    /// Normed values or sums of all rows.
    sums: Vec<i64>,
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
    pub fn embed(&mut self, request: &Request) -> Vec<i64> {
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
    pub fn layer(&mut self, stage: Stage<'_>, residual: &mut [i64]) {
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
    pub fn pool(&self, residual: Vec<i64>) -> Vec<i64> {
        match self.model.config().task {
            Task::LanguageModel => residual,
            Task::Classifier => {
                let width = self.model.config().width as usize;
                let mut pooled = Vec::new();
                for pass in residual.chunks_exact(self.positions * width) {
                    let begin = pooled.len();
                    pooled.resize(begin + width, 0);
                    let means = &mut pooled[begin..];
                    for row in pass.chunks_exact(width) {
                        means.iter_mut().zip(row).for_each(|(sum, h)| *sum += h);
                    }
                    let positions = self.positions as i64;
                    for sum in means {
                        *sum = sum.div_euclid(positions);
                    }
                }
                pooled
            }
        }
    }

    /// Logits in Q16: one row of classes per row of `pooled`.
    pub fn head(&mut self, stage: Stage<'_>, pooled: &[i64]) -> Vec<i32> {
        let network = &self.model.network;
        self.quantise_normed(stage, 0, &network.last_gains, pooled);
        self.multiply(&network.head);
        // The model's bounds keep logits within 32 bits.
        self.sums.iter().map(|logit| *logit as i32).collect()
    }

    /// Digest of a residual stream, for anchors that depend on it.
    pub fn state(residual: &[i64]) -> Digest {
        let bytes: Vec<u8> = residual
            .iter()
            .flat_map(|h| (*h as i32).to_le_bytes())
            .collect();
        digest(&bytes)
    }

    fn code_fraction(&self) -> u32 {
        self.model.config().code_bits - 1
    }

    /// Norm and hash activation of each row into `codes`.
    fn quantise_normed(&mut self, stage: Stage<'_>, site: u8, gains: &[i8], residual: &[i64]) {
        let width = gains.len();
        self.sums.resize(residual.len(), 0);
        let rows = residual.chunks_exact(width);
        for (row, normed) in rows.zip(self.sums.chunks_exact_mut(width)) {
            norm(row, gains, normed);
        }
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
        let (width, head) = (config.width as usize, config.head_width());
        self.mixed.clear();
        self.mixed.resize(self.query.len(), 0);
        let positions = self.positions;
        for first_row in (0..self.query.len() / width).step_by(positions) {
            for first in (0..width).step_by(head) {
                let begin = |position| (first_row + position) * width + first;
                for at in 0..positions {
                    // A masked position scores −2³⁰ and weighs nothing, by the
                    // model's bounds; leaving it out is the same.
                    let seen = match config.task {
                        Task::Classifier => positions,
                        Task::LanguageModel => at + 1,
                    };
                    let query = &self.query[begin(at)..][..head];
                    self.weights.clear();
                    self.weights.extend((0..seen).map(|other| {
                        let key = &self.key[begin(other)..][..head];
                        let product: i64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                        ((product >> 16) * self.score_factor) >> 24
                    }));
                    let max = self.weights.iter().copied().max().unwrap_or(0);
                    let mut total = 0;
                    let mixed = &mut self.mixed[begin(at)..][..head];
                    for (other, score) in self.weights.iter().enumerate() {
                        let weight = exp2_negative(max - score);
                        total += weight;
                        let value = &self.value[begin(other)..][..head];
                        mixed
                            .iter_mut()
                            .zip(value)
                            .for_each(|(o, v)| *o += weight * v);
                    }
                    let total = Divisor::new(total);
                    mixed.iter_mut().for_each(|o| *o = total.divide(*o));
                }
            }
        }
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
    fn add_product(&mut self, matrix: &Matrix, fraction: u32, residual: &mut [i64]) {
        multiply(matrix, &self.codes, fraction, &mut self.sums);
        residual
            .iter_mut()
            .zip(&self.sums)
            .for_each(|(h, sum)| *h += sum);
    }
}

/// `out = matrix · codes`, row by row.
fn multiply(matrix: &Matrix, codes: &[i16], fraction: u32, out: &mut Vec<i64>) {
    let (stride, width) = (matrix.stride(), matrix.shape().outputs);
    out.resize(codes.len() / stride * width, 0);
    matrix.multiply(codes, fraction, out);
}

/// Hash activation of each row of `z`, padded as the next matrix wants it.
fn quantise(
    activation: &mut HashActivation,
    z: &[i64],
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
