//! What a training command tells: the JSON object and the tables for people.

use std::path::Path;

use hasher_data::{Loaded, TaskName};
use hasher_train::data::Part;
use hasher_train::{EarlyStopRow, TrainConfig};
use serde::Serialize;

use crate::evaluation::{Row, mean_and_deviation, percent, table};
use crate::table::{Align, grouped, lines, seconds};
use crate::training::Trained;

/// The JSON answer.
#[derive(Serialize)]
pub struct Report {
    schema: &'static str,
    task: &'static str,
    data: String,
    train_examples: usize,
    test_examples: usize,
    kind: String,
    steps: u32,
    batch: u32,
    seed_bytes: usize,
    float32_bytes: usize,
    runs: Vec<Run>,
    /// Over the runs; empty without test examples.
    mean: Vec<Mean>,
    model: Option<String>,
}

/// One initialisation.
#[derive(Serialize)]
pub struct Run {
    /// Its rng seed.
    pub rng_seed: u64,
    /// Identity of its model.
    pub model_id: String,
    /// Steps made; fewer than asked for after an early end.
    pub steps: u32,
    /// Running mean of the loss at the end, in nats.
    pub loss: f64,
    /// Running mean of the training accuracy at the end, 0 to 1.
    pub train_accuracy: f64,
    /// Time of the steps.
    pub seconds: f64,
    /// What stopping three votes ahead would bring; null without test examples.
    pub early_stop: Option<EarlyStop>,
    /// Test accuracy by passes; empty without test examples.
    pub test: Vec<Row>,
}

/// Passes and accuracy when each answer stops three votes ahead.
#[derive(Serialize, Clone, Copy)]
pub struct EarlyStop {
    mean_passes: f64,
    accuracy: f64,
}

impl From<EarlyStopRow> for EarlyStop {
    fn from(row: EarlyStopRow) -> Self {
        Self {
            mean_passes: row.mean_passes,
            accuracy: row.accuracy,
        }
    }
}

/// The test accuracy of all runs after so many passes.
#[derive(Serialize)]
pub struct Mean {
    passes: u16,
    accuracy_mean: f64,
    accuracy_deviation: f64,
    label_bits_mean: f64,
    label_bits_deviation: f64,
}

/// Puts the facts of all runs together.
pub fn report(
    source: &str,
    out: Option<&Path>,
    loaded: &Loaded,
    task: TaskName,
    config: &TrainConfig,
    first: &Trained,
    runs: Vec<Run>,
) -> Report {
    let (data, model) = (&loaded.data, first.model.as_ref());
    let tested = runs.first().map_or(0, |run| run.test.len());
    let mean = (0..tested).map(|at| {
        let accuracies: Vec<f64> = runs.iter().map(|run| run.test[at].accuracy).collect();
        let (accuracy_mean, accuracy_deviation) = mean_and_deviation(&accuracies);
        let bits: Vec<f64> = runs.iter().map(|run| run.test[at].label_bits).collect();
        let (label_bits_mean, label_bits_deviation) = mean_and_deviation(&bits);
        Mean {
            passes: runs[0].test[at].passes,
            accuracy_mean,
            accuracy_deviation,
            label_bits_mean,
            label_bits_deviation,
        }
    });
    Report {
        schema: "hasher.train/1",
        task: task.name(),
        data: source.to_owned(),
        train_examples: data.part(Part::Train).len(),
        test_examples: data.part(Part::Test).len(),
        kind: config.kinds.to_string(),
        steps: config.steps,
        batch: config.batch,
        seed_bytes: model.map_or(0, hasher_model::Model::weight_bytes),
        float32_bytes: float32_bytes(config, loaded),
        mean: mean.collect(),
        runs,
        model: out.map(|out| out.display().to_string()),
    }
}

/// Bytes of the same network in single precision.
fn float32_bytes(config: &TrainConfig, loaded: &Loaded) -> usize {
    let model = config.model_config(&loaded.data).ok();
    let manifest = model
        .and_then(|model| hasher_model::Manifest::new(model, |role| config.kinds.of(role)).ok());
    manifest.map_or(0, |manifest| manifest.float_bytes())
}

/// The report for people.
pub fn text(report: &Report) -> Vec<String> {
    let total: f64 = report.runs.iter().map(|run| run.seconds).sum();
    let mut text = vec![
        format!(
            "{}: {} training and {} test {}, {} steps of {}, kind {}",
            report.data,
            grouped(report.train_examples as u64),
            grouped(report.test_examples as u64),
            match report.task {
                "digits" | "image" => "images",
                "text" => "windows",
                _ => "examples",
            },
            report.steps,
            report.batch,
            report.kind
        ),
        match report.seed_bytes {
            0 => format!(
                "weights: {} bytes of float32",
                grouped(report.float32_bytes as u64)
            ),
            bytes => format!(
                "weights: {} bytes of seeds; the same shape in float32 takes {}",
                grouped(bytes as u64),
                grouped(report.float32_bytes as u64)
            ),
        },
        format!(
            "trained in {}, loss {:.3} at the end",
            seconds(total),
            report.runs.last().map_or(0.0, |run| run.loss)
        ),
    ];
    match report.runs.as_slice() {
        _ if report.mean.is_empty() => {}
        [run] => {
            text.push(String::new());
            text.extend(table(&run.test));
            if let Some(early) = run.early_stop {
                text.push(format!(
                    "stopping three votes ahead: {:.1} passes on average, {}",
                    early.mean_passes,
                    percent(early.accuracy)
                ));
            }
        }
        runs => {
            text.push(String::new());
            text.extend(runs_table(runs, &report.mean));
            text.push(format!(
                "test accuracy of {} initialisations, mean ± standard deviation; bits a label",
                runs.len()
            ));
        }
    }
    if let Some(model) = &report.model {
        text.push(String::new());
        text.push(format!("model written to {model}"));
    }
    text
}

fn runs_table(runs: &[Run], means: &[Mean]) -> Vec<String> {
    // One column a run as long as they fit 80 columns, otherwise the mean only.
    const SHOWN_MAX: usize = 3;
    let shown = if runs.len() <= SHOWN_MAX { runs } else { &[] };
    let names: Vec<String> = shown
        .iter()
        .map(|run| format!("rng seed {}", run.rng_seed))
        .collect();
    let mut columns = vec![("passes", Align::Right)];
    columns.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    columns.push(("mean", Align::Right));
    columns.push(("bits", Align::Right));
    let rows: Vec<Vec<String>> = means
        .iter()
        .enumerate()
        .map(|(at, mean)| {
            let mut row = vec![mean.passes.to_string()];
            row.extend(shown.iter().map(|run| percent(run.test[at].accuracy)));
            row.push(format!(
                "{:.2} ± {:.2} %",
                mean.accuracy_mean * 100.0,
                mean.accuracy_deviation * 100.0
            ));
            row.push(format!("{:.3}", mean.label_bits_mean));
            row
        })
        .collect();
    lines(&columns, &rows)
}
