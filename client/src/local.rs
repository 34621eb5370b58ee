//! Searches on this process's CPU.
//!
//! Owns the splitting of jobs over threads; never opens a socket. The answer of a
//! job is the same for any number of threads: hits come in the order of time
//! fields and nonces, and a search for the first n gives the first n in that order.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hasher_kernel::{ScanOrder, scan};
use hasher_work::{Hit, SearchEnd, SearchJob, SearchMode, SearchResult};

use crate::{ClientError, ComputedBy, Engine, SearchAnswer};

/// Most threads a [`LocalEngine`] starts; more than any machine this runs on has.
const THREADS_MAX: usize = 256;
/// Nonces one thread tries before it looks at the clock and at what the others
/// have found: milliseconds of work, so the look costs nothing (inferred).
const SLICE_NONCES: u64 = 1 << 14;
/// Time for a batch unless the caller says otherwise.
const DEADLINE: Duration = crate::builder::DEADLINE;

/// Searches on the CPU of this process, without any daemon.
///
/// ```
/// use hasher_client::{ComputedKind, Engine, LocalEngine};
/// use hasher_work::{Header, NonceRange, SearchJob, SearchMode, Target};
///
/// let job = SearchJob {
///     header: Header([7; 80]),
///     range: NonceRange::WHOLE,
///     target: Target::from_zero_bits(10)?,
///     mode: SearchMode::FirstFound(1),
///     rolls: 0,
/// };
/// let answer = LocalEngine::default().search_one(&job)?;
/// assert_eq!(answer.by[0].kind, ComputedKind::Local);
/// assert!(answer.result.hits[0].digest.leading_zero_bits() >= 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct LocalEngine {
    threads: usize,
    deadline: Duration,
}

impl Default for LocalEngine {
    /// On the calling thread alone.
    fn default() -> Self {
        Self {
            threads: 1,
            deadline: DEADLINE,
        }
    }
}

impl LocalEngine {
    /// On so many threads (cut to 256); one means the calling thread.
    pub fn with_threads(threads: NonZero<usize>) -> Self {
        Self {
            threads: threads.get().min(THREADS_MAX),
            ..Self::default()
        }
    }

    /// Time that one call may take, 60 s at first.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl Engine for LocalEngine {
    fn search(&self, jobs: &[SearchJob]) -> Result<Vec<SearchAnswer>, ClientError> {
        for job in jobs {
            job.check()?;
        }
        // A deadline beyond the clock's range is none at all.
        let deadline = Instant::now().checked_add(self.deadline);
        let results: Option<Vec<SearchResult>> = if jobs.len() < self.threads {
            let run = |job| search_job(job, self.threads, deadline);
            jobs.iter().map(run).collect()
        } else {
            search_jobs(jobs, self.threads, deadline)
        };
        Ok(results
            .ok_or_else(ClientError::deadline)?
            .into_iter()
            .map(|result| SearchAnswer {
                result,
                by: vec![ComputedBy::local()],
            })
            .collect())
    }
}

/// Each thread takes whole jobs. Nothing when the deadline passed.
fn search_jobs(
    jobs: &[SearchJob],
    threads: usize,
    deadline: Option<Instant>,
) -> Option<Vec<SearchResult>> {
    if threads == 1 {
        return jobs
            .iter()
            .map(|job| search_job(job, 1, deadline))
            .collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        while let Some((index, job)) = take(&next, jobs) {
            done.push((index, search_job(job, 1, deadline)?));
        }
        Some(done)
    };
    let mut results = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut results = Vec::with_capacity(jobs.len());
        for handle in handles {
            results.extend(handle.join().expect("a search does not panic")?);
        }
        Some(results)
    })?;
    results.sort_unstable_by_key(|(index, _)| *index);
    Some(results.into_iter().map(|(_, result)| result).collect())
}

fn take<'a>(next: &AtomicUsize, jobs: &'a [SearchJob]) -> Option<(usize, &'a SearchJob)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(index).map(|job| (index, job))
}

/// One job over all threads. Nothing when the deadline passed.
fn search_job(job: &SearchJob, threads: usize, deadline: Option<Instant>) -> Option<SearchResult> {
    let progress = Mutex::new(Progress::new(job));
    if threads == 1 {
        run_slices(job, &progress, deadline);
    } else {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| run_slices(job, &progress, deadline));
            }
        });
    }
    progress
        .into_inner()
        .expect("no thread panics while it notes a slice")
        .result()
}

fn run_slices(job: &SearchJob, progress: &Mutex<Progress>, deadline: Option<Instant>) {
    // Held for a few instructions once a slice, never while hashing.
    let lock = || {
        progress
            .lock()
            .expect("no thread panics while it notes a slice")
    };
    let wanted = wanted(job);
    loop {
        let Some(slice) = lock().take() else { return };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            lock().give_up();
            return;
        }
        let (roll, first, count) = place(job, slice);
        let time = job.header.time().wrapping_add(roll);
        let work = job.header.with_time(time).work();
        let mut hits = Vec::new();
        let tried = scan(
            &work,
            first,
            count,
            ScanOrder::Header,
            &job.target,
            |nonce, digest| {
                hits.push(Hit {
                    time,
                    nonce,
                    digest,
                });
                hits.len() < wanted
            },
        );
        lock().done(slice, hits, tried);
    }
}

/// Hits after which a search ends.
const fn wanted(job: &SearchJob) -> usize {
    match job.mode {
        SearchMode::FirstFound(hits) => hits as usize,
        SearchMode::Exhaust => SearchJob::MAX_HITS as usize,
    }
}

const fn slices_a_header(job: &SearchJob) -> u64 {
    job.range.count().div_ceil(SLICE_NONCES)
}

/// Where slice number `slice` lies: roll of the time field, first nonce, count.
const fn place(job: &SearchJob, slice: u64) -> (u32, u32, u64) {
    let a_header = slices_a_header(job);
    let offset = slice % a_header * SLICE_NONCES;
    let left = job.range.count() - offset;
    let count = if left < SLICE_NONCES {
        left
    } else {
        SLICE_NONCES
    };
    // rolls < 2^16 and offset < 2^32, so both conversions are exact.
    let roll = (slice / a_header) as u32;
    (roll, job.range.first().0 + offset as u32, count)
}

/// What is known about one job while threads work on it.
struct Progress<'a> {
    job: &'a SearchJob,
    slices: u64,
    /// Next slice that nobody has taken.
    next: u64,
    /// Slices below this are all done and noted.
    noted: u64,
    /// Slices done out of order; never more than there are threads.
    early: BTreeMap<u64, (Vec<Hit>, u64)>,
    hits: Vec<Hit>,
    /// Nonces tried without a gap under the header's own time field.
    certain: u64,
    gave_up: bool,
}

impl<'a> Progress<'a> {
    fn new(job: &'a SearchJob) -> Self {
        Self {
            job,
            slices: slices_a_header(job) * (u64::from(job.rolls) + 1),
            next: 0,
            noted: 0,
            early: BTreeMap::new(),
            hits: Vec::new(),
            certain: 0,
            gave_up: false,
        }
    }

    fn is_satisfied(&self) -> bool {
        self.hits.len() >= wanted(self.job)
    }

    fn take(&mut self) -> Option<u64> {
        let is_over = self.gave_up || self.is_satisfied() || self.next == self.slices;
        (!is_over).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn give_up(&mut self) {
        self.gave_up = true;
    }

    fn done(&mut self, slice: u64, hits: Vec<Hit>, tried: u64) {
        self.early.insert(slice, (hits, tried));
        while !self.is_satisfied()
            && let Some((hits, tried)) = self.early.remove(&self.noted)
        {
            let missing = wanted(self.job) - self.hits.len();
            let (roll, first, _) = place(self.job, self.noted);
            let certain = match hits.get(missing - 1) {
                // Behind the last hit wanted nothing counts any more.
                Some(last) => u64::from(last.nonce.0 - first) + 1,
                None => tried,
            };
            if roll == 0 {
                self.certain += certain;
            }
            self.hits.extend(hits.into_iter().take(missing));
            self.noted += 1;
        }
    }

    /// Nothing when the deadline came first.
    fn result(self) -> Option<SearchResult> {
        let end = match (self.is_satisfied(), self.job.mode) {
            (true, SearchMode::FirstFound(_)) => SearchEnd::Found,
            (true, SearchMode::Exhaust) => SearchEnd::HitLimit,
            (false, _) if self.gave_up => return None,
            (false, _) => SearchEnd::Exhausted,
        };
        let last = self.noted.saturating_sub(1);
        Some(SearchResult {
            hits: self.hits,
            end,
            certain_nonces: self.certain,
            works: place(self.job, last).0 + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::{Header, Nonce, NonceRange, Target};
    use proptest::prelude::*;

    use super::*;

    fn threads(threads: usize) -> LocalEngine {
        LocalEngine::with_threads(NonZero::new(threads).unwrap())
    }

    fn job(bits: u32, first: u32, count: u32, mode: SearchMode, rolls: u16) -> SearchJob {
        SearchJob {
            header: Header([9; 80]),
            range: NonceRange::new(Nonce(first), Nonce(first + (count - 1))).unwrap(),
            target: Target::from_zero_bits(bits).unwrap(),
            mode,
            rolls,
        }
    }

    /// Every hit, by hashing whole headers.
    fn brute_force(job: &SearchJob) -> Vec<Hit> {
        let mut hits = Vec::new();
        for roll in 0..=u32::from(job.rolls) {
            let time = job.header.time().wrapping_add(roll);
            for nonce in job.range.first().0..=job.range.last().0 {
                let nonce = Nonce(nonce);
                let digest = job.header.with_time(time).with_nonce(nonce).double_digest();
                if job.target.is_met_by(&digest) {
                    hits.push(Hit {
                        time,
                        nonce,
                        digest,
                    });
                }
            }
        }
        hits
    }

    #[test]
    fn an_exhausted_search_equals_brute_force_on_any_number_of_threads() {
        let job = job(9, 5, 3 * SLICE_NONCES as u32 + 17, SearchMode::Exhaust, 1);
        let expected = brute_force(&job);
        assert!((100..256).contains(&expected.len()), "{}", expected.len());
        for n in [1, 2, 5] {
            let answer = threads(n).search_one(&job).unwrap();
            assert_eq!(answer.result.hits, expected);
            assert_eq!(answer.result.end, SearchEnd::Exhausted);
            assert_eq!(answer.result.certain_nonces, job.range.count());
            assert_eq!(answer.result.works, 2);
            assert_eq!(answer.by, [ComputedBy::local()]);
        }
    }

    #[test]
    fn the_first_hits_are_the_first_on_any_number_of_threads() {
        let one_header = 2 * SLICE_NONCES as u32;
        let mut job = job(12, 0, one_header, SearchMode::Exhaust, 9);
        let all = brute_force(&job);
        let later = all.iter().position(|hit| hit.time != all[0].time).unwrap();
        for wanted in [1, 2, later as u16 + 2] {
            job.mode = SearchMode::FirstFound(wanted);
            for n in [1, 2, 3, 7] {
                let result = threads(n).search_one(&job).unwrap().result;
                assert_eq!(result.hits, all[..usize::from(wanted)]);
                assert_eq!(result.end, SearchEnd::Found);
                let last = result.hits.last().unwrap();
                if last.time == job.header.time() {
                    assert_eq!(result.certain_nonces, u64::from(last.nonce.0) + 1);
                    assert_eq!(result.works, 1);
                } else {
                    assert_eq!(result.certain_nonces, u64::from(one_header));
                    assert_eq!(result.works, last.time - job.header.time() + 1);
                }
            }
        }
    }

    #[test]
    fn a_batch_is_answered_in_its_order() {
        // Long enough that several threads get some of them.
        let jobs: Vec<_> = (0..20)
            .map(|i| job(9, i * 10_000, 10_000, SearchMode::Exhaust, 0))
            .collect();
        let expected: Vec<_> = jobs.iter().map(brute_force).collect();
        for n in [1, 3, 40] {
            let answers = threads(n).search(&jobs).unwrap();
            let hits: Vec<_> = answers.into_iter().map(|a| a.result.hits).collect();
            assert_eq!(hits, expected);
        }
    }

    #[test]
    fn hits_are_bounded_and_the_end_says_so() {
        let job = job(0, 0, 10_000, SearchMode::Exhaust, 3);
        for n in [1, 4] {
            let result = threads(n).search_one(&job).unwrap().result;
            assert_eq!(result.end, SearchEnd::HitLimit);
            assert_eq!(result.hits, brute_force(&job)[..256]);
            assert_eq!((result.certain_nonces, result.works), (256, 1));
        }
    }

    #[test]
    fn a_search_ends_at_its_deadline() {
        let job = job(200, 0, u32::MAX, SearchMode::FirstFound(1), 4095);
        for n in [1, 2] {
            let engine = threads(n).deadline(Duration::from_millis(5));
            let error = engine.search_one(&job).unwrap_err();
            assert_eq!(error.status(), Some(hasher_wire::Status::Deadline));
        }
    }

    #[test]
    fn a_bad_job_is_refused_and_no_job_is_an_empty_answer() {
        let bad = job(1, 0, 1, SearchMode::FirstFound(0), 0);
        let refused = LocalEngine::default().search_one(&bad);
        assert!(matches!(refused, Err(ClientError::BadJob(_))));
        assert_eq!(LocalEngine::default().search(&[]).unwrap(), []);
    }

    proptest! {
        #[test]
        fn small_searches_equal_brute_force(
            bytes in any::<[u8; 20]>(),
            first in 0..u32::MAX - 600,
            count in 1u32..600,
            bits in 0u32..9,
            wanted in 1u16..5,
            rolls in 0u16..3,
            threads_wanted in 1usize..4,
        ) {
            let mut job = job(bits, first, count, SearchMode::FirstFound(wanted), rolls);
            job.header.0[60..80].copy_from_slice(&bytes);
            let mut expected = brute_force(&job);
            expected.truncate(wanted.into());
            let result = threads(threads_wanted).search_one(&job).unwrap().result;
            let found = expected.len() == usize::from(wanted);
            prop_assert_eq!(result.hits, expected);
            prop_assert_eq!(result.end == SearchEnd::Found, found);
        }
    }
}
