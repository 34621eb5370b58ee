//! What can be wrong with a model file.

use crate::config::{ConfigError, MatrixRole};
use crate::{MatrixError, ModelId, ShapeError};

/// Why a model was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file ends before its contents do.
    #[error("model file is truncated: {got} bytes, at least {needed} needed")]
    Truncated {
        /// Bytes that would be needed to go on.
        needed: usize,
        /// Bytes that are there.
        got: usize,
    },
    /// The file is larger than any model this crate reads.
    #[error("model file is too large: {got} bytes, at most {most} are read")]
    TooLarge {
        /// [`crate::MODEL_BYTES_MAX`].
        most: usize,
        /// Bytes that are there.
        got: usize,
    },
    /// The file does not begin with `HSHM`.
    #[error("not a model file: it does not begin with \"HSHM\"")]
    Magic,
    /// A format version that this crate does not know.
    #[error("model format version {0} is unknown, expected 1")]
    Version(u16),
    /// A task that this crate does not know.
    #[error("task {0} is unknown, expected 0 (classifier) or 1 (language model)")]
    Task(u16),
    /// A number of the configuration is out of bounds.
    #[error("model configuration is impossible")]
    Config(#[from] ConfigError),
    /// The list of matrices has another length than the configuration asks for.
    #[error("manifest lists {got} matrices, {expected} expected")]
    MatrixCount {
        /// Matrices that the configuration asks for.
        expected: usize,
        /// Matrices that the manifest announces.
        got: u32,
    },
    /// A matrix is of an unknown kind, or the gains are not `vec8`.
    #[error("matrix {role}: kind code {code} can not be used here")]
    MatrixKind {
        /// The matrix.
        role: MatrixRole,
        /// The code in the manifest.
        code: u8,
    },
    /// A field of a matrix's manifest entry is not what the configuration asks for.
    #[error("matrix {role}: {field} is {got}, expected {expected}")]
    Matrix {
        /// The matrix.
        role: MatrixRole,
        /// The field of its entry.
        field: &'static str,
        /// What the manifest says.
        got: u32,
        /// What it must say.
        expected: u32,
    },
    /// A matrix can not be cut into seeds.
    #[error("matrix {role} has an impossible shape")]
    Shape {
        /// The matrix.
        role: MatrixRole,
        /// The bound that is broken.
        source: ShapeError,
    },
    /// The file holds another number of bytes of seeds than the manifest asks for.
    #[error("{got} bytes of seeds, {expected} expected by the manifest")]
    SeedBytes {
        /// 32 for each seed of the manifest.
        expected: usize,
        /// Bytes after the manifest.
        got: usize,
    },
    /// A seed of a matrix was refused.
    #[error("matrix {role} can not be decoded")]
    Seeds {
        /// The matrix.
        role: MatrixRole,
        /// Which seed, and why.
        source: MatrixError,
    },
    /// The weights are so large that sums could leave their range.
    #[error("weights are too large: {0} could overflow")]
    Overflow(String),
    /// The file is another model than the one that was asked for.
    #[error("model is {got}, expected {expected}")]
    Identity {
        /// The model asked for.
        expected: ModelId,
        /// The model that the bytes make.
        got: ModelId,
    },
}
