//! Bytes to values. A frame may be longer than its known fields: a newer minor
//! adds at the end, and what is not known is ignored.

use bytes::Bytes;
use hasher_work::{
    Digest, Header, Hit, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Target,
};

use crate::encode::{HIT_BYTES, JOB_BYTES, MAGIC, WHOLE_REQUEST, kind};
use crate::field::Reader;
use crate::{
    Cancel, ComputedBy, DeviceKind, DigestAlgorithm, DigestBatch, DigestBegin, DigestChunk,
    DigestEnd, DigestStreamed, Digests, Document, Event, Failed, Features, Frame, Goodbye, Hello,
    JobRequest, Limits, MAX_CHUNK_BYTES, MAX_COMPUTED_BY, MAX_HITS, MAX_JOBS, MAX_JSON_BYTES,
    MAX_MESSAGES, Messages, Priority, Query, Refused, RequestId, RingOpened, Search, SearchDone,
    Status, StatusReply, Subscribe, Text, Topics, Version, Welcome, WireError,
};

/// Bytes of a job record in 1.0, before the rolls were added.
const JOB_BYTES_1_0: u16 = JOB_BYTES - 2;

/// Reads the fields of one frame; nothing for a type that is not known.
pub(crate) fn decode_body(kind: u16, body: Bytes) -> Result<Option<Frame>, WireError> {
    let read = |name| Reader::new(name, body);
    Ok(Some(match kind {
        kind::HELLO => Frame::Hello(hello(read("Hello"))?),
        kind::WELCOME => Frame::Welcome(welcome(read("Welcome"))?),
        kind::REFUSED => Frame::Refused(refused(read("Refused"))?),
        kind::SEARCH => Frame::Search(search(read("Search"))?),
        kind::SEARCH_DONE => Frame::SearchDone(search_done(read("SearchDone"))?),
        kind::DIGEST_BATCH => Frame::DigestBatch(digest_batch(read("DigestBatch"))?),
        kind::DIGESTS => Frame::Digests(digests(read("Digests"))?),
        kind::DIGEST_BEGIN => Frame::DigestBegin(digest_begin(read("DigestBegin"))?),
        kind::DIGEST_CHUNK => Frame::DigestChunk(digest_chunk(read("DigestChunk"))?),
        kind::DIGEST_END => Frame::DigestEnd(DigestEnd {
            request: request(&mut read("DigestEnd"))?,
        }),
        kind::DIGEST_STREAMED => Frame::DigestStreamed(digest_streamed(read("DigestStreamed"))?),
        kind::RING_OPEN => Frame::RingOpen(request(&mut read("RingOpen"))?),
        kind::RING_OPENED => Frame::RingOpened(ring_opened(read("RingOpened"))?),
        kind::RING_BELL => Frame::RingBell,
        kind::FAILED => Frame::Failed(failed(read("Failed"))?),
        kind::CANCEL => Frame::Cancel(cancel(read("Cancel"))?),
        kind::STATUS_QUERY => Frame::StatusQuery(request(&mut read("StatusQuery"))?),
        kind::STATUS => Frame::Status(status(read("Status"))?),
        kind::SUBSCRIBE => Frame::Subscribe(Subscribe {
            topics: Topics(read("Subscribe").u8("topics")?),
        }),
        kind::EVENT => Frame::Event(Event {
            json: read("Event").string("json", MAX_JSON_BYTES)?,
        }),
        kind::QUERY => Frame::Query(query(read("Query"))?),
        kind::DOCUMENT => Frame::Document(document(read("Document"))?),
        kind::PING => Frame::Ping(read("Ping").u64("number")?),
        kind::PONG => Frame::Pong(read("Pong").u64("number")?),
        kind::GOODBYE => Frame::Goodbye(goodbye(read("Goodbye"))?),
        _ => return Ok(None),
    }))
}

fn request(reader: &mut Reader) -> Result<RequestId, WireError> {
    Ok(RequestId(reader.u32("request")?))
}

fn index(reader: &mut Reader) -> Result<Option<u16>, WireError> {
    let index = reader.u16("index")?;
    Ok((index != WHOLE_REQUEST).then_some(index))
}

fn version(reader: &mut Reader) -> Result<Version, WireError> {
    Ok(Version {
        major: reader.u8("version")?,
        minor: reader.u8("version")?,
    })
}

fn hello(mut reader: Reader) -> Result<Hello, WireError> {
    let magic = reader.array("magic")?;
    if magic != MAGIC {
        return Err(WireError::BadMagic(magic));
    }
    Ok(Hello {
        min: version(&mut reader)?,
        max: version(&mut reader)?,
        name: reader.text("name")?,
    })
}

fn welcome(mut reader: Reader) -> Result<Welcome, WireError> {
    Ok(Welcome {
        version: version(&mut reader)?,
        credits: reader.u16("credits")?,
        limits: Limits {
            frame_bytes: reader.u32("frame bytes")?,
            jobs: reader.u16("jobs")?,
            messages: reader.u16("messages")?,
            chunk_bytes: reader.u16("chunk bytes")?,
            deadline_default_ms: reader.u32("default deadline")?,
            deadline_max_ms: reader.u32("longest deadline")?,
        },
        features: Features(reader.u32("features")?),
        daemon: if reader.is_at_end() {
            Text::default() // 1.0
        } else {
            reader.text("daemon version")?
        },
    })
}

fn refused(mut reader: Reader) -> Result<Refused, WireError> {
    Ok(Refused {
        min: version(&mut reader)?,
        max: version(&mut reader)?,
    })
}

fn search(mut reader: Reader) -> Result<Search, WireError> {
    let request = request(&mut reader)?;
    let record_bytes = reader.u16("job bytes")?;
    if record_bytes < JOB_BYTES_1_0 {
        return Err(reader.bad("job bytes", record_bytes));
    }
    let count = reader.count("jobs", MAX_JOBS)?;
    if count == 0 {
        return Err(reader.bad("jobs", 0u8));
    }
    let mut jobs = Vec::with_capacity(count);
    for index in 0..count {
        let record = reader.take(record_bytes.into(), "jobs")?;
        jobs.push(job(Reader::new("Search", record), index)?);
    }
    Ok(Search { request, jobs })
}

fn job(mut reader: Reader, index: usize) -> Result<JobRequest, WireError> {
    let header = Header(reader.array("header")?);
    let first = Nonce(reader.u32("first nonce")?);
    let last = Nonce(reader.u32("last nonce")?);
    let range =
        NonceRange::new(first, last).map_err(|source| WireError::BadJob { index, source })?;
    let target = Target::from_le_bytes(reader.array("target")?);
    let mode = reader.u8("mode")?;
    let hits = reader.u16("hits")?;
    let mode = match mode {
        0 => SearchMode::Exhaust,
        1 => SearchMode::FirstFound(hits),
        other => return Err(reader.bad("mode", other)),
    };
    let priority = match reader.u8("priority")? {
        0 => Priority::Interactive,
        1 => Priority::Batch,
        2 => Priority::Background,
        other => return Err(reader.bad("priority", other)),
    };
    let deadline_ms = reader.u32("deadline")?;
    let rolls = if reader.is_at_end() {
        0 // 1.0
    } else {
        reader.u16("rolls")?
    };
    Ok(JobRequest {
        job: SearchJob {
            header,
            range,
            target,
            mode,
            rolls,
        },
        deadline_ms,
        priority,
    })
}

fn search_done(mut reader: Reader) -> Result<SearchDone, WireError> {
    let request = request(&mut reader)?;
    let index = reader.u16("index")?;
    let end = match reader.u8("end")? {
        1 => SearchEnd::Found,
        2 => SearchEnd::Exhausted,
        3 => SearchEnd::TimerEnded,
        4 => SearchEnd::HitLimit,
        other => return Err(reader.bad("end", other)),
    };
    let certain_nonces = reader.u64("certain nonces")?;
    let works = reader.u32("works")?;
    let count = reader.count("computed by", MAX_COMPUTED_BY)?;
    let mut computed = Vec::with_capacity(count);
    for _ in 0..count {
        computed.push(computed_by(&mut reader)?);
    }
    let record_bytes = reader.u16("hit bytes")?;
    if record_bytes < HIT_BYTES {
        return Err(reader.bad("hit bytes", record_bytes));
    }
    let count = reader.count("hits", MAX_HITS)?;
    let mut hits = Vec::with_capacity(count);
    for _ in 0..count {
        let mut record = Reader::new("SearchDone", reader.take(record_bytes.into(), "hits")?);
        hits.push(Hit {
            time: record.u32("time")?,
            nonce: Nonce(record.u32("nonce")?),
            digest: Digest(record.array("digest")?),
        });
    }
    Ok(SearchDone {
        request,
        index,
        result: SearchResult {
            hits,
            end,
            certain_nonces,
            works,
        },
        computed_by: computed,
    })
}

fn computed_by(reader: &mut Reader) -> Result<ComputedBy, WireError> {
    let kind = match reader.u8("kind")? {
        1 => DeviceKind::Usb,
        2 => DeviceKind::Simulated,
        3 => DeviceKind::Cpu,
        other => return Err(reader.bad("kind", other)),
    };
    let device = reader.text("device")?;
    Ok(ComputedBy { kind, device })
}

fn algorithm(reader: &mut Reader) -> Result<DigestAlgorithm, WireError> {
    let code = reader.u8("algorithm")?;
    DigestAlgorithm::from_code(code).ok_or_else(|| reader.bad("algorithm", code))
}

fn digest_batch(mut reader: Reader) -> Result<DigestBatch, WireError> {
    let request = request(&mut reader)?;
    let algorithm = algorithm(&mut reader)?;
    let count = reader.count("messages", MAX_MESSAGES)?;
    if count == 0 {
        return Err(reader.bad("messages", 0u8));
    }
    Ok(DigestBatch {
        request,
        algorithm,
        messages: Messages::decode(reader.rest(), count)?,
    })
}

fn digests(mut reader: Reader) -> Result<Digests, WireError> {
    let request = request(&mut reader)?;
    let computed_by = computed_by(&mut reader)?;
    let count = reader.count("digests", MAX_MESSAGES)?;
    let mut digests = Vec::with_capacity(count);
    for _ in 0..count {
        digests.push(Digest(reader.array("digests")?));
    }
    Ok(Digests {
        request,
        computed_by,
        digests,
    })
}

fn digest_begin(mut reader: Reader) -> Result<DigestBegin, WireError> {
    Ok(DigestBegin {
        request: request(&mut reader)?,
        algorithm: algorithm(&mut reader)?,
    })
}

fn digest_chunk(mut reader: Reader) -> Result<DigestChunk, WireError> {
    Ok(DigestChunk {
        request: request(&mut reader)?,
        data: reader.bytes("data", MAX_CHUNK_BYTES)?,
    })
}

fn digest_streamed(mut reader: Reader) -> Result<DigestStreamed, WireError> {
    Ok(DigestStreamed {
        request: request(&mut reader)?,
        length: reader.u64("length")?,
        digest: Digest(reader.array("digest")?),
        computed_by: computed_by(&mut reader)?,
    })
}

fn ring_opened(mut reader: Reader) -> Result<RingOpened, WireError> {
    Ok(RingOpened {
        request: request(&mut reader)?,
        bytes: reader.u32("bytes")?,
        computed_by: computed_by(&mut reader)?,
    })
}

fn failed(mut reader: Reader) -> Result<Failed, WireError> {
    Ok(Failed {
        request: request(&mut reader)?,
        index: index(&mut reader)?,
        status: Status::from_code(reader.u16("status")?),
        message: reader.text("message")?,
    })
}

fn cancel(mut reader: Reader) -> Result<Cancel, WireError> {
    Ok(Cancel {
        request: request(&mut reader)?,
        index: index(&mut reader)?,
    })
}

fn status(mut reader: Reader) -> Result<StatusReply, WireError> {
    Ok(StatusReply {
        request: request(&mut reader)?,
        json: reader.string("json", MAX_JSON_BYTES)?,
    })
}

fn query(mut reader: Reader) -> Result<Query, WireError> {
    Ok(Query {
        request: request(&mut reader)?,
        topic: reader.text("topic")?,
        argument: reader.text("argument")?,
    })
}

fn document(mut reader: Reader) -> Result<Document, WireError> {
    Ok(Document {
        request: request(&mut reader)?,
        json: reader.string("json", MAX_JSON_BYTES)?,
    })
}

fn goodbye(mut reader: Reader) -> Result<Goodbye, WireError> {
    let code = reader.u16("status")?;
    Ok(Goodbye {
        status: (code != 0).then(|| Status::from_code(code)),
        message: reader.text("message")?,
    })
}
