//! One job: how it is cut into works, and what they bring.
//!
//! A timed device gets one work per time field and sweeps what it sweeps. A device
//! that counts through a range gets pieces of the nonce range. Both may work on the
//! same job.

use std::collections::VecDeque;

use hasher_driver::{Sweep, WorkEnd};
use hasher_wire::{ComputedBy, MAX_COMPUTED_BY};
use hasher_work::{
    Digest, Hit, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Work,
};

use super::certain::Certain;
use super::limits::{SPECULATIVE_WORKS, WORK_ATTEMPTS_MAX};

/// The part of a job that one work covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Added to the header's time field.
    roll: u16,
    /// Nonces that count.
    pub(crate) range: NonceRange,
    /// How often it was given to a device.
    attempts: u8,
}

/// What became of a reported nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A hit of the job.
    Counted,
    /// True, but above the target, outside the range, or known already.
    Dropped,
    /// The digest is not the nonce's.
    Wrong,
}

/// A work was lost too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostTooOften;

/// A job in progress.
#[derive(Debug)]
pub(crate) struct Job {
    search: SearchJob,
    /// Time fields begun so far.
    begun: u32,
    /// What is left of the time field begun last.
    rest: Option<NonceRange>,
    /// Pieces that come back from a device; never more than works were out.
    returned: VecDeque<Piece>,
    /// Works on devices.
    out: u32,
    hits: Vec<Hit>,
    /// Of the header's own time field.
    certain: Certain,
    timer_ended: bool,
    computed_by: Vec<ComputedBy>,
}

impl Job {
    /// A job of which nothing has begun; `search` has passed its own check.
    pub(crate) fn new(search: SearchJob) -> Self {
        Self {
            search,
            begun: 0,
            rest: None,
            returned: VecDeque::new(),
            out: 0,
            hits: Vec::new(),
            certain: Certain::default(),
            timer_ended: false,
            computed_by: Vec::new(),
        }
    }

    /// Hits after which the job ends.
    fn hits_max(&self) -> u16 {
        match self.search.mode {
            SearchMode::FirstFound(hits) => hits,
            SearchMode::Exhaust => SearchJob::MAX_HITS,
        }
    }

    /// Hits it still misses.
    pub(crate) fn hits_wanted(&self) -> u32 {
        u32::from(self.hits_max()).saturating_sub(self.hits.len() as u32)
    }

    /// The work that a piece asks for.
    pub(crate) fn work(&self, piece: Piece) -> Work {
        let header = self.search.header;
        let time = header.time().wrapping_add(piece.roll.into());
        header.with_time(time).work()
    }

    /// The bound for its hits.
    pub(crate) const fn target(&self) -> hasher_work::Target {
        self.search.target
    }

    /// Nonces of its range.
    pub(crate) const fn range_nonces(&self) -> u64 {
        self.search.range.count()
    }

    /// Whether some piece waits to be given away.
    pub(crate) fn has_more(&self) -> bool {
        !self.returned.is_empty()
            || self.rest.is_some()
            || self.begun <= u32::from(self.search.rolls)
    }

    /// The next piece for a device that sweeps so, if it may have one now. It then
    /// counts as out until [`Job::ended`] or [`Job::give_back`].
    pub(crate) fn issue(&mut self, sweep: Sweep, by: &ComputedBy) -> Option<Piece> {
        if self.hits_wanted() == 0 {
            return None;
        }
        let nonces = match sweep {
            Sweep::Timer(_) => {
                let searches_first = matches!(self.search.mode, SearchMode::FirstFound(_));
                if searches_first && self.out >= self.hits_wanted() + SPECULATIVE_WORKS {
                    return None;
                }
                u64::MAX
            }
            Sweep::Range { nonces_per_work } => nonces_per_work,
        };
        let piece = self.next_piece(nonces)?;
        self.out += 1;
        if !self.computed_by.contains(by) && self.computed_by.len() < MAX_COMPUTED_BY {
            self.computed_by.push(by.clone());
        }
        Some(piece)
    }

    fn next_piece(&mut self, nonces: u64) -> Option<Piece> {
        if let Some(piece) = self.returned.pop_front() {
            let (range, rest) = piece.range.split_at(nonces);
            if let Some(range) = rest {
                self.returned.push_front(Piece { range, ..piece });
            }
            let attempts = piece.attempts + 1;
            return Some(Piece {
                range,
                attempts,
                ..piece
            });
        }
        let range = match self.rest.take() {
            Some(rest) => rest,
            None if self.begun <= u32::from(self.search.rolls) => {
                self.begun += 1;
                self.search.range
            }
            None => return None,
        };
        let (range, rest) = range.split_at(nonces);
        self.rest = rest;
        Some(Piece {
            // At least one time field has begun, and at most 4096.
            roll: (self.begun - 1) as u16,
            range,
            attempts: 1,
        })
    }

    /// A device reports a nonce for a piece.
    pub(crate) fn hit(&mut self, piece: Piece, nonce: Nonce, digest: Digest) -> Verdict {
        if self.work(piece).digest(nonce) != digest {
            return Verdict::Wrong;
        }
        let time = self.search.header.time().wrapping_add(piece.roll.into());
        let known = self
            .hits
            .iter()
            .any(|hit| (hit.time, hit.nonce) == (time, nonce));
        if known
            || self.hits_wanted() == 0
            || !self.search.target.is_met_by(&digest)
            || !piece.range.contains(nonce)
        {
            return Verdict::Dropped;
        }
        self.hits.push(Hit {
            time,
            nonce,
            digest,
        });
        Verdict::Counted
    }

    /// A device is through with a piece, or lost it.
    ///
    /// # Errors
    /// [`LostTooOften`] when the piece was lost for the last time allowed.
    pub(crate) fn ended(&mut self, piece: Piece, end: WorkEnd) -> Result<(), LostTooOften> {
        self.out -= 1;
        match end {
            WorkEnd::Swept => self.swept(piece, piece.range.count()),
            WorkEnd::Stopped { tried } if tried > 0 => self.swept(piece, tried),
            WorkEnd::Timer => self.timer_ended = true,
            // A stop before the first nonce is no progress, so it counts as a loss.
            WorkEnd::Lost | WorkEnd::Stopped { .. } => {
                self.returned.push_front(piece);
                if piece.attempts >= WORK_ATTEMPTS_MAX {
                    return Err(LostTooOften);
                }
            }
        }
        Ok(())
    }

    /// A device did not take a piece after all; that is no attempt.
    pub(crate) fn give_back(&mut self, piece: Piece) {
        self.out -= 1;
        let attempts = piece.attempts - 1;
        self.returned.push_front(Piece { attempts, ..piece });
    }

    /// The first `tried` (at least 1) nonces of a piece are done; the rest comes back.
    fn swept(&mut self, piece: Piece, tried: u64) {
        let (done, rest) = piece.range.split_at(tried);
        if piece.roll == 0 {
            self.certain.add(self.search.range, done);
        }
        if let Some(range) = rest {
            let attempts = 0;
            self.returned.push_front(Piece {
                range,
                attempts,
                ..piece
            });
        }
    }

    /// Why the job is over, if it is: enough hits, or nothing left to try.
    pub(crate) fn end(&self) -> Option<SearchEnd> {
        if self.hits_wanted() == 0 {
            return Some(match self.search.mode {
                SearchMode::FirstFound(_) => SearchEnd::Found,
                SearchMode::Exhaust => SearchEnd::HitLimit,
            });
        }
        (self.out == 0 && !self.has_more()).then_some(if self.timer_ended {
            SearchEnd::TimerEnded
        } else {
            SearchEnd::Exhausted
        })
    }

    /// The answer, and who worked on it.
    pub(crate) fn into_result(self, end: SearchEnd) -> (SearchResult, Vec<ComputedBy>) {
        let result = SearchResult {
            hits: self.hits,
            end,
            certain_nonces: self.certain.nonces(),
            works: self.begun,
        };
        (result, self.computed_by)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hasher_wire::DeviceKind;
    use hasher_work::{Header, Target};

    use super::*;

    const TIMER: Sweep = Sweep::Timer(Duration::from_millis(18));
    const RANGE: Sweep = Sweep::Range {
        nonces_per_work: 40,
    };

    fn by() -> ComputedBy {
        ComputedBy {
            kind: DeviceKind::Cpu,
            device: "cpu-0".into(),
        }
    }

    fn job(mode: SearchMode, rolls: u16) -> Job {
        let search = SearchJob {
            header: Header([9; 80]),
            range: NonceRange::new(Nonce(0), Nonce(99)).unwrap(),
            target: Target::from_zero_bits(2).unwrap(),
            mode,
            rolls,
        };
        Job::new(search)
    }

    fn ranges(job: &mut Job, sweep: Sweep) -> Vec<(u16, u32, u32)> {
        std::iter::from_fn(|| job.issue(sweep, &by()))
            .map(|piece| (piece.roll, piece.range.first().0, piece.range.last().0))
            .collect()
    }

    #[test]
    fn a_range_device_gets_pieces_of_every_time_field() {
        let pieces = ranges(&mut job(SearchMode::Exhaust, 1), RANGE);
        let expected = [
            (0, 0, 39),
            (0, 40, 79),
            (0, 80, 99),
            (1, 0, 39),
            (1, 40, 79),
            (1, 80, 99),
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_timed_device_gets_one_work_per_time_field() {
        let pieces = ranges(&mut job(SearchMode::Exhaust, 2), TIMER);
        assert_eq!(pieces, [(0, 0, 99), (1, 0, 99), (2, 0, 99)]);
    }

    #[test]
    fn a_timed_search_for_the_first_hit_begins_one_attempt_ahead() {
        assert_eq!(
            ranges(&mut job(SearchMode::FirstFound(1), 99), TIMER).len(),
            2
        );
        assert_eq!(
            ranges(&mut job(SearchMode::FirstFound(5), 99), TIMER).len(),
            6
        );
    }

    #[test]
    fn what_one_kind_of_device_left_the_other_takes() {
        let mut job = job(SearchMode::Exhaust, 0);
        job.issue(RANGE, &by()).unwrap();
        assert_eq!(ranges(&mut job, TIMER), [(0, 40, 99)]);
    }

    #[test]
    fn an_exhausted_range_is_certain_and_holds_every_hit() {
        let mut job = job(SearchMode::Exhaust, 0);
        let mut expected = Vec::new();
        while let Some(piece) = job.issue(RANGE, &by()) {
            let work = job.work(piece);
            for nonce in piece.range.first().0..=piece.range.last().0 {
                let verdict = job.hit(piece, Nonce(nonce), work.digest(Nonce(nonce)));
                if work.verify(Nonce(nonce), 2).is_some() {
                    assert_eq!(verdict, Verdict::Counted);
                    expected.push(Nonce(nonce));
                } else {
                    assert_eq!(verdict, Verdict::Dropped);
                }
            }
            job.ended(piece, WorkEnd::Swept).unwrap();
        }
        assert_eq!(job.end(), Some(SearchEnd::Exhausted));
        let (result, computed_by) = job.into_result(SearchEnd::Exhausted);
        let nonces: Vec<_> = result.hits.iter().map(|hit| hit.nonce).collect();
        assert_eq!(nonces, expected);
        assert!(!expected.is_empty());
        assert_eq!((result.certain_nonces, result.works), (100, 1));
        assert_eq!(computed_by, [by()]);
    }

    #[test]
    fn a_timed_end_promises_nothing() {
        let mut job = job(SearchMode::Exhaust, 0);
        let piece = job.issue(TIMER, &by()).unwrap();
        assert_eq!(job.end(), None);
        job.ended(piece, WorkEnd::Timer).unwrap();
        assert_eq!(job.end(), Some(SearchEnd::TimerEnded));
        assert_eq!(job.into_result(SearchEnd::TimerEnded).0.certain_nonces, 0);
    }

    #[test]
    fn wrong_outside_and_repeated_nonces_are_no_hits() {
        let mut job = job(SearchMode::Exhaust, 0);
        let piece = job.issue(TIMER, &by()).unwrap();
        let work = job.work(piece);
        let good = |range: std::ops::Range<u32>| {
            range
                .map(Nonce)
                .find(|nonce| work.verify(*nonce, 2).is_some())
                .unwrap()
        };
        let inside = good(0..100);
        let outside = good(100..10_000);
        assert_eq!(job.hit(piece, inside, Digest([0; 32])), Verdict::Wrong);
        assert_eq!(
            job.hit(piece, outside, work.digest(outside)),
            Verdict::Dropped
        );
        assert_eq!(
            job.hit(piece, inside, work.digest(inside)),
            Verdict::Counted
        );
        assert_eq!(
            job.hit(piece, inside, work.digest(inside)),
            Verdict::Dropped
        );
        assert_eq!(job.hits.len(), 1);
    }

    #[test]
    fn a_lost_work_is_tried_three_times() {
        let mut job = job(SearchMode::Exhaust, 0);
        for _ in 0..2 {
            let piece = job.issue(TIMER, &by()).unwrap();
            assert_eq!(job.ended(piece, WorkEnd::Lost), Ok(()));
        }
        let piece = job.issue(TIMER, &by()).unwrap();
        job.give_back(piece);
        let piece = job.issue(TIMER, &by()).unwrap();
        assert_eq!(job.ended(piece, WorkEnd::Lost), Err(LostTooOften));
        assert_eq!(job.end(), None, "what was lost is not exhausted");
    }

    #[test]
    fn a_stop_before_the_hits_are_complete_continues_where_it_stopped() {
        let mut job = job(SearchMode::Exhaust, 0);
        let piece = job.issue(RANGE, &by()).unwrap();
        job.ended(piece, WorkEnd::Stopped { tried: 10 }).unwrap();
        assert_eq!(job.certain.nonces(), 10);
        assert_eq!(ranges(&mut job, RANGE)[0], (0, 10, 39));
    }
}
