//! How fast Hasher's loops are beside their peers, all measured in one run.
//!
//! Prints a Markdown table. Candidates take turns, so that a busy machine slows all of
//! them; ratios are formed within a turn, and a floor is missed only when the ratio lies
//! below it by more than the run's own noise. A gate asks three such runs.

mod clock;
#[cfg(feature = "daemon")]
mod feeding;
mod kernel;
mod machine;
mod model;
mod race;
mod range;
mod report;
#[cfg(feature = "daemon")]
mod socket;
mod train;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use machine::Machine;
use report::Report;

/// How often a suite may miss a floor before that counts: a neighbour on the same
/// processor can hold one kind of instruction back for a whole run.
const ATTEMPTS: usize = 3;
/// Time for a neighbour to become quiet again.
const PAUSE: Duration = Duration::from_secs(30);

/// Measures Hasher beside its peers and prints a Markdown table.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_values_t = [Suite::Kernel])]
    suites: Vec<Suite>,
    /// Fewer turns, for a gate instead of a figure.
    #[arg(long)]
    quick: bool,
    /// Fail when a ratio misses its floor by more than the noise, three times over.
    #[arg(long)]
    check: bool,
    /// The `hasherd` to measure.
    #[cfg(feature = "daemon")]
    #[arg(
        long,
        value_name = "PATH",
        default_value = "../../target/release/hasherd"
    )]
    daemon: std::path::PathBuf,
    /// Be a peer of hasherd on a socket, until standard input ends.
    #[cfg(feature = "daemon")]
    #[arg(long, hide = true, num_args = 2, value_names = ["PEER", "SOCKET"])]
    serve: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Nonce scans and batch digests, against the sha2 crate and ring.
    Kernel,
    /// One digit by a digits model, 21 passes in direct mode.
    Model,
    /// Products of matrices against the crate matrixmultiply, and steps of training.
    Train,
    /// One whole range of 2^32 nonces on all CPUs.
    Range,
    /// Digests through hasherd's socket, against a blocking loop, tonic and no socket.
    #[cfg(feature = "daemon")]
    Socket,
    /// A simulated S3 in real time behind a daemon that is held up each second, a minute.
    #[cfg(feature = "daemon")]
    Feeding,
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
    #[cfg(feature = "daemon")]
    if let Some([peer, socket]) = arguments.serve.as_deref() {
        socket::serve(peer, socket.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let turns = if arguments.quick { 9 } else { 31 };
    let machine = Machine::look();
    println!("{machine}");
    let mut passed = true;
    for &suite in &arguments.suites {
        let Some(report) = measure(arguments, suite, &machine, turns)? else {
            continue;
        };
        let mut missed = report.missed();
        for _ in 1..ATTEMPTS {
            if !arguments.check || missed.is_empty() {
                break;
            }
            let pause = PAUSE.as_secs();
            println!(
                "Missed, so measured again in {pause} s: {}.\n",
                missed.join("; ")
            );
            thread::sleep(PAUSE);
            if let Some(report) = measure(arguments, suite, &machine, turns)? {
                let again = report.missed();
                missed.retain(|row| again.contains(row));
            }
        }
        for row in &missed {
            passed = false;
            if arguments.check {
                eprintln!("error: {row}: missed by more than the noise, {ATTEMPTS} times");
            }
        }
    }
    if arguments.check && !passed {
        eprintln!("  hint: run it again on an idle machine before looking for a cause");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a suite shows; its table, where it has bounds to judge.
fn measure(
    arguments: &Arguments,
    suite: Suite,
    machine: &Machine,
    turns: usize,
) -> anyhow::Result<Option<Report>> {
    let mut report = Report::new();
    match suite {
        Suite::Kernel => {
            kernel::scans(machine, turns, &mut report);
            kernel::batches(machine, turns, &mut report);
        }
        Suite::Model => model::inference(turns, &mut report),
        Suite::Train => {
            train::products(turns, &mut report);
            println!("{report}");
            println!("{}", train::steps(turns));
            return Ok(Some(report));
        }
        Suite::Range => {
            println!("{}\n", range::sweep());
            return Ok(None);
        }
        #[cfg(feature = "daemon")]
        Suite::Feeding => {
            println!("{}", feeding::feed()?);
            return Ok(None);
        }
        #[cfg(feature = "daemon")]
        Suite::Socket => report = socket::measure(&arguments.daemon, turns)?,
    }
    #[cfg(not(feature = "daemon"))]
    let _ = arguments;
    println!("{report}");
    Ok(Some(report))
}
