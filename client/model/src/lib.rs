//! The Hasher Transformer: a small transformer whose weights are 32-byte seeds.
//!
//! ```text
//! model file ──► Seeds ──► Matrices ─────────────┐
//!                  └────► ModelId ─────┐         ▼
//! Request ──► anchor header ──► Anchor ──► dither ──► Inference ──► Outcome ──► Receipt
//!                   ▲ solved by nobody, a CPU, or a device: AnchorSource          │
//!                                              Report or Refusal ◄── verify ◄─────┘
//! ```
//!
//! This crate owns the exact integer model: seed codec, identity, inference,
//! ensemble and receipts. Two machines that run it agree bit for bit. It never
//! does I/O, starts no thread, knows no daemon and no device, and is all that an
//! independent verifier needs. The document `docs/model.md` describes the formats.
//!
//! A device accelerates nothing in here: it can only supply the anchors of work
//! mode, which are nonces. All other hashes and all arithmetic are this CPU's.
//!
//! ```
//! use hasher_model::*;
//!
//! // A model of constant seeds, which answers nonsense, but always the same.
//! let config = Config {
//!     task: Task::Classifier,
//!     width: 32, hidden: 32, layers: 1, heads: 2,
//!     positions: 3, inputs: 16, classes: 4,
//!     code_bits: 4, dither_bits: 4, input_fraction: 4, vocabulary: 0,
//! };
//! let manifest = Manifest::new(config, |_| Kind::Hb32)?;
//! let mut seeds = Vec::new();
//! for (matrix, (_, shape)) in manifest.matrices().iter().enumerate() {
//!     for index in 0..shape.seed_count() {
//!         let (kind, place) = shape.seed(matrix as u16, index);
//!         seeds.push(Seed::new(kind, place, Scale(100), 0, [0x5a; PAYLOAD_BYTES]));
//!     }
//! }
//! let model = Model::new(manifest, seeds)?;
//!
//! let request = Request::new(*b"sixteen bytes ok", vec![3; 48]);
//! let options = Options::default();
//! let outcome = predict(&model, &request, options, &mut DirectAnchors)?;
//! let receipt = Receipt::new(&model, &request, &options, &outcome).to_bytes();
//!
//! // Elsewhere, with the model file and the receipt only:
//! let report = verify(&Receipt::from_bytes(&receipt)?, &model, 0)?;
//! assert_eq!(report.outcome, outcome);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod anchor;
mod basis;
mod bounds;
mod config;
mod encode;
mod ensemble;
mod error;
mod inference;
mod kind;
mod lane;
mod manifest;
mod matrix;
mod merkle;
mod model;
mod network;
mod number;
mod outcome;
mod receipt;
mod repair;
mod request;
mod scale;
mod seed;
mod shape;
#[cfg(test)]
mod vectors;
mod verify;

pub use activation::{HashActivation, Range as CodeRange};
pub use anchor::{
    AnchorError, AnchorPoint, AnchorRequest, AnchorSource, DirectAnchors, Level, Mode, Solution,
    ZERO_BITS_MAX, ZERO_BITS_MIN,
};
pub use basis::{Basis, BasisCache, BiasSigns, position_signs, sign_stream, token_signs};
pub use config::{Config, ConfigError, LAYERS_MAX, MatrixRole, POSITIONS_MAX, Task};
pub use encode::{EncodeError, encode_group, encode_steps, encode_tile};
pub use ensemble::{EARLY_STOP_LEAD, Ensemble};
pub use error::ModelError;
pub use inference::{
    BATCH_MAX, Batch, Inference, InferenceError, Options, PASSES_DEFAULT, PASSES_MAX, PredictError,
    predict, predict_batch,
};
pub use kind::{Kind, TILE_BIASES, TILE_COEFFICIENTS, TILE_COLUMNS, TILE_ROWS_MAX};
pub use lane::{LaneKey, OracleCount};
pub use manifest::{MODEL_MAGIC, MODEL_VERSION, Manifest};
pub use matrix::{Matrix, MatrixError};
pub use merkle::{MerkleProof, merkle_root};
pub use model::{MODEL_BYTES_MAX, Model, ModelId, Repair};
pub use number::probabilities;
pub use outcome::{Outcome, PassOutput};
pub use receipt::{
    BATCH_MAGIC, BatchReceipt, RECEIPT_BYTES_MAX, RECEIPT_MAGIC, RECEIPT_VERSION, Receipt,
    ReceiptError,
};
pub use repair::RepairedSeed;
pub use request::{Request, RequestError};
pub use scale::Scale;
pub use seed::{PAYLOAD_BYTES, Place, SEED_BYTES, SEED_VERSION, Seed, SeedError};
pub use shape::{MatrixShape, ShapeError, WIDTH_MAX};
pub use verify::{AnchorReport, BatchReport, Refusal, Report, check_anchors, verify, verify_batch};
