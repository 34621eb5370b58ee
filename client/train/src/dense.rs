//! The network's weights as real numbers, packed for products once a step, and their
//! gradients: one flat buffer, so that gradients of chunks are summed in one loop.
//!
//! Weights are only ever written from decoded seeds ([`crate::latent`]), or from
//! the latents themselves in a float run.

use std::ops::Range;

use hasher_kernel::{Gemm, Operand, Packed};
use hasher_model::Matrix;

use crate::layer::linear::{Linear, LinearGradient};
use crate::shape::{EMBEDDING, GAINS, Shape};

/// Where a matrix lies in a flat buffer: weights by rows, then biases.
#[derive(Debug, Clone)]
struct Span {
    inputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// Spans of all matrices in model order. The gains are vectors of `width`.
fn spans(shape: &Shape) -> Vec<Span> {
    let mut end = 0;
    let mut next = |outputs: usize, inputs: usize, biases: usize| {
        let weight = end..end + outputs * inputs;
        let bias = weight.end..weight.end + biases;
        end = bias.end;
        Span {
            inputs,
            weight,
            bias,
        }
    };
    let mut spans = vec![next(shape.gains(), shape.width, 0)];
    spans.extend(
        shape
            .matrices()
            .into_iter()
            .map(|(outputs, inputs)| next(outputs, inputs, outputs)),
    );
    spans
}

/// Numbers in a float model of this shape: every weight, bias and gain.
pub(crate) fn number_count(shape: &Shape) -> usize {
    spans(shape).last().map_or(0, |span| span.bias.end)
}

/// Decoded weights.
#[derive(Debug)]
pub(crate) struct Dense {
    width: usize,
    gains: Vec<f32>,
    /// All matrices but the gains, in model order.
    matrices: Vec<Weights>,
}

/// A matrix as products take it.
#[derive(Debug)]
struct Weights {
    outputs: usize,
    inputs: usize,
    packed: Packed,
    transposed: Packed,
    bias: Vec<f32>,
}

impl Weights {
    fn set(&mut self, weights: &[f32], biases: &[f32]) {
        let (outputs, inputs) = (self.outputs, self.inputs);
        let gemm = Gemm::default();
        gemm.pack([outputs, inputs], Operand::Rows(weights), &mut self.packed);
        let transposed = Operand::Columns(weights);
        gemm.pack([inputs, outputs], transposed, &mut self.transposed);
        self.bias.copy_from_slice(biases);
    }
}

impl Dense {
    /// All zeros.
    pub(crate) fn new(shape: &Shape) -> Self {
        let matrices = shape.matrices().into_iter().map(|(outputs, inputs)| {
            let mut weights = Weights {
                outputs,
                inputs,
                packed: Packed::default(),
                transposed: Packed::default(),
                bias: vec![0.0; outputs],
            };
            weights.set(&vec![0.0; outputs * inputs], &vec![0.0; outputs]);
            weights
        });
        Self {
            width: shape.width,
            gains: vec![0.0; shape.gains() * shape.width],
            matrices: matrices.collect(),
        }
    }

    /// Gain vector `index`.
    pub(crate) fn gain(&self, index: usize) -> &[f32] {
        &self.gains[index * self.width..][..self.width]
    }

    /// Matrix `index` as a layer.
    pub(crate) fn linear(&self, index: usize) -> Linear<'_> {
        let weights = &self.matrices[index - EMBEDDING];
        Linear {
            inputs: weights.inputs,
            outputs: weights.outputs,
            weight: &weights.packed,
            transposed: &weights.transposed,
            bias: &weights.bias,
        }
    }

    /// Replaces all gain vectors.
    pub(crate) fn set_gains(&mut self, gains: impl Iterator<Item = f32>) {
        for (value, gain) in self.gains.iter_mut().zip(gains) {
            *value = gain;
        }
    }

    /// Replaces matrix `index`.
    pub(crate) fn set_matrix(&mut self, index: usize, matrix: &Matrix) {
        self.set(index, &matrix.to_f32(), &matrix.biases_f32());
    }

    /// Replaces weights (by rows) and biases of matrix `index`.
    pub(crate) fn set(&mut self, index: usize, weights: &[f32], biases: &[f32]) {
        self.matrices[index - EMBEDDING].set(weights, biases);
    }
}

/// Gradients of all that [`Dense`] holds.
#[derive(Debug, Clone)]
pub(crate) struct DenseGradient {
    spans: Vec<Span>,
    values: Vec<f32>,
}

impl DenseGradient {
    /// All zeros.
    pub(crate) fn new(shape: &Shape) -> Self {
        Self {
            spans: spans(shape),
            values: vec![0.0; number_count(shape)],
        }
    }

    /// Back to zero.
    pub(crate) fn clear(&mut self) {
        self.values.fill(0.0);
    }

    /// Adds another gradient of the same shape.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, value) in self.values.iter_mut().zip(&other.values) {
            *sum += value;
        }
    }

    /// All gain vectors, one after the other.
    pub(crate) fn gains(&self) -> &[f32] {
        &self.values[self.spans[GAINS].weight.clone()]
    }

    /// Gain vector `index`.
    pub(crate) fn gain(&mut self, index: usize) -> &mut [f32] {
        let width = self.spans[GAINS].inputs;
        &mut self.values[index * width..(index + 1) * width]
    }

    /// Matrix `index`, to be added to.
    pub(crate) fn linear(&mut self, index: usize) -> LinearGradient<'_> {
        let span = &self.spans[index];
        let both = &mut self.values[span.weight.start..span.bias.end];
        let (weight, bias) = both.split_at_mut(span.weight.len());
        LinearGradient { weight, bias }
    }

    /// Weights of matrix `index`, by rows.
    pub(crate) fn weight(&self, index: usize) -> &[f32] {
        &self.values[self.spans[index].weight.clone()]
    }

    /// Biases of matrix `index`.
    pub(crate) fn bias(&self, index: usize) -> &[f32] {
        &self.values[self.spans[index].bias.clone()]
    }
}

#[cfg(test)]
impl Dense {
    /// Any values instead of decoded ones, for checking gradients.
    pub(crate) fn set_values(&mut self, shape: &Shape, values: &[f32]) {
        for (index, span) in spans(shape).into_iter().enumerate() {
            let weights = &values[span.weight];
            if index == GAINS {
                self.set_gains(weights.iter().copied());
            } else {
                self.set(index, weights, &values[span.bias]);
            }
        }
    }

    /// Weights of matrix `index`, by rows.
    pub(crate) fn weight(&self, index: usize) -> Vec<f32> {
        let linear = self.linear(index);
        let (outputs, inputs) = (linear.outputs, linear.inputs);
        let mut identity = vec![0.0; outputs * outputs];
        (0..outputs).for_each(|at| identity[at * outputs + at] = 1.0);
        let mut weight = vec![0.0; outputs * inputs];
        linear.backward_input(&mut Gemm::default(), &identity, &mut weight);
        weight
    }
}

#[cfg(test)]
impl DenseGradient {
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_network_has_the_published_number_of_floats() {
        let shape = Shape {
            task: hasher_model::Task::Classifier,
            form: crate::layer::activation::Form::default(),
            width: 64,
            hidden: 128,
            layers: 2,
            heads: 4,
            positions: 9,
            inputs: 16,
            classes: 10,
            code_bits: 4,
        };
        // 274 216 bytes of float32: model specification, section 12.1.
        assert_eq!(number_count(&shape) * 4, 274_216);
    }
}
