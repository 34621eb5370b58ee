//! Works that were sent, findable by the id that comes back with a nonce.
//!
//! Owns the numbering of works and the judgement of every nonce: whose it is, whether
//! it is right, and whether it is new. It never talks to anyone; the host turns its
//! verdicts into events and counters.

use std::collections::VecDeque;

use hasher_work::{Digest, Nonce, Target, Work};

use crate::WorkTag;
use crate::token::{FoundNonce, WorkEntry};

/// Works that stay findable. A nonce can come for any work that is in the FIFO (up to
/// 400) or among the last 30 of a chain that the controller remembers.
pub(super) const REGISTRY_WORKS: usize = 512;

/// Ids after which one is skipped. Chips return only the low 5 bits of an id, and
/// the controller takes the newest match of a chain. Plain counting would give each
/// of two chains the same 5 bits again after 16 of its works; with one id skipped
/// after every 32 they come back after 31, on one chain as on two, and the controller
/// remembers 30.
const SKIP_EVERY: u32 = 32;

/// Low bits of an id that travel through a chip.
const CHIP_ID_MASK: u32 = 0x1f;

/// Works with the same low bits that are tried when a nonce does not fit the work
/// that the controller named. More than the newest few have long left the chips.
const NEIGHBOURS_TRIED: usize = 4;

/// Different nonces that are accepted for one work. A work yields about one; beyond
/// this the device repeats itself in ways that no comparison catches.
const NONCES_PER_WORK: usize = 64;

/// Whose work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A caller waits for it.
    Caller { tag: WorkTag, target: Target },
    /// A caller's work that ended or was cancelled.
    Ended,
    /// Sent to keep results flowing.
    Filler,
}

#[derive(Debug)]
struct SentWork {
    id: u32,
    work: Work,
    owner: Owner,
    nonces: Vec<Nonce>,
}

/// What a nonce turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A right answer for a caller.
    Hit {
        tag: WorkTag,
        nonce: Nonce,
        digest: Digest,
    },
    /// Right, but above the caller's target: the device filters more coarsely.
    AboveTarget,
    /// Right, for a filler.
    Filler,
    /// Right, but nobody waits any more.
    Stale,
    /// Told before.
    Duplicate,
    /// Its digest misses the device's own filter.
    Wrong,
    /// No work with such an id is known.
    UnknownWork,
}

/// The last [`REGISTRY_WORKS`] works.
#[derive(Debug)]
pub(super) struct Registry {
    works: VecDeque<SentWork>,
    zero_bits: u32,
    next_id: u32,
    until_skip: u32,
}

impl Registry {
    /// An empty registry for a device that filters for so many zero bits.
    pub(super) fn new(zero_bits: u32) -> Self {
        Self {
            works: VecDeque::with_capacity(REGISTRY_WORKS),
            zero_bits,
            next_id: 0,
            until_skip: SKIP_EVERY,
        }
    }

    /// Numbers a work and remembers it; the oldest one is forgotten.
    pub(super) fn add(&mut self, work: Work, owner: Owner) -> WorkEntry {
        if self.works.len() == REGISTRY_WORKS {
            self.works.pop_front();
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.until_skip -= 1;
        if self.until_skip == 0 {
            self.until_skip = SKIP_EVERY;
            self.next_id = self.next_id.wrapping_add(1);
        }
        self.works.push_back(SentWork {
            id,
            work,
            owner,
            nonces: Vec::new(),
        });
        WorkEntry { id, work }
    }

    /// Nobody waits for this work any more.
    pub(super) fn end(&mut self, tag: WorkTag) {
        for sent in self.works.iter_mut().rev() {
            if matches!(sent.owner, Owner::Caller { tag: owner, .. } if owner == tag) {
                sent.owner = Owner::Ended;
                return;
            }
        }
    }

    /// Verifies a nonce and finds its work.
    pub(super) fn judge(&mut self, found: FoundNonce) -> Verdict {
        let nonce = found.nonce;
        let Some(named) = self.works.iter().rposition(|w| w.id == found.work_id) else {
            return Verdict::UnknownWork;
        };
        // The controller knows a chip's work by 5 bits only, so an older or newer
        // one with the same bits may be meant.
        let bits = found.work_id & CHIP_ID_MASK;
        let neighbours = self.works.iter().enumerate().rev();
        let neighbours = neighbours
            .filter(|(at, w)| *at != named && w.id & CHIP_ID_MASK == bits)
            .map(|(at, _)| at)
            .take(NEIGHBOURS_TRIED);
        let proven = std::iter::once(named).chain(neighbours).find_map(|at| {
            let digest = self.works[at].work.verify(nonce, self.zero_bits)?;
            Some((at, digest))
        });
        let Some((at, digest)) = proven else {
            return Verdict::Wrong;
        };
        let sent = &mut self.works[at];
        if sent.owner == Owner::Filler {
            return Verdict::Filler;
        }
        if sent.nonces.len() == NONCES_PER_WORK || sent.nonces.contains(&nonce) {
            return Verdict::Duplicate;
        }
        sent.nonces.push(nonce);
        match sent.owner {
            Owner::Caller { tag, target } if target.is_met_by(&digest) => {
                Verdict::Hit { tag, nonce, digest }
            }
            Owner::Caller { .. } => Verdict::AboveTarget,
            Owner::Ended | Owner::Filler => Verdict::Stale,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.works.len()
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::{Midstate, Tail};

    use super::*;

    const BITS: u32 = 8;

    fn work(number: u32) -> Work {
        Work {
            midstate: Midstate([number; 8]),
            tail: Tail([number; 3]),
        }
    }

    fn caller(tag: u64) -> Owner {
        Owner::Caller {
            tag: WorkTag(tag),
            target: Target::ANY,
        }
    }

    /// The `skip`-th nonce that solves a work.
    fn solution(work: &Work, skip: usize) -> Nonce {
        (0..)
            .map(Nonce)
            .filter(|nonce| work.verify(*nonce, BITS).is_some())
            .nth(skip)
            .unwrap()
    }

    fn found(entry: &WorkEntry, nonce: Nonce) -> FoundNonce {
        FoundNonce {
            work_id: entry.id,
            nonce,
        }
    }

    #[test]
    fn low_bits_of_an_id_come_back_after_30_works_of_a_chain() {
        let mut registry = Registry::new(BITS);
        let ids: Vec<u32> = (0..500)
            .map(|n| registry.add(work(n), Owner::Filler).id)
            .collect();
        // One chain takes every work, or two take them in turns.
        let alone = ids.clone();
        let first: Vec<u32> = ids.iter().step_by(2).copied().collect();
        let second: Vec<u32> = ids.iter().skip(1).step_by(2).copied().collect();
        for chain in [alone, first, second] {
            for window in chain.windows(30) {
                let mut bits: Vec<u32> = window.iter().map(|id| id & CHIP_ID_MASK).collect();
                bits.sort_unstable();
                bits.dedup();
                assert_eq!(bits.len(), 30, "{window:?}");
            }
        }
    }

    #[test]
    fn a_nonce_is_a_hit_once_and_then_a_duplicate() {
        let mut registry = Registry::new(BITS);
        let entry = registry.add(work(1), caller(7));
        let nonce = solution(&entry.work, 0);
        assert_eq!(
            registry.judge(found(&entry, nonce)),
            Verdict::Hit {
                tag: WorkTag(7),
                nonce,
                digest: entry.work.digest(nonce)
            }
        );
        assert_eq!(registry.judge(found(&entry, nonce)), Verdict::Duplicate);
        registry.end(WorkTag(7));
        let late = solution(&entry.work, 1);
        assert_eq!(registry.judge(found(&entry, late)), Verdict::Stale);
    }

    #[test]
    fn wrong_and_unknown_nonces_are_told_apart() {
        let mut registry = Registry::new(BITS);
        let entry = registry.add(work(1), caller(7));
        let nonce = solution(&entry.work, 0);
        let wrong = Nonce(nonce.0 + 1);
        assert!(entry.work.verify(wrong, BITS).is_none());
        assert_eq!(registry.judge(found(&entry, wrong)), Verdict::Wrong);
        let unknown = FoundNonce {
            work_id: entry.id + 1,
            nonce,
        };
        assert_eq!(registry.judge(unknown), Verdict::UnknownWork);
        let filler = registry.add(work(2), Owner::Filler);
        let nonce = solution(&filler.work, 0);
        assert_eq!(registry.judge(found(&filler, nonce)), Verdict::Filler);
    }

    #[test]
    fn a_nonce_of_a_neighbour_with_the_same_low_bits_finds_its_work() {
        let mut registry = Registry::new(20);
        let entries: Vec<_> = (0..70)
            .map(|n| registry.add(work(n), caller(n.into())))
            .collect();
        let (older, newer) = entries
            .iter()
            .enumerate()
            .find_map(|(i, a)| {
                let same = |b: &&WorkEntry| b.id & CHIP_ID_MASK == a.id & CHIP_ID_MASK;
                entries[i + 1..].iter().find(same).map(|b| (*a, *b))
            })
            .unwrap();
        let nonce = (0..)
            .map(Nonce)
            .find(|nonce| older.work.verify(*nonce, 20).is_some())
            .unwrap();
        match registry.judge(found(&newer, nonce)) {
            Verdict::Hit { tag, .. } => assert_eq!(tag, WorkTag(older.work.tail.0[0].into())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hit_must_meet_the_callers_target() {
        let mut registry = Registry::new(BITS);
        let target = Target::from_zero_bits(200).unwrap();
        let owner = Owner::Caller {
            tag: WorkTag(1),
            target,
        };
        let entry = registry.add(work(1), owner);
        let nonce = solution(&entry.work, 0);
        assert_eq!(registry.judge(found(&entry, nonce)), Verdict::AboveTarget);
    }

    #[test]
    fn the_registry_stays_bounded() {
        let mut registry = Registry::new(BITS);
        let first = registry.add(work(0), caller(0));
        for n in 1..2000 {
            registry.add(work(n), Owner::Filler);
        }
        assert_eq!(registry.len(), REGISTRY_WORKS);
        let nonce = solution(&first.work, 0);
        assert_eq!(registry.judge(found(&first, nonce)), Verdict::UnknownWork);
    }
}
