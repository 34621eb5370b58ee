//! Ctrl-C, as two rules: the first asks, the second kills.
//!
//! Owns the signal handlers of the process. A command looks at the flag between
//! its steps. Commands that hold nothing do not use it: the system's default is
//! right for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{CliError, Exit};

/// The signals by which people and systems ask a command to end.
const ASKING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Whether somebody asked the command to end. The second request ends the
/// process at once.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over the signals that ask for an end.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn install() -> Result<Self, CliError> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in ASKING {
            // The order matters: the shutdown is armed by the flag, so the
            // signal that sets the flag does not trigger it.
            flag::register_conditional_shutdown(
                signal,
                Exit::Interrupted as i32,
                Arc::clone(&asked),
            )
            .and_then(|_| flag::register(signal, Arc::clone(&asked)))
            .map_err(|error| CliError::io("handle Ctrl-C", &error))?;
        }
        Ok(Self(asked))
    }

    /// Whether an end was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
