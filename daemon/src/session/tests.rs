//! Whole sessions over in-memory streams and, but for recorded clients, paused time.

mod protocol;
mod recorded;
mod ring;
mod sharing;
mod simulated;
mod support;
