//! What the controller offers the host: one armed reply at a time.

use bytes::Bytes;

use super::super::image::{CHAINS, Image};
use super::{Armed, Controller};
use crate::Layout;
use crate::token::{ChainStatus, NonceReply, Reply, StatusReply};

/// Most that a nonce reply says about the free places.
const SPACE_CAP: usize = 255;

impl Controller {
    /// The reply that is armed, if any; the next one is armed at once.
    pub(in crate::sim) fn collect(&mut self) -> Option<Bytes> {
        if self.hung {
            return None;
        }
        let armed = self.armed.take()?;
        if armed.is_status {
            // Cleared only now, so two queries before a collection get one reply.
            self.status_pending = false;
        }
        self.arm();
        Some(armed.reply)
    }

    /// Whether a poll would be answered now.
    pub(in crate::sim) fn has_reply(&self) -> bool {
        self.armed.is_some() && !self.hung
    }

    /// Computes a reply if none is armed: queued nonces (while the timer is on), else
    /// a pending status, else an empty nonce reply while running. Its content is frozen
    /// until it is collected, and so is the space that later works are cut to.
    pub(super) fn arm(&mut self) {
        if self.armed.is_some() || self.hung {
            return;
        }
        let nonces = self.next_tick.is_some() && !self.nonces.is_empty();
        let is_status = !nonces && self.status_pending;
        if !nonces && !is_status && self.running.is_none() {
            return;
        }
        self.space = self.ring.space();
        let reply = if is_status {
            Reply::Status(self.status())
        } else {
            Reply::Nonces(self.nonce_reply(nonces))
        };
        self.armed = Some(Armed {
            reply: reply.encode(self.image.layout()),
            is_status,
        });
    }

    fn nonce_reply(&mut self, with_nonces: bool) -> NonceReply {
        let count = if with_nonces {
            let most = self.image.model().nonces_per_reply();
            self.nonces.len().min(most)
        } else {
            0
        };
        let shows_totals = self.image == Image::S3Version7 && self.verifies;
        NonceReply {
            fifo_space: self.space.min(SPACE_CAP) as u16,
            diff: self.chip_diff().into(),
            total_nonces: if shows_totals { self.total_nonces } else { 0 },
            nonces: self.nonces.drain(..count).collect(),
        }
    }

    fn status(&self) -> StatusReply {
        let exist = Self::all_chips(self.image);
        let is_s3 = self.image.layout() == Layout::S3;
        let fans = self.image.fans();
        StatusReply {
            version: match self.image {
                Image::S1Of2013 => [0, 0, 0, 0],
                Image::S1Of2014 => [7, 0, 0, 0],
                Image::S3Version7 => [7, 0, 0, 3],
            },
            fifo_space: self.space as u32,
            nonce_errors: self.nonce_errors,
            chains: (0..CHAINS)
                .map(|chain| ChainStatus {
                    asic_num: self.image.model().chips_per_chain(),
                    exist: if is_s3 { vec![exist] } else { Vec::new() },
                    healthy: vec![self.chip_status[chain]],
                })
                .collect(),
            temperatures: self.sensors.to_vec(),
            fans: vec![self.fan_rps; fans],
            temperatures_exist: if is_s3 { (1 << CHAINS) - 1 } else { 0 },
            fans_exist: if is_s3 { (1 << fans) - 1 } else { 0 },
            ..StatusReply::default()
        }
    }
}
