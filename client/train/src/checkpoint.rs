//! The checkpoint file: everything a training run needs to go on, byte for byte.
//!
//! Owns the format and its checks; never opens files. All numbers are
//! little-endian:
//!
//! ```text
//! "HSHC"  u16 version = 4
//! 8 × u8 kind of emb, q, k, v, o, f, g, head
//! u8 dither source  u8 weights  u8 activation  u8 surrogate
//! u32 width, hidden, layers, heads, code bits, dither bits, steps, batch, warm-up
//! f32 peak learning rate, last share, weight decay, vector rate, averaging
//! u64 rng seed
//! 32 bytes fingerprint of the data      u32 steps done      u32 number of latents n
//! n × f32 latents   n × f32 their averages
//! n × f32 gradient means   n × f32 gradient squares
//! 32 bytes SHA-256 of all bytes before
//! ```
//!
//! There is no generator state: every random choice is a function of the rng
//! seed and the step number.

use hasher_model::Kind;
use hasher_work::{Digest, digest};

use crate::config::{Activation, ConfigError, DitherSource, Surrogate, TrainConfig, Weights};
use crate::kinds::{Kinds, ROLE_NAMES};
use crate::optimiser::Adam;

/// Largest checkpoint that is read: 16 million latents, hundreds of times the
/// largest model described so far.
pub const CHECKPOINT_BYTES_MAX: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"HSHC";
const VERSION: u16 = 4;
/// Bytes before the latents.
const HEAD_BYTES: usize = 122;
const DIGEST_BYTES: usize = 32;

/// Why bytes are no checkpoint that can be continued.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file is longer than [`CHECKPOINT_BYTES_MAX`].
    #[error("checkpoint has {0} bytes, at most {CHECKPOINT_BYTES_MAX} are read")]
    TooLong(usize),
    /// The first bytes are those of another kind of file.
    #[error("not a checkpoint: it does not begin with \"HSHC\"")]
    Magic,
    /// A format of another version.
    #[error("checkpoint version {0} is unknown, expected {VERSION}")]
    Version(u16),
    /// Fewer or more bytes than the number of latents asks for.
    #[error("checkpoint has {got} bytes, {expected} expected")]
    Length {
        /// Bytes that were given.
        got: usize,
        /// Bytes that the head announces, or the least a checkpoint has.
        expected: usize,
    },
    /// The check sum does not match: the file was damaged or changed.
    #[error("checkpoint is damaged: its SHA-256 does not match")]
    Digest,
    /// A code that stands for nothing.
    #[error("unknown {field} code {code}")]
    Code {
        /// What the code stands for.
        field: &'static str,
        /// The code.
        code: u8,
    },
    /// The configuration breaks a bound.
    #[error("configuration of the checkpoint")]
    Config(#[from] ConfigError),
    /// More steps done than the run has.
    #[error("checkpoint is at step {done} of {steps}")]
    Step {
        /// Steps done.
        done: u32,
        /// Steps of the run.
        steps: u32,
    },
    /// A latent or moment is infinite, not a number, or a negative square.
    #[error("number {0} of the checkpoint is not a usable value")]
    Value(usize),
    /// The configuration and the data ask for another number of latents.
    #[error("checkpoint has {got} latents, its configuration has {expected}")]
    LatentCount {
        /// Latents in the file.
        got: usize,
        /// Latents of the model.
        expected: usize,
    },
    /// The checkpoint belongs to other data.
    #[error("checkpoint was made with other training data (fingerprint {})", .0.to_hex())]
    OtherData(Digest),
}

/// What a checkpoint holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint {
    pub config: TrainConfig,
    pub fingerprint: Digest,
    /// Steps done.
    pub step: u32,
    pub latents: Vec<f32>,
    /// Running average of the latents.
    pub average: Vec<f32>,
    pub adam: Adam,
}

impl Checkpoint {
    /// The file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let config = &self.config;
        let count = self.latents.len();
        let mut bytes = Vec::with_capacity(file_bytes(count).unwrap_or(HEAD_BYTES));
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(config.kinds.roles().map(Kind::code));
        bytes.extend([
            code_of(&DITHERS, config.dither),
            code_of(&WEIGHTS, config.weights),
            code_of(&ACTIVATIONS, config.activation),
            code_of(&SURROGATES, config.surrogate),
        ]);
        let integers = [
            config.width,
            config.hidden,
            config.layers,
            config.heads,
            config.code_bits,
            config.dither_bits,
            config.steps,
            config.batch,
            config.warm_up,
        ];
        bytes.extend(integers.into_iter().flat_map(u32::to_le_bytes));
        let reals = [
            config.peak_learning_rate,
            config.last_learning_rate_share,
            config.weight_decay,
            config.vector_rate,
            config.averaging,
        ];
        bytes.extend(reals.into_iter().flat_map(f32::to_le_bytes));
        bytes.extend(config.rng_seed.to_le_bytes());
        bytes.extend(self.fingerprint.0);
        bytes.extend(self.step.to_le_bytes());
        bytes.extend((count as u32).to_le_bytes());
        for numbers in [
            &self.latents,
            &self.average,
            &self.adam.mean,
            &self.adam.square,
        ] {
            bytes.extend(numbers.iter().copied().flat_map(f32::to_le_bytes));
        }
        bytes.extend(digest(&bytes).0);
        bytes
    }

    /// The checkpoint in `bytes`. Memory stays below twice their length.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        use CheckpointError as E;
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            return Err(E::TooLong(bytes.len()));
        }
        let mut reader = Reader {
            rest: bytes,
            all: bytes.len(),
        };
        if reader.take::<4>()? != MAGIC {
            return Err(E::Magic);
        }
        let version = u16::from_le_bytes(reader.take()?);
        if version != VERSION {
            return Err(E::Version(version));
        }
        let config = parse_config(&mut reader)?;
        let fingerprint = Digest(reader.take()?);
        let step = reader.u32()?;
        let count = reader.u32()? as usize;
        let expected = file_bytes(count).ok_or(E::TooLong(usize::MAX))?;
        if bytes.len() != expected {
            return Err(E::Length {
                got: bytes.len(),
                expected,
            });
        }
        let (content, check) = bytes.split_at(bytes.len() - DIGEST_BYTES);
        if digest(content).0 != check {
            return Err(E::Digest);
        }
        config.check()?;
        if step > config.steps {
            return Err(E::Step {
                done: step,
                steps: config.steps,
            });
        }
        let numbers: Vec<f32> = content[HEAD_BYTES..]
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let is_square = |at: usize| at >= 3 * count;
        let wrong = |(at, v): (usize, &f32)| !v.is_finite() || is_square(at) && *v < 0.0;
        if let Some(at) = numbers.iter().enumerate().position(wrong) {
            return Err(E::Value(at));
        }
        let part = |i: usize| numbers[i * count..(i + 1) * count].to_vec();
        let adam = Adam {
            mean: part(2),
            square: part(3),
        };
        Ok(Self {
            config,
            fingerprint,
            step,
            latents: part(0),
            average: part(1),
            adam,
        })
    }
}

fn file_bytes(latents: usize) -> Option<usize> {
    latents
        .checked_mul(4 * size_of::<f32>())?
        .checked_add(HEAD_BYTES + DIGEST_BYTES)
}

/// A choice's code in the file is its index here.
const DITHERS: [DitherSource; 2] = [DitherSource::Fast, DitherSource::Oracle];
const WEIGHTS: [Weights; 2] = [Weights::Seeds, Weights::Float];
const ACTIVATIONS: [Activation; 3] = [Activation::Hash, Activation::Nearest, Activation::Gelu];
const SURROGATES: [Surrogate; 4] = [
    Surrogate::Clipped,
    Surrogate::StraightThrough,
    Surrogate::Logistic,
    Surrogate::Frozen,
];

fn code_of<T: PartialEq>(choices: &[T], choice: T) -> u8 {
    let at = choices.iter().position(|known| *known == choice);
    at.expect("every choice is in its list") as u8
}

fn choice<T: Copy>(choices: &[T], field: &'static str, code: u8) -> Result<T, CheckpointError> {
    let choice = choices.get(usize::from(code)).copied();
    choice.ok_or(CheckpointError::Code { field, code })
}

fn parse_config(reader: &mut Reader<'_>) -> Result<TrainConfig, CheckpointError> {
    let codes: [u8; ROLE_NAMES.len()] = reader.take()?;
    let mut kinds = [Kind::Hb32; ROLE_NAMES.len()];
    for (kind, code) in kinds.iter_mut().zip(codes) {
        *kind = Kind::from_code(code).ok_or(CheckpointError::Code {
            field: "kind",
            code,
        })?;
    }
    let [dither, weights, activation, surrogate] = reader.take()?;
    // In the order of the file; struct fields are evaluated as written.
    Ok(TrainConfig {
        kinds: Kinds::of_roles(kinds),
        dither: choice(&DITHERS, "dither source", dither)?,
        weights: choice(&WEIGHTS, "weights", weights)?,
        activation: choice(&ACTIVATIONS, "activation", activation)?,
        surrogate: choice(&SURROGATES, "surrogate", surrogate)?,
        width: reader.u32()?,
        hidden: reader.u32()?,
        layers: reader.u32()?,
        heads: reader.u32()?,
        code_bits: reader.u32()?,
        dither_bits: reader.u32()?,
        steps: reader.u32()?,
        batch: reader.u32()?,
        warm_up: reader.u32()?,
        peak_learning_rate: f32::from_le_bytes(reader.take()?),
        last_learning_rate_share: f32::from_le_bytes(reader.take()?),
        weight_decay: f32::from_le_bytes(reader.take()?),
        vector_rate: f32::from_le_bytes(reader.take()?),
        averaging: f32::from_le_bytes(reader.take()?),
        rng_seed: u64::from_le_bytes(reader.take()?),
    })
}

/// Reads the head field by field.
struct Reader<'a> {
    rest: &'a [u8],
    all: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let (first, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(CheckpointError::Length {
                got: self.all,
                expected: HEAD_BYTES + DIGEST_BYTES,
            })?;
        self.rest = rest;
        Ok(*first)
    }

    fn u32(&mut self) -> Result<u32, CheckpointError> {
        Ok(u32::from_le_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests;
