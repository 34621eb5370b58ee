//! Whether confidence means what it says: bins of confidence, and what is won by
//! not answering when it is low.

use super::Judgement;

/// Bins of the calibration error, equally wide from 0 to 1.
const BINS: usize = 15;

/// The answers of one range of confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CalibrationBin {
    /// Lower end of the range; the upper end is one fifteenth higher.
    pub from: f64,
    /// Answers in it.
    pub count: usize,
    /// Their mean confidence; 0 if there are none.
    pub mean_confidence: f64,
    /// Share of them that is right; 0 if there are none.
    pub accuracy: f64,
}

/// What remains when answers below a confidence are withheld.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AbstentionPoint {
    /// Least confidence of an answer that is given.
    pub threshold: f64,
    /// Share of the answers that is given.
    pub coverage: f64,
    /// Share of the given answers that is right.
    pub accuracy: f64,
}

/// All fifteen bins, from low to high confidence.
pub fn calibration(judgements: &[Judgement]) -> Vec<CalibrationBin> {
    let mut bins: Vec<_> = (0..BINS)
        .map(|at| CalibrationBin {
            from: at as f64 / BINS as f64,
            count: 0,
            mean_confidence: 0.0,
            accuracy: 0.0,
        })
        .collect();
    for judgement in judgements {
        let at = (judgement.confidence * BINS as f64) as usize;
        let bin = &mut bins[at.min(BINS - 1)];
        bin.count += 1;
        bin.mean_confidence += judgement.confidence;
        bin.accuracy += f64::from(u8::from(judgement.is_correct()));
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.mean_confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

/// Mean distance of confidence and accuracy over the bins, weighted by their answers.
pub(super) fn calibration_error(judgements: &[Judgement]) -> f64 {
    let gap = |bin: &CalibrationBin| (bin.accuracy - bin.mean_confidence).abs() * bin.count as f64;
    let bins = calibration(judgements);
    bins.iter().map(gap).sum::<f64>() / judgements.len() as f64
}

/// The points of the abstention curve at the confidences 0, 0.05, … 0.95 and 0.99 at
/// which answers remain, from all answers to the surest.
pub fn abstention(judgements: &[Judgement]) -> Vec<AbstentionPoint> {
    let thresholds = (0..20).map(|step| f64::from(step) / 20.0).chain([0.99]);
    thresholds
        .filter_map(|threshold| {
            let kept = || judgements.iter().filter(|j| j.confidence >= threshold);
            let count = kept().count();
            (count > 0).then(|| AbstentionPoint {
                threshold,
                coverage: count as f64 / judgements.len() as f64,
                accuracy: kept().filter(|j| j.is_correct()).count() as f64 / count as f64,
            })
        })
        .collect()
}
