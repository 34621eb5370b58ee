//! The recorded frames of every minor, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use bytes::{Bytes, BytesMut};
use hasher_wire::*;
use hasher_work::{
    Digest, Header, Hit, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Target,
    digest, double_digest, from_hex,
};

const CLIENT_1_0: &str = include_str!("../../../tests/fixtures/socket/client-1.0.hex");
const CLIENT_1_1: &str = include_str!("../../../tests/fixtures/socket/client-1.1.hex");
const CLIENT_1_2: &str = include_str!("../../../tests/fixtures/socket/client-1.2.hex");
const CLIENT_1_3: &str = include_str!("../../../tests/fixtures/socket/client-1.3.hex");
const DAEMON_1_0: &str = include_str!("../../../tests/fixtures/socket/daemon-1.0.hex");
const DAEMON_1_1: &str = include_str!("../../../tests/fixtures/socket/daemon-1.1.hex");
const DAEMON_1_2: &str = include_str!("../../../tests/fixtures/socket/daemon-1.2.hex");
const DAEMON_1_3: &str = include_str!("../../../tests/fixtures/socket/daemon-1.3.hex");

/// Names and bytes of the frames in a fixture.
fn recorded(fixture: &str) -> Vec<(String, Vec<u8>)> {
    let mut frames: Vec<(String, String)> = Vec::new();
    for line in fixture.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(name) => frames.push((name.into(), String::new())),
            None if line.is_empty() => {}
            None => frames.last_mut().unwrap().1.push_str(line),
        }
    }
    frames
        .into_iter()
        .map(|(name, hex)| (name, from_hex(&hex).unwrap()))
        .collect()
}

fn header() -> Header {
    "0100000000000000000000000000000000000000000000000000000000000000\
     000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
     4b1e5e4a29ab5f49ffff001d1dac2b7c"
        .parse()
        .unwrap()
}

fn computed_by(kind: DeviceKind, device: &str) -> ComputedBy {
    let device = device.into();
    ComputedBy { kind, device }
}

/// What a client's frames mean; `rolls` are 0 for 1.0.
fn client_frames(minor: u8) -> Vec<Frame> {
    let request = RequestId(7);
    let rolls = |rolls| if minor == 0 { 0 } else { rolls };
    let job = |range, mode, rolls| SearchJob {
        header: header(),
        range,
        target: Target::from_zero_bits(32).unwrap(),
        mode,
        rolls,
    };
    let near = NonceRange::new(Nonce(0x7c2b_ac00), Nonce(0x7c2b_acff)).unwrap();
    let mut frames = vec![
        Frame::Hello(Hello {
            min: Version::V1_0,
            max: Version { major: 1, minor },
            name: "golden".into(),
        }),
        Frame::Search(Search {
            request,
            jobs: vec![
                JobRequest {
                    job: job(near, SearchMode::FirstFound(1), rolls(3)),
                    deadline_ms: 1500,
                    priority: Priority::Interactive,
                },
                JobRequest {
                    job: job(NonceRange::WHOLE, SearchMode::Exhaust, rolls(4095)),
                    deadline_ms: 0,
                    priority: Priority::Background,
                },
            ],
        }),
        Frame::DigestBatch(DigestBatch {
            request: RequestId(8),
            algorithm: DigestAlgorithm::Sha256d,
            messages: Messages::new([b"abc".as_slice(), b"", &header().0]).unwrap(),
        }),
    ];
    if minor >= 1 {
        let request = RequestId(9);
        frames.extend([
            Frame::DigestBegin(DigestBegin {
                request,
                algorithm: DigestAlgorithm::Sha256,
            }),
            Frame::DigestChunk(DigestChunk {
                request,
                data: Bytes::from_static(b"abc"),
            }),
            Frame::DigestEnd(DigestEnd { request }),
        ]);
    }
    if minor >= 3 {
        frames.extend([Frame::RingOpen(RequestId(12)), Frame::RingBell]);
    }
    frames.extend([
        Frame::Cancel(Cancel {
            request,
            index: None,
        }),
        Frame::Cancel(Cancel {
            request,
            index: Some(1),
        }),
        Frame::StatusQuery(RequestId(10)),
    ]);
    if minor >= 2 {
        frames.push(Frame::Query(Query {
            request: RequestId(11),
            topic: ConfigurationReport::TOPIC.into(),
            argument: "".into(),
        }));
    }
    frames.extend([
        Frame::Subscribe(Subscribe {
            topics: Topics::ALL,
        }),
        Frame::Ping(0x0123_4567_89ab_cdef),
        Frame::Goodbye(Goodbye {
            status: None,
            message: "done".into(),
        }),
    ]);
    frames
}

fn daemon_frames(minor: u8) -> Vec<Frame> {
    let request = RequestId(7);
    let done = |index, hits, end, certain_nonces, by| {
        Frame::SearchDone(SearchDone {
            request,
            index,
            result: SearchResult {
                hits,
                end,
                certain_nonces,
                works: 1,
            },
            computed_by: vec![by],
        })
    };
    let hit = Hit {
        time: 0x495f_ab29,
        nonce: Nonce(0x7c2b_ac1d),
        digest: header().double_digest(),
    };
    let report = StatusReport {
        daemon: DaemonReport {
            version: "0.1.0".into(),
            pid: 1,
            uptime_s: 2,
        },
        protocol: ProtocolReport {
            min: "1.0".into(),
            max: format!("1.{minor}"),
        },
        ..StatusReport::default()
    };
    let version = Version { major: 1, minor };
    let mut frames = vec![
        Frame::Welcome(Welcome {
            version,
            credits: 64,
            limits: Limits {
                frame_bytes: 65536,
                jobs: 256,
                messages: 1024,
                chunk_bytes: 61440,
                deadline_default_ms: 600_000,
                deadline_max_ms: 86_400_000,
            },
            features: Features([0, 3, 7, 15][usize::from(minor)]),
            daemon: if minor == 0 { "" } else { "0.1.0" }.into(),
        }),
        Frame::Refused(Refused {
            min: Version::V1_0,
            max: version,
        }),
        done(
            0,
            vec![hit],
            SearchEnd::Found,
            0,
            computed_by(DeviceKind::Simulated, "sim-s3-0"),
        ),
        done(
            1,
            vec![],
            SearchEnd::Exhausted,
            1 << 32,
            computed_by(DeviceKind::Cpu, "cpu-0"),
        ),
        Frame::Digests(Digests {
            request: RequestId(8),
            computed_by: computed_by(DeviceKind::Cpu, "cpu"),
            digests: vec![
                double_digest(b"abc"),
                double_digest(b""),
                header().double_digest(),
            ],
        }),
    ];
    if minor >= 1 {
        frames.push(Frame::DigestStreamed(DigestStreamed {
            request: RequestId(9),
            length: 3,
            digest: digest(b"abc"),
            computed_by: computed_by(DeviceKind::Cpu, "cpu"),
        }));
    }
    if minor >= 3 {
        frames.push(Frame::RingOpened(RingOpened {
            request: RequestId(12),
            bytes: 249_856,
            computed_by: computed_by(DeviceKind::Cpu, "cpu"),
        }));
        frames.push(Frame::RingBell);
    }
    frames.extend([
        Frame::Failed(Failed {
            request,
            index: Some(1),
            status: Status::DeviceGone,
            message: "sim-s3-0 went away".into(),
        }),
        Frame::Failed(Failed {
            request: RequestId(8),
            index: None,
            status: Status::Busy,
            message: "".into(),
        }),
        Frame::Status(StatusReply {
            request: RequestId(10),
            // Totals may be left out: what is missing counts as 0.
            json: serde_json::to_string(&report)
                .unwrap()
                .split_once("\"totals\"")
                .map(|(before, _)| format!("{before}\"totals\":{{}}}}"))
                .unwrap(),
        }),
    ]);
    if minor >= 2 {
        let document = ConfigurationReport::default();
        frames.push(Frame::Document(
            Document::new(RequestId(11), &document).unwrap(),
        ));
    }
    frames.extend([
        Frame::Event(Event::new(&EventBody::Removed { id: "cpu-0".into() }).unwrap()),
        Frame::Pong(0x0123_4567_89ab_cdef),
        Frame::Goodbye(Goodbye {
            status: Some(Status::ShuttingDown),
            message: "stopping".into(),
        }),
    ]);
    frames
}

fn assert_decodes(fixture: &str, expected: Vec<Frame>) {
    let recorded = recorded(fixture);
    assert_eq!(recorded.len(), expected.len());
    for ((name, bytes), expected) in recorded.iter().zip(&expected) {
        let mut bytes = BytesMut::from(&bytes[..]);
        assert_eq!(
            Codec.decode(&mut bytes).unwrap().as_ref(),
            Some(expected),
            "{name}"
        );
        assert!(bytes.is_empty(), "{name}");
    }
    // The whole stream, one byte at a time.
    let mut stream = BytesMut::new();
    let mut decoded = Vec::new();
    for byte in recorded.iter().flat_map(|(_, bytes)| bytes) {
        stream.extend_from_slice(&[*byte]);
        decoded.extend(Codec.decode(&mut stream).unwrap());
    }
    assert_eq!(decoded, expected);
}

fn assert_encodes(fixture: &str, frames: &[Frame]) {
    for ((name, expected), frame) in recorded(fixture).iter().zip(frames) {
        let mut bytes = BytesMut::new();
        Codec.encode(frame, &mut bytes).unwrap();
        assert_eq!(bytes, expected, "{name}");
    }
}

#[test]
fn recorded_client_frames_of_earlier_minors_are_understood() {
    assert_decodes(CLIENT_1_0, client_frames(0));
    assert_decodes(CLIENT_1_1, client_frames(1));
    assert_decodes(CLIENT_1_2, client_frames(2));
}

#[test]
fn recorded_daemon_frames_of_earlier_minors_are_understood() {
    assert_decodes(DAEMON_1_0, daemon_frames(0));
    assert_decodes(DAEMON_1_1, daemon_frames(1));
    assert_decodes(DAEMON_1_2, daemon_frames(2));
}

#[test]
fn recorded_frames_of_this_minor_are_read_and_written_to_the_byte() {
    assert_decodes(CLIENT_1_3, client_frames(3));
    assert_encodes(CLIENT_1_3, &client_frames(3));
    assert_decodes(DAEMON_1_3, daemon_frames(3));
    assert_encodes(DAEMON_1_3, &daemon_frames(3));
}

#[test]
fn frames_that_a_newer_minor_made_longer_are_understood() {
    for (fixture, frames) in [
        (CLIENT_1_3, client_frames(3)),
        (DAEMON_1_3, daemon_frames(3)),
    ] {
        for ((name, bytes), expected) in recorded(fixture).iter().zip(frames) {
            let mut longer = BytesMut::from(&bytes[..]);
            longer.extend_from_slice(&[0x5a; 9]);
            let length = longer.len() as u32 - 4;
            longer[..4].copy_from_slice(&length.to_le_bytes());
            assert_eq!(Codec.decode(&mut longer).unwrap(), Some(expected), "{name}");
        }
    }
}

#[test]
fn job_records_that_a_newer_minor_made_longer_are_understood() {
    let (_, bytes) = &recorded(CLIENT_1_3)[1];
    let mut longer = BytesMut::new();
    longer.extend_from_slice(&bytes[..14]);
    for record in bytes[14..].chunks(130) {
        longer.extend_from_slice(record);
        longer.extend_from_slice(&[0x5a; 5]);
    }
    longer[10..12].copy_from_slice(&135u16.to_le_bytes());
    let length = longer.len() as u32 - 4;
    longer[..4].copy_from_slice(&length.to_le_bytes());
    let expected = client_frames(3).swap_remove(1);
    assert_eq!(Codec.decode(&mut longer).unwrap(), Some(expected));
}

#[test]
fn a_frame_of_unknown_type_is_skipped() {
    let mut bytes = BytesMut::from(&[6, 0, 0, 0, 0xff, 0x7f, 1, 2, 3, 4][..]);
    Codec.encode(&Frame::Ping(5), &mut bytes).unwrap();
    assert_eq!(Codec.decode(&mut bytes).unwrap(), Some(Frame::Ping(5)));
}

#[test]
fn every_frame_cut_inside_its_first_version_is_refused_or_awaited() {
    for fixture in [CLIENT_1_0, DAEMON_1_0] {
        for (name, bytes) in recorded(fixture) {
            for cut in 0..bytes.len() {
                // As it comes in: more bytes are awaited.
                let mut part = BytesMut::from(&bytes[..cut]);
                assert!(
                    Codec.decode(&mut part).unwrap().is_none(),
                    "{name} at {cut}"
                );
                // As a frame that claims to end there: refused.
                if cut >= 6 {
                    let mut part = BytesMut::from(&bytes[..cut]);
                    let length = cut as u32 - 4;
                    part[..4].copy_from_slice(&length.to_le_bytes());
                    assert!(Codec.decode(&mut part).is_err(), "{name} at {cut}");
                }
            }
        }
    }
}

#[test]
fn digest_bytes_of_the_fixture_are_those_of_block_0() {
    // Guards the fixture itself: bytes 6.. of search_done end with the digest.
    let (_, bytes) = &recorded(DAEMON_1_3)[2];
    let digest: [u8; 32] = bytes[bytes.len() - 32..].try_into().unwrap();
    assert_eq!(Digest(digest).leading_zero_bits(), 43);
}

/// The rows of the protocol document's tables: first cell (a number) and second.
fn documented() -> Vec<(u16, String)> {
    include_str!("../../../docs/socket-protocol.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
        })
        .collect()
}

#[test]
fn every_status_and_frame_stands_in_the_document_under_its_number() {
    let documented = documented();
    for status in Status::ALL {
        let row = documented.iter().find(|(code, _)| *code == status.code());
        let (_, name) = row.unwrap_or_else(|| panic!("{status} is not documented"));
        assert!(
            format!("{status:?}").eq_ignore_ascii_case(&name.replace(' ', "")),
            "{name}"
        );
    }
    for (frames, fixture) in [
        (client_frames(3), CLIENT_1_3),
        (daemon_frames(3), DAEMON_1_3),
    ] {
        for (frame, (_, bytes)) in frames.iter().zip(recorded(fixture)) {
            let kind = u16::from_le_bytes([bytes[4], bytes[5]]);
            let debug = format!("{frame:?}");
            let name = debug.split('(').next().unwrap();
            let row = documented.iter().find(|(number, _)| *number == kind);
            assert_eq!(row.map(|(_, name)| name.as_str()), Some(name));
        }
    }
}
