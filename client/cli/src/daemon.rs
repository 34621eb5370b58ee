//! The daemon as the commands see it.
//!
//! Owns the connection's settings, how the client library's errors become ours
//! (message, hint, exit code), and which of the daemon's devices a search will
//! meet. It knows nothing of the protocol.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hasher_client::{ClientBuilder, ClientError, Why, blocking};
use hasher_wire::{DeviceKind, DeviceReport, DeviceState, Priority, Status, StatusReport};

use crate::anchors::Pace;
use crate::error::{CliError, Exit, chain};

/// What the daemon's status and log call this program.
const NAME: &str = "hasher";
/// Zero bits asked of a CPU when nobody says how many: a laptop finds 21 anchors
/// of 16 bits (1.4 million hashes) in about a second.
const CPU_ZERO_BITS: u32 = 16;
/// Most zero bits that are asked of simulated boards, whose chips are this CPU:
/// 21 anchors of 24 bits already cost 350 million hashes.
const SIM_ZERO_BITS_MAX: u32 = 24;

/// Longest wait for a device that is starting: a board goes through its boot
/// loader and its start-up in a few seconds.
const START_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// Connects to the socket that the user named, or to the usual ones. `deadline`
/// is the time of each later request; without it the library's own.
///
/// # Errors
/// Exit code 3 when no daemon answers, 5 when the socket is not for this user.
pub fn connect(
    socket: Option<&Path>,
    deadline: Option<Duration>,
) -> Result<blocking::Client, CliError> {
    let mut builder = builder(socket);
    if let Some(deadline) = deadline {
        builder = builder.deadline(deadline);
    }
    Ok(builder.connect_blocking()?)
}

/// The settings of every connection of this program.
pub fn builder(socket: Option<&Path>) -> ClientBuilder {
    let builder = ClientBuilder::default()
        .name(NAME)
        // A person waits.
        .priority(Priority::Interactive);
    match socket {
        Some(socket) => builder.socket(socket),
        None => builder,
    }
}

/// What a search will meet: the devices that take works now.
#[derive(Debug, Clone, PartialEq)]
pub struct Devices(Vec<DeviceReport>);

impl Devices {
    /// Those that are ready now, or as soon as one that is starting is ready.
    ///
    /// # Errors
    /// As [`Devices::ready`].
    pub fn wait(client: &blocking::Client) -> Result<Self, CliError> {
        let begin = Instant::now();
        loop {
            let status = client.status()?;
            let is_starting = |device: &DeviceReport| {
                matches!(device.state, DeviceState::Claiming | DeviceState::Starting)
            };
            match Self::ready(&status) {
                Err(_) if status.devices.iter().any(is_starting) && begin.elapsed() < START_MAX => {
                    thread::sleep(LOOK);
                }
                other => return other,
            }
        }
    }

    /// Those of a status report.
    ///
    /// # Errors
    /// Exit code 4 when there is none, with the reasons of those that are not ready.
    pub fn ready(status: &StatusReport) -> Result<Self, CliError> {
        let ready: Vec<DeviceReport> = status
            .devices
            .iter()
            .filter(|device| device.state == DeviceState::Ready)
            .cloned()
            .collect();
        if !ready.is_empty() {
            return Ok(Self(ready));
        }
        Err(match status.devices.first() {
            None => CliError::new(Exit::NoDevice, "the daemon has no device")
                .hint("start one with a simulated board: `hasherd --device sim:s3`"),
            Some(device) => CliError::new(
                Exit::NoDevice,
                format!(
                    "device {} is not ready: {}",
                    device.id,
                    device.reason.as_deref().unwrap_or("no reason is given")
                ),
            )
            .hint(
                device
                    .remedy
                    .as_deref()
                    .unwrap_or("see `hasher status`, and try again in a moment"),
            ),
        })
    }

    /// All of them, at least one.
    pub fn all(&self) -> &[DeviceReport] {
        &self.0
    }

    /// The first of them.
    pub fn first(&self) -> &DeviceReport {
        self.0.first().expect("there is at least one ready device")
    }

    /// How to ask them.
    pub fn pace(&self) -> Pace {
        if self.0.iter().all(|device| device.kind == DeviceKind::Cpu) {
            Pace::Range
        } else {
            Pace::Timer
        }
    }

    /// Zero bits that these devices find at their own pace: what a board filters
    /// by, or what a CPU finds quickly.
    fn natural_zero_bits(&self) -> u32 {
        let filters = self.0.iter().map(|device| device.filter_zero_bits);
        match filters.max() {
            None | Some(0) => CPU_ZERO_BITS,
            Some(bits) => bits,
        }
    }

    /// The zero bits to search for: those asked for, or natural ones.
    ///
    /// # Errors
    /// As [`Self::check_zero_bits`].
    pub fn zero_bits(&self, asked: Option<u32>) -> Result<u32, CliError> {
        let zero_bits = asked.unwrap_or_else(|| self.natural_zero_bits());
        self.check_zero_bits(zero_bits)?;
        Ok(zero_bits)
    }

    /// Refuses anchors that nothing but simulated boards would have to find, for
    /// longer than anybody waits.
    ///
    /// # Errors
    /// Wrong usage, with what can be asked for.
    fn check_zero_bits(&self, zero_bits: u32) -> Result<(), CliError> {
        let is_simulated = |device: &DeviceReport| device.kind == DeviceKind::Simulated;
        if zero_bits <= SIM_ZERO_BITS_MAX || !self.0.iter().all(is_simulated) {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "a simulated board cannot search {zero_bits} zero bits: its chips are this CPU"
        ))
        .hint(format!(
            "give at most {SIM_ZERO_BITS_MAX}, or use `--device cpu` for real difficulty"
        )))
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(exit_of(&error), chain(&error));
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Unreachable { why, .. } => match why {
            Why::PermissionDenied => Exit::NotPermitted,
            _ => Exit::NoDaemon,
        },
        ClientError::Refused { .. } | ClientError::Closed { .. } | ClientError::Timeout { .. } => {
            Exit::NoDaemon
        }
        ClientError::Failed { status, .. } => match status {
            Status::NoDevice | Status::DeviceGone => Exit::NoDevice,
            Status::NotAllowed => Exit::NotPermitted,
            _ => Exit::Failed,
        },
        ClientError::BadJob(_) => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: DeviceKind, state: DeviceState, filter_zero_bits: u32) -> DeviceReport {
        let json = r#"{"id":"x-0","kind":"cpu","state":"ready","model":"","firmware":"",
            "chips_per_chain":[],"frequency_mhz":0,"filter_zero_bits":0,
            "nominal_hash_rate_hps":0,"temperatures_celsius":[],"fans_rpm":[],
            "works_in_flight":0,"attachments":1,"counters":{}}"#;
        DeviceReport {
            kind,
            state,
            filter_zero_bits,
            ..serde_json::from_str(json).unwrap()
        }
    }

    fn status(devices: Vec<DeviceReport>) -> StatusReport {
        StatusReport {
            devices,
            ..StatusReport::default()
        }
    }

    #[test]
    fn every_kind_of_trouble_has_its_exit_code() {
        let unreachable = |why| ClientError::Unreachable {
            sockets: vec!["/run/hasher/hasherd.sock".into()],
            why,
        };
        let failed = |status| ClientError::Failed {
            status,
            message: String::new(),
        };
        for (error, exit) in [
            (unreachable(Why::NoSocket), Exit::NoDaemon),
            (unreachable(Why::NobodyListens), Exit::NoDaemon),
            (unreachable(Why::PermissionDenied), Exit::NotPermitted),
            (failed(Status::NoDevice), Exit::NoDevice),
            (failed(Status::DeviceGone), Exit::NoDevice),
            (failed(Status::NotAllowed), Exit::NotPermitted),
            (failed(Status::Deadline), Exit::Failed),
        ] {
            assert_eq!(CliError::from(error.clone()).exit, exit, "{error}");
        }
    }

    #[test]
    fn a_refused_socket_names_the_group_and_the_command() {
        let error = CliError::from(ClientError::Unreachable {
            sockets: vec!["/run/hasher/hasherd.sock".into()],
            why: Why::PermissionDenied,
        });
        assert_eq!(
            error.message,
            "cannot connect to /run/hasher/hasherd.sock: permission denied"
        );
        assert!(error.hint.unwrap().contains("usermod -aG hasher"));
    }

    #[test]
    fn boards_are_asked_by_timer_and_cpus_by_range() {
        let cpu = device(DeviceKind::Cpu, DeviceState::Ready, 0);
        let board = device(DeviceKind::Simulated, DeviceState::Ready, 14);
        let devices = |list| Devices::ready(&status(list)).unwrap();
        assert_eq!(devices(vec![cpu.clone()]).pace(), Pace::Range);
        assert_eq!(
            devices(vec![cpu.clone()]).natural_zero_bits(),
            CPU_ZERO_BITS
        );
        assert_eq!(devices(vec![cpu, board]).pace(), Pace::Timer);
    }

    #[test]
    fn only_simulated_boards_alone_are_spared_real_difficulty() {
        let cpu = device(DeviceKind::Cpu, DeviceState::Ready, 0);
        let usb = device(DeviceKind::Usb, DeviceState::Ready, 32);
        let board = device(DeviceKind::Simulated, DeviceState::Ready, 14);
        let devices = |list| Devices::ready(&status(list)).unwrap();
        let alone = devices(vec![board.clone(), board.clone()]);
        assert_eq!(alone.check_zero_bits(SIM_ZERO_BITS_MAX), Ok(()));
        let error = alone.check_zero_bits(SIM_ZERO_BITS_MAX + 1).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        for other in [cpu, usb] {
            let mixed = devices(vec![board.clone(), other]);
            assert_eq!(mixed.check_zero_bits(32), Ok(()));
        }
    }

    #[test]
    fn without_a_ready_device_the_reason_is_told() {
        let error = Devices::ready(&status(Vec::new())).unwrap_err();
        assert_eq!(error.exit, Exit::NoDevice);
        let mut paused = device(DeviceKind::Usb, DeviceState::Paused, 32);
        paused.reason = Some("too hot: 80 °C".to_owned());
        let error = Devices::ready(&status(vec![paused])).unwrap_err();
        assert!(error.message.contains("too hot: 80 °C"), "{error}");
    }
}
