//! What can go wrong while training or evaluating.

use std::convert::Infallible;

use hasher_model::{ModelError, PredictError};

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;

/// Why training or evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration cannot be trained on this data.
    #[error("invalid training configuration")]
    Config(#[from] ConfigError),
    /// The checkpoint cannot be continued.
    #[error("cannot resume training")]
    Checkpoint(#[from] CheckpointError),
    /// A parameter became infinite or not a number.
    #[error("training diverged at step {step}: {reason}; try a smaller learning rate")]
    Diverged {
        /// The step, from 1.
        step: u32,
        /// What the encoder said.
        reason: String,
    },
    /// All steps of the configuration are done.
    #[error("training is finished: all {0} steps are done")]
    Finished(u32),
    /// A tile of a model that is to be trained on is of another basis.
    #[error("seed {0} has a salt: only models of the basis with salt 0 can be trained further")]
    Salt(usize),
    /// A model that is to be trained on does not fit the data.
    #[error("the model has other inputs or classes than the data, or kinds that differ by layer")]
    OtherManifest,
    /// A run with float weights has no seeds that could be a model.
    #[error("a run with float weights makes no model file; train seeds instead")]
    FloatWeights,
    /// The model crate refused the model.
    #[error("cannot build the model")]
    Model(#[from] ModelError),
    /// The model reads inputs of another shape than the data has.
    #[error("the model takes {model}; the data has {data}")]
    DataShape {
        /// Sizes of the model.
        model: String,
        /// The same of the data.
        data: String,
    },
    /// A run that cannot teach this one.
    #[error("the teacher cannot be learned from: {0}")]
    Teacher(&'static str),
    /// Numbers of passes that cannot be evaluated.
    #[error("passes must be 1 to {most}, got {got}")]
    Passes {
        /// Largest number of passes.
        most: u16,
        /// What was asked for; 0 for an empty list.
        got: u16,
    },
    /// Tokens have no neighbours that they could be moved to.
    #[error("inputs of a language model cannot be moved by one")]
    Jitter,
    /// The model refused an example or its anchors.
    #[error("cannot evaluate the model")]
    Inference(#[from] PredictError<Infallible>),
    /// The part of the data to evaluate holds no example.
    #[error("there is no example to evaluate")]
    NoExamples,
}
