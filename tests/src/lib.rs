//! Helpers of the whole-system tests: where the programs are, and a daemon that
//! never outlives its test.

mod daemon;
mod program;

pub use daemon::Daemon;
pub use program::program;
