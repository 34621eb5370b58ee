//! From the daemon's frames to answers.

use bytes::BytesMut;
use hasher_wire::{Digests, EventBody, Failed, Frame, RequestId, SearchDone};
use hasher_work::{Hit, SearchJob};
use tokio::time::Instant;

use super::{Item, Key, Kind, Ledger, Work, put};
use crate::connect::frame_name;
use crate::{ClientError, DigestAnswer, SearchAnswer, StreamAnswer};

impl Ledger {
    /// One frame from the daemon.
    ///
    /// # Errors
    /// The session is over: the daemon said so, or broke the protocol.
    pub(crate) fn receive(
        &mut self,
        frame: Frame,
        now: Instant,
        out: &mut BytesMut,
    ) -> Result<(), ClientError> {
        match frame {
            Frame::SearchDone(done) => self.search_done(done),
            Frame::Digests(digests) => self.digests(digests),
            Frame::DigestStreamed(streamed) => {
                let answer = StreamAnswer {
                    digest: streamed.digest,
                    length: streamed.length,
                    by: streamed.computed_by.into(),
                };
                let item = self.answered(streamed.request, 0, Some(Kind::Stream))?;
                if let Some((_, item)) = item
                    && let Work::Stream { done, .. } = item.work
                {
                    _ = done.send(Ok(answer));
                }
                Ok(())
            }
            Frame::Failed(failed) => self.request_failed(failed, now),
            Frame::Status(status) => {
                let report = status.report();
                let item = self.answered(status.request, 0, Some(Kind::Status))?;
                if let Some((_, item)) = item
                    && let Work::Status { reply } = item.work
                {
                    _ = reply.send(report.map_err(Into::into));
                }
                Ok(())
            }
            Frame::Document(document) => {
                let item = self.answered(document.request, 0, Some(Kind::Document))?;
                if let Some((_, item)) = item
                    && let Work::Document { reply, .. } = item.work
                {
                    _ = reply.send(Ok(document.json));
                }
                Ok(())
            }
            Frame::Event(event) => {
                let body = event.body()?;
                if body != EventBody::Unknown {
                    let session = self.session.as_ref();
                    let connection = session.map_or(0, |session| session.connection);
                    // Nobody listening any more is no error.
                    _ = self.events.send(Ok((connection, body)));
                }
                Ok(())
            }
            Frame::Ping(number) => {
                put(&Frame::Pong(number), out);
                Ok(())
            }
            Frame::Pong(_) => Ok(()),
            Frame::Goodbye(goodbye) => Err(ClientError::Closed {
                status: goodbye.status,
                reason: goodbye.message.to_string(),
            }),
            other => {
                let text = format!("{} from the daemon", frame_name(&other));
                Err(ClientError::protocol(text))
            }
        }
    }

    fn search_done(&mut self, done: SearchDone) -> Result<(), ClientError> {
        let item = self.answered(done.request, done.index.into(), Some(Kind::Search))?;
        // A cancelled job has no one to tell.
        if let Some((_, item)) = item
            && let Work::Search {
                job, index, reply, ..
            } = item.work
        {
            let answer = verify(&job, &done.result.hits).map(|()| SearchAnswer {
                result: done.result,
                by: done.computed_by.into_iter().map(Into::into).collect(),
            });
            _ = reply.try_send((index, answer));
        }
        Ok(())
    }

    fn digests(&mut self, answer: Digests) -> Result<(), ClientError> {
        let item = self.answered(answer.request, 0, Some(Kind::Digest))?;
        if let Some((_, item)) = item
            && let Work::Digest {
                messages, reply, ..
            } = item.work
        {
            let (expected, got) = (messages.len(), answer.digests.len());
            _ = reply.send(if got == expected {
                Ok(DigestAnswer {
                    digests: answer.digests,
                    by: answer.computed_by.into(),
                })
            } else {
                let text = format!("{got} digests of {expected} messages");
                Err(ClientError::protocol(text))
            });
        }
        Ok(())
    }

    fn request_failed(&mut self, failed: Failed, now: Instant) -> Result<(), ClientError> {
        let places = match failed.index {
            Some(index) => vec![usize::from(index)],
            None => self.flights.unanswered(failed.request)?,
        };
        for place in places {
            let item = self.answered(failed.request, place, None)?;
            if let Some((key, item)) = item {
                let error = ClientError::failed(failed.status, &*failed.message);
                self.failed(key, item, error, now);
            }
        }
        Ok(())
    }

    /// Closes one place of a request; nothing when its caller has gone.
    fn answered(
        &mut self,
        request: RequestId,
        index: usize,
        kind: Option<Kind>,
    ) -> Result<Option<(Key, Item)>, ClientError> {
        let key = self.flights.answered(request, index, kind)?;
        Ok(self.take(key).map(|item| (key, item)))
    }
}

/// Hashes every hit again: a nonce is worth nothing on someone's word.
fn verify(job: &SearchJob, hits: &[Hit]) -> Result<(), ClientError> {
    for hit in hits {
        let roll = hit.time.wrapping_sub(job.header.time());
        let digest = job.header.with_time(hit.time).work().digest(hit.nonce);
        let fits = roll <= job.rolls.into()
            && job.range.contains(hit.nonce)
            && digest == hit.digest
            && job.target.is_met_by(&digest);
        if !fits {
            let text = format!("nonce {} does not solve its job", hit.nonce);
            return Err(ClientError::protocol(text));
        }
    }
    Ok(())
}
