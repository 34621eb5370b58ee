//! The forward pass: embedding, attention, feed-forward part, head.
//!
//! It owns the order of operations of the exact integer network. It never asks
//! for anchors (see [`crate::Inference`]) and checks no sums: a [`Model`] proves
//! when it is read that none can overflow.

mod attention;
mod scratch;

use std::iter;

use hasher_kernel::run;
use hasher_work::{Digest, digest};

use crate::activation::{HashActivation, Range};
use crate::bounds::score_factor;
use crate::config::Task;
use crate::kind::TILE_COLUMNS;
use crate::lane::{LaneKey, OracleCount};
use crate::number::norm;
use crate::{Matrix, Model, Request};

use attention::Attend;
use scratch::Scratch;

/// Runs a model's layers for many passes at once.
///
/// Passes share the weights and differ in their dither. Wherever a buffer holds rows,
/// those of the first pass come first, position by position.
#[derive(Debug)]
pub(crate) struct Forward<'m> {
    model: &'m Model,
    score_factor: i64,
    /// Positions of the request at hand.
    positions: usize,
    scratch: Scratch,
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
            score_factor: score_factor(model.config().head_width()),
            positions: 0,
            scratch: Scratch::take(model.config()),
        }
    }

    /// Hashes of the oracle so far.
    pub fn count(&self) -> OracleCount {
        self.scratch.activation.count()
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
                self.scratch.codes.clear();
                for row in request.input().chunks_exact(inputs) {
                    self.scratch
                        .codes
                        .extend(row.iter().map(|code| i16::from(*code)));
                    self.scratch
                        .codes
                        .resize(self.scratch.codes.len() + stride - inputs, 0);
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
        self.scratch.codes.clear();
        for seen in tokens.windows(3) {
            for token in seen.iter().rev() {
                let signs = &self.model.network.tokens[*token as usize * width..][..width];
                self.scratch
                    .codes
                    .extend(signs.iter().map(|sign| i16::from(*sign)));
            }
            self.scratch
                .codes
                .resize(self.scratch.codes.len() + stride - 3 * width, 0);
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
        self.scratch.sums.clone()
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
        self.scratch.sums.resize(residual.len(), 0);
        norm(residual, gains, &mut self.scratch.sums);
        self.quantise_sums(stage, site, width, Range::Signed);
    }

    /// Hash activation of each row of `sums` into `codes`.
    fn quantise_sums(&mut self, stage: Stage<'_>, site: u8, width: usize, range: Range) {
        quantise(
            &mut self.scratch.activation,
            &self.scratch.sums,
            width,
            range,
            |rows| stage.lanes(site, rows),
            &mut self.scratch.codes,
        );
    }

    /// Queries, keys and values of all rows.
    fn project(&mut self, layer: u16) {
        let layer = &self.model.network.layers[usize::from(layer)];
        let fraction = self.code_fraction();
        for (matrix, out) in [
            (&layer.query, &mut self.scratch.query),
            (&layer.key, &mut self.scratch.key),
            (&layer.value, &mut self.scratch.value),
        ] {
            multiply(matrix, &self.scratch.codes, fraction, out);
        }
    }

    /// Soft-max attention, pass by pass and head by head, into `mixed`.
    fn attend(&mut self) {
        let config = self.model.config();
        self.scratch.mixed.resize(self.scratch.query.len(), 0);
        run(Attend {
            width: config.width as usize,
            head: config.head_width(),
            positions: self.positions,
            is_causal: config.task == Task::LanguageModel,
            score_factor: self.score_factor,
            query: &self.scratch.query,
            key: &self.scratch.key,
            value: &self.scratch.value,
            mixed: &mut self.scratch.mixed,
            scratch: &mut self.scratch.attend,
        });
    }

    /// Hash activation of what attention mixed.
    fn quantise_mixed(&mut self, stage: Stage<'_>) {
        quantise(
            &mut self.scratch.activation,
            &self.scratch.mixed,
            self.model.config().width as usize,
            Range::Signed,
            |rows| stage.lanes(1, rows),
            &mut self.scratch.codes,
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
        multiply(
            matrix,
            &self.scratch.codes,
            fraction,
            &mut self.scratch.sums,
        );
    }

    /// `residual += matrix · codes`, row by row.
    fn add_product(&mut self, matrix: &Matrix, fraction: u32, residual: &mut [i32]) {
        multiply(
            matrix,
            &self.scratch.codes,
            fraction,
            &mut self.scratch.sums,
        );
        residual
            .iter_mut()
            .zip(&self.scratch.sums)
            .for_each(|(h, sum)| *h += sum);
    }
}

impl Drop for Forward<'_> {
    fn drop(&mut self) {
        self.scratch.put_back(self.model.config());
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
    let stride = width.next_multiple_of(TILE_COLUMNS);
    if stride > width {
        codes.clear(); // zeros behind each row
    }
    codes.resize(rows * stride, 0);
    activation.apply(z, width, range, &lanes(rows), codes);
}

#[cfg(test)]
mod tests;
