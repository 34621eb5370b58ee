//! How far device time falls behind the user's clock.
//!
//! Owns the time that was skipped because hashing could not keep up, and the figure
//! that users see. No clock of its own. Called by [`super::transport`].

use std::collections::VecDeque;
use std::time::Duration;

/// Lag that the device may catch up with afterwards: a busy moment of the machine
/// costs nothing, a machine that is too slow does not build up a debt.
pub const CATCH_UP: Duration = Duration::from_millis(250);
/// The slowdown is measured over about so long (longer if no tick fits).
pub const SLOWDOWN_WINDOW: Duration = Duration::from_secs(2);
/// Time between two samples, and between two changes of the figure: a figure that
/// changed with every look would keep its readers busy with it.
const SAMPLE_PERIOD: Duration = Duration::from_millis(250);
/// Least device time that a ratio is made of, so that it stays finite.
const LEAST: Duration = Duration::from_millis(1);

/// Skipped time and recent progress.
#[derive(Debug)]
pub(super) struct Pace {
    skipped: Duration,
    /// Bench and device time at moments at which the device had moved on.
    samples: VecDeque<(Duration, Duration)>,
    slowdown: f64,
    measured_at: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        let start = (Duration::ZERO, Duration::ZERO);
        Self {
            skipped: Duration::ZERO,
            samples: VecDeque::from([start]),
            slowdown: 1.0,
            measured_at: Duration::ZERO,
        }
    }

    /// Device time that will never be made up for.
    pub(super) const fn skipped(&self) -> Duration {
        self.skipped
    }

    /// Takes note of both clocks. `may_skip`: lag beyond [`CATCH_UP`] is given up.
    pub(super) fn note(&mut self, bench: Duration, device: Duration, may_skip: bool) {
        let lag = bench.saturating_sub(self.skipped).saturating_sub(device);
        let over = lag.saturating_sub(CATCH_UP);
        if may_skip {
            self.skipped += over;
        }
        if bench < self.measured_at + SAMPLE_PERIOD {
            return;
        }
        self.measured_at = bench;
        // Lag within the allowance counts as kept up.
        let kept_up = device + (lag - over);
        while self.samples.len() > 2 && self.samples[1].0 + SLOWDOWN_WINDOW <= bench {
            self.samples.pop_front();
        }
        let (since, device_then) = self.samples.front().copied().unwrap_or_default();
        let user = bench.saturating_sub(since);
        let own = kept_up.saturating_sub(device_then).max(LEAST);
        self.slowdown = (user.as_secs_f64() / own.as_secs_f64()).max(1.0);
        if self.samples.back().is_none_or(|(_, last)| kept_up > *last) {
            self.samples.push_back((bench, kept_up));
        }
    }

    /// How many times slower than the user's clock the device runs, at least 1.
    pub(super) const fn slowdown(&self) -> f64 {
        self.slowdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_device_that_keeps_up_is_not_slow() {
        let mut pace = Pace::new();
        for t in 0..10_000 {
            pace.note(ms(t), ms(t.saturating_sub(t % 200)), true);
            assert_eq!(pace.slowdown(), 1.0, "{t}");
        }
        assert_eq!(pace.skipped(), Duration::ZERO);
    }

    #[test]
    fn a_device_at_a_quarter_of_the_pace_is_four_times_slower() {
        let mut pace = Pace::new();
        for t in (0..60_000).step_by(10) {
            pace.note(ms(t), ms(t / 4), true);
            assert!(pace.skipped() <= ms(t - t / 4));
        }
        assert!((pace.slowdown() - 4.0).abs() < 0.1, "{}", pace.slowdown());
        // From here it keeps up; the window forgets.
        for t in (60_000..70_000).step_by(10) {
            pace.note(ms(t), ms(t) - pace.skipped(), true);
        }
        assert!(pace.slowdown() < 1.01, "{}", pace.slowdown());
    }

    #[test]
    fn a_sweep_longer_than_the_window_counts_while_it_lasts() {
        let mut pace = Pace::new();
        for t in (0..60_000).step_by(100) {
            // 20 ms of device time every 20 s
            pace.note(ms(t), ms(t / 20_000 * 20), true);
        }
        let slowdown = pace.slowdown();
        assert!((500.0..2000.0).contains(&slowdown), "{slowdown}");
        assert!(pace.samples.len() < 30);
    }
}
