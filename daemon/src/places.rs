//! Places for connections, bounded in all and for each user.
//!
//! Counts connections from the moment they are accepted, so that one which never says
//! Hello counts too. It knows users by the number that the kernel reports and nothing
//! of sessions. The [`door`](crate::door) takes a place for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::Limits;

/// Connections of each user; one entry for those whose user is unknown.
type ByUser = HashMap<Option<u32>, usize>;

/// All places of a daemon. Its mutex is never held across a wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<ByUser>>);

/// A place; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    user: Option<u32>,
}

/// Why there is no place. The text is the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// All are taken.
    #[error("hasherd serves {0} clients at once")]
    All(usize),
    /// This user has as many as one may have.
    #[error("hasherd serves {0} clients of one user at once")]
    OfUser(usize),
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, ByUser> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one connection of `user`, within the limits of now.
    ///
    /// # Errors
    /// [`Full`] says which bound is reached.
    pub(crate) fn take(&self, user: Option<u32>, limits: &Limits) -> Result<Place, Full> {
        let mut by_user = self.lock();
        let of_user = limits.quota(user).sessions;
        if by_user.get(&user).copied().unwrap_or_default() >= of_user {
            return Err(Full::OfUser(of_user));
        }
        if by_user.values().sum::<usize>() >= limits.sessions {
            return Err(Full::All(limits.sessions));
        }
        *by_user.entry(user).or_default() += 1;
        let places = self.clone();
        Ok(Place { places, user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.places.lock();
        if let Some(taken) = by_user.get_mut(&self.user) {
            *taken -= 1;
            if *taken == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Quota, SESSIONS_DEFAULT};

    #[test]
    fn one_user_leaves_places_to_the_others() {
        let (places, mut limits) = (Places::default(), Limits::default());
        let take = |user| places.take(Some(user), &limits);
        let mut greedy: Vec<Place> = std::iter::from_fn(|| take(1).ok()).collect();
        assert_eq!(greedy.len(), 16);
        assert_eq!(take(1).unwrap_err(), Full::OfUser(16));
        drop(take(2).unwrap());
        greedy.pop();
        greedy.push(take(1).unwrap());
        assert_eq!(take(1).unwrap_err(), Full::OfUser(16));
        // A quota of its own, and one below what is taken already.
        let with = |sessions| Quota {
            sessions,
            ..Quota::DEFAULT
        };
        limits.users.insert(1, with(17));
        limits.users.insert(2, with(0));
        greedy.push(places.take(Some(1), &limits).unwrap());
        limits.users.insert(1, with(3));
        let refused = places.take(Some(1), &limits).unwrap_err();
        assert_eq!(refused, Full::OfUser(3));
        assert!(places.take(Some(2), &limits).is_err());
    }

    #[test]
    fn places_are_bounded_in_all_and_leave_no_trace() {
        let (places, mut limits) = (Places::default(), Limits::default());
        let all: Vec<Place> = (0..)
            .map_while(|user| places.take(Some(user), &limits).ok())
            .collect();
        assert_eq!(all.len(), SESSIONS_DEFAULT);
        assert_eq!(places.take(None, &limits).unwrap_err(), Full::All(64));
        limits.sessions = 5;
        assert_eq!(places.take(None, &limits).unwrap_err(), Full::All(5));
        drop(all);
        assert!(places.lock().is_empty());
    }
}
