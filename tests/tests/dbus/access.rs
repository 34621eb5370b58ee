//! Who may do what: the caller's credentials, a polkit that the test plays, and the
//! shipped policy of the bus.

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use hasher_tests::{Bus, Policy, is_installed};
use zbus::{Connection, OwnedVariant, interface};

use super::support::*;

/// Some user who is neither root nor the daemon's.
const STRANGER: u32 = 65534;

/// What polkit shall say next, and what it was asked: subject, action, flags.
#[derive(Default)]
struct Script {
    is_authorized: bool,
    is_challenge: bool,
    asked: Vec<(String, String, u32)>,
}

struct Polkit {
    script: Arc<Mutex<Script>>,
}

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: String,
        _details: HashMap<String, String>,
        flags: u32,
        _cancellation: String,
    ) -> ((bool, bool, HashMap<String, String>),) {
        let mut script = self.script.lock().unwrap();
        let (kind, details) = subject;
        assert_eq!(kind, "system-bus-name");
        script.asked.push((text(&details["name"]), action, flags));
        ((script.is_authorized, script.is_challenge, HashMap::new()),)
    }

    fn cancel_check_authorization(&self, _cancellation: String) {}
}

/// Plays polkit on a bus from now on.
async fn play(connection: &Connection) -> Arc<Mutex<Script>> {
    let script = Arc::new(Mutex::new(Script::default()));
    let polkit = Polkit {
        script: Arc::clone(&script),
    };
    let path = "/org/freedesktop/PolicyKit1/Authority";
    connection.object_server().at(path, polkit).await.unwrap();
    connection
        .request_name("org.freedesktop.PolicyKit1")
        .await
        .unwrap();
    script
}

/// Whether this test can act as somebody else; says why not.
fn can_be_a_stranger() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("SKIPPED: only root can call as another user");
    } else if !is_installed("busctl") {
        println!("SKIPPED: busctl is not installed (Debian package systemd)");
    }
    is_root && is_installed("busctl")
}

/// Calls as a stranger; what busctl prints if it succeeds, else its complaint.
async fn stranger(bus: &Bus, arguments: &str) -> Result<String, String> {
    let mut command = Command::new("busctl");
    command
        .arg(format!("--address={}", bus.address()))
        .args(arguments.split_whitespace())
        .uid(STRANGER)
        .gid(STRANGER);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// Every method, as arguments of busctl, with the action that it needs.
fn every_method() -> Vec<(String, &'static str)> {
    let manager = |call: &str| format!("call {NAME} {ROOT} org.hasher.Hasher1.Manager {call}");
    let device = |call: &str| {
        let path = device_path("sim-s3-0");
        format!("call {NAME} {path} org.hasher.Hasher1.Device {call}")
    };
    let header = format!("80 {}", ["3"; 80].join(" "));
    let search = format!("Search aya{{sv}} {header} 1 zero-bits u 14");
    vec![
        (manager("OpenSession a{sv} 0"), "open-session"),
        (manager(&search), "open-session"),
        (manager("Digest aaya{sv} 1 3 97 98 99 0"), "open-session"),
        (manager("Reload"), "reload"),
        (device("Pause"), "pause"),
        (device("Resume"), "pause"),
        (device("Configure a{sv} 1 frequency-mhz d 200"), "configure"),
        (device("ConfirmConfiguration"), "configure"),
        (device("RevertConfiguration"), "configure"),
        // Last: after it the board is closed for a moment.
        (device("Reset"), "reset"),
    ]
}

#[tokio::test]
async fn a_stranger_is_refused_each_method_with_the_reason_unless_polkit_allows_it() {
    if !can_be_a_stranger() {
        return;
    }
    let Some(rig) = Rig::start(&["sim:s3,boot-loader=no"]).await else {
        return;
    };
    rig.until_device("sim-s3-0", "ready").await;
    // Without polkit nobody can allow it.
    for (call, action) in every_method() {
        let error = stranger(&rig.bus, &call).await.unwrap_err();
        assert!(error.contains("polkit cannot be asked"), "{call}: {error}");
        assert!(
            error.contains(&format!("org.hasher.hasher1.{action}")),
            "{error}"
        );
    }
    let polkit = connect(&rig.bus).await;
    let script = play(&polkit).await;
    for (call, action) in every_method() {
        let error = stranger(&rig.bus, &call).await.unwrap_err();
        assert!(error.contains("user 65534"), "{call}: {error}");
        assert!(
            error.contains("polkit does not allow it"),
            "{call}: {error}"
        );
        let (subject, asked, flags) = script.lock().unwrap().asked.pop().unwrap();
        assert!(subject.starts_with(':'), "{subject}");
        assert_eq!(asked, format!("org.hasher.hasher1.{action}"));
        assert_eq!(flags, 1, "busctl lets a person be asked");
    }
    script.lock().unwrap().is_challenge = true;
    let pause = format!(
        "call {NAME} {} org.hasher.Hasher1.Device Pause",
        device_path("sim-s3-0")
    );
    let quiet = format!("--allow-interactive-authorization=no {pause}");
    let error = stranger(&rig.bus, &quiet).await.unwrap_err();
    assert!(
        error.contains("with interactive authorisation allowed"),
        "{error}"
    );
    assert_eq!(script.lock().unwrap().asked.pop().unwrap().2, 0);
    let error = stranger(&rig.bus, &pause).await.unwrap_err();
    assert!(error.contains("no polkit agent runs"), "{error}");
    assert_eq!(
        rig.device_state("sim-s3-0").await,
        "ready",
        "nothing was done"
    );

    script.lock().unwrap().is_authorized = true;
    for (call, action) in every_method() {
        let called = stranger(&rig.bus, &call).await;
        match (called, action) {
            (Ok(_), _) => {}
            // Allowed, but there is nothing to confirm or to reload.
            (Err(error), "configure") if error.contains("no clock on trial") => {}
            (Err(error), "reload") => assert!(!error.contains("may not"), "{error}"),
            (Err(error), _) => panic!("{call}: {error}"),
        }
    }
}

#[tokio::test]
async fn the_session_of_a_stranger_belongs_to_the_stranger() {
    if !can_be_a_stranger() {
        return;
    }
    let Some(rig) = Rig::start(&["sim:s3,boot-loader=no"]).await else {
        return;
    };
    let polkit = connect(&rig.bus).await;
    play(&polkit).await.lock().unwrap().is_authorized = true;
    rig.until_device("sim-s3-0", "ready").await;
    let header = format!("80 {}", ["3"; 80].join(" "));
    let endless = "3 zero-bits u 256 rolls q 4000 deadline-ms u 2000";
    let call = format!(
        "call {NAME} {ROOT} org.hasher.Hasher1.Manager Search aya{{sv}} {header} {endless}"
    );
    let search = stranger(&rig.bus, &call);
    let watch = eventually("the session is an object of user 65534", async || {
        let objects = rig.objects().await;
        let mut sessions = objects
            .values()
            .filter_map(|interfaces| interfaces.iter().find(|(name, _)| name.as_str() == SESSION));
        sessions.any(|(_, session)| {
            u32::try_from(&session["Uid"]) == Ok(STRANGER)
                && text(&session["Name"]).starts_with("dbus :")
        })
    });
    let (search, ()) = tokio::join!(search, watch);
    assert!(search.unwrap_err().contains("no answer within 2000 ms"));
}

#[tokio::test]
async fn the_shipped_policy_lets_strangers_ask_but_not_read_set_or_own() {
    if !can_be_a_stranger() {
        return;
    }
    let Some(bus) = Bus::start(Policy::Shipped) else {
        return;
    };
    let rig = Rig::start_on(bus, &["sim:s3,boot-loader=no"]).await;
    rig.until_device("sim-s3-0", "ready").await;
    for (call, _) in every_method() {
        let error = stranger(&rig.bus, &call).await.unwrap_err();
        assert!(
            error.contains("polkit"),
            "the daemon itself must answer {call}: {error}"
        );
    }
    stranger(
        &rig.bus,
        &format!("call {NAME} {ROOT} org.freedesktop.DBus.Introspectable Introspect"),
    )
    .await
    .unwrap();
    stranger(
        &rig.bus,
        &format!("call {NAME} {ROOT} org.freedesktop.DBus.Peer Ping"),
    )
    .await
    .unwrap();
    let path = device_path("sim-s3-0");
    for forbidden in [
        format!("get-property {NAME} {ROOT} org.hasher.Hasher1.Manager State"),
        format!("set-property {NAME} {path} org.hasher.Hasher1.Device State s ready"),
        format!("call {NAME} {ROOT} org.freedesktop.DBus.ObjectManager GetManagedObjects"),
        format!(
            "call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus RequestName su {NAME} 2"
        ),
    ] {
        let error = stranger(&rig.bus, &forbidden).await.unwrap_err();
        let error = error.to_lowercase();
        assert!(
            error.contains("access denied") || error.contains("not allowed"),
            "{forbidden}: {error}"
        );
    }
}

#[tokio::test]
async fn no_property_can_be_set() {
    let Some(rig) = Rig::start(&["cpu,threads=1"]).await else {
        return;
    };
    rig.until_device("cpu-0", "ready").await;
    let properties = zbus::fdo::PropertiesProxy::builder(&rig.connection)
        .destination(NAME)
        .path(device_path("cpu-0"))
        .build()
        .await
        .unwrap();
    let set = properties
        .set(DEVICE.try_into().unwrap(), "State", &"paused".into())
        .await;
    assert!(set.is_err());
    assert_eq!(rig.device_state("cpu-0").await, "ready");
}
