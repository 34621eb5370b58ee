//! Programs that use the service of this machine while somebody restarts, kills or
//! upgrades it. `tests/vm` does that in a guest.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hasher_client::{Client, DigestAlgorithm, SearchOptions, digest};
use hasher_work::{Header, NonceRange, SearchEnd, SearchJob, SearchMode, Target};
use tokio::task::JoinSet;

/// Programs at once.
const PROGRAMS: u32 = 10;
/// Searches that each has in flight.
const SEARCHES: u32 = 100;
/// Digests that each has in flight beside them.
const DIGESTS: u32 = 20;
/// Time for one of them. A hung daemon is killed after 20 s; what then waits in its
/// place is served after that.
const DEADLINE: Duration = Duration::from_secs(120);

/// Searches that a board with a filter of 8 zero bits solves, and an S3 does not drop.
fn jobs(first: u32) -> Vec<SearchJob> {
    let job = |number: u32| {
        let mut header = Header([0xa5; 80]);
        header.0[..4].copy_from_slice(&number.to_le_bytes());
        SearchJob {
            header,
            range: NonceRange::WHOLE,
            target: Target::from_zero_bits(8).unwrap(),
            mode: SearchMode::FirstFound(1),
            rolls: 100,
        }
    };
    (first..)
        .map(job)
        .filter(|job| !job.header.work().midstate.is_dropped_by_s3())
        .take(SEARCHES as usize)
        .collect()
}

/// One program: asks until the file is gone, and takes nothing but right answers.
async fn program(number: u32, running: PathBuf, rounds: Arc<AtomicUsize>) {
    let client = Client::builder()
        .name(format!("load-{number}"))
        .connect()
        .await
        .unwrap();
    let options = SearchOptions {
        deadline: DEADLINE,
        ..client.options()
    };
    let mut first = number << 24;
    while running.exists() {
        let jobs = jobs(first);
        first += 1000;
        let messages: Vec<[u8; 4]> = (0..DIGESTS).map(|i| (first + i).to_le_bytes()).collect();
        let (ticket, digests) = tokio::join!(
            client.submit(&jobs, options),
            client.digest_batch(DigestAlgorithm::Sha256, &messages),
        );
        let answers = ticket.unwrap().answers().await.unwrap();
        for (job, answer) in jobs.iter().zip(answers) {
            assert_eq!(answer.result.end, SearchEnd::Found);
            let hit = answer.result.hits[0];
            let header = job.header.with_time(hit.time).with_nonce(hit.nonce);
            assert_eq!(header.double_digest(), hit.digest);
            assert!(job.target.is_met_by(&hit.digest));
        }
        let expected: Vec<_> = messages.iter().map(|message| digest(message)).collect();
        assert_eq!(digests.unwrap().digests, expected);
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    client.close().await;
}

#[tokio::test]
#[ignore = "needs the service with a board, and somebody who restarts it: tests/vm"]
async fn no_program_loses_a_job_whatever_happens_to_the_service() {
    let running = PathBuf::from(std::env::var_os("HASHER_LOAD_WHILE").unwrap());
    let rounds = Arc::new(AtomicUsize::new(0));
    let mut programs = JoinSet::new();
    for number in 0..PROGRAMS {
        programs.spawn(program(number, running.clone(), Arc::clone(&rounds)));
    }
    programs.join_all().await;
    let rounds = rounds.load(Ordering::Relaxed);
    println!(
        "{} searches and {} digests, all answered right",
        rounds * SEARCHES as usize,
        rounds * DIGESTS as usize
    );
}
