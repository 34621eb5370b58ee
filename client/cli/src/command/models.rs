//! `hasher models`: a folder of models with what is known of each.
//!
//! Owns the layout: `NAME.hsh` and its card `NAME.hsh.json`, side by side as `hasher train`
//! writes them, so that any folder of trained models is a registry.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::card::{self, Card};
use crate::error::{CliError, Exit};
use crate::evaluation::percent;
use crate::files::{self, Existing};
use crate::model_file;
use crate::table::{Align, grouped, lines, printable};

/// Keep models in one folder and list what is known of each
///
/// The folder is --dir, else `hasher/models` in $XDG_DATA_HOME or ~/.local/share. A
/// model's task, data, training and results come from the card beside it; its identity
/// is computed from its seeds and must be the card's.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher models add digits.hsh --name digits
  hasher models list
  hasher eval --model \"$(hasher models path digits)\"")]
pub struct ModelsArgs {
    /// Folder of the models
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the models of the folder
    List,
    /// Copy a model and its card into the folder
    Add(AddArgs),
    /// Print the file of a model
    Path {
        /// Its name
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Model file
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Its name in the folder
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: String,
    /// Replace a model of that name
    #[arg(long)]
    force: bool,
}

/// Ending of a model's file.
const ENDING: &str = "hsh";
/// Most characters of a name.
const NAME_MAX: usize = 64;
/// Most models that are listed.
const MODELS_MAX: usize = 10_000;

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    folder: String,
    models: Vec<Entry>,
}

/// One model of the folder.
#[derive(Serialize)]
struct Entry {
    name: String,
    /// Null for a file that is no model.
    model_id: Option<String>,
    seed_bytes: Option<usize>,
    /// What is known of it; null without a card.
    card: Option<Card>,
    /// Why the file or its card cannot be used; null if they can.
    problem: Option<String>,
}

/// Does what is asked for.
///
/// # Errors
/// A folder that cannot be read, a model that cannot be used, a name that is taken.
pub fn run(args: &ModelsArgs, context: &Context) -> Result<Exit, CliError> {
    let folder = folder(args.dir.as_deref())?;
    match &args.what {
        What::List => list(&folder, context),
        What::Add(add) => add_model(&folder, add, context),
        What::Path { name } => {
            let path = file_of(&folder, name);
            let _ = model_file::load(&path)?;
            let report = serde_json::json!({
                "schema": "hasher.models-path/1",
                "path": path.display().to_string(),
            });
            context.output.report(&report)?;
            context.output.line(path.display().to_string())?;
            Ok(Exit::Done)
        }
    }
}

fn folder(given: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let data = variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/share")));
    data.map(|data| data.join("hasher/models")).ok_or_else(|| {
        CliError::usage("there is no home directory for the models")
            .hint("name a folder with --dir")
    })
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{ENDING}"))
}

/// A name that is a file's name and nothing else.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty()
        || text.len() > NAME_MAX
        || text.starts_with('.')
        || !text.chars().all(is_plain)
    {
        return Err(format!(
            "write 1 to {NAME_MAX} letters, digits, `-`, `_` or `.`, not beginning with a dot"
        ));
    }
    Ok(text.to_owned())
}

fn add_model(folder: &Path, args: &AddArgs, context: &Context) -> Result<Exit, CliError> {
    let existing = Existing::when_forced(args.force);
    let model = model_file::load(&args.model)?;
    let card = card::find(&args.model, &model)?;
    fs::create_dir_all(folder)
        .map_err(|error| CliError::io(format!("create folder {}", folder.display()), &error))?;
    let path = file_of(folder, &args.name);
    files::write(&path, "model file", &model.to_bytes(), existing)?;
    match &card {
        Some(card) => card::write(&path, card, Existing::Replace)?,
        // The card of a model that was replaced is about another one.
        None => match fs::remove_file(card::path_of(&path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let doing = format!("remove model card {}", card::path_of(&path).display());
                return Err(CliError::io(doing, &error));
            }
            _ => {}
        },
    }
    let report = Report {
        schema: "hasher.models/1",
        folder: folder.display().to_string(),
        models: vec![Entry {
            name: args.name.clone(),
            model_id: Some(model.id().to_string()),
            seed_bytes: Some(model.weight_bytes()),
            card,
            problem: None,
        }],
    };
    context.output.report(&report)?;
    context
        .output
        .line(format!("{} is now {}", args.name, path.display()))?;
    Ok(Exit::Done)
}

fn list(folder: &Path, context: &Context) -> Result<Exit, CliError> {
    let report = Report {
        schema: "hasher.models/1",
        folder: folder.display().to_string(),
        models: entries(folder)?,
    };
    context.output.report(&report)?;
    for line in text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

/// Every model file of the folder, by name.
fn entries(folder: &Path) -> Result<Vec<Entry>, CliError> {
    let cannot = |error: &std::io::Error| {
        CliError::io(format!("read folder {}", folder.display()), error)
            .hint("`hasher models add FILE --name NAME` makes it")
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot(&error))? {
        let path = entry.map_err(|error| cannot(&error))?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            paths.push(path);
        }
        if paths.len() > MODELS_MAX {
            return Err(CliError::failed(format!(
                "folder {} holds more than {MODELS_MAX} models",
                folder.display()
            ))
            .hint("name a folder of fewer with --dir"));
        }
    }
    paths.sort();
    Ok(paths.iter().map(|path| entry(path)).collect())
}

fn entry(path: &Path) -> Entry {
    let name = path.file_stem().unwrap_or_default();
    let mut entry = Entry {
        name: name.to_string_lossy().into_owned(),
        model_id: None,
        seed_bytes: None,
        card: None,
        problem: None,
    };
    let found = model_file::load(path).and_then(|model| {
        entry.model_id = Some(model.id().to_string());
        entry.seed_bytes = Some(model.weight_bytes());
        card::find(path, &model)
    });
    match found {
        Ok(card) => entry.card = card,
        Err(error) => entry.problem = Some(error.message),
    }
    entry
}

fn text(report: &Report) -> Vec<String> {
    const CELL_MAX: usize = 24;
    let columns = [
        ("NAME", Align::Left),
        ("TASK", Align::Left),
        ("DATA", Align::Left),
        ("BYTES", Align::Right),
        ("RESULT", Align::Right),
        ("MODEL", Align::Left),
    ];
    let row = |entry: &Entry| {
        let of_card = |value: fn(&Card) -> &str| {
            let text = entry.card.as_ref().map_or("-", value);
            printable(text, CELL_MAX)
        };
        let id = entry.model_id.as_deref().unwrap_or("no model");
        vec![
            printable(&entry.name, CELL_MAX),
            of_card(|card| &card.task),
            of_card(|card| &card.data),
            entry
                .seed_bytes
                .map_or("-".to_owned(), |bytes| grouped(bytes as u64)),
            entry.card.as_ref().map_or("-".to_owned(), result),
            id.chars().take(12).collect(),
        ]
    };
    let mut text = lines(&columns, &report.models.iter().map(row).collect::<Vec<_>>());
    if report.models.is_empty() {
        text = vec![format!("No model in {}.", report.folder)];
    }
    let problems = report.models.iter().filter_map(|e| e.problem.as_ref());
    text.extend(problems.map(|problem| format!("problem: {problem}")));
    text
}

/// The result at the largest number of passes: bits per character of a text, else the
/// accuracy.
fn result(card: &Card) -> String {
    match card.results.iter().max_by_key(|row| row.passes) {
        None => "-".to_owned(),
        Some(row) if card.task == "text" => format!("{:.3} bits", row.label_bits),
        Some(row) => percent(row.accuracy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_folder() {
        assert_eq!(name("digits-1.2_b"), Ok("digits-1.2_b".to_owned()));
        for wrong in ["", ".", "..", "../x", "a/b", "a b", "ä", ".hidden"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        assert!(name(&"x".repeat(NAME_MAX + 1)).is_err());
    }
}
