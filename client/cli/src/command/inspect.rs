//! `hasher inspect` and `hasher diff`: what is in a model file.

use std::path::PathBuf;

use clap::Args;
use hasher_model::{BasisCache, Matrix, MatrixRole, MerkleProof, Model};
use hasher_work::to_hex;
use serde::Serialize;

use super::Context;
use crate::error::{CliError, Exit, chain};
use crate::evaluation::percent;
use crate::files::{self, Existing};
use crate::table::{Align, grouped, lines};
use crate::{card, model_file};

/// Show what a model file holds: sizes, seeds, bytes, identity
///
/// With --proof the Merkle proof that one seed belongs to the model; with --repair
/// flipped bits of a damaged file are turned back, at most two in each seed.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher inspect --model digits.hsh
  hasher --json inspect --model digits.hsh --proof 17
  hasher inspect --model damaged.hsh --repair whole.hsh")]
pub struct InspectArgs {
    /// Model file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Number of a seed in the file, from 0
    #[arg(long, value_name = "N")]
    proof: Option<usize>,
    /// Write the repaired model here
    #[arg(long, value_name = "FILE")]
    repair: Option<PathBuf>,
}

/// Compare two models, matrix by matrix
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher diff before.hsh after.hsh")]
pub struct DiffArgs {
    /// Model file
    #[arg(value_name = "FILE")]
    first: PathBuf,
    /// Another one
    #[arg(value_name = "FILE")]
    second: PathBuf,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    seed_root: String,
    task: &'static str,
    width: u32,
    hidden: u32,
    layers: u32,
    heads: u32,
    positions: u32,
    inputs: u32,
    classes: u32,
    code_bits: u32,
    dither_bits: u32,
    file_bytes: usize,
    seed_bytes: usize,
    float32_bytes: usize,
    matrices: Vec<MatrixReport>,
    /// What the card says it was trained on.
    data: Option<String>,
    proof: Option<Proof>,
    repaired: Vec<Repaired>,
}

#[derive(Serialize)]
struct MatrixReport {
    name: String,
    kind: &'static str,
    outputs: usize,
    inputs: usize,
    seeds: usize,
    bytes: usize,
}

/// A proof that one seed belongs to the model.
#[derive(Serialize)]
struct Proof {
    index: usize,
    leaves: usize,
    seed: String,
    siblings: Vec<String>,
}

/// A seed whose bits were turned back.
#[derive(Serialize)]
struct Repaired {
    seed: usize,
    flips: u8,
}

/// Shows.
///
/// # Errors
/// A file that is no model, or a seed that it does not have.
pub fn inspect(args: &InspectArgs, context: &Context) -> Result<Exit, CliError> {
    let (model, repaired) = match &args.repair {
        None => (model_file::load(&args.model)?, Vec::new()),
        Some(out) => repair(args, out)?,
    };
    let proof = args.proof.map(|index| proof(&model, index)).transpose()?;
    let card = card::find(&args.model, &model).ok().flatten();
    let config = model.config();
    let report = Report {
        schema: "hasher.inspect/1",
        model_id: model.id().to_string(),
        seed_root: model.seed_root().to_hex(),
        task: match config.task {
            hasher_model::Task::Classifier => "classifier",
            hasher_model::Task::LanguageModel => "language model",
        },
        width: config.width,
        hidden: config.hidden,
        layers: config.layers,
        heads: config.heads,
        positions: config.positions,
        inputs: config.inputs,
        classes: config.classes,
        code_bits: config.code_bits,
        dither_bits: config.dither_bits,
        file_bytes: model.to_bytes().len(),
        seed_bytes: model.weight_bytes(),
        float32_bytes: model.float_bytes(),
        matrices: model
            .manifest()
            .matrices()
            .iter()
            .map(|(role, shape)| MatrixReport {
                name: role.to_string(),
                kind: shape.kind.name(),
                outputs: shape.outputs,
                inputs: shape.inputs,
                seeds: shape.seed_count(),
                bytes: shape.seed_count() * hasher_model::SEED_BYTES,
            })
            .collect(),
        data: card.map(|card| format!("{}, {}", card.task, card.data)),
        proof,
        repaired,
    };
    context.output.report(&report)?;
    for line in inspect_text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn repair(args: &InspectArgs, out: &std::path::Path) -> Result<(Model, Vec<Repaired>), CliError> {
    files::check_target(out, "model file", Existing::Keep)?;
    let bytes = files::read(&args.model, "model file", "check the name")?;
    let (model, repairs) = Model::from_bytes_repairing(&bytes).map_err(|error| {
        CliError::failed(format!(
            "cannot repair model file {}: {}",
            args.model.display(),
            chain(&error)
        ))
        .hint("more than two bits of a seed are wrong: copy the file again")
    })?;
    files::write(out, "model file", &model.to_bytes(), Existing::Keep)?;
    let repaired = repairs.iter().map(|repair| Repaired {
        seed: repair.seed,
        flips: repair.flips,
    });
    Ok((model, repaired.collect()))
}

fn proof(model: &Model, index: usize) -> Result<Proof, CliError> {
    let seeds = model.seeds();
    let proof = MerkleProof::new(seeds, index).ok_or_else(|| {
        CliError::usage(format!("there is no seed {index}"))
            .hint(format!("choose 0 to {}", seeds.len() - 1))
    })?;
    Ok(Proof {
        index,
        leaves: proof.leaves,
        seed: to_hex(&seeds[index].0),
        siblings: proof
            .siblings
            .iter()
            .map(|digest| digest.to_hex())
            .collect(),
    })
}

fn inspect_text(report: &Report) -> Vec<String> {
    let mut text = vec![
        format!("identity {}", report.model_id),
        format!(
            "network  {}: {} layers of width {} and {}, {} heads, {} positions of {} inputs, {} classes",
            report.task,
            report.layers,
            report.width,
            report.hidden,
            report.heads,
            report.positions,
            report.inputs,
            report.classes
        ),
        format!(
            "codes    {} bits, {} bits of dither",
            report.code_bits, report.dither_bits
        ),
        super::eval::weights_line(report.seed_bytes, report.float32_bytes),
    ];
    if let Some(data) = &report.data {
        text.push(format!("trained  {data}"));
    }
    text.push(String::new());
    let columns = [
        ("matrix", Align::Left),
        ("kind", Align::Left),
        ("outputs", Align::Right),
        ("inputs", Align::Right),
        ("seeds", Align::Right),
        ("bytes", Align::Right),
    ];
    let row = |m: &MatrixReport| {
        vec![
            m.name.clone(),
            m.kind.to_owned(),
            m.outputs.to_string(),
            m.inputs.to_string(),
            m.seeds.to_string(),
            grouped(m.bytes as u64),
        ]
    };
    let rows: Vec<_> = report.matrices.iter().map(row).collect();
    text.extend(lines(&columns, &rows));
    for repaired in &report.repaired {
        text.push(format!(
            "seed {}: {} bits turned back",
            repaired.seed, repaired.flips
        ));
    }
    if let Some(proof) = &report.proof {
        text.push(String::new());
        text.push(format!("seed {} of {}", proof.index, proof.leaves));
        text.push(format!("  {}", proof.seed));
        text.push("leads to the root through".to_owned());
        text.extend(proof.siblings.iter().map(|sibling| format!("  {sibling}")));
        text.push(format!("root {}", report.seed_root));
    }
    text
}

/// The JSON answer of `diff`.
#[derive(Serialize)]
struct DiffReport {
    schema: &'static str,
    first: String,
    second: String,
    same: bool,
    matrices: Vec<MatrixDiff>,
}

#[derive(Serialize)]
struct MatrixDiff {
    name: String,
    kinds: [&'static str; 2],
    seeds: usize,
    /// Seeds whose bytes differ; null where the kinds do.
    different_seeds: Option<usize>,
    /// Squared difference of the weights over the first one's sum of squares.
    relative_difference: f64,
}

/// Compares.
///
/// # Errors
/// Files that are no models, or models of other sizes.
pub fn diff(args: &DiffArgs, context: &Context) -> Result<Exit, CliError> {
    let (first, second) = (
        model_file::load(&args.first)?,
        model_file::load(&args.second)?,
    );
    if first.config() != second.config() {
        return Err(
            CliError::failed("the models are of different sizes or tasks")
                .hint("see both with `hasher inspect`"),
        );
    }
    let report = DiffReport {
        schema: "hasher.diff/1",
        first: first.id().to_string(),
        second: second.id().to_string(),
        same: first.id() == second.id(),
        matrices: differences(&first, &second)?,
    };
    context.output.report(&report)?;
    if report.same {
        context
            .output
            .line(format!("the same model, {}", report.first))?;
    }
    let columns = [
        ("matrix", Align::Left),
        ("kind", Align::Left),
        ("seeds", Align::Right),
        ("different", Align::Right),
        ("weights changed", Align::Right),
    ];
    let row = |m: &MatrixDiff| {
        vec![
            m.name.clone(),
            if m.kinds[0] == m.kinds[1] {
                m.kinds[0].to_owned()
            } else {
                format!("{} → {}", m.kinds[0], m.kinds[1])
            },
            m.seeds.to_string(),
            m.different_seeds
                .map_or_else(|| "all".to_owned(), |n| n.to_string()),
            percent(m.relative_difference),
        ]
    };
    let rows: Vec<_> = report.matrices.iter().map(row).collect();
    for line in lines(&columns, &rows) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn differences(first: &Model, second: &Model) -> Result<Vec<MatrixDiff>, CliError> {
    let mut cache = BasisCache::new();
    let (mut seeds, mut others) = (first.seeds(), second.seeds());
    let pairs = first
        .manifest()
        .matrices()
        .iter()
        .zip(second.manifest().matrices());
    let mut all = Vec::new();
    for (index, ((role, shape), (_, other_shape))) in pairs.enumerate() {
        let (own, rest) = seeds.split_at(shape.seed_count());
        let (other, other_rest) = others.split_at(other_shape.seed_count());
        (seeds, others) = (rest, other_rest);
        let mut decode = |shape, seeds| {
            Matrix::decode(shape, index as u16, seeds, &mut cache)
                .map_err(|error| CliError::failed(chain(&error)))
        };
        let (a, b) = (decode(*shape, own)?, decode(*other_shape, other)?);
        let values = |matrix: &Matrix| -> Vec<f32> {
            match role {
                // Gains are whole numbers; their seeds have no scale.
                MatrixRole::Gains => (0..shape.outputs)
                    .map(|at| f32::from(matrix.weight(at, 0)))
                    .collect(),
                _ => matrix.to_f32(),
            }
        };
        let (a, b) = (values(&a), values(&b));
        let square = |value: f32| f64::from(value) * f64::from(value);
        let difference: f64 = a.iter().zip(&b).map(|(a, b)| square(a - b)).sum();
        let energy: f64 = a.iter().map(|a| square(*a)).sum();
        let is_comparable = shape == other_shape;
        let different = || own.iter().zip(other).filter(|(a, b)| a != b).count();
        all.push(MatrixDiff {
            name: role.to_string(),
            kinds: [shape.kind.name(), other_shape.kind.name()],
            seeds: own.len(),
            different_seeds: is_comparable.then(different),
            relative_difference: difference / energy.max(f64::MIN_POSITIVE),
        });
    }
    Ok(all)
}
