//! What the devices measured in the last minutes.
//!
//! Owns one bounded row of samples per device. The window adds one a second; a
//! device that is away leaves a gap, and one that stays away is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::Device;

/// How far back samples go.
pub const SPAN: Duration = Duration::from_secs(600);
/// Samples of one device at most: one a second over the span, and some to spare.
const SAMPLES_MAX: usize = 660;

/// One look at one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When, since the app started.
    pub at: Duration,
    /// Double hashes a second over the minute before.
    pub hash_rate_hps: f64,
    /// Temperatures by sensor in °C; 0 means no sensor at that place.
    pub temperatures_celsius: Vec<f64>,
}

/// Samples of all devices by path.
#[derive(Debug, Clone, Default)]
pub struct History {
    devices: BTreeMap<String, VecDeque<Sample>>,
}

impl History {
    /// Notes what the devices say at `now`, which never goes back.
    pub fn note<'a>(
        &mut self,
        now: Duration,
        devices: impl IntoIterator<Item = (&'a str, &'a Device)>,
    ) {
        for (path, device) in devices {
            let samples = self.devices.entry(path.to_owned()).or_default();
            samples.push_back(Sample {
                at: now,
                hash_rate_hps: device.hash_rate_minute_hps,
                temperatures_celsius: device.temperatures_celsius.clone(),
            });
            if samples.len() > SAMPLES_MAX {
                samples.pop_front();
            }
        }
        let oldest = now.saturating_sub(SPAN);
        self.devices.retain(|_, samples| {
            while samples.front().is_some_and(|sample| sample.at < oldest) {
                samples.pop_front();
            }
            !samples.is_empty()
        });
    }

    /// The samples of the device at this path, oldest first.
    pub fn of(&self, path: &str) -> impl Iterator<Item = &Sample> {
        self.devices.get(path).into_iter().flatten()
    }

    /// Forgets everything, as when another daemon is looked at.
    pub fn clear(&mut self) {
        self.devices.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::device;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn samples_older_than_the_span_are_forgotten() {
        let (mut history, device) = (History::default(), device());
        for second in 0..=700 {
            history.note(SECOND * second, [("a", &device)]);
        }
        let first = history.of("a").next().unwrap();
        assert_eq!(first.at, SECOND * 100);
        assert_eq!(history.of("a").count(), 601);
    }

    #[test]
    fn a_device_that_stays_away_is_forgotten_after_the_span() {
        let (mut history, device) = (History::default(), device());
        history.note(SECOND, [("a", &device)]);
        history.note(SPAN, []);
        assert_eq!(history.of("a").count(), 1);
        history.note(SPAN + SECOND * 2, []);
        assert!(history.devices.is_empty());
    }

    #[test]
    fn the_memory_of_a_device_is_bounded_whatever_the_pace() {
        let (mut history, device) = (History::default(), device());
        for step in 0..10_000 {
            history.note(Duration::from_millis(step), [("a", &device)]);
        }
        assert_eq!(history.of("a").count(), SAMPLES_MAX);
    }
}
