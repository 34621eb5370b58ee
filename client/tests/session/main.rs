//! The client against a scripted daemon: real frames over a pipe in memory, and
//! under paused time, so that every wait is exact and none is real.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

mod blocking;
mod digest;
mod golden;
mod peer;
mod pressure;
mod recovery;
mod search;
mod subscription;
mod unreachable;
mod welcome;
