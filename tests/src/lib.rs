//! Helpers of the whole-system tests: where the programs are, a daemon that never
//! outlives its test, and searches for it.

mod bus;
mod daemon;
mod program;
mod search;

pub use bus::{Bus, Policy, is_installed, shipped};
pub use daemon::Daemon;
pub use program::program;
pub use search::{GENESIS, assert_solved, endless, job, jobs};
