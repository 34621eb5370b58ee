//! `hasher reload`: the daemon reads its configuration again.

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::control::{BusArgs, Control};
use crate::error::{CliError, Exit};

/// Have the daemon read its configuration again
///
/// A file with a mistake is refused with its line, and the old settings stay. The
/// daemon asks polkit whether you may; root always may.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sudo hasher reload
  hasher reload --bus session")]
pub struct ReloadArgs {
    #[command(flatten)]
    bus: BusArgs,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    reloaded: bool,
}

/// Asks the daemon over D-Bus.
///
/// # Errors
/// As [`Control::reload`].
pub fn run(args: &ReloadArgs, context: &Context) -> Result<Exit, CliError> {
    Control::connect(args.bus.bus)?.reload()?;
    context.output.report(&Report {
        schema: "hasher.reload/1",
        reloaded: true,
    })?;
    context
        .output
        .line("The daemon has read its configuration again; see `hasher config show`.")?;
    Ok(Exit::Done)
}
