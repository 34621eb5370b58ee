//! What changes the daemon's devices: D-Bus, because polkit decides there who may.
//!
//! ```text
//! command ──► Control ── method call ──► org.hasher.Hasher1 (hasherd) ──► polkit
//!                │ error name and text
//!                ▼
//!             failure: message, hint, exit code
//! ```
//!
//! Owns the connection to the bus and the names of the interface. Commands that only
//! read never come here, so they start without it.

mod failure;
mod path;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use zbus::proxy::MethodFlags;
use zbus::wire::{DynamicType, Variant};
use zbus::{Connection, connection};

use self::failure::Failure;
use crate::error::CliError;

/// The daemon's name on the bus.
const NAME: &str = "org.hasher.Hasher1";
/// Its first object.
const ROOT: &str = "/org/hasher/Hasher1";
/// What the first object can do.
const MANAGER: &str = "org.hasher.Hasher1.Manager";
/// What each device can do.
const DEVICE: &str = "org.hasher.Hasher1.Device";

/// Longest wait for an answer. Polkit may ask a person for a password meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Where the daemon is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// The system's, where the service is
    System,
    /// Your own, for a `hasherd --bus session`
    Session,
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Session => "session",
        })
    }
}

/// The option that chooses the bus.
#[derive(Debug, Clone, Copy, Args)]
pub struct BusArgs {
    /// D-Bus on which the daemon is
    #[arg(long, value_enum, default_value_t = Bus::System, global = true)]
    pub bus: Bus,
}

/// What can be asked of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// Take no more work until it is resumed.
    Pause,
    /// Take work again.
    Resume,
    /// Initialise it anew.
    Reset,
    /// Run at another clock, for a minute.
    Configure {
        /// The clock of the chips in MHz.
        frequency_mhz: f64,
    },
    /// Keep what was configured.
    Confirm,
    /// Go back to what was before.
    Revert,
}

impl Request {
    /// The word of the command line for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Reset => "reset",
            Self::Configure { .. } => "configure",
            Self::Confirm => "confirm",
            Self::Revert => "revert",
        }
    }
}

/// A connection to the bus.
#[derive(Debug)]
pub struct Control {
    runtime: Runtime,
    connection: Connection,
    bus: Bus,
}

impl Control {
    /// Connects to the bus, not yet to the daemon.
    ///
    /// # Errors
    /// Exit code 3 when there is no bus.
    pub fn connect(bus: Bus) -> Result<Self, CliError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::io("start the D-Bus client", &error))?;
        let builder = match bus {
            Bus::System => connection::Builder::system(),
            Bus::Session => connection::Builder::session(),
        };
        let connection = runtime
            .block_on(builder.method_timeout(ANSWER_MAX).build())
            .map_err(|error| failure::no_bus(bus, &error))?;
        Ok(Self {
            runtime,
            connection,
            bus,
        })
    }

    /// Asks a device. The answer of [`Request::Configure`] is after how many seconds it
    /// reverts unless it is confirmed.
    ///
    /// # Errors
    /// Exit code 3 without a daemon, 4 without such a device, 5 when polkit or the bus
    /// refuses, 2 when the value is not possible.
    pub fn device(&self, id: &str, request: Request) -> Result<Option<u32>, CliError> {
        let path = path::of_device(id);
        let call = |member| self.call::<_, ()>(&path, DEVICE, member, &());
        let answer = match request {
            Request::Pause => call("Pause").map(|()| None),
            Request::Resume => call("Resume").map(|()| None),
            Request::Reset => call("Reset").map(|()| None),
            Request::Confirm => call("ConfirmConfiguration").map(|()| None),
            Request::Revert => call("RevertConfiguration").map(|()| None),
            Request::Configure { frequency_mhz } => {
                let clock = Variant::from(frequency_mhz);
                let settings = HashMap::from([("frequency-mhz", clock)]);
                self.call(&path, DEVICE, "Configure", &settings).map(Some)
            }
        };
        answer.map_err(|failure| {
            // Asked only now: the common way needs one call.
            let known = match failure.is_unknown_device() {
                true => self.device_ids(),
                false => Vec::new(),
            };
            failure.of_device(id, request, &known)
        })
    }

    /// Has the daemon read its configuration again.
    ///
    /// # Errors
    /// The file and line that the daemon refuses; as [`Control::device`].
    pub fn reload(&self) -> Result<(), CliError> {
        self.call(ROOT, MANAGER, "Reload", &())
            .map_err(Failure::of_reload)
    }

    /// The devices on the bus; none when the bus does not let this user ask.
    fn device_ids(&self) -> Vec<String> {
        let objects = self.runtime.block_on(async {
            let proxy = zbus::fdo::ObjectManagerProxy::new(&self.connection, NAME, ROOT).await?;
            proxy.get_managed_objects().await
        });
        let paths = objects.unwrap_or_default();
        let mut ids: Vec<String> = paths.keys().filter_map(|path| path::to_id(path)).collect();
        ids.sort_unstable();
        ids
    }

    fn call<B, R>(&self, path: &str, interface: &str, member: &str, body: &B) -> Result<R, Failure>
    where
        B: serde::Serialize + DynamicType,
        R: for<'d> zbus::wire::DynamicDeserialize<'d>,
    {
        let answer = self.runtime.block_on(async {
            let proxy = zbus::Proxy::new(&self.connection, NAME, path, interface).await?;
            let flags = MethodFlags::ALLOW_INTERACTIVE_AUTH;
            proxy.call_with_flags(member, flags, body).await
        });
        match answer {
            Ok(answer) => answer.ok_or_else(|| Failure::new(self.bus, &zbus::Error::InvalidReply)),
            Err(error) => Err(Failure::new(self.bus, &error)),
        }
    }
}
