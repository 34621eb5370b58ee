//! Reading a model file for the commands that use one.

use std::path::Path;

use hasher_model::Model;

use crate::error::{CliError, chain};
use crate::files;

/// Reads and checks a model.
///
/// # Errors
/// What is wrong with the file, with the remedy.
pub fn load(path: &Path) -> Result<Model, CliError> {
    let hint = "train one with `hasher train --out FILE`";
    let bytes = files::read(path, "model file", hint)?;
    Model::from_bytes(&bytes).map_err(|error| {
        CliError::failed(format!(
            "cannot use model file {}: {}",
            path.display(),
            chain(&error)
        ))
        .hint("the file is damaged or no model: copy it again, or train it anew")
    })
}
