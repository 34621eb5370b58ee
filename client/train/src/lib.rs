//! Trains Hasher Transformers by surrogate gradients.
//!
//! ```text
//! Dataset ── batch ──> Network (float, weights decoded from seeds)
//!                          │ loss, gradient of the weights
//!                          v
//! seeds <── UpdateSeeds ── latents <── Adam ── gradient of the coefficients
//! ```
//!
//! The optimiser keeps real-valued *latents*; the forward pass only ever sees
//! weights decoded from the seeds that the latents encode to. When training is
//! over the latents are dropped and the seeds are the model.
//!
//! The result depends on the configuration and the data only: not on the number
//! of threads, not on interruptions ([`Trainer::checkpoint`]) and, by design, not
//! on the machine (arithmetic is fused by rule and never reordered, mathematics in software).
//! The crate never opens files and never prints; the command line does.
//!
//! ```
//! use hasher_train::{TrainConfig, Trainer, data};
//!
//! let digits = data::digits();
//! let config = TrainConfig { steps: 3, ..TrainConfig::default() };
//! let mut trainer = Trainer::new(config, &digits)?;
//! while !trainer.is_finished() {
//!     let report = trainer.step()?;
//!     println!("step {} loss {:.3}", report.step, report.loss);
//! }
//! let saved = trainer.checkpoint();
//! let again = Trainer::resume(&saved, &digits)?;
//! assert_eq!(again.model()?.id(), trainer.model()?.id());
//! # Ok::<(), hasher_train::TrainError>(())
//! ```

mod checkpoint;
mod config;
mod convert;
pub mod data;
mod dense;
mod error;
mod evaluation;
#[cfg(test)]
mod gradient_check;
mod kinds;
mod latent;
mod layer;
mod network;
mod optimiser;
mod oracle;
mod rng;
mod shape;
mod trainer;
mod vector;

pub use checkpoint::{CHECKPOINT_BYTES_MAX, CheckpointError};
pub use config::{
    Activation, BATCH_MAX, ConfigError, DitherSource, STEP_BYTES_MAX, STEPS_MAX, Surrogate,
    TrainConfig, Weights,
};
pub use convert::{ConvertError, Converted, convert};
pub use error::TrainError;
pub use evaluation::{
    AbstentionPoint, CalibrationBin, EarlyStopRow, EvalOptions, EvalRow, Evaluation, Footprint,
    Judgement, abstention, calibration, evaluate, evaluate_jittered, simulate,
};
pub use kinds::{Kinds, KindsError, ROLE_NAMES};
pub use trainer::{StepReport, THREADS_MAX, Trainer};
