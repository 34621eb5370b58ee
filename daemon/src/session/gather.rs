//! The digest batches of one turn of a session, computed together.
//!
//! A vector engine digests many messages at once much faster than one after the
//! other, so the requests that a session has read already are one batch. Nothing waits
//! for more to come. Each session owns one and computes it where it stands: a task or a
//! thread that did it would cost each request more than its digest, and so would waiting a
//! turn for those of other sessions (measured, `docs/performance.md`).

use bytes::Bytes;
use hasher_wire::{DigestAlgorithm, DigestBatch, RequestId};
use hasher_work::Digest;

use crate::digest;

/// Bytes after which a batch is computed at once. With a frame on top it takes one core
/// less than 0.2 ms (inferred), so that no device's news waits noticeably.
const BATCH_BYTES: usize = 32 * 1024;

/// What one message counts for besides its bytes, so that empty messages are bounded
/// too: about what its handle and its digest occupy.
const MESSAGE_BYTES: usize = 64;

/// The digests of one request, in the order of its messages.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) request: RequestId,
    pub(super) digests: Vec<Digest>,
    /// Bytes that were digested.
    pub(super) bytes: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Gather {
    requests: Vec<DigestBatch>,
    bytes: usize,
}

impl Gather {
    /// Adds a request.
    pub(super) fn add(&mut self, request: DigestBatch) {
        let messages = request.messages.iter();
        self.bytes += messages.map(|m| m.len() + MESSAGE_BYTES).sum::<usize>();
        self.requests.push(request);
    }

    /// Whether it holds this request.
    pub(super) fn holds(&self, request: RequestId) -> bool {
        self.requests.iter().any(|held| held.request == request)
    }

    /// More than its answers will have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is time to compute.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Answers all requests, and is empty then.
    pub(super) fn compute(&mut self) -> Vec<Gathered> {
        let mut gathered = Vec::with_capacity(self.requests.len());
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha256d] {
            let requests = self.requests.iter();
            let requests = requests.filter(|request| request.algorithm == algorithm);
            let messages: Vec<&Bytes> = requests.clone().flat_map(|r| &r.messages).collect();
            let mut digests = digest::digests(algorithm, &messages).into_iter();
            gathered.extend(requests.map(|request| Gathered {
                request: request.request,
                digests: digests.by_ref().take(request.messages.len()).collect(),
                bytes: request.messages.iter().map(|m| m.len() as u64).sum(),
            }));
        }
        self.requests.clear();
        self.bytes = 0;
        gathered
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::{digest, double_digest};

    use super::*;

    fn request(
        request: u32,
        algorithm: DigestAlgorithm,
        messages: &[&'static [u8]],
    ) -> DigestBatch {
        DigestBatch {
            request: RequestId(request),
            algorithm,
            messages: messages.iter().copied().map(Bytes::from_static).collect(),
        }
    }

    #[test]
    fn each_request_is_answered_once_with_its_own_digests() {
        let mut gather = Gather::default();
        gather.add(request(1, DigestAlgorithm::Sha256, &[b"a", b"bb"]));
        gather.add(request(2, DigestAlgorithm::Sha256d, &[b"c"]));
        gather.add(request(3, DigestAlgorithm::Sha256, &[b""]));
        assert!(gather.holds(RequestId(2)) && !gather.holds(RequestId(4)));
        let mut gathered = gather.compute();
        gathered.sort_by_key(|gathered| gathered.request);
        let requests: Vec<_> = gathered.iter().map(|g| (g.request.0, g.bytes)).collect();
        assert_eq!(requests, [(1, 3), (2, 1), (3, 0)]);
        assert_eq!(gathered[0].digests, [digest(b"a"), digest(b"bb")]);
        assert_eq!(gathered[1].digests, [double_digest(b"c")]);
        assert_eq!(gathered[2].digests, [digest(b"")]);
        assert!(!gather.holds(RequestId(2)));
        assert!(gather.compute().is_empty());
    }

    #[test]
    fn empty_messages_fill_a_batch_too() {
        let mut gather = Gather::default();
        let messages = [b"".as_slice(); BATCH_BYTES / MESSAGE_BYTES - 1];
        gather.add(request(1, DigestAlgorithm::Sha256, &messages));
        assert!(!gather.is_full());
        gather.add(request(2, DigestAlgorithm::Sha256, &[b""]));
        assert!(gather.is_full());
        gather.compute();
        assert!(!gather.is_full());
    }
}
