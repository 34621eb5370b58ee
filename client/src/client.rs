use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use hasher_wire::{DigestAlgorithm, Messages, StatusReport, Topics};
use hasher_work::{Digest, SearchJob, WorkError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::connect::{Dial, open};
use crate::desk::{COMMANDS_MAX, Command, Desk, Notice, REQUESTS_MAX, Requests};
use crate::ledger::{Key, Ledger, Told, Work, message_bytes, messages_bytes_max, messages_max};
use crate::link::Link;
use crate::{
    ClientBuilder, ClientError, DigestAnswer, DigestStream, SearchAnswer, SearchOptions, Session,
    StreamAnswer, Subscription, Ticket,
};

/// Most jobs in one ticket: what a program may reasonably hold at once, about 3 MB.
pub const BATCH_JOBS_MAX: usize = 16 * 1024;
/// Longest deadline: what the protocol can carry in milliseconds, 49 days.
const DEADLINE_MAX: Duration = Duration::from_millis(u32::MAX as u64);
/// Events that wait for a slow subscriber; older ones give way to newer ones.
const EVENTS_MAX: usize = 64;

/// A connection to the daemon that mends itself.
///
/// Clones share the connection and its credits. Requests of one client are sent in
/// the order in which they were made, as credits allow, and answered in any order.
/// When the last clone, ticket, stream and subscription is gone, the connection
/// closes in good order by itself.
///
/// Every method that waits is cancel-safe: dropping its future gives the request
/// up, here and in the daemon.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Handle,
    options: SearchOptions,
}

impl Client {
    /// Connects with all settings at their defaults.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect() -> Result<Self, ClientError> {
        Self::builder().connect().await
    }

    /// Settings before connecting.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) async fn open(
        builder: ClientBuilder,
        mut dial: impl Dial,
    ) -> Result<Self, ClientError> {
        let hello = builder.hello();
        let opened = open(&mut dial, &hello, builder.connect_timeout).await?;
        let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
        let (requests_in, requests) = mpsc::channel(REQUESTS_MAX);
        let (notices_in, notices) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (session, session_out) = watch::channel(opened.session.clone());
        let link = Link {
            dial,
            hello,
            connect_timeout: builder.connect_timeout,
            retry: builder.retry,
            desk: Desk {
                ledger: Ledger::new(builder.retry, events.clone()),
                requests,
                commands,
                notices,
            },
            session,
        };
        tokio::spawn(link.run(opened));
        Ok(Self {
            handle: Handle {
                requests: requests_in,
                commands: commands_in,
                notices: notices_in,
                next_key: Arc::default(),
                events,
                session: session_out,
            },
            options: builder.options,
        })
    }

    /// What was agreed with the daemon; the last known while reconnecting.
    pub fn session(&self) -> Session {
        self.handle.session.borrow().clone()
    }

    /// Deadline and priority of requests that name none.
    pub const fn options(&self) -> SearchOptions {
        self.options
    }

    /// Runs one search.
    ///
    /// # Errors
    /// [`ClientError::BadJob`], [`ClientError::Failed`], or whatever ended the last
    /// attempt.
    pub async fn search(&self, job: SearchJob) -> Result<SearchAnswer, ClientError> {
        let mut answers = self.search_batch(&[job]).await?;
        Ok(answers.pop().expect("one job has one answer"))
    }

    /// Runs all jobs and gives their answers in the same order. See
    /// [`submit`](Self::submit) to have each as it comes.
    ///
    /// # Errors
    /// The first failure of any job; the others are cancelled.
    pub async fn search_batch(&self, jobs: &[SearchJob]) -> Result<Vec<SearchAnswer>, ClientError> {
        self.submit(jobs, self.options).await?.answers().await
    }

    /// Hands in up to [`BATCH_JOBS_MAX`] jobs. Waits only for a place in this client.
    ///
    /// # Errors
    /// [`ClientError::BadJob`] before anything is sent; [`ClientError::Failed`] with
    /// `Deadline` when no place came free in time; [`ClientError::Ended`].
    pub async fn submit(
        &self,
        jobs: &[SearchJob],
        options: SearchOptions,
    ) -> Result<Ticket, ClientError> {
        if jobs.len() > BATCH_JOBS_MAX {
            return Err(WorkError::BadJob("more than 16384 jobs in one batch").into());
        }
        for job in jobs {
            job.check()?;
        }
        let deadline = deadline(options);
        let first = self.handle.new_keys(jobs.len());
        // A channel needs one place even for no job.
        let (reply, answers) = mpsc::channel(jobs.len().max(1));
        let works = jobs.iter().enumerate().map(|(index, job)| Work::Search {
            job: *job,
            priority: options.priority,
            ticket: first,
            index,
            reply: reply.clone(),
        });
        let ticket = Ticket::new(self.handle.interest(first, jobs.len()), answers, jobs.len());
        let works = works.collect();
        self.handle.submit(first, works, deadline).await?;
        Ok(ticket)
    }

    /// Has one message digested by the daemon's CPU.
    ///
    /// A program that links this library is served faster by
    /// [`digest`](crate::digest) in its own process; the service is for
    /// comparison, and for programs that want one source of digests.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn digest(
        &self,
        algorithm: DigestAlgorithm,
        message: impl AsRef<[u8]>,
    ) -> Result<DigestAnswer, ClientError> {
        self.digest_batch(algorithm, &[message]).await
    }

    /// Has messages digested by the daemon's CPU, of any number and length.
    ///
    /// # Errors
    /// As [`search`](Self::search); the first failure ends it.
    pub async fn digest_batch<M: AsRef<[u8]>>(
        &self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<DigestAnswer, ClientError> {
        let limits = self.session().limits;
        let (bytes_max, count_max) = (messages_bytes_max(&limits), messages_max(&limits));
        let mut digests: Vec<Digest> = Vec::with_capacity(messages.len());
        let mut by = None;
        let mut rest = messages;
        // One frame at a time: a frame holds up to 1024 messages, so the round
        // trips hardly count, and the daemon is never flooded.
        while let Some(next) = rest.first() {
            let next = next.as_ref();
            if message_bytes(next) > bytes_max {
                let answer = self.digest_stream(algorithm, next).await?;
                digests.push(answer.digest);
                by = Some(answer.by);
                rest = &rest[1..];
                continue;
            }
            let mut bytes = 0;
            let fitting = rest.iter().take(count_max).take_while(|message| {
                bytes += message_bytes(message.as_ref());
                bytes <= bytes_max
            });
            let count = fitting.count();
            let (batch, later) = rest.split_at(count);
            let answer = self.digest_frame(algorithm, batch).await?;
            digests.extend(answer.digests);
            by = Some(answer.by);
            rest = later;
        }
        Ok(DigestAnswer {
            digests,
            // Of no messages, nobody had to compute anything.
            by: by.unwrap_or_else(crate::ComputedBy::local),
        })
    }

    async fn digest_frame<M: AsRef<[u8]>>(
        &self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<DigestAnswer, ClientError> {
        let messages = Messages::new(messages)?;
        self.ask(|reply| Work::Digest {
            algorithm,
            messages,
            reply,
        })
        .await
    }

    /// Has everything that `reader` gives digested by the daemon's CPU. There is no
    /// bound on how much it gives, only on how long the daemon may stop taking it.
    ///
    /// # Errors
    /// [`ClientError::Read`] when `reader` fails; otherwise as
    /// [`search`](Self::search), but nothing is repeated: its bytes are gone.
    pub async fn digest_stream(
        &self,
        algorithm: DigestAlgorithm,
        mut reader: impl AsyncRead + Unpin,
    ) -> Result<StreamAnswer, ClientError> {
        let mut stream = self.open_digest(algorithm).await?;
        let mut chunk = BytesMut::new();
        loop {
            chunk.reserve(stream.chunk_bytes());
            let read = reader.read_buf(&mut chunk).await;
            if read.map_err(|error| ClientError::Read(Arc::new(error)))? == 0 {
                return stream.finish().await;
            }
            stream.push_bytes(chunk.split().freeze()).await?;
        }
    }

    /// Opens a digest stream that the caller feeds. Waits for a credit, which the
    /// stream then holds until it ends.
    ///
    /// # Errors
    /// As [`search`](Self::search); [`ClientError::Failed`] with `Unsupported` from
    /// a daemon of protocol 1.0.
    pub async fn open_digest(
        &self,
        algorithm: DigestAlgorithm,
    ) -> Result<DigestStream, ClientError> {
        let (opened_in, opened) = oneshot::channel();
        let (done_in, done) = oneshot::channel();
        let first = self.handle.new_keys(1);
        let mut stream = DigestStream::new(self.handle.interest(first, 1), done, self.options);
        let work = Work::Stream {
            algorithm,
            opened: Some(opened_in),
            done: done_in,
        };
        let deadline = deadline(self.options);
        self.handle.submit(first, vec![work], deadline).await?;
        match opened.await {
            Ok(chunk_bytes) => {
                stream.opened(chunk_bytes);
                Ok(stream)
            }
            Err(_) => Err(stream.failure().await),
        }
    }

    /// Asks for the daemon's status.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn status(&self) -> Result<StatusReport, ClientError> {
        self.ask(|reply| Work::Status { reply }).await
    }

    /// Asks for a document by its topic, as JSON; see `docs/socket-protocol.md` for the
    /// topics and what their arguments mean. Names longer than
    /// [`MAX_NAME_BYTES`](hasher_wire::MAX_NAME_BYTES) are cut.
    ///
    /// # Errors
    /// As [`search`](Self::search); [`ClientError::Failed`] with `Unsupported` for a
    /// topic that this daemon does not have, and from one of protocol 1.1 or older.
    pub async fn document(&self, topic: &str, argument: &str) -> Result<String, ClientError> {
        self.ask(|reply| Work::Document {
            topic: topic.to_owned(),
            argument: argument.to_owned(),
            reply,
        })
        .await
    }

    /// Subscribes to events. The present state comes first.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn subscribe(&self, topics: Topics) -> Result<Subscription, ClientError> {
        let key = self.handle.new_keys(1);
        let events = self.handle.events.subscribe();
        let subscription = Subscription::new(self.handle.interest(key, 1), events, topics);
        let command = subscription.command();
        self.handle.send(command, deadline(self.options)).await?;
        Ok(subscription)
    }

    /// Says Goodbye and ends; open requests of all clones fail with
    /// [`ClientError::Ended`]. Waits until the last frame has left, at most a second,
    /// whatever else waits in this client or for the daemon.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        // An error means that it has ended already.
        if self.handle.notices.send(Notice::Close { done }).is_ok() {
            _ = closed.await;
        }
    }

    /// One request with one answer.
    async fn ask<T>(
        &self,
        work: impl FnOnce(crate::ledger::Reply<T>) -> Work,
    ) -> Result<T, ClientError> {
        let first = self.handle.new_keys(1);
        // Made before the channel, so dropped after it: a request that arrives
        // behind its own cancel is told by its closed channel.
        let interest = self.handle.interest(first, 1);
        let (reply, answer) = oneshot::channel();
        let deadline = deadline(self.options);
        let asking = async {
            self.handle.ask(first, work(reply), deadline).await?;
            answer.await.unwrap_or(Err(ClientError::Ended))
        };
        let result = asking.await;
        interest.settle();
        result
    }
}

/// The instant until which a request with these options has time.
pub(crate) fn deadline(options: SearchOptions) -> Instant {
    Instant::now() + options.deadline.min(DEADLINE_MAX)
}

/// What tickets, streams and subscriptions hold of their client.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Requests>,
    commands: mpsc::Sender<Command>,
    notices: mpsc::UnboundedSender<Notice>,
    next_key: Arc<AtomicU64>,
    events: broadcast::Sender<Told>,
    session: watch::Receiver<Session>,
}

impl Handle {
    fn new_keys(&self, count: usize) -> Key {
        self.next_key.fetch_add(count as Key, Ordering::Relaxed)
    }

    fn interest(&self, first: Key, count: usize) -> Interest {
        Interest {
            handle: self.clone(),
            keys: first..first + count as Key,
            is_settled: false,
        }
    }

    /// Waits for a place in this client, at most until `deadline`.
    async fn submit(
        &self,
        first: Key,
        works: Vec<Work>,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let requests = Requests {
            first,
            works,
            deadline,
        };
        send_until(&self.requests, requests, deadline).await
    }

    /// One request; a free one passes those that wait for a credit.
    async fn ask(&self, key: Key, work: Work, deadline: Instant) -> Result<(), ClientError> {
        if work.needs_credit() {
            return self.submit(key, vec![work], deadline).await;
        }
        let command = Command::Ask {
            key,
            work,
            deadline,
        };
        self.send(command, deadline).await
    }

    /// Waits for a place in this client, at most until `deadline`.
    pub(crate) async fn send(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        send_until(&self.commands, command, deadline).await
    }
}

async fn send_until<T>(
    channel: &mpsc::Sender<T>,
    message: T,
    deadline: Instant,
) -> Result<(), ClientError> {
    match timeout_at(deadline, channel.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(ClientError::Ended),
        Err(_) => Err(ClientError::deadline()),
    }
}

/// Someone waits for these requests; dropping it gives them up.
#[derive(Debug)]
pub(crate) struct Interest {
    handle: Handle,
    keys: Range<Key>,
    is_settled: bool,
}

impl Interest {
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) const fn key(&self) -> Key {
        self.keys.start
    }

    /// All is answered: nothing is left to give up.
    pub(crate) fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        if !self.is_settled && !self.keys.is_empty() {
            let notice = Notice::Cancel(self.keys.clone());
            // A link that has ended has nothing to cancel.
            _ = self.handle.notices.send(notice);
        }
    }
}
