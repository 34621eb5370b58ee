use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A message bus of the test's own, in the place of the system's. Dropping it ends it.
pub struct Bus {
    folder: TempDir,
    policy: Policy,
    process: Option<Child>,
}

/// Who may do what on a [`Bus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everybody may own every name and send everything.
    Open,
    /// As on a real system: only what the shipped policy of the daemon allows.
    Shipped,
}

impl Bus {
    /// Starts a bus; nothing, with the reason printed, where `dbus-daemon` is not
    /// installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start(policy: Policy) -> Option<Self> {
        if !is_installed("dbus-daemon") {
            println!("SKIPPED: dbus-daemon is not installed (Debian package dbus-daemon)");
            return None;
        }
        let folder = TempDir::new().expect("a folder for temporary files");
        // Other users connect to it as well.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode).expect("the folder is ours");
        let mut bus = Self {
            folder,
            policy,
            process: None,
        };
        bus.restart();
        Some(bus)
    }

    /// Starts it (again) at the same address.
    ///
    /// # Panics
    /// When it runs already, or does not start.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the bus still runs");
        let socket = self.folder.path().join("bus");
        _ = std::fs::remove_file(&socket);
        let configuration = self.folder.path().join("bus.conf");
        std::fs::write(&configuration, self.configuration(&socket)).expect("a bus.conf");
        let mut process = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--print-address")
            .arg(format!("--config-file={}", configuration.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon can be started");
        // It prints its address once it listens.
        let mut address = String::new();
        let output = process.stdout.take().expect("its output is piped");
        let read = BufReader::new(output).read_line(&mut address);
        self.process = Some(process);
        assert!(
            read.is_ok() && !address.is_empty(),
            "dbus-daemon does not start"
        );
    }

    fn configuration(&self, socket: &Path) -> String {
        let base = "<policy context=\"default\">\
             <allow user=\"*\"/>\
             <allow send_type=\"signal\"/>\
             <allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
             <allow send_requested_reply=\"true\" send_type=\"error\"/>\
             <allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>\
             <allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\
             <allow send_destination=\"org.freedesktop.DBus\"/>";
        let policy = match self.policy {
            Policy::Open => {
                format!("{base}<allow own=\"*\"/><allow send_type=\"method_call\"/></policy>")
            }
            Policy::Shipped => format!(
                "{base}</policy><policy user=\"root\"><allow own=\"*\"/>\
                 <allow send_type=\"method_call\"/></policy>\
                 <include>{}</include>",
                shipped("org.hasher.Hasher1.conf").display()
            ),
        };
        format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\
             <busconfig><type>system</type><listen>unix:path={}</listen>\
             <auth>EXTERNAL</auth>{policy}</busconfig>",
            socket.display()
        )
    }

    /// Where it listens, as `DBUS_SYSTEM_BUS_ADDRESS` has it.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the bus runs");
        process.kill().expect("the process is ours");
        process.wait().expect("a killed process ends");
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// A file of the folder `systemd`.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../systemd")
        .join(name)
}

/// Whether a program can be found.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
