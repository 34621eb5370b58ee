//! How fast the daemon's CPU device hashes, measured by asking it.

use std::time::{Duration, Instant};

use hasher_client::blocking;
use hasher_work::{Header, Nonce, NonceRange, SearchJob, SearchMode, Target};

use crate::error::CliError;

/// Nonces of the first measurement; a slow CPU needs a few tenths of a second.
const FIRST_NONCES: u64 = 1 << 20;
/// A measurement this long is good to some per cent.
const ENOUGH: Duration = Duration::from_millis(700);

/// Double hashes a second of a search that goes through every nonce.
///
/// # Errors
/// When the daemon has gone.
pub fn measure(client: &blocking::Client) -> Result<f64, CliError> {
    let mut nonces = FIRST_NONCES;
    loop {
        let begin = Instant::now();
        client.search(hopeless(nonces))?;
        let elapsed = begin.elapsed();
        if elapsed >= ENOUGH || nonces >= NonceRange::WHOLE.count() {
            return Ok(nonces as f64 / elapsed.as_secs_f64());
        }
        nonces = (nonces * 4).min(NonceRange::WHOLE.count());
    }
}

/// A search that finds nothing: no digest of 256 zero bits is known.
fn hopeless(nonces: u64) -> SearchJob {
    // nonces is 1 to 2³², so the last one fits.
    let last = Nonce((nonces - 1) as u32);
    SearchJob {
        header: Header([0; 80]),
        range: NonceRange::new(Nonce(0), last).unwrap_or(NonceRange::WHOLE),
        target: Target::from_le_bytes([0; 32]),
        mode: SearchMode::Exhaust,
        rolls: 0,
    }
}
