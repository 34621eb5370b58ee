//! Places for connections, bounded in all and for each user.
//!
//! Counts connections from the moment they are accepted, so that one which never says
//! Hello counts too. It knows users by the number that the kernel reports and nothing
//! of sessions. The [`door`](crate::door) takes a place for each connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::{SESSIONS_MAX, USER_SESSIONS_MAX};

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
    #[error("hasherd serves {SESSIONS_MAX} clients at once")]
    All,
    /// This user has as many as one may have.
    #[error("hasherd serves {USER_SESSIONS_MAX} clients of one user at once")]
    OfUser,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, ByUser> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one connection of `user`.
    ///
    /// # Errors
    /// [`Full`] says which bound is reached.
    pub(crate) fn take(&self, user: Option<u32>) -> Result<Place, Full> {
        let mut by_user = self.lock();
        if by_user.get(&user).is_some_and(|n| *n >= USER_SESSIONS_MAX) {
            return Err(Full::OfUser);
        }
        if by_user.values().sum::<usize>() >= SESSIONS_MAX {
            return Err(Full::All);
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

    #[test]
    fn one_user_leaves_places_to_the_others() {
        let places = Places::default();
        let take = |user| places.take(Some(user));
        let mut greedy: Vec<Place> = std::iter::from_fn(|| take(1).ok()).collect();
        assert_eq!(greedy.len(), USER_SESSIONS_MAX);
        assert_eq!(take(1).unwrap_err(), Full::OfUser);
        drop(take(2).unwrap());
        greedy.pop();
        greedy.push(take(1).unwrap());
        assert_eq!(take(1).unwrap_err(), Full::OfUser);
    }

    #[test]
    fn places_are_bounded_in_all_and_leave_no_trace() {
        let places = Places::default();
        let all: Vec<Place> = (0..)
            .map_while(|user| places.take(Some(user)).ok())
            .collect();
        assert_eq!(all.len(), SESSIONS_MAX);
        assert_eq!(places.take(None).unwrap_err(), Full::All);
        drop(all);
        assert!(places.lock().is_empty());
    }
}
