//! Trains Hasher Transformers by surrogate gradients.

pub mod data;
#[cfg_attr(not(test), expect(dead_code, reason = "the trainer that draws from it follows"))]
mod rng;
