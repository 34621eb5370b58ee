//! The one interface behind which every kind of hardware stands.
//!
//! Owns the trait [`HashDevice`] and the plain values that cross it. A device is
//! owned by exactly one task; nothing here is shared. The daemon's device task
//! calls it; the drivers of this crate implement it.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use hasher_work::{Digest, Nonce, NonceRange, Target, Work};

use crate::capture::Capture;
use crate::{Clock, DriverError, Layout};

/// A name for a device that survives a replug and a reboot: it comes from the USB port
/// as udev's `ID_PATH` names it (`pci-0000:00:14.0-usb-0:2.3`) or from the configuration
/// (`sim-s3-0`, `cpu-0`), never from the kernel's device number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub String);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What does the hashing. Every answer to a client names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Chips on a real board behind USB.
    Usb,
    /// The simulated board; its "chips" are this CPU.
    Simulated,
    /// This CPU, without pretending to be a board.
    Cpu,
}

impl DeviceKind {
    /// The word that status, logs and the socket protocol use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Simulated => "simulated",
            Self::Cpu => "cpu",
        }
    }
}

/// What is fixed about a device once it is ready.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Stable name.
    pub id: DeviceId,
    /// What does the hashing.
    pub kind: DeviceKind,
    /// Model for people, such as `Antminer S3`.
    pub model: String,
    /// Firmware version as an opaque text; empty when there is none.
    pub firmware: String,
    /// Packet layout that its controller speaks; nothing for a CPU.
    pub layout: Option<Layout>,
    /// Chips on each chain; empty for a CPU.
    pub chips_per_chain: Vec<u8>,
    /// Clock of the chips in MHz; 0 for a CPU.
    pub frequency_mhz: f64,
    /// Leading zero bits below which the device reports nothing: 32 in silicon,
    /// a setting of the simulator, 0 for a CPU.
    pub filter_zero_bits: u32,
    /// How the device ends a work.
    pub sweep: Sweep,
    /// Double hashes a second that its clock and chips give in theory, 0 if unknown.
    pub nominal_hash_rate_hps: f64,
}

/// How a device ends a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// A timer ends it after this period, whatever was tried.
    Timer(Duration),
    /// The work's nonce range ends it; give at most so many nonces a work, so that
    /// others get their turn.
    Range {
        /// Largest sensible range of one work.
        nonces_per_work: u64,
    },
}

/// The caller's own number for a work; it comes back in every event about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkTag(pub u64);

/// A work as a device takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceWork {
    /// The caller's number, unique among the works on the device.
    pub tag: WorkTag,
    /// Midstate and tail.
    pub work: Work,
    /// Nonces that count. A timed device sweeps where it sweeps and the caller
    /// drops what lies outside; a CPU tries exactly these.
    pub range: NonceRange,
    /// Bound for hits. A device with a coarser filter reports what passes its filter
    /// and this bound.
    pub target: Target,
    /// The work may end after so many hits (a CPU stops at once; a timed device
    /// cannot).
    pub hits_wanted: u32,
}

/// How a work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkEnd {
    /// Every nonce of the range was tried, from its first on.
    Swept,
    /// The hits wanted were found after so many nonces of the range.
    Stopped {
        /// Nonces tried without a gap from the start of the range.
        tried: u64,
    },
    /// The device's timer ended it; what was tried is not known.
    Timer,
    /// The device lost it (reset, flush, overrun); nothing can be said.
    Lost,
}

/// Why a device takes no work for the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PauseReason {
    /// A sensor reached the limit, or the board has not cooled since it was paused. The
    /// hottest sensor, in °C.
    Hot(u8),
    /// No status came for too long, so the temperature is unknown.
    StatusMissing,
    /// No sensor shows a temperature, or one that did fell silent.
    SensorMissing,
    /// A fan that should turn reads 0.
    FanStopped,
    /// It is being flushed and configured anew after a fault; what went wrong.
    Recovering(&'static str),
    /// It is being flushed and configured anew because the owner set another clock.
    Configuring,
    /// The owner asked for it.
    Asked,
}

impl PauseReason {
    /// Whether the driver is at work on it: within seconds the device resumes, is paused
    /// for another reason, or is gone.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::StatusMissing | Self::Recovering(_))
    }
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hot(celsius) => write!(f, "too hot: {celsius} °C, must cool down"),
            Self::StatusMissing => {
                f.write_str("no status from the device, so its temperature is unknown")
            }
            Self::SensorMissing => f.write_str("a temperature sensor does not answer"),
            Self::FanStopped => f.write_str("fan stopped"),
            Self::Recovering(why) => write!(f, "starting anew: {why}"),
            Self::Configuring => f.write_str("starting anew with another clock"),
            Self::Asked => f.write_str("paused on request"),
        }
    }
}

/// Something that went wrong and was made good at once. Works may have lost their
/// nonces, but the device goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mishap {
    /// Reading failed; what the device was sending is lost.
    ReadFailed(&'static str),
    /// The device sent so many bytes that belong to no reply.
    Noise {
        /// Their number.
        bytes: u64,
    },
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadFailed(why) => write!(f, "cannot read from it: {why}"),
            Self::Noise { bytes } => write!(f, "it sent {bytes} bytes that are no reply"),
        }
    }
}

/// What the device measures about itself; the newest known values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceStatus {
    /// Temperatures in °C; 0 means no sensor at that place.
    pub temperatures_celsius: Vec<u8>,
    /// Fan speeds in revolutions a minute.
    pub fans_rpm: Vec<u32>,
    /// Free places in the controller's FIFO as last reported, in works.
    pub fifo_space: Option<u32>,
    /// How many times slower than silicon a simulated device runs because this CPU
    /// cannot keep its pace; 1.0 when it keeps up, absent for real hardware.
    pub slowdown: Option<f64>,
    /// Nonces tried since the device became ready, where it counts them: a CPU. Chips
    /// report only what they find.
    pub nonces_tried: Option<u64>,
    /// Counters since the device became ready.
    pub counters: DeviceCounters,
}

/// Counters since the device became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceCounters {
    /// Works that callers submitted.
    pub works: u64,
    /// Works sent only to keep the chips' results flowing.
    pub filler_works: u64,
    /// Nonces that passed verification.
    pub hits: u64,
    /// Nonces that failed verification, plus errors the controller counted.
    pub hardware_errors: u64,
    /// Correct nonces for works that had already ended.
    pub stale: u64,
    /// The same nonce again for the same work.
    pub duplicates: u64,
    /// Nonces whose work id nobody knows.
    pub unknown_works: u64,
    /// Works the device lost.
    pub lost_works: u64,
    /// Bytes dropped while looking for the start of a reply.
    pub dropped_bytes: u64,
    /// Recoveries: re-initialisations after silence or lost works.
    pub recoveries: u64,
}

/// News of one device.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// Initialised; [`HashDevice::info`] is complete and works are welcome.
    Ready,
    /// A verified answer.
    Hit {
        /// The work it belongs to.
        tag: WorkTag,
        /// The nonce.
        nonce: Nonce,
        /// Its double digest.
        digest: Digest,
    },
    /// A work ended; the last event about its tag.
    Done {
        /// The work.
        tag: WorkTag,
        /// How it ended.
        end: WorkEnd,
    },
    /// Takes no work until [`DeviceEvent::Resumed`]; works on it end as `Lost`.
    Paused(PauseReason),
    /// Takes work again.
    Resumed,
    /// Something went wrong and was made good at once.
    Mishap(Mishap),
    /// New measurements, see [`HashDevice::status`].
    Status,
    /// The device is unusable; drop it. Works on it are lost without further events.
    Gone(DriverError),
}

/// A device that searches nonces.
///
/// One task owns it: it submits while [`capacity`](Self::capacity) allows, and
/// waits in [`poll_event`](Self::poll_event) otherwise. Dropping it closes it;
/// [`begin_shutdown`](Self::begin_shutdown) does so in good order.
pub trait HashDevice: Send {
    /// What is known about the device; complete after [`DeviceEvent::Ready`].
    fn info(&self) -> &DeviceInfo;

    /// The newest measurements and counters.
    fn status(&self) -> DeviceStatus;

    /// How many works it would take now, 0 while starting, paused or full. It may grow
    /// without an event: see [`next_event_or_room`].
    fn capacity(&self) -> usize;

    /// Whether this work can run here at all. An S3 silently drops works whose
    /// midstate ends in 0xAA (see [`hasher_work::Midstate::is_dropped_by_s3`]).
    fn can_run(&self, work: &Work) -> bool;

    /// Takes one work.
    ///
    /// # Errors
    /// [`DriverError::Full`] beyond [`capacity`](Self::capacity), and
    /// [`DriverError::NotRunnable`] for a work that
    /// [`can_run`](Self::can_run) refuses; the work is then not on the device.
    fn submit(&mut self, work: DeviceWork) -> Result<(), DriverError>;

    /// Forgets a work: no further event names its tag. What the chips already
    /// have cannot be recalled; late hits count as stale.
    fn cancel(&mut self, tag: WorkTag);

    /// Stops taking work (`true`) or goes on (`false`) at the owner's wish.
    fn set_paused(&mut self, paused: bool);

    /// Runs the chips at another clock than the device's settings say, or (`None`) at
    /// theirs again. A device that works is flushed and configured anew, which it tells
    /// as [`PauseReason::Configuring`]; one that is still unknown starts with the clock if
    /// it turns out to be of the clock's model.
    ///
    /// # Errors
    /// [`DriverError::UnsafeSetting`] for a clock of another model, and
    /// [`DriverError::NotSupported`] where there is no clock. Nothing has changed then.
    fn set_clock(&mut self, clock: Option<Clock>) -> Result<(), DriverError>;

    /// Starts an orderly end: flush the chips, leave them idle, release the
    /// device; [`DeviceEvent::Gone`] with [`DriverError::Closed`] follows within
    /// two seconds.
    fn begin_shutdown(&mut self);

    /// What went over its wire of late; nothing from a device without one.
    fn capture(&self) -> Option<Capture> {
        None
    }

    /// The next event. After `Gone` it stays pending for ever.
    ///
    /// This drives all of the device's I/O and timers, so the owner must keep
    /// polling it. Losing interest between polls loses nothing.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<DeviceEvent>;
}

/// The next event of a device as a future; cancel-safe.
pub async fn next_event(device: &mut dyn HashDevice) -> DeviceEvent {
    std::future::poll_fn(|cx| device.poll_event(cx)).await
}

/// The next event, or nothing as soon as the device takes more works than it does now: a
/// place that is free by the clock, or after a cancelled work, is told by no event.
/// Cancel-safe.
pub async fn next_event_or_room(device: &mut dyn HashDevice) -> Option<DeviceEvent> {
    let room = device.capacity();
    std::future::poll_fn(|cx| match device.poll_event(cx) {
        Poll::Ready(event) => Poll::Ready(Some(event)),
        Poll::Pending if device.capacity() > room => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
