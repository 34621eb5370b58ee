//! The simulated controller: the application that runs on a board's USB chip.
//!
//! Owns the work ring, the work timer, the nonce queue, the armed reply, the sensors
//! and the counters, with the behaviour of each firmware image (protocol reference,
//! section 6). It is a pure state machine over the device's own time: USB packets go
//! in, replies come out, [`Controller::run_until`] lets time pass. It never reads a
//! clock, never hashes, and does no I/O. Called by [`super::board`].
//!
//! ```text
//!  packets ─► Assembler ─► token ─► Ring ──tick──► Chain ─► Sweep … Find
//!  host                                             │ replies
//!  replies ◄── armed reply ◄── nonce queue ◄── match and check
//! ```

mod nonces;
mod reply;
mod tick;
mod token;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hasher_work::Work;

use super::assembler::Assembler;
use super::chain::Chain;
use super::climate::Climate;
use super::fifo::{MATCHED_WORKS, Ring, SentWorks};
use super::image::{CHAINS, Image};
use super::sweep::{Find, Sweep};
use crate::token::FoundNonce;

pub(super) use nonces::NonceFaults;
pub(super) use token::PacketEffect;

/// Period of the work timer before the first TxConfig. Source: all images, executed.
const FIRST_PERIOD: Duration = Duration::from_millis(40);
/// Time between two judgements of the chips' health (read in the images).
const JUDGING_PERIOD: Duration = Duration::from_secs(60);

/// What is armed for the host to collect.
#[derive(Debug)]
struct Armed {
    reply: Bytes,
    is_status: bool,
}

/// Turns of the chains at the ticks of the work timer during runs, counted since the
/// application was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainTurns {
    /// A chain got a new work.
    pub fed: u64,
    /// A chain went on with its old work, because no other was there or because the board
    /// was too hot.
    pub idle: u64,
}

/// The controller with its chains.
#[derive(Debug)]
pub(super) struct Controller {
    image: Image,
    /// Leading zero bits of the chips' filter and of the controller's own check.
    zero_bits: u32,
    now: Duration,
    assembler: Assembler,
    /// Its memory was overwritten by an over-long token; only power helps.
    hung: bool,

    ring: Ring,
    /// Free places as computed when the last reply was armed.
    space: usize,
    sent: [SentWorks; CHAINS],
    chains: [Chain; CHAINS],

    /// Since when it runs.
    running: Option<Duration>,
    empty_ticks: u8,
    turns: ChainTurns,
    period: Duration,
    next_tick: Option<Duration>,

    armed: Option<Armed>,
    status_pending: bool,
    nonces: VecDeque<FoundNonce>,
    nonce_errors: u32,
    total_nonces: u64,
    /// Extra zero bits that the newest TxTask asked for.
    diff: u8,
    /// `hw_error_eft`: check every nonce. The S1 images always do.
    verifies: bool,
    temp_over_ctrl: bool,

    sensors: [u8; CHAINS],
    fan_rps: u8,
    /// Hottest sensor when the fan was last set.
    fan_set_at: u8,
    next_sample: Duration,

    chip_nonces: [[u32; 32]; CHAINS],
    chip_status: [u32; CHAINS],
    next_judging: Duration,

    next_ticket: u64,
    wanted: VecDeque<Sweep>,
    /// Script: what befalls the next nonces.
    pub(super) nonce_faults: NonceFaults,
}

impl Controller {
    /// A controller that has found its chips, at `now` of the device clock.
    /// `first_ticket` must be above every ticket of a former controller.
    pub(super) fn new(
        image: Image,
        zero_bits: u32,
        now: Duration,
        first_ticket: u64,
        rng_seed: u64,
    ) -> Self {
        let model = image.model();
        let ring = Ring::new(model.fifo_slots() as usize, CHAINS * MATCHED_WORKS);
        Self {
            image,
            zero_bits,
            now,
            assembler: Assembler::new(image.layout(), image.out_buffer_bytes()),
            hung: false,
            space: ring.space(),
            ring,
            sent: Default::default(),
            chains: [(); CHAINS].map(|()| Chain::new(image, zero_bits)),
            running: None,
            empty_ticks: 0,
            turns: ChainTurns::default(),
            period: FIRST_PERIOD,
            next_tick: None,
            armed: None,
            status_pending: false,
            nonces: VecDeque::with_capacity(model.nonce_queue()),
            nonce_errors: 0,
            total_nonces: 0,
            diff: 0,
            verifies: true,
            temp_over_ctrl: false,
            sensors: [0; CHAINS],
            fan_rps: 0,
            fan_set_at: 0,
            next_sample: now,
            chip_nonces: [[0; 32]; CHAINS],
            chip_status: [Self::all_chips(image); CHAINS],
            next_judging: now + JUDGING_PERIOD,
            next_ticket: first_ticket,
            wanted: VecDeque::with_capacity(CHAINS),
            nonce_faults: NonceFaults::new(rng_seed),
        }
    }

    const fn all_chips(image: Image) -> u32 {
        match image.model().chips_per_chain() {
            32.. => u32::MAX,
            chips => (1 << chips) - 1,
        }
    }

    /// SET_CONFIGURATION: the endpoints start anew; works, nonces, counters and the
    /// running state stay. An S3 verifies again until the next TxConfig says otherwise.
    pub(super) fn configure_usb(&mut self) {
        self.assembler.clear();
        self.armed = None; // inferred: the reply goes with its endpoint
        self.verifies = true;
        self.arm();
    }

    /// Lets time pass up to `target`, or to the first tick whose sweeps are not back:
    /// the device's clock never runs ahead of its chips.
    pub(super) fn run_until(&mut self, target: Duration, climate: &mut Climate) {
        while self.awaited_ticket().is_none() {
            let at = self.next_event().filter(|at| *at <= target);
            let next = at.unwrap_or(target).max(self.now);
            climate.pass(next - self.now, self.load());
            self.now = next;
            if at.is_none() {
                return;
            }
            self.step(climate);
            self.arm();
        }
    }

    /// One thing that is due now; replies before the tick that would replace their work.
    fn step(&mut self, climate: &mut Climate) {
        let due = |at: Option<Duration>, now| at.is_some_and(|at| at <= now);
        for chain in 0..CHAINS {
            if due(self.chains[chain].next_reply(), self.now) {
                return self.chip_replied(chain);
            }
        }
        if self.next_sample <= self.now {
            self.sample(climate);
        } else if self.next_judging <= self.now {
            self.judge_chips();
        } else if due(self.next_tick, self.now) {
            self.tick();
        }
    }

    /// When a host could next see a change by itself; nothing while it does not run.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        let goes_on = self.running.is_some() && self.awaited_ticket().is_none();
        self.next_event().filter(|_| goes_on)
    }

    /// When something happens next by itself.
    fn next_event(&self) -> Option<Duration> {
        let replies = self.chains.iter().filter_map(Chain::next_reply);
        [self.next_sample, self.next_judging]
            .into_iter()
            .chain(self.next_tick)
            .chain(replies)
            .min()
    }

    fn load(&self) -> [f64; CHAINS] {
        [self.chains[0].load(), self.chains[1].load()]
    }

    /// The work that each chain is on, and since when.
    pub(super) fn on_chains(&self) -> impl Iterator<Item = (Work, Duration)> {
        self.chains.iter().filter_map(Chain::current)
    }

    /// The device's clock.
    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    /// A sweep to be started.
    pub(super) fn take_wanted(&mut self) -> Option<Sweep> {
        self.wanted.pop_front()
    }

    /// Takes a sweep's finds; an answer that nobody waits for any more is ignored.
    pub(super) fn swept(&mut self, ticket: u64, finds: &[Find]) {
        for chain in &mut self.chains {
            chain.swept(ticket, finds);
        }
    }

    /// The oldest sweep that is waited for; every older one may be given up.
    pub(super) fn awaited_ticket(&self) -> Option<u64> {
        self.chains.iter().filter_map(Chain::awaits).min()
    }

    /// How the chains' turns went.
    pub(super) const fn turns(&self) -> ChainTurns {
        self.turns
    }

    /// The ticket that the next sweep will get.
    pub(super) const fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    /// Reads the sensors and lets the fan follow when it got 2 °C warmer or colder.
    fn sample(&mut self, climate: &mut Climate) {
        self.next_sample = self.now + self.image.sample_period();
        self.sensors = climate.sensors();
        let hottest = self.hottest();
        if hottest.abs_diff(self.fan_set_at) >= 2 {
            self.fan_set_at = hottest;
            climate.set_duty(self.image.fan_duty(hottest));
        }
        self.fan_rps = climate.fan_rps();
    }

    fn hottest(&self) -> u8 {
        self.sensors.into_iter().max().unwrap_or(0)
    }
}
