//! The daemon's own object: what it shows, searches, digests, sessions, reload.

use std::os::fd::OwnedFd;

use hasher_client::{Client, ClientError, Dial};
use hasher_wire::DigestAlgorithm;
use hasher_work::{Digest, Header, Target, digest, double_digest};

use super::support::*;

/// Takes work at once and answers exactly.
const CPU: &str = "cpu,threads=1";

/// A header whose nonces nobody has looked for.
fn header(number: u8) -> [u8; 80] {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&[2, 0, 0, number]);
    header
}

#[tokio::test]
async fn the_daemon_and_its_devices_and_sessions_are_objects() {
    let Some(rig) = Rig::start(&[CPU, "sim:s3"]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let manager = rig.properties(ROOT, "org.hasher.Hasher1.Manager").await;
    assert_eq!(text(&manager["Version"]), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&manager["ProtocolVersion"]), "1.3");
    assert_eq!(text(&manager["State"]), "running");
    assert_eq!(
        text(&manager["Socket"]),
        rig.daemon.socket().to_str().unwrap()
    );
    assert_eq!(u32::try_from(&manager["Devices"]), Ok(2));
    let started = u64::try_from(&manager["StartedAt"]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    assert!(now.unwrap().as_secs() - started < 3600);

    let mut signals = rig.signals().await;
    let client = rig.daemon.client().name("watched").connect().await.unwrap();
    let path = |number: u64| format!("{ROOT}/sessions/{number}");
    let number = client.status().await.unwrap().sessions[0].id;
    eventually("the session is an object", async || {
        rig.objects()
            .await
            .keys()
            .any(|object| object.as_str() == path(number))
    })
    .await;
    let objects = rig.objects().await;
    for id in ["cpu-0", "sim-s3-1"] {
        let object = objects
            .iter()
            .find(|(path, _)| path.as_str() == device_path(id));
        let (_, interfaces) = object.unwrap();
        assert!(
            interfaces
                .keys()
                .any(|interface| interface.as_str() == DEVICE)
        );
    }
    let session = rig.properties(&path(number), SESSION).await;
    assert_eq!(text(&session["Name"]), "watched");
    assert_eq!(text(&session["Protocol"]), "1.3");
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(u32::try_from(&session["Uid"]), Ok(own));
    assert_eq!(
        i32::try_from(&session["Pid"]),
        Ok(std::process::id() as i32)
    );
    drop(client);
    let (mut came, mut went) = (false, false);
    while !went {
        match signals.next().await {
            Told::Added(object) => came |= object == path(number),
            Told::Removed(object) => went = object == path(number),
            Told::Changed { .. } => {}
        }
    }
    assert!(came, "it was told before");
    eventually("the session's object is gone", async || {
        rig.objects()
            .await
            .keys()
            .all(|object| object.as_str() != path(number))
    })
    .await;

    let cpu = rig.properties(&device_path("cpu-0"), DEVICE).await;
    assert_eq!(
        (text(&cpu["Id"]), text(&cpu["Kind"])),
        ("cpu-0".into(), "cpu".into())
    );
    assert_eq!(number_of(&cpu["Slowdown"]), 0.0);
    rig.until_device("sim-s3-1", "ready").await;
    let s3 = rig.properties(&device_path("sim-s3-1"), DEVICE).await;
    assert_eq!(text(&s3["Model"]), "Antminer S3");
    assert_eq!(
        (text(&s3["Layout"]), number_of(&s3["FrequencyMhz"])),
        ("S3".into(), 218.75)
    );
    assert_eq!(u32::try_from(&s3["Chains"]), Ok(2));
    assert_eq!(u32::try_from(&s3["Chips"]), Ok(32));
}

fn number_of(value: &zbus::OwnedVariant) -> f64 {
    number(value)
}

#[tokio::test]
async fn a_search_finds_verified_nonces_and_says_who_found_them() {
    let Some(rig) = Rig::start(&[CPU]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let manager = rig.manager().await;
    let options = Options::from([
        ("zero-bits", 8u32.into()),
        ("hits", 0u16.into()),
        ("first-nonce", 0u32.into()),
        ("last-nonce", 9_999u32.into()),
        ("priority", "interactive".into()),
    ]);
    let (end, certain, works, hits, by) = manager.search(&header(1), &options).await.unwrap();
    assert_eq!((&*end, certain, works), ("exhausted", 10_000, 1));
    assert_eq!(by, [("cpu".to_owned(), "cpu-0".to_owned())]);
    let work = Header(header(1)).work();
    let expected: Vec<u32> = (0..10_000)
        .filter(|nonce| work.verify(hasher_work::Nonce(*nonce), 8).is_some())
        .collect();
    let found: Vec<u32> = hits.iter().map(|hit| hit.1).collect();
    assert_eq!(found, expected);
    for (time, nonce, digest) in hits {
        let header = Header(header(1))
            .with_time(time)
            .with_nonce(hasher_work::Nonce(nonce));
        assert_eq!(header.double_digest(), Digest(digest.try_into().unwrap()));
    }
    let mut target = [0xff; 32];
    target[31] = 0;
    let options = Options::from([("target", target.to_vec().into()), ("rolls", 2u16.into())]);
    let (end, _, _, hits, _) = manager.search(&header(2), &options).await.unwrap();
    let digest = Digest(hits[0].2.clone().try_into().unwrap());
    assert!(end == "found" && Target::from_le_bytes(target).is_met_by(&digest));
    let totals = rig.properties(ROOT, "org.hasher.Hasher1.Manager").await;
    let totals = totals["Totals"].try_clone().unwrap();
    let totals: std::collections::HashMap<String, u64> = totals.try_into().unwrap();
    assert_eq!((totals["jobs_done"], totals["jobs_live"]), (2, 0));
}

#[tokio::test]
async fn a_search_fails_with_the_name_of_its_reason() {
    let Some(rig) = Rig::start(&[CPU]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let manager = rig.manager().await;
    let fails =
        async |header: &[u8], options: Options<'_>| failure(manager.search(header, &options).await);
    let (name, why) = fails(&[0; 79], Options::new()).await;
    assert_eq!(
        (&*name, &*why),
        ("Invalid", "header must be 80 bytes long, got 79")
    );
    let (name, why) = fails(&header(1), Options::from([("hit", 1u16.into())])).await;
    assert!(
        name == "InvalidArgs" && why.contains("unknown field `hit`"),
        "{name}: {why}"
    );
    let never = || {
        Options::from([
            ("zero-bits", 256u32.into()),
            ("rolls", 100u16.into()),
            ("deadline-ms", 200u32.into()),
        ])
    };
    let (name, why) = fails(&header(1), never()).await;
    assert_eq!((&*name, &*why), ("Deadline", "no answer within 200 ms"));
    rig.device("cpu-0").await.pause().await.unwrap();
    rig.until_device("cpu-0", "paused").await;
    let (name, why) = fails(&header(1), never()).await;
    assert_eq!(name, "Deadline");
    assert!(why.ends_with("cpu-0 is paused: paused on request"), "{why}");
}

#[tokio::test]
async fn a_search_without_devices_or_for_chips_that_cannot_run_it_says_so() {
    let Some(rig) = Rig::start(&["sim:s3,boot-loader=no"]).await else {
        return;
    };
    rig.until_device("sim-s3-0", "ready").await;
    let manager = rig.manager().await;
    let dropped = (0..=u8::MAX)
        .flat_map(|a| (0..=u8::MAX).map(move |b| (a, b)))
        .map(|(a, b)| {
            let mut header = header(a);
            header[5] = b;
            header
        })
        .find(|header| Header(*header).work().midstate.is_dropped_by_s3());
    let (name, why) = failure(manager.search(&dropped.unwrap(), &Options::new()).await);
    assert_eq!(name, "NotRunnable");
    assert!(why.contains("change the first 64 bytes"), "{why}");
    drop(rig);

    let Some(rig) = Rig::start(&["usb:platform-no-such-controller-usb-0:1"]).await else {
        return;
    };
    let manager = rig.manager().await;
    let (name, why) = failure(manager.search(&header(1), &Options::new()).await);
    assert_eq!((&*name, &*why), ("NoDevice", "no device is attached"));
    let port = "platform-no-such-controller-usb-0:1";
    let path = device_path(port).replace(':', "_3a");
    let device = rig.properties(&path, DEVICE).await;
    assert_eq!(text(&device["State"]), "absent");
    assert_eq!(text(&device["StateReason"]), "not plugged in");
    let device = DeviceProxy::builder(&rig.connection)
        .path(path)
        .build()
        .await
        .unwrap();
    let (name, why) = failure(device.reset().await);
    assert_eq!(name, "NoDevice");
    assert!(why.ends_with("is not plugged in"), "{why}");
}

#[tokio::test]
async fn a_caller_may_have_sixteen_calls_and_a_caller_that_leaves_has_none() {
    let Some(rig) = Rig::start(&[CPU]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let greedy = connect(&rig.bus).await;
    let endless = || Options::from([("zero-bits", 256u32.into()), ("rolls", 4000u16.into())]);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..40 {
        let manager = ManagerProxy::new(&greedy).await.unwrap();
        calls.spawn(async move { manager.search(&header(number), &endless()).await });
    }
    // 24 are refused at once, the others go on.
    for _ in 0..24 {
        let refused = calls.join_next().await.unwrap().unwrap();
        let (name, why) = failure(refused);
        assert_eq!(name, "Busy");
        assert_eq!(why, "hasherd carries out 16 calls of one caller at once");
    }
    // Somebody else is served all the same; with the same user's places, though.
    let manager = rig.manager().await;
    let (name, why) = failure(manager.search(&header(99), &endless()).await);
    assert_eq!(
        (&*name, &*why),
        ("Busy", "hasherd serves 16 clients of one user at once")
    );
    calls.abort_all();
    greedy.close().await.unwrap();
    let quick = Options::from([("zero-bits", 4u32.into())]);
    eventually("the searches of the one that left are over", async || {
        let manager = rig.properties(ROOT, "org.hasher.Hasher1.Manager").await;
        u32::try_from(&manager["Sessions"]) == Ok(0)
    })
    .await;
    manager.search(&header(1), &quick).await.unwrap();
}

#[tokio::test]
async fn digests_are_those_of_the_messages() {
    let Some(rig) = Rig::start(&[CPU]).await else {
        return;
    };
    let manager = rig.manager().await;
    let messages: [&[u8]; 3] = [b"", b"abc", &[7; 1000]];
    let (digests, by) = manager.digest(&messages, &Options::new()).await.unwrap();
    let expected: Vec<Vec<u8>> = messages.iter().map(|m| digest(m).0.to_vec()).collect();
    assert_eq!(digests, expected);
    assert_eq!(by, ("cpu".to_owned(), "cpu".to_owned()));
    let twice = Options::from([("algorithm", "sha256d".into())]);
    let (digests, _) = manager.digest(&messages, &twice).await.unwrap();
    let expected: Vec<Vec<u8>> = messages
        .iter()
        .map(|m| double_digest(m).0.to_vec())
        .collect();
    assert_eq!(digests, expected);
    // Larger ones are digested on a helper thread.
    let large = vec![9; 60 * 1024];
    let (digests, _) = manager.digest(&[&large], &Options::new()).await.unwrap();
    assert_eq!(digests, [digest(&large).0.to_vec()]);
    let other = Options::from([("algorithm", "md5".into())]);
    let (name, why) = failure(manager.digest(&messages, &other).await);
    assert_eq!(
        (&*name, &*why),
        (
            "Invalid",
            "no algorithm \"md5\"; there are sha256 and sha256d"
        )
    );
    let too_long = vec![0; 1 << 20];
    let (name, why) = failure(manager.digest(&[&too_long], &Options::new()).await);
    assert_eq!(name, "InvalidArgs");
    assert!(why.contains("use a session for more"), "{why}");
}

/// A stream that somebody else opened, once.
struct Given(Option<OwnedFd>);

impl Dial for Given {
    type Stream = tokio::net::UnixStream;

    async fn dial(&mut self) -> Result<Self::Stream, ClientError> {
        let stream = std::os::unix::net::UnixStream::from(self.0.take().unwrap());
        stream.set_nonblocking(true).unwrap();
        Ok(tokio::net::UnixStream::from_std(stream).unwrap())
    }

    fn peer(&self) -> String {
        "a socket from the bus".to_owned()
    }
}

#[tokio::test]
async fn a_session_from_the_bus_is_like_any_other_and_belongs_to_the_caller() {
    let Some(rig) = Rig::start(&[CPU]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let manager = rig.manager().await;
    let fd = manager.open_session(&Options::new()).await.unwrap();
    let builder = Client::builder().name("handed over");
    let client = builder.connect_with(Given(Some(fd.into()))).await.unwrap();
    let status = client.status().await.unwrap();
    assert_eq!(status.sessions.len(), 1);
    let session = &status.sessions[0];
    assert_eq!(session.name, "handed over");
    assert_eq!(session.uid, Some(rustix::process::geteuid().as_raw()));
    assert_eq!(session.pid, Some(std::process::id() as i32));
    let answer = client
        .digest(DigestAlgorithm::Sha256, b"abc")
        .await
        .unwrap();
    assert_eq!(answer.digests, [digest(b"abc")]);
    let (name, _) = failure(
        manager
            .open_session(&Options::from([("x", 1u32.into())]))
            .await,
    );
    assert_eq!(name, "InvalidArgs");
    drop(client);
    // One user has 16 places, however they are come by.
    let mut held = Vec::new();
    let full = loop {
        match manager.open_session(&Options::new()).await {
            Ok(fd) => held.push(fd),
            Err(error) => break error,
        }
        assert!(held.len() <= 17);
    };
    let (name, why) = failure::<()>(Err(full));
    assert_eq!(
        (&*name, &*why),
        ("Busy", "hasherd serves 16 clients of one user at once")
    );
}

#[tokio::test]
async fn a_daemon_that_stops_says_so_and_takes_its_objects_away() {
    let Some(mut rig) = Rig::start(&[CPU]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let manager = rig.manager().await;
    let mut signals = rig.signals().await;
    let endless = Options::from([("zero-bits", 256u32.into()), ("rolls", 4000u16.into())]);
    let (search, ()) = tokio::join!(manager.search(&[1; 80], &endless), async {
        eventually("the search runs", async || {
            let manager = rig.properties(ROOT, "org.hasher.Hasher1.Manager").await;
            u32::try_from(&manager["Sessions"]) == Ok(1)
        })
        .await;
        let terminated = tokio::task::spawn_blocking(move || {
            let status = rig.daemon.terminate();
            (rig, status)
        });
        let mut states = Vec::new();
        while !states.contains(&"stopping".to_owned()) {
            if let Told::Changed { path, changed, .. } = signals.next().await
                && path == ROOT
                && let Some(state) = changed.get("State")
            {
                states.push(text(state));
            }
        }
        let (_rig, status) = terminated.await.unwrap();
        assert!(status.success());
    });
    let (name, _) = failure(search);
    assert_eq!(name, "ShuttingDown");
}
