//! The same client for code without a runtime.
//!
//! Owns one plain thread with a runtime of its own, on which the connection lives;
//! so answers, cancels and reconnects go on while the caller does something else.
//! Its methods block the calling thread and panic inside an async runtime: use
//! [`crate::Client`] there.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hasher_wire::{DigestAlgorithm, EventBody, StatusReport, Topics};
use hasher_work::{Digest, SearchJob};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::{
    ClientBuilder, ClientError, ComputedBy, DigestAnswer, SearchAnswer, SearchOptions, Session,
    StreamAnswer,
};

/// Stack of the connection's thread; it holds a few buffers' handles, no recursion.
const STACK_BYTES: usize = 512 * 1024;

/// A connection to the daemon for code without a runtime.
///
/// It can be shared among threads. Dropping it says Goodbye.
///
/// ```no_run
/// use hasher_client::blocking::Client;
///
/// let client = Client::connect()?;
/// for device in client.status()?.devices {
///     println!("{} is {}", device.id, device.kind.as_str());
/// }
/// # Ok::<(), hasher_client::ClientError>(())
/// ```
#[derive(Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Handle,
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Connects with all settings at their defaults.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect_blocking`].
    pub fn connect() -> Result<Self, ClientError> {
        crate::Client::builder().connect_blocking()
    }

    pub(crate) fn open(builder: ClientBuilder) -> Result<Self, ClientError> {
        let runtime = new_runtime()?;
        let client = runtime.block_on(builder.connect())?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let last = client.clone();
        let thread = thread::Builder::new()
            .name("hasher-client".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                runtime.block_on(async {
                    // Nothing is ever sent: the other end is dropped.
                    _ = stopped.await;
                    last.close().await;
                });
            })
            .map_err(|error| ClientError::Thread(Arc::new(error)))?;
        Ok(Self {
            client,
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// See [`crate::Client::session`].
    pub fn session(&self) -> Session {
        self.client.session()
    }

    /// See [`crate::Client::options`].
    pub const fn options(&self) -> SearchOptions {
        self.client.options()
    }

    /// See [`crate::Client::search`].
    ///
    /// # Errors
    /// As there.
    pub fn search(&self, job: SearchJob) -> Result<SearchAnswer, ClientError> {
        self.wait(self.client.search(job))
    }

    /// See [`crate::Client::search_batch`].
    ///
    /// # Errors
    /// As there.
    pub fn search_batch(&self, jobs: &[SearchJob]) -> Result<Vec<SearchAnswer>, ClientError> {
        self.wait(self.client.search_batch(jobs))
    }

    /// As [`search_batch`](Self::search_batch), with a deadline and priority of its own.
    ///
    /// # Errors
    /// As there.
    pub fn search_batch_with(
        &self,
        jobs: &[SearchJob],
        options: SearchOptions,
    ) -> Result<Vec<SearchAnswer>, ClientError> {
        self.wait(async { self.client.submit(jobs, options).await?.answers().await })
    }

    /// See [`crate::Client::digest`].
    ///
    /// # Errors
    /// As there.
    pub fn digest(
        &self,
        algorithm: DigestAlgorithm,
        message: impl AsRef<[u8]>,
    ) -> Result<DigestAnswer, ClientError> {
        self.wait(self.client.digest(algorithm, message))
    }

    /// See [`crate::Client::digest_batch`].
    ///
    /// # Errors
    /// As there.
    pub fn digest_batch<M: AsRef<[u8]>>(
        &self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<DigestAnswer, ClientError> {
        self.wait(self.client.digest_batch(algorithm, messages))
    }

    /// See [`crate::Client::digest_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn digest_stream(
        &self,
        algorithm: DigestAlgorithm,
        mut reader: impl Read,
    ) -> Result<StreamAnswer, ClientError> {
        let mut stream = self.wait(self.client.open_digest(algorithm))?;
        let mut chunk = vec![0; stream.chunk_bytes()];
        loop {
            let count = match reader.read(&mut chunk) {
                Ok(0) => return self.wait(stream.finish()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ClientError::Read(Arc::new(error))),
            };
            self.wait(stream.push(&chunk[..count]))?;
        }
    }

    /// See [`crate::Client::document`].
    ///
    /// # Errors
    /// As there.
    pub fn document(&self, topic: &str, argument: &str) -> Result<String, ClientError> {
        self.wait(self.client.document(topic, argument))
    }

    /// See [`crate::Client::status`].
    ///
    /// # Errors
    /// As there.
    pub fn status(&self) -> Result<StatusReport, ClientError> {
        self.wait(self.client.status())
    }

    /// See [`crate::Client::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub fn subscribe(&self, topics: Topics) -> Result<Subscription<'_>, ClientError> {
        let subscription = self.wait(self.client.subscribe(topics))?;
        Ok(Subscription {
            client: self,
            subscription,
        })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread ends within a second (`Client::close`); had it panicked,
            // there would be nothing to save here.
            _ = thread.join();
        }
    }
}

/// Shared memory for bulk digests, for code without a runtime. What it waits for it waits
/// for on the calling thread.
#[derive(Debug)]
pub struct DigestRing {
    // Dropped before the runtime that its socket is registered with.
    ring: crate::DigestRing,
    runtime: Runtime,
}

impl DigestRing {
    pub(crate) fn open(builder: ClientBuilder) -> Result<Self, ClientError> {
        let runtime = new_runtime()?;
        let ring = runtime.block_on(builder.open_ring())?;
        Ok(Self { ring, runtime })
    }

    /// See [`crate::DigestRing::session`].
    pub const fn session(&self) -> &Session {
        self.ring.session()
    }

    /// See [`crate::DigestRing::computed_by`].
    pub const fn computed_by(&self) -> &ComputedBy {
        self.ring.computed_by()
    }

    /// See [`crate::DigestRing::in_flight`].
    pub const fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    /// See [`crate::DigestRing::submit`].
    ///
    /// # Errors
    /// As there.
    pub fn submit<M: AsRef<[u8]>>(
        &mut self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<usize, ClientError> {
        self.ring.submit(algorithm, messages)
    }

    /// See [`crate::DigestRing::collect`].
    ///
    /// # Errors
    /// As there.
    pub fn collect(&mut self) -> Result<Vec<Digest>, ClientError> {
        // Entering the runtime costs as much as a few digests.
        match self.ring.try_collect() {
            Some(digests) => Ok(digests),
            None => self.runtime.block_on(self.ring.collect()),
        }
    }

    /// See [`crate::DigestRing::digest_batch`].
    ///
    /// # Errors
    /// As there.
    pub fn digest_batch<M: AsRef<[u8]>>(
        &mut self,
        algorithm: DigestAlgorithm,
        messages: &[M],
    ) -> Result<DigestAnswer, ClientError> {
        let digesting = self.ring.digest_batch(algorithm, messages);
        self.runtime.block_on(digesting)
    }
}

fn new_runtime() -> Result<Runtime, ClientError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| ClientError::Thread(Arc::new(error)))
}

/// Events of the daemon as an iterator that waits.
#[derive(Debug)]
pub struct Subscription<'a> {
    client: &'a Client,
    subscription: crate::Subscription,
}

impl Subscription<'_> {
    /// See [`crate::Subscription::connection`].
    pub const fn connection(&self) -> u64 {
        self.subscription.connection()
    }
}

impl Iterator for Subscription<'_> {
    type Item = Result<EventBody, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.client.wait(self.subscription.next())
    }
}
