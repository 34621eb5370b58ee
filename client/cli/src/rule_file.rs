//! Rule files: those that ship, by name, and others by path; and what rules may ask of
//! an input.
//!
//! Owns the bridge between a model's answer and `hasher-rules`. `rules` and `predict`
//! use it; what a rule means is that crate's.

use std::collections::BTreeMap;
use std::path::Path;

use hasher_data::{Column, Recipe};
use hasher_rules::RuleSet;

use crate::error::CliError;
use crate::files;

/// The rules that ship with Hasher, by the name of their data.
pub const DIGITS: &str = "digits";
const DIGITS_RULES: &str = include_str!("../rules/digits.toml");

/// Reads and checks the rules that ship under this name, or a rule file.
///
/// # Errors
/// A file that cannot be read, or rules that contradict one another.
pub fn load(source: &Path) -> Result<RuleSet, CliError> {
    if source.as_os_str() == DIGITS {
        return parse(DIGITS_RULES, source);
    }
    let hint = "name a rule file, or `digits` for the rules that ship";
    let bytes = files::read(source, "rule file", hint)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(source, "it is not text (UTF-8)"))?;
    parse(text, source)
}

fn parse(text: &str, source: &Path) -> Result<RuleSet, CliError> {
    RuleSet::parse(text).map_err(|error| wrong(source, &error.to_string()))
}

fn wrong(source: &Path, reason: &str) -> CliError {
    CliError::failed(format!(
        "cannot use rule file {}: {reason}",
        source.display()
    ))
    .hint("see `hasher rules --help` and docs/rules.md for how rules are written")
}

/// Named values of an input, from the codes that the model sees.
pub fn inputs(recipe: &Recipe, codes: &[u8]) -> BTreeMap<String, f64> {
    if let Recipe::Table { columns, .. } = recipe {
        let value = |(column, code): (&Column, &u8)| {
            let share = f64::from(*code) / 255.0;
            (
                column.name.clone(),
                column.low + share * (column.high - column.low),
            )
        };
        return columns.iter().zip(codes).map(value).collect();
    }
    let sum: f64 = codes.iter().map(|code| f64::from(*code)).sum();
    [("mean".to_owned(), sum / codes.len().max(1) as f64)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_that_ship_do_not_contradict_one_another() {
        let rules = load(Path::new(DIGITS)).unwrap();
        assert_eq!(rules.classes(), Recipe::Digits.classes());
        assert!(!rules.rules().is_empty());
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_the_remedy() {
        let error = load(Path::new("/nowhere/rules.toml")).unwrap_err();
        assert!(error.message.contains("/nowhere/rules.toml"), "{error}");
        assert!(error.hint.unwrap().contains("digits"));
    }

    #[test]
    fn the_mean_of_an_image_is_over_all_codes() {
        let inputs = inputs(&Recipe::Digits, &[0, 16, 8, 8]);
        assert_eq!(inputs["mean"], 8.0);
    }
}
