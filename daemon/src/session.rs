//! One client's connection, from Hello to Goodbye.
//!
//! Owns the socket, the credits, the set of unanswered requests and the
//! subscription. Jobs go to the [`Hub`], answers come back through a channel with a
//! place for each credit, so a client that does not read slows nobody down: the
//! session stops reading its requests once its unsent answers reach a limit. Never
//! touches a device. The listener calls [`serve`].

mod digesting;
mod gather;
mod greeting;
mod ring;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hasher_wire::{
    Cancel, Document, Failed, Features, Frame, Hello, Limits, MAX_CHUNK_BYTES, MAX_FRAME_BYTES,
    MAX_JOBS, MAX_MESSAGES, Query, RequestId, Search, SearchDone, SessionReport, StatusReply,
    Version, Welcome,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use self::digesting::join;
use self::gather::Gather;
pub(crate) use self::greeting::turn_away;
use self::greeting::{FAREWELL_TIMEOUT, greet, say_goodbye};
use self::ring::SharedRing;
use crate::carrier::Carrier;
use crate::core::{Answer, Credits, JobError, SessionId, Terms};
use crate::digest::Stream;
use crate::error_text::one_line;
use crate::hub::Hub;
use crate::link::{Io, Link};
use crate::subscription::Subscription;
use crate::time::sleep_until;

/// A client that takes no byte of its answers for so long is dropped.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Frames handled before other tasks get a turn, so that a flood of small requests
/// holds up nobody. A document takes a whole turn: writing one costs as much as dozens of
/// other frames.
const FRAMES_PER_TURN: usize = 64;

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peer {
    pub(crate) uid: Option<u32>,
    pub(crate) pid: Option<i32>,
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The client said Goodbye or closed the connection.
    Client,
    /// What it sends is not the protocol.
    Protocol(String),
    /// It takes no answers.
    Stalled,
    /// The daemon stops.
    Shutdown,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(stream: S, peer: Peer, hub: Arc<Hub>, stop: CancellationToken)
where
    S: Carrier,
{
    let mut link = Link::new(stream);
    let end = match greet(&mut link, &stop).await {
        Ok(Some((hello, version))) => {
            let mut session = Session::open(link, peer, hub, &hello, version);
            let end = session.run(&stop).await;
            session.leave(end).await;
            return;
        }
        Ok(None) => End::Client,
        Err(end) => end,
    };
    debug!(uid = peer.uid, pid = peer.pid, ?end, "no session");
    say_goodbye(&mut link, &end).await;
}

/// A request that is not answered yet.
#[derive(Debug)]
enum Open {
    /// So many jobs of a Search.
    Search(usize),
    /// A digest stream whose state is on a helper thread.
    Digesting,
    /// A digest stream that waits for more.
    Stream(Stream),
}

/// A welcomed client.
struct Session<S> {
    link: Link<S>,
    hub: Arc<Hub>,
    id: SessionId,
    version: Version,
    credits: Credits,
    credits_noted: u16,
    answers: mpsc::Receiver<Answer>,
    /// The unanswered requests of earlier turns.
    open: HashMap<RequestId, Open>,
    digesting: Option<(RequestId, JoinHandle<Stream>)>,
    /// The digest batches of this turn.
    gather: Gather,
    subscription: Subscription,
    /// Whether the client may have shared memory.
    may_share: bool,
    /// The shared memory, once the client asked for it.
    ring: Option<SharedRing>,
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.hub.close_session(self.id);
    }
}

impl<S: Carrier> Session<S> {
    fn open(link: Link<S>, peer: Peer, hub: Arc<Hub>, hello: &Hello, version: Version) -> Self {
        let (id, terms, answers) = hub.open_session(SessionReport {
            // They would double in the status document, whose size is bounded.
            name: hello.name.replace(['"', '\\'], "'"),
            uid: peer.uid,
            pid: peer.pid,
            protocol: version.to_string(),
            ..SessionReport::default()
        });
        let credits = Credits::new(terms.credits);
        let subscription = Subscription::new(hub.watch_inventory());
        let may_share = S::PASSES_DESCRIPTORS
            && version >= Version::V1_3
            && ring::is_shared_with(peer, &hub.limits());
        let name = &*hello.name;
        debug!(session = id.0, name, uid = peer.uid, pid = peer.pid, %version, "session opened");
        let mut session = Self {
            link,
            hub,
            id,
            version,
            credits,
            credits_noted: credits.free(),
            answers,
            open: HashMap::new(),
            digesting: None,
            gather: Gather::default(),
            subscription,
            may_share,
            ring: None,
        };
        session.link.push(&Frame::Welcome(session.welcome(terms)));
        session
    }

    fn welcome(&self, terms: Terms) -> Welcome {
        let mut features = Features::default();
        if self.version >= Version::V1_1 {
            features = features.and(Features::ROLLS).and(Features::DIGEST_STREAM);
        }
        if self.version >= Version::V1_2 {
            features = features.and(Features::DOCUMENTS);
        }
        if self.may_share {
            features = features.and(Features::RING);
        }
        Welcome {
            version: self.version,
            credits: terms.credits,
            limits: Limits {
                frame_bytes: MAX_FRAME_BYTES as u32,
                jobs: MAX_JOBS as u16,
                messages: MAX_MESSAGES as u16,
                chunk_bytes: MAX_CHUNK_BYTES as u16,
                deadline_default_ms: terms.deadline_default.as_millis() as u32,
                deadline_max_ms: terms.deadline_max.as_millis() as u32,
            },
            features,
            daemon: env!("CARGO_PKG_VERSION").into(),
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> End {
        // When the client must have taken some bytes, while there are any for it.
        let mut stalls_at: Option<Instant> = None;
        let mut stopped = pin!(stop.cancelled());
        loop {
            let is_ahead = match self.handle_frames() {
                Ok(is_ahead) => is_ahead,
                Err(end) => return end,
            };
            let is_ring_awake = match self.serve_ring() {
                Ok(is_ring_awake) => is_ring_awake,
                Err(end) => return end,
            };
            self.drain_answers();
            self.note_credits();
            if is_ahead {
                tokio::task::yield_now().await;
                if self.takes_frames() {
                    // Each answer on its way by itself would wake the client for each.
                    // It ends with the frames that were read, whose bytes are bounded.
                    continue;
                }
            }
            if self.link.is_unsent() {
                match self.link.advance_now(false).await {
                    Some(Io::Closed) => return End::Client,
                    Some(_) => {
                        stalls_at = None;
                        if is_ahead {
                            // There may be room now for what was read already.
                            continue;
                        }
                    }
                    None => {}
                }
            }
            let has_room = self.link.has_room();
            let is_unsent = self.link.is_unsent();
            stalls_at =
                is_unsent.then(|| stalls_at.unwrap_or_else(|| Instant::now() + STALL_TIMEOUT));
            let reads = has_room && self.digesting.is_none() && !is_ahead;
            // Most sessions have neither, and each look costs as much as a small digest.
            let waits_for_answers = has_room && !self.open.is_empty();
            let tells_news = has_room && self.subscription.is_to_something();
            tokio::select! {
                io = self.link.advance(reads), if reads || is_unsent => match io {
                    Io::Read => self.hub.eager().note_read(),
                    Io::Written => stalls_at = None,
                    Io::Closed => return End::Client,
                },
                Some(answer) = self.answers.recv(), if waits_for_answers => self.on_answer(answer),
                digested = join(&mut self.digesting) => self.on_digested(digested),
                event = self.subscription.next(&self.hub), if tells_news => self.link.push(&event),
                () = tokio::task::yield_now(), if is_ring_awake => {}
                () = sleep_until(stalls_at) => return End::Stalled,
                () = &mut stopped => return End::Shutdown,
            }
        }
    }

    /// Whether another frame may be handled now.
    fn takes_frames(&self) -> bool {
        self.link.has_room_behind(self.gather.bytes()) && self.digesting.is_none()
    }

    /// Handles frames that were read already, and answers digest batches among them;
    /// says whether more are left.
    fn handle_frames(&mut self) -> Result<bool, End> {
        let is_ahead = self.handle_turn();
        self.answer_gathered();
        is_ahead
    }

    fn handle_turn(&mut self) -> Result<bool, End> {
        for _ in 0..FRAMES_PER_TURN {
            if !self.takes_frames() {
                // What is gathered takes less room once it is answered.
                return Ok(self.gather.bytes() > 0);
            }
            match self.link.next_frame() {
                Ok(Some(frame)) => {
                    let is_long = matches!(frame, Frame::StatusQuery(_) | Frame::Query(_));
                    self.handle(frame)?;
                    if is_long || self.gather.is_full() {
                        return Ok(true);
                    }
                }
                Ok(None) => return Ok(false),
                Err(error) => return Err(End::Protocol(one_line(&error))),
            }
        }
        Ok(true)
    }

    fn handle(&mut self, frame: Frame) -> Result<(), End> {
        match frame {
            Frame::Search(search) => self.on_search(search)?,
            Frame::DigestBatch(batch) => self.on_digest_batch(batch)?,
            Frame::DigestBegin(begin) => self.on_digest_begin(begin)?,
            Frame::DigestChunk(chunk) => self.on_digest_chunk(chunk.request, chunk.data),
            Frame::DigestEnd(end) => self.on_digest_end(end.request),
            Frame::RingOpen(request) => self.on_ring_open(request)?,
            // The ring is looked into in every turn.
            Frame::RingBell => {}
            Frame::Cancel(cancel) => self.on_cancel(cancel),
            Frame::StatusQuery(request) => self.on_status_query(request),
            Frame::Query(query) => self.on_query(&query),
            Frame::Subscribe(subscribe) => self.subscription.set(subscribe.topics),
            Frame::Ping(number) => self.link.push(&Frame::Pong(number)),
            Frame::Pong(_) => {}
            Frame::Goodbye(_) => return Err(End::Client),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::SearchDone(_)
            | Frame::Digests(_)
            | Frame::DigestStreamed(_)
            | Frame::RingOpened(_)
            | Frame::Failed(_)
            | Frame::Status(_)
            | Frame::Document(_)
            | Frame::Event(_) => {
                return Err(End::Protocol("a client must not send this frame".into()));
            }
        }
        Ok(())
    }

    /// A number names one unanswered request; with two, answers would be ambiguous.
    fn check_unused(&self, request: RequestId) -> Result<(), End> {
        if self.open.contains_key(&request) || self.gather.holds(request) {
            let message = format!("request {} is still unanswered", request.0);
            return Err(End::Protocol(message));
        }
        Ok(())
    }

    fn on_search(&mut self, search: Search) -> Result<(), End> {
        let request = search.request;
        self.check_unused(request)?;
        let refused = self
            .hub
            .submit(self.id, request, &search.jobs, &mut self.credits);
        let accepted = search.jobs.len() - refused.len();
        if accepted > 0 {
            self.open.insert(request, Open::Search(accepted));
        }
        if !refused.is_empty() {
            self.hub.count_refused(self.id, refused.len());
        }
        for (index, error) in refused {
            self.push_failed(request, Some(index), &error);
        }
        Ok(())
    }

    fn drain_answers(&mut self) {
        while !self.open.is_empty()
            && self.link.has_room()
            && let Ok(answer) = self.answers.try_recv()
        {
            self.on_answer(answer);
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        self.credits.give_back();
        let request = answer.request;
        if let Some(Open::Search(unanswered)) = self.open.get_mut(&request) {
            *unanswered -= 1;
            if *unanswered == 0 {
                self.open.remove(&request);
            }
        }
        match answer.outcome {
            Ok((result, computed_by)) => self.link.push(&Frame::SearchDone(SearchDone {
                request,
                index: answer.index,
                result,
                computed_by,
            })),
            Err(error) => self.push_failed(request, Some(answer.index), &error),
        }
    }

    fn on_cancel(&mut self, cancel: Cancel) {
        if let Some(Open::Stream(_)) = self.take_stream(cancel.request) {
            self.credits.give_back();
            self.push_failed(cancel.request, None, &JobError::Cancelled);
        } else {
            self.hub.cancel(self.id, cancel.request, cancel.index);
        }
    }

    fn on_status_query(&mut self, request: RequestId) {
        self.note_credits();
        match StatusReply::new(request, &self.hub.status()) {
            Ok(status) => self.link.push(&Frame::Status(status)),
            Err(error) => {
                error!(session = self.id.0, fault = request.0, %error, "no status");
                self.push_failed(request, None, &JobError::Internal(request.0.into()));
            }
        }
    }

    fn on_query(&mut self, query: &Query) {
        let request = query.request;
        match self.hub.document(&query.topic, &query.argument) {
            Ok(document) => match Document::new(request, &document) {
                Ok(document) => self.link.push(&Frame::Document(document)),
                Err(error) => {
                    error!(session = self.id.0, fault = request.0, %error, "no document");
                    self.push_failed(request, None, &JobError::Internal(request.0.into()));
                }
            },
            Err(error) => self.push_failed(request, None, &error),
        }
    }

    fn push_failed(&mut self, request: RequestId, index: Option<u16>, error: &JobError) {
        self.link.push(&Frame::Failed(Failed {
            request,
            index,
            status: error.status(),
            message: error.to_string().into(),
        }));
    }

    /// Keeps the status true about the credits.
    fn note_credits(&mut self) {
        let free = self.credits.free();
        if free != self.credits_noted {
            self.credits_noted = free;
            self.hub.note_credits(self.id, free);
        }
    }

    /// The last frames: what is answered already, then Goodbye.
    async fn leave(mut self, end: End) {
        if let End::Shutdown = end {
            if self.digesting.is_some()
                && let Ok(digested) = timeout(FAREWELL_TIMEOUT, join(&mut self.digesting)).await
            {
                self.on_digested(digested);
            }
            while let Ok(answer) = self.answers.try_recv() {
                self.on_answer(answer);
            }
            let open: Vec<RequestId> = self.open.keys().copied().collect();
            for request in open {
                self.push_failed(request, None, &JobError::ShuttingDown);
            }
        }
        let session = self.id.0;
        match &end {
            End::Protocol(error) => {
                if let Some(unsaid) = self.hub.note_complaint() {
                    info!(session, error, unsaid, "session ended: not the protocol");
                }
            }
            End::Stalled => {
                if let Some(unsaid) = self.hub.note_complaint() {
                    info!(session, unsaid, "session ended: client takes no answers");
                }
            }
            End::Client | End::Shutdown => debug!(session, ?end, "session closed"),
        }
        say_goodbye(&mut self.link, &end).await;
    }
}

#[cfg(test)]
mod tests;
