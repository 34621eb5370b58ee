//! Candidates run in turn, again and again, so that whatever disturbs the machine
//! disturbs all of them; only ratios within one turn are believed.

use std::convert::Infallible;
use std::time::Duration;

use crate::clock::{clock_ghz, thread_time};

/// Time that one run of a candidate should take: long against a clock's grain,
/// short against a change of the machine's load.
const RUN: Duration = Duration::from_millis(12);

/// Something to be measured, a turn at a time.
pub struct Candidate<'a, T = u64> {
    /// What the table calls it.
    pub name: String,
    /// Does some work; how many units of it, or what else a turn showed.
    pub run: Box<dyn FnMut() -> T + 'a>,
}

impl<'a, T> Candidate<'a, T> {
    /// A candidate.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> T + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// Lets all candidates run `turns` times; what each showed, turn by turn.
///
/// # Errors
/// The first of a candidate, which ends it.
pub fn take_turns<T, E>(
    candidates: Vec<Candidate<'_, Result<T, E>>>,
    turns: usize,
) -> Result<Vec<(String, Vec<T>)>, E> {
    let mut lanes: Vec<_> = candidates.into_iter().map(|c| (c, Vec::new())).collect();
    for _ in 0..turns {
        for (candidate, shown) in &mut lanes {
            shown.push((candidate.run)()?);
        }
    }
    let lanes = lanes.into_iter();
    Ok(lanes.map(|(lane, shown)| (lane.name, shown)).collect())
}

/// What one candidate showed, turn by turn.
pub struct Lane {
    /// Its name.
    pub name: String,
    /// Nanoseconds of thread time for one unit.
    pub nanoseconds: Vec<f64>,
    /// Cycles for one unit.
    pub cycles: Vec<f64>,
}

/// Times all candidates in `turns` turns.
pub fn race(candidates: Vec<Candidate<'_>>, turns: usize) -> Vec<Lane> {
    let timed = candidates.into_iter().map(|mut candidate| {
        let runs = runs(&mut candidate);
        Candidate::new(candidate.name, move || {
            let before = clock_ghz();
            let begin = thread_time();
            let units: u64 = (0..runs).map(|_| (candidate.run)()).sum();
            let spent = thread_time() - begin;
            let ghz = (before + clock_ghz()) / 2.0;
            let nanoseconds = spent.as_nanos() as f64 / units as f64;
            Ok::<_, Infallible>((nanoseconds, nanoseconds * ghz))
        })
    });
    let Ok(lanes) = take_turns(timed.collect(), turns);
    let lanes = lanes.into_iter().map(|(name, shown)| {
        let (nanoseconds, cycles) = shown.into_iter().unzip();
        Lane {
            name,
            nanoseconds,
            cycles,
        }
    });
    lanes.collect()
}

/// How often a candidate must run to fill [`RUN`]; warms it up.
fn runs(candidate: &mut Candidate<'_>) -> u32 {
    let begin = thread_time();
    let mut runs = 0;
    while runs < 3 || thread_time() - begin < RUN {
        (candidate.run)();
        runs += 1;
    }
    let one = (thread_time() - begin) / runs;
    (RUN.as_nanos() / one.as_nanos().max(1)).clamp(1, 1 << 20) as u32
}

/// Median and quartiles of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// A quarter of the figures lies below.
    pub low: f64,
    /// Half of them lies below.
    pub median: f64,
    /// Three quarters of them lie below.
    pub high: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| figures[((figures.len() - 1) as f64 * share).round() as usize];
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }

    /// How many times faster `lane` is than `base`, turn by turn.
    pub fn of_speed(base: &Lane, lane: &Lane) -> Self {
        let pairs = base.nanoseconds.iter().zip(&lane.nanoseconds);
        Self::of(pairs.map(|(base, lane)| base / lane))
    }
}
