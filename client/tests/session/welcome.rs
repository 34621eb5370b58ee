//! The first frames of a session.

use std::time::Duration;

use hasher_client::{Client, ClientError, Status, Version, Why};
use hasher_wire::{Frame, Goodbye, Refused, Welcome};
use tokio::time::Instant;

use crate::peer::{Network, Peer, connect_to, welcome};

/// What `connect` says when the daemon does this with the connection.
async fn connect_error(daemon: impl AsyncFnOnce(&mut Peer)) -> ClientError {
    let (mut network, dial) = Network::new();
    let script = async {
        let mut peer = network.accept().await;
        daemon(&mut peer).await;
        peer
    };
    let (client, _peer) = tokio::join!(Client::builder().connect_with(dial), script);
    client.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_session_says_what_was_agreed() {
    let (client, _peer, _network) = connect_to(Client::builder(), welcome(5)).await;
    let session = client.session();
    assert_eq!(session.version, Version::V1_2);
    assert_eq!((session.credits, &*session.daemon), (5, "9.9"));
    assert_eq!(session.peer, "pipe");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_without_a_common_version_is_named_with_its_versions() {
    let (min, max) = (
        Version { major: 2, minor: 0 },
        Version { major: 2, minor: 4 },
    );
    let error = connect_error(async |peer: &mut Peer| {
        peer.frame().await;
        peer.send(Frame::Refused(Refused { min, max })).await;
    })
    .await;
    assert_eq!(
        error.to_string(),
        "the daemon speaks protocol 2.0 to 2.4, this program 1.0 to 1.3"
    );
    assert!(error.hint().unwrap().contains("update this program"));
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_full_daemon_says_so_before_any_hello() {
    let error = connect_error(async |peer: &mut Peer| {
        let goodbye = Goodbye {
            status: Some(Status::Busy),
            message: "64 sessions".into(),
        };
        peer.send(Frame::Goodbye(goodbye)).await;
    })
    .await;
    assert_eq!(error.status(), Some(Status::Busy));
    assert!(error.to_string().ends_with("64 sessions"), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_welcomes_is_given_up_in_time() {
    let begin = Instant::now();
    let error = connect_error(async |peer: &mut Peer| _ = peer.frame().await).await;
    let ClientError::Unreachable { why, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(why, Why::NoWelcome(_)), "{why:?}");
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_something_else_is_told_apart() {
    let error = connect_error(async |peer: &mut Peer| {
        peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
    let error = connect_error(async |peer: &mut Peer| peer.send(Frame::Ping(1)).await).await;
    assert!(error.to_string().contains("Ping instead of Welcome"));
}

#[tokio::test(start_paused = true)]
async fn a_welcome_that_allows_nothing_is_refused() {
    let mut bad = Vec::new();
    bad.push(welcome(0));
    let mut no_jobs = welcome(1);
    no_jobs.limits.jobs = 0;
    bad.push(no_jobs);
    let mut short_frames = welcome(1);
    short_frames.limits.frame_bytes = 100;
    bad.push(short_frames);
    bad.push(Welcome {
        version: Version { major: 1, minor: 4 },
        ..welcome(1)
    });
    for bad in bad {
        let error = connect_error(async |peer: &mut Peer| peer.welcome(bad).await).await;
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_unknown_types_are_skipped_before_and_after_welcome() {
    let unknown = [6, 0, 0, 0, 0xff, 0x7f, 1, 2, 3, 4];
    let (mut network, dial) = Network::new();
    let script = async {
        let mut peer = network.accept().await;
        peer.send_bytes(&unknown).await;
        peer.welcome(welcome(1)).await;
        peer.send_bytes(&unknown).await;
        peer
    };
    let (client, mut peer) = tokio::join!(Client::builder().connect_with(dial), script);
    let client = client.unwrap();
    let answer = tokio::spawn(async move { client.search(crate::peer::job(3)).await });
    let (request, jobs) = peer.search().await;
    peer.send_bytes(&unknown).await;
    peer.send_done(request, 0, &jobs[0].job).await;
    assert_eq!(answer.await.unwrap().unwrap().result.hits.len(), 1);
}
