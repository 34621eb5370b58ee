//! `hasher`, the command line of Hasher.
//!
//! ```text
//! args ──► command::{demo, status, search, digest, train, eval, predict, verify}
//!               │            │               │
//!               ▼            ▼               ▼
//!        private_daemon    daemon (socket)  model and training (this CPU)
//!               └──────────► output: text for people, or one JSON object
//! ```
//!
//! Owns what people type and read. It never talks to a device and never links the
//! daemon; `demo` starts `hasherd` as a program of its own.

mod anchors;
mod args;
mod command;
mod computed_by;
mod daemon;
mod data;
mod demands;
mod error;
mod evaluation;
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
mod style;
mod table;
mod threads;
mod training;

use std::process::ExitCode;

use error::Exit;

fn main() -> ExitCode {
    let exit = match args::parse() {
        Ok(cli) => run(&cli),
        Err(exit) => exit,
    };
    ExitCode::from(exit as u8)
}

fn run(cli: &args::Cli) -> Exit {
    let context = cli.context();
    match cli.command.run(&context) {
        Ok(exit) => exit,
        Err(error) => {
            if error.exit != Exit::Done {
                context.output.failure(&error);
            }
            error.exit
        }
    }
}
