//! From a chip's reply to the nonce queue: matching, checking, counting.

use hasher_work::Nonce;

use super::super::chain::ChipReply;
use super::super::image::{CHAINS, Image};
use super::super::rng::Rng;
use super::{Controller, JUDGING_PERIOD};
use crate::token::FoundNonce;

/// How many of the next nonces something befalls, if a script says so.
#[derive(Debug)]
pub(in crate::sim) struct NonceFaults {
    /// Vanish between the check and the queue.
    pub(in crate::sim) lose: u32,
    /// Are queued twice.
    pub(in crate::sim) duplicate: u32,
    /// Leave the chip with a flipped bit.
    pub(in crate::sim) wrong: u32,
    /// Get a flipped bit after the check.
    pub(in crate::sim) forge: u32,
    rng: Rng,
}

impl NonceFaults {
    pub(super) const fn new(rng_seed: u64) -> Self {
        Self {
            lose: 0,
            duplicate: 0,
            wrong: 0,
            forge: 0,
            rng: Rng::new(rng_seed),
        }
    }

    /// A bit to flip.
    const fn bit(&mut self) -> u32 {
        1 << self.rng.below(32)
    }
}

/// Whether one of `left` is left; it is used up.
fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

impl Controller {
    /// A chip of this chain will never answer again.
    pub(in crate::sim) fn kill_chip(&mut self, chain: u8, chip: u8) {
        if let Some(chain) = self.chains.get_mut(usize::from(chain)) {
            chain.kill_chip(chip);
        }
    }

    /// Takes the next reply of a chain; while not running it is thrown away.
    pub(super) fn chip_replied(&mut self, chain: usize) {
        let Some(reply) = self.chains[chain].take_reply() else {
            return;
        };
        if self.running.is_some() {
            self.take_chip_reply(chain, reply);
        }
    }

    pub(super) fn take_chip_reply(&mut self, chain: usize, [a, b, c, d, id]: ChipReply) {
        let mut w3 = u32::from_be_bytes([a, b, c, d]);
        if take(&mut self.nonce_faults.wrong) {
            w3 ^= self.nonce_faults.bit();
        }
        let Some(entry) = self.sent[chain].newest(id & 0x1f).copied() else {
            if self.image == Image::S3Version7 {
                self.nonce_errors = self.nonce_errors.saturating_add(1);
            }
            return; // an S1 counts it where no reply shows it
        };
        let nonce = Nonce::from_w3(w3);
        if self.verifies || self.image != Image::S3Version7 {
            let zero_bits = entry.work.digest(nonce).leading_zero_bits();
            if zero_bits < self.zero_bits {
                self.nonce_errors = self.nonce_errors.saturating_add(1);
                return;
            }
            if zero_bits >= self.zero_bits + u32::from(self.chip_diff()) {
                self.total_nonces += 1;
            }
            if zero_bits < self.zero_bits + u32::from(self.diff()) {
                return;
            }
        }
        let chip = self.chains[chain].chip_of(w3);
        self.chip_nonces[chain][chip] = self.chip_nonces[chain][chip].saturating_add(1);
        self.queue(FoundNonce {
            work_id: entry.id,
            nonce,
        });
    }

    fn queue(&mut self, mut found: FoundNonce) {
        if take(&mut self.nonce_faults.lose) {
            return;
        }
        if take(&mut self.nonce_faults.forge) {
            found.nonce.0 ^= self.nonce_faults.bit();
        }
        let copies = if take(&mut self.nonce_faults.duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            // "No space": dropped without a counter that any reply shows.
            if self.nonces.len() < self.image.model().nonce_queue() {
                self.nonces.push_back(found);
            }
        }
    }

    /// Once a minute: chips that brought less than an eighth of the average count as
    /// dead until they do better. Whether the counts start anew afterwards is unknown;
    /// here they do, so that a chip can come back.
    pub(super) fn judge_chips(&mut self) {
        self.next_judging = self.now + JUDGING_PERIOD;
        let chips = usize::from(self.image.model().chips_per_chain());
        let sum: u32 = self.chip_nonces.iter().flatten().sum();
        let average = sum / (CHAINS * chips) as u32;
        if self.running.is_none() || average <= self.image.nonces_before_judging() {
            return;
        }
        for (status, counts) in self.chip_status.iter_mut().zip(&self.chip_nonces) {
            *status = (0..chips)
                .filter(|chip| counts[*chip] >= average / 8)
                .fold(0, |bits, chip| bits | 1 << chip);
        }
        self.chip_nonces = [[0; 32]; CHAINS];
    }
}
