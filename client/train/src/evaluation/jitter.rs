//! Passes that differ in their input, too: the codes of every pass are moved a little.
//!
//! An alternative to the ensemble of dither alone, measured beside it (docs/training.md).
//! No receipt holds such an answer: each pass is an inference of its own.

use hasher_model::{DirectAnchors, Model, Options, OracleCount, Request, Task, predict};

use super::{EvalOptions, Evaluation, check_passes, check_shape, judge_example, most, run_all};
use crate::data::{Dataset, Part};
use crate::error::TrainError;
use crate::rng::{Purpose, Rng};

/// As [`evaluate`](super::evaluate), but in every pass each code is moved by one, up or
/// down, with a probability of `percent` in a hundred. It stays between 0 and the largest
/// code of its example.
///
/// # Errors
/// As [`evaluate`](super::evaluate); [`TrainError::Jitter`] for a language model, whose
/// tokens have no neighbours.
pub fn evaluate_jittered(
    model: &Model,
    data: &Dataset,
    part: Part,
    options: EvalOptions<'_>,
    percent: u8,
) -> Result<Evaluation, TrainError> {
    check_passes(options.passes)?;
    check_shape(model.config(), data)?;
    if data.task() == Task::LanguageModel {
        return Err(TrainError::Jitter);
    }
    let one_pass = Options {
        passes: 1,
        ..Options::default()
    };
    run_all(data.part(part), options, |example| {
        let mut oracle = OracleCount::default();
        let mut passes = Vec::with_capacity(usize::from(most(options.passes)));
        for pass in 0..most(options.passes) {
            let number = (example as u64) << 8 | u64::from(pass);
            let mut rng = Rng::new(0, Purpose::Jitter, number);
            let codes = jittered(data.codes(example), percent, &mut rng);
            let request = Request::new(u128::from(number).to_le_bytes(), codes);
            let outcome = predict(model, &request, one_pass, &mut DirectAnchors)?;
            oracle.lanes += outcome.oracle.lanes;
            oracle.digests += outcome.oracle.digests;
            passes.extend(outcome.passes.into_iter().map(|pass| pass.logits));
        }
        let rows: Vec<&[i32]> = passes.iter().map(Vec::as_slice).collect();
        let judged = judge_example(&rows, data.classes(), data, example, options);
        Ok((judged, oracle))
    })
}

fn jittered(codes: &[u8], percent: u8, rng: &mut Rng) -> Vec<u8> {
    let most = codes.iter().copied().max().unwrap_or(0);
    let moved = |code: &u8| match rng.below(200) {
        draw if draw >= 2 * usize::from(percent) => *code,
        draw if draw % 2 == 0 => code.saturating_sub(1),
        _ => code.saturating_add(1).min(most),
    };
    codes.iter().map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_codes_are_moved_by_one_and_none_leaves_the_range() {
        let codes: Vec<u8> = (0..10_000).map(|at| (at % 17) as u8).collect();
        let mut rng = Rng::new(1, Purpose::Jitter, 1);
        assert_eq!(jittered(&codes, 0, &mut rng), codes);
        let moved = jittered(&codes, 30, &mut rng);
        let pairs = || codes.iter().zip(&moved);
        assert!(pairs().all(|(a, b)| a.abs_diff(*b) <= 1 && *b <= 16));
        let share = pairs().filter(|(a, b)| a != b).count();
        // Two of 34 moves run against an end.
        assert!((2600..3000).contains(&share), "{share}");
        let up = pairs().filter(|(a, b)| b > a).count();
        assert!((1250..1550).contains(&up), "{up}");
    }
}
