//! Ctrl-C, as two rules: the first asks, the second kills.
//!
//! Owns the signal handlers of the process. A command either looks at the flag
//! between steps ([`Interrupt`]) or hands over what must be tidied before the
//! process ends ([`end_on_interrupt`]). Commands that hold nothing use neither:
//! the system's default is right for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

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

    /// Goes on only if no end was asked for; else the tidying thread of
    /// [`end_on_interrupt`] ends the process.
    pub fn leave_to_tidy(&self) {
        while self.is_asked() {
            std::thread::park();
        }
    }

    /// Whether an end was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// On the first request runs `tidy` on a thread of its own and ends the process;
/// a second request does not wait for `tidy`.
///
/// What `tidy` takes away makes other threads fail; they leave the last word to
/// it by [`Interrupt::leave_to_tidy`].
///
/// # Errors
/// When the system refuses a handler or a thread.
pub fn end_on_interrupt(tidy: impl FnOnce() + Send + 'static) -> Result<Interrupt, CliError> {
    let fail = |error: std::io::Error| CliError::io("handle Ctrl-C", &error);
    let interrupt = Interrupt::install()?;
    let mut signals = Signals::new(ASKING).map_err(fail)?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                tidy();
                std::process::exit(Exit::Interrupted as i32);
            }
        })
        .map_err(fail)?;
    Ok(interrupt)
}
