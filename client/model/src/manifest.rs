//! The head of a model file: configuration and list of matrices.
//!
//! It owns the bytes before the seeds and every bound on them. It never looks at
//! a seed. Called by [`crate::Model`].

use crate::config::{Config, MatrixRole, Task};
use crate::{Kind, MatrixShape, ModelError, ShapeError};

/// First four bytes of a model file.
pub const MODEL_MAGIC: [u8; 4] = *b"HSHM";
/// Format version that this crate reads and writes.
pub const MODEL_VERSION: u16 = 1;
/// Bytes before the list of matrices.
const HEAD_BYTES: usize = 56;
/// Bytes of one entry of that list.
const ENTRY_BYTES: usize = 16;

/// Configuration and matrices of a model; always within all bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    config: Config,
    matrices: Vec<(MatrixRole, MatrixShape)>,
}

impl Manifest {
    /// The manifest of a model whose matrices are of the kinds that `kind` names.
    /// Flat kinds get bias seeds; gains are `vec8` whatever `kind` says.
    ///
    /// # Errors
    /// [`ModelError::Config`] or [`ModelError::Shape`].
    pub fn new(
        config: Config,
        mut kind: impl FnMut(MatrixRole) -> Kind,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let matrices: Vec<_> = config
            .matrices()
            .into_iter()
            .map(|role| (role, config.shape(role, kind(role))))
            .collect();
        for (role, shape) in &matrices {
            check_shape(*role, shape)?;
        }
        Ok(Self { config, matrices })
    }

    /// The model's size.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Role and shape of each matrix in the order of the file, gains first.
    pub fn matrices(&self) -> &[(MatrixRole, MatrixShape)] {
        &self.matrices
    }

    /// Seeds of all matrices together.
    pub fn seed_count(&self) -> usize {
        self.matrices.iter().map(|(_, s)| s.seed_count()).sum()
    }

    /// Bytes that the weights, biases and gains would take as 32-bit floats.
    pub fn float_bytes(&self) -> usize {
        let numbers = self.matrices.iter().map(|(role, shape)| match role {
            MatrixRole::Gains => shape.weights(),
            _ => shape.weights() + shape.outputs,
        });
        numbers.sum::<usize>() * size_of::<f32>()
    }

    /// The bytes of the manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let c = &self.config;
        let task: u16 = match c.task {
            Task::Classifier => 0,
            Task::LanguageModel => 1,
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + ENTRY_BYTES * self.matrices.len());
        bytes.extend(MODEL_MAGIC);
        bytes.extend(MODEL_VERSION.to_le_bytes());
        bytes.extend(task.to_le_bytes());
        let numbers = [
            c.width,
            c.hidden,
            c.layers,
            c.heads,
            c.positions,
            c.inputs,
            c.classes,
            c.code_bits,
            c.dither_bits,
            c.input_fraction,
            c.vocabulary,
            self.matrices.len() as u32,
        ];
        bytes.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
        for (_, shape) in &self.matrices {
            bytes.extend([shape.kind.code(), u8::from(shape.bias_seeds), 0, 0]);
            let numbers = [shape.outputs, shape.inputs, shape.seed_count()];
            bytes.extend(numbers.into_iter().flat_map(|n| (n as u32).to_le_bytes()));
        }
        bytes
    }

    /// Reads a manifest from the front of `bytes`; the second value is the rest.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the bytes.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), ModelError> {
        let truncated = |needed| ModelError::Truncated {
            needed,
            got: bytes.len(),
        };
        let (head, rest) = bytes
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(truncated(HEAD_BYTES))?;
        if head[..4] != MODEL_MAGIC {
            return Err(ModelError::Magic);
        }
        let version = u16::from_le_bytes([head[4], head[5]]);
        if version != MODEL_VERSION {
            return Err(ModelError::Version(version));
        }
        let task = match u16::from_le_bytes([head[6], head[7]]) {
            0 => Task::Classifier,
            1 => Task::LanguageModel,
            other => return Err(ModelError::Task(other)),
        };
        let n = |i: usize| read_u32(head, 8 + 4 * i);
        let config = Config {
            task,
            width: n(0),
            hidden: n(1),
            layers: n(2),
            heads: n(3),
            positions: n(4),
            inputs: n(5),
            classes: n(6),
            code_bits: n(7),
            dither_bits: n(8),
            input_fraction: n(9),
            vocabulary: n(10),
        };
        config.check()?;
        let roles = config.matrices();
        if n(11) as usize != roles.len() {
            return Err(ModelError::MatrixCount {
                expected: roles.len(),
                got: n(11),
            });
        }
        let (entries, rest) = rest
            .split_at_checked(ENTRY_BYTES * roles.len())
            .ok_or(truncated(HEAD_BYTES + ENTRY_BYTES * roles.len()))?;
        let matrices = roles
            .into_iter()
            .zip(entries.as_chunks::<ENTRY_BYTES>().0)
            .map(|(role, entry)| Ok((role, parse_entry(&config, role, entry)?)))
            .collect::<Result<_, ModelError>>()?;
        Ok((Self { config, matrices }, rest))
    }
}

fn parse_entry(
    config: &Config,
    role: MatrixRole,
    entry: &[u8; ENTRY_BYTES],
) -> Result<MatrixShape, ModelError> {
    let wrong = |field, got, expected| ModelError::Matrix {
        role,
        field,
        got,
        expected,
    };
    let kind = Kind::from_code(entry[0]).ok_or(ModelError::MatrixKind {
        role,
        code: entry[0],
    })?;
    let mut shape = config.shape(role, kind);
    if shape.kind != kind {
        return Err(ModelError::MatrixKind {
            role,
            code: entry[0],
        });
    }
    if entry[1] > 1 {
        return Err(wrong("bias flag", u32::from(entry[1]), 1));
    }
    // Whether a flat matrix has biases is the model's choice.
    shape.bias_seeds = entry[1] == 1;
    if role == MatrixRole::Gains && shape.bias_seeds {
        return Err(wrong("bias flag", 1, 0));
    }
    let reserved = u16::from_le_bytes([entry[2], entry[3]]);
    for (field, got, expected) in [
        ("reserved field", u32::from(reserved), 0),
        ("outputs", read_u32(entry, 4), shape.outputs),
        ("inputs", read_u32(entry, 8), shape.inputs),
    ] {
        if got as usize != expected {
            return Err(wrong(field, got, expected as u32));
        }
    }
    check_shape(role, &shape)?;
    let (got, expected) = (read_u32(entry, 12), shape.seed_count());
    if got as usize != expected {
        return Err(wrong("seed count", got, expected as u32));
    }
    Ok(shape)
}

fn check_shape(role: MatrixRole, shape: &MatrixShape) -> Result<(), ModelError> {
    if role == MatrixRole::Gains {
        // A list of vectors, bounded by the configuration instead.
        return Ok(());
    }
    shape
        .check()
        .map_err(|source: ShapeError| ModelError::Shape { role, source })
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
