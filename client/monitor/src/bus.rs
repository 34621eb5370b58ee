//! The daemon on D-Bus: finding it, following it, asking it.
//!
//! Owns every use of D-Bus by the app. It knows no widget; the window is told that
//! something changed and then looks at what is known.

mod daemon;
mod name_watch;
mod variant;

pub use daemon::Daemon;
