//! `hasher import`: an existing float model as seeds.

use std::path::PathBuf;

use clap::Args;
use hasher_data::{Tensor, Tensors};
use hasher_model::{Config, Kind, Manifest, MatrixRole, Model, Seed, Task, encode_steps};
use hasher_train::{Kinds, convert};
use serde::Serialize;

use super::Context;
use crate::error::{CliError, Exit, chain};
use crate::evaluation::percent;
use crate::files::{self, Existing};
use crate::table::{Align, grouped, lines};

/// Encode the weights of a float model as seeds
///
/// Reads a safetensors file with the names that `hasher export` writes and finds seeds
/// for each matrix by least squares, trying several hash bases (salts) for each tile.
/// At one bit per weight 80 to 90 % of a trained matrix is lost: import with nib or
/// tern, then train on with `hasher train --init`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher import weights.safetensors --kind nib --out model.hsh
  hasher train --init model.hsh --data digits --steps 200 --out tuned.hsh")]
pub struct ImportArgs {
    /// Safetensors file
    #[arg(value_name = "FILE")]
    weights: PathBuf,
    /// Model file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How seeds hold weights, as for train
    #[arg(long, value_name = "KINDS", default_value = "nib")]
    kind: Kinds,
    /// Hash bases to try for each tile, 1 to 256; models with more than one cannot be
    /// trained on
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    salts: u16,
    /// Replace an existing model file
    #[arg(long)]
    force: bool,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    seed_bytes: usize,
    matrices: Vec<MatrixReport>,
}

/// One matrix.
#[derive(Serialize)]
struct MatrixReport {
    name: String,
    kind: &'static str,
    seeds: usize,
    /// Squared error over sum of squares.
    relative_error: f64,
}

/// Encodes and writes.
///
/// # Errors
/// Missing or misshapen arrays, values that are no numbers.
pub fn run(args: &ImportArgs, context: &Context) -> Result<Exit, CliError> {
    let existing = Existing::when_forced(args.force);
    files::check_target(&args.out, "model file", existing)?;
    let bytes = files::read(&args.weights, "safetensors file", "check the name")?;
    let wrong = |reason: String| {
        CliError::failed(format!("cannot use {}: {reason}", args.weights.display()))
            .hint("`hasher export` writes a file with all names and shapes that are needed")
    };
    let tensors = Tensors::parse(&bytes).map_err(wrong)?;
    let config = config(&tensors).map_err(wrong)?;
    let manifest =
        Manifest::new(config, |role| args.kind.of(role)).map_err(|error| wrong(chain(&error)))?;
    let (mut seeds, mut matrices) = (Vec::new(), Vec::new());
    for (index, (role, shape)) in manifest.matrices().iter().enumerate() {
        if *role == MatrixRole::Gains {
            gains(&tensors, &manifest, &mut seeds).map_err(wrong)?;
            continue;
        }
        let weight = array(
            &tensors,
            &format!("{role}.weight"),
            &[shape.outputs, shape.inputs],
        );
        let bias = array(&tensors, &format!("{role}.bias"), &[shape.outputs]);
        let (weight, bias) = (weight.map_err(wrong)?, bias.map_err(wrong)?);
        let converted = convert(
            *shape,
            index as u16,
            &weight.values,
            &bias.values,
            args.salts,
        )
        .map_err(|error| wrong(format!("{role}: {}", chain(&error))))?;
        matrices.push(MatrixReport {
            name: role.to_string(),
            kind: shape.kind.name(),
            seeds: converted.seeds.len(),
            relative_error: converted.relative_error,
        });
        seeds.extend(converted.seeds);
    }
    let model = Model::new(manifest, seeds).map_err(|error| wrong(chain(&error)))?;
    files::write(&args.out, "model file", &model.to_bytes(), existing)?;
    let report = Report {
        schema: "hasher.import/1",
        model_id: model.id().to_string(),
        seed_bytes: model.weight_bytes(),
        matrices,
    };
    context.output.report(&report)?;
    for line in text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn text(report: &Report) -> Vec<String> {
    let columns = [
        ("matrix", Align::Left),
        ("kind", Align::Left),
        ("seeds", Align::Right),
        ("lost", Align::Right),
    ];
    let row = |matrix: &MatrixReport| {
        vec![
            matrix.name.clone(),
            matrix.kind.to_owned(),
            matrix.seeds.to_string(),
            percent(matrix.relative_error),
        ]
    };
    let rows: Vec<_> = report.matrices.iter().map(row).collect();
    let mut text = lines(&columns, &rows);
    text.push(String::new());
    text.push(format!(
        "model {} with {} bytes of seeds",
        report.model_id,
        grouped(report.seed_bytes as u64)
    ));
    text
}

fn array<'a>(tensors: &'a Tensors, name: &str, shape: &[usize]) -> Result<&'a Tensor, String> {
    let tensor = tensors
        .find(name)
        .ok_or_else(|| format!("there is no array \"{name}\""))?;
    if tensor.shape == shape {
        Ok(tensor)
    } else {
        Err(format!(
            "array \"{name}\" has shape {:?}, expected {shape:?}",
            tensor.shape
        ))
    }
}

/// The sizes, from the shapes of the arrays and the metadata.
fn config(tensors: &Tensors) -> Result<Config, String> {
    let rows_columns = |name: &str| {
        let tensor = tensors
            .find(name)
            .ok_or_else(|| format!("there is no array \"{name}\""))?;
        match tensor.shape[..] {
            [rows, columns] => Ok((rows as u32, columns as u32)),
            _ => Err(format!(
                "array \"{name}\" has shape {:?}, expected two sides",
                tensor.shape
            )),
        }
    };
    let number = |key: &str| -> Result<u32, String> {
        let text = tensors.metadata.get(&format!("hasher.{key}"));
        let text = text.ok_or_else(|| format!("the metadata have no \"hasher.{key}\""))?;
        text.parse()
            .map_err(|_| format!("\"hasher.{key}\" is \"{text}\", no whole number"))
    };
    let (width, inputs) = rows_columns("emb.weight")?;
    let (hidden, _) = rows_columns("f0.weight")?;
    let (classes, _) = rows_columns("head.weight")?;
    let is_layer = |layer: &u32| tensors.find(&format!("q{layer}.weight")).is_some();
    let vocabulary = number("vocabulary")?;
    let config = Config {
        task: if vocabulary == 0 {
            Task::Classifier
        } else {
            Task::LanguageModel
        },
        width,
        hidden,
        layers: (0..hasher_model::LAYERS_MAX).take_while(is_layer).count() as u32,
        heads: number("heads")?,
        positions: number("positions")?,
        inputs,
        classes,
        code_bits: number("code_bits")?,
        dither_bits: number("dither_bits")?,
        input_fraction: number("input_fraction")?,
        vocabulary,
    };
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

/// Seeds of the gains.
fn gains(tensors: &Tensors, manifest: &Manifest, seeds: &mut Vec<Seed>) -> Result<(), String> {
    let (_, shape) = manifest.matrices()[0];
    let width = manifest.config().width as usize;
    let gains = array(tensors, "gains", &[shape.outputs / width, width])?;
    // The position gain is stored in units half as large.
    let value = |(at, gain): (usize, &f32)| if at < width { gain * 2.0 } else { *gain };
    let values: Vec<f32> = gains.values.iter().enumerate().map(value).collect();
    for (at, group) in values.chunks(Kind::Vec8.weights_per_seed()).enumerate() {
        let (_, place) = shape.seed(0, at);
        let seed = encode_steps(place, group, 1.0 / 64.0);
        seeds.push(seed.map_err(|error| format!("gains: {error}"))?);
    }
    Ok(())
}
