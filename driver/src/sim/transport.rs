//! A simulated board and its USB cable.
//!
//! Owns the meeting of the pure board with tokio's clock and the sweeper: the handle
//! [`SimBoard`], which outlives every unplug, and [`SimTransport`], which is one
//! attachment to it. It decides nothing about tokens. Opened by the device's source
//! (`spec.rs`), polled by the device.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hasher_work::Work;
use tokio::time::{Instant, Sleep};

use super::board::{Board, InResult, OutResult, Presence};
use super::book::Book;
use super::controller::ChainTurns;
use super::image::Image;
use super::pace::Pace;
use super::script::Script;
use super::sweeper::{Hashing, Sweeper};
use crate::transport::{Transport, TransportError, TransportEvent};
use crate::{DeviceId, DriverError};

/// Time from one IN transfer to the next. A real host controller polls faster and is
/// held up by the board's main loop in ways nobody has measured; cgminer reads about
/// every 2 ms.
pub const IN_PERIOD: Duration = Duration::from_millis(2);
/// Limit of an OUT transfer, as in cgminer.
pub const OUT_TIMEOUT: Duration = Duration::from_millis(200);
/// Ticks of the work timer worked off in one poll before other tasks get a turn.
const TICKS_PER_POLL: usize = 8;

/// What a simulated board is like.
#[derive(Debug, Clone)]
pub struct SimSettings {
    /// Firmware image, and with it the model.
    pub image: Image,
    /// Leading zero bits below which the chips report nothing, 8 to 32.
    pub zero_bits: u32,
    /// Known solutions, asked at 32 zero bits.
    pub book: Arc<Book>,
    /// What goes wrong, and when.
    pub script: Script,
    /// Seed of the random numbers behind the script's faults.
    pub rng_seed: u64,
    /// Whether the board waits in its boot loader, as after power-up.
    pub boot_loader: bool,
    /// Where its hashing is done.
    pub hashing: Hashing,
}

impl SimSettings {
    /// Zero bits a board may have.
    pub const ZERO_BITS: std::ops::RangeInclusive<u32> = 8..=32;
    /// Zero bits unless asked otherwise: a core of a laptop keeps up (inferred from
    /// the 1.7 million nonces a second that an S3's pace then takes).
    pub const DEFAULT_ZERO_BITS: u32 = 14;

    /// A cold board of this image: 14 zero bits, no script.
    pub fn new(image: Image) -> Self {
        Self {
            image,
            zero_bits: Self::DEFAULT_ZERO_BITS,
            book: Arc::new(Book::of_blocks()),
            script: Script::default(),
            rng_seed: 0,
            boot_loader: true,
            hashing: Hashing::default(),
        }
    }
}

#[derive(Debug)]
struct Shared {
    board: Board,
    sweeper: Sweeper,
    pace: Pace,
    /// Zero of the bench clock: the first look at the board.
    started: Option<Instant>,
    /// Generation of the board that a transport holds.
    attached: Option<u64>,
}

impl Shared {
    /// Lets time pass up to now; whether more is to be done at once.
    fn turn(&mut self, now: Instant, mut cx: Option<&mut Context<'_>>) -> bool {
        let bench = now - *self.started.get_or_insert(now);
        let mut again = false;
        for _ in 0..TICKS_PER_POLL {
            self.board.turn(bench, self.pace.skipped());
            again = self.sweeper.serve(&mut self.board, cx.as_deref_mut());
            if !again {
                break;
            }
        }
        let may_skip = !self.sweeper.is_inline();
        self.pace.note(bench, self.board.device_time(), may_skip);
        again
    }
}

/// A simulated board; clones are handles to the same one.
///
/// It stays when its cable is pulled: works, counters and temperature are where they
/// were. Its bench clock starts with the first use.
#[derive(Debug, Clone)]
pub struct SimBoard {
    id: DeviceId,
    image: Image,
    zero_bits: u32,
    // A mutex because the board must outlive its one transport, and the handle must be
    // able to look at it meanwhile. It is held for one step of a pure state machine
    // and never across an await.
    shared: Arc<Mutex<Shared>>,
}

impl SimBoard {
    /// A new board under power.
    ///
    /// # Errors
    /// [`DriverError::BadSpec`] for zero bits out of bounds, [`DriverError::Io`] when
    /// the system starts no sweeper thread.
    pub fn new(id: DeviceId, settings: SimSettings) -> Result<Self, DriverError> {
        if !SimSettings::ZERO_BITS.contains(&settings.zero_bits) {
            return Err(DriverError::BadSpec(format!(
                "simulated chips filter {} to {} zero bits, not {}",
                SimSettings::ZERO_BITS.start(),
                SimSettings::ZERO_BITS.end(),
                settings.zero_bits
            )));
        }
        let board = Board::new(
            settings.image,
            settings.zero_bits,
            settings.boot_loader,
            &settings.script,
            settings.rng_seed,
        );
        Ok(Self {
            id,
            image: settings.image,
            zero_bits: settings.zero_bits,
            shared: Arc::new(Mutex::new(Shared {
                board,
                sweeper: Sweeper::new(settings.hashing, settings.book)?,
                pace: Pace::new(),
                started: None,
                attached: None,
            })),
        })
    }

    /// Name of the device.
    pub const fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Firmware image.
    pub const fn image(&self) -> Image {
        self.image
    }

    /// Leading zero bits of the chips' filter.
    pub const fn zero_bits(&self) -> u32 {
        self.zero_bits
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// What a USB host sees on the bus now.
    pub fn present(&self) -> Presence {
        let mut shared = self.lock();
        shared.turn(Instant::now(), None);
        shared.board.presence()
    }

    /// How its chains' turns went since the application was started, for those who want
    /// to know whether they keep it fed. Real boards do not tell.
    pub fn turns(&self) -> ChainTurns {
        let mut shared = self.lock();
        shared.turn(Instant::now(), None);
        shared.board.turns()
    }

    /// The works that its chains are on, each with the moment at which its chain took it,
    /// for those who want to know how long a work waits. Real boards do not tell.
    pub fn on_chains(&self) -> Vec<(Work, Instant)> {
        let now = Instant::now();
        let mut shared = self.lock();
        shared.turn(now, None);
        let begun = shared.started.unwrap_or(now) + shared.pace.skipped();
        let works = shared.board.on_chains().into_iter();
        works.map(|(work, since)| (work, begun + since)).collect()
    }

    /// Claims the board as it is now: boot loader or application.
    ///
    /// # Errors
    /// [`DriverError::NotFound`] when it is not on the bus, [`DriverError::Io`] (busy)
    /// while another transport holds it.
    pub fn attach(&self) -> Result<SimTransport, DriverError> {
        let now = Instant::now();
        let mut shared = self.lock();
        shared.turn(now, None);
        if shared.board.presence() == Presence::Absent {
            return Err(DriverError::NotFound(self.id.clone()));
        }
        let generation = shared.board.generation();
        // A transport that has not noticed the unplug yet holds nothing.
        if shared.attached == Some(generation) {
            return Err(DriverError::Io {
                operation: "claiming the simulated board",
                source: std::io::ErrorKind::ResourceBusy.into(),
            });
        }
        shared.attached = Some(generation);
        shared.board.attach();
        Ok(SimTransport {
            shared: Arc::clone(&self.shared),
            generation,
            sending: None,
            next_in: now,
            timer: Box::pin(tokio::time::sleep_until(now)),
            gone: false,
        })
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic elsewhere leaves a board that is at worst one step behind.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One attachment to a [`SimBoard`]; dropping it releases the board.
#[derive(Debug)]
pub struct SimTransport {
    shared: Arc<Mutex<Shared>>,
    generation: u64,
    /// The OUT transfer in flight and when it times out.
    sending: Option<(Bytes, Instant)>,
    next_in: Instant,
    timer: Pin<Box<Sleep>>,
    /// The board left the bus and this was said.
    gone: bool,
}

impl SimTransport {
    /// One look at the board: an event, or when to look again.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<TransportEvent, Option<Instant>> {
        let shared = Arc::clone(&self.shared);
        let mut shared = lock(&shared);
        let again = shared.turn(now, Some(cx));
        if let Some(time) = shared.board.take_hang() {
            drop(shared);
            // What nobody may do here, and what a faulty driver does.
            std::thread::sleep(time);
            return Err(Some(now));
        }
        if shared.board.generation() != self.generation {
            self.gone = true;
            self.sending = None;
            return Ok(TransportEvent::Fault(TransportError::Disconnected));
        }
        if let Some(event) = self.send(&mut shared.board, now) {
            return Ok(event);
        }
        if now >= self.next_in {
            match shared.board.poll() {
                InResult::Reply(reply) => {
                    self.next_in = now + IN_PERIOD;
                    return Ok(TransportEvent::Received(reply));
                }
                InResult::Stalled => {
                    self.sending = None; // a fault ends both directions
                    return Ok(TransportEvent::Fault(TransportError::Stall));
                }
                InResult::Nothing => {}
            }
        }
        if again || shared.board.generation() != self.generation {
            return Err(Some(now));
        }
        let started = *shared.started.get_or_insert(now);
        let board = shared.board.next_wake(shared.pace.skipped());
        let wakes = [
            board.map(|at| started + at),
            self.sending.as_ref().map(|(_, deadline)| *deadline),
            shared.board.has_reply().then_some(self.next_in),
        ];
        Err(wakes.into_iter().flatten().min())
    }

    fn send(&mut self, board: &mut Board, now: Instant) -> Option<TransportEvent> {
        let (token, deadline) = self.sending.take()?;
        match board.send(&token) {
            OutResult::Taken => Some(TransportEvent::Sent),
            OutResult::Stalled => Some(TransportEvent::Fault(TransportError::Stall)),
            OutResult::Cut => None, // the next look finds the board gone
            OutResult::NotNow if now >= deadline => {
                Some(TransportEvent::Fault(TransportError::Timeout))
            }
            OutResult::NotNow => {
                self.sending = Some((token, deadline));
                None
            }
        }
    }
}

impl Transport for SimTransport {
    fn start_send(&mut self, token: Bytes) {
        self.sending = Some((token, Instant::now() + OUT_TIMEOUT));
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<TransportEvent> {
        if self.gone {
            return Poll::Pending;
        }
        let now = Instant::now();
        match self.step(cx, now) {
            Ok(event) => Poll::Ready(event),
            Err(None) => Poll::Pending,
            Err(Some(at)) if at <= now => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(Some(at)) => {
                self.timer.as_mut().reset(at);
                if self.timer.as_mut().poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    fn slowdown(&self) -> Option<f64> {
        Some(lock(&self.shared).pace.slowdown())
    }
}

impl Drop for SimTransport {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        if shared.attached == Some(self.generation) {
            shared.attached = None;
        }
    }
}

#[cfg(test)]
mod tests;
