use hasher_work::SearchJob;

use crate::{ClientError, SearchAnswer, SearchOptions, blocking};

/// Anything that can run a search: the daemon's devices, or this CPU.
///
/// An engine blocks the calling thread. Code inside an async runtime uses
/// [`Client`](crate::Client) itself, or calls an engine on a thread of its own
/// (`tokio::task::spawn_blocking`).
///
/// Nobody may depend on *which* nonce an engine finds; every hit is verified.
pub trait Engine: Send + Sync {
    /// Runs all jobs and gives their answers in the same order.
    ///
    /// # Errors
    /// The first failure of any job; the others are given up.
    fn search(&self, jobs: &[SearchJob]) -> Result<Vec<SearchAnswer>, ClientError>;

    /// Runs one job.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    fn search_one(&self, job: &SearchJob) -> Result<SearchAnswer, ClientError> {
        let mut answers = self.search(std::slice::from_ref(job))?;
        Ok(answers.pop().expect("one job has one answer"))
    }
}

/// The daemon's devices as an engine.
#[derive(Debug)]
pub struct RemoteEngine {
    client: blocking::Client,
    options: SearchOptions,
}

impl RemoteEngine {
    /// Searches through `client`, with its own deadline and priority.
    pub fn new(client: blocking::Client) -> Self {
        let options = client.options();
        Self { client, options }
    }

    /// Searches with these options instead.
    #[must_use]
    pub const fn with_options(mut self, options: SearchOptions) -> Self {
        self.options = options;
        self
    }

    /// The client, for requests that are not searches.
    pub const fn client(&self) -> &blocking::Client {
        &self.client
    }
}

impl Engine for RemoteEngine {
    fn search(&self, jobs: &[SearchJob]) -> Result<Vec<SearchAnswer>, ClientError> {
        self.client.search_batch_with(jobs, self.options)
    }
}
