//! How much the sessions of each user want at the moment.
//!
//! Counted as it changes, because every job and every work asks for it and there may be a
//! thousand sessions. Knows users and numbers only; the [`Scheduler`](super::Scheduler)
//! tells it what comes and goes.

use std::collections::HashMap;

/// A user's number; nothing when the kernel did not tell.
type User = Option<u32>;

/// Live jobs of one user.
#[derive(Debug, Default, PartialEq, Eq)]
struct OfUser {
    jobs: usize,
    /// Sessions that have any.
    sessions: u64,
}

/// See the [module](self).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Demand(HashMap<User, OfUser>);

impl Demand {
    /// A session of the user got a job, and has so many now.
    pub(super) fn add(&mut self, user: User, jobs_of_session: usize) {
        let of_user = self.0.entry(user).or_default();
        of_user.jobs += 1;
        of_user.sessions += u64::from(jobs_of_session == 1);
    }

    /// A session of the user lost so many jobs, at least one, and has so many left.
    pub(super) fn remove(&mut self, user: User, jobs: usize, left_in_session: usize) {
        if let Some(of_user) = self.0.get_mut(&user) {
            of_user.jobs -= jobs;
            of_user.sessions -= u64::from(left_in_session == 0);
            if of_user.jobs == 0 {
                self.0.remove(&user);
            }
        }
    }

    /// Live jobs of a user.
    pub(super) fn jobs(&self, user: User) -> usize {
        self.0.get(&user).map_or(0, |of_user| of_user.jobs)
    }

    /// Sessions of a user that want something.
    pub(super) fn sessions(&self, user: User) -> u64 {
        self.0.get(&user).map_or(0, |of_user| of_user.sessions)
    }

    /// What these sessions want: each one's user and its number of jobs.
    #[cfg(test)]
    pub(super) fn of_sessions(sessions: impl Iterator<Item = (User, usize)>) -> Self {
        let mut demand = Self::default();
        for (user, jobs) in sessions {
            for have in 1..=jobs {
                demand.add(user, have);
            }
        }
        demand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_jobs_leaves_no_trace() {
        let mut demand = Demand::default();
        demand.add(Some(1), 1);
        demand.add(Some(1), 2);
        demand.add(Some(1), 1);
        demand.add(None, 1);
        assert_eq!((demand.jobs(Some(1)), demand.sessions(Some(1))), (3, 2));
        demand.remove(Some(1), 2, 0);
        assert_eq!((demand.jobs(Some(1)), demand.sessions(Some(1))), (1, 1));
        demand.remove(Some(1), 1, 0);
        demand.remove(None, 1, 0);
        assert_eq!((demand.jobs(Some(1)), demand.sessions(Some(1))), (0, 0));
        assert_eq!(demand, Demand::default());
    }
}
