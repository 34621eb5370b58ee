//! The sizes of a network and where its matrices and gains are.
//!
//! The order of matrices is the model file's: gains, embedding, six per layer,
//! head. Everything that counts matrices asks here.

use hasher_model::{CodeRange, Config, Task};

use crate::layer::activation::{Form, Quantiser};

/// Index of the gain matrix.
pub(crate) const GAINS: usize = 0;
/// Index of the embedding.
pub(crate) const EMBEDDING: usize = 1;
/// Gain vector that scales the position signs.
pub(crate) const POSITION_GAIN: usize = 0;
/// Matrices of one layer: q, k, v, o, f, g.
const PER_LAYER: usize = 6;

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Whether positions are averaged before the head, or each predicts what
    /// follows it.
    pub task: Task,
    /// Width of the residual stream.
    pub width: usize,
    /// Feed-forward units.
    pub hidden: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Positions (tokens) per example.
    pub positions: usize,
    /// Values per position.
    pub inputs: usize,
    /// Classes.
    pub classes: usize,
    /// Bits of an activation code.
    pub code_bits: u32,
    /// What the activations are.
    pub form: Form,
}

/// One value for each of a layer's six matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerMatrices<T> {
    pub q: T,
    pub k: T,
    pub v: T,
    pub o: T,
    pub f: T,
    pub g: T,
}

impl<T> LayerMatrices<T> {
    /// Applies `f` to each.
    pub(crate) fn map<U>(self, mut f: impl FnMut(T) -> U) -> LayerMatrices<U> {
        LayerMatrices {
            q: f(self.q),
            k: f(self.k),
            v: f(self.v),
            o: f(self.o),
            f: f(self.f),
            g: f(self.g),
        }
    }
}

impl Shape {
    /// The sizes of a checked model configuration.
    pub(crate) fn new(config: &Config, form: Form) -> Self {
        Self {
            task: config.task,
            form,
            width: config.width as usize,
            hidden: config.hidden as usize,
            layers: config.layers as usize,
            heads: config.heads as usize,
            positions: config.positions as usize,
            inputs: config.inputs as usize,
            classes: config.classes as usize,
            code_bits: config.code_bits,
        }
    }

    /// Whether a position sees only itself and those before it.
    pub(crate) fn is_causal(&self) -> bool {
        self.task == Task::LanguageModel
    }

    /// Rows of logits per example: one, or one per position.
    pub(crate) fn outputs(&self) -> usize {
        if self.is_causal() { self.positions } else { 1 }
    }

    /// Indices of the matrices of `layer`.
    pub(crate) fn layer_matrices(&self, layer: usize) -> LayerMatrices<usize> {
        let first = EMBEDDING + 1 + PER_LAYER * layer;
        LayerMatrices {
            q: first,
            k: first + 1,
            v: first + 2,
            o: first + 3,
            f: first + 4,
            g: first + 5,
        }
    }

    /// Index of the head, the last matrix.
    pub(crate) fn head(&self) -> usize {
        EMBEDDING + 1 + PER_LAYER * self.layers
    }

    /// Gain vectors of `width` values in the gain matrix.
    pub(crate) fn gains(&self) -> usize {
        2 * self.layers + 2
    }

    /// Gain vector of the norm before attention (`half` 0) or feed-forward (1).
    pub(crate) fn norm_gain(&self, layer: usize, half: usize) -> usize {
        1 + 2 * layer + half
    }

    /// Gain vector of the norm before the head.
    pub(crate) fn final_gain(&self) -> usize {
        self.gains() - 1
    }

    /// (outputs, inputs) of every matrix after the gains, in model order.
    pub(crate) fn matrices(&self) -> Vec<(usize, usize)> {
        let (d, ff) = (self.width, self.hidden);
        let mut sizes = vec![(d, self.inputs)];
        for _ in 0..self.layers {
            sizes.extend([(d, d), (d, d), (d, d), (d, d), (ff, d), (d, ff)]);
        }
        sizes.push((self.classes, d));
        sizes
    }

    /// The quantiser of this model's activations.
    pub(crate) fn quantiser(&self, range: CodeRange) -> Quantiser {
        Quantiser::new(self.code_bits, range, self.form)
    }
}
