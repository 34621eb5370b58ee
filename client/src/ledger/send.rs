//! From waiting requests to frames.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hasher_wire::{
    Cancel, Codec, DigestBatch, DigestBegin, DigestChunk, DigestEnd, Features, Frame, JobRequest,
    Limits, MAX_CHUNK_BYTES, MAX_FRAME_BYTES, MAX_JOBS, MAX_MESSAGES, Query, RequestId, Search,
    Status,
};
use tokio::time::Instant;

use super::{ANSWER_GRACE, Key, Kind, Ledger, State, Work, put};
use crate::ClientError;

/// Bytes that may wait for the socket before nothing more is encoded: enough to
/// fill the kernel's buffer in one write, small enough not to matter.
pub(crate) const OUT_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a Search frame before its jobs: length, type, request, job bytes, count.
const SEARCH_HEAD_BYTES: usize = 14;
/// Bytes of one job in a Search frame.
const JOB_BYTES: usize = 130;
/// Bytes of a DigestBatch frame before its messages.
const DIGEST_HEAD_BYTES: usize = 13;
/// Bytes in front of each message or chunk.
const LENGTH_BYTES: usize = 2;
/// Bytes of a DigestChunk frame besides its data.
const CHUNK_HEAD_BYTES: usize = 12;

/// How many jobs fit into one Search.
fn jobs_max(limits: &Limits) -> usize {
    let fit = (frame_max(limits) - SEARCH_HEAD_BYTES) / JOB_BYTES;
    fit.min(limits.jobs.into()).min(MAX_JOBS)
}

/// How many bytes fit into one DigestChunk.
pub(crate) fn chunk_max(limits: &Limits) -> usize {
    let fit = frame_max(limits) - CHUNK_HEAD_BYTES;
    fit.min(limits.chunk_bytes.into()).min(MAX_CHUNK_BYTES)
}

/// How many messages fit into one DigestBatch.
pub(crate) fn messages_max(limits: &Limits) -> usize {
    MAX_MESSAGES.min(limits.messages.into())
}

/// How many bytes the messages of one DigestBatch may have together, each counted
/// with [`message_bytes`].
pub(crate) fn messages_bytes_max(limits: &Limits) -> usize {
    frame_max(limits) - DIGEST_HEAD_BYTES
}

/// What a message takes of a DigestBatch.
pub(crate) const fn message_bytes(message: &[u8]) -> usize {
    LENGTH_BYTES + message.len()
}

fn frame_max(limits: &Limits) -> usize {
    MAX_FRAME_BYTES.min(limits.frame_bytes as usize)
}

impl Ledger {
    /// Encodes what credits, session and the size of `out` allow.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, now: Instant) {
        let Some(session) = &self.session else { return };
        let (credits, limits, features) = (
            usize::from(session.credits),
            session.limits,
            session.features,
        );
        while out.len() < OUT_BYTES_MAX
            && let Some(key) = self.waiting_free.first().copied()
        {
            self.send_query(key, features, out, now);
        }
        while out.len() < OUT_BYTES_MAX
            && let Some(key) = self.waiting.first().copied()
        {
            let free = credits.saturating_sub(self.flights.credits_used());
            if free == 0 {
                return;
            }
            if let Err(error) = self.check(key, features) {
                if let Some(item) = self.take(key) {
                    item.work.fail(error);
                }
                continue;
            }
            match self.items.get(&key).map(|item| item.work.kind()) {
                Some(Kind::Search) => self.send_search(key, free.min(jobs_max(&limits)), out, now),
                Some(Kind::Digest) => self.send_digest(key, out, now),
                Some(Kind::Stream) => self.send_begin(key, chunk_max(&limits), out, now),
                Some(Kind::Status | Kind::Document) | None => _ = self.waiting.remove(&key),
            }
        }
    }

    /// Refuses what this daemon would misunderstand.
    fn check(&self, key: Key, features: Features) -> Result<(), ClientError> {
        let missing = match self.items.get(&key).map(|item| &item.work) {
            Some(Work::Search { job, .. }) if job.rolls > 0 && !features.has(Features::ROLLS) => {
                "roll the time field"
            }
            Some(Work::Document { .. }) if !features.has(Features::DOCUMENTS) => {
                "give documents by topic"
            }
            Some(Work::Stream { .. }) if !features.has(Features::DIGEST_STREAM) => {
                "serve digest streams"
            }
            _ => return Ok(()),
        };
        let text = format!("this daemon cannot {missing}");
        Err(ClientError::failed(Status::Unsupported, text))
    }

    /// Sends the job `first` and those of its ticket that wait behind it.
    fn send_search(&mut self, first: Key, most: usize, out: &mut BytesMut, now: Instant) {
        let ticket_of = |work: &Work| match work {
            Work::Search { ticket, .. } => Some(*ticket),
            _ => None,
        };
        let ticket = self.items.get(&first).and_then(|i| ticket_of(&i.work));
        let (mut keys, mut jobs, mut last) = (Vec::new(), Vec::new(), now);
        for key in self.waiting.range(first..) {
            let Some(item) = self.items.get(key) else {
                break;
            };
            match &item.work {
                Work::Search { job, priority, .. }
                    if keys.len() < most && ticket_of(&item.work) == ticket =>
                {
                    jobs.push(JobRequest {
                        job: *job,
                        deadline_ms: millis(item.deadline.saturating_duration_since(now)),
                        priority: *priority,
                    });
                    keys.push(*key);
                    last = last.max(item.deadline);
                }
                _ => break,
            }
        }
        let request = self.flights.new_request();
        put(&Frame::Search(Search { request, jobs }), out);
        self.set_off(request, Kind::Search, keys, now, Some(last));
    }

    fn send_digest(&mut self, key: Key, out: &mut BytesMut, now: Instant) {
        let request = self.flights.new_request();
        let Some(item) = self.items.get(&key) else {
            return;
        };
        let Work::Digest {
            algorithm,
            messages,
            ..
        } = &item.work
        else {
            return;
        };
        let deadline = item.deadline;
        let frame = Frame::DigestBatch(DigestBatch {
            request,
            algorithm: *algorithm,
            messages: messages.clone(),
        });
        // The batch was cut for the session that stood then; a restarted daemon
        // of another build may take less.
        match Codec.encode(&frame, out) {
            Ok(()) => self.set_off(request, Kind::Digest, vec![key], now, Some(deadline)),
            Err(error) => {
                if let Some(item) = self.take(key) {
                    item.work.fail(error.into());
                }
            }
        }
    }

    fn send_begin(&mut self, key: Key, chunk: usize, out: &mut BytesMut, now: Instant) {
        let request = self.flights.new_request();
        let Some(Work::Stream {
            algorithm, opened, ..
        }) = self.items.get_mut(&key).map(|item| &mut item.work)
        else {
            return;
        };
        let algorithm = *algorithm;
        if let Some(opened) = opened.take() {
            // A caller who has gone cancels the stream anyway.
            _ = opened.send(chunk);
        }
        put(&Frame::DigestBegin(DigestBegin { request, algorithm }), out);
        self.set_off(request, Kind::Stream, vec![key], now, None);
    }

    /// Sends a query that needs no credit.
    fn send_query(&mut self, key: Key, features: Features, out: &mut BytesMut, now: Instant) {
        if let Err(error) = self.check(key, features) {
            if let Some(item) = self.take(key) {
                item.work.fail(error);
            }
            return;
        }
        let request = self.flights.new_request();
        let Some(item) = self.items.get(&key) else {
            self.waiting_free.remove(&key);
            return;
        };
        let frame = match &item.work {
            Work::Document {
                topic, argument, ..
            } => Frame::Query(Query {
                request,
                topic: topic.as_str().into(),
                argument: argument.as_str().into(),
            }),
            _ => Frame::StatusQuery(request),
        };
        let (kind, deadline) = (item.work.kind(), item.deadline);
        put(&frame, out);
        self.set_off(request, kind, vec![key], now, Some(deadline));
    }

    /// Marks requests as sent.
    fn set_off(
        &mut self,
        request: RequestId,
        kind: Kind,
        keys: Vec<Key>,
        now: Instant,
        deadline: Option<Instant>,
    ) {
        for key in &keys {
            self.waiting.remove(key);
            self.waiting_free.remove(key);
            if let Some(item) = self.items.get_mut(key) {
                self.deadlines.remove(&(item.deadline, *key));
                item.state = State::InFlight(request);
                item.sent += 1;
            }
        }
        let expiry = deadline.map(|deadline| deadline + ANSWER_GRACE);
        self.flights.begin(request, kind, keys, now, expiry);
    }

    /// The next bytes of a stream; dropped when the stream has ended, which its
    /// owner learns from its answer.
    pub(crate) fn chunk(&self, key: Key, data: Bytes, out: &mut BytesMut) {
        if let Some(request) = self.stream(key) {
            put(&Frame::DigestChunk(DigestChunk { request, data }), out);
        }
    }

    /// The end of a stream, whose digest is wanted by `deadline`.
    pub(crate) fn finish(&mut self, key: Key, deadline: Instant, out: &mut BytesMut) {
        if let Some(request) = self.stream(key) {
            put(&Frame::DigestEnd(DigestEnd { request }), out);
            self.flights.expire_at(request, deadline + ANSWER_GRACE);
        }
    }

    fn stream(&self, key: Key) -> Option<RequestId> {
        match self.items.get(&key)?.state {
            State::InFlight(request) => Some(request),
            State::Waiting | State::Resting(_) => None,
        }
    }

    pub(super) fn send_cancel(&self, request: RequestId, out: &mut BytesMut) {
        if self.session.is_some() {
            let index = None;
            put(&Frame::Cancel(Cancel { request, index }), out);
        }
    }
}

/// Whole milliseconds for the wire, where 0 would mean the daemon's default. Rounded up:
/// no search ends before the caller's deadline.
fn millis(time: Duration) -> u32 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deadline_is_shortened_on_the_wire() {
        let nanos = [0, 1, 999_999, 1_000_000, 299_000_001, 300_000_000];
        let millis = nanos.map(|nanos| millis(Duration::from_nanos(nanos)));
        assert_eq!(millis, [1, 1, 1, 1, 300, 300]);
        assert_eq!(super::millis(Duration::MAX), u32::MAX);
    }
}
