//! The digest requests of a session.

use bytes::Bytes;
use hasher_wire::{DigestBatch, DigestBegin, DigestStreamed, Digests, Frame, RequestId, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tracing::error;

use super::{End, Open, Session};
use crate::core::JobError;
use crate::digest::{self, Stream};
use crate::gather::Gathered;

/// What a helper thread brings back.
pub(super) enum Digested {
    Batch(Gathered),
    Chunk(Stream),
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
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
        self.open.insert(request, Open::Digesting);
        let bytes: usize = batch.messages.iter().map(Bytes::len).sum();
        if digest::is_large(bytes) {
            let compute = move || {
                let digests = digest::digests(batch.algorithm, &batch.messages);
                let bytes = bytes as u64;
                Digested::Batch(Gathered {
                    request,
                    digests,
                    bytes,
                })
            };
            self.digesting = Some((request, tokio::task::spawn_blocking(compute)));
        } else {
            let answers = self.gathered_in.clone();
            let gather = self.hub.gather();
            gather.add(batch.algorithm, batch.messages, request, answers);
        }
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
                Digested::Chunk(stream)
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

    pub(super) fn on_digested(&mut self, (request, digested): (RequestId, Result<Digested, ()>)) {
        match digested {
            Ok(Digested::Chunk(stream)) => {
                self.open.insert(request, Open::Stream(stream));
                return;
            }
            Ok(Digested::Batch(gathered)) => return self.on_gathered(gathered),
            Err(()) => {
                error!(
                    session = self.id.0,
                    fault = request.0,
                    "digest thread failed"
                );
                self.push_failed(request, None, &JobError::Internal(request.0.into()));
            }
        }
        self.open.remove(&request);
        self.credits.give_back();
    }

    /// Answers a digest batch.
    pub(super) fn on_gathered(&mut self, gathered: Gathered) {
        let Gathered {
            request,
            digests,
            bytes,
        } = gathered;
        self.open.remove(&request);
        self.credits.give_back();
        self.hub.count_digests(self.id, digests.len(), bytes);
        self.link.push(&Frame::Digests(Digests {
            request,
            computed_by: digest::computed_by(),
            digests,
        }));
    }
}

/// The result of the computation on a helper thread, once there is one.
pub(super) async fn join(
    digesting: &mut Option<(RequestId, JoinHandle<Digested>)>,
) -> (RequestId, Result<Digested, ()>) {
    let Some((request, handle)) = digesting else {
        return std::future::pending().await;
    };
    let digested = handle.await.map_err(drop);
    let request = *request;
    *digesting = None;
    (request, digested)
}
