//! The simulated board on its bench: power, USB identity, and the script.
//!
//! Owns everything that outlives a controller: the power supply, the boot loader, the
//! room, the scripted faults. A pure state machine over two clocks: the *bench*
//! clock (the user's) moves cables and power, the *device* clock moves the
//! controller and may fall behind, because it does not pass a tick before that tick's
//! sweeps are done. Called by [`super::transport`] alone.

use std::time::Duration;

use bytes::Bytes;
use hasher_work::Work;

use super::assembler::PACKET_BYTES;
use super::climate::Climate;
use super::controller::{ChainTurns, Controller, PacketEffect};
use super::faults::Faults;
use super::image::Image;
use super::loader::Loader;
use super::script::{Action, Direction, Script, ScriptEvent};
use super::sweep::{Find, Sweep};

/// From *run application* until the application is on the bus. The images settle for
/// 1 s and then enumerate their chips (read in the images); the rest is inferred.
pub const APPLICATION_START: Duration = Duration::from_secs(2);
/// From the restart bytes until the boot loader is on the bus (inferred).
pub const LOADER_START: Duration = Duration::from_millis(500);

/// What a USB host sees of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Nothing: unplugged, without power, or between two identities.
    Absent,
    /// `4254:424c`, where a board waits after power-up.
    BootLoader,
    /// `4254:4153`, which speaks tokens.
    Application,
}

#[derive(Debug)]
enum Power {
    /// Not on the bus until then.
    Away {
        until: Duration,
        then: Presence,
    },
    BootLoader(Loader),
    Application(Box<Controller>),
}

/// What became of an OUT transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutResult {
    Taken,
    Stalled,
    /// Nothing was taken; try again later.
    NotNow,
    /// The board left the bus during the transfer.
    Cut,
}

/// What became of an IN poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InResult {
    Reply(Bytes),
    Stalled,
    Nothing,
}

/// A board with everything around it.
#[derive(Debug)]
pub(super) struct Board {
    image: Image,
    zero_bits: u32,
    rng_seed: u64,
    power: Power,
    faults: Faults,
    climate: Climate,
    dead_chips: Vec<(u8, u8)>,
    bench: Duration,
    /// Device time while no controller runs; else the controller's own counts.
    device: Duration,
    unplugged: bool,
    /// Rises whenever the board leaves the bus.
    generation: u64,
    next_ticket: u64,
}

impl Board {
    /// A board that just got power; `boot_loader` false means that an earlier host has
    /// already started its application.
    pub(super) fn new(
        image: Image,
        zero_bits: u32,
        boot_loader: bool,
        script: &Script,
        rng_seed: u64,
    ) -> Self {
        let power = if boot_loader {
            Power::BootLoader(Loader::default())
        } else {
            let controller = Controller::new(image, zero_bits, Duration::ZERO, 0, rng_seed);
            Power::Application(Box::new(controller))
        };
        let mut board = Self {
            image,
            zero_bits,
            rng_seed,
            power,
            faults: Faults::new(script, rng_seed),
            climate: Climate::new(image),
            dead_chips: Vec::new(),
            bench: Duration::ZERO,
            device: Duration::ZERO,
            unplugged: false,
            generation: 0,
            next_ticket: 0,
        };
        board.change();
        board
    }

    /// How long whoever polls the board shall wait now, once after each `hang`.
    pub(super) const fn take_hang(&mut self) -> Option<Duration> {
        self.faults.take_hang()
    }

    /// Moves the bench clock to `bench` and the device clock towards `bench − skipped`.
    pub(super) fn turn(&mut self, bench: Duration, skipped: Duration) {
        // Each round but the last begins or ends something of the script, which has
        // at most 64 events, or a stay away from the bus.
        loop {
            let at = self
                .next_change()
                .map_or(bench, |at| at.clamp(self.bench, bench.max(self.bench)));
            self.bench = at;
            self.run_until(at.saturating_sub(skipped));
            self.change();
            if at >= bench {
                return;
            }
        }
    }

    fn run_until(&mut self, target: Duration) {
        if let Power::Application(controller) = &mut self.power {
            controller.run_until(target, &mut self.climate);
            self.device = controller.now();
        } else if target > self.device {
            self.climate.pass(target - self.device, [0.0; 2]);
            self.device = target;
        }
    }

    /// When the bench next changes by its own clock.
    fn next_change(&self) -> Option<Duration> {
        let away = match &self.power {
            Power::Away { until, .. } => Some(*until),
            _ => None,
        };
        self.faults
            .next_change(self.bench)
            .into_iter()
            .chain(away)
            .min()
    }

    /// Applies what is due on the bench.
    fn change(&mut self) {
        for event in self.faults.begin_due(self.bench) {
            self.obey(&event);
        }
        if let Power::Away { until, then } = self.power
            && until <= self.bench
        {
            self.power = match then {
                Presence::Application => Power::Application(Box::new(self.start_controller())),
                _ => Power::BootLoader(Loader::default()),
            };
        }
        self.climate.set_room(self.faults.room_celsius(self.bench));
        self.climate
            .set_fans_stopped(self.faults.are_fans_stopped(self.bench));
        let unplugged = self.faults.is_unplugged(self.bench);
        if unplugged && !self.unplugged {
            self.generation += 1;
        }
        self.unplugged = unplugged;
    }

    fn start_controller(&mut self) -> Controller {
        self.rng_seed = self.rng_seed.wrapping_add(1);
        let mut controller = Controller::new(
            self.image,
            self.zero_bits,
            self.device,
            self.next_ticket,
            self.rng_seed,
        );
        for (chain, chip) in &self.dead_chips {
            controller.kill_chip(*chain, *chip);
        }
        controller
    }

    fn obey(&mut self, event: &ScriptEvent) {
        if let Action::DeadChip { chain, chip } = event.action {
            self.dead_chips.push((chain, chip));
        }
        if event.action == Action::PowerCycle {
            let off = event.lasts.unwrap_or_default();
            self.leave(off, Presence::BootLoader);
        }
        let Power::Application(controller) = &mut self.power else {
            return;
        };
        let nonces_of = &mut controller.nonce_faults;
        match event.action {
            Action::LostNonce { nonces } => nonces_of.lose += nonces,
            Action::DuplicateNonce { nonces } => nonces_of.duplicate += nonces,
            Action::WrongNonce { nonces } => nonces_of.wrong += nonces,
            Action::ForgedNonce { nonces } => nonces_of.forge += nonces,
            Action::DeadChip { chain, chip } => controller.kill_chip(chain, chip),
            _ => {}
        }
    }

    fn leave(&mut self, away: Duration, then: Presence) {
        if let Power::Application(controller) = &self.power {
            self.next_ticket = controller.next_ticket();
        }
        self.power = Power::Away {
            until: self.bench.saturating_add(away),
            then,
        };
        self.generation += 1;
    }

    /// What a host sees now.
    pub(super) const fn presence(&self) -> Presence {
        match &self.power {
            _ if self.unplugged => Presence::Absent,
            Power::Away { .. } => Presence::Absent,
            Power::BootLoader(_) => Presence::BootLoader,
            Power::Application(_) => Presence::Application,
        }
    }

    /// Changes whenever the board leaves the bus; an attachment is good for one value.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// A host takes the interface: enumeration has set the configuration before.
    pub(super) fn attach(&mut self) {
        if let Power::Application(controller) = &mut self.power {
            controller.configure_usb();
        }
    }

    /// One OUT transfer, cut into packets.
    pub(super) fn send(&mut self, transfer: &[u8]) -> OutResult {
        if self.faults.is_frozen(self.bench) {
            return OutResult::NotNow;
        }
        if self.faults.take_stall(Direction::Out) {
            return OutResult::Stalled;
        }
        let generation = self.generation;
        for packet in transfer.chunks(PACKET_BYTES) {
            if self.faults.pass_out(self.bench, packet.len()) {
                self.packet(packet);
            }
            self.change();
            if self.generation != generation {
                break;
            }
        }
        if self.presence() == Presence::Absent && self.unplugged {
            OutResult::Cut
        } else {
            OutResult::Taken
        }
    }

    fn packet(&mut self, packet: &[u8]) {
        match &mut self.power {
            Power::Away { .. } => {}
            Power::BootLoader(loader) => {
                if loader.packet(packet) {
                    self.leave(APPLICATION_START, Presence::Application);
                }
            }
            Power::Application(controller) => {
                if controller.packet(packet) == PacketEffect::Restart {
                    self.leave(LOADER_START, Presence::BootLoader);
                }
            }
        }
    }

    /// Whether an IN poll would be answered.
    pub(super) fn has_reply(&self) -> bool {
        let ready = match &self.power {
            Power::Away { .. } => false,
            Power::BootLoader(loader) => loader.has_reply(),
            Power::Application(controller) => controller.has_reply(),
        };
        (ready || self.faults.has_garbage()) && !self.faults.is_silent(self.bench)
    }

    /// One IN poll.
    pub(super) fn poll(&mut self) -> InResult {
        if !self.has_reply() {
            return InResult::Nothing;
        }
        if self.faults.take_stall(Direction::In) {
            return InResult::Stalled;
        }
        let reply = match (self.faults.take_garbage(), &mut self.power) {
            (Some(garbage), _) => Some(garbage),
            (None, Power::Away { .. }) => None,
            (None, Power::BootLoader(loader)) => loader.collect(),
            (None, Power::Application(controller)) => {
                let reply = controller.collect();
                reply.map(|reply| self.faults.spoil(reply))
            }
        };
        let Some(reply) = reply else {
            return InResult::Nothing;
        };
        let arrived = self.faults.pass_in(self.bench, reply);
        self.change();
        if arrived.is_empty() {
            InResult::Nothing
        } else {
            InResult::Reply(arrived)
        }
    }

    /// When, on the bench clock, a host could next see a change by itself.
    pub(super) fn next_wake(&self, skipped: Duration) -> Option<Duration> {
        let device = match &self.power {
            Power::Application(controller) => controller.next_wake(),
            _ => None,
        };
        let device = device.map(|at| at + skipped);
        self.next_change().into_iter().chain(device).min()
    }

    /// How the chains' turns went since the application was started.
    pub(super) fn turns(&self) -> ChainTurns {
        match &self.power {
            Power::Application(controller) => controller.turns(),
            _ => ChainTurns::default(),
        }
    }

    /// The work that each chain is on, and since when by the device's clock.
    pub(super) fn on_chains(&self) -> Vec<(Work, Duration)> {
        match &self.power {
            Power::Application(controller) => controller.on_chains().collect(),
            _ => Vec::new(),
        }
    }

    /// The device's clock.
    pub(super) const fn device_time(&self) -> Duration {
        self.device
    }

    /// The oldest sweep that the device's clock waits for, or else the next one:
    /// whatever is older may be given up.
    pub(super) fn oldest_wanted(&self) -> u64 {
        match &self.power {
            Power::Application(controller) => controller
                .awaited_ticket()
                .unwrap_or(controller.next_ticket()),
            _ => self.next_ticket,
        }
    }

    /// A sweep to be started.
    pub(super) fn take_wanted(&mut self) -> Option<Sweep> {
        match &mut self.power {
            Power::Application(controller) => controller.take_wanted(),
            _ => None,
        }
    }

    /// Takes a sweep's finds.
    pub(super) fn swept(&mut self, ticket: u64, finds: &[Find]) {
        if let Power::Application(controller) = &mut self.power {
            controller.swept(ticket, finds);
        }
    }
}

#[cfg(test)]
mod tests;
