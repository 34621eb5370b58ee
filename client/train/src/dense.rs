//! The network's weights as real numbers, and their gradients: one flat buffer
//! each, so that gradients of chunks are summed in one loop.
//!
//! Weights are only ever written from decoded seeds ([`crate::latent`]), or from
//! the latents themselves in a float run.

use std::ops::Range;

use hasher_model::Matrix;

use crate::layer::linear::{Linear, LinearGradient};
use crate::shape::{GAINS, Shape};

/// Where a matrix lies in the flat buffers: weights by rows, then biases.
#[derive(Debug, Clone)]
struct Span {
    outputs: usize,
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
            outputs,
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
    spans: Vec<Span>,
    values: Vec<f32>,
    /// The weights once more, each matrix by columns; biases are not repeated.
    transposed: Vec<f32>,
}

impl Dense {
    /// All zeros.
    pub(crate) fn new(shape: &Shape) -> Self {
        let count = number_count(shape);
        Self {
            spans: spans(shape),
            values: vec![0.0; count],
            transposed: vec![0.0; count],
        }
    }

    /// Gain vector `index`.
    pub(crate) fn gain(&self, index: usize) -> &[f32] {
        let width = self.spans[GAINS].inputs;
        &self.values[index * width..(index + 1) * width]
    }

    /// Matrix `index` as a layer.
    pub(crate) fn linear(&self, index: usize) -> Linear<'_> {
        let span = &self.spans[index];
        Linear {
            inputs: span.inputs,
            outputs: span.outputs,
            weight: &self.values[span.weight.clone()],
            transposed: &self.transposed[span.weight.clone()],
            bias: &self.values[span.bias.clone()],
        }
    }

    /// Replaces all gain vectors.
    pub(crate) fn set_gains(&mut self, gains: impl Iterator<Item = f32>) {
        let span = self.spans[GAINS].weight.clone();
        for (value, gain) in self.values[span].iter_mut().zip(gains) {
            *value = gain;
        }
    }

    /// Replaces matrix `index`.
    pub(crate) fn set_matrix(&mut self, index: usize, matrix: &Matrix) {
        self.set(index, &matrix.to_f32(), &matrix.biases_f32());
    }

    /// Replaces weights (by rows) and biases of matrix `index`.
    pub(crate) fn set(&mut self, index: usize, weights: &[f32], biases: &[f32]) {
        let span = &self.spans[index];
        self.values[span.weight.clone()].copy_from_slice(weights);
        self.values[span.bias.clone()].copy_from_slice(biases);
        let transposed = &mut self.transposed[span.weight.clone()];
        for (input, column) in transposed.chunks_exact_mut(span.outputs).enumerate() {
            for (output, value) in column.iter_mut().enumerate() {
                *value = weights[output * span.inputs + input];
            }
        }
    }
}

/// Gradients in the places of [`Dense`]'s values.
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
    pub(crate) fn set_values(&mut self, values: &[f32]) {
        self.values.copy_from_slice(values);
        for span in &self.spans {
            for i in 0..span.weight.len() {
                let (output, input) = (i / span.inputs, i % span.inputs);
                self.transposed[span.weight.start + input * span.outputs + output] =
                    values[span.weight.start + i];
            }
        }
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
