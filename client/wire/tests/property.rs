//! Whatever bytes come, the decoder answers; whatever frame goes, it comes back.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use bytes::{Bytes, BytesMut};
use hasher_wire::*;
use hasher_work::{
    Digest, Header, Hit, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Target,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

fn digest() -> impl Strategy<Value = Digest> {
    bytes().prop_map(Digest)
}

fn request() -> impl Strategy<Value = RequestId> {
    any::<u32>().prop_map(RequestId)
}

fn index() -> impl Strategy<Value = Option<u16>> {
    proptest::option::of(0u16..0xffff)
}

fn version() -> impl Strategy<Value = Version> {
    any::<(u8, u8)>().prop_map(|(major, minor)| Version { major, minor })
}

fn text<const MAX: usize>() -> impl Strategy<Value = Text<MAX>> {
    vec(any::<char>(), 0..80).prop_map(|chars| Text::new(&chars.into_iter().collect::<String>()))
}

fn computed_by() -> impl Strategy<Value = ComputedBy> {
    const KINDS: &[DeviceKind] = &[DeviceKind::Usb, DeviceKind::Simulated, DeviceKind::Cpu];
    (proptest::sample::select(KINDS), text()).prop_map(|(kind, device)| ComputedBy { kind, device })
}

fn job() -> impl Strategy<Value = JobRequest> {
    let mode = prop_oneof![
        Just(SearchMode::Exhaust),
        any::<u16>().prop_map(SearchMode::FirstFound)
    ];
    let priority = prop_oneof![
        Just(Priority::Interactive),
        Just(Priority::Batch),
        Just(Priority::Background)
    ];
    (
        bytes::<80>(),
        any::<[u32; 2]>(),
        bytes::<32>(),
        mode,
        any::<(u16, u32)>(),
        priority,
    )
        .prop_map(
            |(header, [a, b], target, mode, (rolls, deadline_ms), priority)| JobRequest {
                job: SearchJob {
                    header: Header(header),
                    range: NonceRange::new(Nonce(a.min(b)), Nonce(a.max(b))).unwrap(),
                    target: Target::from_le_bytes(target),
                    mode,
                    rolls,
                },
                deadline_ms,
                priority,
            },
        )
}

fn search_done() -> impl Strategy<Value = SearchDone> {
    let end = prop_oneof![
        Just(SearchEnd::Found),
        Just(SearchEnd::Exhausted),
        Just(SearchEnd::TimerEnded),
        Just(SearchEnd::HitLimit)
    ];
    let hit = (any::<(u32, u32)>(), digest()).prop_map(|((time, nonce), digest)| Hit {
        time,
        nonce: Nonce(nonce),
        digest,
    });
    (
        (request(), any::<u16>(), end, any::<(u64, u32)>()),
        vec(hit, 0..=MAX_HITS),
        vec(computed_by(), 0..=MAX_COMPUTED_BY),
    )
        .prop_map(
            |((request, index, end, (certain_nonces, works)), hits, computed_by)| SearchDone {
                request,
                index,
                result: SearchResult {
                    hits,
                    end,
                    certain_nonces,
                    works,
                },
                computed_by,
            },
        )
}

fn algorithm() -> impl Strategy<Value = DigestAlgorithm> {
    prop_oneof![
        Just(DigestAlgorithm::Sha256),
        Just(DigestAlgorithm::Sha256d)
    ]
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<[u32; 3]>(), any::<[u16; 3]>()).prop_map(|([a, b, c], [d, e, f])| Limits {
        frame_bytes: a,
        jobs: d,
        messages: e,
        chunk_bytes: f,
        deadline_default_ms: b,
        deadline_max_ms: c,
    })
}

fn session_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (version(), version(), text()).prop_map(|(min, max, name)| Frame::Hello(Hello {
            min,
            max,
            name
        })),
        (version(), any::<(u16, u32)>(), limits(), text()).prop_map(
            |(version, (credits, features), limits, daemon)| Frame::Welcome(Welcome {
                version,
                credits,
                limits,
                features: Features(features),
                daemon,
            })
        ),
        (version(), version()).prop_map(|(min, max)| Frame::Refused(Refused { min, max })),
        (request(), index(), any::<u16>(), text()).prop_map(|(request, index, code, message)| {
            Frame::Failed(Failed {
                request,
                index,
                status: Status::from_code(code),
                message,
            })
        }),
        (request(), index()).prop_map(|(request, index)| Frame::Cancel(Cancel { request, index })),
        request().prop_map(Frame::StatusQuery),
        (request(), ".{0,99}")
            .prop_map(|(request, json)| Frame::Status(StatusReply { request, json })),
        (request(), text(), text()).prop_map(|(request, topic, argument)| Frame::Query(Query {
            request,
            topic,
            argument
        })),
        (request(), ".{0,99}")
            .prop_map(|(request, json)| Frame::Document(Document { request, json })),
        any::<u8>().prop_map(|topics| Frame::Subscribe(Subscribe {
            topics: Topics(topics)
        })),
        ".{0,99}".prop_map(|json| Frame::Event(Event { json })),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        (any::<u16>(), text()).prop_map(|(code, message)| Frame::Goodbye(Goodbye {
            status: (code != 0).then(|| Status::from_code(code)),
            message,
        })),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        session_frame(),
        (request(), vec(job(), 1..=MAX_JOBS))
            .prop_map(|(request, jobs)| Frame::Search(Search { request, jobs })),
        search_done().prop_map(Frame::SearchDone),
        (request(), algorithm(), vec(data(), 1..100)).prop_map(|(request, algorithm, messages)| {
            Frame::DigestBatch(DigestBatch {
                request,
                algorithm,
                messages: Messages::new(messages).unwrap(),
            })
        }),
        (request(), computed_by(), vec(digest(), 0..=MAX_MESSAGES)).prop_map(
            |(request, computed_by, digests)| Frame::Digests(Digests {
                request,
                computed_by,
                digests,
            })
        ),
        (request(), algorithm()).prop_map(|(request, algorithm)| Frame::DigestBegin(DigestBegin {
            request,
            algorithm
        })),
        (request(), data())
            .prop_map(|(request, data)| Frame::DigestChunk(DigestChunk { request, data })),
        request().prop_map(|request| Frame::DigestEnd(DigestEnd { request })),
        request().prop_map(Frame::RingOpen),
        (request(), any::<u32>(), computed_by()).prop_map(|(request, bytes, computed_by)| {
            Frame::RingOpened(RingOpened {
                request,
                bytes,
                computed_by,
            })
        }),
        Just(Frame::RingBell),
        (request(), any::<u64>(), digest(), computed_by()).prop_map(
            |(request, length, digest, computed_by)| Frame::DigestStreamed(DigestStreamed {
                request,
                length,
                digest,
                computed_by,
            })
        ),
    ]
}

/// Decodes until the bytes are used up or refused; counts the frames.
fn drain(mut bytes: BytesMut) -> usize {
    let mut frames = 0;
    while let Ok(Some(_)) = Codec.decode(&mut bytes) {
        frames += 1;
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_never_panic_and_never_reserve_more_than_a_frame(bytes in vec(any::<u8>(), 0..2000)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let whole = buffer.len();
        while let Ok(Some(_)) = Codec.decode(&mut buffer) {}
        prop_assert!(buffer.capacity() <= whole.max(MAX_FRAME_BYTES) * 2);
    }

    #[test]
    fn arbitrary_fields_of_every_type_never_panic(kind in 0u16..90, body in vec(any::<u8>(), 0..600)) {
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&(body.len() as u32 + 2).to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&body);
        prop_assert!(drain(bytes) <= 1);
    }

    #[test]
    fn a_frame_comes_back_as_it_went(frames in vec(frame(), 1..4)) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            Codec.encode(frame, &mut bytes).unwrap();
        }
        for frame in &frames {
            let decoded = Codec.decode(&mut bytes).unwrap();
            prop_assert_eq!(decoded.as_ref(), Some(frame));
        }
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn a_damaged_frame_never_panics(frame in frame(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = BytesMut::new();
        Codec.encode(&frame, &mut bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drain(bytes);
    }
}

#[test]
fn what_exceeds_a_bound_is_not_written_and_leaves_nothing_behind() {
    let request = RequestId(1);
    let too_many = [
        Frame::DigestChunk(DigestChunk {
            request,
            data: Bytes::from(vec![0; MAX_CHUNK_BYTES + 1]),
        }),
        // Each message is allowed, together they do not fit.
        Frame::DigestBatch(DigestBatch {
            request,
            algorithm: DigestAlgorithm::Sha256,
            messages: Messages::new([[0; 40_000]; 2]).unwrap(),
        }),
        Frame::Event(Event {
            json: " ".repeat(MAX_JSON_BYTES + 1),
        }),
    ];
    for frame in too_many {
        let mut bytes = BytesMut::from(&b"before"[..]);
        assert!(Codec.encode(&frame, &mut bytes).is_err());
        assert_eq!(&bytes[..], b"before");
    }
}

#[test]
fn the_largest_frames_fit() {
    let zero = [0; 32];
    let largest = SearchDone {
        request: RequestId(1),
        index: 0,
        result: SearchResult {
            hits: vec![
                Hit {
                    time: 0,
                    nonce: Nonce(0),
                    digest: Digest(zero)
                };
                MAX_HITS
            ],
            end: SearchEnd::HitLimit,
            certain_nonces: 0,
            works: 1,
        },
        computed_by: vec![
            ComputedBy {
                kind: DeviceKind::Usb,
                device: "d".repeat(64).into()
            };
            MAX_COMPUTED_BY
        ],
    };
    let job = JobRequest {
        job: SearchJob {
            header: Header([0; 80]),
            range: NonceRange::WHOLE,
            target: Target::ANY,
            mode: SearchMode::Exhaust,
            rolls: 0,
        },
        deadline_ms: 0,
        priority: Priority::Batch,
    };
    for frame in [
        Frame::SearchDone(largest),
        Frame::Search(Search {
            request: RequestId(1),
            jobs: vec![job; MAX_JOBS],
        }),
        Frame::Digests(Digests {
            request: RequestId(1),
            computed_by: ComputedBy {
                kind: DeviceKind::Cpu,
                device: "cpu".into(),
            },
            digests: vec![Digest(zero); MAX_MESSAGES],
        }),
    ] {
        Codec.encode(&frame, &mut BytesMut::new()).unwrap();
    }
}
