//! Client library of hasherd: searches and digests for any program.
//!
//! ```text
//!  your program                                   hasherd
//! ┌───────────────────────────────────────┐      ┌───────────────┐      ┌───────┐
//! │ Engine ──► RemoteEngine ─► blocking:: │      │ fair queue    │ USB  │ chips │
//! │    │                       Client     │      │ devices       │ ───► │ or a  │
//! │    │       async code ──►  Client ────┼──────┤ digests (CPU) │      │ simu- │
//! │    │                                  │ Unix │ status        │      │ lator │
//! │    └─────► LocalEngine (this CPU)     │socket│ events        │      └───────┘
//! │ digest, double_digest (this CPU)      │      └───────────────┘
//! └───────────────────────────────────────┘
//! ```
//!
//! There are two kinds of hashing, never confused. A **search** looks for nonces
//! of an 80-byte header whose double digest meets a target: the only thing that
//! chips can do. A **digest** is the SHA-256 of any message, always computed by a
//! CPU: here, by [`digest`] and [`double_digest`], which never touch the socket, or
//! in the daemon, by [`Client::digest`] and its kin. Every answer says who computed
//! it ([`ComputedBy`]), and every hit is hashed again on arrival.
//!
//! The library owns the connection: credits, request numbers, deadlines, reconnects
//! and repetitions ([`Retry`]). It never opens a device and never starts a daemon.
//! Each request ends exactly once, by its deadline at the latest.
//!
//! A program with very many messages opens a [`DigestRing`]: memory that it shares with the
//! daemon, if the daemon allows that.
//!
//! Without a daemon, on this CPU:
//!
//! ```
//! use hasher_client::{Engine, LocalEngine};
//! use hasher_work::{Header, NonceRange, SearchJob, SearchMode, Target};
//!
//! let job = SearchJob {
//!     header: Header([1; 80]),
//!     range: NonceRange::WHOLE,
//!     target: Target::from_zero_bits(12)?,
//!     mode: SearchMode::FirstFound(1),
//!     rolls: 0,
//! };
//! let engine: &dyn Engine = &LocalEngine::default();
//! let answer = engine.search_one(&job)?;
//! let hit = answer.result.hits[0];
//! assert_eq!(job.header.with_nonce(hit.nonce).double_digest(), hit.digest);
//! assert_eq!(answer.by[0].to_string(), "local");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Through the daemon, with many jobs in flight:
//!
//! ```no_run
//! use hasher_client::Client;
//! # use hasher_work::SearchJob;
//!
//! # async fn f(jobs: &[SearchJob]) -> Result<(), hasher_client::ClientError> {
//! let client = Client::connect().await?;
//! let mut ticket = client.submit(jobs, client.options()).await?;
//! while let Some((index, answer)) = ticket.next().await {
//!     match answer {
//!         Ok(answer) => println!("{index}: {} hits", answer.result.hits.len()),
//!         Err(error) => eprintln!("{index}: {error}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod blocking;
mod builder;
mod client;
mod connect;
mod desk;
mod engine;
mod error;
mod ledger;
mod link;
mod local;
mod ring;
mod stream;
mod subscription;
mod ticket;

pub use answer::{ComputedBy, ComputedKind, DigestAnswer, SearchAnswer, StreamAnswer};
pub use builder::{ClientBuilder, Retry, SearchOptions};
pub use client::{BATCH_JOBS_MAX, Client};
pub use connect::{Dial, Session};
pub use engine::{Engine, RemoteEngine};
pub use error::{ClientError, Why};
pub use hasher_wire::{
    DeviceKind, DeviceReport, DeviceState, DigestAlgorithm, EventBody, Features, Limits, Priority,
    SessionReport, Status, StatusClass, StatusReport, Topics, Version,
};
pub use hasher_work::{digest, double_digest};
pub use local::LocalEngine;
pub use ring::DigestRing;
pub use stream::DigestStream;
pub use subscription::Subscription;
pub use ticket::Ticket;
