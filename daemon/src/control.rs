//! What people may ask of a running daemon, apart from hashing.
//!
//! Owns the way to whoever can carry it out; it carries nothing out itself. The
//! configuration belongs to the program that calls [`run`](crate::run()), so a wish to
//! read it anew goes there.

use tokio::sync::{mpsc, oneshot};

use crate::dbus::MessageBus;

/// Wishes to read the configuration anew that may wait; people have them, not programs.
const RELOADS_WAITING_MAX: usize = 4;

/// What reaches the daemon besides its clients.
#[derive(Debug, Default)]
pub struct Control {
    /// Reads the configuration anew; nothing when there is none to read.
    pub reloader: Option<Reloader>,
    /// Where it can be watched and controlled.
    pub bus: MessageBus,
}

/// Asks the owner of the configuration to read it anew.
#[derive(Debug, Clone)]
pub struct Reloader(mpsc::Sender<ReloadRequest>);

/// One wish to read the configuration anew.
#[derive(Debug)]
pub struct ReloadRequest {
    answer: oneshot::Sender<Result<(), String>>,
}

impl ReloadRequest {
    /// Says that the new configuration is in effect, or why the old one stays: with
    /// file and line, for people.
    pub fn answer(self, outcome: Result<(), String>) {
        // Whoever asked may be gone; the configuration is what it is.
        let _ = self.answer.send(outcome);
    }
}

/// Why the configuration was not read anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// It is wrong; the old one stays.
    #[error("{0}")]
    Invalid(String),
    /// Others are waiting for the same.
    #[error("{RELOADS_WAITING_MAX} requests to reload wait already")]
    Busy,
    /// Nobody answers any more.
    #[error("hasherd is shutting down")]
    ShuttingDown,
}

impl Reloader {
    /// The asking side, and the side of the configuration's owner, who answers every
    /// request.
    pub fn channel() -> (Self, mpsc::Receiver<ReloadRequest>) {
        let (sender, receiver) = mpsc::channel(RELOADS_WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Returns when the new configuration is in effect.
    ///
    /// # Errors
    /// [`ReloadError`] says why the old one stays.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.0.try_send(ReloadRequest { answer });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReloadError::Busy,
            mpsc::error::TrySendError::Closed(_) => ReloadError::ShuttingDown,
        })?;
        match outcome.await {
            Ok(outcome) => outcome.map_err(ReloadError::Invalid),
            Err(_) => Err(ReloadError::ShuttingDown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_to_reload_is_answered_by_the_configurations_owner() {
        let (reloader, mut requests) = Reloader::channel();
        let owner = async {
            requests.recv().await.unwrap().answer(Ok(()));
            let why = "hasherd.toml:3: no such key".to_owned();
            requests.recv().await.unwrap().answer(Err(why));
            drop(requests.recv().await); // the owner ends while it is asked
            drop(requests);
        };
        let asker = async {
            assert_eq!(reloader.reload().await, Ok(()));
            let why = "hasherd.toml:3: no such key".to_owned();
            assert_eq!(reloader.reload().await, Err(ReloadError::Invalid(why)));
            assert_eq!(reloader.reload().await, Err(ReloadError::ShuttingDown));
        };
        tokio::join!(owner, asker);
        assert_eq!(reloader.reload().await, Err(ReloadError::ShuttingDown));
    }

    #[tokio::test]
    async fn wishes_to_reload_do_not_pile_up() {
        let (reloader, _requests) = Reloader::channel();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..RELOADS_WAITING_MAX {
            let reloader = reloader.clone();
            waiting.spawn(async move { reloader.reload().await });
        }
        tokio::task::yield_now().await;
        assert_eq!(reloader.reload().await, Err(ReloadError::Busy));
    }
}
