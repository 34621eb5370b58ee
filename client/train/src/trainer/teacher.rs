//! Distillation: a finished network whose probabilities another one learns from.

use super::Trainer;
use crate::config::Activation;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::layer::activation::FastDither;
use crate::layer::readout::Lesson;
use crate::network::{Chunk, Network};
use crate::rng::{Purpose, Rng};

/// A network that has learned, and buffers for the batches of its pupil.
#[derive(Debug)]
pub(super) struct Teacher {
    network: Network,
    share: f32,
    chunks: Vec<Chunk>,
}

impl Trainer<'_> {
    /// Lets this run learn from `teacher`, too: in place of the label alone, the target of
    /// every output is the label and, by `share` (0 to 1), what the teacher's present
    /// weights say of it. The teacher may be wider or deeper, and made of float weights; it
    /// must not dither and must take the same data. A checkpoint does not hold it: a resumed
    /// run must be given it again.
    ///
    /// # Errors
    /// [`TrainError::Teacher`] with what does not fit.
    pub fn learn_from(&mut self, teacher: Trainer<'_>, share: f32) -> Result<(), TrainError> {
        let refuse = |reason| Err(TrainError::Teacher(reason));
        if !(0.0..=1.0).contains(&share) {
            return refuse("its share must be 0 to 1");
        }
        if teacher.config.activation == Activation::Hash {
            return refuse("it dithers, so its answers differ from pass to pass");
        }
        let own = self.network.shape;
        let shape = teacher.network.shape;
        let facts = |shape: &crate::shape::Shape| (shape.task, shape.positions, shape.classes);
        if facts(&own) != facts(&shape) || (!own.is_causal() && own.inputs != shape.inputs) {
            return refuse("it takes other data");
        }
        let chunks = self.chunks.iter();
        self.teacher = Some(Teacher {
            chunks: chunks.map(|c| Chunk::new(&shape, c.examples())).collect(),
            network: teacher.network,
            share,
        });
        Ok(())
    }
}

impl Teacher {
    /// Takes the examples of the pupil's chunk `number`.
    pub fn load(&mut self, number: usize, data: &Dataset, examples: &[usize]) {
        self.network.load(&mut self.chunks[number], data, examples);
    }

    /// The buffers of all chunks, and who fills them.
    pub fn parts(&mut self) -> (Voice<'_>, &mut [Chunk]) {
        let voice = Voice {
            network: &self.network,
            share: self.share,
        };
        (voice, &mut self.chunks)
    }
}

/// The teacher while its chunks are shared out to threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice<'a> {
    network: &'a Network,
    share: f32,
}

impl Voice<'_> {
    /// What the teacher says of the examples in `chunk`.
    pub fn lesson<'c>(&self, chunk: &'c mut Chunk) -> Lesson<'c> {
        // Nothing is drawn from it: a teacher does not dither.
        let mut unused = FastDither::new(Rng::new(0, Purpose::Dither, 0), 1);
        Lesson {
            probabilities: self.network.probabilities(chunk, &mut unused),
            share: self.share,
        }
    }
}
