//! Digests as a service: batches and streams.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hasher_client::{Client, ClientError, ComputedKind, DigestAlgorithm, Status};
use hasher_wire::{
    Cancel, DeviceKind, DigestStreamed, Digests, Features, Frame, RequestId, Version, Welcome,
};
use hasher_work::{Digest, digest, double_digest};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::peer::{Peer, computed_by, connect, connect_to, job, jobs, welcome};

fn compute(algorithm: DigestAlgorithm, message: &[u8]) -> Digest {
    match algorithm {
        DigestAlgorithm::Sha256 => digest(message),
        DigestAlgorithm::Sha256d => double_digest(message),
    }
}

/// Digests whatever is asked until the client leaves; tells the kinds of frames.
async fn serve(mut peer: Peer) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    let mut streams: HashMap<RequestId, (DigestAlgorithm, Vec<u8>)> = HashMap::new();
    loop {
        match peer.frame_or_end().await {
            Some(Frame::DigestBatch(batch)) => {
                kinds.push("batch");
                let one = |message: &[u8]| compute(batch.algorithm, message);
                let digests = batch.messages.iter().map(one).collect();
                let answer = Digests {
                    request: batch.request,
                    computed_by: computed_by(DeviceKind::Cpu, "cpu"),
                    digests,
                };
                peer.send(Frame::Digests(answer)).await;
            }
            Some(Frame::DigestBegin(begin)) => {
                kinds.push("begin");
                streams.insert(begin.request, (begin.algorithm, Vec::new()));
            }
            Some(Frame::DigestChunk(chunk)) => {
                kinds.push("chunk");
                let (_, data) = streams.get_mut(&chunk.request).unwrap();
                data.extend_from_slice(&chunk.data);
            }
            Some(Frame::DigestEnd(end)) => {
                kinds.push("end");
                let (algorithm, data) = streams.remove(&end.request).unwrap();
                let answer = DigestStreamed {
                    request: end.request,
                    length: data.len() as u64,
                    digest: compute(algorithm, &data),
                    computed_by: computed_by(DeviceKind::Cpu, "cpu"),
                };
                peer.send(Frame::DigestStreamed(answer)).await;
            }
            Some(Frame::Goodbye(_)) | None => return kinds,
            Some(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_any_size_is_answered_in_its_order() {
    let (client, peer, _network) = connect(Client::builder(), 2).await;
    let daemon = tokio::spawn(serve(peer));
    // More messages than a frame takes, more bytes than a frame takes, and one
    // message that is longer than any frame.
    let mut messages: Vec<Vec<u8>> = (0..2500u32).map(|i| i.to_le_bytes().into()).collect();
    messages.extend((0..3).map(|i| vec![i; 30_000]));
    messages.push(vec![9; 200_000]);
    messages.push(Vec::new());
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha256d] {
        let answer = client.digest_batch(algorithm, &messages).await.unwrap();
        let expected: Vec<_> = messages.iter().map(|m| compute(algorithm, m)).collect();
        assert_eq!(answer.digests, expected);
        assert_eq!(answer.by.kind, ComputedKind::Cpu);
    }
    client.close().await;
    let kinds = daemon.await.unwrap();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!((count("batch"), count("begin"), count("end")), (10, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_longest_message_of_a_batch_fills_its_frame() {
    // Length, type, request, algorithm, count, and the message's own length.
    let longest = 64 * 1024 - (4 + 2 + 4 + 1 + 2 + 2);
    let (client, peer, _network) = connect(Client::builder(), 2).await;
    let daemon = tokio::spawn(serve(peer));
    for (length, kind) in [(longest, "batch"), (longest + 1, "begin")] {
        let message = vec![3; length];
        let answer = client.digest(DigestAlgorithm::Sha256, &message).await;
        assert_eq!(answer.unwrap().digests, [digest(&message)], "{kind}");
    }
    client.close().await;
    let kinds = daemon.await.unwrap();
    assert_eq!(kinds[..2], ["batch", "begin"]);
}

#[tokio::test(start_paused = true)]
async fn no_message_is_answered_without_asking() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let none: [&[u8]; 0] = [];
    let answer = client.digest_batch(DigestAlgorithm::Sha256, &none).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.digests.len(), answer.by.kind),
        (0, ComputedKind::Local)
    );
    assert!(peer.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn too_few_digests_are_refused() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let asking = tokio::spawn(async move {
        let messages = [b"a", b"b"];
        client
            .digest_batch(DigestAlgorithm::Sha256, &messages)
            .await
    });
    let Frame::DigestBatch(batch) = peer.frame().await else {
        panic!("no batch");
    };
    let answer = Digests {
        request: batch.request,
        computed_by: computed_by(DeviceKind::Cpu, "cpu"),
        digests: vec![digest(b"a")],
    };
    peer.send(Frame::Digests(answer)).await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_digests_all_its_pieces_in_order() {
    let (client, peer, _network) = connect(Client::builder(), 2).await;
    let daemon = tokio::spawn(serve(peer));
    let data: Vec<u8> = (0..1_000_000u32).map(|i| (i / 7) as u8).collect();
    let algorithm = DigestAlgorithm::Sha256;
    let answer = client.digest_stream(algorithm, &data[..]).await.unwrap();
    assert_eq!((answer.digest, answer.length), (digest(&data), 1_000_000));
    assert_eq!(answer.by.to_string(), "cpu (cpu)");

    let mut stream = client.open_digest(algorithm).await.unwrap();
    assert_eq!(stream.chunk_bytes(), 60 * 1024);
    for piece in data.chunks(99_999) {
        stream.push(piece).await.unwrap();
    }
    assert_eq!(stream.finish().await.unwrap().digest, digest(&data));

    let empty = client.digest_stream(algorithm, &b""[..]).await.unwrap();
    assert_eq!((empty.digest, empty.length), (digest(b""), 0));
    client.close().await;
    daemon.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_and_searches_share_the_credits() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    assert!(matches!(peer.frame().await, Frame::DigestBegin(_)));
    let ticket = client.submit(&jobs(0..2), client.options()).await.unwrap();
    let (request, asked) = peer.search().await;
    assert_eq!(asked.len(), 1);
    // A status query is free.
    let asking = client.clone();
    let status = tokio::spawn(async move { asking.status().await });
    assert!(matches!(peer.frame().await, Frame::StatusQuery(_)));
    drop(status);
    // Another stream waits for its credit, and gives up when its caller does.
    let opening = client.open_digest(DigestAlgorithm::Sha256);
    assert!(timeout(Duration::from_secs(2), opening).await.is_err());
    assert!(peer.is_quiet().await);
    // The dropped stream is cancelled and its credit serves the second job.
    drop(stream);
    let Frame::Cancel(Cancel {
        request: stream, ..
    }) = peer.frame().await
    else {
        panic!("no cancel");
    };
    peer.send_failed(stream, None, Status::Cancelled).await;
    let (second, asked_second) = peer.search().await;
    peer.send_done(second, 0, &asked_second[0].job).await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(
        crate::peer::numbers(&ticket.answers().await.unwrap()),
        [0, 1]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_not_answered_ends_the_connection() {
    // Or its credit would be lost for ever.
    let (client, mut peer, mut network) = connect(Client::builder(), 1).await;
    let stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    let search = tokio::spawn(async move { client.search(job(1)).await });
    assert!(matches!(peer.frame().await, Frame::DigestBegin(_)));
    let begin = Instant::now();
    drop(stream);
    assert!(matches!(peer.frame().await, Frame::Cancel(_)));
    assert_eq!(peer.frame_or_end().await, None);
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    let mut peer = network.accept_welcome(1).await;
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(crate::peer::numbers(&[search.await.unwrap().unwrap()]), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_daemon_ends_tells_why() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let mut stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    let Frame::DigestBegin(begin) = peer.frame().await else {
        panic!("no begin");
    };
    peer.send_failed(begin.request, None, Status::Internal)
        .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let error = stream.push(b"more").await.unwrap_err();
    assert_eq!(error.status(), Some(Status::Internal));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_takes_no_more_bytes_is_given_up_in_time() {
    let (client, peer, _network) = connect(Client::builder(), 2).await;
    let begin = Instant::now();
    let mut stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    let error = loop {
        // Nobody reads the other end.
        if let Err(error) = stream.push(&[1; 100_000]).await {
            break error;
        }
    };
    assert_eq!(error.status(), Some(Status::Deadline));
    assert_eq!(begin.elapsed(), Duration::from_secs(60));
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_never_comes_ends_at_its_deadline() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let begin = Instant::now();
    let data = &b"abc"[..];
    let asking = client.digest_stream(DigestAlgorithm::Sha256, data);
    let reading = async { while peer.frame_or_end().await.is_some() {} };
    let (answer, ()) = tokio::join!(asking, reading);
    let error = answer.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert_eq!(begin.elapsed(), Duration::from_secs(62));
}

/// A reader that fails after some bytes.
struct Broken(u8);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::Error::other("disk on fire")));
        }
        self.0 -= 1;
        buf.put_slice(b"bytes");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_fails_cancels_its_stream() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let asking = client.digest_stream(DigestAlgorithm::Sha256, Broken(2));
    let error = asking.await.unwrap_err();
    assert!(matches!(error, ClientError::Read(_)), "{error:?}");
    assert!(matches!(peer.frame().await, Frame::DigestBegin(_)));
    let mut frame = peer.frame().await;
    while matches!(frame, Frame::DigestChunk(_)) {
        frame = peer.frame().await;
    }
    assert!(matches!(frame, Frame::Cancel(_)), "{frame:?}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_without_streams_is_told_apart() {
    let old = Welcome {
        version: Version::V1_0,
        features: Features::default(),
        daemon: "".into(),
        ..welcome(4)
    };
    let (client, peer, _network) = connect_to(Client::builder(), old).await;
    let opening = client.open_digest(DigestAlgorithm::Sha256);
    let error = opening.await.unwrap_err();
    assert_eq!(error.status(), Some(Status::Unsupported));
    let daemon = tokio::spawn(serve(peer));
    let answer = client.digest(DigestAlgorithm::Sha256d, b"abc").await;
    assert_eq!(answer.unwrap().digests, [double_digest(b"abc")]);
    client.close().await;
    assert_eq!(daemon.await.unwrap(), ["batch"]);
}

#[tokio::test(start_paused = true)]
async fn digests_and_searches_are_never_confused() {
    let (client, mut peer, _network) = connect(Client::builder(), 2).await;
    let asking = client.clone();
    let digest = tokio::spawn(async move { asking.digest(DigestAlgorithm::Sha256, b"x").await });
    let Frame::DigestBatch(batch) = peer.frame().await else {
        panic!("no batch");
    };
    peer.send_done(batch.request, 0, &job(1)).await;
    let error = digest.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}
