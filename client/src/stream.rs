use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::{Interest, deadline};
use crate::desk::Command;
use crate::{ClientError, SearchOptions, StreamAnswer};

/// A digest of data that comes in pieces. Dropping it gives it up.
///
/// It belongs to one connection: when that is lost the stream fails, because the
/// bytes that were pushed are gone.
#[derive(Debug)]
pub struct DigestStream {
    // Dropped before `interest`: see `Client::ask`.
    done: oneshot::Receiver<Result<StreamAnswer, ClientError>>,
    interest: Interest,
    options: SearchOptions,
    chunk_bytes: usize,
}

impl DigestStream {
    pub(crate) const fn new(
        interest: Interest,
        done: oneshot::Receiver<Result<StreamAnswer, ClientError>>,
        options: SearchOptions,
    ) -> Self {
        Self {
            done,
            interest,
            options,
            chunk_bytes: 0,
        }
    }

    pub(crate) const fn opened(&mut self, chunk_bytes: usize) {
        self.chunk_bytes = chunk_bytes;
    }

    /// Bytes that travel in one frame; pieces of this size are the cheapest.
    pub const fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Appends bytes, any number of them. Waits while the daemon is slower than
    /// the caller. Not cancel-safe: a part may have been appended.
    ///
    /// # Errors
    /// Why the stream failed; [`ClientError::Failed`] with `Deadline` when the daemon
    /// took nothing for as long as a request may take.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for piece in bytes.chunks(self.chunk_bytes) {
            self.send_chunk(Bytes::copy_from_slice(piece)).await?;
        }
        Ok(())
    }

    /// As [`push`](Self::push), without a copy.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn push_bytes(&mut self, mut bytes: Bytes) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.chunk_bytes));
            self.send_chunk(piece).await?;
        }
        Ok(())
    }

    /// Ends the data and waits for its digest.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn finish(mut self) -> Result<StreamAnswer, ClientError> {
        let deadline = deadline(self.options);
        let key = self.interest.key();
        self.send(Command::Finish { key, deadline }, deadline)
            .await?;
        let answer = (&mut self.done).await;
        self.interest.settle();
        answer.unwrap_or(Err(ClientError::Ended))
    }

    /// Why the stream could not be opened.
    pub(crate) async fn failure(self) -> ClientError {
        let answer = self.done.await;
        self.interest.settle();
        match answer {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => ClientError::Ended,
        }
    }

    async fn send_chunk(&mut self, data: Bytes) -> Result<(), ClientError> {
        let key = self.interest.key();
        let deadline = deadline(self.options);
        self.send(Command::Chunk { key, data }, deadline).await
    }

    async fn send(&mut self, command: Command, deadline: Instant) -> Result<(), ClientError> {
        // An answer before the end can only be a failure.
        if let Ok(answer) = self.done.try_recv() {
            let early = ClientError::protocol("a digest before the end of its data");
            return Err(answer.err().unwrap_or(early));
        }
        self.interest.handle().send(command, deadline).await
    }
}
