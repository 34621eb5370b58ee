//! The terminal while the screen is shown, and its return to what it was.
//!
//! Owns raw mode and the alternate screen. They end when this value is dropped, before
//! the process stops, and when it panics.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::layout::{Position, Rect};
use signal_hook::consts::SIGTSTP;
use signal_hook::low_level::emulate_default_handler;

use super::model::Model;
use super::view;
use crate::error::CliError;

/// The terminal in our hands.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal; from here on a panic gives it back before it speaks.
    ///
    /// # Errors
    /// When it does not let itself be taken.
    pub fn open() -> Result<Self, CliError> {
        ratatui::try_init().map(Self).map_err(failed)
    }

    /// Shows the model.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, model: &Model) -> Result<(), CliError> {
        let drawn = self.0.draw(|frame| view::draw(model, frame));
        drawn.map(drop).map_err(failed)
    }

    /// Forgets what is shown, so that the next drawing shows everything.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn repaint(&mut self) -> Result<(), CliError> {
        // `clear` would ask the terminal where its cursor is, and the answer would go
        // to the thread that waits for keys.
        let size = self.0.size().map_err(failed)?;
        let all = Rect::from((Position::ORIGIN, size));
        self.0.resize(all).map_err(failed)
    }

    /// Gives the terminal back, stops the process as Ctrl-Z does, and takes the
    /// terminal again when it goes on.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn suspend(&mut self) -> Result<(), CliError> {
        ratatui::try_restore().map_err(failed)?;
        self.0.show_cursor().map_err(failed)?;
        emulate_default_handler(SIGTSTP).map_err(failed)?;
        enable_raw_mode().map_err(failed)?;
        execute!(io::stdout(), EnterAlternateScreen).map_err(failed)?;
        self.0.hide_cursor().map_err(failed)?;
        self.repaint()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be restored.
        _ = self.0.show_cursor();
        _ = ratatui::try_restore();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: io::Error) -> CliError {
    CliError::io("draw on the terminal", &error)
}
