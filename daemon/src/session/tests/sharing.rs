//! How devices are shared among clients, with test boards.

use super::support::*;

#[tokio::test(start_paused = true)]
async fn a_search_is_answered_with_verified_hits_and_the_device_that_found_them() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("test").await;
    let jobs: Vec<JobRequest> = (0..20).map(job).collect();
    client.search(7, jobs.clone()).await;
    let mut answered = HashSet::new();
    while answered.len() < jobs.len() {
        let Some(Frame::SearchDone(done)) = client.next().await else {
            panic!("a search is answered")
        };
        assert!(answered.insert(done.index));
        assert_eq!(done.request, RequestId(7));
        assert_eq!(&*done.computed_by[0].device, "sim-s3-0");
        assert_eq!(done.computed_by[0].kind, hasher_wire::DeviceKind::Simulated);
        assert_eq!(
            (done.result.end, done.result.certain_nonces),
            (SearchEnd::Found, 0)
        );
        let hit = done.result.hits[0];
        let header = jobs[usize::from(done.index)].job.header.with_time(hit.time);
        assert_eq!(header.with_nonce(hit.nonce).double_digest(), hit.digest);
    }
    assert_eq!(daemon.hub.live_jobs(), 0);
}

#[tokio::test(start_paused = true)]
async fn three_clients_at_once_are_all_answered() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut watcher = daemon.client("watcher").await;
    watcher
        .send(&Frame::Subscribe(Subscribe {
            topics: Topics::ALL,
        }))
        .await;

    // The flood: more digests than it ever reads answers for.
    let mut flood = daemon.client("flood").await;
    let flooding = tokio::spawn(async move {
        let message = [7; 2000];
        for request in 0.. {
            let frame = digest_batch(request, &[&message; 30]);
            let mut bytes = BytesMut::new();
            Codec.encode(&frame, &mut bytes).unwrap();
            if flood.stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });

    let mut searcher = daemon.client("searcher").await;
    for round in 0..20 {
        searcher
            .search(round, (0..10).map(|i| job(round * 10 + i)).collect())
            .await;
        for _ in 0..10 {
            let answer = searcher.next().await;
            assert!(matches!(answer, Some(Frame::SearchDone(_))), "{answer:?}");
        }
    }
    let (mut statuses, mut devices) = (0, 0);
    while statuses < 2 || devices < 1 {
        match watcher.next().await {
            Some(Frame::Event(event)) => match event.body().unwrap() {
                EventBody::Status { status } => {
                    // The first one came before the others did.
                    statuses += usize::from(status.sessions.len() == 3);
                }
                EventBody::Device { device } => {
                    assert_eq!(device.state, DeviceState::Ready);
                    devices += 1;
                }
                other => panic!("unexpected {other:?}"),
            },
            other => panic!("unexpected {other:?}"),
        }
    }
    flooding.abort();
    let _ = flooding.await;
    drop((searcher, watcher));
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_greedy_client_delays_a_polite_one_by_two_device_batches_at_most() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut greedy = daemon.client("greedy").await;
    greedy.search(1, (0..256).map(endless).collect()).await;
    // Let it fill the device and run for a while.
    while board.works_taken() < 100 {
        tokio::time::sleep(PERIOD).await;
    }
    let mut polite = daemon.client("polite").await;
    for round in 0..5 {
        let before = board.works_taken();
        polite.search(round, vec![fruitless(1000 + round)]).await;
        assert!(matches!(polite.next().await, Some(Frame::SearchDone(_))));
        let works = board.works_taken() - before;
        assert!(works <= 2 * 8 + 2, "{works} works until the answer");
    }
    let status = polite.status().await;
    let greedy_report = &status.sessions[0];
    assert_eq!(
        (&*greedy_report.name, greedy_report.credits_free),
        ("greedy", 0)
    );
    drop((greedy, polite));
    daemon.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_killed_with_jobs_on_the_device_leaves_nothing_behind() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("victim").await;
    client.search(1, (0..200).map(endless).collect()).await;
    while board.works_taken() < 20 {
        tokio::time::sleep(PERIOD).await;
    }
    drop(client);
    daemon.assert_empty().await;
    // The device serves the next one at once.
    let mut next = daemon.client("next").await;
    next.search(1, vec![job(1)]).await;
    assert!(matches!(next.next().await, Some(Frame::SearchDone(_))));
    let totals = next.status().await.totals;
    assert_eq!(
        (totals.jobs_accepted, totals.jobs_failed, totals.jobs_done),
        (201, 200, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn unplug_and_return_answer_every_accepted_job_exactly_once() {
    let seed = test_seed();
    let (mut asked, mut done) = (0, 0);
    for schedule in 0..30 {
        let mut rng = Rng::new(seed.wrapping_add(schedule));
        let boards = [TestBoard::new("sim-s3-0"), TestBoard::new("sim-s1-1")];
        let daemon = Arc::new(Daemon::start(boards.to_vec()));
        let clients: Vec<_> = (0..3)
            .map(|_| tokio::spawn(restless_client(Arc::clone(&daemon), rng.next())))
            .collect();
        while clients.iter().any(|client| !client.is_finished()) {
            tokio::time::sleep(Duration::from_millis(rng.below(1500))).await;
            let board = &boards[rng.below(2) as usize];
            match rng.below(6) {
                0 | 1 => board.unplug(),
                2 | 3 => board.plug(),
                4 => board.heat(rng.below(2) == 0),
                _ => board.set_lossy(rng.below(3) == 0),
            }
        }
        for client in clients {
            let (client_asked, client_done) = client.await.unwrap();
            asked += client_asked;
            done += client_done;
        }
        daemon.assert_empty().await;
        daemon.stop.cancel();
    }
    // The schedules are no good if hardly anything succeeds.
    assert!(done * 3 > asked, "{done} of {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_its_device_to_come_back() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("patient").await;
    client.search(1, vec![endless(1)]).await;
    while board.works_taken() < 5 {
        tokio::time::sleep(PERIOD).await;
    }
    board.unplug();
    client.search(2, vec![job(2)]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    board.plug();
    let Some(Frame::SearchDone(done)) = client.next().await else {
        panic!("the device came back in time")
    };
    assert_eq!(done.request, RequestId(2));
    assert_eq!(board.openings(), 2);
    let report = &client.status().await.devices[0];
    assert_eq!((report.state, report.attachments), (DeviceState::Ready, 2));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_away_fails_its_jobs_and_zero_devices_are_healthy() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("patient").await;
    client.search(1, vec![endless(1)]).await;
    while board.works_taken() < 5 {
        tokio::time::sleep(PERIOD).await;
    }
    board.unplug();
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the job fails")
    };
    assert_eq!((failed.index, failed.status), (Some(0), Status::DeviceGone));
    client.search(2, vec![job(2)]).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("there is no device")
    };
    assert_eq!((failed.index, failed.status), (Some(0), Status::NoDevice));
    assert_eq!(client.status().await.devices[0].state, DeviceState::Absent);
    client.send(&digest_batch(3, &["abc"])).await;
    assert!(matches!(client.next().await, Some(Frame::Digests(_))));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_without_any_device_news() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut client = daemon.client("hurried").await;
    board.heat(true);
    let mut request = job(1);
    request.deadline_ms = 1234;
    let asked = Instant::now();
    client.search(1, vec![request]).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the deadline passes")
    };
    assert_eq!(failed.status, Status::Deadline);
    assert_eq!(
        &*failed.message,
        "no answer within 1234 ms: sim-s3-0 is paused: too hot: 80 °C, must cool down"
    );
    let waited = asked.elapsed().as_millis();
    assert!((1234..1300).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_work_that_every_device_drops_is_refused_with_that_reason() {
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let mut client = daemon.client("unlucky").await;
    let mut request = job(1);
    let mut header = request.job.header;
    for number in 0u32.. {
        header.0[..4].copy_from_slice(&number.to_le_bytes());
        if header.work().midstate.is_dropped_by_s3() {
            break;
        }
    }
    request.job.header = header;
    client.search(1, vec![request]).await;
    let Some(Frame::Failed(failed)) = client.next().await else {
        panic!("the device drops it")
    };
    assert_eq!(failed.status, Status::NotRunnable);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_slows_nobody_and_is_dropped_in_the_end() {
    let board = TestBoard::new("sim-s3-0");
    let daemon = Daemon::start(vec![board.clone()]);
    let mut deaf = daemon.client("deaf").await;
    // Answers of 10 KiB each: more than the stream and the session hold.
    let jobs = (0..256)
        .map(|number| {
            let mut request = job(number);
            request.job.mode = SearchMode::Exhaust;
            request.job.target = Target::ANY;
            request
        })
        .collect();
    deaf.search(1, jobs).await;
    let mut other = daemon.client("other").await;
    let start = Instant::now();
    other.search(1, vec![job(1)]).await;
    assert!(matches!(other.next().await, Some(Frame::SearchDone(_))));
    assert!(start.elapsed() < PERIOD * 20);
    while daemon.hub.sessions() == 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(start.elapsed() >= STALL_TIMEOUT);
    assert_eq!(other.status().await.sessions.len(), 1);
    assert_eq!(daemon.hub.live_jobs(), 0);
    drop(deaf);
}

#[tokio::test(start_paused = true)]
async fn a_status_without_room_for_all_sessions_names_the_busy_ones() {
    const SESSIONS: usize = 300;
    let daemon = Daemon::start(vec![TestBoard::new("sim-s3-0")]);
    let open = |number| {
        daemon.hub.open_session(SessionReport {
            name: format!("client {number}"),
            ..SessionReport::default()
        })
    };
    let sessions: Vec<_> = (0..SESSIONS).map(open).collect();
    let (busy, terms, _) = sessions.last().unwrap();
    let mut credits = Credits::new(terms.credits);
    let refused = daemon
        .hub
        .submit(*busy, RequestId(1), &[endless(1)], &mut credits);
    assert_eq!(refused, []);
    let status = daemon.hub.status();
    assert!(StatusReply::new(RequestId(1), &status).is_ok(), "it fits");
    assert_eq!(status.open_sessions(), SESSIONS as u64);
    let shown: Vec<u64> = status.sessions.iter().map(|session| session.id).collect();
    assert!((64..SESSIONS).contains(&shown.len()), "{}", shown.len());
    assert!(shown.is_sorted());
    assert_eq!(
        shown.first(),
        Some(&sessions[0].0.0),
        "of equals the oldest"
    );
    assert_eq!(shown.last(), Some(&busy.0));
}

#[tokio::test(start_paused = true)]
async fn however_many_sessions_there_are_their_credits_are_bounded_together() {
    use crate::core::{CREDITS_MAX, SESSIONS_DEFAULT, SESSIONS_MAX};
    let hub = Hub::new();
    let open = |_| hub.open_session(SessionReport::default());
    let mut sessions: Vec<_> = (0..SESSIONS_DEFAULT / 2).map(open).collect();
    let limits = crate::core::Limits {
        sessions: SESSIONS_MAX,
        ..crate::core::Limits::default()
    };
    hub.configure(limits, hasher_wire::ConfigurationReport::default());
    sessions.extend((sessions.len()..SESSIONS_MAX).map(open));
    let credits = |sessions: &[(_, Terms, _)]| -> usize {
        let credits = sessions.iter().map(|(_, terms, _)| terms.credits);
        credits.map(usize::from).sum()
    };
    let all = credits(&sessions);
    assert!(all <= CREDITS_MAX + SESSIONS_MAX, "{all} credits");
    assert!(sessions.iter().all(|(_, terms, _)| terms.credits > 0));
    // Those of a time with fewer sessions go, and their credits are free again.
    for (id, ..) in sessions.drain(..) {
        hub.close_session(id);
    }
    sessions.extend((0..SESSIONS_MAX).map(open));
    assert_eq!(credits(&sessions), CREDITS_MAX);
}
