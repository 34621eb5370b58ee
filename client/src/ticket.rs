use tokio::sync::mpsc;

use crate::client::Interest;
use crate::ledger::JobAnswer;
use crate::{ClientError, SearchAnswer};

/// A batch of searches in flight. Dropping it cancels what is not answered yet.
///
/// Every job is answered exactly once, with a result or an error, whatever happens
/// to the connection or the daemon in between.
#[derive(Debug)]
pub struct Ticket {
    // Dropped before `interest`: see `Client::ask`.
    answers: mpsc::Receiver<JobAnswer>,
    interest: Interest,
    is_answered: Vec<bool>,
    left: usize,
}

impl Ticket {
    pub(crate) fn new(interest: Interest, answers: mpsc::Receiver<JobAnswer>, jobs: usize) -> Self {
        Self {
            answers,
            interest,
            is_answered: vec![false; jobs],
            left: jobs,
        }
    }

    /// Jobs that [`next`](Self::next) has not given yet.
    pub const fn left(&self) -> usize {
        self.left
    }

    /// The next answer in order of arrival: the job's place in the batch and what
    /// became of it. Nothing when all are answered. Cancel-safe.
    pub async fn next(&mut self) -> Option<(usize, Result<SearchAnswer, ClientError>)> {
        if self.left == 0 {
            return None;
        }
        let (index, answer) = match self.answers.recv().await {
            Some(answer) => answer,
            // The client was closed before these were answered.
            None => {
                let index = self.is_answered.iter().position(|is_answered| !is_answered);
                (index.unwrap_or_default(), Err(ClientError::Ended))
            }
        };
        self.is_answered[index] = true;
        self.left -= 1;
        Some((index, answer))
    }

    /// Waits for all answers; in the order of the jobs, each with its own error.
    pub async fn all(mut self) -> Vec<Result<SearchAnswer, ClientError>> {
        let mut answers: Vec<_> = self.is_answered.iter().map(|_| None).collect();
        while let Some((index, answer)) = self.next().await {
            answers[index] = Some(answer);
        }
        self.interest.settle();
        // Empty places were given to the caller before.
        answers.into_iter().flatten().collect()
    }

    /// Waits for all answers, in the order of the jobs.
    ///
    /// # Errors
    /// The first failure that arrives; the other jobs are cancelled.
    pub async fn answers(mut self) -> Result<Vec<SearchAnswer>, ClientError> {
        let mut answers: Vec<_> = self.is_answered.iter().map(|_| None).collect();
        while let Some((index, answer)) = self.next().await {
            answers[index] = Some(answer?);
        }
        self.interest.settle();
        Ok(answers.into_iter().flatten().collect())
    }
}
