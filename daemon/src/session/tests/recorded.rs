//! Recorded clients of every minor.

use super::support::*;

/// The frames of a fixture by name.
fn recorded(fixture: &str) -> HashMap<String, Vec<u8>> {
    let mut frames = HashMap::new();
    for block in fixture.split("\n[").skip(1) {
        let (name, lines) = block.split_once(']').unwrap();
        let hex: String = lines
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .collect();
        frames.insert(name.to_owned(), from_hex(&hex).unwrap());
    }
    frames
}

/// Plays a recorded client of one minor against the CPU device.
async fn serve_recorded(fixture: &str, daemon_fixture: &str, version: Version) {
    let daemon = Daemon::start(vec![device("cpu,threads=2", 0)]);
    let (frames, daemon_frames) = (recorded(fixture), recorded(daemon_fixture));
    let (stream, incoming) = (daemon.raw(), BytesMut::new());
    let mut client = Client { stream, incoming };
    client.stream.write_all(&frames["hello"]).await.unwrap();
    let Some(Frame::Welcome(welcome)) = client.next().await else {
        panic!("the recorded client is welcome")
    };
    assert_eq!(welcome.version, version);
    assert_eq!(
        welcome.features.has(Features::DIGEST_STREAM),
        version >= Version::V1_1
    );

    // Job 0 finds block 0 within its 256 nonces; job 1 would take hours.
    client.stream.write_all(&frames["search"]).await.unwrap();
    let Some(Frame::SearchDone(done)) = client.next().await else {
        panic!("block 0 is found")
    };
    assert_eq!(
        (done.index, done.result.hits[0].nonce),
        (0, Nonce(0x7c2b_ac1d))
    );
    assert_eq!(done.result.certain_nonces, 0x1e);
    client
        .stream
        .write_all(&frames["cancel_one"])
        .await
        .unwrap();
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("job 1 is cancelled")
    };
    assert_eq!((failed.index, failed.status), (Some(1), Status::Cancelled));
    // Both are answered, so this changes nothing.
    client
        .stream
        .write_all(&frames["cancel_all"])
        .await
        .unwrap();

    client
        .stream
        .write_all(&frames["digest_batch"])
        .await
        .unwrap();
    let digests = client.next().await.unwrap();
    let mut bytes = BytesMut::new();
    Codec.encode(&digests, &mut bytes).unwrap();
    assert_eq!(
        bytes, daemon_frames["digests"],
        "the recorded answer, to the byte"
    );

    if version >= Version::V1_1 {
        for name in ["digest_begin", "digest_chunk", "digest_end"] {
            client.stream.write_all(&frames[name]).await.unwrap();
        }
        let streamed = client.next().await.unwrap();
        let mut bytes = BytesMut::new();
        Codec.encode(&streamed, &mut bytes).unwrap();
        assert_eq!(bytes, daemon_frames["digest_streamed"]);
    } else {
        let (request, algorithm) = (RequestId(9), DigestAlgorithm::Sha256);
        client
            .send(&Frame::DigestBegin(DigestBegin { request, algorithm }))
            .await;
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("1.0 has no digest streams")
        };
        assert_eq!(failed.status, Status::Unsupported);
    }
    client
        .stream
        .write_all(&frames["status_query"])
        .await
        .unwrap();
    let Some(Frame::Status(status)) = client.next().await else {
        panic!("the status comes")
    };
    assert_eq!(
        status.report().unwrap().sessions[0].protocol,
        version.to_string()
    );
    if version >= Version::V1_2 {
        client.stream.write_all(&frames["query"]).await.unwrap();
        let document = client.next().await.unwrap();
        let mut bytes = BytesMut::new();
        Codec.encode(&document, &mut bytes).unwrap();
        assert_eq!(bytes, daemon_frames["document"]);
    }
    if version >= Version::V1_3 {
        // Memory within the daemon carries no descriptor, and there is nothing to look into.
        client.stream.write_all(&frames["ring_bell"]).await.unwrap();
        client.stream.write_all(&frames["ring_open"]).await.unwrap();
        let Some(Frame::Failed(failed)) = client.next().await else {
            panic!("no ring was offered")
        };
        assert_eq!(failed.status, Status::NotAllowed);
        assert!(!welcome.features.has(Features::RING));
    }
    client.stream.write_all(&frames["ping"]).await.unwrap();
    assert_eq!(
        client.next().await,
        Some(Frame::Pong(0x0123_4567_89ab_cdef))
    );
    client.stream.write_all(&frames["subscribe"]).await.unwrap();
    assert!(matches!(client.next().await, Some(Frame::Event(_))));
    client.stream.write_all(&frames["goodbye"]).await.unwrap();
    while client.next().await.is_some() {}
    daemon.assert_empty().await;
    daemon.stop.cancel();
}

#[tokio::test]
async fn recorded_clients_of_earlier_minors_are_served() {
    let client = include_str!("../../../../tests/fixtures/socket/client-1.0.hex");
    let daemon = include_str!("../../../../tests/fixtures/socket/daemon-1.0.hex");
    serve_recorded(client, daemon, Version::V1_0).await;
    let client = include_str!("../../../../tests/fixtures/socket/client-1.1.hex");
    let daemon = include_str!("../../../../tests/fixtures/socket/daemon-1.1.hex");
    serve_recorded(client, daemon, Version::V1_1).await;
    let client = include_str!("../../../../tests/fixtures/socket/client-1.2.hex");
    let daemon = include_str!("../../../../tests/fixtures/socket/daemon-1.2.hex");
    serve_recorded(client, daemon, Version::V1_2).await;
}

#[tokio::test]
async fn a_recorded_client_of_this_minor_is_served() {
    let client = include_str!("../../../../tests/fixtures/socket/client-1.3.hex");
    let daemon = include_str!("../../../../tests/fixtures/socket/daemon-1.3.hex");
    serve_recorded(client, daemon, Version::V1_3).await;
}
