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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Nonce scans and batch digests, against the sha2 crate and ring.
    Kernel,
    /// One digit by a digits model, 21 passes in direct mode.
    Model,
    /// One whole range of 2^32 nonces on all CPUs.
    Range,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let turns = if arguments.quick { 9 } else { 31 };
    let machine = Machine::look();
    println!("{machine}");
    let mut passed = true;
    for suite in arguments.suites {
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
        }
    }
    if arguments.check && !passed {
        eprintln!("error: a ratio is below its floor by more than the noise of this run");
        eprintln!("  hint: run it again on an idle machine before looking for a cause");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
