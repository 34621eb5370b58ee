//! The work timer: feeding the chains, the end of a run, the stop when hot.

use super::super::chain::chip_frame;
use super::super::image::{CHAINS, Image};
use super::Controller;
use crate::token::WorkEntry;

/// Temperature at which the newer images stop feeding, in °C.
const OVERHEAT_CELSIUS: u8 = 80;
/// Ticks with an empty ring after which a run ends.
const EMPTY_TICKS_TO_END: u8 = 2;
/// Extra zero bits the S3's chips filter by themselves at most.
const CHIP_DIFF_MAX: u8 = 4;
/// First frame byte that the S3's chips would take for a voltage command.
const VOLTAGE_COMMAND: u8 = 0xaa;

impl Controller {
    pub(super) fn tick(&mut self) {
        self.next_tick = Some(self.now + self.period);
        let chains = self.chains_in_turn();
        if self.is_too_hot() {
            self.note_idle(chains);
            return self.carry_on();
        }
        if self.ring.is_empty() {
            self.note_idle(chains);
            self.empty_ticks = self.empty_ticks.saturating_add(1);
            if self.empty_ticks >= EMPTY_TICKS_TO_END {
                self.stop_running();
            }
            return self.carry_on();
        }
        self.empty_ticks = 0;
        for chain in 0..CHAINS {
            let entry = if chain < chains {
                self.next_work()
            } else {
                None
            };
            if let Some(entry) = entry {
                self.feed(chain, entry);
                self.turns.fed += 1;
            } else if chain < chains {
                self.note_idle(1);
            }
            self.sweep(chain);
        }
    }

    /// Chains whose turn it is at a tick: for a while only the first of an S3.
    fn chains_in_turn(&self) -> usize {
        match self.running {
            Some(since) if self.now < since + self.image.one_chain_time() => 1,
            _ => CHAINS,
        }
    }

    /// So many chains got no new work. Between runs nobody misses one.
    fn note_idle(&mut self, chains: usize) {
        if self.running.is_some() {
            self.turns.idle += chains as u64;
        }
    }

    /// Ends the run. An S1's timer stops; an S3's goes on for ever and feeds dummy
    /// works, whose results nobody wants, so its chips stay warm.
    pub(super) fn stop_running(&mut self) {
        self.running = None;
        self.empty_ticks = 0;
        if self.image != Image::S3Version7 {
            self.next_tick = None;
        }
        let dummy = self.image == Image::S3Version7 && self.next_tick.is_some();
        for chain in &mut self.chains {
            chain.idle(dummy);
        }
        self.wanted.clear();
    }

    /// Chips that get no new work go on with the old one.
    fn carry_on(&mut self) {
        for chain in 0..CHAINS {
            self.sweep(chain);
        }
    }

    fn sweep(&mut self, chain: usize) {
        let ticket = self.next_ticket;
        if let Some(sweep) = self.chains[chain].sweep(self.now, self.period, ticket) {
            self.next_ticket += 1;
            self.wanted.push_back(sweep);
        }
    }

    /// The next work of the ring. An S3 passes over works that would look like a
    /// voltage command, except when nothing comes after.
    fn next_work(&mut self) -> Option<WorkEntry> {
        loop {
            let entry = self.ring.pop()?;
            let dropped = self.image.drops_aa_works() && entry.work.midstate.is_dropped_by_s3();
            if !dropped || self.ring.is_empty() {
                return Some(entry);
            }
        }
    }

    fn feed(&mut self, chain: usize, entry: WorkEntry) {
        let mut frame = chip_frame(self.image, &entry.work, entry.id, self.chip_diff());
        if self.image.drops_aa_works() && frame[0] == VOLTAGE_COMMAND {
            frame[0] |= 1;
        }
        self.sent[chain].push(entry);
        self.chains[chain].send(&frame, self.now);
    }

    /// Extra zero bits in force: none on an S1 or without verification.
    pub(super) fn diff(&self) -> u8 {
        if self.image == Image::S3Version7 && self.verifies {
            self.diff
        } else {
            0
        }
    }

    /// The part of it that the chips filter themselves.
    pub(super) fn chip_diff(&self) -> u8 {
        self.diff().min(CHIP_DIFF_MAX)
    }

    fn is_too_hot(&self) -> bool {
        let second = self.sensors[1] >= OVERHEAT_CELSIUS;
        match self.image {
            Image::S1Of2013 => false, // it only beeps
            Image::S1Of2014 => second,
            Image::S3Version7 if self.temp_over_ctrl => second,
            Image::S3Version7 => self.hottest() >= OVERHEAT_CELSIUS,
        }
    }
}
