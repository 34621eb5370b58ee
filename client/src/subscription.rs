use std::sync::Arc;

use hasher_wire::{EventBody, Topics};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::ClientError;
use crate::client::Interest;
use crate::desk::Command;
use crate::ledger::Told;

/// Events of the daemon. Dropping it ends the subscription.
///
/// The present state comes first, also after each reconnect, which it survives. A
/// subscriber that is slower than the events loses the oldest, never the newest.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Told>,
    topics: Topics,
    has_ended: bool,
    connection: u64,
    // Dropped before `interest`: a subscription that arrives behind its own cancel
    // is told by its dead life.
    life: Arc<()>,
    interest: Interest,
}

impl Subscription {
    pub(crate) fn new(
        interest: Interest,
        events: broadcast::Receiver<Told>,
        topics: Topics,
    ) -> Self {
        Self {
            events,
            topics,
            has_ended: false,
            connection: 0,
            life: Arc::default(),
            interest,
        }
    }

    pub(crate) fn command(&self) -> Command {
        Command::Subscribe {
            key: self.interest.key(),
            topics: self.topics,
            life: Arc::downgrade(&self.life),
        }
    }

    /// The next event; after an error there is none. Cancel-safe.
    ///
    /// # Errors
    /// Why the daemon is out of reach for good, given once.
    pub async fn next(&mut self) -> Option<Result<EventBody, ClientError>> {
        while !self.has_ended {
            match self.events.recv().await {
                Ok(Ok((connection, event))) if self.wants(&event) => {
                    self.connection = connection;
                    return Some(Ok(event));
                }
                Ok(Ok(_)) | Err(RecvError::Lagged(_)) => {}
                Ok(Err(error)) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
                Err(RecvError::Closed) => self.has_ended = true,
            }
        }
        None
    }

    /// Over which of the client's connections the last event came, see
    /// [`Session::connection`](crate::Session::connection); 0 before the first event.
    pub const fn connection(&self) -> u64 {
        self.connection
    }

    /// All subscriptions of a client share one stream of events.
    const fn wants(&self, event: &EventBody) -> bool {
        match event {
            EventBody::Status { .. } => self.topics.has(Topics::STATUS),
            _ => self.topics.has(Topics::DEVICES),
        }
    }
}
