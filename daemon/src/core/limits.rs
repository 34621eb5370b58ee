//! Every bound of the daemon's rules, each with its reason.

use std::time::Duration;

/// Jobs, digest batches and digest streams one session may have unanswered: one
/// full Search frame. An answer holds up to 10 KiB, so the answers of a client
/// that does not read stay below 3 MiB.
pub(crate) const SESSION_CREDITS: u16 = hasher_wire::MAX_JOBS as u16;

/// Sessions at once. With the answers of [`SESSION_CREDITS`] this bounds the
/// daemon's memory; a machine has far fewer programs that hash.
pub(crate) const SESSIONS_MAX: usize = 64;

/// Sessions of one user at once: more programs than anyone runs side by side, and a
/// quarter of all, so that no user can lock the others out alone.
pub(crate) const USER_SESSIONS_MAX: usize = 16;

/// Devices at once; an answer can name as many.
pub(crate) const DEVICES_MAX: usize = hasher_wire::MAX_COMPUTED_BY;

/// Deadline of a job that names none: long enough for thousands of works.
pub(crate) const DEADLINE_DEFAULT: Duration = Duration::from_secs(600);

/// Longest deadline: a whole nonce range on a slow CPU takes hours, not days.
pub(crate) const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long jobs wait for a device to come (back): a board that is plugged in
/// again or re-initialised is ready within a few seconds (source: the boot loader
/// timings of the protocol reference; not yet seen on hardware).
pub(crate) const DEVICE_GRACE: Duration = Duration::from_secs(15);

/// How often one work is given to devices before its job fails. A flush or unplug
/// loses it once; losing it three times means trouble that waiting will not end.
pub(crate) const WORK_ATTEMPTS_MAX: u8 = 3;

/// Works of jobs on one timed device at once: two full TxTask frames. They cannot
/// be recalled, so they bound how long a newcomer waits; at the pace of an S3
/// (about 111 works a second, computed from its timer) they last 144 ms, enough to
/// keep it fed across a slow wake-up.
pub(crate) const TIMED_WORKS_MAX: usize = 16;

/// Works of one job on timed devices beyond the hits it still misses. One, so that
/// the next attempt is under way before a miss is known; more would be wasted
/// whenever the first attempt succeeds.
pub(crate) const SPECULATIVE_WORKS: u32 = 1;

/// How many more jobs a session may have in the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credits {
    total: u16,
    free: u16,
}

impl Credits {
    /// All of them free.
    pub(crate) const fn new(total: u16) -> Self {
        Self { total, free: total }
    }

    /// Takes one if there is one.
    pub(crate) const fn take(&mut self) -> bool {
        match self.free.checked_sub(1) {
            Some(free) => {
                self.free = free;
                true
            }
            None => false,
        }
    }

    /// Gives one back that was taken.
    pub(crate) fn give_back(&mut self) {
        assert!(self.free < self.total, "a credit is given back once");
        self.free += 1;
    }

    /// Credits that are free now.
    pub(crate) const fn free(self) -> u16 {
        self.free
    }

    /// Credits that are in use now.
    #[cfg(test)]
    pub(crate) const fn used(self) -> u16 {
        self.total - self.free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credit_is_given_twice() {
        let mut credits = Credits::new(2);
        assert!(credits.take() && credits.take() && !credits.take());
        credits.give_back();
        assert_eq!((credits.free(), credits.used()), (1, 1));
    }

    #[test]
    #[should_panic(expected = "given back once")]
    fn a_credit_that_was_not_taken_is_not_given_back() {
        Credits::new(1).give_back();
    }
}
