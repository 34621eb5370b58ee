//! Trains Hasher Transformers by surrogate gradients.
