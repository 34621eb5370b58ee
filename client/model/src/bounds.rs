//! Proof that no sum of a model can overflow, from its weights alone.
//!
//! Called once when a model is read. It follows the network with the largest
//! magnitude that each value can have, so that inference needs no check.

use crate::config::{Config, Task};
use crate::model::Network;
use crate::{Matrix, ModelError};

/// Largest magnitude of any value in Q16: ±32768. Residual streams are hashed and
/// logits stored as 32-bit integers, and trained models stay hundreds of times
/// below.
const VALUE_MAX: i64 = i32::MAX as i64;
/// Largest attention score in Q8. Half of what stands for "masked", so that a
/// masked position never weighs anything.
const SCORE_MAX: i64 = -MASKED_SCORE / 2;
/// The score of a position that may not be looked at.
pub(crate) const MASKED_SCORE: i64 = -(1 << 30);

/// `round(2¹⁶ · log2(e) / √width)` for an attention head of this width.
pub(crate) fn score_factor(head_width: usize) -> i64 {
    (65_536.0 * std::f64::consts::LOG2_E / (head_width as f64).sqrt()).round() as i64
}

/// Follows the largest magnitudes through the network.
pub(crate) fn check(config: &Config, network: &Network) -> Result<(), ModelError> {
    let fraction = config.code_bits - 1;
    let code_max = (1 << config.code_bits) - 1;
    let product = |matrix: &Matrix, what: &dyn Fn() -> String| {
        value(matrix.product_bound(code_max, fraction), what)
    };
    let input_max = match config.task {
        Task::Classifier => i64::from(u8::MAX),
        Task::LanguageModel => 1,
    };
    let embedded = value(
        network
            .embedding
            .product_bound(input_max, config.input_fraction),
        &|| "emb".into(),
    )?;
    let position_max = network.positions.iter().map(|p| p.abs()).max().unwrap_or(0);
    let mut residual = embedded + i64::from(position_max);
    check_residual(config, residual, &|| "the embedding".into())?;
    for (l, layer) in network.layers.iter().enumerate() {
        let name = |letter: char| move || format!("{letter}{l}");
        let query = product(&layer.query, &name('q'))?;
        let key = product(&layer.key, &name('k'))?;
        // Values are averaged, which does not enlarge them.
        product(&layer.value, &name('v'))?;
        let score = i128::from(query) * i128::from(key) * config.head_width() as i128;
        let score = (score >> 16) * i128::from(score_factor(config.head_width()));
        if score >> 24 >= i128::from(SCORE_MAX) {
            return Err(ModelError::Overflow(format!("attention of layer {l}")));
        }
        residual += product(&layer.output, &name('o'))?;
        check_residual(config, residual, &|| format!("attention of layer {l}"))?;
        product(&layer.expand, &name('f'))?;
        residual += product(&layer.contract, &name('g'))?;
        check_residual(config, residual, &|| format!("layer {l}"))?;
    }
    product(&network.head, &|| "head".into())?;
    Ok(())
}

/// A residual stream fits 32 bits and the sum of its squares 63 bits.
fn check_residual(
    config: &Config,
    bound: i64,
    what: &dyn Fn() -> String,
) -> Result<(), ModelError> {
    let bound = value(Some(bound), what)?;
    let squares = i128::from(bound) * i128::from(bound) * i128::from(config.width);
    if squares > i128::from(i64::MAX) {
        return Err(ModelError::Overflow(what()));
    }
    Ok(())
}

fn value(bound: Option<i64>, what: &dyn Fn() -> String) -> Result<i64, ModelError> {
    bound
        .filter(|bound| *bound <= VALUE_MAX)
        .ok_or_else(|| ModelError::Overflow(what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_factors_are_rounded_to_the_nearest() {
        assert_eq!(score_factor(1), 94_548);
        assert_eq!(score_factor(4), 47_274);
        assert_eq!(score_factor(16), 23_637);
        assert_eq!(score_factor(64), 11_819); // 11818.53
    }
}
