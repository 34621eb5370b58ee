//! Many clients at once, more than the default allows, over a real socket.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::time::Duration;

use hasher_client::{Client, ClientError, DigestAlgorithm, Retry, digest, double_digest};
use hasher_tests::Daemon;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: usize = 400;
/// Open files with which the daemon begins: too few for its clients.
const FILES: u64 = 256;
/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(120);

fn let_open(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let current = Some(files);
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
}

async fn connect(daemon: &Daemon) -> Result<Client, ClientError> {
    let client = daemon.client().retry(Retry::NONE).connect();
    timeout(PATIENCE, client)
        .await
        .expect("it is let in or not")
}

/// Asks for digests that nobody else asks for, and checks them.
async fn ask(client: &Client, number: usize, round: usize) {
    let messages: Vec<Vec<u8>> = (0..1 + number % 3)
        .map(|message| format!("{number} {round} {message}").repeat(1 + number % 40))
        .map(String::into_bytes)
        .collect();
    let (algorithm, expected): (_, fn(&[u8]) -> _) = match number % 2 {
        0 => (DigestAlgorithm::Sha256, digest),
        _ => (DigestAlgorithm::Sha256d, double_digest),
    };
    let answer = client.digest_batch(algorithm, &messages);
    let answer = timeout(PATIENCE, answer).await.expect("it is answered");
    let expected: Vec<_> = messages.iter().map(|message| expected(message)).collect();
    assert_eq!(answer.unwrap().digests, expected, "client {number}");
}

#[tokio::test]
async fn hundreds_of_clients_are_each_answered_right_and_one_too_many_is_told_so() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("hasherd.toml");
    let limits = format!("[limits]\nsessions = {CLIENTS}\nsessions_per_user = 1024\n");
    std::fs::write(&config, limits).unwrap();
    // The daemon inherits a limit that it has to raise.
    let_open(FILES);
    let daemon = Daemon::start_with([format!("--config={}", config.display())]);
    let_open(CLIENTS as u64 * 2 + FILES);

    let mut clients = Vec::new();
    while clients.len() < CLIENTS {
        clients.push(connect(&daemon).await.unwrap());
    }
    let error = connect(&daemon).await.unwrap_err().to_string();
    let reason = format!("hasherd serves {CLIENTS} clients at once");
    assert!(error.contains(&reason), "{error}");

    let status = clients[0].status().await.unwrap();
    assert_eq!(status.open_sessions(), CLIENTS as u64);
    assert!(status.sessions.len() >= 64, "{}", status.sessions.len());
    let share = 64 * 256 / CLIENTS;
    let credits = status.sessions.iter().map(|session| session.credits);
    assert!(credits.map(usize::from).all(|credits| credits == share));

    // Every other one leaves in the middle of a request.
    let mut asking = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        asking.spawn(async move {
            ask(&client, number, 0).await;
            if number % 2 == 0 {
                for round in 1..4 {
                    ask(&client, number, round).await;
                }
            } else {
                let message = [vec![7; 50_000]];
                let request = client.digest_batch(DigestAlgorithm::Sha256, &message);
                tokio::select! {
                    biased;
                    _ = request => {}
                    () = tokio::task::yield_now() => {}
                }
            }
        });
    }
    asking.join_all().await;
    // All places are free again.
    let next = async {
        loop {
            if let Ok(client) = daemon.client().retry(Retry::NONE).connect().await {
                return client;
            }
            tokio::task::yield_now().await;
        }
    };
    let next = timeout(PATIENCE, next).await.expect("there is a place");
    ask(&next, 1, 9).await;
}
