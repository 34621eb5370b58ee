//! Small digest requests of all sessions, computed together.
//!
//! A vector engine digests many messages at once much faster than one after the
//! other, so what the sessions ask for in one turn of the runtime is computed as one
//! batch. Nothing waits for more to come: the batch is a task that is spawned with its
//! first request, and the runtime runs it behind the sessions that are ready already.
//! Owned by the [`Hub`](crate::hub::Hub); sessions add requests and get their digests
//! through a channel of their own.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hasher_wire::{DigestAlgorithm, RequestId};
use hasher_work::Digest;
use tokio::sync::mpsc;

use crate::digest;

/// Bytes after which a batch is computed at once: enough to fill every lane many times
/// over, and 0.2 ms for one core, so that no device's news waits noticeably (inferred).
const BATCH_BYTES: usize = 256 * 1024;

/// What one message counts for besides its bytes, so that empty messages are bounded
/// too: about what its handle and its digest occupy.
const MESSAGE_BYTES: usize = 64;

/// The digests of one request, in the order of its messages.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) request: RequestId,
    pub(crate) digests: Vec<Digest>,
    /// Bytes that were digested.
    pub(crate) bytes: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Gather {
    batch: Mutex<Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    requests: Vec<Request>,
    bytes: usize,
}

#[derive(Debug)]
struct Request {
    algorithm: DigestAlgorithm,
    messages: Vec<Bytes>,
    request: RequestId,
    /// Has a place for every credit of its session.
    answers: mpsc::Sender<Gathered>,
}

impl Gather {
    /// Adds a request whose digests go to `answers`, which must have a free place.
    /// Call it inside the runtime.
    pub(crate) fn add(
        self: &Arc<Self>,
        algorithm: DigestAlgorithm,
        messages: Vec<Bytes>,
        request: RequestId,
        answers: mpsc::Sender<Gathered>,
    ) {
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        let (is_first, is_full) = {
            let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
            batch.bytes += bytes + messages.len() * MESSAGE_BYTES;
            batch.requests.push(Request {
                algorithm,
                messages,
                request,
                answers,
            });
            (batch.requests.len() == 1, batch.bytes >= BATCH_BYTES)
        };
        if is_full {
            self.compute();
        } else if is_first {
            let gather = Arc::clone(self);
            tokio::spawn(async move { gather.compute() });
        }
    }

    fn compute(&self) {
        let batch = {
            let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *batch)
        };
        for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha256d] {
            let requests = batch.requests.iter();
            let messages: Vec<&Bytes> = requests
                .filter(|request| request.algorithm == algorithm)
                .flat_map(|request| &request.messages)
                .collect();
            let mut digests = digest::digests(algorithm, &messages).into_iter();
            for request in &batch.requests {
                if request.algorithm == algorithm {
                    // A session that has ended wants none.
                    _ = request.answers.try_send(Gathered {
                        request: request.request,
                        digests: digests.by_ref().take(request.messages.len()).collect(),
                        bytes: request.messages.iter().map(|m| m.len() as u64).sum(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::{digest, double_digest};

    use super::*;

    fn message(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn requests_of_one_turn_are_answered_each_with_its_own_digests() {
        let gather = Arc::new(Gather::default());
        let (ours, mut answers) = mpsc::channel(8);
        let (theirs, mut other_answers) = mpsc::channel(8);
        let sha256 = DigestAlgorithm::Sha256;
        let sha256d = DigestAlgorithm::Sha256d;
        let pair = vec![message("a"), message("bb")];
        gather.add(sha256, pair, RequestId(1), ours.clone());
        gather.add(sha256d, vec![message("c")], RequestId(2), theirs);
        gather.add(sha256, vec![message("")], RequestId(3), ours);
        assert!(answers.try_recv().is_err(), "the turn is not over");
        let first = answers.recv().await.unwrap();
        assert_eq!((first.request, first.bytes), (RequestId(1), 3));
        assert_eq!(first.digests, [digest(b"a"), digest(b"bb")]);
        assert_eq!(answers.recv().await.unwrap().digests, [digest(b"")]);
        let other = other_answers.recv().await.unwrap();
        assert_eq!(other.digests, [double_digest(b"c")]);
    }

    #[tokio::test]
    async fn a_full_batch_is_computed_at_once_and_empty_messages_count() {
        let gather = Arc::new(Gather::default());
        let (ours, mut answers) = mpsc::channel(8);
        let messages = vec![Bytes::new(); BATCH_BYTES / MESSAGE_BYTES];
        let (sha256, expected) = (DigestAlgorithm::Sha256, messages.len());
        gather.add(sha256, messages, RequestId(1), ours.clone());
        assert_eq!(answers.try_recv().unwrap().digests.len(), expected);
        gather.add(sha256, vec![message("later")], RequestId(2), ours);
        assert_eq!(answers.recv().await.unwrap().digests, [digest(b"later")]);
    }

    #[tokio::test]
    async fn a_session_that_has_ended_disturbs_nobody() {
        let gather = Arc::new(Gather::default());
        let (gone, _) = mpsc::channel(1);
        let (ours, mut answers) = mpsc::channel(1);
        let sha256 = DigestAlgorithm::Sha256;
        gather.add(sha256, vec![message("lost")], RequestId(1), gone);
        gather.add(sha256, vec![message("kept")], RequestId(2), ours);
        assert_eq!(answers.recv().await.unwrap().digests, [digest(b"kept")]);
    }
}
