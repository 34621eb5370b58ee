//! The values that Bitcoin-style hash work is made of.
//!
//! ```text
//! Header (80 bytes) = [ first 64 bytes ──► Midstate ] [ Tail: 64..76 ] [ Nonce: 76..80 ]
//!                                              └────── Work ──────┘         found by a search
//! ```
//!
//! This crate owns headers, midstates, tails, nonces, digests and targets, and
//! the byte orders in which they travel. It never does I/O, never reads a clock
//! and never allocates for a hash. Everything above it (the driver, the daemon,
//! the client, the model) shares these types, so that a nonce in chip order can
//! not be mistaken for one in header order.
//!
//! ```
//! use hasher_work::{Header, Target};
//!
//! // Bitcoin's first block: version 1, no predecessor.
//! let header: Header = "0100000000000000000000000000000000000000000000000000000000000000\
//!     000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
//!     4b1e5e4a29ab5f49ffff001d1dac2b7c".parse()?;
//! let digest = header.work().digest(header.nonce());
//! assert_eq!(digest.leading_zero_bits(), 43);
//! assert!(Target::from_zero_bits(32)?.is_met_by(&digest));
//! # Ok::<(), hasher_work::WorkError>(())
//! ```

mod digest;
mod error;
mod header;
mod hex;
mod nonce;
mod search;
mod target;

pub use digest::{Digest, digest, double_digest};
pub use error::WorkError;
pub use header::{Header, INITIAL_STATE, Midstate, Tail, Work};
pub use hex::{from_hex, to_hex};
pub use nonce::{Nonce, NonceRange};
pub use search::{Hit, SearchEnd, SearchJob, SearchMode, SearchResult};
pub use target::Target;
