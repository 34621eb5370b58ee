//! The commands, one file each: options, the work, and how the answer reads.

pub mod batch;
pub mod bench;
pub mod config;
pub mod cost;
pub mod demo;
pub mod device;
pub mod devices;
pub mod digest;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod generate;
pub mod import;
pub mod inspect;
pub mod metrics;
pub mod models;
pub mod predict;
pub mod reload;
pub mod rules;
pub mod search;
pub mod sessions;
pub mod status;
pub mod top;
pub mod train;
pub mod verify;
pub mod watch;

use std::path::PathBuf;

use crate::output::Output;

/// What every command gets besides its own options.
#[derive(Debug)]
pub struct Context {
    /// The daemon's socket, when the user names one.
    pub socket: Option<PathBuf>,
    /// Where words go.
    pub output: Output,
}
