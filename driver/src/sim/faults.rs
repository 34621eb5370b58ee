//! What goes wrong on the bench right now, according to a script.
//!
//! Owns the script's clockwork: which events have begun, which still last, how many
//! replies are still to be spoilt, and the random numbers for that. It does not touch
//! the controller; the board asks here before every transfer. Times are the bench's
//! (the user's clock), not the device's, because it is the user's hand that pulls the
//! cable.

use std::time::Duration;

use bytes::Bytes;

use super::climate::ROOM_CELSIUS;
use super::rng::Rng;
use super::script::{Action, Direction, Script, ScriptEvent, When};

/// A state that lasts until a moment of the bench clock.
#[derive(Debug, Clone, Copy, Default)]
struct Span(Option<Duration>);

impl Span {
    fn begin(&mut self, now: Duration, lasts: Option<Duration>) {
        self.0 = Some(lasts.map_or(Duration::MAX, |lasts| now.saturating_add(lasts)));
    }

    fn holds(&self, now: Duration) -> bool {
        self.0.is_some_and(|until| now < until)
    }

    fn end_after(&self, now: Duration) -> Option<Duration> {
        self.0
            .filter(|until| now < *until && *until < Duration::MAX)
    }
}

/// The script at work.
#[derive(Debug)]
pub(super) struct Faults {
    /// Events that have not begun.
    waiting: Vec<ScriptEvent>,
    rng: Rng,
    out_bytes: u64,
    in_bytes: u64,
    unplugged: Span,
    silent: Span,
    frozen: Span,
    hot: Span,
    hot_celsius: f64,
    fans_stopped: Span,
    stalls_out: u32,
    stalls_in: u32,
    garbage: Option<u16>,
    hang: Option<Duration>,
    short_replies: u32,
    bad_crcs: u32,
}

impl Faults {
    pub(super) fn new(script: &Script, rng_seed: u64) -> Self {
        Self {
            waiting: script.events.clone(),
            rng: Rng::new(rng_seed),
            out_bytes: 0,
            in_bytes: 0,
            unplugged: Span::default(),
            silent: Span::default(),
            frozen: Span::default(),
            hot: Span::default(),
            hot_celsius: ROOM_CELSIUS,
            fans_stopped: Span::default(),
            stalls_out: 0,
            stalls_in: 0,
            garbage: None,
            hang: None,
            short_replies: 0,
            bad_crcs: 0,
        }
    }

    /// Begins what is due and returns those events that concern the controller or its
    /// power supply.
    pub(super) fn begin_due(&mut self, now: Duration) -> Vec<ScriptEvent> {
        let (out_bytes, in_bytes) = (self.out_bytes, self.in_bytes);
        let due = self.waiting.extract_if(.., |event| match event.when {
            When::Time(time) => time <= now,
            When::Bytes(Direction::Out, bytes) => bytes <= out_bytes,
            When::Bytes(Direction::In, bytes) => bytes <= in_bytes,
        });
        let due: Vec<_> = due.collect();
        due.into_iter()
            .filter(|event| !self.begin(now, event))
            .collect()
    }

    /// Begins one event, unless it is not a matter of the bench.
    fn begin(&mut self, now: Duration, event: &ScriptEvent) -> bool {
        match event.action {
            Action::Unplug => self.unplugged.begin(now, event.lasts),
            Action::Silence => self.silent.begin(now, event.lasts),
            Action::Freeze => self.frozen.begin(now, event.lasts),
            Action::Heat { celsius } => {
                self.hot.begin(now, event.lasts);
                self.hot_celsius = f64::from(celsius);
            }
            Action::FanStop => self.fans_stopped.begin(now, event.lasts),
            Action::Stall(Direction::Out) => self.stalls_out += 1,
            Action::Stall(Direction::In) => self.stalls_in += 1,
            Action::Garbage { bytes } => self.garbage = Some(bytes),
            Action::Hang => self.hang = Some(event.lasts.unwrap_or(Duration::MAX)),
            Action::Short { replies } => self.short_replies = replies,
            Action::BadCrc { replies } => self.bad_crcs = replies,
            _ => return false,
        }
        true
    }

    /// The next moment at which something begins or ends by the clock.
    pub(super) fn next_change(&self, now: Duration) -> Option<Duration> {
        let begins = self.waiting.iter().filter_map(|event| match event.when {
            When::Time(time) => Some(time),
            When::Bytes(..) => None,
        });
        let spans = [
            self.unplugged,
            self.silent,
            self.frozen,
            self.hot,
            self.fans_stopped,
        ];
        let ends = spans.iter().filter_map(|span| span.end_after(now));
        begins.chain(ends).min()
    }

    pub(super) fn is_unplugged(&self, now: Duration) -> bool {
        self.unplugged.holds(now)
    }

    pub(super) fn is_frozen(&self, now: Duration) -> bool {
        self.frozen.holds(now)
    }

    pub(super) fn is_silent(&self, now: Duration) -> bool {
        self.silent.holds(now) || self.is_frozen(now)
    }

    pub(super) fn room_celsius(&self, now: Duration) -> f64 {
        if self.hot.holds(now) {
            self.hot_celsius
        } else {
            ROOM_CELSIUS
        }
    }

    pub(super) fn are_fans_stopped(&self, now: Duration) -> bool {
        self.fans_stopped.holds(now)
    }

    /// Whether this transfer is refused.
    pub(super) fn take_stall(&mut self, direction: Direction) -> bool {
        let left = match direction {
            Direction::Out => &mut self.stalls_out,
            Direction::In => &mut self.stalls_in,
        };
        let stalls = *left > 0;
        *left = left.saturating_sub(1);
        stalls
    }

    /// Whether the cable still holds for a packet of `bytes` to the board; if not it
    /// is out from now on and the packet is lost.
    pub(super) fn pass_out(&mut self, now: Duration, bytes: usize) -> bool {
        let end = self.out_bytes + bytes as u64;
        if self.cut_before(now, Direction::Out, end).is_some() {
            return false;
        }
        self.out_bytes = end;
        true
    }

    /// What arrives of a reply: all of it, or the whole packets before the cable went.
    pub(super) fn pass_in(&mut self, now: Duration, mut reply: Bytes) -> Bytes {
        let end = self.in_bytes + reply.len() as u64;
        if let Some(cut) = self.cut_before(now, Direction::In, end) {
            let whole = (cut.saturating_sub(self.in_bytes)) as usize;
            reply.truncate(whole / super::assembler::PACKET_BYTES * super::assembler::PACKET_BYTES);
        }
        self.in_bytes += reply.len() as u64;
        reply
    }

    /// Pulls the cable if the script does so before byte `end` of a direction passes.
    fn cut_before(&mut self, now: Duration, direction: Direction, end: u64) -> Option<u64> {
        let at = self.waiting.iter().position(|event| {
            event.action == Action::Unplug
                && matches!(event.when, When::Bytes(d, bytes) if d == direction && bytes < end)
        })?;
        let event = self.waiting.remove(at);
        self.begin(now, &event);
        match event.when {
            When::Bytes(_, bytes) => Some(bytes),
            When::Time(_) => None,
        }
    }

    /// How long whoever polls the board waits, once after each `hang`.
    pub(super) const fn take_hang(&mut self) -> Option<Duration> {
        self.hang.take()
    }

    /// Whether garbage waits to be collected.
    pub(super) const fn has_garbage(&self) -> bool {
        self.garbage.is_some()
    }

    /// Random bytes that arrive before the next reply, once after each `garbage`.
    pub(super) fn take_garbage(&mut self) -> Option<Bytes> {
        let bytes = self.garbage.take()?;
        Some((0..bytes).map(|_| self.rng.next() as u8).collect())
    }

    /// A reply as it leaves the spoilt controller.
    pub(super) fn spoil(&mut self, reply: Bytes) -> Bytes {
        if self.short_replies > 0 {
            self.short_replies -= 1;
            let keep = 1 + self.rng.below(reply.len().saturating_sub(1));
            return reply.slice(..keep.min(reply.len()));
        }
        if self.bad_crcs > 0 && reply.len() >= 2 {
            self.bad_crcs -= 1;
            let mut bytes = reply.to_vec();
            let bit = self.rng.below(16);
            let at = bytes.len() - 2 + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            return bytes.into();
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(script: &str) -> Faults {
        Faults::new(&script.parse().unwrap(), 7)
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_span_begins_and_ends_on_time() {
        let mut faults = faults("silence@2s+1s;heat=60@1s;power-cycle@4s");
        assert!(faults.begin_due(seconds(1)).is_empty());
        assert!(!faults.is_silent(seconds(1)));
        assert_eq!(faults.next_change(seconds(1)), Some(seconds(2)));
        assert!(faults.begin_due(seconds(2)).is_empty());
        assert!(faults.is_silent(seconds(2)));
        assert_eq!(faults.next_change(seconds(2)), Some(seconds(3)));
        assert!(!faults.is_silent(seconds(3)));
        assert_eq!(faults.room_celsius(seconds(100)), 60.0);
        let due = faults.begin_due(seconds(5));
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].action, Action::PowerCycle);
        assert_eq!(faults.next_change(seconds(5)), None);
    }

    #[test]
    fn the_cable_goes_at_the_very_byte() {
        let mut faults = faults("unplug@out:70+1s;unplug@in:100+1s");
        let now = seconds(1);
        assert!(faults.pass_out(now, 64));
        assert!(!faults.pass_out(now, 64), "bytes 64 to 127 hold byte 70");
        assert!(faults.is_unplugged(now));
        let later = seconds(3);
        assert!(!faults.is_unplugged(later));
        assert!(faults.pass_out(later, 64), "each event happens once");
        let reply = Bytes::from(vec![1; 274]);
        assert_eq!(faults.pass_in(later, reply.clone()).len(), 64);
        assert!(faults.is_unplugged(later));
        assert_eq!(faults.pass_in(seconds(9), reply).len(), 274);
    }

    #[test]
    fn replies_are_spoilt_as_often_as_asked() {
        let mut faults = faults("short@0s;bad-crc=2@0s;garbage=9@0s;stall@0s;stall=in@0s");
        faults.begin_due(Duration::ZERO);
        assert_eq!(faults.take_garbage().unwrap().len(), 9);
        assert_eq!(faults.take_garbage(), None);
        let reply = Bytes::from_static(b"0123456789");
        let short = faults.spoil(reply.clone());
        assert!(!short.is_empty() && short.len() < 10);
        for _ in 0..2 {
            let spoilt = faults.spoil(reply.clone());
            assert_eq!(spoilt[..8], reply[..8]);
            assert_ne!(spoilt[8..], reply[8..]);
        }
        assert_eq!(faults.spoil(reply.clone()), reply);
        for direction in [Direction::Out, Direction::In] {
            assert!(faults.take_stall(direction));
            assert!(!faults.take_stall(direction));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_garbage() {
        let garbage = |rng_seed| {
            let mut faults = Faults::new(&"garbage=40@0s".parse().unwrap(), rng_seed);
            faults.begin_due(Duration::ZERO);
            faults.take_garbage().unwrap()
        };
        assert_eq!(garbage(1), garbage(1));
        assert_ne!(garbage(1), garbage(2));
    }
}
