//! The private daemon of a demo and the one device in it.
//!
//! Owns the daemon's life, also when a signal ends the demo, and what is said
//! about the device.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hasher_client::blocking;
use hasher_wire::DeviceKind;
use serde::Serialize;

use super::rate;
use crate::anchors::Pace;
use crate::daemon::{self, Devices};
use crate::error::{CliError, Exit};
use crate::inference::ANCHOR_DEADLINE;
use crate::output::Output;
use crate::private_daemon::PrivateDaemon;
use crate::progress;
use crate::table::{hashes_in_words, metric, seconds};

/// Zero bits of a simulated board's chips: at the pace of an S3 they cost about
/// 1.7 million hashes a second, which one core of a laptop sustains (inferred).
const SIM_ZERO_BITS: u32 = 14;
/// Longest wait for a status that knows of the works: the daemon renews it every
/// second.
const NEWS_MAX: Duration = Duration::from_secs(2);
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(50);
/// Forecasts below this are not worth a line.
const FORECAST_MIN_SECONDS: f64 = 5.0;

/// Where the daemon is while it runs. Shared with the thread that waits for
/// signals; whoever takes it out stops it.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<PrivateDaemon>>>);

impl Slot {
    /// Stops the daemon if it runs; waits while it is starting.
    pub fn stop(&self) {
        let taken = self.lock().take();
        drop(taken);
    }

    /// The error of a demo, or why its daemon ended if that is behind it.
    pub fn explain(&self, error: CliError) -> CliError {
        if error.exit != Exit::NoDaemon {
            return error;
        }
        let early_end = self.lock().as_mut().and_then(PrivateDaemon::early_end);
        early_end.unwrap_or(error)
    }

    /// A panic elsewhere is no reason to leave a daemon behind.
    fn lock(&self) -> MutexGuard<'_, Option<PrivateDaemon>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running private daemon.
pub struct Service {
    slot: Slot,
    client: blocking::Client,
    devices: Devices,
    zero_bits: u32,
    spec: String,
}

/// The device as JSON.
#[derive(Debug, Serialize)]
pub struct DeviceFacts {
    spec: String,
    id: String,
    kind: DeviceKind,
    model: String,
    works: u64,
    hits: u64,
    /// How many times slower than silicon it ran; absent for a CPU.
    slowdown: Option<f64>,
}

impl Service {
    /// Starts the daemon `program` with this device, and waits for the device.
    ///
    /// # Errors
    /// An unknown device, or one that does not get ready.
    pub fn start(
        slot: &Slot,
        program: &Path,
        device: &str,
        zero_bits: Option<u32>,
        output: &Output,
    ) -> Result<Self, CliError> {
        let spec = spec_of(device, zero_bits);
        let waiting = progress::spinner(output, " starting");
        waiting.say(format!("hasherd --device {spec}"));
        let socket = {
            // Held while it starts, so that a signal in between waits and then
            // finds something to stop.
            let mut slot = slot.lock();
            let started = slot.insert(PrivateDaemon::start(program, &spec)?);
            started.socket().to_owned()
        };
        let client = daemon::connect(Some(&socket), Some(ANCHOR_DEADLINE))?;
        let devices = Devices::wait(&client)?;
        let zero_bits = devices.zero_bits(zero_bits)?;
        Ok(Self {
            slot: slot.clone(),
            zero_bits,
            client,
            devices,
            spec,
        })
    }

    /// What runs now, in words.
    pub fn text(&self) -> Vec<String> {
        let device = self.devices.first();
        let what = match device.kind {
            DeviceKind::Simulated => format!(
                "Its {} is simulated: no miner is connected, its chips are this CPU.",
                device.model
            ),
            DeviceKind::Cpu => "Its device is this CPU, without pretending to be a miner.".into(),
            DeviceKind::Usb => format!("Its device is a real {}.", device.model),
        };
        vec![
            format!(
                "hasherd --device {} runs on a private socket until the end.",
                self.spec
            ),
            what,
        ]
    }

    /// Zero bits of each anchor.
    pub fn zero_bits(&self) -> u32 {
        self.zero_bits
    }

    /// How the device is to be asked.
    pub fn pace(&self) -> Pace {
        self.devices.pace()
    }

    /// A connection for the anchors.
    ///
    /// # Errors
    /// When the daemon has gone.
    pub fn connect(&self) -> Result<blocking::Client, CliError> {
        let socket = self
            .slot
            .lock()
            .as_ref()
            .map(|daemon| daemon.socket().to_owned());
        daemon::connect(socket.as_deref(), Some(ANCHOR_DEADLINE))
    }

    /// How long so many hashes will take, if it is long; measured on a CPU device.
    ///
    /// # Errors
    /// When the daemon has gone.
    pub fn forecast(&self, hashes: f64) -> Result<Option<String>, CliError> {
        if self.devices.pace() != Pace::Range {
            return Ok(None);
        }
        let rate_hps = rate::measure(&self.client)?;
        let time = hashes / rate_hps;
        Ok((time >= FORECAST_MIN_SECONDS).then(|| {
            format!(
                "This CPU makes {}; {} will take about {}.",
                metric(rate_hps, "H/s"),
                hashes_in_words(hashes),
                seconds(time)
            )
        }))
    }

    /// The device's facts once its works have been counted.
    ///
    /// # Errors
    /// When the daemon has gone.
    pub fn facts_after_work(&self) -> Result<DeviceFacts, CliError> {
        let begin = Instant::now();
        let devices = loop {
            let devices = Devices::ready(&self.client.status()?)?;
            // The daemon is ours alone: any work at all is work of this demo.
            if devices.first().counters.works > 0 || begin.elapsed() >= NEWS_MAX {
                break devices;
            }
            thread::sleep(LOOK);
        };
        let device = devices.first();
        Ok(DeviceFacts {
            spec: self.spec.clone(),
            id: device.id.clone(),
            kind: device.kind,
            model: device.model.clone(),
            works: device.counters.works,
            hits: device.counters.hits,
            slowdown: device.slowdown,
        })
    }

    /// Stops the daemon in good order.
    pub fn stop(self) {
        let Self { slot, client, .. } = self;
        drop(client);
        slot.stop();
    }
}

/// Stops the daemon of a slot when dropped, also by an error or a panic.
pub struct StopAtEnd<'a>(pub &'a Slot);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl DeviceFacts {
    /// How much slower than silicon the simulated board ran, in words.
    pub fn slowdown_line(&self) -> Option<String> {
        let slowdown = self.slowdown?;
        Some(if slowdown < 1.05 {
            "pace        that of silicon, at this lowered difficulty".to_owned()
        } else {
            format!("pace        {slowdown:.1} times slower than silicon's")
        })
    }
}

/// A simulated board gets its difficulty as part of its spec; a CPU has no filter.
fn spec_of(device: &str, zero_bits: Option<u32>) -> String {
    if !device.starts_with("sim:") || device.contains("zero-bits=") {
        return device.to_owned();
    }
    format!("{device},zero-bits={}", zero_bits.unwrap_or(SIM_ZERO_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_simulated_board_is_given_zero_bits() {
        assert_eq!(spec_of("sim:s3", None), "sim:s3,zero-bits=14");
        assert_eq!(
            spec_of("sim:s1,mhz=300", Some(12)),
            "sim:s1,mhz=300,zero-bits=12"
        );
        assert_eq!(
            spec_of("sim:s3,zero-bits=9", Some(12)),
            "sim:s3,zero-bits=9"
        );
        assert_eq!(spec_of("cpu,threads=1", Some(32)), "cpu,threads=1");
    }
}
