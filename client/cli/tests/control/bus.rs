//! A private bus, and on it a daemon that does nothing but answer.

#![allow(clippy::unwrap_used, reason = "only tests call these functions")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use tempfile::TempDir;
use zbus::fdo::ObjectManager;
use zbus::message::{Flags, Header};
use zbus::wire::OwnedVariant;
use zbus::{DBusError, interface};

const NAME: &str = "org.hasher.Hasher1";
const ROOT: &str = "/org/hasher/Hasher1";

/// Everybody may own and call everything: what is tested is not the bus.
const RULES: &str = r#"<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// A bus that ends with the test.
pub struct Bus {
    directory: TempDir,
    process: Child,
}

impl Bus {
    /// Starts it and waits until it listens.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let rules = directory.path().join("rules.xml");
        let text = RULES.replace("SOCKET", socket.to_str().unwrap());
        std::fs::write(&rules, text).unwrap();
        let mut process = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--print-address=1")
            .arg(format!("--config-file={}", rules.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed; on Debian: sudo apt install dbus-daemon");
        let mut address = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut address).unwrap();
        assert!(address.starts_with("unix:"), "{address}");
        Self { directory, process }
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// Its folder, for files of the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("bus")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// What was called, in order: `pause sim-s3-0`.
pub type Calls = Arc<Mutex<Vec<String>>>;

/// The errors of the daemon.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.hasher.Hasher1.Error")]
enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    NotAllowed(String),
    NotSupported(String),
    Invalid(String),
    ConfigurationInvalid(String),
}

/// A daemon with `sim-s3-0`, which does everything, `cpu-1`, which has no clock, and
/// `secret`, which nobody may touch. It refuses to reload when `bad_file` is set.
pub fn serve(bus: &Bus, bad_file: bool, seconds: u32) -> Calls {
    let calls = Calls::default();
    let device = |id: &'static str| Device {
        id,
        calls: Arc::clone(&calls),
        seconds,
    };
    let builder = zbus::connection::Builder::address(bus.address().as_str())
        .serve_at(ROOT, ObjectManager)
        .serve_at(ROOT, Manager { bad_file })
        .serve_at(format!("{ROOT}/devices/sim_2ds3_2d0"), device("sim-s3-0"))
        .serve_at(format!("{ROOT}/devices/cpu_2d1"), device("cpu-1"))
        .serve_at(format!("{ROOT}/devices/secret"), device("secret"))
        .name(NAME);
    let (ready, is_ready) = mpsc::channel();
    // It serves until the bus ends, and the process with the test.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let _connection = builder.build().await.unwrap();
            ready.send(()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    is_ready.recv().unwrap();
    calls
}

struct Manager {
    bad_file: bool,
}

#[interface(name = "org.hasher.Hasher1.Manager")]
impl Manager {
    fn reload(&self) -> Result<(), Error> {
        match self.bad_file {
            false => Ok(()),
            true => Err(Error::ConfigurationInvalid(
                "/etc/hasher/hasherd.toml:3: unknown key `clok`, did you mean `clock`?".to_owned(),
            )),
        }
    }
}

struct Device {
    id: &'static str,
    calls: Calls,
    seconds: u32,
}

impl Device {
    fn note(&self, header: &Header<'_>, call: &str) -> Result<(), Error> {
        let flags = header.primary().flags();
        assert!(
            flags.contains(Flags::ALLOW_INTERACTIVE_AUTH),
            "polkit may ask for a password"
        );
        if self.id == "secret" {
            let words = "polkit refused org.hasher.hasher1.pause";
            return Err(Error::NotAllowed(words.to_owned()));
        }
        self.calls
            .lock()
            .unwrap()
            .push(format!("{call} {}", self.id));
        Ok(())
    }
}

#[interface(name = "org.hasher.Hasher1.Device")]
impl Device {
    fn pause(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.note(&header, "pause")
    }

    fn resume(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.note(&header, "resume")
    }

    fn reset(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.note(&header, "reset")
    }

    fn confirm_configuration(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.note(&header, "confirm")
    }

    fn revert_configuration(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.note(&header, "revert")
    }

    fn configure(
        &self,
        settings: std::collections::HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u32, Error> {
        let clock = settings.get("frequency-mhz").expect("a clock");
        let clock = f64::try_from(clock).expect("of type d");
        if self.id == "cpu-1" {
            return Err(Error::NotSupported("it has no clock".to_owned()));
        }
        if clock > 250.0 {
            let words = format!("{clock} MHz is above the cap of 250 MHz");
            return Err(Error::Invalid(words));
        }
        self.note(&header, &format!("configure {clock}"))?;
        Ok(self.seconds)
    }
}
