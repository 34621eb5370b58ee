//! Devices on the bus: what they tell, and what they can be told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hasher_wire::DigestAlgorithm;

use super::support::*;

#[tokio::test]
async fn a_watcher_sees_plugging_unplugging_heat_and_recovery() {
    // The board is pulled out after 8 s; the room is hot from then on, and cold later.
    let script = "script=unplug@8s+2s;heat=120@10s+50s;heat=0@61s";
    let device = format!("sim:s3,boot-loader=no,{script}");
    let Some(rig) = Rig::start(&[&device]).await else {
        return;
    };
    let id = "sim-s3-0";
    let mut signals = rig.signals().await;
    if rig.device_state(id).await != "ready" {
        signals.until_state(id, "ready").await;
    }
    let reason = signals.until_state(id, "absent").await;
    assert!(!reason.is_empty());
    signals.until_state(id, "ready").await;
    let reason = signals.until_state(id, "paused").await;
    assert!(reason.starts_with("too hot: "), "{reason}");
    signals.until_state(id, "ready").await;
    let device = rig.properties(&device_path(id), DEVICE).await;
    assert_eq!(text(&device["StateReason"]), "");
    assert_eq!(u32::try_from(&device["Attachments"]), Ok(2));
}

#[tokio::test]
async fn a_device_can_be_paused_reset_and_resumed() {
    let Some(rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    let id = "cpu-0";
    rig.until_device(id, "ready").await;
    let device = rig.device(id).await;
    let mut signals = rig.signals().await;
    device.pause().await.unwrap();
    assert_eq!(signals.until_state(id, "paused").await, "paused on request");
    device.reset().await.unwrap();
    eventually("it is opened again and still paused", async || {
        let device = rig.properties(&device_path(id), DEVICE).await;
        u32::try_from(&device["Attachments"]) == Ok(2) && text(&device["State"]) == "paused"
    })
    .await;
    device.resume().await.unwrap();
    assert_eq!(signals.until_state(id, "ready").await, "");
    let settings = Options::from([("frequency-mhz", 200f64.into())]);
    let (name, why) = failure(device.configure(&settings).await);
    assert_eq!(
        (&*name, &*why),
        ("NotSupported", "a CPU has no clock to set")
    );
    let unknown = rig.device("cpu-7").await;
    assert_eq!(failure(unknown.pause().await).0, "UnknownObject");
}

#[tokio::test]
async fn a_clock_is_on_trial_until_it_is_confirmed_or_taken_back() {
    let Some(rig) = Rig::start(&["sim:s3,boot-loader=no"]).await else {
        return;
    };
    let id = "sim-s3-0";
    rig.until_device(id, "ready").await;
    let device = rig.device(id).await;
    let clock = async |wanted: f64| {
        eventually(&format!("it runs at {wanted} MHz"), async || {
            let device = rig.properties(&device_path(id), DEVICE).await;
            number(&device["FrequencyMhz"]) == wanted && text(&device["State"]) == "ready"
        })
        .await;
    };
    let configure = async |mhz: f64| {
        device
            .configure(&Options::from([("frequency-mhz", mhz.into())]))
            .await
    };
    clock(218.75).await;
    assert_eq!(configure(200.0).await.unwrap(), 60);
    clock(200.0).await;
    device.revert_configuration().await.unwrap();
    clock(218.75).await;
    configure(200.0).await.unwrap();
    device.confirm_configuration().await.unwrap();
    let (name, why) = failure(device.confirm_configuration().await);
    assert_eq!(name, "Invalid");
    assert!(why.contains("no clock on trial"), "{why}");
    assert_eq!(failure(device.revert_configuration().await).0, "Invalid");
    let (name, why) = failure(configure(300.0).await);
    assert_eq!(name, "Invalid");
    assert!(why.contains("above the 250 MHz"), "{why}");
    let (name, why) = failure(configure(201.0).await);
    assert_eq!(name, "Invalid");
    assert!(why.contains("not in the clock table"), "{why}");
    let (name, why) = failure(device.configure(&Options::new()).await);
    assert_eq!(
        (&*name, &*why),
        ("Invalid", "nothing is set; give frequency-mhz")
    );
    let (name, _) = failure(
        device
            .configure(&Options::from([("mhz", 200f64.into())]))
            .await,
    );
    assert_eq!(name, "InvalidArgs");
    // The next one is not confirmed, so what was confirmed comes back by itself.
    let began = Instant::now();
    configure(193.75).await.unwrap();
    clock(193.75).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    clock(193.75).await;
    clock(200.0).await;
    assert!(began.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn changes_are_told_at_most_once_a_second_and_nothing_when_nothing_changes() {
    let Some(rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let client = rig.daemon.client().connect().await.unwrap();
    let mut signals = rig.signals().await;
    let working = async {
        let end = Instant::now() + Duration::from_secs(8);
        let mut number = 0u32;
        while Instant::now() < end {
            number += 1;
            let messages = [number.to_le_bytes()];
            client
                .digest_batch(DigestAlgorithm::Sha256, &messages)
                .await
                .unwrap();
            let mut header = [0; 80];
            header[..4].copy_from_slice(&number.to_le_bytes());
            let quick = Options::from([("zero-bits", 8u32.into())]);
            rig.manager().await.search(&header, &quick).await.unwrap();
        }
    };
    let (told, ()) = tokio::join!(signals.within(Duration::from_secs(8)), working);
    // Signals may be late and then come close together, so they are counted.
    let mut counts: HashMap<String, u32> = HashMap::new();
    for one in told {
        let Told::Changed { path, changed } = one else {
            continue;
        };
        assert!(!changed.contains_key("Counters") && !changed.contains_key("Totals"));
        if !changed.contains_key("State") {
            *counts.entry(path).or_default() += 1;
        }
    }
    assert!(counts.values().all(|count| *count <= 9), "{counts:?}");
    assert!(counts[&device_path("cpu-0")] >= 3, "{counts:?}");
    drop(client);
    // Its rate fades for a quarter of an hour, every 5 s; otherwise there is silence.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = signals.within(Duration::from_secs(9)).await;
    let of_devices = told
        .iter()
        .filter(|one| matches!(one, Told::Changed { path, .. } if path.contains("/devices/")));
    assert!(of_devices.count() <= 4, "{told:?}");
}

#[tokio::test]
async fn a_daemon_that_never_worked_says_nothing() {
    let Some(rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut signals = rig.signals().await;
    let told = signals.within(Duration::from_secs(8)).await;
    assert!(told.is_empty(), "{told:?}");
}
