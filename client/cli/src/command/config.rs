//! `hasher config`: the settings of the running daemon.

use clap::{Args, Subcommand};
use hasher_wire::{ConfigurationReport, SettingReport};
use serde::Serialize;

use super::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::table::{Align, lines};

/// Show the daemon's settings
///
/// To check a file before the daemon reads it, use `hasherd --check-config`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher config show
  hasher --json config show | jq '.settings[] | select(.origin != \"default\")'")]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting in effect and where it comes from
    ///
    /// ORIGIN is `default`, the line of the configuration file, or `command line`.
    #[command(after_long_help = "\
Examples:
  hasher config show
  hasher --json config show | jq '.settings[] | select(.origin != \"default\")'")]
    Show,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    #[serde(flatten)]
    configuration: &'a ConfigurationReport,
}

/// Asks the daemon and prints its settings.
///
/// # Errors
/// When no daemon answers, or one that has no such document.
pub fn run(args: &ConfigArgs, context: &Context) -> Result<Exit, CliError> {
    let ConfigCommand::Show = args.command;
    let client = daemon::connect(context.socket.as_deref(), None)?;
    let document = client.document(ConfigurationReport::TOPIC, "")?;
    let configuration: ConfigurationReport = serde_json::from_str(&document)
        .map_err(|error| CliError::failed(format!("cannot read the daemon's answer: {error}")))?;
    context.output.report(&Report {
        schema: "hasher.configuration/1",
        configuration: &configuration,
    })?;
    for line in text(&configuration) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn text(configuration: &ConfigurationReport) -> Vec<String> {
    let mut text = vec![match configuration.file.as_str() {
        "" => "No configuration file was read.".to_owned(),
        file => format!("Configuration file: {file}"),
    }];
    text.extend(table(&configuration.settings));
    text
}

/// A value that would push all origins out of sight has a line of its own.
fn table(settings: &[SettingReport]) -> Vec<String> {
    const VALUE_COLUMNS: usize = 32;
    let columns = [
        ("KEY", Align::Left),
        ("VALUE", Align::Left),
        ("ORIGIN", Align::Left),
    ];
    let is_long = |setting: &SettingReport| setting.value.chars().count() > VALUE_COLUMNS;
    let rows: Vec<Vec<String>> = settings
        .iter()
        .map(|setting| {
            let value = match is_long(setting) {
                true => String::new(),
                false => setting.value.clone(),
            };
            vec![setting.key.clone(), value, setting.origin.clone()]
        })
        .collect();
    let mut lines = lines(&columns, &rows).into_iter();
    let mut text: Vec<String> = lines.next().into_iter().collect();
    for (setting, line) in settings.iter().zip(lines) {
        text.push(line);
        if is_long(setting) {
            text.push(format!("  {}", setting.value));
        }
    }
    text
}
