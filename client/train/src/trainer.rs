//! The training loop: batches, threads, optimiser steps, checkpoints.
//!
//! Owns the state of one run. It never prints, opens files or keeps time: the
//! caller asks for one [`Trainer::step`] after the other and stops when it likes.

mod teacher;

use std::num::NonZero;
use std::thread;

use hasher_model::{Config, MODEL_BYTES_MAX, Manifest, Model, ModelError, SEED_BYTES, Seed};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::{DitherSource, TrainConfig, Weights};
use crate::data::{Dataset, Part};
use crate::error::TrainError;
use crate::latent::Latents;
use crate::layer::activation::FastDither;
use crate::network::{CHUNK_EXAMPLES, Chunk, Network, Yield, chunks_of_a_gradient};
use crate::optimiser::{Adam, Rates, clip, follow};
use crate::oracle::StepOracle;
use crate::rng::{Purpose, Rng};
use crate::shape::Shape;

use self::teacher::Teacher;

/// Threads at most: more than any batch has chunks.
pub const THREADS_MAX: usize = 1024;

/// What one optimiser step did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u32,
    /// Mean cross-entropy of the batch's labels before the step, in nats.
    pub loss: f64,
    /// Share of the batch's labels that were predicted rightly before the step.
    pub accuracy: f64,
    /// Learning rate of the step's weights.
    pub learning_rate: f32,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// A training run on one data set.
#[derive(Debug)]
pub struct Trainer<'a> {
    config: TrainConfig,
    data: &'a Dataset,
    manifest: Manifest,
    network: Network,
    latents: Latents,
    is_weight: Vec<bool>,
    adam: Adam,
    /// Running average of the latents: what the model is made of.
    average: Vec<f32>,
    /// Seeds of the present latents; the network's weights are decoded from them.
    seeds: Vec<Seed>,
    /// One of each thread.
    workers: Vec<Worker>,
    /// One of each group of chunks whose gradients are summed by one thread.
    yields: Vec<Yield>,
    gradient: Vec<f32>,
    order: Order,
    batch: Vec<usize>,
    /// Labels of the batch that count.
    scored: usize,
    step: u32,
    threads: usize,
    teacher: Option<Teacher>,
}

impl<'a> Trainer<'a> {
    /// A run that begins at its first step, on all processors.
    ///
    /// # Errors
    /// [`TrainError::Config`] or [`TrainError::Model`].
    pub fn new(config: TrainConfig, data: &'a Dataset) -> Result<Self, TrainError> {
        let manifest = Manifest::new(config.model_config(data)?, |role| config.kinds.of(role))?;
        let got = manifest.to_bytes().len() + manifest.seed_count() * SEED_BYTES;
        if got > MODEL_BYTES_MAX && config.weights == Weights::Seeds {
            // It would be trained in vain: nobody reads a larger file.
            let most = MODEL_BYTES_MAX;
            return Err(ModelError::TooLarge { most, got }.into());
        }
        let shape = Shape::new(manifest.config(), config.form());
        let latents = Latents::new(&manifest, &config);
        let count = latents.values().len();
        let batch = config.batch as usize;
        let yields = batch.div_ceil(CHUNK_EXAMPLES * chunks_of_a_gradient(batch));
        let mut trainer = Self {
            network: Network::new(shape),
            is_weight: latents.is_weight(),
            adam: Adam::new(count),
            average: latents.values().to_vec(),
            seeds: Vec::with_capacity(manifest.seed_count()),
            workers: Vec::new(),
            yields: (0..yields).map(|_| Yield::new(&shape)).collect(),
            gradient: vec![0.0; count],
            order: Order::new(config.rng_seed, data.part(Part::Train)),
            batch: Vec::with_capacity(config.batch as usize),
            scored: 0,
            step: 0,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
            config,
            data,
            manifest,
            latents,
            teacher: None,
        };
        trainer.update_seeds()?;
        Ok(trainer)
    }

    /// A run that begins with the weights of `model`, for fine-tuning. Sizes and kinds
    /// are the model's, whatever `config` says of them.
    ///
    /// # Errors
    /// [`TrainError::Salt`] for a model whose tiles are of another hash basis than the
    /// one that training uses, [`TrainError::OtherManifest`] if it takes other data or has
    /// kinds that differ between layers; otherwise as [`Trainer::new`].
    pub fn start_from(
        model: &Model,
        config: TrainConfig,
        data: &'a Dataset,
    ) -> Result<Self, TrainError> {
        if let Some(at) = model.seeds().iter().position(|seed| seed.salt() != 0) {
            return Err(TrainError::Salt(at));
        }
        let sizes = model.config();
        let mut roles = [hasher_model::Kind::Hb32; crate::kinds::ROLE_NAMES.len()];
        let matrices = model.manifest().matrices();
        // The roles of the first layer, and the head at the end.
        for (role, (_, shape)) in roles.iter_mut().zip(&matrices[1..]) {
            *role = shape.kind;
        }
        if let (Some(head), Some((_, shape))) = (roles.last_mut(), matrices.last()) {
            *head = shape.kind;
        }
        let config = TrainConfig {
            kinds: crate::Kinds::of_roles(roles),
            width: sizes.width,
            hidden: sizes.hidden,
            layers: sizes.layers,
            heads: sizes.heads,
            code_bits: sizes.code_bits,
            dither_bits: sizes.dither_bits,
            weights: Weights::Seeds,
            ..config
        };
        let mut trainer = Self::new(config, data)?;
        if trainer.manifest != *model.manifest() {
            return Err(TrainError::OtherManifest);
        }
        let taken = trainer.latents.take(model.seeds());
        taken.map_err(|error| trainer.diverged(&error))?;
        trainer.average.copy_from_slice(trainer.latents.values());
        trainer.update_seeds()?;
        Ok(trainer)
    }

    /// The run that [`Trainer::checkpoint`] saved, on the same data.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] says what is wrong with the bytes;
    /// [`TrainError::Config`] or [`TrainError::Model`] if they do not fit the data.
    pub fn resume(bytes: &[u8], data: &'a Dataset) -> Result<Self, TrainError> {
        let checkpoint = Checkpoint::parse(bytes)?;
        if checkpoint.fingerprint != data.fingerprint() {
            return Err(CheckpointError::OtherData(checkpoint.fingerprint).into());
        }
        let mut trainer = Self::new(checkpoint.config, data)?;
        let (got, expected) = (checkpoint.latents.len(), trainer.latents.values().len());
        if got != expected {
            return Err(CheckpointError::LatentCount { got, expected }.into());
        }
        trainer
            .latents
            .values_mut()
            .copy_from_slice(&checkpoint.latents);
        trainer.average = checkpoint.average;
        trainer.adam = checkpoint.adam;
        trainer.step = checkpoint.step;
        trainer.update_seeds()?;
        Ok(trainer)
    }

    /// Everything that [`Trainer::resume`] needs to go on: the seeds of the
    /// resumed run are those of an uninterrupted one, byte for byte.
    pub fn checkpoint(&self) -> Vec<u8> {
        let checkpoint = Checkpoint {
            config: self.config.clone(),
            fingerprint: self.data.fingerprint(),
            step: self.step,
            latents: self.latents.values().to_vec(),
            average: self.average.clone(),
            adam: self.adam.clone(),
        };
        checkpoint.to_bytes()
    }

    /// Works with up to `threads` threads (at least 1, at most [`THREADS_MAX`]).
    /// The result is the same for any number.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads.clamp(1, THREADS_MAX);
    }

    /// What determines the run.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The network of the averaged latents.
    ///
    /// # Errors
    /// [`TrainError::Diverged`].
    pub(crate) fn averaged_network(&self) -> Result<Network, TrainError> {
        let mut network = Network::new(self.network.shape);
        self.latents
            .weights_of(&self.average, &mut network.dense)
            .map_err(|error| self.diverged(&error))?;
        Ok(network)
    }

    /// Bytes of the network in single precision.
    pub fn float_bytes(&self) -> usize {
        self.manifest.float_bytes()
    }

    /// Sizes of the network.
    pub fn model_config(&self) -> &Config {
        self.manifest.config()
    }

    /// Steps done so far.
    pub fn steps_done(&self) -> u32 {
        self.step
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.step >= self.config.steps
    }

    /// The model so far, of the averaged latents.
    ///
    /// # Errors
    /// [`TrainError::Model`] if its sums might overflow (gigantic weights);
    /// [`TrainError::FloatWeights`] if there are no seeds; [`TrainError::Diverged`].
    pub fn model(&self) -> Result<Model, TrainError> {
        if self.config.weights == Weights::Float {
            return Err(TrainError::FloatWeights);
        }
        let mut seeds = Vec::new();
        self.latents
            .encode(&self.average, &mut seeds)
            .map_err(|error| self.diverged(&error))?;
        Ok(Model::new(self.manifest.clone(), seeds)?)
    }

    fn diverged(&self, error: &dyn std::error::Error) -> TrainError {
        TrainError::Diverged {
            step: self.step,
            reason: error.to_string(),
        }
    }

    /// One optimiser step on the next batch: forward and backward, then
    /// `UpdateSeeds`.
    ///
    /// # Errors
    /// [`TrainError::Finished`], or [`TrainError::Diverged`], after which the run
    /// is of no use.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        if self.is_finished() {
            return Err(TrainError::Finished(self.config.steps));
        }
        self.load_batch();
        self.run_chunks();
        let (loss, correct) = self.sum_chunks();
        let scored = self.scored as f64;

        let summed = &self.yields[0].gradient;
        self.latents
            .pull_back(summed, &self.seeds, &mut self.gradient);
        let gradient_norm = clip(&mut self.gradient);
        let learning_rate = self.config.schedule().rate(self.step);
        self.adam.apply(
            self.step,
            Rates {
                weights: learning_rate,
                vectors: learning_rate * self.config.vector_rate,
                decay: self.config.weight_decay,
            },
            self.latents.values_mut(),
            &self.gradient,
            &self.is_weight,
        );
        follow(
            self.step,
            self.config.averaging,
            &mut self.average,
            self.latents.values(),
        );
        self.step += 1;
        self.update_seeds()?;
        Ok(StepReport {
            step: self.step,
            loss: loss / scored,
            accuracy: f64::from(correct) / scored,
            learning_rate,
            gradient_norm,
        })
    }

    fn load_batch(&mut self) {
        let size = u64::from(self.config.batch);
        let first = u64::from(self.step) * size;
        self.batch.clear();
        for number in first..first + size {
            self.batch
                .push(self.order.example(number, self.data.part(Part::Train)));
        }
        let counts = self.batch.iter().map(|at| self.data.scored_count(*at));
        self.scored = counts.sum();
    }

    /// Forward and backward of every chunk. What a gradient is the sum of depends on
    /// nothing but its own number, so threads may share them out as they like.
    fn run_chunks(&mut self) {
        let (network, config, step) = (&self.network, &self.config, self.step);
        let oracle = match config.dither {
            DitherSource::Fast => None,
            DitherSource::Oracle => Some(StepOracle::new(&self.manifest, &self.seeds, step)),
        };
        let (oracle, data, batch) = (oracle.as_ref(), self.data, &self.batch);
        let weight = 1.0 / self.scored as f32;
        let teacher = self.teacher.as_ref();
        let chunks_of_a_gradient = chunks_of_a_gradient(batch.len());
        let work = |first: usize, worker: &mut Worker, yields: &mut [Yield]| {
            yields.iter_mut().for_each(Yield::clear);
            let chunks = batch.chunks(CHUNK_EXAMPLES).enumerate();
            let chunks = chunks.skip(first * chunks_of_a_gradient);
            for (number, examples) in chunks {
                let Some(out) = yields.get_mut(number / chunks_of_a_gradient - first) else {
                    break;
                };
                let shape = &network.shape;
                let chunk = (worker.chunk).get_or_insert_with(|| Chunk::new(shape, examples.len()));
                network.load(chunk, data, examples);
                let lesson = teacher.map(|t| t.lesson(&mut worker.lesson, data, examples));
                if let Some(oracle) = oracle {
                    let mut dither = oracle.dither(data, examples, number * CHUNK_EXAMPLES);
                    network.run(chunk, &mut dither, lesson, weight, out);
                } else {
                    // A batch has at most 2¹² examples, so the two never mix.
                    let index = u64::from(step) << 12 | number as u64;
                    let rng = Rng::new(config.rng_seed, Purpose::Dither, index);
                    let mut dither = FastDither::new(rng, config.dither_bits);
                    network.run(chunk, &mut dither, lesson, weight, out);
                }
            }
        };
        let share = self.yields.len().div_ceil(self.threads);
        let groups = self.yields.len().div_ceil(share);
        self.workers.resize_with(groups, Worker::default);
        let (own, others) = self.yields.split_at_mut(share);
        let (own_worker, workers) = (self.workers)
            .split_first_mut()
            .expect("a batch has a gradient");
        thread::scope(|scope| {
            let groups = others.chunks_mut(share).zip(workers);
            for (at, (group, worker)) in groups.enumerate() {
                scope.spawn(move || work((at + 1) * share, worker, group));
            }
            work(0, own_worker, own);
        });
    }

    /// Sums gradients into the first, in order; loss and right answers.
    fn sum_chunks(&mut self) -> (f64, u32) {
        let (first, others) = self
            .yields
            .split_first_mut()
            .expect("a batch has a gradient");
        for chunk in others.iter() {
            first.gradient.add(&chunk.gradient);
        }
        let all = || std::iter::once(&*first).chain(others.iter());
        (
            all().map(|chunk| chunk.loss).sum(),
            all().map(|chunk| chunk.correct).sum(),
        )
    }

    fn update_seeds(&mut self) -> Result<(), TrainError> {
        let updated = (self.latents).update(&mut self.seeds, &mut self.network.dense);
        updated.map_err(|error| self.diverged(&error))
    }
}

/// The buffers of one thread, whose chunks follow one another in them.
#[derive(Debug, Default)]
struct Worker {
    chunk: Option<Chunk>,
    /// The teacher's.
    lesson: Option<Chunk>,
}

/// The order of the training examples: one permutation per epoch.
#[derive(Debug)]
struct Order {
    rng_seed: u64,
    epoch: u64,
    permutation: Vec<usize>,
}

impl Order {
    fn new(rng_seed: u64, examples: &[usize]) -> Self {
        let mut order = Self {
            rng_seed,
            epoch: 0,
            permutation: Vec::new(),
        };
        order.shuffle(0, examples);
        order
    }

    /// Example number `number` of the run.
    fn example(&mut self, number: u64, examples: &[usize]) -> usize {
        let count = examples.len() as u64;
        let epoch = number / count;
        if epoch != self.epoch {
            self.shuffle(epoch, examples);
        }
        self.permutation[(number % count) as usize]
    }

    fn shuffle(&mut self, epoch: u64, examples: &[usize]) {
        self.epoch = epoch;
        self.permutation.clear();
        self.permutation.extend_from_slice(examples);
        Rng::new(self.rng_seed, Purpose::Order, epoch).shuffle(&mut self.permutation);
    }
}

#[cfg(test)]
mod tests;
