//! The float network of a training run, measured as the exact model is.
//!
//! For comparisons only: float weights, activations without rounding or without
//! dither. Its logits are rounded to Q16 and judged by the same code.

use hasher_model::OracleCount;

use super::{EvalOptions, Evaluation, check_passes, check_shape, judge_example, most, run_all};
use crate::Activation;
use crate::data::{Dataset, Part};
use crate::error::TrainError;
use crate::layer::activation::FastDither;
use crate::network::Chunk;
use crate::rng::{Purpose, Rng};
use crate::trainer::Trainer;

/// Runs the float network of `trainer`'s averaged weights on one part of `data`, which must have
/// the shape of the data that it is trained on. Without
/// dither all passes are equal, and one is made whatever is asked.
///
/// # Errors
/// [`TrainError::Passes`], [`TrainError::NoExamples`], [`TrainError::DataShape`] or
/// [`TrainError::Diverged`].
pub fn simulate(
    trainer: &Trainer<'_>,
    data: &Dataset,
    part: Part,
    options: EvalOptions<'_>,
) -> Result<Evaluation, TrainError> {
    check_passes(options.passes)?;
    let (config, network) = (trainer.config(), trainer.averaged_network()?);
    check_shape(trainer.model_config(), data)?;
    let has_dither = config.activation == Activation::Hash;
    let options = EvalOptions {
        passes: if has_dither { options.passes } else { &[1] },
        ..options
    };
    run_all(data.part(part), options, |example| {
        let mut chunk = Chunk::new(&network.shape, 1);
        network.load(&mut chunk, data, &[example]);
        let pass = |pass: u16| -> Vec<i32> {
            let index = (example as u64) << 8 | u64::from(pass);
            let rng = Rng::new(config.rng_seed, Purpose::Simulation, index);
            network.forward(&mut chunk, &mut FastDither::new(rng, config.dither_bits));
            let q16 = |logit: &f32| (logit * 65_536.0) as i32;
            chunk.logits().iter().map(q16).collect()
        };
        let passes: Vec<Vec<i32>> = (0..most(options.passes)).map(pass).collect();
        let passes: Vec<&[i32]> = passes.iter().map(Vec::as_slice).collect();
        let judged = judge_example(&passes, data.classes(), data, example, options);
        Ok((judged, OracleCount::default()))
    })
}
