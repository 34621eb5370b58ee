//! One client's connection, from Hello to Goodbye.
//!
//! Owns the socket, the credits, the set of unanswered requests and the
//! subscription. Jobs go to the [`Hub`], answers come back through a channel with a
//! place for each credit, so a client that does not read slows nobody down: the
//! session stops reading its requests once its unsent answers reach a limit. Never
//! touches a device. The listener calls [`serve`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hasher_wire::{
    Cancel, DigestBatch, DigestBegin, DigestStreamed, Digests, Failed, Features, Frame, Goodbye,
    Hello, Limits, MAX_CHUNK_BYTES, MAX_FRAME_BYTES, MAX_JOBS, MAX_MESSAGES, Refused, RequestId,
    Search, SearchDone, SessionReport, Status, StatusReply, Version, Welcome,
};
use hasher_work::Digest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::core::{
    Answer, Credits, DEADLINE_DEFAULT, DEADLINE_MAX, JobError, SESSION_CREDITS, SessionId,
};
use crate::digest::{self, Stream};
use crate::error_text::one_line;
use crate::hub::Hub;
use crate::link::{Io, Link};
use crate::subscription::Subscription;
use crate::time::sleep_until;

/// A client says Hello within this time or is dropped; its library does so at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that takes no byte of its answers for so long is dropped.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The last frames are given this long to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Frames handled before other tasks get a turn, so that a flood of small requests
/// holds up nobody.
const FRAMES_PER_TURN: usize = 16;

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
    S: AsyncRead + AsyncWrite,
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

/// Tells a client that there is no place for it.
pub(crate) async fn turn_away<S: AsyncRead + AsyncWrite>(stream: S) {
    let mut link = Link::new(stream);
    link.push(&Frame::Goodbye(Goodbye {
        status: Some(Status::Busy),
        message: "hasherd serves as many clients as it can".into(),
    }));
    let _ = timeout(FAREWELL_TIMEOUT, link.flush()).await;
}

/// Waits for Hello and agrees on a version; nothing when the client left or was
/// refused.
async fn greet<S: AsyncRead + AsyncWrite>(
    link: &mut Link<S>,
    stop: &CancellationToken,
) -> Result<Option<(Hello, Version)>, End> {
    let first_frame = async {
        loop {
            match link.next_frame() {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(error) => return Err(End::Protocol(one_line(&error))),
            }
            if let Io::Closed = link.advance(true).await {
                return Ok(None);
            }
        }
    };
    let first_frame = tokio::select! {
        frame = timeout(HELLO_TIMEOUT, first_frame) => frame,
        () = stop.cancelled() => return Err(End::Shutdown),
    };
    let hello = match first_frame {
        Ok(Ok(Some(Frame::Hello(hello)))) => hello,
        Ok(Ok(Some(_))) => return Err(End::Protocol("the first frame must be Hello".into())),
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(end)) => return Err(end),
        Err(_) => return Err(End::Protocol("no Hello within 5 s".into())),
    };
    if let Some(version) = Version::agree(hello.min, hello.max) {
        return Ok(Some((hello, version)));
    }
    link.push(&Frame::Refused(Refused {
        min: Version::OLDEST,
        max: Version::NEWEST,
    }));
    let _ = timeout(FAREWELL_TIMEOUT, link.flush()).await;
    Ok(None)
}

async fn say_goodbye<S: AsyncRead + AsyncWrite>(link: &mut Link<S>, end: &End) {
    let (status, message) = match end {
        End::Client | End::Stalled => return,
        End::Protocol(message) => (Status::Protocol, message.as_str()),
        End::Shutdown => (Status::ShuttingDown, "hasherd is shutting down"),
    };
    link.push(&Frame::Goodbye(Goodbye {
        status: Some(status),
        message: message.into(),
    }));
    let _ = timeout(FAREWELL_TIMEOUT, link.flush()).await;
}

/// A request that is not answered yet.
#[derive(Debug)]
enum Open {
    /// So many jobs of a Search.
    Search(usize),
    /// A digest batch, or a digest stream whose state is on a helper thread.
    Digesting,
    /// A digest stream that waits for more.
    Stream(Stream),
}

/// What a helper thread brings back.
enum Digested {
    Batch {
        messages: usize,
        bytes: u64,
        digests: Vec<Digest>,
    },
    Chunk(Stream),
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
    open: HashMap<RequestId, Open>,
    digesting: Option<(RequestId, JoinHandle<Digested>)>,
    subscription: Subscription,
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.hub.close_session(self.id);
    }
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    fn open(link: Link<S>, peer: Peer, hub: Arc<Hub>, hello: &Hello, version: Version) -> Self {
        let credits = Credits::new(SESSION_CREDITS);
        let (id, answers) = hub.open_session(SessionReport {
            name: hello.name.to_string(),
            uid: peer.uid,
            pid: peer.pid,
            protocol: version.to_string(),
            credits: SESSION_CREDITS,
            credits_free: credits.free(),
            ..SessionReport::default()
        });
        let subscription = Subscription::new(hub.watch_inventory());
        let name = &*hello.name;
        info!(session = id.0, name, uid = peer.uid, pid = peer.pid, %version, "session opened");
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
            subscription,
        };
        session.link.push(&Frame::Welcome(session.welcome()));
        session
    }

    fn welcome(&self) -> Welcome {
        let features = if self.version >= Version::V1_1 {
            Features::ROLLS.and(Features::DIGEST_STREAM)
        } else {
            Features::default()
        };
        Welcome {
            version: self.version,
            credits: SESSION_CREDITS,
            limits: Limits {
                frame_bytes: MAX_FRAME_BYTES as u32,
                jobs: MAX_JOBS as u16,
                messages: MAX_MESSAGES as u16,
                chunk_bytes: MAX_CHUNK_BYTES as u16,
                deadline_default_ms: DEADLINE_DEFAULT.as_millis() as u32,
                deadline_max_ms: DEADLINE_MAX.as_millis() as u32,
            },
            features,
            daemon: env!("CARGO_PKG_VERSION").into(),
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> End {
        // When the client must have taken some bytes, while there are any for it.
        let mut stalls_at: Option<Instant> = None;
        loop {
            let is_ahead = match self.handle_frames() {
                Ok(is_ahead) => is_ahead,
                Err(end) => return end,
            };
            self.drain_answers();
            self.note_credits();
            if is_ahead {
                tokio::task::yield_now().await;
            }
            let has_room = self.link.has_room();
            let is_unsent = self.link.is_unsent();
            stalls_at =
                is_unsent.then(|| stalls_at.unwrap_or_else(|| Instant::now() + STALL_TIMEOUT));
            let reads = has_room && self.digesting.is_none() && !is_ahead;
            tokio::select! {
                io = self.link.advance(reads), if reads || is_unsent => match io {
                    Io::Read => {}
                    Io::Written => stalls_at = None,
                    Io::Closed => return End::Client,
                },
                Some(answer) = self.answers.recv(), if has_room => self.on_answer(answer),
                digested = join(&mut self.digesting) => self.on_digested(digested),
                event = self.subscription.next(&self.hub), if has_room => self.link.push(&event),
                () = sleep_until(stalls_at) => return End::Stalled,
                () = stop.cancelled() => return End::Shutdown,
                () = std::future::ready(()), if is_ahead && has_room && self.digesting.is_none() => {}
            }
        }
    }

    /// Handles frames that were read already; says whether more are left.
    fn handle_frames(&mut self) -> Result<bool, End> {
        for _ in 0..FRAMES_PER_TURN {
            if !self.link.has_room() || self.digesting.is_some() {
                return Ok(false);
            }
            match self.link.next_frame() {
                Ok(Some(frame)) => self.handle(frame)?,
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
            Frame::Cancel(cancel) => self.on_cancel(cancel),
            Frame::StatusQuery(request) => self.on_status_query(request),
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
            | Frame::Failed(_)
            | Frame::Status(_)
            | Frame::Event(_) => {
                return Err(End::Protocol("a client must not send this frame".into()));
            }
        }
        Ok(())
    }

    /// A number names one unanswered request; with two, answers would be ambiguous.
    fn check_unused(&self, request: RequestId) -> Result<(), End> {
        if self.open.contains_key(&request) {
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
        while self.link.has_room()
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

    /// Takes a credit for a digest request, or refuses it.
    fn admit(&mut self, request: RequestId) -> bool {
        let admitted = self.credits.take();
        if !admitted {
            self.refuse(request, &JobError::Busy(SESSION_CREDITS));
        }
        admitted
    }

    fn refuse(&mut self, request: RequestId, error: &JobError) {
        self.hub.count_refused(self.id, 1);
        self.push_failed(request, None, error);
    }

    fn on_digest_batch(&mut self, batch: DigestBatch) -> Result<(), End> {
        let request = batch.request;
        self.check_unused(request)?;
        if !self.admit(request) {
            return Ok(());
        }
        self.open.insert(request, Open::Digesting);
        let bytes: usize = batch.messages.iter().map(bytes::Bytes::len).sum();
        let compute = move || Digested::Batch {
            messages: batch.messages.len(),
            bytes: bytes as u64,
            digests: digest::digests(batch.algorithm, &batch.messages),
        };
        if digest::is_large(bytes) {
            self.digesting = Some((request, tokio::task::spawn_blocking(compute)));
        } else {
            self.on_digested((request, Ok(compute())));
        }
        Ok(())
    }

    fn on_digest_begin(&mut self, begin: DigestBegin) -> Result<(), End> {
        self.check_unused(begin.request)?;
        if self.version < Version::V1_1 {
            self.refuse(begin.request, &JobError::Unsupported("digest streams"));
        } else if self.admit(begin.request) {
            let stream = Stream::new(begin.algorithm);
            self.open.insert(begin.request, Open::Stream(stream));
        }
        Ok(())
    }

    /// What belongs to no open stream was sent before the client knew its answer.
    fn on_digest_chunk(&mut self, request: RequestId, data: bytes::Bytes) {
        if let Some(Open::Stream(mut stream)) = self.take_stream(request) {
            self.open.insert(request, Open::Digesting);
            let is_large = digest::is_large(data.len());
            let compute = move || {
                stream.update(&data);
                Digested::Chunk(stream)
            };
            if is_large {
                self.digesting = Some((request, tokio::task::spawn_blocking(compute)));
            } else {
                self.on_digested((request, Ok(compute())));
            }
        }
    }

    fn on_digest_end(&mut self, request: RequestId) {
        if let Some(Open::Stream(stream)) = self.take_stream(request) {
            self.credits.give_back();
            let (length, digest) = stream.finish();
            self.hub.count_digests(self.id, 1, length);
            self.link.push(&Frame::DigestStreamed(DigestStreamed {
                request,
                length,
                digest,
                computed_by: digest::computed_by(),
            }));
        }
    }

    fn take_stream(&mut self, request: RequestId) -> Option<Open> {
        matches!(self.open.get(&request), Some(Open::Stream(_)))
            .then(|| self.open.remove(&request))
            .flatten()
    }

    fn on_digested(&mut self, (request, digested): (RequestId, Result<Digested, ()>)) {
        match digested {
            Ok(Digested::Chunk(stream)) => {
                self.open.insert(request, Open::Stream(stream));
                return;
            }
            Ok(Digested::Batch {
                messages,
                bytes,
                digests,
            }) => {
                self.hub.count_digests(self.id, messages, bytes);
                self.link.push(&Frame::Digests(Digests {
                    request,
                    computed_by: digest::computed_by(),
                    digests,
                }));
            }
            Err(()) => {
                error!(
                    session = self.id.0,
                    fault = request.0,
                    "digest thread failed"
                );
                self.push_failed(request, None, &JobError::Internal(request.0.into()));
            }
        }
        self.open.remove(&request);
        self.credits.give_back();
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
        info!(session = self.id.0, ?end, "session closed");
        say_goodbye(&mut self.link, &end).await;
    }
}

/// The result of the computation on a helper thread, once there is one.
async fn join(
    digesting: &mut Option<(RequestId, JoinHandle<Digested>)>,
) -> (RequestId, Result<Digested, ()>) {
    let Some((request, handle)) = digesting else {
        return std::future::pending().await;
    };
    let digested = handle.await.map_err(drop);
    let request = *request;
    *digesting = None;
    (request, digested)
}

#[cfg(test)]
mod tests;
