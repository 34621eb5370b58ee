//! Searches through the daemon, or on this CPU when there is none, and says which.
//!
//! ```text
//! cargo run -p hasher-client --example search -- [ZERO_BITS]
//! ```

use std::process::ExitCode;

use hasher_client::{ClientError, Engine, LocalEngine, RemoteEngine, blocking};
use hasher_work::{Header, NonceRange, SearchJob, SearchMode, Target};

/// Headers that differ; a job of a real program would come from its data.
const JOBS: u8 = 8;
/// What a laptop finds at once.
const ZERO_BITS: u32 = 14;
/// A device may miss a nonce, so each job offers some more time fields.
const ROLLS: u16 = 15;

fn main() -> ExitCode {
    let zero_bits = match std::env::args().nth(1).map(|text| text.parse()) {
        None => ZERO_BITS,
        Some(Ok(bits)) => bits,
        Some(Err(error)) => {
            eprintln!("error: zero bits: {error}");
            return ExitCode::from(2);
        }
    };
    let engine: Box<dyn Engine> = match blocking::Client::connect() {
        Ok(client) => Box::new(RemoteEngine::new(client)),
        Err(error) => {
            report(&error);
            eprintln!("searching on this CPU instead");
            Box::new(LocalEngine::default())
        }
    };
    match search(engine.as_ref(), zero_bits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn search(engine: &dyn Engine, zero_bits: u32) -> Result<(), ClientError> {
    let target = Target::from_zero_bits(zero_bits)?;
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| SearchJob {
            header: Header([number; 80]),
            range: NonceRange::WHOLE,
            target,
            mode: SearchMode::FirstFound(1),
            rolls: ROLLS,
        })
        .collect();
    for (number, answer) in engine.search(&jobs)?.iter().enumerate() {
        let by: Vec<_> = answer.by.iter().map(ToString::to_string).collect();
        let by = by.join(", ");
        match answer.result.hits.first() {
            Some(hit) => println!(
                "{number}: nonce {} has {} zero bits, by {by}",
                hit.nonce,
                hit.digest.leading_zero_bits()
            ),
            None => println!("{number}: no nonce ({:?}), by {by}", answer.result.end),
        }
    }
    Ok(())
}

fn report(error: &ClientError) {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("  hint: {hint}");
    }
}
