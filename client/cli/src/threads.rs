//! How many threads a command may use.

use std::num::NonZero;
use std::thread;

/// Most threads that can be asked for; more than any machine this runs on has.
const THREADS_MAX: usize = 1024;

/// Reads the value of `--threads`.
pub fn parse(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads) if (1..=THREADS_MAX).contains(&threads) => Ok(threads),
        _ => Err(format!("write a number of threads from 1 to {THREADS_MAX}")),
    }
}

/// The number asked for, or one for each processor.
pub fn or_all(threads: Option<usize>) -> usize {
    threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get))
}
