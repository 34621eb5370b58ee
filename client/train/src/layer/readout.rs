//! The network's end: norm, hash activation, head and loss, of the mean over
//! positions for a classifier and of every position for a language model.

use hasher_model::CodeRange;

use super::activation::{Activate, Lane};
use super::attention::soft_max;
use super::loss::{self, RowLoss};
use super::norm;
use crate::dense::{Dense, DenseGradient};
use crate::shape::Shape;
use crate::vector::add_scaled;
use hasher_kernel::Gemm;

/// What an output should be; nothing where it does not count.
pub(crate) type Label = Option<u8>;

/// What a teacher says of every output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lesson<'a> {
    /// Of each class, one row per output.
    pub probabilities: &'a [f32],
    /// How much of the target they are, 0 to 1; the rest is the label.
    pub share: f32,
}

/// Borrowed parameters of the read-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readout<'a> {
    pub shape: &'a Shape,
    pub dense: &'a Dense,
}

/// What the backward needs from the forward, one row per output.
#[derive(Debug)]
pub(crate) struct ReadoutState {
    pooled: Vec<f32>,
    normed: Vec<f32>,
    scales: Vec<f32>,
    codes: Vec<f32>,
    logits: Vec<f32>,
    d_logits: Vec<f32>,
    narrow: Vec<f32>,
    d_pooled: Vec<f32>,
}

impl ReadoutState {
    /// Buffers for `examples` examples.
    pub(crate) fn new(shape: &Shape, examples: usize) -> Self {
        let rows = examples * shape.outputs();
        let narrow = || vec![0.0; rows * shape.width];
        let logits = || vec![0.0; rows * shape.classes];
        Self {
            pooled: narrow(),
            normed: narrow(),
            scales: vec![0.0; rows],
            codes: narrow(),
            logits: logits(),
            d_logits: logits(),
            narrow: narrow(),
            d_pooled: narrow(),
        }
    }
}

impl Readout<'_> {
    fn gain(&self) -> &[f32] {
        self.dense.gain(self.shape.final_gain())
    }

    /// Logits of every example from the last residual stream `h`.
    pub(crate) fn forward(
        &self,
        gemm: &mut Gemm,
        act: &mut impl Activate,
        h: &[f32],
        state: &mut ReadoutState,
    ) {
        let Shape {
            width,
            positions,
            layers,
            ..
        } = *self.shape;
        if self.shape.is_causal() {
            state.pooled.copy_from_slice(h);
        } else {
            state.pooled.fill(0.0);
            let examples = h.chunks_exact(positions * width);
            for (rows, pooled) in examples.zip(state.pooled.chunks_exact_mut(width)) {
                for row in rows.chunks_exact(width) {
                    add_scaled(pooled, 1.0 / positions as f32, row);
                }
            }
        }
        norm::forward(
            &state.pooled,
            self.gain(),
            &mut state.normed,
            &mut state.scales,
        );
        let quantiser = self.shape.quantiser(CodeRange::Signed);
        let lanes = state
            .normed
            .chunks_exact(width)
            .zip(state.codes.chunks_exact_mut(width));
        let outputs = self.shape.outputs();
        for (row, (z, y)) in lanes.enumerate() {
            act.activate(
                Lane {
                    example: row / outputs,
                    layer: layers,
                    site: 0,
                    position: row % outputs,
                },
                &quantiser,
                z,
                y,
            );
        }
        let head = self.dense.linear(self.shape.head());
        head.forward(gemm, &state.codes, &mut state.logits);
    }

    /// Loss of every output that counts; keeps the gradient of the logits, each of
    /// them counting `weight`, against the labels or what of them a lesson says.
    pub(crate) fn loss(
        &self,
        labels: &[Label],
        lesson: Option<Lesson<'_>>,
        weight: f32,
        state: &mut ReadoutState,
    ) -> Vec<RowLoss> {
        let classes = self.shape.classes;
        let rows = state.logits.chunks_exact(classes);
        rows.zip(state.d_logits.chunks_exact_mut(classes))
            .zip(labels)
            .enumerate()
            .filter_map(|(row, ((logits, d), label))| {
                let Some(label) = label.map(usize::from) else {
                    d.fill(0.0);
                    return None;
                };
                let loss = loss::cross_entropy(logits, label, weight, d);
                if let Some(Lesson {
                    probabilities,
                    share,
                }) = lesson
                {
                    let probabilities = &probabilities[row * classes..][..classes];
                    loss::follow(probabilities, share, label, weight, d);
                }
                Some(loss)
            })
            .collect()
    }

    /// Soft-max of the last forward's logits, which it replaces; one row per output.
    pub(crate) fn probabilities<'s>(&self, state: &'s mut ReadoutState) -> &'s [f32] {
        for row in state.logits.chunks_exact_mut(self.shape.classes) {
            soft_max(row);
        }
        &state.logits
    }

    /// Logits of the last forward, one row per output.
    pub(crate) fn logits(state: &ReadoutState) -> &[f32] {
        &state.logits
    }

    /// Sets `dh` to dL/dh and adds the parameters' gradients.
    pub(crate) fn backward(
        &self,
        gemm: &mut Gemm,
        dh: &mut [f32],
        state: &mut ReadoutState,
        gradient: &mut DenseGradient,
    ) {
        let Shape {
            width, positions, ..
        } = *self.shape;
        let head = self.dense.linear(self.shape.head());
        let d_head = gradient.linear(self.shape.head());
        head.backward_parameters(gemm, &state.codes, &state.d_logits, d_head);
        state.narrow.fill(0.0);
        head.backward_input(gemm, &state.d_logits, &mut state.narrow);
        self.shape
            .quantiser(CodeRange::Signed)
            .backward(&state.normed, &mut state.narrow);
        state.d_pooled.fill(0.0);
        let d_gain = gradient.gain(self.shape.final_gain());
        let (d_normed, d_pooled) = (&state.narrow, &mut state.d_pooled);
        norm::backward(
            d_normed,
            &state.pooled,
            self.gain(),
            &state.scales,
            d_pooled,
            d_gain,
        );
        if self.shape.is_causal() {
            dh.copy_from_slice(&state.d_pooled);
            return;
        }
        dh.fill(0.0);
        let examples = dh.chunks_exact_mut(positions * width);
        for (rows, d_pooled) in examples.zip(state.d_pooled.chunks_exact(width)) {
            for row in rows.chunks_exact_mut(width) {
                add_scaled(row, 1.0 / positions as f32, d_pooled);
            }
        }
    }
}
