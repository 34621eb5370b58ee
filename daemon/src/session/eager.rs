//! Waiting awake for a client that asks again at once.
//!
//! A client that has one request at a time asks again within microseconds of an answer,
//! and going to sleep in between costs more than the wait. So a session whose client was
//! that quick looks again and again for a moment before it sleeps; others never do. All
//! other tasks of the daemon get their turns meanwhile.

use std::time::{Duration, Instant};

use crate::carrier::Carrier;
use crate::link::{Io, Link};

/// How long a wait may be that is worth staying awake for: a few times what it takes to
/// wake a sleeping thread.
const MOMENT: Duration = Duration::from_micros(30);

/// Waits after which a client is no longer timed each time, and how rarely it is then:
/// two looks at the clock are much beside a small request.
const SLOW_WAITS: u32 = 8;

/// How quick a client was lately.
#[derive(Debug, Default)]
pub(super) struct Eager {
    /// Since when the session waits for its client, if the wait is timed.
    since: Option<Instant>,
    /// Whether the last wait was a short one.
    is_quick: bool,
    /// Waits since the last short one.
    slow_waits: u32,
}

impl Eager {
    /// The session has nothing to do but to wait for its client.
    pub(super) fn begin_wait(&mut self) {
        self.slow_waits = self.slow_waits.saturating_add(1);
        let is_timed = self.slow_waits <= SLOW_WAITS || self.slow_waits.is_multiple_of(SLOW_WAITS);
        self.since = is_timed.then(Instant::now);
    }

    /// The client sent something.
    pub(super) fn end_wait(&mut self) {
        if let Some(since) = self.since.take() {
            self.is_quick = since.elapsed() < MOMENT;
            if self.is_quick {
                self.slow_waits = 0;
            }
        }
    }

    /// Waits awake for what the client sends, if it was quick; nothing when the moment
    /// is over.
    pub(super) async fn wait<S>(&mut self, link: &mut Link<S>) -> Option<Io>
    where
        S: Carrier,
    {
        let since = self.since.filter(|_| self.is_quick)?;
        loop {
            tokio::task::yield_now().await;
            if let Some(io) = link.advance_now(true).await {
                return Some(io);
            }
            if since.elapsed() >= MOMENT {
                self.is_quick = false;
                return None;
            }
        }
    }
}
