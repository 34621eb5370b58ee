//! The Hasher Transformer: seeds, exact integer inference, receipts; no I/O, no threads.

#![expect(dead_code, reason = "the inference that uses it follows")]

mod basis;
mod bounds;
mod config;
mod encode;
mod error;
mod kind;
mod manifest;
mod matrix;
mod merkle;
mod model;
mod number;
mod repair;
mod scale;
mod seed;
mod shape;
#[cfg(test)]
mod vectors;

pub use basis::{Basis, BasisCache, BiasSigns, position_signs, sign_stream, token_signs};
pub use config::{Config, ConfigError, LAYERS_MAX, MatrixRole, POSITIONS_MAX, Task};
pub use encode::{EncodeError, encode_group, encode_steps, encode_tile};
pub use error::ModelError;
pub use kind::{Kind, TILE_BIASES, TILE_COEFFICIENTS, TILE_COLUMNS, TILE_ROWS_MAX};
pub use manifest::{MODEL_MAGIC, MODEL_VERSION, Manifest};
pub use matrix::{Matrix, MatrixError};
pub use merkle::{MerkleProof, merkle_root};
pub use model::{MODEL_BYTES_MAX, Model, ModelId, Repair};
pub use number::probabilities;
pub use repair::RepairedSeed;
pub use scale::Scale;
pub use seed::{PAYLOAD_BYTES, Place, SEED_BYTES, SEED_VERSION, Seed, SeedError};
pub use shape::{MatrixShape, ShapeError, WIDTH_MAX};
