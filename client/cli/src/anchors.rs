//! Anchors by hash work: the model asks, the daemon's devices search.
//!
//! Owns the bridge from `hasher-model`'s [`AnchorSource`] to `hasher-client`'s
//! [`Engine`], and the account of who did the work. It never computes an anchor
//! itself and never judges one; the model checks every solution.

use std::time::{Duration, Instant};

use hasher_client::{ComputedBy, Engine};
use hasher_model::{AnchorRequest, AnchorSource, Solution};
use hasher_work::{Hit, NonceRange, SearchJob};

use crate::error::CliError;
use crate::progress::Progress;

/// Further time fields that a job on a timed device offers, so that a work without
/// a hit costs no round trip. With a yield of 0.83 a work (the poorest board),
/// sixteen works miss once in 600 000.
const ROLLS: u16 = 15;
/// Jobs handed over at once: enough to keep a board busy, few enough that the
/// progress moves.
const JOBS_AT_ONCE: usize = 8;
/// Time fields after which an anchor is given up on a timed device.
const ATTEMPTS_MAX: u32 = 1 << 16;
/// Time fields after which an anchor is given up on a CPU, which tries all nonces
/// of each: a miss of 64 whole ranges at 32 zero bits has probability e^-64.
const RANGES_MAX: u32 = 64;
/// Nonces of the first piece of a search on a CPU.
const FIRST_PIECE: u64 = 1 << 20;
/// Time that a piece on a CPU should take: a person sees that it goes on, and no
/// deadline is near.
const PIECE_TIME: Duration = Duration::from_millis(500);

/// How the devices end a work, which decides how to ask them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Boards, real or simulated: a timer ends a work, nobody knows what was tried.
    /// Whole nonce ranges, several time fields, many anchors at once.
    Timer,
    /// CPUs only: what was tried is certain, so a long search goes piece by piece.
    Range,
}

/// What the anchors cost and who paid.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Anchors solved.
    pub anchors: usize,
    /// Works that devices were given for them.
    pub works: u64,
    /// The devices, in the order of their first work.
    pub by: Vec<ComputedBy>,
}

/// An engine as the source of a model's anchors.
pub struct DeviceAnchors<'a> {
    engine: &'a dyn Engine,
    pace: Pace,
    progress: &'a Progress,
    /// What was done so far.
    pub account: Account,
}

impl<'a> DeviceAnchors<'a> {
    /// Anchors from `engine`; `progress` counts the solved ones.
    pub fn new(engine: &'a dyn Engine, pace: Pace, progress: &'a Progress) -> Self {
        Self {
            engine,
            pace,
            progress,
            account: Account::default(),
        }
    }

    /// All anchors of one slice together, then again those that had no luck.
    fn solve_on_timer(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, CliError> {
        let mut solutions: Vec<Option<Solution>> = vec![None; wanted.len()];
        let mut attempt = 0;
        while attempt < ATTEMPTS_MAX {
            let open: Vec<usize> = (0..wanted.len())
                .filter(|at| solutions[*at].is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            let jobs: Vec<SearchJob> = open
                .iter()
                .map(|at| job(&wanted[*at], ROLLS, attempt))
                .collect();
            for (at, hit) in open.into_iter().zip(self.search(&jobs)?) {
                solutions[at] = hit.map(solution);
            }
            attempt += u32::from(ROLLS) + 1;
        }
        solutions
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| no_luck(ATTEMPTS_MAX))
    }

    /// One anchor after the other, each in pieces of about [`PIECE_TIME`].
    fn solve_on_cpu(&mut self, wanted: &AnchorRequest) -> Result<Solution, CliError> {
        let mut piece = FIRST_PIECE;
        let mut tried = 0.0;
        for attempt in 0..RANGES_MAX {
            let whole = job(wanted, 0, attempt);
            let mut rest = Some(whole.range);
            while let Some(range) = rest {
                let (head, tail) = range.split_at(piece);
                let begin = Instant::now();
                let hits = self.search(&[SearchJob {
                    range: head,
                    ..whole
                }])?;
                if let [Some(hit)] = hits.as_slice() {
                    return Ok(solution(*hit));
                }
                tried += head.count() as f64;
                self.say(&format!(", {:.0} million nonces tried", tried / 1e6));
                piece = next_piece(piece, begin.elapsed());
                rest = tail;
            }
        }
        Err(no_luck(RANGES_MAX))
    }

    /// The first hit of each job, and the account.
    fn search(&mut self, jobs: &[SearchJob]) -> Result<Vec<Option<Hit>>, CliError> {
        let answers = self.engine.search(jobs)?;
        Ok(answers
            .into_iter()
            .map(|answer| {
                self.account.works += u64::from(answer.result.works);
                for by in answer.by {
                    if !self.account.by.contains(&by) {
                        self.account.by.push(by);
                    }
                }
                answer.result.hits.first().copied()
            })
            .collect())
    }

    fn say(&self, more: &str) {
        let solved = self.account.anchors;
        self.progress
            .at(solved as u64, format!("{solved} anchors found{more}"));
    }
}

impl AnchorSource for DeviceAnchors<'_> {
    type Error = CliError;

    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, CliError> {
        let mut solutions = Vec::with_capacity(wanted.len());
        let slice = match self.pace {
            Pace::Timer => JOBS_AT_ONCE,
            Pace::Range => 1,
        };
        for some in wanted.chunks(slice) {
            match self.pace {
                Pace::Timer => solutions.extend(self.solve_on_timer(some)?),
                Pace::Range => solutions.push(self.solve_on_cpu(&some[0])?),
            }
            self.account.anchors += some.len();
            self.say("");
        }
        Ok(solutions)
    }
}

/// The search for one anchor from this attempt on.
fn job(wanted: &AnchorRequest, rolls: u16, attempt: u32) -> SearchJob {
    let job = wanted.search_job(rolls);
    SearchJob {
        header: job.header.with_time(attempt),
        ..job
    }
}

fn solution(hit: Hit) -> Solution {
    Solution {
        attempt: hit.time,
        nonce: hit.nonce,
    }
}

fn next_piece(piece: u64, took: Duration) -> u64 {
    if took < PIECE_TIME / 2 {
        (piece * 2).min(NonceRange::WHOLE.count())
    } else if took > PIECE_TIME * 2 {
        (piece / 2).max(FIRST_PIECE)
    } else {
        piece
    }
}

fn no_luck(attempts: u32) -> CliError {
    CliError::failed(format!("no anchor was found in {attempts} attempts"))
        .hint("ask for fewer --zero-bits, or look at `hasher status`")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hasher_client::{ClientError, LocalEngine, SearchAnswer};
    use hasher_model::{AnchorPoint, Level, Mode, ModelId};
    use hasher_work::{Digest, SearchEnd, SearchResult};

    use super::*;
    use crate::output::Output;
    use crate::progress;

    fn wanted(count: u16, zero_bits: u32) -> Vec<AnchorRequest> {
        (0..count)
            .map(|pass| {
                AnchorRequest::new(
                    ModelId(Digest([3; 32])),
                    &Digest([4; 32]),
                    Level::Pass,
                    AnchorPoint {
                        pass: Some(pass),
                        layer: None,
                        state: Digest([0; 32]),
                    },
                    Mode::Work { zero_bits },
                )
            })
            .collect()
    }

    fn quiet() -> Progress {
        progress::bar(&Output::new(false, true), 1, "")
    }

    #[test]
    fn every_anchor_is_solved_and_accounted_at_both_paces() {
        for pace in [Pace::Timer, Pace::Range] {
            let engine = LocalEngine::default();
            let progress = quiet();
            let mut source = DeviceAnchors::new(&engine, pace, &progress);
            let wanted = wanted(19, 9);
            let solutions = source.solve(&wanted).unwrap();
            assert_eq!(solutions.len(), wanted.len());
            for (request, solution) in wanted.iter().zip(solutions) {
                assert!(request.check(solution).unwrap().leading_zero_bits() >= 9);
            }
            assert_eq!(source.account.anchors, 19);
            assert!(source.account.works >= 19);
            assert_eq!(source.account.by, [ComputedBy::local()]);
        }
    }

    /// A device without luck: answers the first `misses` searches with nothing.
    struct Unlucky {
        misses: Mutex<usize>,
    }

    impl Engine for Unlucky {
        fn search(&self, jobs: &[SearchJob]) -> Result<Vec<SearchAnswer>, ClientError> {
            let mut misses = self.misses.lock().unwrap();
            if *misses == 0 {
                return LocalEngine::default().search(jobs);
            }
            *misses -= 1;
            let nothing = SearchAnswer {
                result: SearchResult {
                    hits: Vec::new(),
                    end: SearchEnd::TimerEnded,
                    certain_nonces: 0,
                    works: 16,
                },
                by: Vec::new(),
            };
            Ok(vec![nothing; jobs.len()])
        }
    }

    #[test]
    fn a_miss_goes_on_with_the_next_time_fields() {
        let engine = Unlucky {
            misses: Mutex::new(2),
        };
        let progress = quiet();
        let mut source = DeviceAnchors::new(&engine, Pace::Timer, &progress);
        let wanted = wanted(1, 8);
        let solutions = source.solve(&wanted).unwrap();
        assert!(wanted[0].check(solutions[0]).is_ok());
        assert!((32..48).contains(&solutions[0].attempt));
    }

    #[test]
    fn a_device_that_never_finds_is_given_up() {
        let engine = Unlucky {
            misses: Mutex::new(usize::MAX),
        };
        let progress = quiet();
        let mut source = DeviceAnchors::new(&engine, Pace::Timer, &progress);
        let error = source.solve(&wanted(1, 8)).unwrap_err();
        assert!(error.message.contains("65536 attempts"), "{error}");
    }

    #[test]
    fn pieces_follow_the_speed_of_the_cpu() {
        assert_eq!(
            next_piece(FIRST_PIECE, Duration::from_millis(1)),
            FIRST_PIECE * 2
        );
        assert_eq!(next_piece(FIRST_PIECE, Duration::from_secs(9)), FIRST_PIECE);
        assert_eq!(next_piece(1 << 32, Duration::ZERO), 1 << 32);
        assert_eq!(next_piece(1 << 30, PIECE_TIME), 1 << 30);
    }
}
