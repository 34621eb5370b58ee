//! The options of a training run: sizes, schedule and forms, with the defaults of
//! each task.

use clap::{Args, ValueEnum};
use hasher_data::TaskName;
use hasher_train::{Activation, DitherSource, Kinds, Surrogate, TrainConfig, Weights};

/// What determines the resulting seeds, besides the data.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Optimiser steps [default: 800; 1000 for text, 3000 for sequence]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(hasher_train::STEPS_MAX)))]
    pub steps: Option<u32>,
    /// Examples a step [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(hasher_train::BATCH_MAX)))]
    pub batch: Option<u32>,
    /// How seeds hold weights: hb32, hb16, hb8, kron, bin, tern, nib or vec8; other
    /// kinds for single matrices after it, as in `hb32,head=hb8` [default: hb32; hb16
    /// for text]
    #[arg(long, value_name = "KINDS")]
    pub kind: Option<Kinds>,
    /// Start of every random choice [default: 1]
    #[arg(long, value_name = "N")]
    pub rng_seed: Option<u64>,
    /// Width of the residual stream [default: 64; 128 for text and sequence]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub width: Option<u32>,
    /// Units of the feed-forward part [default: twice the width]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub hidden: Option<u32>,
    /// Blocks [default: 2]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub layers: Option<u32>,
    /// Attention heads [default: 4]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub heads: Option<u32>,
    /// Bits of an activation code, 1 to 8 [default: 4]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub code_bits: Option<u32>,
    /// Bits of dither per unit: 1, 2, 4 or 8 [default: 4]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub dither_bits: Option<u32>,
    /// Largest learning rate [default: 0.002; 0.003 for sequence]
    #[arg(long, value_name = "RATE", help_heading = "Schedule")]
    pub learning_rate: Option<f32>,
    /// Learning rate of gains and biases, times that of the weights [default: 2; 4 for text
    /// and sequence]
    #[arg(long, value_name = "TIMES", help_heading = "Schedule")]
    pub vector_rate: Option<f32>,
    /// Share of its running average that each step keeps; the model is made of the average.
    /// 0: of the last step's weights [default: 0.97]
    #[arg(long, value_name = "SHARE", help_heading = "Schedule")]
    pub averaging: Option<f32>,
    /// Steps of linear warm-up [default: 50]
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub warm_up: Option<u32>,
    /// Decoupled weight decay of the matrices [default: 0.01]
    #[arg(long, value_name = "SHARE", help_heading = "Schedule")]
    pub weight_decay: Option<f32>,
    /// What stands in for the derivative of rounding
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "Comparisons",
        default_value = "clipped"
    )]
    pub surrogate: SurrogateName,
    /// What stands between the matrices
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "Comparisons",
        default_value = "hash"
    )]
    pub activation: ActivationName,
    /// Train float32 weights instead of seeds; makes no model file
    #[arg(long, help_heading = "Comparisons", conflicts_with = "out")]
    pub float: bool,
    /// Dither with the oracle itself instead of a fast generator
    #[arg(long, help_heading = "Comparisons")]
    pub oracle: bool,
}

/// Names of the surrogate gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SurrogateName {
    /// One inside the clip range, zero outside
    Clipped,
    /// One everywhere
    StraightThrough,
    /// Logistic (difference of two Gumbel) noise before rounding
    Logistic,
    /// Zero: only the head learns, the control
    Frozen,
}

/// Names of the activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ActivationName {
    /// Rounding to codes with dither
    Hash,
    /// Rounding to the nearest code
    Nearest,
    /// GELU, no rounding
    Gelu,
}

impl RunArgs {
    /// The configuration, with the defaults of the task where nothing is said.
    pub fn config(&self, task: TaskName) -> TrainConfig {
        let default = default_of(task);
        let width = self.width.unwrap_or(default.width);
        let activation = match self.activation {
            ActivationName::Hash => Activation::Hash,
            ActivationName::Nearest => Activation::Nearest,
            ActivationName::Gelu => Activation::Gelu,
        };
        TrainConfig {
            steps: self.steps.unwrap_or(default.steps),
            batch: self.batch.unwrap_or(default.batch),
            kinds: self.kind.unwrap_or(default.kinds),
            rng_seed: self.rng_seed.unwrap_or(default.rng_seed),
            width,
            hidden: self.hidden.unwrap_or(width.saturating_mul(2)),
            layers: self.layers.unwrap_or(default.layers),
            heads: self.heads.unwrap_or(default.heads),
            code_bits: self.code_bits.unwrap_or(default.code_bits),
            dither_bits: self.dither_bits.unwrap_or(default.dither_bits),
            peak_learning_rate: self.learning_rate.unwrap_or(default.peak_learning_rate),
            vector_rate: self.vector_rate.unwrap_or(default.vector_rate),
            averaging: self.averaging.unwrap_or(default.averaging),
            warm_up: self.warm_up.unwrap_or(default.warm_up),
            weight_decay: self.weight_decay.unwrap_or(default.weight_decay),
            last_learning_rate_share: default.last_learning_rate_share,
            surrogate: match self.surrogate {
                SurrogateName::Clipped => Surrogate::Clipped,
                SurrogateName::StraightThrough => Surrogate::StraightThrough,
                SurrogateName::Logistic => Surrogate::Logistic,
                SurrogateName::Frozen => Surrogate::Frozen,
            },
            activation,
            weights: if self.float {
                Weights::Float
            } else {
                Weights::Seeds
            },
            dither: if self.oracle {
                DitherSource::Oracle
            } else {
                DitherSource::Fast
            },
        }
    }
}

/// The configuration of a task.
fn default_of(task: TaskName) -> TrainConfig {
    let digits = TrainConfig::default();
    match task {
        TaskName::Text => TrainConfig {
            kinds: Kinds::all(hasher_model::Kind::Hb16),
            width: 128,
            hidden: 256,
            steps: 1000,
            vector_rate: 4.0,
            ..digits
        },
        TaskName::Sequence => TrainConfig {
            width: 128,
            hidden: 256,
            steps: 3000,
            peak_learning_rate: 3e-3,
            vector_rate: 4.0,
            ..digits
        },
        _ => digits,
    }
}
