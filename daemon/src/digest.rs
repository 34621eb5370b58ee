//! The CPU digest service of the socket.
//!
//! Sessions compute batches and small chunks of a stream on the I/O thread, and larger
//! chunks, which no vector helps, on a helper thread. A session has one such computation
//! at a time and reads no further frame meanwhile, which bounds memory and shares the CPU
//! among sessions. This module never touches a socket.

use hasher_kernel::{Ahead, DigestStream, Kernel};
use hasher_wire::{ComputedBy, DeviceKind, DigestAlgorithm};
use hasher_work::Digest;

/// Bytes of one message that are digested on the I/O thread: well below the time of a
/// task switch to another thread and back plus its cost for others (inferred, not
/// measured).
const INLINE_BYTES: usize = 16 * 1024;

/// Who computes digests.
pub(crate) fn computed_by() -> ComputedBy {
    ComputedBy {
        kind: DeviceKind::Cpu,
        device: "cpu".into(),
    }
}

/// The digests of messages, in order.
pub(crate) fn digests<M: AsRef<[u8]>>(algorithm: DigestAlgorithm, messages: &[M]) -> Vec<Digest> {
    let mut digests = vec![Digest([0; 32]); messages.len()];
    let messages = messages.iter().map(AsRef::as_ref);
    digest_into(algorithm, messages, &mut digests, Ahead::NOTHING);
    digests
}

/// The digests of as many messages, in order into `digests`, while the memory `ahead` is
/// asked for.
pub(crate) fn digest_into<'a>(
    algorithm: DigestAlgorithm,
    messages: impl ExactSizeIterator<Item = &'a [u8]>,
    digests: &mut [Digest],
    ahead: Ahead,
) {
    let double = algorithm == DigestAlgorithm::Sha256d;
    Kernel::chosen().digest_into(messages, double, digests, ahead);
}

/// A digest stream in progress.
#[derive(Debug)]
pub(crate) struct Stream {
    algorithm: DigestAlgorithm,
    state: DigestStream,
}

impl Stream {
    /// Nothing digested yet.
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Self {
        let state = DigestStream::new();
        Self { algorithm, state }
    }

    /// Takes the next bytes in.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.state.update(data);
    }

    /// The number of bytes and their digest.
    pub(crate) fn finish(self) -> (u64, Digest) {
        let length = self.state.length();
        let digest = match self.algorithm {
            DigestAlgorithm::Sha256 => self.state.digest(),
            DigestAlgorithm::Sha256d => self.state.double_digest(),
        };
        (length, digest)
    }
}

/// Whether so many bytes are better digested on a helper thread.
pub(crate) const fn is_large(bytes: usize) -> bool {
    bytes > INLINE_BYTES
}
