//! The classifier as training sees it, and the chunk of examples that one
//! thread works on at a time.
//!
//! Owns the order of layers and the buffers between them; never touches seeds,
//! latents or threads. The trainer calls it.

use crate::data::Dataset;
use crate::dense::{Dense, DenseGradient};
use crate::gemm::Gemm;
use crate::layer::activation::Activate;
use crate::layer::block::{Block, BlockScratch, BlockState};
use crate::layer::readout::{Readout, ReadoutState};
use crate::shape::{EMBEDDING, POSITION_GAIN, Shape};

/// Examples of one chunk, the unit of work of a thread. Part of the result: the
/// gradients of chunks are rounded sums. Four digits are 36 rows, whole blocks of
/// the matrix kernel, and a batch of 32 can keep eight threads busy.
pub(crate) const CHUNK_EXAMPLES: usize = 4;

/// Decoded weights with the fixed parts of the network.
#[derive(Debug)]
pub(crate) struct Network {
    pub shape: Shape,
    pub dense: Dense,
    /// ±1, `positions × width`.
    position_signs: Vec<f32>,
}

/// A fixed group of examples of a batch: everything one thread reads and
/// writes. The partition into chunks never depends on the number of threads.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Real inputs, one row per position.
    inputs: Vec<f32>,
    labels: Vec<u8>,
    h: Vec<f32>,
    blocks: Vec<BlockState>,
    scratch: BlockScratch,
    readout: ReadoutState,
    gemm: Gemm,
    /// Sum of the examples' gradients.
    pub gradient: DenseGradient,
    /// Sum of the examples' losses, in nats.
    pub loss: f64,
    /// Examples whose largest logit is the label's.
    pub correct: u32,
}

impl Chunk {
    /// Buffers for `examples` examples.
    pub(crate) fn new(shape: &Shape, examples: usize) -> Self {
        let rows = examples * shape.positions;
        Self {
            inputs: vec![0.0; rows * shape.inputs],
            labels: vec![0; examples],
            h: vec![0.0; rows * shape.width],
            blocks: (0..shape.layers)
                .map(|_| BlockState::new(shape, rows))
                .collect(),
            scratch: BlockScratch::new(shape, rows),
            readout: ReadoutState::new(shape, examples),
            gemm: Gemm::default(),
            gradient: DenseGradient::new(shape),
            loss: 0.0,
            correct: 0,
        }
    }

    /// How many examples it holds.
    pub(crate) fn examples(&self) -> usize {
        self.labels.len()
    }

    /// Takes these examples of `data`; as many as the chunk was made for.
    pub(crate) fn load(&mut self, data: &Dataset, examples: &[usize]) {
        let unit = 1.0 / (1u32 << data.input_fraction()) as f32;
        let per_example = self.inputs.len() / self.labels.len();
        let rows = self.inputs.chunks_exact_mut(per_example);
        for ((row, label), &example) in rows.zip(&mut self.labels).zip(examples) {
            *label = data.label(example);
            for (input, code) in row.iter_mut().zip(data.codes(example)) {
                *input = f32::from(*code) * unit;
            }
        }
    }
}

impl Network {
    /// A network of this shape whose weights are still zero.
    pub(crate) fn new(shape: Shape) -> Self {
        let signs = hasher_model::position_signs(shape.positions, shape.width);
        Self {
            shape,
            dense: Dense::new(&shape),
            position_signs: signs.into_iter().map(f32::from).collect(),
        }
    }

    /// Forward, loss and backward of the loaded examples; each counts `weight`
    /// in the gradient. Replaces the chunk's gradient, loss and count.
    pub(crate) fn run(&self, chunk: &mut Chunk, act: &mut impl Activate, weight: f32) {
        self.forward(chunk, act);
        let rows = self
            .readout()
            .loss(&chunk.labels, weight, &mut chunk.readout);
        chunk.loss = rows.iter().map(|row| f64::from(row.loss)).sum();
        chunk.correct = rows.iter().map(|row| u32::from(row.is_correct)).sum();
        self.backward(chunk);
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

    fn forward(&self, chunk: &mut Chunk, act: &mut impl Activate) {
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

    fn backward(&self, chunk: &mut Chunk) {
        // The forward is over: the residual buffer carries its gradient now.
        let Chunk {
            inputs,
            h: dh,
            blocks,
            scratch,
            readout,
            gemm,
            gradient,
            ..
        } = chunk;
        gradient.clear();
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
    use crate::layer::activation::tests::Expected;

    #[test]
    fn gradient_of_every_parameter_matches_finite_differences() {
        let shape = Shape {
            width: 8,
            hidden: 12,
            layers: 2,
            heads: 2,
            positions: 3,
            inputs: 4,
            classes: 3,
            code_bits: 4,
        };
        let count = crate::dense::number_count(&shape);
        // Small enough that few units sit at the edge of their clip range, where
        // the gradient jumps and a finite difference means nothing.
        let point: Vec<f32> = values(count, 61).iter().map(|v| v * 0.35).collect();
        let inputs = values(2 * shape.positions * shape.inputs, 62);
        let run = |point: &[f32], gradient: Option<&mut [f32]>| {
            let mut network = Network::new(shape);
            network.dense.set_values(point);
            let mut chunk = Chunk::new(&shape, 2);
            chunk.inputs.copy_from_slice(&inputs);
            chunk.labels = vec![2, 0];
            network.run(&mut chunk, &mut Expected, 1.0);
            if let Some(gradient) = gradient {
                gradient.copy_from_slice(chunk.gradient.values());
            }
            chunk.loss
        };
        assert_gradient(&point, run);
    }
}
