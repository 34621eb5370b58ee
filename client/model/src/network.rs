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
use crate::number::{exp2_negative, norm};
use crate::{Matrix, Model, Request};

/// Runs a model's layers; owns the scratch space of one position or sequence.
#[derive(Debug)]
pub(crate) struct Forward<'m> {
    model: &'m Model,
    activation: HashActivation,
    score_factor: i64,
    /// Positions of the request at hand.
    rows: usize,
    /// Codes of all positions, each row padded as the next matrix wants it.
    codes: Vec<i16>,
    query: Vec<i64>,
    key: Vec<i64>,
    value: Vec<i64>,
    mixed: Vec<i64>,
    /// One position's sums or normed values.
    sums: Vec<i64>,
    weights: Vec<i64>,
}

/// Where the forward pass stands, for keying its dither.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub pass: u16,
    /// The layer; the number of layers stands for the head.
    pub layer: u16,
    pub anchor: &'a Digest,
}

impl Stage<'_> {
    fn key(&self, site: u8, position: usize) -> LaneKey {
        LaneKey {
            layer: self.layer,
            site,
            pass: self.pass,
            position: position as u32,
        }
    }
}

impl<'m> Forward<'m> {
    pub fn new(model: &'m Model) -> Self {
        Self {
            model,
            activation: HashActivation::new(model.config()),
            score_factor: score_factor(model.config().head_width()),
            rows: 0,
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
                self.rows = config.positions as usize;
                self.codes.clear();
                for row in request.input().chunks_exact(inputs) {
                    self.codes.extend(row.iter().map(|code| i16::from(*code)));
                    self.codes.resize(self.codes.len() + stride - inputs, 0);
                }
            }
            Task::LanguageModel => self.embed_tokens(request, stride),
        }
        let mut residual = network.positions[..self.rows * config.width as usize].to_vec();
        self.add_product(&network.embedding, config.input_fraction, &mut residual);
        residual
    }

    /// Each position sees the signs of its token and of the two before it.
    fn embed_tokens(&mut self, request: &Request, stride: usize) {
        let width = self.model.config().width as usize;
        let start = self.model.config().vocabulary;
        let tokens: Vec<u32> = [start, start].into_iter().chain(request.tokens()).collect();
        self.rows = tokens.len() - 2;
        self.codes.clear();
        for seen in tokens.windows(3) {
            for token in seen.iter().rev() {
                let signs = &self.model.network.tokens[*token as usize * width..][..width];
                self.codes.extend(signs.iter().map(|sign| i16::from(*sign)));
            }
            self.codes.resize(self.codes.len() + stride - 3 * width, 0);
        }
    }

    /// One layer: changes the residual stream in place.
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

    /// What enters the head: the mean over positions for a classifier, every
    /// position for a language model.
    pub fn pool(&self, residual: Vec<i64>) -> Vec<i64> {
        match self.model.config().task {
            Task::LanguageModel => residual,
            Task::Classifier => {
                let width = self.model.config().width as usize;
                let mut pooled = vec![0; width];
                for row in residual.chunks_exact(width) {
                    pooled.iter_mut().zip(row).for_each(|(sum, h)| *sum += h);
                }
                let rows = self.rows as i64;
                pooled
                    .iter_mut()
                    .for_each(|sum| *sum = sum.div_euclid(rows));
                pooled
            }
        }
    }

    /// Logits in Q16: one row of classes per row of `pooled`.
    pub fn head(&mut self, stage: Stage<'_>, pooled: &[i64]) -> Vec<i32> {
        let network = &self.model.network;
        self.quantise_normed(stage, 0, &network.last_gains, pooled);
        let classes = self.model.config().classes as usize;
        let mut logits = Vec::with_capacity(classes);
        self.sums.resize(classes, 0);
        for codes in self.codes.chunks_exact(network.head.stride()) {
            network
                .head
                .multiply(codes, self.model.config().code_bits - 1, &mut self.sums);
            // The model's bounds keep logits within 32 bits.
            logits.extend(self.sums.iter().map(|logit| *logit as i32));
        }
        logits
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

    /// Norm and hash activation of each position into `codes`.
    fn quantise_normed(&mut self, stage: Stage<'_>, site: u8, gains: &[i8], residual: &[i64]) {
        let width = gains.len();
        let stride = width.next_multiple_of(TILE_COLUMNS);
        self.codes.clear();
        self.codes.resize(residual.len() / width * stride, 0);
        self.sums.resize(width, 0);
        let rows = residual.chunks_exact(width);
        for (position, (row, codes)) in rows.zip(self.codes.chunks_exact_mut(stride)).enumerate() {
            norm(row, gains, &mut self.sums);
            let key = stage.key(site, position);
            self.activation.apply(
                &self.sums,
                Range::Signed,
                stage.anchor,
                key,
                &mut codes[..width],
            );
        }
    }

    /// Queries, keys and values of all positions.
    fn project(&mut self, layer: u16) {
        let layer = &self.model.network.layers[usize::from(layer)];
        let fraction = self.code_fraction();
        for (matrix, out) in [
            (&layer.query, &mut self.query),
            (&layer.key, &mut self.key),
            (&layer.value, &mut self.value),
        ] {
            let width = matrix.shape().outputs;
            out.resize(self.rows * width, 0);
            let codes = self.codes.chunks_exact(matrix.stride());
            for (codes, out) in codes.zip(out.chunks_exact_mut(width)) {
                matrix.multiply(codes, fraction, out);
            }
        }
    }

    /// Soft-max attention, head by head, into `mixed`.
    fn attend(&mut self) {
        let config = self.model.config();
        let (width, head) = (config.width as usize, config.head_width());
        self.mixed.clear();
        self.mixed.resize(self.rows * width, 0);
        for first in (0..width).step_by(head) {
            for at in 0..self.rows {
                // A masked position scores −2³⁰ and weighs nothing, by the
                // model's bounds; leaving it out is the same.
                let seen = match config.task {
                    Task::Classifier => self.rows,
                    Task::LanguageModel => at + 1,
                };
                let query = &self.query[at * width + first..][..head];
                self.weights.clear();
                self.weights.extend((0..seen).map(|other| {
                    let key = &self.key[other * width + first..][..head];
                    let product: i64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                    ((product >> 16) * self.score_factor) >> 24
                }));
                let max = self.weights.iter().copied().max().unwrap_or(0);
                let mut total = 0;
                let mixed = &mut self.mixed[at * width + first..][..head];
                for (other, score) in self.weights.iter().enumerate() {
                    let weight = exp2_negative(max - score);
                    total += weight;
                    let value = &self.value[other * width + first..][..head];
                    mixed
                        .iter_mut()
                        .zip(value)
                        .for_each(|(o, v)| *o += weight * v);
                }
                mixed.iter_mut().for_each(|o| *o = o.div_euclid(total));
            }
        }
    }

    /// Hash activation of what attention mixed.
    fn quantise_mixed(&mut self, stage: Stage<'_>) {
        let width = self.model.config().width as usize;
        let stride = width.next_multiple_of(TILE_COLUMNS);
        self.codes.clear();
        self.codes.resize(self.rows * stride, 0);
        let rows = self.mixed.chunks_exact(width);
        for (position, (row, codes)) in rows.zip(self.codes.chunks_exact_mut(stride)).enumerate() {
            let key = stage.key(1, position);
            self.activation
                .apply(row, Range::Signed, stage.anchor, key, &mut codes[..width]);
        }
    }

    /// The hidden layer: `codes` in, `codes` out.
    fn expand(&mut self, stage: Stage<'_>) {
        let matrix = &self.model.network.layers[usize::from(stage.layer)].expand;
        let fraction = self.code_fraction();
        let hidden = matrix.shape().outputs;
        let stride = hidden.next_multiple_of(TILE_COLUMNS);
        let codes = std::mem::take(&mut self.codes);
        self.codes.resize(self.rows * stride, 0);
        self.sums.resize(hidden, 0);
        let rows = codes.chunks_exact(matrix.stride());
        for (position, (row, out)) in rows.zip(self.codes.chunks_exact_mut(stride)).enumerate() {
            matrix.multiply(row, fraction, &mut self.sums);
            let key = stage.key(3, position);
            self.activation.apply(
                &self.sums,
                Range::Unsigned,
                stage.anchor,
                key,
                &mut out[..hidden],
            );
        }
    }

    /// `residual += matrix · codes`, position by position.
    fn add_product(&mut self, matrix: &Matrix, fraction: u32, residual: &mut [i64]) {
        let width = matrix.shape().outputs;
        self.sums.resize(width, 0);
        let codes = self.codes.chunks_exact(matrix.stride());
        for (codes, row) in codes.zip(residual.chunks_exact_mut(width)) {
            matrix.multiply(codes, fraction, &mut self.sums);
            row.iter_mut()
                .zip(&self.sums)
                .for_each(|(h, sum)| *h += sum);
        }
    }
}

#[cfg(test)]
mod tests;
