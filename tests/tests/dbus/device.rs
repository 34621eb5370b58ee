//! Devices on the bus: what they tell, and what they can be told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hasher_wire::DigestAlgorithm;

use super::support::*;

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
