//! A simulated Antminer S1 or S3, byte for byte at its USB endpoints.
//!
//! Owns a board whose controller behaves like one of three real firmware images and
//! whose chips really search, at fewer zero bits than silicon so that a CPU keeps up.
//! What it models, from which evidence, and what it does not: `docs/simulator.md`. Its
//! core is a pure state machine over virtual time; only [`SimTransport`] knows tokio.
//! It never talks to a daemon or a client: it is a [`Transport`](crate::transport::Transport)
//! like a USB interface is one. Opened through `DeviceSpec` as `sim:s1` or `sim:s3`.
//!
//! ```text
//!  SimTransport ── one attachment, tokio's clock
//!    SimBoard ──── outlives unplugging; Sweeper hashes beside it
//!      board ───── power, boot loader, room, script        (pure from here down)
//!        controller ── ring, timer, replies, sensors
//!          chain ───── frames in, nonces out
//! ```

mod assembler;
mod board;
mod book;
mod chain;
mod climate;
mod controller;
mod faults;
mod fifo;
mod image;
mod loader;
mod pace;
mod rng;
pub mod script;
mod start;
mod sweep;
mod sweeper;
mod transport;

pub use board::Presence;
pub use book::{BOOK_BYTES_MAX, BOOK_HEADERS_MAX, Book, SILICON_ZERO_BITS};
pub use controller::ChainTurns;
pub use image::Image;
pub use pace::{CATCH_UP, SLOWDOWN_WINDOW};
pub use script::Script;
pub use sweeper::Hashing;
pub use transport::{IN_PERIOD, OUT_TIMEOUT, SimBoard, SimSettings, SimTransport};
