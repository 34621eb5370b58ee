//! Values to bytes. The layouts stand in `docs/socket-protocol.md`.

use bytes::{BufMut, BytesMut};
use hasher_work::{Digest, SearchEnd, SearchMode};

use crate::field::{check_count, put_bytes, put_text};
use crate::{
    ComputedBy, DeviceKind, Frame, JobRequest, MAX_CHUNK_BYTES, MAX_COMPUTED_BY, MAX_HITS,
    MAX_JOBS, MAX_JSON_BYTES, MAX_MESSAGES, Priority, RequestId, SearchDone, Version, WireError,
};

/// First bytes of a Hello.
pub(crate) const MAGIC: [u8; 4] = *b"HSHR";
/// In place of a job's index: the whole request.
pub(crate) const WHOLE_REQUEST: u16 = 0xffff;
/// Bytes of a job record in 1.1; 1.0 ends two bytes earlier, before the rolls.
pub(crate) const JOB_BYTES: u16 = 130;
/// Bytes of a hit record.
pub(crate) const HIT_BYTES: u16 = 40;

/// Frame types; never reused.
pub(crate) mod kind {
    pub(crate) const HELLO: u16 = 1;
    pub(crate) const WELCOME: u16 = 2;
    pub(crate) const REFUSED: u16 = 3;
    pub(crate) const SEARCH: u16 = 16;
    pub(crate) const SEARCH_DONE: u16 = 17;
    pub(crate) const DIGEST_BATCH: u16 = 32;
    pub(crate) const DIGESTS: u16 = 33;
    pub(crate) const DIGEST_BEGIN: u16 = 34;
    pub(crate) const DIGEST_CHUNK: u16 = 35;
    pub(crate) const DIGEST_END: u16 = 36;
    pub(crate) const DIGEST_STREAMED: u16 = 37;
    pub(crate) const RING_OPEN: u16 = 38;
    pub(crate) const RING_OPENED: u16 = 39;
    pub(crate) const RING_BELL: u16 = 40;
    pub(crate) const FAILED: u16 = 48;
    pub(crate) const CANCEL: u16 = 49;
    pub(crate) const STATUS_QUERY: u16 = 64;
    pub(crate) const STATUS: u16 = 65;
    pub(crate) const SUBSCRIBE: u16 = 66;
    pub(crate) const EVENT: u16 = 67;
    pub(crate) const QUERY: u16 = 68;
    pub(crate) const DOCUMENT: u16 = 69;
    pub(crate) const PING: u16 = 80;
    pub(crate) const PONG: u16 = 81;
    pub(crate) const GOODBYE: u16 = 82;
}

/// Appends the fields of `frame` and returns its type.
pub(crate) fn encode_body(frame: &Frame, out: &mut BytesMut) -> Result<u16, WireError> {
    Ok(match frame {
        Frame::Hello(hello) => {
            out.put_slice(&MAGIC);
            put_version(out, hello.min);
            put_version(out, hello.max);
            put_text(out, &hello.name);
            kind::HELLO
        }
        Frame::Welcome(welcome) => {
            put_version(out, welcome.version);
            out.put_u16_le(welcome.credits);
            out.put_u32_le(welcome.limits.frame_bytes);
            out.put_u16_le(welcome.limits.jobs);
            out.put_u16_le(welcome.limits.messages);
            out.put_u16_le(welcome.limits.chunk_bytes);
            out.put_u32_le(welcome.limits.deadline_default_ms);
            out.put_u32_le(welcome.limits.deadline_max_ms);
            out.put_u32_le(welcome.features.0);
            put_text(out, &welcome.daemon);
            kind::WELCOME
        }
        Frame::Refused(refused) => {
            put_version(out, refused.min);
            put_version(out, refused.max);
            kind::REFUSED
        }
        Frame::Search(search) => {
            check_count("Search", "jobs", search.jobs.len(), MAX_JOBS)?;
            out.put_u32_le(search.request.0);
            out.put_u16_le(JOB_BYTES);
            out.put_u16_le(search.jobs.len() as u16);
            for job in &search.jobs {
                put_job(out, job);
            }
            kind::SEARCH
        }
        Frame::SearchDone(done) => {
            put_search_done(out, done)?;
            kind::SEARCH_DONE
        }
        Frame::DigestBatch(batch) => {
            out.put_u32_le(batch.request.0);
            out.put_u8(batch.algorithm.code());
            out.put_u16_le(batch.messages.len() as u16);
            batch.messages.encode(out);
            kind::DIGEST_BATCH
        }
        Frame::Digests(digests) => {
            encode_digests(digests.request, &digests.computed_by, &digests.digests, out)?
        }
        Frame::DigestBegin(begin) => {
            out.put_u32_le(begin.request.0);
            out.put_u8(begin.algorithm.code());
            kind::DIGEST_BEGIN
        }
        Frame::DigestChunk(chunk) => {
            out.put_u32_le(chunk.request.0);
            put_bytes(out, "DigestChunk", "data", &chunk.data, MAX_CHUNK_BYTES)?;
            kind::DIGEST_CHUNK
        }
        Frame::DigestEnd(end) => {
            out.put_u32_le(end.request.0);
            kind::DIGEST_END
        }
        Frame::DigestStreamed(streamed) => {
            out.put_u32_le(streamed.request.0);
            out.put_u64_le(streamed.length);
            out.put_slice(&streamed.digest.0);
            put_computed_by(out, &streamed.computed_by);
            kind::DIGEST_STREAMED
        }
        Frame::RingOpen(request) => {
            out.put_u32_le(request.0);
            kind::RING_OPEN
        }
        Frame::RingOpened(opened) => {
            out.put_u32_le(opened.request.0);
            out.put_u32_le(opened.bytes);
            put_computed_by(out, &opened.computed_by);
            kind::RING_OPENED
        }
        Frame::RingBell => kind::RING_BELL,
        Frame::Failed(failed) => {
            out.put_u32_le(failed.request.0);
            out.put_u16_le(failed.index.unwrap_or(WHOLE_REQUEST));
            out.put_u16_le(failed.status.code());
            put_text(out, &failed.message);
            kind::FAILED
        }
        Frame::Cancel(cancel) => {
            out.put_u32_le(cancel.request.0);
            out.put_u16_le(cancel.index.unwrap_or(WHOLE_REQUEST));
            kind::CANCEL
        }
        Frame::StatusQuery(request) => {
            out.put_u32_le(request.0);
            kind::STATUS_QUERY
        }
        Frame::Status(status) => {
            out.put_u32_le(status.request.0);
            put_bytes(
                out,
                "Status",
                "json",
                status.json.as_bytes(),
                MAX_JSON_BYTES,
            )?;
            kind::STATUS
        }
        Frame::Subscribe(subscribe) => {
            out.put_u8(subscribe.topics.0);
            kind::SUBSCRIBE
        }
        Frame::Event(event) => {
            put_bytes(out, "Event", "json", event.json.as_bytes(), MAX_JSON_BYTES)?;
            kind::EVENT
        }
        Frame::Query(query) => {
            out.put_u32_le(query.request.0);
            put_text(out, &query.topic);
            put_text(out, &query.argument);
            kind::QUERY
        }
        Frame::Document(document) => {
            let json = document.json.as_bytes();
            out.put_u32_le(document.request.0);
            put_bytes(out, "Document", "json", json, MAX_JSON_BYTES)?;
            kind::DOCUMENT
        }
        Frame::Ping(number) => {
            out.put_u64_le(*number);
            kind::PING
        }
        Frame::Pong(number) => {
            out.put_u64_le(*number);
            kind::PONG
        }
        Frame::Goodbye(goodbye) => {
            out.put_u16_le(goodbye.status.map_or(0, crate::Status::code));
            put_text(out, &goodbye.message);
            kind::GOODBYE
        }
    })
}

fn put_version(out: &mut BytesMut, version: Version) {
    out.put_u8(version.major);
    out.put_u8(version.minor);
}

fn put_job(out: &mut BytesMut, request: &JobRequest) {
    let job = &request.job;
    out.put_slice(&job.header.0);
    out.put_u32_le(job.range.first().0);
    out.put_u32_le(job.range.last().0);
    out.put_slice(&job.target.to_le_bytes());
    let (mode, hits) = match job.mode {
        SearchMode::Exhaust => (0, 0),
        SearchMode::FirstFound(hits) => (1, hits),
    };
    out.put_u8(mode);
    out.put_u16_le(hits);
    out.put_u8(match request.priority {
        Priority::Interactive => 0,
        Priority::Batch => 1,
        Priority::Background => 2,
    });
    out.put_u32_le(request.deadline_ms);
    out.put_u16_le(job.rolls);
}

fn put_search_done(out: &mut BytesMut, done: &SearchDone) -> Result<(), WireError> {
    let frame = "SearchDone";
    check_count(frame, "hits", done.result.hits.len(), MAX_HITS)?;
    check_count(
        frame,
        "computed by",
        done.computed_by.len(),
        MAX_COMPUTED_BY,
    )?;
    out.put_u32_le(done.request.0);
    out.put_u16_le(done.index);
    out.put_u8(end_code(done.result.end)?);
    out.put_u64_le(done.result.certain_nonces);
    out.put_u32_le(done.result.works);
    out.put_u16_le(done.computed_by.len() as u16);
    for computed_by in &done.computed_by {
        put_computed_by(out, computed_by);
    }
    out.put_u16_le(HIT_BYTES);
    out.put_u16_le(done.result.hits.len() as u16);
    for hit in &done.result.hits {
        out.put_u32_le(hit.time);
        out.put_u32_le(hit.nonce.0);
        out.put_slice(&hit.digest.0);
    }
    Ok(())
}

fn end_code(end: SearchEnd) -> Result<u8, WireError> {
    Ok(match end {
        SearchEnd::Found => 1,
        SearchEnd::Exhausted => 2,
        SearchEnd::TimerEnded => 3,
        SearchEnd::HitLimit => 4,
        // `SearchEnd` may grow; an end without a number cannot be sent.
        _ => {
            return Err(WireError::BadField {
                frame: "SearchDone",
                field: "end",
                value: 0,
            });
        }
    })
}

/// The fields of a Digests frame, whose parts need not be one value.
pub(crate) fn encode_digests(
    request: RequestId,
    computed_by: &ComputedBy,
    digests: &[Digest],
    out: &mut BytesMut,
) -> Result<u16, WireError> {
    check_count("Digests", "digests", digests.len(), MAX_MESSAGES)?;
    out.put_u32_le(request.0);
    put_computed_by(out, computed_by);
    out.put_u16_le(digests.len() as u16);
    out.reserve(size_of_val(digests));
    for digest in digests {
        out.put_slice(&digest.0);
    }
    Ok(kind::DIGESTS)
}

fn put_computed_by(out: &mut BytesMut, computed_by: &ComputedBy) {
    out.put_u8(match computed_by.kind {
        DeviceKind::Usb => 1,
        DeviceKind::Simulated => 2,
        DeviceKind::Cpu => 3,
    });
    put_text(out, &computed_by.device);
}
