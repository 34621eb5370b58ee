//! How fast Hasher's loops are beside their peers, all measured in one run.
//!
//! Prints a Markdown table. Candidates take turns, so that a busy machine slows all of
//! them; ratios are formed within a turn, and a floor is missed only when the ratio lies
//! below it by more than the run's own noise.

mod clock;
mod kernel;
mod machine;
mod model;
mod race;
mod range;
mod report;
#[cfg(feature = "socket")]
mod socket;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use machine::Machine;
use report::Report;

/// Measures Hasher beside its peers and prints a Markdown table.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_values_t = [Suite::Kernel])]
    suites: Vec<Suite>,
    /// Fewer turns, for a gate instead of a figure.
    #[arg(long)]
    quick: bool,
    /// Fail when a ratio misses its floor by more than the noise.
    #[arg(long)]
    check: bool,
    /// The `hasherd` to measure.
    #[cfg(feature = "socket")]
    #[arg(
        long,
        value_name = "PATH",
        default_value = "../../target/release/hasherd"
    )]
    daemon: std::path::PathBuf,
    /// Be a peer of hasherd on a socket, until standard input ends.
    #[cfg(feature = "socket")]
    #[arg(long, hide = true, num_args = 2, value_names = ["PEER", "SOCKET"])]
    serve: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Nonce scans and batch digests, against the sha2 crate and ring.
    Kernel,
    /// One digit by a digits model, 21 passes in direct mode.
    Model,
    /// One whole range of 2^32 nonces on all CPUs.
    Range,
    /// Digests through hasherd's socket, against a blocking loop, tonic and no socket.
    #[cfg(feature = "socket")]
    Socket,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "socket")]
    if let Some([peer, socket]) = arguments.serve.as_deref() {
        socket::serve(peer, socket.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let turns = if arguments.quick { 9 } else { 31 };
    let machine = Machine::look();
    println!("{machine}");
    let mut passed = true;
    for suite in &arguments.suites {
        match suite {
            Suite::Kernel => {
                let mut report = Report::new();
                kernel::scans(&machine, turns, &mut report);
                kernel::batches(&machine, turns, &mut report);
                println!("{report}");
                passed &= report.passed();
            }
            Suite::Model => {
                let mut report = Report::new();
                model::inference(turns, &mut report);
                println!("{report}");
                passed &= report.passed();
            }
            Suite::Range => println!("{}\n", range::sweep()),
            #[cfg(feature = "socket")]
            Suite::Socket => {
                let report = socket::measure(&arguments.daemon, turns)?;
                println!("{report}");
                passed &= report.passed();
            }
        }
    }
    if arguments.check && !passed {
        eprintln!("error: a ratio is below its floor by more than the noise of this run");
        eprintln!("  hint: run it again on an idle machine before looking for a cause");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
