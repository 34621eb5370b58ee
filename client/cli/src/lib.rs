//! `hasher`, the command line of Hasher.
//!
//! ```text
//! args ──► command: one file each
//!    ┌────────────┬─────────┴──────┬──────────────┬─────────────┐
//!    ▼            ▼                ▼              ▼             ▼
//! private_daemon  daemon: asks    feed: listens  control:      model, training:
//! (demo)          (socket)        (socket)       acts (D-Bus)  this CPU
//!    └────────────┴─────────┬──────┴──────────────┴─────────────┘
//!                           ▼
//!        output: text for people, or JSON for programs
//! ```
//!
//! Owns what people type and read. It never talks to a device and never links the
//! daemon; `demo` starts `hasherd` as a program of its own.
//!
//! A library only so that man pages and completions can be made from [`command()`];
//! the program is [`main()`].

mod anchors;
mod args;
mod card;
mod chart;
mod command;
mod computed_by;
mod control;
mod daemon;
mod data;
mod demands;
mod device_text;
mod error;
mod evaluation;
mod examples;
mod feed;
mod files;
mod inference;
mod interrupt;
mod model_file;
mod output;
mod parse;
mod picture;
mod plot;
mod private_daemon;
mod progress;
mod receipt_file;
mod rule_file;
mod style;
mod table;
mod threads;
mod training;

use std::process::ExitCode;

use error::{CliError, Exit};
use hasher_kernel::{BACKEND_VARIABLE, Backend};

/// The program: reads the process's arguments, does it, says how it went.
pub fn main() -> ExitCode {
    let exit = match args::parse() {
        Ok(cli) => run(&cli),
        Err(exit) => exit,
    };
    ExitCode::from(exit as u8)
}

/// The whole command line, as help, man pages and completions describe it.
pub fn command() -> clap::Command {
    <args::Cli as clap::CommandFactory>::command()
}

fn run(cli: &args::Cli) -> Exit {
    let context = cli.context();
    let done = match Backend::asked_for() {
        Ok(_) => cli.command.run(&context),
        Err(error) => Err(CliError::new(Exit::Usage, error.to_string()).hint(format!(
            "unset {BACKEND_VARIABLE} for the fastest this CPU has"
        ))),
    };
    match done {
        Ok(exit) => exit,
        Err(error) => {
            if error.exit != Exit::Done {
                context.output.failure(&error);
            }
            error.exit
        }
    }
}
