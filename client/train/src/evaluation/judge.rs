//! One output judged against its label after some passes.
//!
//! Owns what is measured of a single answer; the means are
//! [`crate::evaluation`]'s. Exact logits and those of the float network come here
//! in the same form.

use hasher_model::{Ensemble, probabilities};

/// Judgement of one output after some passes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Judgement {
    /// Passes averaged.
    pub passes: u16,
    /// What it should have been.
    pub label: u16,
    /// Class with the largest mean probability.
    pub prediction: u16,
    /// Class that most passes put first, the lowest of several.
    pub vote: u16,
    /// Mean probability of the prediction.
    pub confidence: f64,
    /// Share of the passes that put the prediction first.
    pub agreement: f64,
    /// Confidence less the mean probability of the next class.
    pub margin: f64,
    /// Entropy of the mean probabilities, in bits.
    pub entropy_bits: f64,
    /// −log2 of the label's mean probability: bits that the label costs.
    pub label_bits: f64,
}

impl Judgement {
    /// Whether the prediction is the label.
    pub fn is_correct(&self) -> bool {
        self.prediction == self.label
    }

    /// Whether the class that most passes put first is the label.
    pub fn is_vote_correct(&self) -> bool {
        self.vote == self.label
    }
}

/// Judgements of one output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// After each number of passes that was asked for.
    pub after: Vec<Judgement>,
    /// Where an early stop ends: three votes ahead, or after all passes.
    pub stopped: Judgement,
}

/// Judges one output: its row of logits (Q16) in every pass, in order. `points` are
/// numbers of passes from 1 to that of the rows.
pub(crate) fn judge(rows: &[&[i32]], label: u8, points: &[u16]) -> Judged {
    let classes = rows.first().map_or(1, |row| row.len());
    let mut ensemble = Ensemble::new(classes);
    let mut votes = vec![0u32; classes];
    let mut label_share = 0.0;
    let mut all = Vec::with_capacity(rows.len());
    let mut stopped = None;
    for row in rows {
        let shares = probabilities(row);
        ensemble.add(&shares);
        votes[first_largest(&shares)] += 1;
        label_share += share_of(row, usize::from(label));
        let passes = ensemble.passes() as u16;
        let judgement = Judgement {
            passes,
            label: u16::from(label),
            prediction: ensemble.prediction() as u16,
            vote: first_largest(&votes) as u16,
            confidence: ensemble.confidence(),
            agreement: ensemble.agreement(),
            margin: ensemble.margin(),
            entropy_bits: ensemble.entropy_bits(),
            label_bits: -(label_share / f64::from(passes)).log2(),
        };
        if ensemble.is_settled() && stopped.is_none() {
            stopped = Some(judgement);
        }
        all.push(judgement);
    }
    let at = |passes: &u16| all[usize::from(*passes) - 1];
    Judged {
        after: points.iter().map(at).collect(),
        stopped: stopped.unwrap_or_else(|| all[all.len() - 1]),
    }
}

fn first_largest(values: &[u32]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

/// Soft-max of logits in Q16 at one class. The exact probabilities are whole
/// numbers of 2⁻¹⁶ and may be zero, which no measure in bits could use.
fn share_of(row: &[i32], class: usize) -> f64 {
    let max = row.iter().copied().max().unwrap_or(0);
    let weight = |logit: i32| libm::exp(f64::from(logit - max) / 65_536.0);
    let sum: f64 = row.iter().map(|logit| weight(*logit)).sum();
    (weight(row[class]) / sum).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 65_536;

    #[test]
    fn mean_and_vote_may_differ() {
        // Two passes lean to class 0, one is sure of class 1.
        let rows = [[ONE / 8, 0], [ONE / 8, 0], [0, 9 * ONE]];
        let rows: Vec<&[i32]> = rows.iter().map(|row| &row[..]).collect();
        let judged = judge(&rows, 1, &[1, 3]);
        let [first, last] = judged.after[..] else {
            panic!("two points");
        };
        assert_eq!((first.prediction, first.vote), (0, 0));
        assert_eq!((last.prediction, last.vote), (1, 0));
        assert!(last.is_correct() && !last.is_vote_correct());
        assert!((last.agreement - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(judged.stopped, last, "nobody was three votes ahead");
    }

    #[test]
    fn an_early_stop_ends_three_votes_ahead() {
        let row = [ONE, 0];
        let judged = judge(&[&row[..]; 9], 0, &[9]);
        assert_eq!((judged.stopped.passes, judged.after[0].passes), (3, 9));
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() {
        let judged = judge(&[&[7; 8]], 3, &[1]);
        assert!((judged.after[0].label_bits - 3.0).abs() < 1e-9);
        let impossible = judge(&[&[i32::MAX / 2, -(i32::MAX / 2)]], 1, &[1]);
        assert!(impossible.after[0].label_bits.is_finite());
    }
}
