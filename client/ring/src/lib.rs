//! Shared memory between hasherd and one client, for bulk digests.
//!
//! ```text
//!  client                      memory of 244 KiB                        daemon
//! ┌──────────┐  submit  ┌──────────────────────────────┐  pull    ┌──────────────┐
//! │ Client-  │ ───────► │ counters │ slot 0 … slot 15   │ ───────► │ DaemonRing   │
//! │ Ring     │ ◄─────── │          │ messages, digests  │ ◄─────── │ private copy │
//! └──────────┘  collect └──────────────────────────────┘ complete └──────────────┘
//! ```
//!
//! This crate owns the memory: who makes, seals and maps it, where everything lies in it,
//! and how its descriptor goes over a socket. The layout stands in
//! `docs/socket-protocol.md`, which is the authority. It computes no digest, waits for
//! nobody and sends no frame; the daemon and the client library do.
//!
//! The daemon makes the memory and believes nothing that lies in it: it copies a slot once
//! and checks and uses that copy, so a client that writes meanwhile spoils its own digests
//! and nothing else.
//!
//! ```
//! use hasher_ring::{ClientRing, DaemonRing};
//! use hasher_wire::DigestAlgorithm;
//!
//! let (mut daemon, descriptor) = DaemonRing::new()?;
//! let mut client = ClientRing::map(&descriptor)?;
//! assert_eq!(client.submit(DigestAlgorithm::Sha256, &["a", "bb"]), 2);
//!
//! let order = daemon.pull()?.expect("a slot was handed in");
//! assert!(order.messages().eq([&b"a"[..], b"bb"]));
//! let digests = order.messages().map(hasher_work::digest).collect::<Vec<_>>();
//! daemon.complete(&digests);
//! assert_eq!(client.collect()?, Some(digests));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod daemon;
mod error;
mod layout;
mod memory;
mod pass;

pub use client::ClientRing;
pub use daemon::{DaemonRing, Order};
pub use error::RingError;
pub use layout::{MESSAGE_BYTES_MAX, MESSAGES_MAX, RING_BYTES, SLOTS};
pub use pass::{receive, send};
