//! The Hasher Transformer: seeds, exact integer inference, receipts; no I/O, no threads.

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
mod repair;
mod request;
mod scale;
mod seed;
mod shape;
#[cfg(test)]
mod vectors;

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
    Inference, InferenceError, Options, Outcome, PASSES_DEFAULT, PASSES_MAX, PassOutput,
    PredictError, predict,
};
pub use kind::{Kind, TILE_BIASES, TILE_COEFFICIENTS, TILE_COLUMNS, TILE_ROWS_MAX};
pub use lane::OracleCount;
pub use manifest::{MODEL_MAGIC, MODEL_VERSION, Manifest};
pub use matrix::{Matrix, MatrixError};
pub use merkle::{MerkleProof, merkle_root};
pub use model::{MODEL_BYTES_MAX, Model, ModelId, Repair};
pub use number::probabilities;
pub use repair::RepairedSeed;
pub use request::{Request, RequestError};
pub use scale::Scale;
pub use seed::{PAYLOAD_BYTES, Place, SEED_BYTES, SEED_VERSION, Seed, SeedError};
pub use shape::{MatrixShape, ShapeError, WIDTH_MAX};
