use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hasher_wire::RequestId;
use tokio::time::Instant;

use super::{Key, Kind};
use crate::ClientError;

/// The numbers that are in use on the wire, and the credits they hold.
///
/// A number stays open until the daemon has answered all of it, whether or not
/// anyone still waits, because only an answer gives a credit back.
#[derive(Default)]
pub(super) struct Flights {
    open: HashMap<RequestId, Flight>,
    expiries: BTreeSet<(Instant, RequestId)>,
    next: u32,
    credits_used: usize,
}

struct Flight {
    kind: Kind,
    /// The request behind each place; nothing once that place is answered.
    keys: Vec<Option<Key>>,
    unanswered: usize,
    sent_at: Instant,
    /// When the daemon must have answered; a stream has none until its end.
    expiry: Option<Instant>,
}

impl Flights {
    pub(super) const fn credits_used(&self) -> usize {
        self.credits_used
    }

    /// A number that is not in use.
    pub(super) fn new_request(&mut self) -> RequestId {
        loop {
            let request = RequestId(self.next);
            self.next = self.next.wrapping_add(1);
            if !self.open.contains_key(&request) {
                return request;
            }
        }
    }

    pub(super) fn begin(
        &mut self,
        request: RequestId,
        kind: Kind,
        keys: Vec<Key>,
        now: Instant,
        expiry: Option<Instant>,
    ) {
        if kind.needs_credit() {
            self.credits_used += keys.len();
        }
        let flight = Flight {
            kind,
            unanswered: keys.len(),
            keys: keys.into_iter().map(Some).collect(),
            sent_at: now,
            expiry: None,
        };
        self.open.insert(request, flight);
        if let Some(expiry) = expiry {
            self.expire_at(request, expiry);
        }
    }

    pub(super) fn expire_at(&mut self, request: RequestId, expiry: Instant) {
        if let Some(flight) = self.open.get_mut(&request) {
            if let Some(old) = flight.expiry.replace(expiry) {
                self.expiries.remove(&(old, request));
            }
            self.expiries.insert((expiry, request));
        }
    }

    /// Place `index` of `request` is answered, by a frame that answers `kind`
    /// (nothing: any).
    ///
    /// # Errors
    /// [`ClientError::Protocol`] when nobody asked for that.
    pub(super) fn answered(
        &mut self,
        request: RequestId,
        index: usize,
        kind: Option<Kind>,
    ) -> Result<Key, ClientError> {
        let unasked = || {
            let number = request.0;
            ClientError::protocol(format!("an answer to request {number} that is not open"))
        };
        let flight = self.open.get_mut(&request).ok_or_else(unasked)?;
        if kind.is_some_and(|kind| kind != flight.kind) {
            return Err(unasked());
        }
        let place = flight.keys.get_mut(index).and_then(Option::take);
        let key = place.ok_or_else(unasked)?;
        flight.unanswered -= 1;
        if flight.kind.needs_credit() {
            self.credits_used -= 1;
        }
        if flight.unanswered == 0 {
            if let Some(expiry) = flight.expiry {
                self.expiries.remove(&(expiry, request));
            }
            self.open.remove(&request);
        }
        Ok(key)
    }

    /// The places of `request` that are not answered.
    ///
    /// # Errors
    /// As [`answered`](Self::answered).
    pub(super) fn unanswered(&self, request: RequestId) -> Result<Vec<usize>, ClientError> {
        let Some(flight) = self.open.get(&request) else {
            let text = format!("a failure of request {} that is not open", request.0);
            return Err(ClientError::protocol(text));
        };
        let places = flight.keys.iter().enumerate();
        Ok(places
            .filter_map(|(index, key)| key.is_some().then_some(index))
            .collect())
    }

    /// The session ended: all numbers are free again. Gives the requests behind
    /// them, oldest first.
    pub(super) fn clear(&mut self) -> Vec<Key> {
        self.expiries.clear();
        self.credits_used = 0;
        let mut keys: Vec<_> = self
            .open
            .drain()
            .flat_map(|(_, flight)| flight.keys)
            .flatten()
            .collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The kind of a request that is overdue, and how long it had.
    pub(super) fn expired(&self, now: Instant) -> Option<(Kind, Duration)> {
        let (at, request) = self.expiries.first()?;
        let flight = self.open.get(request).filter(|_| *at <= now)?;
        Some((flight.kind, *at - flight.sent_at))
    }
}
