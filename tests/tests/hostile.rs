//! Hostile clients can neither grow the daemon beyond its bound nor take another user's
//! share. The bounds and their arithmetic stand in `docs/design.md`.
//!
//! As root the attacker is user `nobody`; another user cannot become anybody else, so there
//! attacker and victim are one user, and the victim's share is one session's.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hasher_client::{Client, Retry};
use hasher_tests::{Daemon, assert_solved, jobs, program};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

/// `nobody` on every Linux.
const NOBODY: u32 = 65534;
/// How long each attack lasts.
const SECONDS: u64 = 6;
/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one session may make the daemon hold.
const SESSION_BYTES_MAX: u64 = 15 * 256 * 1024;
/// Sessions of one user.
const USER_SESSIONS: u64 = 16;

/// Works that a timed device may hold before ours, ours, and one of the other user.
const WORKS_PER_TURN: u32 = 16 + 2;
/// Time of one work of an S3 at its stock clock.
const WORK_TIME: Duration = Duration::from_millis(9);

struct Rig {
    daemon: Daemon,
    attacker: PathBuf,
    _folder: TempDir,
    is_root: bool,
}

impl Rig {
    fn start(devices: &[&str]) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            eprintln!("not root: attacker and victim are the same user");
        }
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("hasherd.toml");
        std::fs::write(&config, "[socket]\nmode = \"0666\"\n").unwrap();
        let devices = devices.iter().map(|device| format!("--device={device}"));
        let config = format!("--config={}", config.display());
        let daemon = Daemon::start_with(devices.chain([config]));
        // Another user must reach socket and program.
        let attacker = folder.path().join("hostile-client");
        std::fs::copy(program("hostile-client"), &attacker).unwrap();
        for path in [folder.path(), &attacker, daemon.socket().parent().unwrap()] {
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            daemon,
            attacker,
            _folder: folder,
            is_root,
        }
    }

    fn attack(&self, name: &str) -> Attack {
        let mut command = Command::new(&self.attacker);
        command.arg(self.daemon.socket());
        command
            .args([name, &SECONDS.to_string()])
            .stdout(Stdio::piped());
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        Attack(command.spawn().unwrap())
    }

    /// A figure of the daemon's memory in bytes: `VmRSS` now, `VmHWM` at most so far.
    fn memory(&self, name: &str) -> u64 {
        let pid = self.daemon.pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let kib: u64 = line
            .trim_matches([':', '\t', ' '])
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kib * 1024
    }

    /// How much longer than silicon the simulated board takes.
    async fn slowdown(&self, client: &Client) -> f64 {
        let status = client.status().await.unwrap();
        status.devices[0].slowdown.unwrap_or(1.0).max(1.0)
    }
}

/// An attack under way; it ends with its test.
struct Attack(Child);

impl Attack {
    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn end(mut self) -> String {
        let mut said = String::new();
        let output = self.0.stdout.take().unwrap();
        std::io::Read::read_to_string(&mut { output }, &mut said).unwrap();
        assert!(self.0.wait().unwrap().success(), "the attack failed");
        said
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Times of small jobs, one after the other, until it is enough; sorted.
async fn times(client: &Client, mut is_enough: impl FnMut(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    for job in jobs(2000, 8) {
        if is_enough(times.len()) {
            break;
        }
        let begin = Instant::now();
        let answer = timeout(PATIENCE, client.search(job))
            .await
            .expect("it is answered");
        times.push(begin.elapsed());
        assert_solved(&job, &answer.unwrap());
    }
    times.sort_unstable();
    times
}

const BOARD: &str = "sim:s3,zero-bits=8,boot-loader=no";

async fn withstand(name: &str) {
    withstand_with(name, &[BOARD]).await;
}

/// Attacks have the machine for themselves: what is measured is the daemon's fairness,
/// not that of the kernel's scheduler.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn withstand_with(name: &str, devices: &[&str]) {
    let _turn = ONE_AT_A_TIME.lock().await;
    let rig = Rig::start(devices);
    let victim = rig
        .daemon
        .client()
        .retry(Retry::NONE)
        .connect()
        .await
        .unwrap();
    let alone = times(&victim, |done| done == 40).await;
    let before = rig.memory("VmRSS");

    let mut attack = rig.attack(name);
    sleep(Duration::from_millis(500)).await;
    let mut slowdown = rig.slowdown(&victim).await;
    let under_attack = times(&victim, |done| done >= 20 && attack.is_over()).await;
    slowdown = slowdown.max(rig.slowdown(&victim).await);
    let said = attack.end();

    let grown = rig.memory("VmHWM").saturating_sub(before);
    let bound = USER_SESSIONS * SESSION_BYTES_MAX;
    let [median, worst] =
        [under_attack.len() / 2, under_attack.len() - 1].map(|at| under_attack[at]);
    // A job needs one work or a few, each of which waits for a turn.
    let sharers = if rig.is_root { 1 } else { USER_SESSIONS as u32 };
    let turn = (WORK_TIME * (WORKS_PER_TURN + sharers - 1)).mul_f64(slowdown);
    println!(
        "{name}: {}; {} small jobs, median {median:?}, worst {worst:?}, alone {:?}; \
         turn {turn:?}, slowdown {slowdown:.1}; grown by {} KiB of {} KiB",
        said.trim(),
        under_attack.len(),
        alone[alone.len() / 2],
        grown / 1024,
        bound / 1024,
    );
    assert!(
        grown <= bound,
        "grown by {grown} bytes, {bound} are allowed"
    );
    assert!(
        median <= 3 * turn + Duration::from_millis(250),
        "median {median:?}, turn {turn:?}"
    );
    assert!(
        worst <= 20 * turn + Duration::from_secs(2),
        "worst {worst:?}, turn {turn:?}"
    );
    await_peace(&victim).await;
    assert!(
        rig.daemon.log().lines().count() < 60,
        "the log grows with events, not with attacks"
    );
}

/// Nothing of the attack is left.
async fn await_peace(victim: &Client) {
    let peace = async {
        loop {
            let status = victim.status().await.unwrap();
            if status.sessions.len() == 1 && status.totals.jobs_live == 0 {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, peace)
        .await
        .expect("every session of the attack ends");
}

#[tokio::test]
async fn frames_that_never_end() {
    withstand("half-frames").await;
}

#[tokio::test]
async fn frames_of_four_gibibytes() {
    withstand("lengths").await;
}

#[tokio::test]
async fn ten_thousand_connections() {
    withstand("connections").await;
}

#[tokio::test]
async fn a_client_that_never_reads() {
    // A CPU finds the 256 hits of each of its jobs at once: the longest answers.
    withstand_with("deaf", &[BOARD, "cpu,threads=1"]).await;
}

#[tokio::test]
async fn a_flood_of_subscriptions() {
    withstand("subscribe").await;
}

#[tokio::test]
async fn a_flood_of_queries() {
    withstand("queries").await;
}

#[tokio::test]
async fn a_flood_of_digests() {
    withstand("digests").await;
}

#[tokio::test]
async fn jobs_that_never_end() {
    withstand("endless").await;
}

#[tokio::test]
async fn many_processes() {
    withstand("forks").await;
}

#[test]
fn the_attacks_are_named_by_the_program_itself() {
    let output = Command::new(program("hostile-client")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let usage = String::from_utf8(output.stderr).unwrap();
    let tests = include_str!("hostile.rs");
    let names = usage.split("attacks: ").nth(1).unwrap().trim().split(", ");
    for name in names {
        let call = format!("(\"{name}\"");
        assert!(tests.contains(&call), "{name} is not tried");
    }
}
