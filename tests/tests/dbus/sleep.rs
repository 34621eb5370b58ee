//! The machine's sleep, with a logind that the test plays.

use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::support::*;

/// Locks that were taken: what was said, and the end that tells when it is released.
type Locks = Arc<Mutex<Vec<([String; 4], PipeReader)>>>;

struct Logind {
    locks: Locks,
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(&self, what: String, who: String, why: String, mode: String) -> zbus::OwnedFd {
        let (reader, writer) = std::io::pipe().unwrap();
        self.locks
            .lock()
            .unwrap()
            .push(([what, who, why, mode], reader));
        OwnedFd::from(writer).into()
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, begins: bool) -> zbus::Result<()>;
}

const LOGIND: &str = "/org/freedesktop/login1";

/// Plays logind on a bus from now on.
async fn play(connection: &Connection) -> Locks {
    let locks = Locks::default();
    let logind = Logind {
        locks: Arc::clone(&locks),
    };
    connection.object_server().at(LOGIND, logind).await.unwrap();
    connection
        .request_name("org.freedesktop.login1")
        .await
        .unwrap();
    locks
}

async fn tell(connection: &Connection, begins: bool) {
    let emitter = SignalEmitter::new(connection, LOGIND).unwrap();
    Logind::prepare_for_sleep(&emitter, begins).await.unwrap();
}

/// Waits until the newest lock is released, as logind does; says how long it took.
async fn until_released(locks: &Locks) -> Duration {
    let began = Instant::now();
    let (_, mut lock) = locks.lock().unwrap().pop().unwrap();
    let reading = tokio::task::spawn_blocking(move || lock.read(&mut [0]).unwrap());
    let read = tokio::time::timeout(PATIENCE, reading).await;
    assert_eq!(read.expect("the lock is released").unwrap(), 0);
    began.elapsed()
}

#[tokio::test]
async fn devices_are_drained_and_released_before_sleep_and_prove_themselves_after() {
    let Some(rig) = Rig::start(&["sim:s3,boot-loader=no", "cpu,threads=1"]).await else {
        return;
    };
    let logind = connect(&rig.bus).await;
    let locks = play(&logind).await;
    eventually("the daemon delays sleep", async || {
        !locks.lock().unwrap().is_empty()
    })
    .await;
    let said = locks.lock().unwrap()[0].0.clone();
    let [what, who, _, mode] = said;
    assert_eq!((&*what, &*who, &*mode), ("sleep", "hasherd", "delay"));
    rig.until_device("sim-s3-0", "ready").await;
    rig.until_device("cpu-1", "ready").await;

    let manager = rig.manager().await;
    let quick = Options::from([("zero-bits", 14u32.into()), ("rolls", 4000u16.into())]);
    let mut signals = rig.signals().await;
    tell(&logind, true).await;
    assert!(until_released(&locks).await < Duration::from_secs(5));
    for id in ["sim-s3-0", "cpu-1"] {
        rig.until_device(id, "paused").await;
    }
    let state = async || {
        let manager = rig.properties(ROOT, "org.hasher.Hasher1.Manager").await;
        text(&manager["State"])
    };
    assert_eq!(state().await, "suspended");
    // A search waits for the morning.
    let search = manager.search(&[3; 80], &quick);
    let mut search = std::pin::pin!(search);
    let early = tokio::time::timeout(Duration::from_millis(500), &mut search).await;
    assert!(early.is_err(), "it is served asleep");

    tell(&logind, false).await;
    search.await.unwrap();
    for id in ["sim-s3-0", "cpu-1"] {
        rig.until_device(id, "ready").await;
        let device = rig.properties(&device_path(id), DEVICE).await;
        assert_eq!(u32::try_from(&device["Attachments"]), Ok(2));
    }
    assert_eq!(state().await, "running");
    assert_eq!(rig.daemon.log().matches("answered a known work").count(), 2);
    eventually("sleep is delayed again", async || {
        !locks.lock().unwrap().is_empty()
    })
    .await;
    // The bus was told of both.
    let mut states = Vec::new();
    while states.len() < 2 {
        if let Told::Changed { path, changed, .. } = signals.next().await
            && path == ROOT
            && let Some(state) = changed.get("State")
        {
            states.push(text(state));
        }
    }
    assert_eq!(states, ["suspended", "running"]);
}

#[tokio::test]
async fn a_logind_that_starts_again_is_asked_again_and_none_is_missed() {
    let Some(rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    for _ in 0..2 {
        let logind = connect(&rig.bus).await;
        let locks = play(&logind).await;
        eventually("the daemon delays sleep", async || {
            !locks.lock().unwrap().is_empty()
        })
        .await;
        logind.close().await.unwrap();
    }
    rig.manager()
        .await
        .digest(&[b"abc"], &Options::new())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bus_that_goes_away_asleep_leaves_no_device_asleep() {
    let Some(mut rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let logind = connect(&rig.bus).await;
    let locks = play(&logind).await;
    eventually("the daemon delays sleep", async || {
        !locks.lock().unwrap().is_empty()
    })
    .await;
    tell(&logind, true).await;
    until_released(&locks).await;
    rig.bus.kill();
    let client = rig.daemon.client().connect().await.unwrap();
    eventually("the device is open again", async || {
        let status = client.status().await.unwrap();
        status.devices[0].state == hasher_wire::DeviceState::Ready
    })
    .await;
}
