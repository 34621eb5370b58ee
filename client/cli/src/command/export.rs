//! `hasher export`: a model's decoded weights for other programs.

use std::path::PathBuf;

use clap::Args;
use hasher_data::{Tensor, Tensors, npy_bytes};
use hasher_model::{BasisCache, Matrix, MatrixRole, Model};
use serde::Serialize;

use super::Context;
use crate::error::{CliError, Exit, chain};
use crate::files::{self, Existing};
use crate::model_file;
use crate::table::grouped;

/// Write a model's weights as float32: safetensors or NumPy files
///
/// The weights are those that the seeds decode to, exactly. Names are those of the
/// model specification: emb, q0, k0, v0, o0, f0, g0, …, head, each with `.weight`
/// (outputs x inputs) and `.bias`, and gains.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher export --model digits.hsh --out digits.safetensors
  hasher export --model digits.hsh --out folder    (one NPY file per array)")]
pub struct ExportArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// A file ending in .safetensors, or an existing folder for NPY files
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    arrays: usize,
    numbers: usize,
    written: String,
}

/// Writes the arrays.
///
/// # Errors
/// A model that cannot be read, or a place that cannot be written.
pub fn run(args: &ExportArgs, context: &Context) -> Result<Exit, CliError> {
    let existing = Existing::when_forced(args.force);
    let model = model_file::load(&args.model)?;
    let tensors = tensors(&model)?;
    let is_tensors = args.out.extension().is_some_and(|e| e == "safetensors");
    if is_tensors {
        let bytes = tensors.to_bytes().map_err(CliError::failed)?;
        files::write(&args.out, "safetensors file", &bytes, existing)?;
    } else if args.out.is_dir() {
        let path = |tensor: &Tensor| args.out.join(format!("{}.npy", tensor.name));
        for tensor in &tensors.tensors {
            files::check_target(&path(tensor), "NPY file", existing)?;
        }
        for tensor in &tensors.tensors {
            let bytes = npy_bytes(&tensor.shape, &tensor.values);
            files::write(&path(tensor), "NPY file", &bytes, existing)?;
        }
    } else {
        return Err(CliError::usage(format!(
            "{} is neither a .safetensors file nor a folder",
            args.out.display()
        ))
        .hint("end the name in .safetensors, or create the folder first"));
    }
    let report = Report {
        schema: "hasher.export/1",
        model_id: model.id().to_string(),
        arrays: tensors.tensors.len(),
        numbers: tensors
            .tensors
            .iter()
            .map(|tensor| tensor.values.len())
            .sum(),
        written: args.out.display().to_string(),
    };
    context.output.report(&report)?;
    context.output.line(format!(
        "{} arrays with {} numbers written to {}",
        report.arrays,
        grouped(report.numbers as u64),
        report.written
    ))?;
    Ok(Exit::Done)
}

/// Every array of a model, and in the metadata what an import needs.
pub fn tensors(model: &Model) -> Result<Tensors, CliError> {
    let mut cache = BasisCache::new();
    let mut seeds = model.seeds();
    let mut all = Tensors::default();
    for (index, (role, shape)) in model.manifest().matrices().iter().enumerate() {
        let (own, rest) = seeds.split_at(shape.seed_count());
        seeds = rest;
        let matrix = Matrix::decode(*shape, index as u16, own, &mut cache)
            .map_err(|error| CliError::failed(chain(&error)))?;
        if *role == MatrixRole::Gains {
            // Stored in units of 1/64, the position gain (the first vector) of 1/128.
            let width = model.config().width as usize;
            let gain = |at: usize| {
                let unit = if at < width { 128.0 } else { 64.0 };
                f32::from(matrix.weight(at, 0)) / unit
            };
            all.tensors.push(Tensor {
                name: "gains".to_owned(),
                shape: vec![shape.outputs / width, width],
                values: (0..shape.outputs).map(gain).collect(),
            });
            continue;
        }
        all.tensors.push(Tensor {
            name: format!("{role}.weight"),
            shape: vec![shape.outputs, shape.inputs],
            values: matrix.to_f32(),
        });
        all.tensors.push(Tensor {
            name: format!("{role}.bias"),
            shape: vec![shape.outputs],
            values: matrix.biases_f32(),
        });
    }
    let config = model.config();
    for (key, value) in [
        ("heads", config.heads),
        ("positions", config.positions),
        ("code_bits", config.code_bits),
        ("dither_bits", config.dither_bits),
        ("input_fraction", config.input_fraction),
        ("vocabulary", config.vocabulary),
    ] {
        all.metadata
            .insert(format!("hasher.{key}"), value.to_string());
    }
    Ok(all)
}
