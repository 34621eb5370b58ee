//! Where clients come in: over the socket, or handed in by the control plane.
//!
//! Owns the places for connections and the tasks of the sessions, so that every way in
//! has the same bounds. The listener and D-Bus bring clients here.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::carrier::Carrier;
use crate::hub::Hub;
use crate::places::{Full, Places};
use crate::session::{self, Peer};

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Door {
    places: Places,
    hub: Arc<Hub>,
    sessions: TaskTracker,
    stop: CancellationToken,
}

impl Door {
    /// Sessions are tasks of `sessions` and end in good order at `stop`.
    pub(crate) fn new(hub: Arc<Hub>, sessions: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            places: Places::default(),
            hub,
            sessions,
            stop,
        }
    }

    /// Serves a client from now on; `stream` comes back if there is no place.
    ///
    /// # Errors
    /// [`Full`] says which bound is reached.
    pub(crate) fn admit<S>(&self, stream: S, peer: Peer) -> Result<(), (S, Full)>
    where
        S: Carrier + Send + 'static,
    {
        let place = match self.places.take(peer.uid, &self.hub.limits()) {
            Ok(place) => place,
            Err(full) => {
                if let Some(unsaid) = self.hub.note_complaint() {
                    warn!(uid = peer.uid, pid = peer.pid, reason = %full, unsaid, "client refused");
                }
                return Err((stream, full));
            }
        };
        let session = session::serve(stream, peer, Arc::clone(&self.hub), self.stop.clone());
        self.sessions.spawn(async move {
            session.await;
            drop(place);
        });
        Ok(())
    }
}
