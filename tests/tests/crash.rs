//! The daemon is killed with a thousand jobs in flight.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::time::{Duration, Instant};

use hasher_client::{ClientError, Retry, SearchOptions};
use hasher_tests::{Daemon, assert_solved, endless, jobs};
use hasher_work::SearchJob;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: usize = 10;
const JOBS: usize = 100;
/// Longest time until every call has returned; a loaded machine may be slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// What one client's jobs came to.
#[derive(Debug, Default)]
struct Ends {
    solved: usize,
    retryable: usize,
}

/// Connects clients, has each submit its jobs, and lets `crash` happen when all are in
/// flight; what they came to, none left out.
async fn ends(
    daemon: &mut Daemon,
    jobs: &[SearchJob],
    options: SearchOptions,
    retry: Retry,
    crash: impl FnOnce(&mut Daemon),
) -> Vec<Ends> {
    let mut clients = JoinSet::new();
    for part in jobs.chunks(JOBS) {
        let client = daemon.client().retry(retry).connect().await.unwrap();
        let mut ticket = client.submit(part, options).await.unwrap();
        let part = part.to_vec();
        clients.spawn(async move {
            let mut ends = Ends::default();
            let mut answered = vec![0; part.len()];
            while let Some((index, answer)) = ticket.next().await {
                answered[index] += 1;
                match answer {
                    Ok(answer) => {
                        assert_solved(&part[index], &answer);
                        ends.solved += 1;
                    }
                    Err(error) => {
                        assert!(error.is_retryable(), "{error:?}");
                        ends.retryable += 1;
                    }
                }
            }
            assert_eq!(answered, vec![1; part.len()]);
            ends
        });
    }
    let watcher = daemon.client().connect().await.unwrap();
    while watcher.status().await.unwrap().totals.jobs_accepted < jobs.len() as u64 {}
    crash(daemon);
    let ends = timeout(PATIENCE, clients.join_all()).await;
    ends.expect("no call hangs")
}

fn restart(daemon: &mut Daemon) {
    daemon.kill();
    daemon.restart();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_repeat_get_every_right_answer_from_the_next_daemon() {
    // Slow enough that most jobs are in flight when it is killed: they wait for the
    // board to leave its boot loader.
    let mut daemon = Daemon::start(&["sim:s3,zero-bits=8"]);
    let jobs = jobs(CLIENTS * JOBS, 8);
    let options = SearchOptions {
        deadline: PATIENCE,
        ..SearchOptions::default()
    };
    let ends = ends(&mut daemon, &jobs, options, Retry::default(), restart).await;
    let solved: usize = ends.iter().map(|ends| ends.solved).sum();
    assert_eq!((ends.len(), solved), (CLIENTS, CLIENTS * JOBS), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_repeat_are_told_so_that_they_may() {
    let mut daemon = Daemon::start(&["cpu,threads=1"]);
    let jobs = vec![endless(); CLIENTS * JOBS];
    let options = SearchOptions {
        deadline: PATIENCE,
        ..SearchOptions::default()
    };
    let begin = Instant::now();
    let ends = ends(&mut daemon, &jobs, options, Retry::NONE, restart).await;
    let retryable: usize = ends.iter().map(|ends| ends.retryable).sum();
    assert_eq!(retryable, CLIENTS * JOBS, "{ends:?}");
    assert!(
        begin.elapsed() < PATIENCE / 2,
        "not only when the deadline passed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_daemon_comes_back_every_call_ends_by_its_deadline() {
    let mut daemon = Daemon::start(&["cpu,threads=1"]);
    let jobs = vec![endless(); CLIENTS * JOBS];
    let deadline = Duration::from_secs(20);
    let options = SearchOptions {
        deadline,
        ..SearchOptions::default()
    };
    let begin = Instant::now();
    let ends = ends(&mut daemon, &jobs, options, Retry::default(), Daemon::kill).await;
    let retryable: usize = ends.iter().map(|ends| ends.retryable).sum();
    assert_eq!(retryable, CLIENTS * JOBS, "{ends:?}");
    assert!(begin.elapsed() < 2 * deadline + Duration::from_secs(10));
}

#[tokio::test]
async fn every_other_kind_of_call_returns_too() {
    let mut daemon = Daemon::start(&["cpu,threads=1"]);
    let client = daemon.client().retry(Retry::NONE).connect().await.unwrap();
    daemon.kill();
    let is_typed = |error: ClientError| assert!(error.is_retryable(), "{error:?}");
    let calls = async {
        is_typed(client.status().await.unwrap_err());
        is_typed(client.document("configuration", "").await.unwrap_err());
        let algorithm = hasher_client::DigestAlgorithm::Sha256;
        is_typed(client.digest(algorithm, "abc").await.unwrap_err());
        let data = vec![0; 1 << 20];
        is_typed(
            client
                .digest_stream(algorithm, &data[..])
                .await
                .unwrap_err(),
        );
    };
    timeout(PATIENCE, calls).await.expect("no call hangs");
    daemon.restart();
    assert_eq!(client.status().await.unwrap().totals.sessions, 1);
}
