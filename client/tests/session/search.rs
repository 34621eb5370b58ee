//! Searches over one connection.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use hasher_client::{Client, ClientError, Priority, Retry, SearchOptions, Status};
use hasher_wire::{Cancel, Codec, DeviceKind, Features, Frame, RequestId, Version, Welcome};
use hasher_work::Nonce;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::peer::{connect, connect_to, done, job, jobs, numbers, welcome};

#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order_and_find_their_jobs() {
    let (client, mut peer, _network) = connect(Client::builder(), 64).await;
    let batch = jobs(0..10);
    let mut ticket = client.submit(&batch, client.options()).await.unwrap();
    let alone = tokio::spawn(async move { client.search(job(77)).await });
    let (first, asked) = peer.search().await;
    let (second, single) = peer.search().await;
    peer.send_done(second, 0, &single[0].job).await;
    for index in [7u16, 0, 9, 3, 1, 2, 8, 4, 6, 5] {
        peer.send_done(first, index, &asked[usize::from(index)].job)
            .await;
    }
    for expected in [7, 0, 9, 3, 1, 2, 8, 4, 6, 5] {
        let (index, answer) = ticket.next().await.unwrap();
        assert_eq!(index, expected);
        let answer = answer.unwrap();
        assert_eq!(answer.result.hits[0].nonce.0 as usize, expected);
        assert_eq!(answer.by[0].to_string(), "sim-s3-0 (simulated)");
    }
    assert!(ticket.next().await.is_none());
    assert_eq!(numbers(&[alone.await.unwrap().unwrap()]), [77]);
}

#[tokio::test(start_paused = true)]
async fn never_more_jobs_are_open_than_there_are_credits() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let batch = jobs(0..11);
    let answers = tokio::spawn(async move { client.search_batch(&batch).await });
    let (request, mut asked) = peer.search().await;
    assert_eq!(asked.len(), 4);
    assert!(peer.is_quiet().await);
    let mut open: Vec<_> = (0..4).map(|index| (request, index, asked[index])).collect();
    for number in 4..11 {
        // The oldest and the newest take turns in being answered.
        let place = if number % 2 == 0 { 0 } else { open.len() - 1 };
        let (request, index, answered) = open.remove(place);
        peer.send_done(request, index as u16, &answered.job).await;
        let (request, more) = peer.search().await;
        assert_eq!(more.len(), 1);
        assert_eq!(more[0].job, job(number));
        open.push((request, 0, more[0]));
        asked.extend(more);
    }
    assert!(peer.is_quiet().await);
    for (request, index, job) in open {
        peer.send_done(request, index as u16, &job.job).await;
    }
    let answers = answers.await.unwrap().unwrap();
    assert_eq!(numbers(&answers), (0..11).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_cut_to_the_daemons_limit_of_jobs() {
    let mut small = welcome(100);
    small.limits.jobs = 3;
    let (client, mut peer, _network) = connect_to(Client::builder(), small).await;
    let batch = jobs(0..8);
    let _ticket = client.submit(&batch, client.options()).await.unwrap();
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < 8 {
        counts.push(peer.search().await.1.len());
    }
    assert_eq!(counts, [3, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_short_frame_limit_is_kept() {
    let mut small = welcome(100);
    small.limits.frame_bytes = 1024;
    let (client, mut peer, _network) = connect_to(Client::builder(), small).await;
    let _ticket = client.submit(&jobs(0..8), client.options()).await.unwrap();
    // 14 + 7 · 130 bytes are the most below 1024.
    assert_eq!(peer.search().await.1.len(), 7);
    assert_eq!(peer.search().await.1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn deadline_and_priority_travel_with_the_job() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let options = SearchOptions {
        deadline: Duration::from_millis(1500),
        priority: Priority::Interactive,
    };
    let _ticket = client.submit(&jobs(0..1), options).await.unwrap();
    let (_, asked) = peer.search().await;
    assert_eq!(asked[0].deadline_ms, 1500);
    assert_eq!(asked[0].priority, Priority::Interactive);
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_ready_goes_out_in_one_write() {
    let (client, mut peer, _network) = connect(Client::builder(), 64).await;
    let mut tickets = Vec::new();
    // No await reaches the runtime here: the link wakes once.
    for number in 0..10 {
        let one = jobs(number..number + 1);
        tickets.push(client.submit(&one, client.options()).await.unwrap());
    }
    let mut bytes = BytesMut::with_capacity(64 * 1024);
    peer.stream.read_buf(&mut bytes).await.unwrap();
    let mut frames = 0;
    while Codec.decode(&mut bytes).unwrap().is_some() {
        frames += 1;
    }
    assert_eq!((frames, bytes.remaining()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_ticket_cancels_what_is_open() {
    let (client, mut peer, _network) = connect(Client::builder(), 3).await;
    let ticket = client.submit(&jobs(0..5), client.options()).await.unwrap();
    let (request, asked) = peer.search().await;
    assert_eq!(asked.len(), 3);
    drop(ticket);
    let cancel = Cancel {
        request,
        index: None,
    };
    assert_eq!(peer.frame().await, Frame::Cancel(cancel));
    // Credits come back with the answers, not with the cancel, and the two jobs
    // that waited are never sent.
    let next = tokio::spawn(async move { client.search(job(9)).await });
    assert!(peer.is_quiet().await);
    peer.send_done(request, 0, &asked[0].job).await; // was done just before
    peer.send_failed(request, Some(1), Status::Cancelled).await;
    let (request, asked) = peer.search().await;
    assert_eq!(asked[0].job, job(9));
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[next.await.unwrap().unwrap()]), [9]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_of_a_search_cancels_it() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let patience = Duration::from_millis(10);
    assert!(timeout(patience, client.search(job(1))).await.is_err());
    let (request, _) = peer.search().await;
    let frame = peer.frame().await;
    assert!(matches!(frame, Frame::Cancel(cancel) if cancel.request == request));
}

#[tokio::test(start_paused = true)]
async fn a_search_given_up_before_it_was_sent_is_never_sent() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let ticket = client.submit(&jobs(0..2), client.options()).await.unwrap();
    drop(ticket); // the link has not run yet
    assert!(peer.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_credit_ends_at_the_deadline() {
    let (client, mut peer, _network) = connect(Client::builder(), 1).await;
    let _ticket = client.submit(&jobs(0..1), client.options()).await.unwrap();
    peer.search().await;
    let begin = Instant::now();
    let short = SearchOptions {
        deadline: Duration::from_secs(3),
        ..client.options()
    };
    let ticket = client.submit(&jobs(1..2), short).await.unwrap();
    let error = ticket.answers().await.unwrap_err();
    assert_eq!(error.status(), Some(Status::Deadline));
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
    assert!(peer.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_answers_is_left_two_seconds_after_the_deadline() {
    let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
    let begin = Instant::now();
    let short = SearchOptions {
        deadline: Duration::from_secs(10),
        ..client.options()
    };
    let hanging = client.submit(&jobs(0..1), short).await.unwrap();
    let patient = client.submit(&jobs(1..2), client.options()).await.unwrap();
    peer.search().await;
    peer.search().await;
    let error = hanging.answers().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert_eq!(begin.elapsed(), Duration::from_secs(12));
    // What had more time is asked again over a new connection.
    let mut peer = network.accept_welcome(4).await;
    let (request, asked) = peer.search().await;
    assert_eq!(asked[0].job, job(1));
    assert!(asked[0].deadline_ms < 60_000 - 12_000);
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&patient.answers().await.unwrap()), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_daemon_is_asked_again_after_growing_pauses() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let search = tokio::spawn(async move { client.search(job(1)).await });
    let mut pauses = Vec::new();
    let mut since = Instant::now();
    for _ in 0..3 {
        let (request, _) = peer.search().await;
        pauses.push(since.elapsed().as_millis());
        since = Instant::now();
        peer.send_failed(request, None, Status::Busy).await;
    }
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [1]);
    assert_eq!(pauses, [0, 100, 200]);
}

#[tokio::test(start_paused = true)]
async fn no_pause_is_begun_that_would_outlast_the_deadline() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let begin = Instant::now();
    let short = SearchOptions {
        deadline: Duration::from_millis(150),
        ..client.options()
    };
    let ticket = client.submit(&jobs(0..1), short).await.unwrap();
    let answers = tokio::spawn(ticket.answers());
    for _ in 0..2 {
        let (request, _) = peer.search().await;
        peer.send_failed(request, None, Status::Busy).await;
    }
    let error = answers.await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(Status::Busy));
    assert_eq!(begin.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn repetitions_are_bounded_and_the_last_reason_is_told() {
    let retry = Retry {
        attempts: 2,
        ..Retry::default()
    };
    let (client, mut peer, _network) = connect(Client::builder().retry(retry), 4).await;
    let search = tokio::spawn(async move { client.search(job(1)).await });
    for status in [Status::Busy, Status::Busy, Status::DeviceGone] {
        let (request, _) = peer.search().await;
        peer.send_failed(request, Some(0), status).await;
    }
    let error = search.await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(Status::DeviceGone));
    assert!(peer.frame_or_end().await == Some(goodbye()));
}

fn goodbye() -> Frame {
    Frame::Goodbye(hasher_wire::Goodbye {
        status: None,
        message: "".into(),
    })
}

#[tokio::test(start_paused = true)]
async fn what_no_repetition_mends_is_told_at_once() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    for status in [
        Status::NoDevice,
        Status::Deadline,
        Status::NotRunnable,
        Status::Internal,
        Status::Other(177),
    ] {
        let searching = client.clone();
        let search = tokio::spawn(async move { searching.search(job(1)).await });
        let (request, _) = peer.search().await;
        peer.send_failed(request, Some(0), status).await;
        let error = search.await.unwrap().unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert!(peer.is_quiet().await);
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_job_leaves_the_others_of_its_batch_alone() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let ticket = client.submit(&jobs(0..3), client.options()).await.unwrap();
    let (request, asked) = peer.search().await;
    peer.send_failed(request, Some(1), Status::NotRunnable)
        .await;
    peer.send_done(request, 2, &asked[2].job).await;
    peer.send_done(request, 0, &asked[0].job).await;
    let answers = ticket.all().await;
    assert_eq!(answers[0].as_ref().unwrap().result.hits[0].nonce.0, 0);
    let error = answers[1].as_ref().unwrap_err();
    assert_eq!(error.status(), Some(Status::NotRunnable));
    assert_eq!(answers[2].as_ref().unwrap().result.hits[0].nonce.0, 2);
}

/// A true hit of job 5's header with another time.
fn solution(time: u32, nonce: Nonce) -> hasher_work::Hit {
    hasher_work::Hit {
        time,
        nonce,
        digest: job(5).header.with_time(time).work().digest(nonce),
    }
}

#[tokio::test(start_paused = true)]
async fn a_hit_that_does_not_solve_its_job_is_refused() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let spoil: [fn(&mut hasher_work::Hit); 4] = [
        |hit| hit.nonce.0 += 1,     // another nonce than the digest's
        |hit| hit.digest.0[0] ^= 1, // another digest than the nonce's
        |hit| *hit = solution(job(5).header.time() + 1, hit.nonce), // beyond the rolls
        |hit| *hit = solution(hit.time, Nonce(4)), // outside the range
    ];
    for spoil in spoil {
        let searching = client.clone();
        let search = tokio::spawn(async move { searching.search(job(5)).await });
        let (request, asked) = peer.search().await;
        let Frame::SearchDone(mut answer) = done(request, 0, &asked[0].job) else {
            unreachable!()
        };
        spoil(&mut answer.result.hits[0]);
        peer.send(Frame::SearchDone(answer)).await;
        let error = search.await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let wrong: [fn(RequestId) -> Frame; 4] = [
        |request| done(RequestId(request.0 + 1), 0, &job(1)),
        |request| done(request, 1, &job(1)),
        |request| {
            Frame::Digests(hasher_wire::Digests {
                request,
                computed_by: crate::peer::computed_by(DeviceKind::Cpu, "cpu"),
                digests: Vec::new(),
            })
        },
        Frame::StatusQuery,
    ];
    for wrong in wrong {
        let (client, mut peer, mut network) = connect(Client::builder(), 4).await;
        let searching = client.clone();
        let search = tokio::spawn(async move { searching.search(job(1)).await });
        let (request, _) = peer.search().await;
        peer.send(wrong(request)).await;
        let error = search.await.unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
        assert_eq!(peer.frame_or_end().await, None);
        // The next request gets a connection of its own.
        let search = tokio::spawn(async move { client.search(job(2)).await });
        let mut peer = network.accept_welcome(1).await;
        let (request, asked) = peer.search().await;
        peer.send_done(request, 0, &asked[0].job).await;
        assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_answered_once_even_if_the_daemon_answers_twice() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let mut ticket = client.submit(&jobs(0..2), client.options()).await.unwrap();
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    peer.send_done(request, 0, &asked[0].job).await;
    let (index, answer) = ticket.next().await.unwrap();
    assert_eq!((index, answer.is_ok()), (0, true));
    let (index, answer) = ticket.next().await.unwrap();
    assert_eq!(index, 1);
    assert!(matches!(answer, Err(ClientError::Protocol { .. })));
    assert!(ticket.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered() {
    let (_client, mut peer, _network) = connect(Client::builder(), 4).await;
    peer.send(Frame::Ping(42)).await;
    assert_eq!(peer.frame().await, Frame::Pong(42));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_pings_without_reading_is_not_read_for_ever() {
    let (_client, mut peer, _network) = connect(Client::builder(), 4).await;
    let mut pings = BytesMut::new();
    for number in 0..1000 {
        Codec.encode(&Frame::Ping(number), &mut pings).unwrap();
    }
    let flood = async {
        loop {
            peer.send_bytes(&pings).await;
        }
    };
    // The pipe fills up in both directions, and then the flood stands still.
    assert!(timeout(Duration::from_secs(5), flood).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn rolls_are_refused_here_when_the_daemon_would_ignore_them() {
    let old = Welcome {
        version: Version::V1_0,
        features: Features::default(),
        daemon: "".into(),
        ..welcome(4)
    };
    let (client, mut peer, _network) = connect_to(Client::builder(), old).await;
    let mut rolling = job(1);
    rolling.rolls = 2;
    let error = client.search(rolling).await.unwrap_err();
    assert_eq!(error.status(), Some(Status::Unsupported));
    // Everything else works with the old daemon.
    let search = tokio::spawn(async move { client.search(job(1)).await });
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&[search.await.unwrap().unwrap()]), [1]);
}

#[tokio::test(start_paused = true)]
async fn bad_jobs_are_refused_before_anything_is_sent() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let mut bad = job(1);
    bad.mode = hasher_work::SearchMode::FirstFound(0);
    let error = client.search_batch(&[job(0), bad]).await.unwrap_err();
    assert!(matches!(error, ClientError::BadJob(_)), "{error:?}");
    let many = vec![job(0); hasher_client::BATCH_JOBS_MAX + 1];
    let error = client.search_batch(&many).await.unwrap_err();
    assert!(matches!(error, ClientError::BadJob(_)), "{error:?}");
    assert_eq!(client.search_batch(&[]).await.unwrap(), []);
    assert!(peer.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn closing_says_goodbye_and_ends_open_requests() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let mut ticket = client.submit(&jobs(0..2), client.options()).await.unwrap();
    let other = client.clone();
    let (request, asked) = peer.search().await;
    peer.send_done(request, 1, &asked[1].job).await;
    assert_eq!(ticket.next().await.unwrap().0, 1);
    client.close().await;
    assert_eq!(peer.frame().await, goodbye());
    assert_eq!(peer.frame_or_end().await, None);
    let (index, answer) = ticket.next().await.unwrap();
    assert_eq!(index, 0);
    assert!(matches!(answer, Err(ClientError::Ended)), "{answer:?}");
    assert!(ticket.next().await.is_none());
    let error = other.search(job(3)).await.unwrap_err();
    assert!(matches!(error, ClientError::Ended), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_the_connection_with_it() {
    let (client, mut peer, _network) = connect(Client::builder(), 4).await;
    let ticket = client.submit(&jobs(0..1), client.options()).await.unwrap();
    drop(client);
    // The ticket still holds it.
    let (request, asked) = peer.search().await;
    peer.send_done(request, 0, &asked[0].job).await;
    assert_eq!(numbers(&ticket.answers().await.unwrap()), [0]);
    assert_eq!(peer.frame().await, goodbye());
    assert_eq!(peer.frame_or_end().await, None);
}
