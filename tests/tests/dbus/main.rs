//! The daemon on a real bus: a `dbus-daemon` of the test's own, and `hasherd` as users
//! start it. polkit and logind are played by the test.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

mod access;
mod bus_loss;
mod device;
mod manager;
mod sleep;
mod support;
