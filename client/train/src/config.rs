//! What determines the result of a training run, and the bounds of each value.

use hasher_model::{Config, Kind, Task};

use crate::data::Dataset;
use crate::dense::number_count;
use crate::kinds::Kinds;
use crate::layer::activation::Form;
use crate::network::{CHUNK_EXAMPLES, chunks_of_a_gradient};
use crate::optimiser::Schedule;
use crate::shape::Shape;

/// Examples per step at most; see also [`STEP_BYTES_MAX`].
pub const BATCH_MAX: u32 = 4096;
/// Memory of one step at most, 2 GiB: activations kept for the backward pass, as if every
/// example had a thread, and up to eight gradients of all weights. The digits model takes 7 MB
/// with 32 examples and 0.8 GB with 4096.
pub const STEP_BYTES_MAX: u64 = 2 << 30;
/// Copies of a block's activations that its backward pass needs, rounded up.
const BLOCK_COPIES: u64 = 12;
/// Steps at most: the step counter of a checkpoint stays far from its end.
pub const STEPS_MAX: u32 = 100_000_000;

/// Where the dither of the activations comes from during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DitherSource {
    /// A fast generator with the oracle's distribution.
    #[default]
    Fast,
    /// The oracle of the present seeds in direct mode, as inference would ask it:
    /// slower by the hashes, trains as well (specification, section 12.1).
    Oracle,
}

/// How the weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// As seeds: what training is for.
    #[default]
    Seeds,
    /// In single precision, for comparison only: such a run has no model file.
    Float,
}

/// What stands between the matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `HashAct`: rounding to codes with dither, as inference does.
    #[default]
    Hash,
    /// Rounding to the nearest code, without dither. Inference still dithers.
    Nearest,
    /// GELU in the feed-forward part and nothing elsewhere; for comparison, with
    /// float weights or with seeds.
    Gelu,
}

/// What stands in for the derivative of rounding to codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Surrogate {
    /// One inside the clip range, zero outside (hard tanh): the derivative of the
    /// expected output under dither.
    #[default]
    Clipped,
    /// One everywhere.
    StraightThrough,
    /// Logistic noise, the difference of two Gumbel variables, is added before
    /// rounding; the derivative is that of the expected output under the noise, a
    /// smooth window over the clip range.
    Logistic,
    /// Zero: nothing below an activation learns, only the head does. The control
    /// that shows what the others are worth.
    Frozen,
}

/// Everything that determines the resulting seeds, besides the data.
///
/// The number of threads is not among it: see
/// [`Trainer::set_threads`](crate::Trainer::set_threads).
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// Kind of each matrix.
    pub kinds: Kinds,
    /// Seeds, or single precision for comparison.
    pub weights: Weights,
    /// What stands between the matrices.
    pub activation: Activation,
    /// What stands in for the derivative of the activation.
    pub surrogate: Surrogate,
    /// Width of the residual stream, a multiple of `heads`. For the bounds of this
    /// and the next five see [`hasher_model::Config`].
    pub width: u32,
    /// Feed-forward units.
    pub hidden: u32,
    /// Transformer blocks.
    pub layers: u32,
    /// Attention heads.
    pub heads: u32,
    /// Bits of an activation code.
    pub code_bits: u32,
    /// Bits of dither per unit.
    pub dither_bits: u32,
    /// Optimiser steps, 1 to [`STEPS_MAX`].
    pub steps: u32,
    /// Examples per step, 1 to [`BATCH_MAX`].
    pub batch: u32,
    /// Largest learning rate, above 0 and at most 1.
    pub peak_learning_rate: f32,
    /// Learning rate of gains and biases, as a multiple of that of the weights: 0.01
    /// to 100.
    pub vector_rate: f32,
    /// Steps of linear warm-up.
    pub warm_up: u32,
    /// Share of the peak that the cosine ends at, 0 to 1.
    pub last_learning_rate_share: f32,
    /// Decoupled weight decay of the matrices, 0 to 1.
    pub weight_decay: f32,
    /// The model is made of a running average of the latents, of which each step keeps
    /// this share, early steps less: 0 (the last latents alone) to 0.9999.
    pub averaging: f32,
    /// Start of every random choice: first weights, order, dither.
    pub rng_seed: u64,
    /// Where the dither comes from.
    pub dither: DitherSource,
}

impl Default for TrainConfig {
    /// The digits model of the specification, section 12.1: 154 seeds, 4 928 bytes.
    fn default() -> Self {
        Self {
            kinds: Kinds::all(Kind::Hb32),
            weights: Weights::Seeds,
            activation: Activation::Hash,
            surrogate: Surrogate::Clipped,
            width: 64,
            hidden: 128,
            layers: 2,
            heads: 4,
            code_bits: 4,
            dither_bits: 4,
            steps: 800,
            batch: 32,
            peak_learning_rate: 2e-3,
            vector_rate: 2.0,
            warm_up: 50,
            last_learning_rate_share: 0.02,
            weight_decay: 0.01,
            averaging: 0.97,
            rng_seed: 1,
            dither: DitherSource::Fast,
        }
    }
}

/// Why a configuration cannot be trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside its range.
    #[error("{field} is {value}, must be {least} to {most}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// What was given.
        value: f64,
        /// Smallest accepted value.
        least: f64,
        /// Largest accepted value.
        most: f64,
    },
    /// The oracle dithers codes; there are none, or none that it could dither.
    #[error("the oracle as source of dither needs hash activations and weights as seeds")]
    Oracle,
    /// The network's sizes are impossible.
    #[error("model configuration")]
    Model(#[from] hasher_model::ConfigError),
    /// One step would need too much memory.
    #[error("a step would take {0} bytes, at most {STEP_BYTES_MAX}: make batch or model smaller")]
    StepBytes(u64),
}

impl TrainConfig {
    /// Checks every bound that does not depend on the data.
    ///
    /// # Errors
    /// The first one that is broken, by field name.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.dither == DitherSource::Oracle
            && (self.activation != Activation::Hash
                || self.weights != Weights::Seeds
                || self.surrogate == Surrogate::Logistic)
        {
            return Err(ConfigError::Oracle);
        }
        let most = f64::from(STEPS_MAX);
        let fields = [
            ("steps", self.steps.into(), 1.0, most),
            ("warm_up", self.warm_up.into(), 0.0, most),
            ("batch", self.batch.into(), 1.0, BATCH_MAX.into()),
            (
                "peak_learning_rate",
                self.peak_learning_rate.into(),
                1e-9,
                1.0,
            ),
            ("vector_rate", self.vector_rate.into(), 0.01, 100.0),
            ("averaging", self.averaging.into(), 0.0, 0.9999),
            (
                "last_learning_rate_share",
                self.last_learning_rate_share.into(),
                0.0,
                1.0,
            ),
            ("weight_decay", self.weight_decay.into(), 0.0, 1.0),
        ];
        for (field, value, least, most) in fields {
            // Written so that NaN is refused.
            if !(value >= least && value <= most) {
                return Err(ConfigError::OutOfRange {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }

    /// The model that this configuration makes of `data`, checked.
    ///
    /// # Errors
    /// As [`TrainConfig::check`], [`ConfigError::Model`], or
    /// [`ConfigError::StepBytes`].
    pub fn model_config(&self, data: &Dataset) -> Result<Config, ConfigError> {
        self.check()?;
        let is_language = data.task() == Task::LanguageModel;
        let config = Config {
            task: data.task(),
            width: self.width,
            hidden: self.hidden,
            layers: self.layers,
            heads: self.heads,
            positions: data.positions() as u32,
            inputs: if is_language {
                // Refused below if it does not fit: the width is not checked yet.
                self.width.saturating_mul(3)
            } else {
                data.inputs() as u32
            },
            classes: data.classes() as u32,
            code_bits: self.code_bits,
            dither_bits: self.dither_bits,
            input_fraction: data.input_fraction(),
            vocabulary: if is_language {
                data.classes() as u32
            } else {
                0
            },
        };
        config.check()?;
        let bytes = step_bytes(&Shape::new(&config, self.form()), u64::from(self.batch));
        if bytes > STEP_BYTES_MAX {
            return Err(ConfigError::StepBytes(bytes));
        }
        Ok(config)
    }

    pub(crate) fn form(&self) -> Form {
        Form {
            activation: self.activation,
            surrogate: self.surrogate,
        }
    }

    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            peak: self.peak_learning_rate,
            warm_up: self.warm_up,
            steps: self.steps,
            last_share: self.last_learning_rate_share,
        }
    }
}

/// Memory of one step with `batch` examples. Every size is bounded by the model's
/// configuration, so that nothing here can overflow.
fn step_bytes(shape: &Shape, batch: u64) -> u64 {
    let per_row = shape.width + shape.hidden + shape.heads * shape.positions;
    let rows = batch * shape.positions as u64;
    let activations = BLOCK_COPIES * shape.layers as u64 * per_row as u64 * rows;
    let gradients = batch.div_ceil((CHUNK_EXAMPLES * chunks_of_a_gradient(batch as usize)) as u64)
        * number_count(shape) as u64;
    (activations + gradients) * size_of::<f32>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_accepted() {
        assert_eq!(TrainConfig::default().check(), Ok(()));
    }

    #[test]
    fn every_bound_is_named_when_it_is_broken() {
        type Change = fn(&mut TrainConfig);
        let cases: [(Change, &str); 8] = [
            (|c| c.steps = 0, "steps is 0, must be 1 to 100000000"),
            (
                |c| c.vector_rate = 0.0,
                "vector_rate is 0, must be 0.01 to 100",
            ),
            (|c| c.averaging = 1.0, "averaging is 1, must be 0 to 0.9999"),
            (|c| c.batch = 4097, "batch is 4097, must be 1 to 4096"),
            (
                |c| c.weight_decay = f32::NAN,
                "weight_decay is NaN, must be 0 to 1",
            ),
            (
                |c| c.peak_learning_rate = 2.0,
                "peak_learning_rate is 2, must be 0.000000001 to 1",
            ),
            (
                |c| {
                    c.dither = DitherSource::Oracle;
                    c.activation = Activation::Nearest;
                },
                "the oracle as source of dither needs hash activations and weights as seeds",
            ),
            (
                |c| c.layers = 64,
                "a step would take 25888483648 bytes, at most 2147483648: make batch or model smaller",
            ),
        ];
        let data = crate::data::digits();
        for (change, text) in cases {
            let mut config = TrainConfig {
                batch: 4096,
                ..TrainConfig::default()
            };
            change(&mut config);
            assert_eq!(config.model_config(&data).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn sizes_that_the_model_refuses_are_refused() {
        let config = TrainConfig {
            heads: 3,
            ..TrainConfig::default()
        };
        let error = config.model_config(&crate::data::digits()).unwrap_err();
        assert!(matches!(error, ConfigError::Model(_)), "{error}");
    }
}
