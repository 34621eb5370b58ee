//! The digest requests of a session.

use bytes::Bytes;
use hasher_wire::{DigestBatch, DigestBegin, DigestStreamed, Frame, RequestId, Version};
use tokio::task::JoinHandle;
use tracing::error;

use super::{End, Open, Session};
use crate::carrier::Carrier;
use crate::core::JobError;
use crate::digest::{self, Stream};

impl<S: Carrier> Session<S> {
    /// Takes a credit for a digest request, or refuses it.
    fn admit(&mut self, request: RequestId) -> bool {
        let admitted = self.credits.take();
        if !admitted {
            self.refuse(request, &JobError::Busy(self.credits.total()));
        }
        admitted
    }

    fn refuse(&mut self, request: RequestId, error: &JobError) {
        self.hub.count_refused(self.id, 1);
        self.push_failed(request, None, error);
    }

    pub(super) fn on_digest_batch(&mut self, batch: DigestBatch) -> Result<(), End> {
        let request = batch.request;
        self.check_unused(request)?;
        if !self.admit(request) {
            return Ok(());
        }
        self.gather.add(batch);
        Ok(())
    }

    pub(super) fn on_digest_begin(&mut self, begin: DigestBegin) -> Result<(), End> {
        self.check_unused(begin.request)?;
        if self.version < Version::V1_1 {
            self.refuse(begin.request, &JobError::Unsupported("digest streams"));
        } else if self.admit(begin.request) {
            let stream = Stream::new(begin.algorithm);
            self.open.insert(begin.request, Open::Stream(stream));
        }
        Ok(())
    }

    /// What belongs to no open stream was sent before the client knew its answer.
    pub(super) fn on_digest_chunk(&mut self, request: RequestId, data: Bytes) {
        if let Some(Open::Stream(mut stream)) = self.take_stream(request) {
            self.open.insert(request, Open::Digesting);
            let is_large = digest::is_large(data.len());
            let compute = move || {
                stream.update(&data);
                stream
            };
            if is_large {
                self.digesting = Some((request, tokio::task::spawn_blocking(compute)));
            } else {
                self.on_digested((request, Ok(compute())));
            }
        }
    }

    pub(super) fn on_digest_end(&mut self, request: RequestId) {
        if let Some(Open::Stream(stream)) = self.take_stream(request) {
            self.credits.give_back();
            let (length, digest) = stream.finish();
            self.hub.count_digests(self.id, 1, length);
            self.link.push(&Frame::DigestStreamed(DigestStreamed {
                request,
                length,
                digest,
                computed_by: digest::computed_by(),
            }));
        }
    }

    pub(super) fn take_stream(&mut self, request: RequestId) -> Option<Open> {
        matches!(self.open.get(&request), Some(Open::Stream(_)))
            .then(|| self.open.remove(&request))
            .flatten()
    }

    pub(super) fn on_digested(&mut self, (request, digested): (RequestId, Result<Stream, ()>)) {
        if let Ok(stream) = digested {
            self.open.insert(request, Open::Stream(stream));
            return;
        }
        error!(
            session = self.id.0,
            fault = request.0,
            "digest thread failed"
        );
        self.push_failed(request, None, &JobError::Internal(request.0.into()));
        self.open.remove(&request);
        self.credits.give_back();
    }

    /// Answers the digest batches of this turn.
    pub(super) fn answer_gathered(&mut self) {
        if self.gather.is_empty() {
            return;
        }
        let (mut messages, mut bytes) = (0, 0);
        let computed_by = digest::computed_by();
        let (credits, link) = (&mut self.credits, &mut self.link);
        self.gather.compute(|batch, digests| {
            messages += digests.len();
            bytes += batch.messages.bytes() as u64;
            credits.give_back();
            link.push_digests(batch.request, &computed_by, digests);
        });
        self.hub.count_digests(self.id, messages, bytes);
    }
}

/// The result of the computation on a helper thread, once there is one.
pub(super) async fn join(
    digesting: &mut Option<(RequestId, JoinHandle<Stream>)>,
) -> (RequestId, Result<Stream, ()>) {
    let Some((request, handle)) = digesting else {
        return std::future::pending().await;
    };
    let digested = handle.await.map_err(drop);
    let request = *request;
    *digesting = None;
    (request, digested)
}
