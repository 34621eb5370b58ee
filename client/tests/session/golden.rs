//! The recorded bytes of the protocol, on the client's side: what it sends equals
//! what was recorded, and what was recorded from a daemon of any minor is
//! understood.

use std::time::Duration;

use hasher_client::{
    Client, ComputedKind, DigestAlgorithm, EventBody, Priority, Retry, SearchOptions, Status,
    Topics, Version,
};
use hasher_wire::{Frame, StatusReply};
use hasher_work::{
    Header, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, Target, digest, from_hex,
};

use crate::peer::{Network, Peer};

const CLIENT_1_3: &str = include_str!("../../../tests/fixtures/socket/client-1.3.hex");
const DAEMON_1_0: &str = include_str!("../../../tests/fixtures/socket/daemon-1.0.hex");
const DAEMON_1_1: &str = include_str!("../../../tests/fixtures/socket/daemon-1.1.hex");
const DAEMON_1_2: &str = include_str!("../../../tests/fixtures/socket/daemon-1.2.hex");
const DAEMON_1_3: &str = include_str!("../../../tests/fixtures/socket/daemon-1.3.hex");

/// The recorded frame of this name.
fn recorded(fixture: &str, name: &str) -> Vec<u8> {
    let heading = format!("[{name}]");
    let lines = fixture.lines().map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.trim()
    });
    let hex: String = lines
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .collect();
    assert!(!hex.is_empty(), "no frame {name}");
    from_hex(&hex).unwrap()
}

/// The recordings use request 7 for searches, 8 for batches, 9 for streams and 10
/// for queries; so seven queries come first.
async fn connect(fixture: &str) -> (Client, Peer, Network) {
    let (mut network, dial) = Network::new();
    let builder = Client::builder().name("golden").retry(Retry::NONE);
    let script = async {
        let mut peer = network.accept().await;
        let hello = recorded(CLIENT_1_3, "hello");
        assert_eq!(peer.bytes(hello.len()).await, hello);
        peer.send_bytes(&recorded(fixture, "welcome")).await;
        peer
    };
    let (client, mut peer) = tokio::join!(builder.connect_with(dial), script);
    let client = client.unwrap();
    for expected in 0..7 {
        let answer = async {
            let Frame::StatusQuery(request) = peer.frame().await else {
                panic!("no query");
            };
            assert_eq!(request.0, expected);
            let reply = StatusReply::new(request, &Default::default()).unwrap();
            peer.send(Frame::Status(reply)).await;
        };
        let (report, ()) = tokio::join!(client.status(), answer);
        report.unwrap();
    }
    (client, peer, network)
}

async fn expect(peer: &mut Peer, bytes: &[u8]) {
    assert_eq!(peer.bytes(bytes.len()).await, bytes);
}

fn header() -> Header {
    let search = recorded(CLIENT_1_3, "search");
    Header::from_bytes(&search[14..94]).unwrap()
}

/// The first job of the recorded Search, with the deadline and priority there.
fn first_job(rolls: u16) -> (SearchJob, SearchOptions) {
    let job = SearchJob {
        header: header(),
        range: NonceRange::new(Nonce(0x7c2b_ac00), Nonce(0x7c2b_acff)).unwrap(),
        target: Target::from_zero_bits(32).unwrap(),
        mode: SearchMode::FirstFound(1),
        rolls,
    };
    let options = SearchOptions {
        deadline: Duration::from_millis(1500),
        priority: Priority::Interactive,
    };
    (job, options)
}

#[tokio::test(start_paused = true)]
async fn a_client_sends_the_recorded_bytes() {
    let (client, mut peer, _network) = connect(DAEMON_1_3).await;
    // The recording has a second job with another priority; ours is a batch of one.
    let mut search = recorded(CLIENT_1_3, "search");
    search.truncate(14 + 130);
    search[..4].copy_from_slice(&140u32.to_le_bytes());
    search[12..14].copy_from_slice(&1u16.to_le_bytes());
    let (job, options) = first_job(3);
    let ticket = client.submit(&[job], options).await.unwrap();
    expect(&mut peer, &search).await;

    let asking = client.clone();
    let digest = tokio::spawn(async move {
        let messages: [&[u8]; 3] = [b"abc", b"", &header().0];
        asking
            .digest_batch(DigestAlgorithm::Sha256d, &messages)
            .await
    });
    expect(&mut peer, &recorded(CLIENT_1_3, "digest_batch")).await;

    let mut stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    stream.push(b"abc").await.unwrap();
    expect(&mut peer, &recorded(CLIENT_1_3, "digest_begin")).await;
    expect(&mut peer, &recorded(CLIENT_1_3, "digest_chunk")).await;
    let finishing = tokio::spawn(stream.finish());
    expect(&mut peer, &recorded(CLIENT_1_3, "digest_end")).await;

    let asking = client.clone();
    let status = tokio::spawn(async move { asking.status().await });
    expect(&mut peer, &recorded(CLIENT_1_3, "status_query")).await;

    let asking = client.clone();
    let document = tokio::spawn(async move { asking.document("configuration", "").await });
    expect(&mut peer, &recorded(CLIENT_1_3, "query")).await;

    let events = client.subscribe(Topics::ALL).await.unwrap();
    expect(&mut peer, &recorded(CLIENT_1_3, "subscribe")).await;

    drop(ticket);
    expect(&mut peer, &recorded(CLIENT_1_3, "cancel_all")).await;
    peer.send_bytes(&recorded(CLIENT_1_3, "ping")).await;
    expect(&mut peer, &recorded(DAEMON_1_3, "pong")).await;
    drop((events, digest, finishing, status, document));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_of_any_minor_is_understood() {
    for (fixture, minor) in [
        (DAEMON_1_0, 0),
        (DAEMON_1_1, 1),
        (DAEMON_1_2, 2),
        (DAEMON_1_3, 3),
    ] {
        let (client, mut peer, _network) = connect(fixture).await;
        let session = client.session();
        assert_eq!(session.version, Version { major: 1, minor });
        let daemon = if minor == 0 { "" } else { "0.1.0" };
        assert_eq!((&*session.daemon, session.credits), (daemon, 64));

        let mut second = first_job(0).0;
        second.range = NonceRange::WHOLE;
        second.mode = SearchMode::Exhaust;
        let jobs = [first_job(0).0, second];
        let mut ticket = client.submit(&jobs, client.options()).await.unwrap();
        assert_eq!(peer.search().await.0.0, 7);
        peer.send_bytes(&recorded(fixture, "search_done")).await;
        peer.send_bytes(&recorded(fixture, "failed_job")).await;
        let (index, answer) = ticket.next().await.unwrap();
        let answer = answer.unwrap();
        assert_eq!((index, answer.result.end), (0, SearchEnd::Found));
        assert_eq!(answer.result.hits[0].nonce, header().nonce());
        assert_eq!(answer.by[0].kind, ComputedKind::Simulated);
        let (index, answer) = ticket.next().await.unwrap();
        let error = answer.unwrap_err();
        assert_eq!((index, error.status()), (1, Some(Status::DeviceGone)));
        assert_eq!(error.to_string(), "device gone: sim-s3-0 went away");

        let asking = client.clone();
        let digests = tokio::spawn(async move {
            let messages: [&[u8]; 3] = [b"abc", b"", &header().0];
            asking
                .digest_batch(DigestAlgorithm::Sha256d, &messages)
                .await
        });
        assert!(matches!(peer.frame().await, Frame::DigestBatch(batch) if batch.request.0 == 8));
        peer.send_bytes(&recorded(fixture, "digests")).await;
        let digests = digests.await.unwrap().unwrap();
        assert_eq!(digests.digests[2], header().double_digest());

        if minor >= 1 {
            let stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
            let finishing = tokio::spawn(stream.finish());
            peer.frame().await;
            peer.frame().await;
            peer.send_bytes(&recorded(fixture, "digest_streamed")).await;
            let answer = finishing.await.unwrap().unwrap();
            assert_eq!((answer.digest, answer.length), (digest(b"abc"), 3));
        } else {
            client
                .open_digest(DigestAlgorithm::Sha256)
                .await
                .unwrap_err();
            // Number 9 is for another query then.
            let asking = client.clone();
            let query = tokio::spawn(async move { asking.status().await });
            assert!(matches!(peer.frame().await, Frame::StatusQuery(request) if request.0 == 9));
            query.abort();
        }

        let asking = client.clone();
        let status = tokio::spawn(async move { asking.status().await });
        let mut query = peer.frame().await;
        while !matches!(query, Frame::StatusQuery(_)) {
            query = peer.frame().await; // the cancel of the aborted one
        }
        assert!(matches!(query, Frame::StatusQuery(request) if request.0 == 10));
        peer.send_bytes(&recorded(fixture, "status")).await;
        assert_eq!(status.await.unwrap().unwrap().daemon.uptime_s, 2);

        let asking = client.clone();
        let document = tokio::spawn(async move { asking.document("configuration", "").await });
        if minor >= 2 {
            assert!(matches!(peer.frame().await, Frame::Query(query) if query.request.0 == 11));
            peer.send_bytes(&recorded(fixture, "document")).await;
            let json = document.await.unwrap().unwrap();
            assert_eq!(json, r#"{"file":"","settings":[]}"#);
        } else {
            let error = document.await.unwrap().unwrap_err();
            assert_eq!(error.status(), Some(Status::Unsupported));
        }

        let mut events = client.subscribe(Topics::ALL).await.unwrap();
        peer.send_bytes(&recorded(fixture, "event")).await;
        let id = "cpu-0".into();
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event, EventBody::Removed { id });

        peer.send_bytes(&recorded(fixture, "pong")).await;
        let open = client.submit(&jobs[..1], client.options()).await.unwrap();
        let open_too = tokio::spawn(open.answers());
        while !matches!(peer.frame().await, Frame::Search(_)) {}
        peer.send_bytes(&recorded(fixture, "goodbye")).await;
        let error = open_too.await.unwrap().unwrap_err();
        assert_eq!(error.status(), Some(Status::ShuttingDown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_refusal_is_understood() {
    for (fixture, newest) in [
        (DAEMON_1_0, "1.0"),
        (DAEMON_1_1, "1.1"),
        (DAEMON_1_2, "1.2"),
        (DAEMON_1_3, "1.3"),
    ] {
        let (mut network, dial) = Network::new();
        let script = async {
            let mut peer = network.accept().await;
            peer.frame().await;
            peer.send_bytes(&recorded(fixture, "refused")).await;
            peer
        };
        let (client, _peer) = tokio::join!(Client::builder().connect_with(dial), script);
        let error = client.unwrap_err().to_string();
        let expected = format!("the daemon speaks protocol 1.0 to {newest}");
        assert!(error.starts_with(&expected), "{error}");
    }
}
