//! Plugs simulated Bitmain hash boards into a Linux kernel's USB stack, so that
//! everything above it (udev, usbfs, drivers, `hasherd`) meets them as hardware.
//!
//! ```text
//!  control socket ── control ──► cable ──► board (simulated controller)
//!                                  │
//!                              transfers, descriptors, faults
//!                                port
//!                    ┌─────────────┴─────────────┐
//!               vhci, usbip                    gadget
//!     this kernel's virtual bus      a real host behind this
//!                                    machine's device controller
//! ```
//!
//! Never talks to real USB hardware. The virtual bus carries every transfer whole and
//! at no particular speed: it proves behaviour, never performance.

pub mod board;
pub mod cable;
pub mod control;
pub mod descriptors;
pub mod fault;
pub mod gadget;
pub mod port;
pub mod simulated;
pub mod transfers;
pub mod usbip;
pub mod vhci;
