//! The rules of sharing: which job's work goes to which device, what a job's answer
//! is, and that every accepted job gets exactly one.
//!
//! Owns jobs, sessions' shares, works on devices, deadlines. It never touches a
//! socket, a device, a thread or a clock: time comes in as a [`Duration`] since
//! the daemon started, answers go out as values. The [`Hub`](crate::hub::Hub)
//! calls it for sessions and device tasks; the simulations in its tests call it
//! with invented schedules.
//!
//! ```text
//! Session ── submit ──► Job ──► FairQueue ── pull ──► works on a device
//!    ▲                                                     │ hit, done, detach
//!    └───────────────── Answer ◄── Scheduler ◄─────────────┘
//! ```
//!
//! [`Duration`]: std::time::Duration

mod certain;
mod demand;
mod job;
mod limits;
mod queue;
mod recent;
mod scheduler;
mod status;

pub(crate) use limits::{
    CREDITS_MAX, Credits, DEVICES_MAX, Limits, Quota, SESSIONS_DEFAULT, SESSIONS_MAX, SharedMemory,
    Terms,
};
pub(crate) use queue::SessionId;
pub(crate) use recent::{BUCKET, HashMeter};
pub(crate) use scheduler::{Answer, DeviceKey, Scheduler};
pub(crate) use status::{CallError, JobError};

#[cfg(test)]
mod tests;
