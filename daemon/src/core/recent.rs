//! Sums over the recent past, and the hash rate from them.
//!
//! A ring of buckets, five seconds each: a window ends now and begins with the bucket
//! that is the oldest in it, so it is up to five seconds shorter than its name.

use std::time::Duration;

use hasher_wire::HashRateReport;

/// Length of a bucket. Short beside the shortest window, and long enough that a device
/// that has become idle wakes nobody often while its rate fades.
pub(crate) const BUCKET: Duration = Duration::from_secs(5);

/// The windows that are told.
const MINUTE: u64 = 60 / BUCKET.as_secs();
const QUARTER_HOUR: u64 = 900 / BUCKET.as_secs();

/// A rate over a shorter time would be an accident of when it was asked for.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// What was added during the last so many buckets.
#[derive(Debug)]
pub(crate) struct Recent {
    sums: Box<[u64]>,
    /// Number of the newest bucket, counted from the start of time.
    newest: u64,
}

/// Number of the bucket in which a moment lies.
const fn bucket(now: Duration) -> u64 {
    now.as_secs() / BUCKET.as_secs()
}

impl Recent {
    fn over(buckets: u64) -> Self {
        Self {
            sums: vec![0; buckets as usize].into_boxed_slice(),
            newest: 0,
        }
    }

    /// For sums over the last minute.
    pub(crate) fn of_a_minute() -> Self {
        Self::over(MINUTE)
    }

    /// Adds an amount at a moment, which is never before the last one.
    pub(crate) fn add(&mut self, now: Duration, amount: u64) {
        let buckets = self.sums.len() as u64;
        let now = bucket(now);
        if now.saturating_sub(self.newest) >= buckets {
            self.sums.fill(0);
        } else {
            for passed in self.newest + 1..=now {
                self.sums[(passed % buckets) as usize] = 0;
            }
        }
        self.newest = self.newest.max(now);
        let sum = &mut self.sums[(self.newest % buckets) as usize];
        *sum = sum.saturating_add(amount);
    }

    /// The sum over all its buckets.
    pub(crate) fn sum(&self, now: Duration) -> u64 {
        self.sum_over(now, self.sums.len() as u64)
    }

    fn sum_over(&self, now: Duration, buckets: u64) -> u64 {
        let all = self.sums.len() as u64;
        let oldest_wanted = (bucket(now) + 1).saturating_sub(buckets);
        let oldest_kept = (self.newest + 1).saturating_sub(all);
        (oldest_wanted.max(oldest_kept)..=self.newest)
            .map(|number| self.sums[(number % all) as usize])
            .fold(0, u64::saturating_add)
    }
}

/// The hash rate of one device since it became ready.
#[derive(Debug)]
pub(crate) struct HashMeter {
    ready_since: Duration,
    hashes: Recent,
    /// What the device had counted at the last measurement.
    counted: u64,
}

impl HashMeter {
    /// For a device that becomes ready now and has done so many hashes before.
    pub(crate) fn new(now: Duration, counted: u64) -> Self {
        Self {
            ready_since: now,
            hashes: Recent::over(QUARTER_HOUR),
            counted,
        }
    }

    /// Takes the hashes that the device has done, counted as in [`new`](Self::new).
    pub(crate) fn note(&mut self, now: Duration, counted: u64) {
        let new = counted.saturating_sub(self.counted);
        self.counted = counted;
        if new > 0 {
            self.hashes.add(now, new);
        }
    }

    /// Whether there was no hash in the longest window.
    pub(crate) fn is_at_rest(&self, now: Duration) -> bool {
        self.hashes.sum(now) == 0
    }

    /// The rates over the windows that end now.
    pub(crate) fn rates(&self, now: Duration) -> HashRateReport {
        HashRateReport {
            minute: self.rate(now, MINUTE),
            quarter_hour: self.rate(now, QUARTER_HOUR),
        }
    }

    fn rate(&self, now: Duration, buckets: u64) -> f64 {
        let begin = BUCKET.as_secs() * (bucket(now) + 1).saturating_sub(buckets);
        let begin = self.ready_since.max(Duration::from_secs(begin));
        let covered = now.saturating_sub(begin).max(SHORTEST_WINDOW);
        (self.hashes.sum_over(now, buckets) as f64 / covered.as_secs_f64()).round()
    }
}

/// A part of a whole, 0 to 1, to four digits.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::{Rng, test_seed};

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_steady_device_has_its_rate_in_every_window_from_the_start() {
        let mut meter = HashMeter::new(secs(1000), 0);
        for second in 1..=2000 {
            meter.note(secs(1000 + second), second * 7_000);
            let rates = meter.rates(secs(1000 + second));
            // A window holds whole buckets, so the first of its seconds may be cut.
            for rate in [rates.minute, rates.quarter_hour] {
                assert!((6_990.0..7_140.0).contains(&rate), "{second}: {rate}");
            }
        }
    }

    #[test]
    fn a_device_that_stopped_fades_out_of_one_window_after_the_other() {
        let mut meter = HashMeter::new(secs(0), 1_000_000);
        meter.note(secs(10), 10_000_000);
        let rates = meter.rates(secs(10));
        assert_eq!((rates.minute, rates.quarter_hour), (900_000.0, 900_000.0));
        let rates = meter.rates(secs(59));
        assert_eq!(rates.minute, (9_000_000.0f64 / 59.0).round());
        let rates = meter.rates(secs(70));
        assert_eq!(rates.minute, 0.0);
        assert_eq!(rates.quarter_hour, (9_000_000.0f64 / 70.0).round());
        assert!(!meter.is_at_rest(secs(909)));
        assert!(meter.is_at_rest(secs(910)));
        assert_eq!(meter.rates(secs(910)), HashRateReport::default());
    }

    #[test]
    fn the_first_nonce_is_no_burst() {
        let mut meter = HashMeter::new(secs(5), 0);
        let now = secs(5) + Duration::from_millis(1);
        meter.note(now, 1 << 32);
        assert_eq!(meter.rates(now).minute, f64::from(2u32.pow(31)) * 2.0);
    }

    #[test]
    fn counters_that_stand_still_add_nothing() {
        let mut meter = HashMeter::new(secs(0), 0);
        meter.note(secs(1), 100);
        meter.note(secs(2), 100);
        assert_eq!(meter.hashes.sum(secs(2)), 100);
    }

    #[test]
    fn shares_have_four_digits_and_no_whole_is_no_share() {
        assert_eq!(share(1, 3), 0.3333);
        assert_eq!(share(2, 3), 0.6667);
        assert_eq!(share(5, 5), 1.0);
        assert_eq!(share(0, 0), 0.0);
    }

    #[test]
    fn the_ring_sums_like_a_list_of_everything() {
        let seed = test_seed();
        let mut rng = Rng::new(seed);
        for _ in 0..50 {
            let mut ring = Recent::of_a_minute();
            let mut list: Vec<(u64, u64)> = Vec::new();
            let mut now = rng.below(100);
            for _ in 0..200 {
                now += if rng.below(10) == 0 {
                    rng.below(200)
                } else {
                    rng.below(4)
                };
                if rng.below(3) > 0 {
                    let amount = rng.below(1000);
                    ring.add(secs(now), amount);
                    list.push((now / 5, amount));
                }
                let expected: u64 = list
                    .iter()
                    .filter(|(bucket, _)| bucket + MINUTE > now / 5)
                    .map(|(_, amount)| amount)
                    .sum();
                assert_eq!(ring.sum(secs(now)), expected, "seed {seed}, now {now}");
            }
        }
    }
}
