//! Distillation: a finished network whose probabilities another one learns from.

use super::Trainer;
use crate::config::Activation;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::layer::activation::FastDither;
use crate::layer::readout::Lesson;
use crate::network::{Chunk, Network};
use crate::rng::{Purpose, Rng};

/// A network that has learned.
#[derive(Debug)]
pub(super) struct Teacher {
    network: Network,
    share: f32,
}

impl Trainer<'_> {
    /// Lets this run learn from `teacher`, too: in place of the label alone, the target of
    /// every output is the label and, by `share` (0 to 1), what the teacher's averaged
    /// weights say of it. The teacher may be wider or deeper, and made of float weights; it
    /// must not dither and must take the same data. A checkpoint does not hold it: a resumed
    /// run must be given it again.
    ///
    /// # Errors
    /// [`TrainError::Teacher`] with what does not fit, or [`TrainError::Diverged`].
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
        self.teacher = Some(Teacher {
            network: teacher.averaged_network()?,
            share,
        });
        Ok(())
    }
}

impl Teacher {
    /// What the teacher says of these examples of `data`.
    pub fn lesson<'c>(
        &self,
        buffers: &'c mut Option<Chunk>,
        data: &Dataset,
        examples: &[usize],
    ) -> Lesson<'c> {
        let shape = &self.network.shape;
        let chunk = buffers.get_or_insert_with(|| Chunk::new(shape, examples.len()));
        self.network.load(chunk, data, examples);
        // Nothing is drawn from it: a teacher does not dither.
        let mut unused = FastDither::new(Rng::new(0, Purpose::Dither, 0), 1);
        Lesson {
            probabilities: self.network.probabilities(chunk, &mut unused),
            share: self.share,
        }
    }
}
