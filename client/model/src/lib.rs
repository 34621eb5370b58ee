//! The Hasher Transformer: seeds, exact integer inference, receipts; no I/O, no threads.

mod basis;
mod encode;
mod kind;
mod matrix;
mod repair;
mod scale;
mod seed;
mod shape;
#[cfg(test)]
mod vectors;

pub use basis::{Basis, BasisCache, BiasSigns, position_signs, sign_stream, token_signs};
pub use encode::{EncodeError, encode_group, encode_steps, encode_tile};
pub use kind::{Kind, TILE_BIASES, TILE_COEFFICIENTS, TILE_COLUMNS, TILE_ROWS_MAX};
pub use matrix::{Matrix, MatrixError};
pub use repair::RepairedSeed;
pub use scale::Scale;
pub use seed::{PAYLOAD_BYTES, Place, SEED_BYTES, SEED_VERSION, Seed, SeedError};
pub use shape::{MatrixShape, ShapeError, WIDTH_MAX};
