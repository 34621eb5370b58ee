//! The digest batches of one turn of a session, computed together.
//!
//! A vector engine digests many messages at once much faster than one after the
//! other, so the requests that a session has read already are one batch. Nothing waits
//! for more to come. Each session owns one and computes it where it stands: a task or a
//! thread that did it would cost each request more than its digest, and so would waiting a
//! turn for those of other sessions (measured, `docs/performance.md`).

use hasher_wire::{DigestAlgorithm, DigestBatch, RequestId};
use hasher_work::Digest;

use crate::digest;

/// Bytes after which a batch is computed at once. With a frame on top it takes one core
/// less than 0.2 ms (inferred), so that no device's news waits noticeably.
const BATCH_BYTES: usize = 32 * 1024;

/// What one message counts for besides its bytes, so that empty messages are bounded
/// too: about what its handle and its digest occupy.
const MESSAGE_BYTES: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Gather {
    requests: Vec<DigestBatch>,
    bytes: usize,
}

impl Gather {
    /// Adds a request.
    pub(super) fn add(&mut self, request: DigestBatch) {
        let messages = &request.messages;
        self.bytes += messages.bytes() + messages.len() * MESSAGE_BYTES;
        self.requests.push(request);
    }

    /// Whether it holds this request.
    pub(super) fn holds(&self, request: RequestId) -> bool {
        self.requests.iter().any(|held| held.request == request)
    }

    /// Whether it holds none.
    pub(super) const fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// More than its answers will have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is time to compute.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Hands out the digests of each request, in the order of its messages, and is empty
    /// then.
    pub(super) fn compute(&mut self, mut answer: impl FnMut(&DigestBatch, &[Digest])) {
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha256d] {
            let requests = self.requests.iter();
            let requests = requests.filter(|request| request.algorithm == algorithm);
            let count = requests.clone().map(|request| request.messages.len()).sum();
            let mut messages = Vec::with_capacity(count);
            messages.extend(requests.clone().flat_map(|request| request.messages.iter()));
            let digests = digest::digests(algorithm, &messages);
            let mut rest = &*digests;
            for request in requests {
                let (own, later) = rest.split_at(request.messages.len());
                rest = later;
                answer(request, own);
            }
        }
        self.requests.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use hasher_wire::Messages;
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
            messages: Messages::new(messages).unwrap(),
        }
    }

    #[test]
    fn each_request_is_answered_once_with_its_own_digests() {
        let mut gather = Gather::default();
        gather.add(request(1, DigestAlgorithm::Sha256, &[b"a", b"bb"]));
        gather.add(request(2, DigestAlgorithm::Sha256d, &[b"c"]));
        gather.add(request(3, DigestAlgorithm::Sha256, &[b""]));
        assert!(gather.holds(RequestId(2)) && !gather.holds(RequestId(4)));
        let mut answers = Vec::new();
        gather.compute(|batch, digests| answers.push((batch.request.0, digests.to_vec())));
        answers.sort();
        let expected = [
            (1, vec![digest(b"a"), digest(b"bb")]),
            (2, vec![double_digest(b"c")]),
            (3, vec![digest(b"")]),
        ];
        assert_eq!(answers, expected);
        assert!(!gather.holds(RequestId(2)));
        gather.compute(|_, _| panic!("it is empty"));
    }

    #[test]
    fn empty_messages_fill_a_batch_too() {
        let mut gather = Gather::default();
        let messages = [b"".as_slice(); BATCH_BYTES / MESSAGE_BYTES - 1];
        gather.add(request(1, DigestAlgorithm::Sha256, &messages));
        assert!(!gather.is_full());
        gather.add(request(2, DigestAlgorithm::Sha256, &[b""]));
        assert!(gather.is_full());
        gather.compute(|_, _| ());
        assert!(!gather.is_full());
    }
}
