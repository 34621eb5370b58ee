//! A client whose queues are full: what has its place goes on, and closing works.

use std::time::Duration;

use hasher_client::{BATCH_JOBS_MAX, Client, DigestAlgorithm, Topics};
use hasher_wire::{DeviceKind, DigestStreamed, Frame};
use tokio::time::{Instant, timeout};

use crate::peer::{computed_by, connect, jobs};

/// Longest time that [`Client::close`] may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// As many jobs as one ticket holds: more than the ledger takes at once.
fn flood() -> Vec<hasher_work::SearchJob> {
    jobs(0..BATCH_JOBS_MAX as u32)
}

#[tokio::test(start_paused = true)]
async fn closing_overtakes_a_full_ledger() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let _ticket = client.submit(&flood(), client.options()).await.unwrap();
    peer.search().await;
    let closing = timeout(CLOSE_MAX, client.close());
    closing.await.expect("closed in time");
    assert!(matches!(peer.frame().await, Frame::Goodbye(_)));
    assert_eq!(peer.frame_or_end().await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_a_second_for_a_daemon_that_does_not_read() {
    let (client, _peer, _network) = connect(Client::builder(), u16::MAX).await;
    // The pipe and the buffer before it hold less than half of these.
    let _ticket = client.submit(&flood(), client.options()).await.unwrap();
    let asking = client.clone();
    tokio::spawn(async move { asking.status().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    let closing = timeout(CLOSE_MAX * 2, client.close());
    closing.await.expect("closed in time");
    assert!(begin.elapsed() <= CLOSE_MAX, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_behind_a_full_ledger() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let mut stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    assert!(matches!(peer.frame().await, Frame::DigestBegin(_)));
    // These wait for the credit that the stream holds.
    let _ticket = client.submit(&flood(), client.options()).await.unwrap();
    assert!(peer.is_quiet().await);
    stream.push(b"abc").await.unwrap();
    assert!(matches!(peer.frame().await, Frame::DigestChunk(_)));
    let finishing = tokio::spawn(stream.finish());
    let Frame::DigestEnd(end) = peer.frame().await else {
        panic!("no end of the stream");
    };
    let digest = hasher_client::digest(b"abc");
    let answer = DigestStreamed {
        request: end.request,
        length: 3,
        digest,
        computed_by: computed_by(DeviceKind::Cpu, "cpu"),
    };
    peer.send(Frame::DigestStreamed(answer)).await;
    assert_eq!(finishing.await.unwrap().unwrap().digest, digest);
    // The credit is free again.
    peer.search().await;
}

#[tokio::test(start_paused = true)]
async fn status_and_events_pass_a_full_ledger() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let _ticket = client.submit(&flood(), client.options()).await.unwrap();
    peer.search().await;
    let asking = client.clone();
    let status = tokio::spawn(async move { asking.status().await });
    assert!(matches!(peer.frame().await, Frame::StatusQuery(_)));
    drop(status);
    let _events = client.subscribe(Topics::STATUS).await.unwrap();
    assert!(matches!(peer.frame().await, Frame::Subscribe(_)));
}
