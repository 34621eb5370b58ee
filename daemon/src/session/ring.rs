//! The digests of a session that come and go in shared memory.
//!
//! A session looks into its ring in every turn and answers a bounded part of what lies
//! there; then everybody else has a turn. When nothing came for a moment it tells the client that it sleeps, and
//! the client wakes it with a RingBell. Never touches the memory itself.

use std::time::{Duration, Instant};

use hasher_kernel::Ahead;
use hasher_ring::{DaemonRing, MESSAGES_MAX};
use hasher_wire::{Frame, RequestId, RingOpened};
use hasher_work::Digest;
use tracing::error;

use super::{End, Peer, Session};
use crate::carrier::Carrier;
use crate::core::{JobError, Limits};
use crate::digest;

/// How long a session looks for the next slot before it sleeps. A client that has others in
/// flight needs a tenth of it; on a machine whose processors are all busy it may be the one
/// that this keeps from its own.
const MOMENT: Duration = Duration::from_micros(10);

/// Slots answered before other tasks get a turn: with the longest messages little more than
/// a frame and what a turn of frames may gather.
const SLOTS_PER_TURN: usize = 8;

/// Whether this client may share memory with the daemon.
pub(super) fn is_shared_with(peer: Peer, limits: &Limits) -> bool {
    let own = rustix::process::geteuid().as_raw();
    limits.shared_memory.is_for(peer.uid, own)
}

/// A session's ring, and when there was something in it last.
#[derive(Debug)]
pub(super) struct SharedRing {
    memory: DaemonRing,
    /// Of one slot.
    digests: Box<[Digest; MESSAGES_MAX]>,
    /// Nothing while the session sleeps.
    awake_since: Option<Instant>,
}

impl<S: Carrier> Session<S> {
    pub(super) fn on_ring_open(&mut self, request: RequestId) -> Result<(), End> {
        self.check_unused(request)?;
        if !self.may_share {
            self.push_failed(request, None, &JobError::NotShared);
        } else if self.ring.is_some() {
            self.push_failed(request, None, &JobError::SecondRing);
        } else {
            self.open_ring(request);
        }
        Ok(())
    }

    fn open_ring(&mut self, request: RequestId) {
        let (memory, descriptor) = match DaemonRing::new() {
            Ok(made) => made,
            Err(error) => {
                error!(session = self.id.0, fault = request.0, %error, "no shared memory");
                self.push_failed(request, None, &JobError::Internal(request.0.into()));
                return;
            }
        };
        let opened = RingOpened {
            request,
            bytes: hasher_ring::RING_BYTES as u32,
            computed_by: digest::computed_by(),
        };
        self.link.push_with(&Frame::RingOpened(opened), descriptor);
        self.ring = Some(SharedRing {
            memory,
            digests: Box::new([Digest([0; 32]); MESSAGES_MAX]),
            awake_since: None,
        });
    }

    /// Answers what lies in the ring; says whether to look again before the session sleeps.
    pub(super) fn serve_ring(&mut self) -> Result<bool, End> {
        // A client that reads no answers gets no bell either, and one computation is enough.
        if !self.takes_frames() {
            return Ok(false);
        }
        let Some(ring) = &mut self.ring else {
            return Ok(false);
        };
        let (digests, bytes) = ring.answer()?;
        let is_awake = ring.stay_awake(digests > 0);
        let wants_bell = digests > 0 && ring.memory.takes_bell();
        if digests > 0 {
            self.hub.count_digests(self.id, digests, bytes);
        }
        if wants_bell {
            self.link.push(&Frame::RingBell);
        }
        Ok(is_awake)
    }
}

impl SharedRing {
    /// How many digests were computed, and of how many bytes.
    fn answer(&mut self) -> Result<(usize, u64), End> {
        let (mut count, mut bytes) = (0, 0);
        for _ in 0..SLOTS_PER_TURN {
            let order = self.memory.pull();
            let Some(order) = order.map_err(|error| End::Protocol(error.to_string()))? else {
                break;
            };
            let messages = order.messages();
            let digests = &mut self.digests[..messages.len()];
            let ahead = Ahead::new(order.soon_written.clone(), order.soon_read.clone());
            digest::digest_into(order.algorithm(), messages, digests, ahead);
            bytes += order.bytes() as u64;
            count += digests.len();
            self.memory.complete(digests);
        }
        Ok((count, bytes))
    }

    /// Whether to look again at once. Told to sleep, the client rings; not told, it does
    /// not, so this is asked in each turn before a sleep.
    fn stay_awake(&mut self, had_work: bool) -> bool {
        if had_work {
            if self.awake_since.replace(Instant::now()).is_none() {
                self.memory.wake();
            }
            return true;
        }
        if self
            .awake_since
            .is_some_and(|since| since.elapsed() < MOMENT)
        {
            return true;
        }
        if self.memory.sleep() {
            self.awake_since = None;
            return false;
        }
        true
    }
}
