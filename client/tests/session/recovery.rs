//! Lost connections: what is repeated, how often, and what the caller sees.

use std::time::Duration;

use hasher_client::{Client, ClientError, DigestAlgorithm, Retry, SearchOptions, Status, Why};
use hasher_wire::{Frame, Goodbye};
use tokio::time::{Instant, timeout};

use crate::peer::{connect, job, jobs, numbers};

#[tokio::test(start_paused = true)]
async fn a_lost_connection_repeats_what_was_open_and_nothing_else() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let batch = jobs(0..6);
    let answers = tokio::spawn(async move { client.search_batch(&batch).await });
    let (request, asked) = peer.search().await;
    peer.send_done(request, 2, &asked[2].job).await;
    let (_, fifth) = peer.search().await;
    assert_eq!(fifth[0].job, job(4));
    drop(peer); // kill -9
    let mut peer = network.accept_welcome(64).await;
    let (request, asked) = peer.search().await;
    let again: Vec<_> = asked.iter().map(|asked| asked.job).collect();
    assert_eq!(again, [job(0), job(1), job(3), job(4), job(5)]);
    for (index, asked) in asked.iter().enumerate() {
        peer.send_done(request, index as u16, &asked.job).await;
    }
    let answers = answers.await.unwrap().unwrap();
    assert_eq!(numbers(&answers), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_in_good_order_is_waited_for() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let search = tokio::spawn(async move { client.search(job(1)).await });
    let (request, _) = peer.search().await;
    peer.send_failed(request, Some(0), Status::ShuttingDown)
        .await;
    let goodbye = Goodbye {
        status: Some(Status::ShuttingDown),
        message: "stopping".into(),
    };
    peer.send(Frame::Goodbye(goodbye)).await;
    drop(peer);
    network.refuse(3, &Why::NoSocket);
    let mut peer = network.accept_welcome(4).await;
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_fails_the_search_in_time_and_is_dialed_for_the_next() {
    let (client, mut peer, network) = connect(Client::builder(), 4).await;
    let searching = client.clone();
    let search = tokio::spawn(async move { searching.search(job(1)).await });
    peer.search().await;
    let begin = Instant::now();
    network.refuse(100, &Why::NobodyListens);
    drop(peer);
    let error = search.await.unwrap().unwrap_err();
    let ClientError::Unreachable { why, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(why, Why::NobodyListens), "{why:?}");
    // A quick loss and five failed connects make six.
    assert_eq!(network.refusals_left(), 95);
    assert!(begin.elapsed() < Duration::from_secs(8));
    // Nobody asks, nobody dials.
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert_eq!(network.refusals_left(), 95);
    // The next request tries again, as often as the rule allows.
    let search = tokio::spawn(async move { client.search(job(2)).await });
    let error = search.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert_eq!(network.refusals_left(), 89);
}

#[tokio::test(start_paused = true)]
async fn a_request_finds_the_way_back_by_itself() {
    let (client, peer, mut network) = connect(Client::builder(), 4).await;
    drop(peer);
    tokio::time::sleep(Duration::from_secs(100)).await; // idle: no dialing
    let begin = Instant::now();
    let search = tokio::spawn(async move { client.search(job(2)).await });
    let mut peer = network.accept_welcome(4).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_while_the_daemon_is_away_tells_that_it_is_away() {
    let (client, mut peer, network) = connect(Client::builder(), 4).await;
    let options = SearchOptions {
        deadline: Duration::from_secs(1),
        ..client.options()
    };
    let begin = Instant::now();
    let ticket = client.submit(&jobs(0..1), options).await.unwrap();
    peer.search().await;
    network.refuse(100, &Why::NoSocket);
    drop(peer);
    let error = ticket.answers().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn without_repetitions_a_loss_fails_at_once() {
    let (client, mut peer, mut network) = connect(Client::builder().retry(Retry::NONE), 4).await;
    let ticket = client.submit(&jobs(0..2), client.options()).await.unwrap();
    peer.search().await;
    drop(peer);
    for answer in ticket.all().await {
        let error = answer.unwrap_err();
        assert!(matches!(error, ClientError::Closed { .. }), "{error:?}");
    }
    // The next request connects again, once.
    let search = tokio::spawn(async move { client.search(job(2)).await });
    let mut peer = network.accept_welcome(4).await;
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_was_taken_away_is_told_at_once() {
    let (client, mut peer, network) = connect(Client::builder(), 4).await;
    let search = tokio::spawn(async move { client.search(job(1)).await });
    peer.search().await;
    network.refuse(100, &Why::PermissionDenied);
    drop(peer);
    let error = search.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert_eq!(network.refusals_left(), 99);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_crashes_over_a_job_is_not_crashed_for_ever() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let ticket = client.submit(&jobs(0..1), client.options()).await.unwrap();
    let crashing = async {
        let mut crashes = 0;
        loop {
            peer.search().await;
            drop(peer);
            crashes += 1;
            let next = network.accept_welcome(4);
            match timeout(Duration::from_secs(60), next).await {
                Ok(next) => peer = next,
                Err(_) => return crashes,
            }
        }
    };
    let (answers, crashes) = tokio::join!(ticket.answers(), crashing);
    let error = answers.unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error:?}");
    assert_eq!(crashes, 6);
}

#[tokio::test(start_paused = true)]
async fn no_device_is_waited_for_only_after_a_restart() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let search = tokio::spawn(async move { client.search(job(1)).await });
    peer.search().await;
    drop(peer);
    let mut peer = network.accept_welcome(4).await;
    let (request, _) = peer.search().await;
    peer.send_failed(request, Some(0), Status::NoDevice).await; // still opening it
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_search_given_up_while_the_daemon_is_away_is_never_repeated() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let ticket = client.submit(&jobs(0..1), client.options()).await.unwrap();
    let kept = client.submit(&jobs(1..2), client.options()).await.unwrap();
    peer.search().await;
    peer.search().await;
    network.refuse(2, &Why::NobodyListens);
    drop(peer);
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(ticket);
    let mut peer = network.accept_welcome(4).await;
    let (request, asked) = peer.search().await;
    assert_eq!((asked.len(), asked[0].job), (1, job(1)));
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&kept.answers().await.unwrap()), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_digest_stream_fails_with_its_connection() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let mut stream = client.open_digest(DigestAlgorithm::Sha256).await.unwrap();
    stream.push(b"abc").await.unwrap();
    assert!(matches!(peer.frame().await, Frame::DigestBegin(_)));
    assert!(matches!(peer.frame().await, Frame::DigestChunk(_)));
    drop(peer);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let error = stream.push(b"def").await.unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error:?}");
    // Status queries and digests are pure and repeated like searches.
    let status = tokio::spawn(async move { client.status().await });
    let mut peer = network.accept_welcome(4).await;
    assert!(matches!(peer.frame().await, Frame::StatusQuery(_)));
    drop(peer);
    let mut peer = network.accept_welcome(4).await;
    let Frame::StatusQuery(request) = peer.frame().await else {
        panic!("no second query");
    };
    let reply = hasher_wire::StatusReply::new(request, &Default::default()).unwrap();
    peer.send(Frame::Status(reply)).await;
    assert_eq!(status.await.unwrap().unwrap().devices, []);
}

#[tokio::test(start_paused = true)]
async fn the_daemons_last_words_reach_the_caller() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let search = tokio::spawn(async move { client.search(job(1)).await });
    peer.search().await;
    let goodbye = Goodbye {
        status: Some(Status::Protocol),
        message: "wrong magic number".into(),
    };
    peer.send(Frame::Goodbye(goodbye)).await;
    drop(peer);
    let error = search.await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(Status::Protocol));
    assert_eq!(
        error.to_string(),
        "the daemon closed the connection: wrong magic number"
    );
}
