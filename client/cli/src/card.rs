//! The card beside a model file, `FILE.json`: how inputs are prepared, what the
//! classes are called, how it was trained and what it achieved.
//!
//! Owns its schema. A model file holds seeds only; whoever has the model without the
//! card has the network without the meaning of its inputs. Nothing in a card is
//! trusted: it names the identity of the model it belongs to.

use std::path::{Path, PathBuf};

use hasher_data::Recipe;
use hasher_model::Model;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::evaluation::Row;
use crate::files::{self, Existing};

/// Version of the schema.
pub const SCHEMA: &str = "hasher.card/1";

/// What is known about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`SCHEMA`].
    pub schema: String,
    /// Identity of the model.
    pub model_id: String,
    /// Name of the task.
    pub task: String,
    /// Name or path of the data.
    pub data: String,
    /// How inputs are prepared.
    pub recipe: Recipe,
    /// How it was trained.
    pub training: Training,
    /// What it achieved on the test part, by passes.
    pub results: Vec<Row>,
}

/// How a model was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Kinds of seed.
    pub kinds: String,
    /// Steps made.
    pub steps: u32,
    /// Examples a step.
    pub batch: u32,
    /// Start of every random choice.
    pub rng_seed: u64,
    /// Fingerprint of the data.
    pub data_fingerprint: String,
    /// Whether there were moved copies of the images, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shifts: bool,
    /// Time of the steps.
    pub seconds: f64,
}

/// Where the card of a model file lies.
pub fn path_of(model: &Path) -> PathBuf {
    let mut path = model.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

/// Writes the card of a model file.
///
/// # Errors
/// Why it cannot be written.
pub fn write(model: &Path, card: &Card, existing: Existing) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(card)
        .map_err(|error| CliError::failed(format!("cannot write the card: {error}")))?;
    text.push('\n');
    files::write(&path_of(model), "model card", text.as_bytes(), existing)
}

/// The card of a model file, if it has one.
///
/// # Errors
/// When it is damaged or belongs to another model.
pub fn find(path: &Path, model: &Model) -> Result<Option<Card>, CliError> {
    let path = path_of(path);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, "model card", "")?;
    let wrong = |reason: &str| {
        CliError::failed(format!(
            "cannot use model card {}: {reason}",
            path.display()
        ))
        .hint("remove it, or train the model anew")
    };
    let card: Card = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
    if card.schema != SCHEMA {
        return Err(wrong(&format!(
            "schema {} is unknown, expected {SCHEMA}",
            card.schema
        )));
    }
    if card.model_id != model.id().to_string() {
        return Err(wrong("it belongs to another model"));
    }
    Ok(Some(card))
}

/// The card of a model file that cannot be used without one.
///
/// # Errors
/// As [`find`], and when there is none.
pub fn load(path: &Path, model: &Model) -> Result<Card, CliError> {
    find(path, model)?.ok_or_else(|| {
        let card = path_of(path);
        CliError::failed(format!("there is no model card {}", card.display()))
            .hint("`hasher train` writes it beside the model: copy both files")
    })
}
