//! One pre-norm transformer block: attention and feed-forward, each added to
//! the residual stream, with a hash activation before every matrix.

use hasher_model::CodeRange;

use super::activation::{Activate, Lane, Quantiser};
use super::attention::{Attention, Qkv, QkvGradient};
use super::linear::Linear;
use super::norm;
use crate::dense::{Dense, DenseGradient};
use crate::shape::{LayerMatrices, Shape};
use hasher_kernel::Gemm;

/// Borrowed parameters of one block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub layer: usize,
    pub shape: &'a Shape,
    pub dense: &'a Dense,
}

/// What a block's backward needs from its forward.
#[derive(Debug)]
pub(crate) struct BlockState {
    /// Residual stream entering the block, and after attention.
    entry: Vec<f32>,
    middle: Vec<f32>,
    /// Normalised rows, their scales and their codes, before both halves.
    normed: [Vec<f32>; 2],
    scales: [Vec<f32>; 2],
    codes: [Vec<f32>; 2],
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attention: Vec<f32>,
    /// Values mixed by attention, and their codes.
    mixed: Vec<f32>,
    mixed_codes: Vec<f32>,
    /// Feed-forward units and their codes.
    hidden: Vec<f32>,
    hidden_codes: Vec<f32>,
}

/// Gradient buffers that all blocks of a chunk use in turn.
#[derive(Debug)]
pub(crate) struct BlockScratch {
    wide: Vec<f32>,
    narrow: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl BlockState {
    /// Buffers for `rows` rows.
    pub(crate) fn new(shape: &Shape, rows: usize) -> Self {
        let narrow = || vec![0.0; rows * shape.width];
        let wide = || vec![0.0; rows * shape.hidden];
        Self {
            entry: narrow(),
            middle: narrow(),
            normed: [narrow(), narrow()],
            scales: [vec![0.0; rows], vec![0.0; rows]],
            codes: [narrow(), narrow()],
            q: narrow(),
            k: narrow(),
            v: narrow(),
            attention: vec![0.0; attention_of(shape).weights_len(rows)],
            mixed: narrow(),
            mixed_codes: narrow(),
            hidden: wide(),
            hidden_codes: wide(),
        }
    }
}

impl BlockScratch {
    /// Buffers for `rows` rows.
    pub(crate) fn new(shape: &Shape, rows: usize) -> Self {
        let narrow = || vec![0.0; rows * shape.width];
        Self {
            wide: vec![0.0; rows * shape.hidden],
            narrow: narrow(),
            q: narrow(),
            k: narrow(),
            v: narrow(),
        }
    }
}

fn attention_of(shape: &Shape) -> Attention {
    Attention {
        positions: shape.positions,
        heads: shape.heads,
        width: shape.width,
        is_causal: shape.is_causal(),
    }
}

impl Block<'_> {
    fn gain(&self, half: usize) -> &[f32] {
        self.dense.gain(self.shape.norm_gain(self.layer, half))
    }

    fn matrices(&self) -> LayerMatrices<Linear<'_>> {
        self.shape
            .layer_matrices(self.layer)
            .map(|index| self.dense.linear(index))
    }

    /// Replaces the residual stream `h` by the block's output.
    pub(crate) fn forward(
        &self,
        gemm: &mut Gemm,
        act: &mut impl Activate,
        h: &mut [f32],
        state: &mut BlockState,
    ) {
        let matrices = self.matrices();
        let signed = self.shape.quantiser(CodeRange::Signed);
        let width = self.shape.width;

        state.entry.copy_from_slice(h);
        norm::forward(h, self.gain(0), &mut state.normed[0], &mut state.scales[0]);
        self.activate(
            act,
            0,
            &signed,
            width,
            &state.normed[0],
            &mut state.codes[0],
        );
        matrices.q.forward(gemm, &state.codes[0], &mut state.q);
        matrices.k.forward(gemm, &state.codes[0], &mut state.k);
        matrices.v.forward(gemm, &state.codes[0], &mut state.v);
        let qkv = Qkv {
            q: &state.q,
            k: &state.k,
            v: &state.v,
        };
        attention_of(self.shape).forward(qkv, &mut state.attention, &mut state.mixed);
        self.activate(act, 1, &signed, width, &state.mixed, &mut state.mixed_codes);
        matrices.o.forward_add(gemm, &state.mixed_codes, h);

        state.middle.copy_from_slice(h);
        norm::forward(h, self.gain(1), &mut state.normed[1], &mut state.scales[1]);
        self.activate(
            act,
            2,
            &signed,
            width,
            &state.normed[1],
            &mut state.codes[1],
        );
        matrices.f.forward(gemm, &state.codes[1], &mut state.hidden);
        let unsigned = self.shape.quantiser(CodeRange::Unsigned);
        let hidden = self.shape.hidden;
        self.activate(
            act,
            3,
            &unsigned,
            hidden,
            &state.hidden,
            &mut state.hidden_codes,
        );
        matrices.g.forward_add(gemm, &state.hidden_codes, h);
    }

    /// Turns `dh` from dL/d(output) into dL/d(input) and adds the gradients of
    /// the block's parameters.
    pub(crate) fn backward(
        &self,
        gemm: &mut Gemm,
        dh: &mut [f32],
        state: &BlockState,
        scratch: &mut BlockScratch,
        gradient: &mut DenseGradient,
    ) {
        self.backward_feed_forward(gemm, dh, state, scratch, gradient);
        self.backward_attention(gemm, dh, state, scratch, gradient);
    }

    fn backward_feed_forward(
        &self,
        gemm: &mut Gemm,
        dh: &mut [f32],
        state: &BlockState,
        scratch: &mut BlockScratch,
        gradient: &mut DenseGradient,
    ) {
        let (matrices, index) = (self.matrices(), self.shape.layer_matrices(self.layer));
        let BlockScratch { wide, narrow, .. } = scratch;
        let g = gradient.linear(index.g);
        matrices
            .g
            .backward_parameters(gemm, &state.hidden_codes, dh, g);
        wide.fill(0.0);
        matrices.g.backward_input(gemm, dh, wide);
        self.shape
            .quantiser(CodeRange::Unsigned)
            .backward(&state.hidden, wide);
        let f = gradient.linear(index.f);
        matrices
            .f
            .backward_parameters(gemm, &state.codes[1], wide, f);
        narrow.fill(0.0);
        matrices.f.backward_input(gemm, wide, narrow);
        self.backward_norm(1, narrow, &state.middle, state, dh, gradient);
    }

    fn backward_attention(
        &self,
        gemm: &mut Gemm,
        dh: &mut [f32],
        state: &BlockState,
        scratch: &mut BlockScratch,
        gradient: &mut DenseGradient,
    ) {
        let (matrices, index) = (self.matrices(), self.shape.layer_matrices(self.layer));
        let BlockScratch {
            narrow, q, k, v, ..
        } = scratch;
        let o = gradient.linear(index.o);
        matrices
            .o
            .backward_parameters(gemm, &state.mixed_codes, dh, o);
        narrow.fill(0.0);
        matrices.o.backward_input(gemm, dh, narrow);
        self.shape
            .quantiser(CodeRange::Signed)
            .backward(&state.mixed, narrow);
        for buffer in [&mut *q, k, v] {
            buffer.fill(0.0);
        }
        attention_of(self.shape).backward(
            Qkv {
                q: &state.q,
                k: &state.k,
                v: &state.v,
            },
            &state.attention,
            narrow,
            QkvGradient { q, k, v },
        );
        narrow.fill(0.0);
        let parts = [
            (matrices.q, index.q, q),
            (matrices.k, index.k, k),
            (matrices.v, index.v, v),
        ];
        for (matrix, index, dy) in parts {
            let gradient = gradient.linear(index);
            matrix.backward_parameters(gemm, &state.codes[0], dy, gradient);
            matrix.backward_input(gemm, dy, narrow);
        }
        self.backward_norm(0, narrow, &state.entry, state, dh, gradient);
    }

    /// From the codes' gradient `d_codes` back to the residual stream `h`.
    fn backward_norm(
        &self,
        half: usize,
        d_codes: &mut [f32],
        h: &[f32],
        state: &BlockState,
        dh: &mut [f32],
        gradient: &mut DenseGradient,
    ) {
        self.shape
            .quantiser(CodeRange::Signed)
            .backward(&state.normed[half], d_codes);
        let d_gain = gradient.gain(self.shape.norm_gain(self.layer, half));
        norm::backward(d_codes, h, self.gain(half), &state.scales[half], dh, d_gain);
    }

    fn activate(
        &self,
        act: &mut impl Activate,
        site: usize,
        quantiser: &Quantiser,
        width: usize,
        z: &[f32],
        y: &mut [f32],
    ) {
        let positions = self.shape.positions;
        for (row, (z, y)) in z
            .chunks_exact(width)
            .zip(y.chunks_exact_mut(width))
            .enumerate()
        {
            let (example, position) = (row / positions, row % positions);
            act.activate(
                Lane {
                    example,
                    layer: self.layer,
                    site,
                    position,
                },
                quantiser,
                z,
                y,
            );
        }
    }
}
