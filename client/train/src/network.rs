//! The network as training sees it, and the chunk of examples that one
//! thread works on at a time.
//!
//! Owns the order of layers and the buffers between them; never touches seeds,
//! latents or threads. The trainer calls it.

use crate::data::Dataset;
use crate::dense::{Dense, DenseGradient};
use crate::layer::activation::Activate;
use crate::layer::block::{Block, BlockScratch, BlockState};
use crate::layer::readout::{Label, Lesson, Readout, ReadoutState};
use crate::shape::{EMBEDDING, POSITION_GAIN, Shape};
use hasher_kernel::Gemm;

/// Examples of one chunk, the unit of work of a thread. Part of the result: the
/// gradients of chunks are rounded sums. Four digits are 36 rows, whole blocks of
/// the matrix kernel.
pub(crate) const CHUNK_EXAMPLES: usize = 4;

/// Gradients of a step at most, each of which a thread sums up: as many threads share a
/// step. Part of the result, too. Each is as large as the weights.
const GRADIENTS_MAX: usize = 8;

/// How many of a batch's chunks are summed into one gradient: two at least, since a
/// gradient costs as much to go through as a chunk's activations.
pub(crate) fn chunks_of_a_gradient(batch: usize) -> usize {
    batch
        .div_ceil(CHUNK_EXAMPLES)
        .div_ceil(GRADIENTS_MAX)
        .max(2)
}

/// Decoded weights with the fixed parts of the network.
#[derive(Debug)]
pub(crate) struct Network {
    pub shape: Shape,
    pub dense: Dense,
    /// ±1, `positions × width`.
    position_signs: Vec<f32>,
    /// ±½, a row of `width` per token and one for "before the start"; empty for a
    /// classifier.
    token_codes: Vec<f32>,
}

/// Buffers for a fixed group of examples of a batch: everything one thread reads and
/// writes, but for what it yields. The partition into chunks never depends on the number
/// of threads.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Real inputs, one row per position.
    inputs: Vec<f32>,
    /// One per output of each example.
    labels: Vec<Label>,
    examples: usize,
    h: Vec<f32>,
    blocks: Vec<BlockState>,
    scratch: BlockScratch,
    readout: ReadoutState,
    gemm: Gemm,
}

/// What forward and backward of some chunks yield.
#[derive(Debug)]
pub(crate) struct Yield {
    /// Sum of the examples' gradients.
    pub gradient: DenseGradient,
    /// Sum of the losses of the outputs that count, in nats.
    pub loss: f64,
    /// Outputs that count and whose largest logit is the label's.
    pub correct: u32,
}

impl Yield {
    /// Of no example.
    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            gradient: DenseGradient::new(shape),
            loss: 0.0,
            correct: 0,
        }
    }

    /// Back to that of no example.
    pub(crate) fn clear(&mut self) {
        self.gradient.clear();
        self.loss = 0.0;
        self.correct = 0;
    }
}

impl Chunk {
    /// Buffers for `examples` examples.
    pub(crate) fn new(shape: &Shape, examples: usize) -> Self {
        let rows = examples * shape.positions;
        Self {
            inputs: vec![0.0; rows * shape.inputs],
            labels: vec![None; examples * shape.outputs()],
            examples,
            h: vec![0.0; rows * shape.width],
            blocks: (0..shape.layers)
                .map(|_| BlockState::new(shape, rows))
                .collect(),
            scratch: BlockScratch::new(shape, rows),
            readout: ReadoutState::new(shape, examples),
            gemm: Gemm::default(),
        }
    }

    /// Logits of the last forward, one row per output.
    pub(crate) fn logits(&self) -> &[f32] {
        Readout::logits(&self.readout)
    }
}

impl Network {
    /// A network of this shape whose weights are still zero.
    pub(crate) fn new(shape: Shape) -> Self {
        let signs = hasher_model::position_signs(shape.positions, shape.width);
        let tokens = if shape.is_causal() {
            shape.classes + 1
        } else {
            0
        };
        let token_signs = hasher_model::token_signs(tokens, shape.width);
        Self {
            token_codes: token_signs
                .into_iter()
                .map(|s| f32::from(s) / 2.0)
                .collect(),
            shape,
            dense: Dense::new(&shape),
            position_signs: signs.into_iter().map(f32::from).collect(),
        }
    }

    /// Takes these examples of `data` into `chunk`, with buffers for as many.
    pub(crate) fn load(&self, chunk: &mut Chunk, data: &Dataset, examples: &[usize]) {
        if chunk.examples != examples.len() {
            *chunk = Chunk::new(&self.shape, examples.len());
        }
        let inputs = self.shape.positions * self.shape.inputs;
        let rows = chunk.inputs.chunks_exact_mut(inputs);
        let labels = chunk.labels.chunks_exact_mut(self.shape.outputs());
        for ((row, labels), &example) in rows.zip(labels).zip(examples) {
            for (at, (label, code)) in labels.iter_mut().zip(data.labels(example)).enumerate() {
                *label = data.is_scored(example, at).then_some(*code);
            }
            if self.shape.is_causal() {
                self.load_tokens(data.codes(example), row);
                continue;
            }
            let unit = 1.0 / (1u32 << data.input_fraction()) as f32;
            for (input, code) in row.iter_mut().zip(data.codes(example)) {
                *input = f32::from(*code) * unit;
            }
        }
    }

    /// Each position sees the codes of its token and of the two before it.
    fn load_tokens(&self, tokens: &[u8], inputs: &mut [f32]) {
        let width = self.shape.width;
        for (at, row) in inputs.chunks_exact_mut(self.shape.inputs).enumerate() {
            for (back, part) in row.chunks_exact_mut(width).enumerate() {
                let token = at
                    .checked_sub(back)
                    .map_or(self.shape.classes, |at| usize::from(tokens[at]));
                part.copy_from_slice(&self.token_codes[token * width..][..width]);
            }
        }
    }

    /// Forward, loss and backward of the loaded examples; each output counts `weight`
    /// in the gradient, against its label and what of it a `lesson` says. Adds to `out`;
    /// the loss is always that of the labels.
    pub(crate) fn run(
        &self,
        chunk: &mut Chunk,
        act: &mut impl Activate,
        lesson: Option<Lesson<'_>>,
        weight: f32,
        out: &mut Yield,
    ) {
        self.forward(chunk, act);
        let Chunk {
            labels, readout, ..
        } = chunk;
        let rows = self.readout().loss(labels, lesson, weight, readout);
        out.loss += rows.iter().map(|row| f64::from(row.loss)).sum::<f64>();
        out.correct += rows
            .iter()
            .map(|row| u32::from(row.is_correct))
            .sum::<u32>();
        self.backward(chunk, &mut out.gradient);
    }

    /// Forward of the loaded examples; the probabilities of every output.
    pub(crate) fn probabilities<'c>(
        &self,
        chunk: &'c mut Chunk,
        act: &mut impl Activate,
    ) -> &'c [f32] {
        self.forward(chunk, act);
        self.readout().probabilities(&mut chunk.readout)
    }

    fn readout(&self) -> Readout<'_> {
        Readout {
            shape: &self.shape,
            dense: &self.dense,
        }
    }

    fn block(&self, layer: usize) -> Block<'_> {
        Block {
            layer,
            shape: &self.shape,
            dense: &self.dense,
        }
    }

    /// Forward of the loaded examples only.
    pub(crate) fn forward(&self, chunk: &mut Chunk, act: &mut impl Activate) {
        let Chunk {
            inputs,
            h,
            blocks,
            readout,
            gemm,
            ..
        } = chunk;
        self.dense.linear(EMBEDDING).forward(gemm, inputs, h);
        let gain = self.dense.gain(POSITION_GAIN);
        for rows in h.chunks_exact_mut(self.position_signs.len()) {
            let signs = self.position_signs.chunks_exact(self.shape.width);
            for (row, signs) in rows.chunks_exact_mut(self.shape.width).zip(signs) {
                for ((h, g), s) in row.iter_mut().zip(gain).zip(signs) {
                    *h += g * s;
                }
            }
        }
        for (layer, state) in blocks.iter_mut().enumerate() {
            self.block(layer).forward(gemm, act, h, state);
        }
        self.readout().forward(gemm, act, h, readout);
    }

    fn backward(&self, chunk: &mut Chunk, gradient: &mut DenseGradient) {
        // The forward is over: the residual buffer carries its gradient now.
        let Chunk {
            inputs,
            h: dh,
            blocks,
            scratch,
            readout,
            gemm,
            ..
        } = chunk;
        self.readout().backward(gemm, dh, readout, gradient);
        for (layer, state) in blocks.iter().enumerate().rev() {
            self.block(layer)
                .backward(gemm, dh, state, scratch, gradient);
        }
        let d_gain = gradient.gain(POSITION_GAIN);
        for rows in dh.chunks_exact(self.position_signs.len()) {
            let signs = self.position_signs.chunks_exact(self.shape.width);
            for (row, signs) in rows.chunks_exact(self.shape.width).zip(signs) {
                for ((dg, dh), s) in d_gain.iter_mut().zip(row).zip(signs) {
                    *dg += dh * s;
                }
            }
        }
        let d_embedding = gradient.linear(EMBEDDING);
        let embedding = self.dense.linear(EMBEDDING);
        embedding.backward_parameters(gemm, inputs, dh, d_embedding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{assert_gradient, values};
    use crate::layer::activation::tests::{Expected, FORMS};
    use hasher_model::Task;

    #[test]
    fn gradient_of_every_parameter_matches_finite_differences() {
        for form in FORMS {
            gradient_matches(Shape {
                task: Task::Classifier,
                width: 8,
                hidden: 12,
                layers: 2,
                heads: 2,
                positions: 3,
                inputs: 4,
                classes: 3,
                code_bits: 4,
                form,
            });
        }
    }

    #[test]
    fn gradient_of_a_language_model_matches_finite_differences() {
        gradient_matches(Shape {
            task: Task::LanguageModel,
            width: 8,
            hidden: 12,
            layers: 2,
            heads: 2,
            positions: 3,
            inputs: 24,
            classes: 3,
            code_bits: 4,
            form: FORMS[0],
        });
    }

    fn gradient_matches(shape: Shape) {
        let count = crate::dense::number_count(&shape);
        // Small enough that few units sit at the edge of their clip range, where
        // the gradient jumps and a finite difference means nothing.
        let point: Vec<f32> = values(count, 61).iter().map(|v| v * 0.35).collect();
        let inputs = values(2 * shape.positions * shape.inputs, 62);
        let run = |point: &[f32], gradient: Option<&mut [f32]>| {
            let mut network = Network::new(shape);
            network.dense.set_values(&shape, point);
            let mut chunk = Chunk::new(&shape, 2);
            chunk.inputs.copy_from_slice(&inputs);
            for (at, label) in chunk.labels.iter_mut().enumerate() {
                // The second output of a language model does not count.
                *label = [Some(2), None, Some(1), Some(0)]
                    .get(at % 4)
                    .copied()
                    .flatten();
            }
            if shape.outputs() == 1 {
                chunk.labels = vec![Some(2), Some(0)];
            }
            let mut out = Yield::new(&shape);
            network.run(&mut chunk, &mut Expected, None, 1.0, &mut out);
            if let Some(gradient) = gradient {
                gradient.copy_from_slice(out.gradient.values());
            }
            out.loss
        };
        assert_gradient(&point, run);
    }
}
