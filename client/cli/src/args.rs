//! The command line as clap reads it.
//!
//! Owns the global options and the list of commands; each command's own options
//! stand in its file. It turns clap's complaints into the two lines that every
//! error of this program has.

use std::env;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::command::{
    Context, batch, bench, config, cost, demo, device, devices, digest, doctor, eval, export,
    generate, import, inspect, metrics, models, predict, reload, rules, search, sessions, status,
    top, train, verify, watch,
};
use crate::error::{CliError, Exit};
use crate::output::Output;

/// Where help lists the options that every command has.
const GLOBAL: &str = "For all commands";

/// Hasher: hash work from retired Bitcoin miners, and transformers whose weights
/// are 32-byte seeds.
///
/// Without a miner, begin with `hasher demo`: it trains a small transformer on
/// real handwritten digits and answers with hash work from a simulated Antminer.
///
/// What a miner can do: find nonces of 80-byte headers. What it cannot do:
/// multiply, or return the digest of a message of yours. Digests and the network
/// itself are computed by the CPU, and every answer says who computed it.
#[derive(Debug, Parser)]
#[command(
    name = "hasher",
    version,
    propagate_version = true,
    max_term_width = 80,
    after_long_help = "\
Exit codes:
  0  done        2  wrong usage    4  no device
  1  failed      3  no daemon      5  not permitted

Examples:
  hasher demo
  hasher status
  hasher train --data digits --out digits.hsh
  hasher predict --model digits.hsh --index 7"
)]
pub struct Cli {
    /// Socket of hasherd [default: the user's own daemon, then the system's]
    #[arg(
        long,
        global = true,
        env = "HASHER_SOCKET",
        value_name = "PATH",
        // Unlike the parser of paths, this one lets an empty variable pass.
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        hide_env_values = true,
        help_heading = GLOBAL
    )]
    socket: Option<PathBuf>,
    /// Print one JSON object on standard output instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// No progress and no notes on standard error
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(demo::DemoArgs),
    Status(status::StatusArgs),
    Devices(devices::DevicesArgs),
    Sessions(sessions::SessionsArgs),
    Top(top::TopArgs),
    Watch(watch::WatchArgs),
    Metrics(metrics::MetricsArgs),
    Device(device::DeviceArgs),
    Config(config::ConfigArgs),
    Reload(reload::ReloadArgs),
    Doctor(doctor::DoctorArgs),
    Search(search::SearchArgs),
    Digest(digest::DigestArgs),
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Generate(generate::GenerateArgs),
    Inspect(inspect::InspectArgs),
    Diff(inspect::DiffArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Rules(rules::RulesArgs),
    Models(models::ModelsArgs),
    Bench(bench::BenchArgs),
    Predict(predict::PredictArgs),
    Batch(batch::BatchArgs),
    Cost(cost::CostArgs),
    Verify(verify::VerifyArgs),
}

impl Command {
    /// Runs it.
    ///
    /// # Errors
    /// What the command says.
    pub fn run(&self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Demo(args) => demo::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Devices(args) => devices::run(args, context),
            Self::Sessions(args) => sessions::run(args, context),
            Self::Top(args) => top::run(args, context),
            Self::Watch(args) => watch::run(args, context),
            Self::Metrics(args) => metrics::run(args, context),
            Self::Device(args) => device::run(args, context),
            Self::Config(args) => config::run(args, context),
            Self::Reload(args) => reload::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Search(args) => search::run(args, context),
            Self::Digest(args) => digest::run(args, context),
            Self::Train(args) => train::run(args, context),
            Self::Eval(args) => eval::run(args, context),
            Self::Generate(args) => generate::run(args, context),
            Self::Inspect(args) => inspect::inspect(args, context),
            Self::Diff(args) => inspect::diff(args, context),
            Self::Import(args) => import::run(args, context),
            Self::Export(args) => export::run(args, context),
            Self::Rules(args) => rules::run(args, context),
            Self::Models(args) => models::run(args, context),
            Self::Bench(args) => bench::run(args, context),
            Self::Predict(args) => predict::run(args, context),
            Self::Batch(args) => batch::run(args, context),
            Self::Cost(args) => cost::run(args, context),
            Self::Verify(args) => verify::run(args, context),
        }
    }
}

impl Cli {
    /// What every command needs.
    pub fn context(&self) -> Context {
        Context {
            // An empty variable counts as not set.
            socket: self
                .socket
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            output: Output::new(self.json, self.quiet),
        }
    }
}

/// Reads the process's arguments; help and complaints are printed here.
///
/// # Errors
/// The exit code when there is nothing to run.
pub fn parse() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|complaint| match complaint.kind() {
        // A reader that has gone does not matter here either.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = complaint.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = complaint.print();
            Exit::Usage
        }
        _ => {
            let arguments = || env::args_os().map(|arg| arg.to_string_lossy().into_owned());
            let json = arguments().any(|arg| arg == "--json");
            Output::new(json, true).failure(&usage(&complaint, arguments()));
            Exit::Usage
        }
    })
}

/// Clap's complaint as one line, and where to read more as its hint.
fn usage(complaint: &clap::Error, arguments: impl Iterator<Item = String>) -> CliError {
    let text = complaint.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    let suggestion = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|kind| match complaint.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        // Clap's nearest is the last.
        ContextValue::Strings(texts) => texts.last().cloned(),
        _ => None,
    });
    let command = command_in(arguments);
    CliError::usage(paragraph).hint(match suggestion {
        Some(near) => format!("did you mean `{near}`? `{command} --help` lists everything"),
        None => format!("see `{command} --help`"),
    })
}

/// The command that the arguments begin to name, with its own commands: `hasher device
/// pause`.
fn command_in(arguments: impl Iterator<Item = String>) -> String {
    let mut known = Cli::command();
    let mut name = known.get_name().to_owned();
    for argument in arguments {
        if let Some(command) = known.find_subcommand(&argument) {
            name = format!("{name} {argument}");
            known = command.clone();
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(line: &str) -> CliError {
        let words = || line.split(' ').map(str::to_owned);
        usage(&Cli::try_parse_from(words()).unwrap_err(), words())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_complaint_is_one_line_with_a_hint() {
        let error = complaint("hasher serch");
        assert!(!error.message.contains('\n'), "{error}");
        assert!(error.hint.unwrap().contains("search"));
        let error = complaint("hasher --json verify");
        assert!(error.message.contains("required"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("see `hasher verify --help`"));
        let hint = complaint("hasher device --bus session pause").hint.unwrap();
        assert_eq!(hint, "see `hasher device pause --help`");
    }
}
