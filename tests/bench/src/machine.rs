//! What this CPU could do at best: how many vector instructions begin in a cycle.
//!
//! CPUs with the same instructions differ by a factor of two here, and so does what can
//! be asked of a loop. No table of models: it is measured.

use std::fmt;

use crate::clock::clock_ghz;
use crate::race::Spread;

/// Vector instructions that one double hash costs a lane, after everything constant is
/// folded: 1427 for the header's second block, 1421 for the second hash, of sixteen lanes.
const OPERATIONS_PER_HASH: f64 = 2848.0 / 16.0;
/// Rotations and shifts among them, which fewer units can do.
const ROTATIONS_PER_HASH: f64 = 1176.0 / 16.0;

/// The CPU under test.
pub struct Machine {
    model: String,
    cpus: usize,
    load: String,
    ghz: f64,
    width: Option<Width>,
}

/// 512-bit instructions that begin in a cycle.
#[derive(Debug, Clone, Copy)]
struct Width {
    additions: f64,
    rotations: f64,
}

/// What to expect of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Four 512-bit additions and two rotations a cycle, as a server's Zen 5 has.
    Wide,
    /// AVX-512 with about half of that, as Intel's CPUs and Zen 4 have.
    Narrow,
    /// No AVX-512.
    Other,
}

impl Machine {
    /// Looks at this machine.
    pub fn look() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("unknown CPU", |text| {
            text.trim_start_matches([' ', '\t', ':'])
        });
        Self {
            model: model.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or("?")
                .to_owned(),
            ghz: Spread::of((0..9).map(|_| clock_ghz())).median,
            width: vector::width(),
        }
    }

    /// What to expect.
    pub fn class(&self) -> Class {
        match self.width {
            Some(width) if width.additions > 3.0 && width.rotations > 1.5 => Class::Wide,
            Some(_) => Class::Narrow,
            None => Class::Other,
        }
    }

    /// Cycles that a double hash costs at least with AVX-512.
    pub fn cycles_per_hash_least(&self) -> Option<f64> {
        self.width.map(|width| {
            let all = OPERATIONS_PER_HASH / width.additions;
            all.max(ROTATIONS_PER_HASH / width.rotations)
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} CPUs, {:.2} GHz, load {} before the run.",
            self.model, self.cpus, self.ghz, self.load
        )?;
        if let (Some(width), Some(least)) = (self.width, self.cycles_per_hash_least()) {
            writeln!(
                f,
                "512-bit instructions a cycle: {:.2} additions, {:.2} rotations; a double hash \
                 takes at least {least:.1} cycles.",
                width.additions, width.rotations
            )?;
        }
        Ok(())
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod vector {
    pub fn width() -> Option<super::Width> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions are measured")]
mod vector {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::Width;
    use crate::clock::{clock_ghz, thread_time};
    use crate::race::Spread;

    const LOOPS: usize = 20_000;
    /// Independent chains: more than any CPU's latency times width.
    const CHAINS: usize = 12;

    pub fn width() -> Option<Width> {
        if !is_x86_feature_detected!("avx512f") {
            return None;
        }
        // SAFETY: the CPU has AVX-512 F.
        let (add, rotate): (fn(), fn()) = (|| unsafe { add() }, || unsafe { rotate() });
        Some(Width {
            additions: 2.0 * per_cycle(add),
            rotations: per_cycle(rotate),
        })
    }

    fn per_cycle(run: fn()) -> f64 {
        let tries = (0..15).map(|_| {
            let before = clock_ghz();
            let begin = thread_time();
            run();
            let nanoseconds = (thread_time() - begin).as_nanos() as f64;
            let ghz = (before + clock_ghz()) / 2.0;
            (LOOPS * CHAINS) as f64 / (nanoseconds * ghz)
        });
        Spread::of(tries).median
    }

    #[target_feature(enable = "avx512f")]
    fn add() {
        let step = black_box(_mm512_set1_epi32(3));
        let mut chains = [step; CHAINS];
        for _ in 0..LOOPS {
            for chain in &mut chains {
                // Two kinds in turn, so that no compiler sums them up.
                *chain = _mm512_xor_si512(_mm512_add_epi32(*chain, step), step);
            }
        }
        black_box(chains);
    }

    #[target_feature(enable = "avx512f")]
    fn rotate() {
        // By a number that the compiler does not know, so that it merges none.
        let by = black_box(_mm512_set1_epi32(7));
        let mut chains = [by; CHAINS];
        for _ in 0..LOOPS {
            for chain in &mut chains {
                *chain = _mm512_rorv_epi32(*chain, by);
            }
        }
        black_box(chains);
    }
}
