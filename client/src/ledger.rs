//! Every unanswered request of one client, and what is to happen with it.
//!
//! ```text
//!            submit                fill: a credit is free            answer
//!  caller ──────────► waiting ────────────────────────► in flight ──────────► caller
//!                        ▲  ▲                                │
//!          pause is over │  └── connection lost ─────────────┤ (bounded repetitions)
//!                     resting ◄── retryable failure ─────────┘
//! ```
//!
//! It owns requests, their numbers, deadlines and credits; it never touches a
//! stream and never reads a clock (`now` is an argument), so the rules can be
//! tested alone. The link calls it. Each request leaves it exactly once: with an
//! answer, with an error, or because its caller lost interest.

mod flight;
mod receive;
mod send;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use bytes::BytesMut;
use hasher_wire::{
    Codec, DigestAlgorithm, EventBody, Frame, Messages, Priority, RequestId, Status, StatusReport,
    Subscribe, Topics,
};
use hasher_work::SearchJob;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use self::flight::Flights;
use crate::{ClientError, DigestAnswer, Retry, SearchAnswer, Session, StreamAnswer};

pub(crate) use self::send::{OUT_BYTES_MAX, message_bytes, messages_bytes_max, messages_max};

/// Requests that may be open before the link takes no more from callers, who then
/// wait in turn. A batch is taken whole, so one may stand above it.
const WAITING_MAX: usize = 8192;

/// What the daemon has beyond a deadline to say that it passed; then it hangs.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// Number of a request for its whole life, also over repetitions. Lower is older.
pub(crate) type Key = u64;

/// The answer to one job of a ticket: its place and what became of it.
pub(crate) type JobAnswer = (usize, Result<SearchAnswer, ClientError>);

/// Where a single answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ClientError>>;

/// What subscribers hear: over which connection an event came, and the event.
pub(crate) type Told = Result<(u64, EventBody), ClientError>;

/// What a caller wants.
pub(crate) enum Work {
    Search {
        job: SearchJob,
        priority: Priority,
        /// Key of the ticket's first job: one Search frame holds jobs of one ticket.
        ticket: Key,
        /// Place in the ticket.
        index: usize,
        /// Has a place for every job of the ticket, so answering never waits.
        reply: mpsc::Sender<JobAnswer>,
    },
    Digest {
        algorithm: DigestAlgorithm,
        messages: Messages,
        reply: Reply<DigestAnswer>,
    },
    Stream {
        algorithm: DigestAlgorithm,
        /// Told the longest chunk as soon as the stream has its credit.
        opened: Option<oneshot::Sender<usize>>,
        done: Reply<StreamAnswer>,
    },
    Status {
        reply: Reply<StatusReport>,
    },
    Document {
        topic: String,
        argument: String,
        reply: Reply<String>,
    },
}

/// The kind of a request, to tell an answer of the wrong kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Search,
    Digest,
    Stream,
    Status,
    Document,
}

impl Kind {
    /// Queries for the status or a document are free.
    const fn needs_credit(self) -> bool {
        !matches!(self, Self::Status | Self::Document)
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Search => "a search",
            Self::Digest => "a digest",
            Self::Stream => "a digest stream",
            Self::Status => "a status query",
            Self::Document => "a document query",
        }
    }
}

impl Work {
    const fn kind(&self) -> Kind {
        match self {
            Self::Search { .. } => Kind::Search,
            Self::Digest { .. } => Kind::Digest,
            Self::Stream { .. } => Kind::Stream,
            Self::Status { .. } => Kind::Status,
            Self::Document { .. } => Kind::Document,
        }
    }

    /// Whether it has to wait until the daemon grants it a place.
    pub(crate) const fn needs_credit(&self) -> bool {
        self.kind().needs_credit()
    }

    /// Whether nobody waits for the answer any more.
    fn is_unwanted(&self) -> bool {
        match self {
            Self::Search { reply, .. } => reply.is_closed(),
            Self::Digest { reply, .. } => reply.is_closed(),
            Self::Stream { done, .. } => done.is_closed(),
            Self::Status { reply } => reply.is_closed(),
            Self::Document { reply, .. } => reply.is_closed(),
        }
    }

    /// Tells the caller that it failed. A caller who has gone is no error.
    fn fail(self, error: ClientError) {
        match self {
            Self::Search { index, reply, .. } => _ = reply.try_send((index, Err(error))),
            Self::Digest { reply, .. } => _ = reply.send(Err(error)),
            Self::Stream { done, .. } => _ = done.send(Err(error)),
            Self::Status { reply } => _ = reply.send(Err(error)),
            Self::Document { reply, .. } => _ = reply.send(Err(error)),
        }
    }
}

/// One unanswered request.
struct Item {
    work: Work,
    deadline: Instant,
    /// How often it was sent.
    sent: u32,
    /// Whether a connection was lost while it was in flight.
    was_lost: bool,
    /// Why it was not answered yet; the truest thing to say when time runs out.
    trouble: Option<ClientError>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Resting(Instant),
    InFlight(RequestId),
}

pub(crate) struct Ledger {
    retry: Retry,
    items: HashMap<Key, Item>,
    /// Requests that wait for a credit, oldest first.
    waiting: BTreeSet<Key>,
    /// Queries for the status or a document, which wait for a connection only.
    waiting_free: BTreeSet<Key>,
    /// Requests that wait before they are repeated.
    resting: BTreeSet<(Instant, Key)>,
    /// Deadlines of all requests that are not in flight.
    deadlines: BTreeSet<(Instant, Key)>,
    flights: Flights,
    session: Option<Session>,
    /// Why there is no session.
    loss: Option<ClientError>,
    subscribers: BTreeMap<Key, Topics>,
    /// Topics that the daemon was asked for in this session.
    subscribed: Topics,
    events: broadcast::Sender<Told>,
}

impl Ledger {
    pub(crate) fn new(retry: Retry, events: broadcast::Sender<Told>) -> Self {
        Self {
            retry,
            items: HashMap::new(),
            waiting: BTreeSet::new(),
            waiting_free: BTreeSet::new(),
            resting: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            flights: Flights::default(),
            session: None,
            loss: None,
            subscribers: BTreeMap::new(),
            subscribed: Topics::NONE,
            events,
        }
    }

    /// Whether callers may hand in more requests that need a credit.
    pub(crate) fn has_room(&self) -> bool {
        self.items.len() < WAITING_MAX
    }

    /// Whether nobody needs a connection.
    pub(crate) fn is_idle(&self) -> bool {
        self.items.is_empty() && self.subscribers.is_empty()
    }

    /// A caller wants something by `deadline`.
    pub(crate) fn submit(&mut self, key: Key, work: Work, deadline: Instant) {
        // The caller may have gone before the request arrived here.
        if work.is_unwanted() {
            return;
        }
        let item = Item {
            work,
            deadline,
            sent: 0,
            was_lost: false,
            trouble: None,
            state: State::Waiting,
        };
        self.wait(key, item);
    }

    /// A caller lost interest in these requests or subscriptions.
    pub(crate) fn cancel(&mut self, keys: Range<Key>, now: Instant, out: &mut BytesMut) {
        let mut requests = BTreeSet::new();
        for key in keys {
            if self.subscribers.remove(&key).is_some() {
                self.send_subscription(out);
            }
            if let Some(State::InFlight(request)) = self.take(key).map(|item| item.state) {
                requests.insert(request);
            }
        }
        // The answers still come, at once, and give the credits back.
        for request in requests {
            self.flights.expire_at(request, now + ANSWER_GRACE);
            self.send_cancel(request, out);
        }
    }

    /// A caller wants events.
    pub(crate) fn subscribe(&mut self, key: Key, topics: Topics, out: &mut BytesMut) {
        self.subscribers.insert(key, topics);
        self.send_subscription(out);
    }

    /// A session stands.
    pub(crate) fn connected(&mut self, session: Session, out: &mut BytesMut) {
        self.session = Some(session);
        self.loss = None;
        self.subscribed = Topics::NONE;
        self.send_subscription(out);
    }

    /// The session ended. What was in flight waits for the next one as often as
    /// the retry rule allows; an error that no repetition mends fails everything.
    pub(crate) fn lost(&mut self, error: ClientError, now: Instant) {
        self.session = None;
        self.loss = Some(error.clone());
        for key in self.flights.clear() {
            let Some(mut item) = self.take(key) else {
                continue;
            };
            item.was_lost = true;
            if error.is_retryable() && self.may_repeat(&item, now) {
                item.trouble = Some(error.clone());
                self.wait(key, item);
            } else {
                item.work.fail(error.clone());
            }
        }
        if !error.is_retryable() {
            self.fail_all(error);
        }
    }

    /// Connecting failed. What may pass is going to be tried again.
    pub(crate) fn still_lost(&mut self, error: ClientError) {
        self.loss = Some(error.clone());
        if !error.is_retryable() {
            self.fail_all(error);
        }
    }

    /// Connecting is not tried any more.
    pub(crate) fn give_up(&mut self) {
        let loss = self.loss.clone();
        self.fail_all(loss.unwrap_or(ClientError::Ended));
    }

    /// Gives everything up.
    pub(crate) fn fail_all(&mut self, error: ClientError) {
        for (_, item) in self.items.drain() {
            item.work.fail(error.clone());
        }
        self.waiting.clear();
        self.waiting_free.clear();
        self.resting.clear();
        self.deadlines.clear();
        if !self.subscribers.is_empty() {
            self.subscribers.clear();
            // Nobody listening is no error.
            _ = self.events.send(Err(error));
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, Key)>| set.first().map(|(at, _)| *at);
        let times = [
            first(&self.resting),
            first(&self.deadlines),
            self.flights.next_expiry(),
        ];
        times.into_iter().flatten().min()
    }

    /// Time has passed.
    ///
    /// # Errors
    /// The daemon broke its promise to answer in time; the session is worthless.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), ClientError> {
        while let Some((at, key)) = self.resting.first().copied()
            && at <= now
        {
            if let Some(mut item) = self.take(key) {
                item.state = State::Waiting;
                self.wait(key, item);
            }
        }
        while let Some((at, key)) = self.deadlines.first().copied()
            && at <= now
        {
            if let Some(item) = self.take(key) {
                let loss = self.loss.clone().filter(|_| self.session.is_none());
                let trouble = loss.or(item.trouble);
                item.work
                    .fail(trouble.unwrap_or_else(ClientError::deadline));
            }
        }
        match self.flights.expired(now) {
            Some((kind, after)) => Err(ClientError::Timeout {
                what: kind.noun(),
                after,
            }),
            None => Ok(()),
        }
    }

    /// An answer said that a request failed: repeat it after a pause, or tell.
    fn failed(&mut self, key: Key, mut item: Item, error: ClientError, now: Instant) {
        let at = now + self.retry.delay(item.sent.saturating_sub(1));
        if is_passing(&error, &item) && self.may_repeat(&item, now) && at < item.deadline {
            item.trouble = Some(error);
            item.state = State::Resting(at);
            self.resting.insert((at, key));
            self.deadlines.insert((item.deadline, key));
            self.items.insert(key, item);
        } else {
            item.work.fail(error);
        }
    }

    /// Whether the retry rule and the clock allow one more sending.
    fn may_repeat(&self, item: &Item, now: Instant) -> bool {
        let is_pure = item.work.kind() != Kind::Stream; // its bytes are gone
        is_pure && item.sent <= self.retry.attempts && now < item.deadline
    }

    fn wait(&mut self, key: Key, mut item: Item) {
        item.state = State::Waiting;
        self.deadlines.insert((item.deadline, key));
        if item.work.needs_credit() {
            self.waiting.insert(key);
        } else {
            self.waiting_free.insert(key);
        }
        self.items.insert(key, item);
    }

    /// Removes a request from wherever it is; its number in flight stays open.
    fn take(&mut self, key: Key) -> Option<Item> {
        let item = self.items.remove(&key)?;
        match item.state {
            State::Waiting => {
                self.waiting.remove(&key);
                self.waiting_free.remove(&key);
                self.deadlines.remove(&(item.deadline, key));
            }
            State::Resting(at) => {
                self.resting.remove(&(at, key));
                self.deadlines.remove(&(item.deadline, key));
            }
            State::InFlight(_) => {}
        }
        Some(item)
    }

    /// Asks for what all subscribers together want, if that changed.
    fn send_subscription(&mut self, out: &mut BytesMut) {
        if self.session.is_none() {
            return;
        }
        let all = self.subscribers.values().fold(0, |all, t| all | t.0);
        let topics = Topics(all);
        // A further subscriber of the same topics needs the first event too.
        if topics != self.subscribed || topics != Topics::NONE {
            self.subscribed = topics;
            put(&Frame::Subscribe(Subscribe { topics }), out);
        }
    }
}

/// Whether waiting may mend this failure.
fn is_passing(error: &ClientError, item: &Item) -> bool {
    match error.status() {
        // The daemon had all the time that there was.
        Some(Status::Deadline) => false,
        // A daemon that has just come back may still be opening its devices.
        Some(Status::NoDevice) => item.was_lost,
        _ => error.is_retryable(),
    }
}

/// Writes a frame that was built within the protocol's limits.
fn put(frame: &Frame, out: &mut BytesMut) {
    Codec
        .encode(frame, out)
        .expect("lists were cut to the limits before");
}

#[cfg(test)]
mod tests;
