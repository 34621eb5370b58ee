//! What the protocol promises about a session.

use super::support::*;

#[tokio::test(start_paused = true)]
async fn jobs_beyond_the_credits_are_busy_at_once_and_credits_come_back() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("eager").await;
    client.search(1, (0..256).map(endless).collect()).await;
    client.search(2, vec![job(1), job(2)]).await;
    for index in 0..2 {
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("no credit is left")
        };
        assert_eq!((failed.request, failed.index), (RequestId(2), Some(index)));
        assert_eq!(failed.status, Status::Busy);
        assert!(failed.status.is_retryable());
    }
    client
        .send(&Frame::Cancel(Cancel {
            request: RequestId(1),
            index: None,
        }))
        .await;
    for _ in 0..256 {
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("each job is cancelled")
        };
        assert_eq!(
            (failed.request, failed.status),
            (RequestId(1), Status::Cancelled)
        );
    }
    client.search(1, vec![job(1)]).await;
    assert!(matches!(client.next().await, Some(Frame::SearchDone(_))));
    assert_eq!(client.status().await.sessions[0].refused, 2);
}

#[tokio::test(start_paused = true)]
async fn digests_are_right_for_batches_and_streams_and_say_who_computed_them() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let mut client = daemon.client("digester").await;
    let messages: Vec<Bytes> = (0..600).map(|i| Bytes::from(vec![i as u8; i])).collect();
    for part in messages.chunks(100) {
        client.send(&digest_batch(1, part)).await;
        let Some(Frame::Digests(digests)) = client.next().await else {
            panic!("a batch is answered")
        };
        let expected: Vec<_> = part.iter().map(|message| double_digest(message)).collect();
        assert_eq!(digests.digests, expected);
        assert_eq!(digests.computed_by.kind, hasher_wire::DeviceKind::Cpu);
    }

    // Two streams at once, in pieces below and above what is digested inline.
    let data: Vec<u8> = (0..200_000u32).map(|i| (i * 7) as u8).collect();
    for request in [2, 3].map(RequestId) {
        let algorithm = DigestAlgorithm::Sha256;
        client
            .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
            .await;
    }
    for piece in data.chunks(50_000).chain(data.chunks(3000)) {
        for request in [2, 3].map(RequestId) {
            let data = Bytes::copy_from_slice(piece);
            client
                .send(&Frame::DigestChunk(DigestChunk { request, data }))
                .await;
        }
    }
    for request in [3, 2].map(RequestId) {
        client.send(&Frame::DigestEnd(DigestEnd { request })).await;
        let Some(Frame::DigestStreamed(streamed)) = client.next().await else {
            panic!("a stream is answered")
        };
        assert_eq!((streamed.request, streamed.length), (request, 400_000));
        assert_eq!(streamed.digest, digest(&data.repeat(2)));
    }
    let report = client.status().await;
    assert_eq!(
        (report.totals.digests, report.sessions[0].digests),
        (602, 602)
    );
    assert_eq!(report.sessions[0].credits_free, report.sessions[0].credits);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_stream_is_answered_once_and_its_late_chunks_are_ignored() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let mut client = daemon.client("digester").await;
    let request = RequestId(5);
    let algorithm = DigestAlgorithm::Sha256;
    client
        .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
        .await;
    client
        .send(&Frame::Cancel(Cancel {
            request,
            index: None,
        }))
        .await;
    let data = Bytes::from_static(b"late");
    client
        .send(&Frame::DigestChunk(DigestChunk { request, data }))
        .await;
    client.send(&Frame::DigestEnd(DigestEnd { request })).await;
    client.send(&Frame::Ping(1)).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the stream is cancelled")
    };
    assert_eq!(
        (failed.request, failed.status),
        (request, Status::Cancelled)
    );
    assert_eq!(client.next().await, Some(Frame::Pong(1)));
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_only_its_own_session_and_says_why() {
    let seed = test_seed();
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut bystander = daemon.client("bystander").await;
    for number in 0..100 {
        let mut rng = Rng::new(seed.wrapping_add(number));
        let mut garbler = if number % 2 == 0 {
            daemon.client("garbler").await
        } else {
            let (stream, incoming) = (daemon.raw(), BytesMut::new());
            Client { stream, incoming }
        };
        let garbage: Vec<u8> = (0..64).map(|_| rng.next() as u8).collect();
        // Announces a frame that is too long, so that the daemon does not wait for it.
        garbler
            .stream
            .write_all(&[&[0xff; 4][..], &garbage].concat())
            .await
            .unwrap();
        let Some(Frame::Goodbye(goodbye)) = garbler.next().await else {
            panic!("garbage is answered with Goodbye")
        };
        assert_eq!(goodbye.status, Some(Status::Protocol));
        assert!(
            goodbye.message.contains("longer than the limit"),
            "{goodbye:?}"
        );
        assert_eq!(garbler.next().await, None);
    }
    bystander.search(1, vec![job(1)]).await;
    assert!(matches!(bystander.next().await, Some(Frame::SearchDone(_))));
    drop(bystander);
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn frames_that_a_client_must_not_send_end_the_session() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("confused").await;
    client
        .send(&Frame::Hello(Hello {
            min: Version::V1_0,
            max: Version::V1_1,
            name: "again".into(),
        }))
        .await;
    let Some(Frame::Goodbye(goodbye)) = client.next().await else {
        panic!("a second Hello is wrong")
    };
    assert_eq!(goodbye.status, Some(Status::Protocol));

    let mut client = daemon.client("confused").await;
    client.search(1, vec![endless(1)]).await;
    client.search(1, vec![endless(2)]).await;
    let Some(Frame::Goodbye(goodbye)) = client.next().await else {
        panic!("a number is used twice")
    };
    assert_eq!(&*goodbye.message, "request 1 is still unanswered");
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn versions_are_agreed_or_refused() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let version = |major, minor| Version { major, minor };
    let cases = [
        (version(1, 0), version(1, 0), Some(version(1, 0))),
        (version(1, 1), version(3, 0), Some(version(1, 3))),
        (version(2, 0), version(2, 5), None),
    ];
    for (min, max, expected) in cases {
        let (stream, incoming) = (daemon.raw(), BytesMut::new());
        let mut client = Client { stream, incoming };
        match (client.hello("versions", min, max).await, expected) {
            (Some(Frame::Welcome(welcome)), Some(expected)) => {
                assert_eq!(welcome.version, expected)
            }
            (Some(Frame::Refused(refused)), None) => {
                assert_eq!((refused.min, refused.max), (Version::V1_0, Version::V1_3));
                assert_eq!(client.next().await, None);
            }
            (other, _) => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_the_hello_timeout() {
    let daemon = Daemon::start(Vec::<TestBoard>::new());
    let (stream, incoming) = (daemon.raw(), BytesMut::new());
    let mut client = Client { stream, incoming };
    let start = Instant::now();
    assert!(matches!(client.next().await, Some(Frame::Goodbye(_))));
    assert_eq!(start.elapsed().as_secs(), HELLO_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_what_is_open_and_says_goodbye() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("patient").await;
    client.search(1, vec![endless(1), endless(2)]).await;
    let request = RequestId(2);
    let algorithm = DigestAlgorithm::Sha256;
    client
        .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
        .await;
    client.send(&Frame::Ping(1)).await;
    assert_eq!(client.next().await, Some(Frame::Pong(1)));
    daemon.hub.begin_drain();
    client.search(3, vec![job(3)]).await;
    let mut failed = Vec::new();
    let Some(Frame::Failed(refused)) = client.next().await else {
        panic!("no new jobs are accepted")
    };
    failed.push(refused);
    daemon.hub.fail_all(&JobError::ShuttingDown);
    daemon.stop.cancel();
    let goodbye = loop {
        match client.next().await {
            Some(Frame::Failed(more)) => failed.push(more),
            other => break other,
        }
    };
    assert!(
        failed
            .iter()
            .all(|failed| failed.status == Status::ShuttingDown)
    );
    let addresses: HashSet<_> = failed.iter().map(|f| (f.request.0, f.index)).collect();
    let expected = [(3, Some(0)), (1, Some(0)), (1, Some(1)), (2, None)];
    assert_eq!(addresses, HashSet::from(expected));
    let Some(Frame::Goodbye(goodbye)) = goodbye else {
        panic!("the daemon says goodbye")
    };
    assert_eq!(goodbye.status, Some(Status::ShuttingDown));
    assert_eq!(client.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_newest_state_and_only_while_subscribed() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("watcher").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let topics = Topics::DEVICES;
    client.send(&Frame::Subscribe(Subscribe { topics })).await;
    let mut states = Vec::new();
    for _ in 0..4 {
        let Some(Frame::Event(event)) = client.next().await else {
            panic!("an event comes")
        };
        let EventBody::Device { device } = event.body().unwrap() else {
            panic!("only devices were asked for")
        };
        states.push(device.state);
        match states.len() {
            1 => board.heat(true),
            2 => board.heat(false),
            3 => board.unplug(),
            _ => {}
        }
    }
    let expected = [
        DeviceState::Ready,
        DeviceState::Paused,
        DeviceState::Ready,
        DeviceState::Absent,
    ];
    assert_eq!(states, expected);
    client
        .send(&Frame::Subscribe(Subscribe {
            topics: Topics::NONE,
        }))
        .await;
    client.send(&Frame::Ping(1)).await;
    board.plug();
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.send(&Frame::Ping(2)).await;
    while client.next().await != Some(Frame::Pong(1)) {}
    assert_eq!(client.next().await, Some(Frame::Pong(2)));
}

#[test]
fn the_largest_status_document_fits_into_its_frame() {
    use crate::core::DEVICES_MAX;
    use crate::hub::STATUS_SESSIONS;
    // Quotes and backslashes double in JSON; control characters cannot occur.
    let text = |bytes| "\"".repeat(bytes);
    // Names of ports, models, versions and clients hold neither.
    let plain = |bytes| "n".repeat(bytes);
    let device = hasher_wire::DeviceReport {
        id: plain(64),
        kind: hasher_wire::DeviceKind::Simulated,
        state: DeviceState::Stopping,
        reason: Some(text(128)),
        held_by: Some(plain(64)),
        remedy: Some(text(128)),
        layout: plain(2),
        hash_rate_hps: hasher_wire::HashRateReport {
            minute: 123_456_789_012_345.0,
            quarter_hour: 123_456_789_012_345.0,
        },
        model: plain(64),
        firmware: plain(64),
        chips_per_chain: vec![255; 16],
        frequency_mhz: 1e-300,
        filter_zero_bits: u32::MAX,
        nominal_hash_rate_hps: 1.234_567_890_123e300,
        temperatures_celsius: vec![255; 16],
        fans_rpm: vec![u32::MAX; 16],
        fifo_space: Some(u32::MAX),
        slowdown: Some(1.234_567_890_123e300),
        works_in_flight: u32::MAX,
        attachments: u32::MAX,
        counters: hasher_wire::DeviceCountersReport {
            works: u64::MAX,
            filler_works: u64::MAX,
            hits: u64::MAX,
            hardware_errors: u64::MAX,
            stale: u64::MAX,
            duplicates: u64::MAX,
            unknown_works: u64::MAX,
            lost_works: u64::MAX,
            dropped_bytes: u64::MAX,
            recoveries: u64::MAX,
        },
    };
    let session = SessionReport {
        id: u64::MAX,
        name: plain(64),
        uid: Some(u32::MAX),
        pid: Some(i32::MIN),
        protocol: "255.255".into(),
        credits: u16::MAX,
        credits_free: u16::MAX,
        jobs_accepted: u64::MAX,
        jobs_done: u64::MAX,
        jobs_failed: u64::MAX,
        refused: u64::MAX,
        jobs_live: u32::MAX,
        share: 0.1234,
        works: u64::MAX,
        digests: u64::MAX,
    };
    let report = StatusReport {
        devices: vec![device; DEVICES_MAX],
        sessions: vec![session; STATUS_SESSIONS],
        sessions_left_out: u64::MAX,
        ..StatusReport::default()
    };
    let reply = StatusReply::new(RequestId(1), &report).unwrap();
    assert!(
        reply.json.len() < hasher_wire::MAX_JSON_BYTES - 1024,
        "{}",
        reply.json.len()
    );
}

/// The answers to what was read of them fill the session's buffer; a connection with room
/// for all of it takes them in one piece, and the rest must follow.
#[tokio::test(start_paused = true)]
async fn a_flood_of_queries_is_answered_to_the_last_one() {
    const QUERIES: u32 = 500;
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (hub, stop) = (Arc::clone(&daemon.hub), daemon.stop.clone());
    tokio::spawn(serve(theirs, Peer::default(), hub, stop));
    let mut client = Client {
        stream: ours,
        incoming: BytesMut::new(),
    };
    client.hello("flood", Version::V1_0, Version::NEWEST).await;
    for number in 0..QUERIES {
        client.send(&Frame::StatusQuery(RequestId(number))).await;
    }
    for number in 0..QUERIES {
        let answer = tokio::time::timeout(Duration::from_secs(10), client.next()).await;
        let Ok(Some(Frame::Status(status))) = answer else {
            panic!("query {number} has no answer");
        };
        assert_eq!(status.request, RequestId(number));
    }
    drop(client);
    daemon.assert_empty().await;
}
