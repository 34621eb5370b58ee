//! The same pipe through libusb, for systems where that is what works.
//!
//! Owns a transport of two threads, because libusb's plain interface blocks: one reads,
//! one writes, and their results meet in a channel. It keeps the rules of
//! [`super::transport`], which the conformance checks prove for both. Built with feature
//! `libusb`; chosen with `via=libusb` in a device's text.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rusb::{Context as Libusb, DeviceHandle, Direction, Error, TransferType, UsbContext};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use super::bus::{Found, driver_of, node};
use super::transport::{CLOSE_WITHIN, IN_PAUSE, OUT_WITHIN};
use crate::transport::{MAX_IN_BYTES, MAX_OUT_BYTES, Transport, TransportError, TransportEvent};
use crate::{Denial, DriverError, Holder};

/// The only interface of both products.
const INTERFACE: u8 = 0;

/// How long one read waits. libusb keeps the transfer pending that long; the thread looks
/// in between whether it shall end.
const READ_FOR: Duration = Duration::from_millis(100);

/// Results that may wait for the device. One reply every 2 ms is what a board sends at
/// most; the reader waits when nobody takes them.
const RESULTS: usize = 16;

/// Claims a board.
///
/// # Errors
/// As for the other claim.
pub(super) async fn claim(
    found: &Found,
    gives_back: bool,
) -> Result<Box<dyn Transport>, DriverError> {
    let found = found.clone();
    let opened = tokio::task::spawn_blocking(move || open(&found, gives_back)).await;
    let (handle, pair) = opened.map_err(|_| DriverError::Unrecoverable("libusb failed"))??;
    let transport = LibusbTransport::start(handle, pair).map_err(|source| DriverError::Io {
        operation: "starting the reader",
        source,
    })?;
    Ok(Box::new(transport))
}

type Handle = DeviceHandle<Libusb>;

/// Addresses of both endpoints, and whether they are interrupt endpoints.
#[derive(Debug, Clone, Copy)]
struct Pair {
    input: u8,
    output: u8,
    is_interrupt: bool,
}

fn open(found: &Found, gives_back: bool) -> Result<(Handle, Pair), DriverError> {
    let explain = |operation, error| explain(found, operation, error);
    // Never libusb's global helpers: they panic where it cannot start.
    let libusb = Libusb::new().map_err(|error| explain("starting libusb", error))?;
    let devices = libusb.devices();
    let devices = devices.map_err(|error| explain("listing the bus", error))?;
    let device = devices
        .iter()
        .find(|device| (device.bus_number(), device.address()) == found.board.address)
        .ok_or_else(|| DriverError::NotFound(found.board.id.clone()))?;
    let handle = device.open();
    let handle = handle.map_err(|error| explain("opening", error))?;
    if gives_back {
        // Detaches and claims in one step, and attaches again after the release.
        let _ = handle.set_auto_detach_kernel_driver(true);
    } else if driver_of(found.info.sysfs_path(), INTERFACE).is_some_and(|name| name != "usbfs") {
        let _ = handle.detach_kernel_driver(INTERFACE);
    }
    let claimed = handle.claim_interface(INTERFACE);
    claimed.map_err(|error| explain("claiming the interface", error))?;
    let configuration = device.active_config_descriptor();
    let configuration = configuration.map_err(|error| explain("opening the endpoints", error))?;
    let pair = configuration
        .interfaces()
        .flat_map(|interface| interface.descriptors().collect::<Vec<_>>())
        .find_map(|interface| {
            let find = |direction, kind| {
                interface
                    .endpoint_descriptors()
                    .find(|e| e.direction() == direction && e.transfer_type() == kind)
                    .map(|e| e.address())
            };
            [TransferType::Bulk, TransferType::Interrupt]
                .into_iter()
                .find_map(|kind| {
                    Some(Pair {
                        input: find(Direction::In, kind)?,
                        output: find(Direction::Out, kind)?,
                        is_interrupt: kind == TransferType::Interrupt,
                    })
                })
        })
        .ok_or(DriverError::UnknownLayout)?;
    Ok((handle, pair))
}

fn explain(found: &Found, operation: &'static str, error: Error) -> DriverError {
    match error {
        Error::NoDevice | Error::NotFound => DriverError::NotFound(found.board.id.clone()),
        Error::Access => DriverError::PermissionDenied {
            node: node(found.board.address),
            // libusb does not tell the two apart.
            why: Denial::Mode,
        },
        Error::Busy => DriverError::Busy {
            by: match driver_of(found.info.sysfs_path(), INTERFACE) {
                Some(name) if name != "usbfs" => Holder::KernelDriver(name),
                _ => Holder::Program,
            },
        },
        other => DriverError::Io {
            operation,
            source: std::io::Error::other(other),
        },
    }
}

/// What a thread has to say.
#[derive(Debug)]
enum Outcome {
    Sent,
    SendFailed(TransportError),
    Received(Bytes),
    ReadFailed(TransportError),
}

struct LibusbTransport {
    tokens: Option<std_mpsc::SyncSender<Bytes>>,
    outcomes: mpsc::Receiver<Outcome>,
    shall_end: Arc<AtomicBool>,
    is_sending: bool,
    /// A fault of the reader that waits for the end of the write.
    fault: Option<TransportError>,
    is_gone: bool,
    close_until: Option<std::pin::Pin<Box<Sleep>>>,
}

impl LibusbTransport {
    fn start(handle: Handle, pair: Pair) -> std::io::Result<Self> {
        // The threads own the handle: its release blocks, and happens when both ended.
        let handle = Arc::new(handle);
        let (outcomes_in, outcomes) = mpsc::channel(RESULTS);
        let (tokens, tokens_out) = std_mpsc::sync_channel(1);
        let shall_end = Arc::new(AtomicBool::new(false));
        let transport = Self {
            tokens: Some(tokens),
            outcomes,
            shall_end: Arc::clone(&shall_end),
            is_sending: false,
            fault: None,
            is_gone: false,
            close_until: None,
        };
        let reader = (Arc::clone(&handle), outcomes_in.clone());
        thread::Builder::new()
            .name("libusb-read".into())
            .spawn(move || read(&reader.0, pair, &reader.1, &shall_end))?;
        thread::Builder::new()
            .name("libusb-write".into())
            .spawn(move || write(&handle, pair, &tokens_out, &outcomes_in))?;
        Ok(transport)
    }

    fn end_threads(&mut self) {
        self.shall_end.store(true, Ordering::Relaxed);
        self.tokens = None;
    }

    fn tell(&mut self, error: TransportError) -> Poll<TransportEvent> {
        self.is_gone = matches!(error, TransportError::Disconnected);
        Poll::Ready(TransportEvent::Fault(error))
    }
}

/// Reads until it shall end, or nobody listens, or the device is gone.
fn read(handle: &Handle, pair: Pair, outcomes: &mpsc::Sender<Outcome>, shall_end: &AtomicBool) {
    let mut buffer = [0; MAX_IN_BYTES];
    while !shall_end.load(Ordering::Relaxed) {
        let read = if pair.is_interrupt {
            handle.read_interrupt(pair.input, &mut buffer, READ_FOR)
        } else {
            handle.read_bulk(pair.input, &mut buffer, READ_FOR)
        };
        let outcome = match read {
            Ok(0) => None,
            Ok(count) => Some(Outcome::Received(Bytes::copy_from_slice(&buffer[..count]))),
            Err(Error::Timeout) => continue,
            Err(error) => Some(Outcome::ReadFailed(fault(handle, pair.input, error))),
        };
        let is_gone = matches!(
            outcome,
            Some(Outcome::ReadFailed(TransportError::Disconnected))
        );
        let has_failed = matches!(outcome, None | Some(Outcome::ReadFailed(_)));
        if let Some(outcome) = outcome
            && outcomes.blocking_send(outcome).is_err()
        {
            return;
        }
        if is_gone {
            return;
        }
        if has_failed {
            thread::sleep(IN_PAUSE);
        }
    }
}

/// Writes what comes until nobody sends or listens any more.
fn write(
    handle: &Handle,
    pair: Pair,
    tokens: &std_mpsc::Receiver<Bytes>,
    outcomes: &mpsc::Sender<Outcome>,
) {
    while let Ok(token) = tokens.recv() {
        let written = if pair.is_interrupt {
            handle.write_interrupt(pair.output, &token, OUT_WITHIN)
        } else {
            handle.write_bulk(pair.output, &token, OUT_WITHIN)
        };
        let outcome = match written {
            Ok(count) if count == token.len() => Outcome::Sent,
            // A time-out after a part of it.
            Ok(_) => Outcome::SendFailed(TransportError::Timeout),
            Err(error) => Outcome::SendFailed(fault(handle, pair.output, error)),
        };
        if outcomes.blocking_send(outcome).is_err() {
            return;
        }
    }
}

/// What an error means; a stall is cleared.
fn fault(handle: &Handle, endpoint: u8, error: Error) -> TransportError {
    match error {
        Error::NoDevice => TransportError::Disconnected,
        Error::Timeout => TransportError::Timeout,
        Error::Pipe => match handle.clear_halt(endpoint) {
            Ok(()) => TransportError::Stall,
            // A halt that cannot be cleared nearly always means an unplug.
            Err(_) => TransportError::Disconnected,
        },
        other => TransportError::Io(std::io::Error::other(other)),
    }
}

impl Transport for LibusbTransport {
    fn start_send(&mut self, token: Bytes) {
        debug_assert!((1..=MAX_OUT_BYTES).contains(&token.len()), "a legal token");
        if self.is_gone || self.fault.is_some() {
            return; // it falls with the fault that is told next
        }
        // Full or closed cannot be: one token at a time, and both threads live.
        if let Some(tokens) = &self.tokens
            && tokens.try_send(token).is_ok()
        {
            self.is_sending = true;
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        if self.is_gone {
            return Poll::Pending;
        }
        loop {
            if !self.is_sending
                && let Some(error) = self.fault.take()
            {
                return self.tell(error);
            }
            let Some(outcome) = ready!(self.outcomes.poll_recv(cx)) else {
                return self.tell(TransportError::Disconnected); // both threads ended
            };
            match outcome {
                Outcome::Received(bytes) => return Poll::Ready(TransportEvent::Received(bytes)),
                Outcome::Sent => {
                    self.is_sending = false;
                    if self.fault.is_none() {
                        return Poll::Ready(TransportEvent::Sent);
                    }
                }
                Outcome::SendFailed(error) => {
                    self.is_sending = false;
                    self.fault.get_or_insert(error);
                }
                Outcome::ReadFailed(error @ TransportError::Disconnected) => {
                    return self.tell(error);
                }
                Outcome::ReadFailed(error) => {
                    self.fault.get_or_insert(error);
                }
            }
        }
    }

    /// Waits until both threads have ended and with them the claim, at most 400 ms.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.end_threads();
        let until = self
            .close_until
            .get_or_insert_with(|| Box::pin(sleep(CLOSE_WITHIN)));
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while ready!(self.outcomes.poll_recv(cx)).is_some() {}
        Poll::Ready(())
    }
}

impl Drop for LibusbTransport {
    fn drop(&mut self) {
        self.end_threads();
    }
}
