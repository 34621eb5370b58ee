//! What several passes say together: mean probability, confidence, agreement.

/// Votes by which the leading class must be ahead for an early stop. Source:
/// model specification, section 8.
pub const EARLY_STOP_LEAD: u32 = 3;

/// Running sums over passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensemble {
    passes: u32,
    sums: Vec<u64>,
    votes: Vec<u32>,
}

impl Ensemble {
    /// No pass yet over `classes` classes, at least one.
    pub fn new(classes: usize) -> Self {
        let classes = classes.max(1);
        Self {
            passes: 0,
            sums: vec![0; classes],
            votes: vec![0; classes],
        }
    }

    /// Adds one pass's probabilities in Q16. Classes beyond the ensemble's own are
    /// ignored.
    pub fn add(&mut self, probabilities: &[u32]) {
        for (sum, p) in self.sums.iter_mut().zip(probabilities) {
            *sum += u64::from(*p);
        }
        if let Some(votes) = self.votes.get_mut(first_largest(probabilities)) {
            *votes += 1;
        }
        self.passes += 1;
    }

    /// Passes added so far.
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Class with the largest mean probability, the lowest number on a tie.
    pub fn prediction(&self) -> usize {
        first_largest(&self.sums)
    }

    /// Mean probabilities in Q16, rounded down; zeros before the first pass.
    pub fn mean_p_q16(&self) -> Vec<u32> {
        let passes = u64::from(self.passes.max(1));
        self.sums.iter().map(|sum| (sum / passes) as u32).collect()
    }

    /// Mean probability of the prediction in Q16, rounded down.
    pub fn confidence_q16(&self) -> u32 {
        (self.sums[self.prediction()] / u64::from(self.passes.max(1))) as u32
    }

    /// Mean probability of the prediction, 0 to 1.
    pub fn confidence(&self) -> f64 {
        f64::from(self.confidence_q16()) / 65_536.0
    }

    /// Passes whose own most probable class is the prediction.
    pub fn agreeing(&self) -> u32 {
        self.votes[self.prediction()]
    }

    /// Share of passes that agree with the prediction, 0 to 1.
    pub fn agreement(&self) -> f64 {
        f64::from(self.agreeing()) / f64::from(self.passes.max(1))
    }

    /// Mean probability of the prediction minus that of the next class, 0 to 1.
    pub fn margin(&self) -> f64 {
        let (first, second) = two_largest(&self.sums);
        (first - second) as f64 / f64::from(self.passes.max(1)) / 65_536.0
    }

    /// Entropy of the mean probabilities in bits, 0 to log2(classes).
    pub fn entropy_bits(&self) -> f64 {
        let total: u64 = self.sums.iter().sum();
        self.sums
            .iter()
            .filter(|sum| **sum > 0)
            .map(|sum| {
                let p = *sum as f64 / total as f64;
                p * -p.log2()
            })
            .sum::<f64>()
            + 0.0 // an empty sum is -0.0
    }

    /// Votes by which the leading class is ahead of the next.
    pub fn lead(&self) -> u32 {
        let (first, second) = two_largest(&self.votes);
        first - second
    }

    /// Whether an early stop ends here.
    pub fn is_settled(&self) -> bool {
        self.lead() >= EARLY_STOP_LEAD
    }

    /// Fewest further passes after which an early stop could come.
    pub(crate) fn passes_to_settle(&self) -> u32 {
        EARLY_STOP_LEAD.saturating_sub(self.lead())
    }
}

/// Index of the largest value, the first of equals; 0 for none.
pub(crate) fn first_largest<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// The largest value and the largest of the others (0 if there are none).
fn two_largest<T: Copy + Ord + Default>(values: &[T]) -> (T, T) {
    values
        .iter()
        .fold((T::default(), T::default()), |(first, second), value| {
            if *value > first {
                (*value, first)
            } else {
                (first, second.max(*value))
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(passes: &[&[u32]]) -> Ensemble {
        let mut ensemble = Ensemble::new(passes[0].len());
        passes.iter().for_each(|p| ensemble.add(p));
        ensemble
    }

    #[test]
    fn the_mean_decides_and_the_votes_tell_the_agreement() {
        let ensemble = of(&[
            &[30_000, 35_000, 0],
            &[65_000, 500, 0],
            &[30_000, 35_001, 2],
        ]);
        assert_eq!(ensemble.prediction(), 0);
        assert_eq!(ensemble.agreeing(), 1);
        assert_eq!(ensemble.mean_p_q16(), [41_666, 23_500, 0]);
        assert_eq!(ensemble.confidence_q16(), 41_666);
        assert!((ensemble.agreement() - 1.0 / 3.0).abs() < 1e-12);
        assert!((ensemble.margin() - (125_000.0 - 70_501.0) / 3.0 / 65_536.0).abs() < 1e-12);
        assert_eq!(ensemble.lead(), 1);
        assert_eq!(ensemble.passes_to_settle(), 2);
    }

    #[test]
    fn a_tie_goes_to_the_lower_class() {
        let ensemble = of(&[&[5, 9, 9]]);
        assert_eq!((ensemble.prediction(), ensemble.agreeing()), (1, 1));
        assert_eq!(of(&[&[9, 1], &[1, 9]]).lead(), 0);
    }

    #[test]
    fn entropy_runs_from_certainty_to_the_logarithm_of_the_classes() {
        assert!(of(&[&[65_536, 0, 0, 0]]).entropy_bits().abs() < 1e-12);
        assert!((of(&[&[9, 9, 9, 9]]).entropy_bits() - 2.0).abs() < 1e-12);
        assert_eq!(Ensemble::new(4).entropy_bits(), 0.0);
    }

    #[test]
    fn three_votes_ahead_settle_it() {
        let mut ensemble = Ensemble::new(2);
        for (p, settled) in [
            ([9, 1], false),
            ([9, 1], false),
            ([1, 9], false),
            ([9, 1], false),
            ([9, 1], true),
        ] {
            ensemble.add(&p);
            assert_eq!(ensemble.is_settled(), settled);
        }
    }
}
