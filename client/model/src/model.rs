//! A model: file bytes, identity and decoded weights.
//!
//! It owns the step from bytes to a network that is proven free of overflow. It
//! never runs it (see [`crate::Inference`]) and does no I/O.

use std::fmt;

use hasher_work::{Digest, digest};

use crate::basis::{position_signs, token_signs};
use crate::bounds;
use crate::config::{Config, MatrixRole, Task};
use crate::matrix::group_weights;
use crate::{
    BasisCache, Kind, Manifest, Matrix, MatrixError, MatrixShape, ModelError, SEED_BYTES, Seed,
    merkle_root,
};

/// Largest model file that is read, 4 MiB: 400 times the largest model trained
/// so far. Decoding takes up to 32 times as much memory.
pub const MODEL_BYTES_MAX: usize = 4 << 20;

/// What a model is: `H("HSHRmod1" ‖ H(manifest) ‖ Merkle root of the seeds)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelId(pub Digest);

impl ModelId {
    /// From the digest of the manifest's bytes and the root over the seeds.
    pub fn of(manifest: &Digest, root: &Digest) -> Self {
        let mut message = b"HSHRmod1".to_vec();
        message.extend(manifest.0);
        message.extend(root.0);
        Self(digest(&message))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A model, checked and decoded.
#[derive(Debug, Clone)]
pub struct Model {
    manifest: Manifest,
    seeds: Vec<Seed>,
    root: Digest,
    id: ModelId,
    pub(crate) network: Network,
}

/// The decoded weights in the order of their use.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub embedding: Matrix,
    /// Added to the embedding: one vector in Q16 per position.
    pub positions: Vec<i32>,
    /// ±1 codes, one vector per token and one for "before the start".
    pub tokens: Vec<i8>,
    pub layers: Vec<Layer>,
    pub last_gains: Vec<i8>,
    pub head: Matrix,
}

/// One layer's weights.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub attention_gains: Vec<i8>,
    pub query: Matrix,
    pub key: Matrix,
    pub value: Matrix,
    pub output: Matrix,
    pub feed_gains: Vec<i8>,
    pub expand: Matrix,
    pub contract: Matrix,
}

/// A seed that was corrected while a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// Matrix that the seed belongs to.
    pub role: MatrixRole,
    /// Number of the seed in the file.
    pub seed: usize,
    /// Bits that were turned back, 1 or 2.
    pub flips: u8,
}

impl Model {
    /// Reads a model file. Nothing is repaired.
    ///
    /// # Errors
    /// [`ModelError`] names the first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let (manifest, seeds) = parse(bytes)?;
        Self::new(manifest, seeds)
    }

    /// Reads a model file and checks that it is the model `id`.
    ///
    /// # Errors
    /// As [`Model::from_bytes`], and [`ModelError::Identity`].
    pub fn from_bytes_of(bytes: &[u8], id: ModelId) -> Result<Self, ModelError> {
        let model = Self::from_bytes(bytes)?;
        if model.id != id {
            return Err(ModelError::Identity {
                expected: id,
                got: model.id,
            });
        }
        Ok(model)
    }

    /// Reads a model file, turning back one or two flipped bits per seed.
    ///
    /// Only for files whose identity nobody knows: where it is known,
    /// [`Model::from_bytes_of`] is the check that counts.
    ///
    /// # Errors
    /// As [`Model::from_bytes`] for whatever can not be repaired.
    pub fn from_bytes_repairing(bytes: &[u8]) -> Result<(Self, Vec<Repair>), ModelError> {
        let (manifest, mut seeds) = parse(bytes)?;
        let mut repairs = Vec::new();
        let mut number = 0;
        for (matrix, (role, shape)) in manifest.matrices().iter().enumerate() {
            for index in 0..shape.seed_count() {
                let seed = &mut seeds[number];
                let (kind, place) = shape.seed(matrix as u16, index);
                if let Some(repaired) = seed.repaired()
                    && repaired.seed.check(kind, place).is_ok()
                {
                    *seed = repaired.seed;
                    repairs.push(Repair {
                        role: *role,
                        seed: number,
                        flips: repaired.flips,
                    });
                }
                number += 1;
            }
        }
        Ok((Self::new(manifest, seeds)?, repairs))
    }

    /// A model from its parts.
    ///
    /// # Errors
    /// [`ModelError::SeedBytes`], [`ModelError::Seeds`] or [`ModelError::Overflow`].
    pub fn new(manifest: Manifest, seeds: Vec<Seed>) -> Result<Self, ModelError> {
        let network = decode(&manifest, &seeds)?;
        bounds::check(manifest.config(), &network)?;
        let root = merkle_root(&seeds).expect("a checked manifest asks for seeds");
        let id = ModelId::of(&digest(&manifest.to_bytes()), &root);
        Ok(Self {
            manifest,
            seeds,
            root,
            id,
            network,
        })
    }

    /// The bytes of the model file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.manifest.to_bytes();
        bytes.extend(self.seeds.iter().flat_map(|seed| seed.0));
        bytes
    }

    /// The identity: commits to every byte of the file.
    pub const fn id(&self) -> ModelId {
        self.id
    }

    /// Configuration and list of matrices.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's size.
    pub const fn config(&self) -> &Config {
        self.manifest.config()
    }

    /// All seeds in the order of the file.
    pub fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// Merkle root over the seeds.
    pub const fn seed_root(&self) -> Digest {
        self.root
    }

    /// Bytes of all seeds: everything that was learned.
    pub fn weight_bytes(&self) -> usize {
        self.seeds.len() * SEED_BYTES
    }

    /// Bytes that the same weights, biases and gains would take as 32-bit floats.
    pub fn float_bytes(&self) -> usize {
        self.manifest.float_bytes()
    }
}

fn parse(bytes: &[u8]) -> Result<(Manifest, Vec<Seed>), ModelError> {
    if bytes.len() > MODEL_BYTES_MAX {
        return Err(ModelError::TooLarge {
            most: MODEL_BYTES_MAX,
            got: bytes.len(),
        });
    }
    let (manifest, rest) = Manifest::parse(bytes)?;
    let expected = manifest.seed_count() * SEED_BYTES;
    if rest.len() != expected {
        return Err(ModelError::SeedBytes {
            expected,
            got: rest.len(),
        });
    }
    let seeds = rest.as_chunks::<SEED_BYTES>().0;
    Ok((manifest, seeds.iter().map(|bytes| Seed(*bytes)).collect()))
}

fn decode(manifest: &Manifest, seeds: &[Seed]) -> Result<Network, ModelError> {
    if seeds.len() != manifest.seed_count() {
        return Err(ModelError::SeedBytes {
            expected: manifest.seed_count() * SEED_BYTES,
            got: seeds.len() * SEED_BYTES,
        });
    }
    let config = manifest.config();
    let (mut rest, mut cache) = (seeds, BasisCache::new());
    let mut parts = manifest.matrices().iter().enumerate();
    let mut take = |shape: &MatrixShape| {
        let (seeds, tail) = rest.split_at(shape.seed_count());
        rest = tail;
        seeds
    };
    let gains = match parts.next() {
        Some((index, (role, shape))) => {
            decode_gains(shape, index as u16, take(shape)).map_err(|source| ModelError::Seeds {
                role: *role,
                source,
            })?
        }
        None => Vec::new(),
    };
    let mut next = || {
        let (index, (role, shape)) = parts.next().expect("one entry per role of the config");
        Matrix::decode(*shape, index as u16, take(shape), &mut cache).map_err(|source| {
            ModelError::Seeds {
                role: *role,
                source,
            }
        })
    };
    let width = config.width as usize;
    let gain = |number: usize| gains[number * width..(number + 1) * width].to_vec();
    let embedding = next()?;
    let mut layers = Vec::with_capacity(config.layers as usize);
    for l in 0..config.layers as usize {
        layers.push(Layer {
            attention_gains: gain(2 * l + 1),
            query: next()?,
            key: next()?,
            value: next()?,
            output: next()?,
            feed_gains: gain(2 * l + 2),
            expand: next()?,
            contract: next()?,
        });
    }
    let head = next()?;
    let positions = position_signs(config.positions as usize, width)
        .into_iter()
        .zip(gain(0).into_iter().cycle())
        .map(|(sign, gain)| (i32::from(sign) * i32::from(gain)) << 9)
        .collect();
    let tokens = match config.task {
        Task::Classifier => Vec::new(),
        Task::LanguageModel => token_signs(config.vocabulary as usize + 1, width),
    };
    Ok(Network {
        embedding,
        positions,
        tokens,
        layers,
        last_gains: gain(2 * config.layers as usize + 1),
        head,
    })
}

fn decode_gains(shape: &MatrixShape, matrix: u16, seeds: &[Seed]) -> Result<Vec<i8>, MatrixError> {
    for (index, seed) in seeds.iter().enumerate() {
        let (kind, place) = shape.seed(matrix, index);
        seed.check(kind, place)
            .map_err(|source| MatrixError::Seed {
                index,
                place,
                source,
            })?;
    }
    Ok(seeds
        .iter()
        .flat_map(|seed| group_weights(Kind::Vec8, seed))
        .take(shape.weights())
        .map(|gain| gain as i8)
        .collect())
}

#[cfg(test)]
mod tests;
