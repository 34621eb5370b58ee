//! `y = x·Wᵀ + b`.

use hasher_kernel::{Gemm, Operand, Packed};

/// A dense layer over borrowed weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    /// Values per input row.
    pub inputs: usize,
    /// Values per output row.
    pub outputs: usize,
    /// `outputs × inputs`.
    pub weight: &'a Packed,
    /// The same weights as `inputs × outputs`.
    pub transposed: &'a Packed,
    /// One value per output.
    pub bias: &'a [f32],
}

/// Where the gradients of a [`Linear`] are added.
#[derive(Debug)]
pub(crate) struct LinearGradient<'a> {
    /// `outputs × inputs`, by rows.
    pub weight: &'a mut [f32],
    /// One value per output.
    pub bias: &'a mut [f32],
}

impl Linear<'_> {
    /// `y += x·Wᵀ + b` for every row.
    pub(crate) fn forward_add(&self, gemm: &mut Gemm, x: &[f32], y: &mut [f32]) {
        for row in y.chunks_exact_mut(self.outputs) {
            for (y, b) in row.iter_mut().zip(self.bias) {
                *y += b;
            }
        }
        self.add_product(gemm, x, y);
    }

    /// `y = x·Wᵀ + b` for every row.
    pub(crate) fn forward(&self, gemm: &mut Gemm, x: &[f32], y: &mut [f32]) {
        for row in y.chunks_exact_mut(self.outputs) {
            row.copy_from_slice(self.bias);
        }
        self.add_product(gemm, x, y);
    }

    fn add_product(&self, gemm: &mut Gemm, x: &[f32], y: &mut [f32]) {
        let rows = y.len() / self.outputs;
        gemm.multiply_add_packed(rows, Operand::Rows(x), self.transposed, y);
    }

    /// Adds the gradients of weights and bias, given dL/dy and the forward's `x`.
    pub(crate) fn backward_parameters(
        &self,
        gemm: &mut Gemm,
        x: &[f32],
        dy: &[f32],
        gradient: LinearGradient<'_>,
    ) {
        for row in dy.chunks_exact(self.outputs) {
            for (b, dy) in gradient.bias.iter_mut().zip(row) {
                *b += dy;
            }
        }
        let rows = dy.len() / self.outputs;
        let shape = [self.outputs, rows, self.inputs];
        gemm.multiply_add(shape, Operand::Columns(dy), x, gradient.weight);
    }

    /// Adds dL/dx, given dL/dy.
    pub(crate) fn backward_input(&self, gemm: &mut Gemm, dy: &[f32], dx: &mut [f32]) {
        let rows = dy.len() / self.outputs;
        gemm.multiply_add_packed(rows, Operand::Rows(dy), self.weight, dx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{assert_gradient, values};

    #[test]
    fn gradients_match_finite_differences() {
        let (rows, inputs, outputs) = (3, 5, 4);
        let parts = [outputs * inputs, outputs, rows * inputs];
        let point = values(parts.iter().sum(), 11);
        let weights_of_y = values(rows * outputs, 12);
        let run = |point: &[f32], gradient: Option<&mut [f32]>| {
            let (weight, rest) = point.split_at(parts[0]);
            let (bias, x) = rest.split_at(parts[1]);
            let mut gemm = Gemm::default();
            let [mut packed, mut transposed] = [Packed::default(), Packed::default()];
            gemm.pack([outputs, inputs], Operand::Rows(weight), &mut packed);
            gemm.pack([inputs, outputs], Operand::Columns(weight), &mut transposed);
            let layer = Linear {
                inputs,
                outputs,
                weight: &packed,
                transposed: &transposed,
                bias,
            };
            let mut y = vec![0.0; rows * outputs];
            layer.forward(&mut gemm, x, &mut y);
            if let Some(gradient) = gradient {
                let (weight, rest) = gradient.split_at_mut(parts[0]);
                let (bias, dx) = rest.split_at_mut(parts[1]);
                let parameters = LinearGradient { weight, bias };
                layer.backward_parameters(&mut gemm, x, &weights_of_y, parameters);
                layer.backward_input(&mut gemm, &weights_of_y, dx);
            }
            y.iter()
                .zip(&weights_of_y)
                .map(|(y, w)| f64::from(y * w))
                .sum()
        };
        assert_gradient(&point, run);
    }
}
