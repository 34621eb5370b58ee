//! `hasher bench encoding`: how much of a random matrix each kind of seed holds.
//!
//! The judgement is that of `hasher import` on the hardest matrix there is: independent
//! Gaussian weights have no structure that an encoding could use.

use clap::Args;
use hasher_model::{Kind, MatrixShape};
use hasher_train::convert;
use hasher_work::digest;
use serde::Serialize;

use crate::command::Context;
use crate::error::{CliError, Exit, chain};

/// Measure what encoding a float matrix as seeds loses, by kind
///
/// Encodes a matrix of independent Gaussian weights as `hasher import` does and prints
/// the squared error that is left, as a share of the weights' squares, as Markdown.
#[derive(Debug, Args)]
pub struct EncodingArgs {
    /// Rows and columns of the matrix, 16 to 512
    #[arg(long, value_name = "N", default_value_t = 128,
        value_parser = clap::value_parser!(u16).range(16..=512))]
    side: u16,
}

/// Kind, and how many hash bases are tried for each tile.
const ROWS: [(Kind, u16); 9] = [
    (Kind::Hb32, 1),
    (Kind::Hb32, 64),
    (Kind::Hb16, 1),
    (Kind::Hb16, 64),
    (Kind::Kron, 1),
    (Kind::Bin, 1),
    (Kind::Hb8, 1),
    (Kind::Tern, 1),
    (Kind::Nib, 1),
];

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    side: u16,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    salts: u16,
    /// Bits of weight seeds a weight.
    bits_per_weight: f64,
    /// Squared error over sum of squares.
    relative_error: f64,
    /// Signal to noise, in decibels.
    snr_db: f64,
}

/// Encodes the matrix as every kind.
///
/// # Errors
/// None that is known: the matrix is finite.
pub fn run(args: &EncodingArgs, context: &Context) -> Result<Exit, CliError> {
    let side = usize::from(args.side);
    let weights = gaussian(side * side);
    let biases = vec![0.0; side];
    let mut rows = Vec::with_capacity(ROWS.len());
    for (kind, salts) in ROWS {
        let shape = MatrixShape::new(kind, side, side);
        let converted = convert(shape, 0, &weights, &biases, salts)
            .map_err(|error| CliError::failed(chain(&error)))?;
        rows.push(Row {
            kind: kind.name(),
            salts,
            bits_per_weight: (shape.weight_seeds() * hasher_model::SEED_BYTES * 8) as f64
                / shape.weights() as f64,
            relative_error: converted.relative_error,
            snr_db: -10.0 * converted.relative_error.log10(),
        });
    }
    let report = Report {
        schema: "hasher.bench-encoding/1",
        side: args.side,
        rows,
    };
    context.output.report(&report)?;
    for line in text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn text(report: &Report) -> Vec<String> {
    let mut text = vec![
        format!(
            "A Gaussian matrix of {0} × {0}, always the same one.",
            report.side
        ),
        String::new(),
        "| kind | hash bases tried | bit/weight | error | SNR, dB |".to_owned(),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    text.extend(report.rows.iter().map(|row| {
        format!(
            "| `{}` | {} | {:.2} | {:.4} | {:.1} |",
            row.kind, row.salts, row.bits_per_weight, row.relative_error, row.snr_db
        )
    }));
    text
}

/// Independent values with mean 0 and deviation 1, two from every digest of a counter
/// (Box and Muller's transform).
fn gaussian(count: usize) -> Vec<f32> {
    let pair = |counter: usize| {
        let bytes = digest(&(counter as u64).to_le_bytes()).0;
        // 53 bits each; the first is never zero.
        let uniform = |at: usize| {
            let word = bytes[at..at + 8].iter().rev();
            let word = word.fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            (word >> 11) as f64 / (1u64 << 53) as f64
        };
        let radius = (-2.0 * (1.0 - uniform(0)).ln()).sqrt();
        let angle = std::f64::consts::TAU * uniform(8);
        [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]
    };
    (0..count.div_ceil(2)).flat_map(pair).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_have_the_moments_of_a_gaussian() {
        let values = gaussian(20_001);
        assert_eq!(values.len(), 20_001);
        let mean = |power: i32| {
            let sum: f64 = values.iter().map(|v| f64::from(*v).powi(power)).sum();
            sum / values.len() as f64
        };
        assert!(mean(1).abs() < 0.03, "{}", mean(1));
        assert!((mean(2) - 1.0).abs() < 0.05, "{}", mean(2));
        assert!((mean(4) - 3.0).abs() < 0.3, "{}", mean(4));
    }
}
