//! Accuracy tables: the same columns and the same JSON wherever a model is measured.

use hasher_train::EvalRow;
use serde::{Deserialize, Serialize};

use crate::table::{Align, lines};

/// The reporting points of the model specification.
pub const PASSES: [u16; 5] = [1, 3, 5, 11, 21];

/// One line of an accuracy table; shares are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Passes averaged.
    pub passes: u16,
    /// Share of right answers.
    pub accuracy: f64,
    /// The same by majority vote of the passes.
    pub vote_accuracy: f64,
    /// Mean bits that a label costs: for a text bits per character.
    pub label_bits: f64,
    /// Mean confidence of the answers.
    pub mean_confidence: f64,
    /// Expected calibration error: mean distance of confidence and accuracy.
    pub calibration_error: f64,
    /// Mean share of passes that agree with the answer.
    pub agreement: f64,
}

impl From<&EvalRow> for Row {
    fn from(row: &EvalRow) -> Self {
        Self {
            passes: row.passes,
            accuracy: row.accuracy,
            vote_accuracy: row.vote_accuracy,
            label_bits: row.label_bits,
            mean_confidence: row.mean_confidence,
            calibration_error: row.calibration_error,
            agreement: row.agreement,
        }
    }
}

/// The reporting points up to `most`, and `most` itself.
pub fn points_up_to(most: u16) -> Vec<u16> {
    let mut points: Vec<u16> = PASSES.into_iter().filter(|p| *p < most).collect();
    points.push(most);
    points
}

/// The table for people.
pub fn table(rows: &[Row]) -> Vec<String> {
    let columns = [
        ("passes", Align::Right),
        ("accuracy", Align::Right),
        ("vote", Align::Right),
        ("bits", Align::Right),
        ("confidence", Align::Right),
        ("calibration error", Align::Right),
        ("agreement", Align::Right),
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.passes.to_string(),
                percent(row.accuracy),
                percent(row.vote_accuracy),
                format!("{:.3}", row.label_bits),
                percent(row.mean_confidence),
                format!("{:.3}", row.calibration_error),
                percent(row.agreement),
            ]
        })
        .collect();
    lines(&columns, &rows)
}

/// A share in per cent with one decimal.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Mean and sample standard deviation; the latter is 0 for a single value.
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reporting_points_end_with_the_number_asked_for() {
        assert_eq!(points_up_to(21), [1, 3, 5, 11, 21]);
        assert_eq!(points_up_to(4), [1, 3, 4]);
        assert_eq!(points_up_to(1), [1]);
    }

    #[test]
    fn mean_and_deviation_are_those_of_a_sample() {
        let (mean, deviation) = mean_and_deviation(&[1.0, 2.0, 3.0]);
        assert!((mean - 2.0).abs() < 1e-12 && (deviation - 1.0).abs() < 1e-12);
        assert_eq!(mean_and_deviation(&[5.0]), (5.0, 0.0));
    }
}
