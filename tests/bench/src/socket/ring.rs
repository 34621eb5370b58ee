//! The client library's ring: what a program has that shares memory with hasherd.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use hasher_client::{Client, DigestAlgorithm, DigestRing, blocking};
use hasher_work::Digest;

use super::dialect::Message;
use super::load::{Shown, TURN};

/// A connected client.
#[derive(Debug)]
pub struct Ring(blocking::DigestRing);

impl Ring {
    /// Connects.
    pub fn open(socket: &Path) -> anyhow::Result<Self> {
        let ring = Client::builder().socket(socket).open_ring_blocking()?;
        Ok(Self(ring))
    }

    /// The digests of `messages`, as the server computes them.
    pub fn digests(&mut self, messages: &[Message]) -> anyhow::Result<Vec<Digest>> {
        let answer = self.0.digest_batch(DigestAlgorithm::Sha256, messages)?;
        Ok(answer.digests)
    }

    /// Keeps every slot in flight for one turn, each with these messages.
    pub fn pipeline(&mut self, messages: &[Message]) -> anyhow::Result<Shown> {
        let mut latencies = Vec::with_capacity(1 << 16);
        let mut sent_at = VecDeque::with_capacity(DigestRing::SLOTS);
        let begin = Instant::now();
        loop {
            while sent_at.len() < DigestRing::SLOTS && begin.elapsed() < TURN {
                let count = self.0.submit(DigestAlgorithm::Sha256, messages)?;
                ensure!(count == messages.len(), "a slot takes {count} messages");
                sent_at.push_back(Instant::now());
            }
            let Some(sent_at) = sent_at.pop_front() else {
                return Ok(Shown::of(latencies, messages.len(), begin.elapsed()));
            };
            black_box(self.0.collect()?);
            latencies.push(sent_at.elapsed());
        }
    }
}
