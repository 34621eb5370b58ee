//! From bytes of the device to replies, and from replies to what they mean.

use std::time::Duration;

use super::gate::RPM_PER_STEP;
use super::life::Phase;
use super::registry::Verdict;
use super::{Host, Measured};
use crate::stream::{REST_WITHIN, Reassembler};
use crate::token::{NonceReply, Reply, StatusReply};
use crate::{DeviceEvent, Layout, Mishap, PauseReason};

/// Shortest time between two status events, so that frequent polls do not flood the
/// owner.
const STATUS_EVENT_EVERY: Duration = Duration::from_secs(1);

/// The IN stream, read in every layout that is still possible.
#[derive(Debug)]
pub(super) struct Receiver {
    streams: Vec<Reassembler>,
    /// Since when the front of a buffer waits for its rest.
    waiting_since: Option<Duration>,
}

impl Receiver {
    /// Listens in both layouts until one is settled.
    pub(super) fn unknown_layout() -> Self {
        Self {
            streams: vec![Reassembler::new(Layout::S3), Reassembler::new(Layout::S1)],
            waiting_since: None,
        }
    }

    /// The layout, once it is settled.
    pub(super) fn layout(&self) -> Option<Layout> {
        match self.streams.as_slice() {
            [only] => Some(only.layout()),
            _ => None,
        }
    }

    /// From now on the device is known to speak this layout.
    fn settle(&mut self, layout: Layout) {
        if self.layout().is_none() {
            self.streams = vec![Reassembler::new(layout)];
        }
    }

    /// Bytes that belonged to no reply. While the layout is unknown nearly every byte is
    /// noise to one of the two streams, so nothing is counted yet.
    pub(super) fn dropped_bytes(&self) -> u64 {
        match self.streams.as_slice() {
            [only] => only.dropped_bytes(),
            _ => 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], now: Duration) {
        for stream in &mut self.streams {
            stream.push(bytes);
        }
        self.waiting_since.get_or_insert(now);
    }

    pub(super) fn clear(&mut self) {
        for stream in &mut self.streams {
            stream.clear();
        }
        self.waiting_since = None;
    }

    fn next_reply(&mut self, now: Duration) -> Option<(Layout, Reply)> {
        for stream in &mut self.streams {
            if let Some(reply) = stream.next_reply() {
                self.waiting_since = Some(now);
                return Some((stream.layout(), reply));
            }
        }
        if self.streams.iter().all(|stream| stream.waiting() == 0) {
            self.waiting_since = None;
        }
        None
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.waiting_since.map(|since| since + REST_WITHIN)
    }

    /// Gives up a reply whose rest does not come; whether there is something new to read.
    pub(super) fn on_time(&mut self, now: Duration) -> bool {
        let is_late = self.wake_at().is_some_and(|at| now >= at);
        if is_late {
            for stream in &mut self.streams {
                stream.give_up_waiting();
            }
            self.waiting_since = Some(now);
        }
        is_late
    }
}

impl Host {
    /// Handles every reply that is complete.
    pub(super) fn take_replies(&mut self, now: Duration) {
        while let Some((layout, reply)) = self.receiver.next_reply(now) {
            match reply {
                Reply::Status(status) => self.on_status(layout, &status, now),
                Reply::Nonces(reply) => self.on_nonces(&reply, now),
            }
        }
        self.tell_noise();
    }

    /// Tells what belonged to no reply, once that is certain. Before it is first ready, it
    /// may be the end of what the device told an earlier host; after a fault, what that
    /// fault left.
    fn tell_noise(&mut self) {
        let dropped = self.receiver.dropped_bytes();
        let bytes = dropped.saturating_sub(self.noise_told);
        self.noise_told = dropped;
        let is_explained = match self.phase {
            Phase::Working | Phase::Resting | Phase::Paused => false,
            Phase::Starting(_) => {
                let paused = self.told_paused.as_ref();
                !self.told_ready || paused.is_some_and(PauseReason::is_passing)
            }
            Phase::Closing { .. } | Phase::Gone => true,
        };
        if bytes > 0 && !is_explained {
            self.tell(DeviceEvent::Mishap(Mishap::Noise { bytes }));
        }
    }

    /// Drops what was received and not understood yet; the fault that asks for it is told
    /// by itself.
    pub(super) fn forget_received(&mut self) {
        self.receiver.clear();
        self.noise_told = self.receiver.dropped_bytes();
    }

    fn on_status(&mut self, layout: Layout, status: &StatusReply, now: Duration) {
        let asked = self.feed.answered(now);
        match &mut self.phase {
            Phase::Starting(start) => {
                if !start.expects_status() {
                    return;
                }
                self.receiver.settle(layout);
                let is_ready = start.on_status(layout, status, now);
                self.measure(layout, status);
                if is_ready {
                    self.become_ready(layout, status, now);
                }
            }
            Phase::Working => {
                // Only a flush lowers this count, and it was none of ours.
                let was_flushed = status.nonce_errors < self.measured.nonce_errors;
                self.take_readings(layout, status, now);
                if was_flushed {
                    self.recover(now, "something else resets it");
                    return;
                }
                if let Some(asked) = asked {
                    self.feed.on_status(asked, status.fifo_space, now);
                }
                self.mind_gate(now);
            }
            Phase::Resting | Phase::Paused => {
                self.take_readings(layout, status, now);
                self.mind_gate(now);
            }
            Phase::Closing { .. } | Phase::Gone => {}
        }
    }

    fn on_nonces(&mut self, reply: &NonceReply, now: Duration) {
        if !matches!(self.phase, Phase::Working | Phase::Paused) {
            return; // results of whoever used the device before
        }
        self.feed.on_nonce_reply(reply.fifo_space, now);
        for &found in &reply.nonces {
            let counters = &mut self.counters;
            match self.feed.judge(found) {
                Verdict::Hit { tag, nonce, digest } => {
                    counters.hits += 1;
                    self.tell(DeviceEvent::Hit { tag, nonce, digest });
                }
                Verdict::AboveTarget => counters.hits += 1,
                Verdict::Filler => {}
                Verdict::Stale => counters.stale += 1,
                Verdict::Duplicate => counters.duplicates += 1,
                Verdict::Wrong => counters.hardware_errors += 1,
                Verdict::UnknownWork => counters.unknown_works += 1,
            }
        }
    }

    fn take_readings(&mut self, layout: Layout, status: &StatusReply, now: Duration) {
        self.count_nonce_errors(status.nonce_errors);
        self.measure(layout, status);
        self.tell_measured(now);
    }

    /// Adds what the controller counted since its last status; it starts from 0 after
    /// every flush.
    fn count_nonce_errors(&mut self, total: u32) {
        let seen = self.measured.nonce_errors;
        let new = total.checked_sub(seen).unwrap_or(total);
        self.counters.hardware_errors += u64::from(new);
    }

    fn measure(&mut self, layout: Layout, status: &StatusReply) {
        let fans = status.fans.iter();
        self.measured = Measured {
            temperatures_celsius: status.temperatures.clone(),
            fans_rpm: fans.map(|&speed| u32::from(speed) * RPM_PER_STEP).collect(),
            fifo_space: Some(status.fifo_space),
            nonce_errors: status.nonce_errors,
            told_at: self.measured.told_at,
        };
        self.gate.on_status(layout, status);
    }

    fn tell_measured(&mut self, now: Duration) {
        let due = self
            .measured
            .told_at
            .is_none_or(|told| now >= told + STATUS_EVENT_EVERY);
        if due {
            self.measured.told_at = Some(now);
            self.tell(DeviceEvent::Status);
        }
    }
}
