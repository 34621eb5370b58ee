//! Every bound of the daemon's rules, each with its reason: fixed ones, and those that an
//! administrator may change.

use std::collections::BTreeMap;
use std::time::Duration;

use hasher_wire::Priority;

/// Jobs, digest batches and digest streams one session may have unanswered, unless it is
/// configured to fewer: one full Search frame. An answer holds up to 10 KiB, so the
/// answers of a client that does not read stay below 3 MiB.
pub(crate) const SESSION_CREDITS_MAX: u16 = hasher_wire::MAX_JOBS as u16;

/// Sessions at once, unless configured otherwise: a machine has far fewer programs that
/// hash.
pub(crate) const SESSIONS_DEFAULT: usize = 64;

/// Sessions that may be configured: more programs than even a large server has that hash.
/// `docs/design.md` adds up what they can make the daemon hold.
pub(crate) const SESSIONS_MAX: usize = 1024;

/// Credits of all sessions together: what [`SESSIONS_DEFAULT`] have when each has
/// [`SESSION_CREDITS_MAX`]. Where more sessions are configured each is promised fewer, so
/// that the memory for answers stays the same, 176 MiB.
pub(crate) const CREDITS_MAX: usize = SESSIONS_DEFAULT * SESSION_CREDITS_MAX as usize;

/// Sessions of one user at once, unless configured otherwise: more programs than anyone
/// runs side by side, and a quarter of all, so that no user can lock the others out alone.
const USER_SESSIONS: usize = SESSIONS_DEFAULT / 4;

/// Devices at once; an answer can name as many.
pub(crate) const DEVICES_MAX: usize = hasher_wire::MAX_COMPUTED_BY;

/// Deadline of a job that names none, unless configured otherwise: long enough for
/// thousands of works.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(600);

/// Longest deadline, unless it is configured to less: a whole nonce range on a slow CPU
/// takes hours, not days.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);

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

/// What clients may have, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections at once; at most [`SESSIONS_MAX`].
    pub(crate) sessions: usize,
    /// Users about whom nothing is said.
    pub(crate) others: Quota,
    /// The others, by number.
    pub(crate) users: BTreeMap<u32, Quota>,
    /// Who may share memory with the daemon.
    pub(crate) shared_memory: SharedMemory,
}

/// Whose sessions may share memory with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SharedMemory {
    /// Nobody's.
    None,
    /// Those of the daemon's own user, who can read the daemon's memory anyway.
    #[default]
    Own,
    /// Everybody's.
    All,
}

impl SharedMemory {
    /// Whether this user's sessions may, when the daemon runs as user `own`.
    pub(crate) fn is_for(self, user: Option<u32>, own: u32) -> bool {
        match self {
            Self::None => false,
            Self::Own => user == Some(own),
            Self::All => true,
        }
    }
}

/// What one user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Connections at once.
    pub(crate) sessions: usize,
    /// Search jobs that wait or are worked on, of all the user's sessions.
    pub(crate) jobs: usize,
    /// The user's share of the devices is so many times that of a user with 1; at
    /// least 1.
    pub(crate) weight: u16,
    /// Highest priority of a job.
    pub(crate) priority_max: Priority,
    /// What each session is promised.
    pub(crate) terms: Terms,
}

/// What a session is promised when it opens; a later change does not touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Requests that may be unanswered; at most [`SESSION_CREDITS_MAX`].
    pub(crate) credits: u16,
    /// Deadline of a job that names none.
    pub(crate) deadline_default: Duration,
    /// Longest deadline.
    pub(crate) deadline_max: Duration,
}

impl Quota {
    /// Of a user about whom nothing is said, by a daemon to which nothing is said.
    pub(crate) const DEFAULT: Self = Self {
        sessions: USER_SESSIONS,
        jobs: USER_SESSIONS * SESSION_CREDITS_MAX as usize,
        weight: 1,
        priority_max: Priority::Interactive,
        terms: Terms {
            credits: SESSION_CREDITS_MAX,
            deadline_default: DEADLINE_DEFAULT,
            deadline_max: DEADLINE_MAX,
        },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: SESSIONS_DEFAULT,
            others: Quota::DEFAULT,
            users: BTreeMap::new(),
            shared_memory: SharedMemory::default(),
        }
    }
}

impl Limits {
    /// What a session of this user is promised while those that are open were promised
    /// `promised` credits together.
    pub(crate) fn terms(&self, user: Option<u32>, promised: usize) -> Terms {
        let terms = self.quota(user).terms;
        let share = CREDITS_MAX / self.sessions.max(1);
        let left = CREDITS_MAX.saturating_sub(promised);
        // One at least: those that are open may be from a time with fewer sessions.
        let credits = share.min(left).min(terms.credits.into()).max(1);
        Terms {
            credits: credits as u16,
            ..terms
        }
    }

    /// What this user may have; nothing when the kernel did not tell who it is.
    pub(crate) fn quota(&self, user: Option<u32>) -> &Quota {
        user.and_then(|user| self.users.get(&user))
            .unwrap_or(&self.others)
    }
}

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

    /// All of them, free or in use.
    pub(crate) const fn total(self) -> u16 {
        self.total
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
    fn memory_is_shared_with_whom_it_is_configured_to() {
        let [own, other, unknown] = [Some(7), Some(0), None];
        for (rule, expected) in [
            (SharedMemory::None, [false, false, false]),
            (SharedMemory::Own, [true, false, false]),
            (SharedMemory::All, [true, true, true]),
        ] {
            assert_eq!(
                [own, other, unknown].map(|user| rule.is_for(user, 7)),
                expected
            );
        }
    }

    #[test]
    fn the_more_sessions_there_may_be_the_fewer_credits_each_is_promised() {
        let credits = |sessions, promised| {
            let limits = Limits {
                sessions,
                ..Limits::default()
            };
            limits.terms(None, promised).credits
        };
        assert_eq!((credits(1, 0), credits(64, 0)), (256, 256));
        assert_eq!((credits(65, 0), credits(1024, 0)), (252, 16));
        // Sessions of a time when there were fewer keep what they have.
        assert_eq!(credits(1024, CREDITS_MAX - 7), 7);
        assert_eq!(credits(1024, CREDITS_MAX), 1);
    }

    #[test]
    #[should_panic(expected = "given back once")]
    fn a_credit_that_was_not_taken_is_not_given_back() {
        Credits::new(1).give_back();
    }
}
