//! An administrator changes the limits of a daemon at work.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::path::PathBuf;
use std::time::Duration;

use hasher_client::{Client, ClientError, Priority, Retry, SearchOptions, Status};
use hasher_tests::{Daemon, assert_solved, endless, job, jobs};
use hasher_wire::ConfigurationReport;
use tempfile::TempDir;
use tokio::time::timeout;

/// Longest wait for something that has to come; a loaded machine may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    daemon: Daemon,
    file: PathBuf,
    _folder: TempDir,
}

impl Rig {
    fn start(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("hasherd.toml");
        std::fs::write(&file, text).unwrap();
        let daemon = Daemon::start_with([
            "--device=sim:s3,zero-bits=10,boot-loader=no".to_owned(),
            format!("--config={}", file.display()),
        ]);
        Self {
            daemon,
            file,
            _folder: folder,
        }
    }

    fn reload(&self, text: &str) -> bool {
        std::fs::write(&self.file, text).unwrap();
        self.daemon.reload()
    }

    async fn connect(&self) -> Result<Client, ClientError> {
        let builder = self.daemon.client().retry(Retry::NONE);
        timeout(PATIENCE, builder.connect()).await.unwrap()
    }
}

/// Value and origin of a setting, the path of the file left out.
async fn setting(client: &Client, key: &str) -> (String, String) {
    let json = client
        .document(ConfigurationReport::TOPIC, "")
        .await
        .unwrap();
    let report: ConfigurationReport = serde_json::from_str(&json).unwrap();
    let found = report
        .settings
        .into_iter()
        .find(|setting| setting.key == key);
    let setting = found.unwrap_or_else(|| panic!("no {key}"));
    let origin = setting.origin.rsplit('/').next().unwrap().to_owned();
    (setting.value, origin)
}

/// Waits until the connections of the last round are gone.
async fn alone(client: &Client) {
    let alone = async { while client.status().await.unwrap().sessions.len() > 1 {} };
    timeout(PATIENCE, alone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_under_load_and_no_session_notices() {
    let rig = Rig::start("");
    let client = rig.connect().await.unwrap();
    let patient = client
        .submit(&[endless(); 40], client.options())
        .await
        .unwrap();
    assert_eq!((client.session().credits, patient.left()), (256, 40));
    // Small jobs come and go all the time; each must be answered.
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = {
        let client = client.clone();
        tokio::spawn(async move {
            let mut solved = 0;
            while stopped.try_recv().is_err() {
                for job in jobs(5, 10) {
                    assert_solved(&job, &client.search(job).await.unwrap());
                    solved += 1;
                }
            }
            solved
        })
    };
    let strict = "[limits]\nsessions_per_user = 2\ncredits = 7\n\
        deadline_max_s = 59\ndeadline_default_s = 59\n";
    for round in 0..5 {
        alone(&client).await;
        assert!(rig.reload(strict));
        let second = rig.connect().await.unwrap();
        assert_eq!(second.session().credits, 7, "round {round}");
        assert_eq!(second.session().limits.deadline_max_ms, 59_000);
        let third = rig.connect().await.unwrap_err();
        assert_eq!(third.status(), Some(Status::Busy), "{third:?}");
        // What the file takes back, a new connection has back.
        assert!(rig.reload("[limits]\njobs_per_user = 4096\n"));
        let third = rig.connect().await.unwrap();
        assert_eq!(third.session().credits, 256);
        assert_eq!(second.session().connection, 1, "it stayed as well");
        assert_solved(&job(3, 10), &second.search(job(3, 10)).await.unwrap());
    }
    let _ = stop.send(());
    assert!(timeout(PATIENCE, worker).await.unwrap().unwrap() > 0);
    // Their deadline is that of their time, and their session the first one.
    assert_eq!((client.session().connection, patient.left()), (1, 40));
    let status = client.status().await.unwrap();
    assert_eq!(status.totals.jobs_failed, 0, "{:?}", status.totals);
    assert!(
        rig.daemon
            .log()
            .contains("setting changed for new connections")
    );
}

#[tokio::test]
async fn the_jobs_of_a_user_and_their_priority_are_limited_at_once() {
    let rig = Rig::start("");
    let client = rig.connect().await.unwrap();
    let held = client
        .submit(&[endless(); 3], client.options())
        .await
        .unwrap();
    let options = SearchOptions {
        priority: Priority::Interactive,
        ..client.options()
    };
    assert!(rig.reload("[limits]\njobs_per_user = 3\npriority_max = \"background\"\n"));
    let refused = client.submit(&[job(1, 10)], options).await.unwrap();
    let error = refused.answers().await.unwrap_err();
    assert_eq!(error.status(), Some(Status::Busy), "{error:?}");
    assert!(error.is_retryable());
    drop(held);
    // The cancellation is under way.
    let solved = async {
        loop {
            let ticket = client.submit(&[job(1, 10)], options).await.unwrap();
            match ticket.answers().await {
                Ok(answers) => return answers,
                Err(error) => assert_eq!(error.status(), Some(Status::Busy)),
            }
        }
    };
    assert_solved(&job(1, 10), &timeout(PATIENCE, solved).await.unwrap()[0]);
}

#[tokio::test]
async fn a_file_that_does_not_hold_changes_nothing_and_the_log_says_where() {
    let rig = Rig::start("\n[limits]\ncredits = 9\n");
    let client = rig.connect().await.unwrap();
    let before = setting(&client, "limits.credits").await;
    assert_eq!(before, ("9".to_owned(), "hasherd.toml:3".to_owned()));
    assert!(!rig.reload("[limits]\ncredits = 300\nsesions = 1\n"));
    assert_eq!(setting(&client, "limits.credits").await, before);
    assert_eq!(rig.connect().await.unwrap().session().credits, 9);
    let log = rig.daemon.log();
    let shown = rig.file.display();
    assert!(log.contains(&format!(
        "{shown}:2: limits.credits: expected a whole number from 1 to 256, found 300"
    )));
    assert!(log.contains(&format!("{shown}:3: unknown key")), "{log}");
    // Mended, it is taken; and what needs a restart is said.
    assert!(rig.reload("[limits]\ncredits = 4\n[thermal]\npause_celsius = 60\n"));
    let after = setting(&client, "limits.credits").await;
    assert_eq!(after, ("4".to_owned(), "hasherd.toml:2".to_owned()));
    let pause = setting(&client, "thermal.pause_celsius").await;
    assert_eq!(
        pause,
        ("75".to_owned(), "default, until a restart".to_owned())
    );
    let devices = setting(&client, "devices").await;
    assert_eq!(devices.1, "command line");
    assert!(
        rig.daemon
            .log()
            .contains("setting needs a restart of hasherd")
    );
}
