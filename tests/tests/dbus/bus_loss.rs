//! A bus that is not there, goes away, or has the name already.

use std::time::Duration;

use hasher_tests::{Bus, Daemon, Policy};
use hasher_wire::DigestAlgorithm;
use zbus::fdo::DBusProxy;

use super::support::*;

#[tokio::test]
async fn the_daemon_outlives_the_bus_and_comes_back_to_the_next_one() {
    let Some(mut rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    let client = rig.daemon.client().connect().await.unwrap();
    rig.bus.kill();
    for _ in 0..5 {
        client
            .digest(DigestAlgorithm::Sha256, b"abc")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    rig.bus.restart();
    rig.connection = connect(&rig.bus).await;
    rig.until_on_bus().await;
    eventually("its objects are there again", async || {
        rig.objects()
            .await
            .keys()
            .any(|path| path.as_str() == device_path("cpu-0"))
    })
    .await;
    rig.manager()
        .await
        .digest(&[b"abc"], &Options::new())
        .await
        .unwrap();
    client
        .digest(DigestAlgorithm::Sha256, b"abc")
        .await
        .unwrap();
    let lost = rig.daemon.log().matches("not on the bus").count();
    assert_eq!(lost, 1, "{}", rig.daemon.log());
}

#[tokio::test]
async fn without_a_bus_the_daemon_serves_its_socket() {
    let arguments = ["--device=cpu,threads=1", "--bus=system"];
    let daemon = Daemon::start_with(arguments.map(str::to_owned));
    let client = daemon.client().connect().await.unwrap();
    client
        .digest(DigestAlgorithm::Sha256, b"abc")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        daemon.log().matches("not on the bus").count(),
        1,
        "{}",
        daemon.log()
    );
}

#[tokio::test]
async fn a_name_that_another_daemon_owns_is_left_to_it() {
    let Some(rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    let second = Daemon::start_on(&rig.bus, &["cpu,threads=1"]);
    eventually("the second says so", async || {
        second
            .log()
            .contains("another hasherd owns the name org.hasher.Hasher1")
    })
    .await;
    second
        .client()
        .connect()
        .await
        .unwrap()
        .digest(DigestAlgorithm::Sha256, b"abc")
        .await
        .unwrap();
    let manager = rig.properties(ROOT, "org.hasher.Hasher1.Manager").await;
    assert_eq!(
        text(&manager["Socket"]),
        rig.daemon.socket().to_str().unwrap()
    );
}

#[tokio::test]
async fn a_daemon_without_a_bus_is_on_none() {
    let Some(bus) = Bus::start(Policy::Open) else {
        return;
    };
    let daemon = Daemon::start(&["cpu,threads=1"]);
    let connection = connect(&bus).await;
    let names = DBusProxy::new(&connection).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        !names
            .name_has_owner(NAME.try_into().unwrap())
            .await
            .unwrap()
    );
    drop(daemon);
}
