//! How often something that goes on and on may be said.
//!
//! Owns the counting, so that neither a bad cable nor a bad client fills a disk. Pure; the
//! device task and the hub write what is said to the log.

use std::time::Duration;

use tokio::time::Instant;

/// At most one fault in this time is said; the next line counts the others.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What was said of the faults of one device, or of all clients.
#[derive(Debug, Default)]
pub(crate) struct FaultLog {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl FaultLog {
    /// Another fault at `now`. If it is to be said: how many before it were not.
    pub(crate) fn note(&mut self, now: Instant) -> Option<u64> {
        if self.said_at.is_some_and(|said| now < said + SAY_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_a_minute_is_said_and_the_others_are_counted() {
        let mut log = FaultLog::default();
        let begun = Instant::now();
        let said: Vec<_> = (0..150)
            .filter_map(|second| {
                let now = begun + Duration::from_secs(second);
                log.note(now).map(|unsaid| (second, unsaid))
            })
            .collect();
        assert_eq!(said, [(0, 0), (60, 59), (120, 59)]);
        let later = begun + Duration::from_secs(1000);
        assert_eq!(log.note(later), Some(29));
    }
}
