//! The CPU's hash engine: scanning nonces and digesting batches.
//!
//! It owns the loops that hash, and is the only place of the project that names
//! vector instructions. It never starts threads, never does I/O and keeps no state
//! but which [`Backend`] was chosen. The driver's CPU device, the simulator's chips,
//! the daemon's digest service and the model's oracle all come here, so that a
//! faster loop helps each of them.
//!
//! ```
//! use hasher_kernel::{ScanOrder, scan};
//! use hasher_work::{Header, Nonce, NonceRange, Target};
//!
//! let work = Header([7; 80]).work();
//! let target = Target::from_zero_bits(8)?;
//! let range = NonceRange::new(Nonce(0), Nonce(4095))?;
//! let mut hits = Vec::new();
//! scan(&work, range.first().0, range.count(), ScanOrder::Header, &target, |nonce, digest| {
//!     hits.push((nonce, digest));
//!     true
//! });
//! assert!(hits.iter().all(|(nonce, digest)| work.digest(*nonce) == *digest));
//! # Ok::<(), hasher_work::WorkError>(())
//! ```
//!
//! # Design
//!
//! ```text
//!  scan ──► Plan ──► groups of nonces ──► candidates ──► each hashed again ──► found
//!             once per call   avx512: 32, sha-ni: 4, avx2: 8, portable: 1
//!  digest_batch ──► windows of 256 ──► by length ──► groups of messages ──► digests
//! ```
//!
//! - **Constant work is done once.** Of a header's second block only one word, the
//!   nonce, changes: rounds 0 to 2 and most of the message schedule's first words
//!   are computed before the first nonce, and padding is added to the round
//!   constants. The second hash stops where its last word, the one that targets
//!   look at first, is known: three rounds early.
//! - **A scan only sorts out candidates.** Whatever passes the target's top 32 bits is
//!   hashed again by the portable code. A fault of a vector loop could lose a hit,
//!   which the tests look for; it can never report a false one.
//! - **Two streams of sixteen lanes** (AVX-512): one stream would wait for its own
//!   results on a unit of full width. Sixteen rounds are one function which both
//!   hashes and the batch share, so that the loop stays within the instruction cache.
//! - **Four streams** (SHA-NI): the instruction for two rounds can begin anew before
//!   it ends.
//! - **Messages of equally many blocks meet**, since lanes take equally long; a lane
//!   whose message has ended keeps its state. Too few messages for the lanes go
//!   through SHA-NI.
//! - **Memory of another processor is asked for ahead** ([`Ahead`]): what a batch reads or
//!   writes next can come while it hashes.
//! - aarch64 has no loops of its own: there the portable backend's `sha2` crate uses
//!   the CPU's SHA-256 instructions, one message at a time.
//!
//! The model's integer products ([`Kernel::multiply`]) and training's products of dense
//! matrices ([`Gemm`]) live here too, since they need vector instructions as well, and so
//! does the way by which their other loops get wide vectors ([`Loop`]); they know nothing of
//! hashes.
//!
//! Every `unsafe` block states its proof; nearly all rest on one: a value of a type
//! like `Avx512` exists only where the CPU has the instructions.

mod ahead;
mod backend;
mod batch;
mod gemm;
mod kernel;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "an empty assembler line as a fence")]
mod lanes;
mod portable;
mod product;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only vector loops need all of it")
)]
mod scan;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only vector loops need all of it")
)]
mod sha256;
mod stream;
mod wide;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions")]
mod x86;

use hasher_work::{Digest, Nonce, Target, Work};

pub use ahead::Ahead;
pub use backend::{BACKEND_VARIABLE, Backend, BackendError};
pub use gemm::{Gemm, Operand, Packed};
pub use kernel::Kernel;
pub use product::{BLOCK_OUTPUTS, Block, BlockTile, CODE_MAX, Finish, TILE_INPUTS};
pub use scan::ScanOrder;
pub use stream::DigestStream;
pub use wide::{Loop, run};

/// Tries `count` numbers from `first` upwards (wrapping at 2³²) as nonces of
/// `work`, and calls `found` for each whose double digest meets `target`.
///
/// `found` returns whether to go on. The result is how many nonces were tried.
pub fn scan(
    work: &Work,
    first: u32,
    count: u64,
    order: ScanOrder,
    target: &Target,
    found: impl FnMut(Nonce, Digest) -> bool,
) -> u64 {
    Kernel::chosen().scan(work, first, count, order, target, found)
}

/// SHA-256 of each message, in order.
pub fn digest_batch<M: AsRef<[u8]>>(messages: &[M]) -> Vec<Digest> {
    Kernel::chosen().digest_batch(messages)
}

/// Double SHA-256 of each message, in order.
pub fn double_digest_batch<M: AsRef<[u8]>>(messages: &[M]) -> Vec<Digest> {
    Kernel::chosen().double_digest_batch(messages)
}

#[cfg(test)]
mod tests;
