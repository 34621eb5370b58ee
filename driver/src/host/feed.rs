//! Which works go on the wire and when, when they are over, and when to ask.
//!
//! The FIFO is kept just full enough: every work in it delays the next caller, and
//! an empty FIFO idles the chips. Works are asked for only when they can be sent.
//! Fillers follow the last callers' works, because a controller delivers results only
//! while it runs, and it runs only while it is fed (protocol reference, section 6.1). A
//! work is over when a status proves that the chips have taken others since (`fifo`), plus
//! a margin for results on their way.

use std::collections::VecDeque;
use std::time::Duration;

use hasher_work::{Midstate, Tail, Work};

use super::fifo::{Asked, Fifo};
use super::registry::{Owner, Registry, Verdict};
use crate::token::{FoundNonce, MAX_WORKS_PER_TASK};
use crate::{DeviceWork, Layout, WorkTag, Works};

/// How long the works in the FIFO last at least, while callers have any: a stall of 40 ms,
/// and 10 ms for late timers and transfers. An urgent work starts behind these and the works
/// of one tick that were just sent: 68 ms on an S3 at its stock clock.
const FED_FOR: Duration = Duration::from_millis(50);

/// An answer is given so much time before works are sent behind its question: which of them
/// it counts, nobody knows.
const ANSWER_WITHIN: Duration = Duration::from_millis(4);

/// The owner is asked for works before fillers are sent; it has so much time.
const OWNER_WITHIN: Duration = Duration::from_millis(1);

/// Ticks' worth of works that may be unfinished beyond those in the FIFO: one on the
/// chips, two until the next question, one for the answer and the margin, two for a stall.
const UNFINISHED_TICKS: usize = 6;

/// Fillers for each chain behind the last caller's work (reference, section 6.1).
const FILLERS_PER_CHAIN: usize = 2;

/// After the proof that a work was replaced its last results may still be on the way:
/// the controller writes 64 bytes at 115200 baud to each chain before it reads on,
/// about 6 ms each (derived, reference section 10).
const END_MARGIN: Duration = Duration::from_millis(12);

/// Longest time between two questions. The sensors are read every 5 to 10 s, so
/// heat is noticed one second after the controller notices it.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions about the end of works come at most every so many periods, which is at every
/// second tick, so that they stay rare beside the works themselves.
const ASK_GAP_PERIODS: f64 = 1.5;
/// Time beyond the expected end of a work before the question, to not come too early.
const ASK_SLACK: Duration = Duration::from_millis(2);
/// An unanswered question is repeated after this time.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A question older than this is not answered any more: answers take milliseconds.
const ANSWER_LOST_AFTER: Duration = Duration::from_secs(2);
/// Two questions may bring one answer (reference, section 3.4: one pending flag). If a
/// second is to come, it comes within this time of the first, in the device's own
/// time; it waits only for nonce replies, and those are sent at every poll.
const ANSWER_FOLLOWS: Duration = Duration::from_millis(50);
/// Three questions of [`ASK_EVERY`] without an answer: the device is silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// A board that answers but takes no work for so long (in its own time) is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Largest slowdown that is believed, so that the limit above stays finite.
const MAX_SLOWDOWN: f64 = 1e6;

/// A caller's work that was sent.
#[derive(Debug)]
struct OnWire {
    tag: WorkTag,
    index: u64,
    /// When it ends, once its replacement is proven.
    ends_at: Option<Duration>,
}

/// Works of callers and of our own on their way through one device.
#[derive(Debug)]
pub(super) struct Feed {
    registry: Registry,
    /// Nothing while the device is not ready.
    fifo: Option<Fifo>,
    /// Works to keep in the FIFO at most.
    queued: f64,
    /// Works that it had room for at the last look; those of whole ticks.
    free: usize,
    /// Since when it has room.
    free_since: Duration,
    period: Duration,
    slowdown: f64,
    /// Callers' works that are not sent yet.
    staged: VecDeque<DeviceWork>,
    on_wire: VecDeque<OnWire>,
    /// Questions without an answer, oldest first.
    open: VecDeque<Asked>,
    /// After an answer with questions left open: when those count as answered too.
    settles_at: Option<Duration>,
    asked_at: Duration,
    answered_at: Duration,
    progress_at: Duration,
    /// The last moment at which a caller's work came or ended.
    used_at: Duration,
    /// The device rests or is waking up; works that come wait for it.
    is_at_rest: bool,
    fillers: u32,
}

impl Feed {
    pub(super) fn new(zero_bits: u32, now: Duration) -> Self {
        Self {
            registry: Registry::new(zero_bits),
            fifo: None,
            queued: 0.0,
            free: 0,
            free_since: now,
            period: Duration::ZERO,
            slowdown: 1.0,
            staged: VecDeque::new(),
            on_wire: VecDeque::new(),
            open: VecDeque::new(),
            settles_at: None,
            asked_at: now,
            answered_at: now,
            progress_at: now,
            used_at: now,
            is_at_rest: false,
            fillers: 0,
        }
    }

    /// The device is ready, its FIFO empty with `space` free places.
    pub(super) fn begin(
        &mut self,
        layout: Layout,
        chains: usize,
        period: Duration,
        space: u32,
        now: Duration,
    ) {
        let mut fifo = Fifo::new(layout, chains, period, space, now);
        fifo.set_slowdown(self.slowdown, now);
        self.queued = fifo.chains() as f64 * (1.0 + FED_FOR.div_duration_f64(period));
        self.fifo = Some(fifo);
        self.period = period;
        self.open.clear();
        self.settles_at = None;
        self.asked_at = now;
        self.answered_at = now;
        self.progress_at = now;
        self.used_at = now;
        self.is_at_rest = false;
        self.look(now);
    }

    /// Takes note of the room in the FIFO.
    pub(super) fn look(&mut self, now: Duration) {
        let had_room = self.free > 0;
        self.free = self.fifo.as_ref().map_or(0, |fifo| {
            let free = below(self.wanted(fifo), fifo.level(now));
            let whole = free / fifo.chains() * fifo.chains();
            whole.min(fifo.room()).min(MAX_WORKS_PER_TASK)
        });
        if !had_room {
            self.free_since = now;
        }
    }

    /// Works to keep in the FIFO now.
    fn wanted(&self, fifo: &Fifo) -> f64 {
        let held_back = if self.open.is_empty() {
            Duration::ZERO
        } else {
            ANSWER_WITHIN
        };
        self.queued - fifo.chains() as f64 * held_back.div_duration_f64(self.period)
    }

    /// The device takes nothing until it begins again; no caller has a work here.
    pub(super) fn rest(&mut self) {
        self.fifo = None;
        self.is_at_rest = true;
    }

    /// Since when no caller has a work here, if none has.
    pub(super) fn idle_since(&self) -> Option<Duration> {
        (self.staged.is_empty() && self.on_wire.is_empty()).then_some(self.used_at)
    }

    /// Works that callers may submit to a device at rest, or waking up: as many as the
    /// first packets carry.
    pub(super) fn capacity_at_rest(&self) -> usize {
        if !self.is_at_rest {
            return 0;
        }
        (self.queued as usize).saturating_sub(self.staged.len())
    }

    /// The device holds nothing any more: gives back the callers' unfinished works.
    pub(super) fn abandon(&mut self) -> Vec<WorkTag> {
        self.fifo = None;
        self.is_at_rest = false;
        let sent = self.on_wire.drain(..).map(|work| work.tag);
        let tags: Vec<_> = sent.chain(self.staged.drain(..).map(|w| w.tag)).collect();
        for tag in &tags {
            self.registry.end(*tag);
        }
        tags
    }

    pub(super) fn set_slowdown(&mut self, slowdown: f64, now: Duration) {
        self.slowdown = slowdown.clamp(1.0, MAX_SLOWDOWN);
        if let Some(fifo) = &mut self.fifo {
            fifo.set_slowdown(self.slowdown, now);
        }
    }

    /// Works that callers may submit now.
    pub(super) fn capacity(&self) -> usize {
        self.fifo.as_ref().map_or(0, |fifo| {
            let window = self.queued as usize + UNFINISHED_TICKS * fifo.chains();
            let unfinished = self.staged.len() + self.on_wire.len();
            // None waits here: what is taken cannot be overtaken.
            let free = self.free.saturating_sub(self.staged.len());
            window.saturating_sub(unfinished).min(free)
        })
    }

    pub(super) fn submit(&mut self, work: DeviceWork, now: Duration) {
        if !self.is_busy() {
            self.progress_at = now;
        }
        self.used_at = now;
        self.staged.push_back(work);
    }

    pub(super) fn cancel(&mut self, tag: WorkTag) {
        self.staged.retain(|work| work.tag != tag);
        self.on_wire.retain(|work| work.tag != tag);
        self.registry.end(tag);
    }

    /// Whether a caller waits for results.
    fn is_busy(&self) -> bool {
        !self.staged.is_empty() || self.on_wire.iter().any(|work| work.ends_at.is_none())
    }

    /// Works for the next packet, and how many of them are fillers.
    pub(super) fn next_works(&mut self, now: Duration) -> Option<(Works, usize)> {
        let (callers, fillers) = self.next_counts(now)?;
        let fifo = self.fifo.as_mut()?;
        let mut works = Works::new(fifo.layout());
        for index in (fifo.sent()..).take(callers) {
            let Some(work) = self.staged.pop_front() else {
                break;
            };
            let owner = Owner::Caller {
                tag: work.tag,
                target: work.target,
            };
            let entry = self.registry.add(work.work, owner);
            works
                .push(entry)
                .expect("at most 8 works, each checked when it was submitted");
            self.on_wire.push_back(OnWire {
                tag: work.tag,
                index,
                ends_at: None,
            });
        }
        for _ in 0..fillers {
            self.fillers = self.fillers.wrapping_add(1);
            let entry = self.registry.add(filler(self.fillers), Owner::Filler);
            works
                .push(entry)
                .expect("at most 8 works; fillers run everywhere");
        }
        fifo.add(works.len(), now);
        self.look(now);
        Some((works, fillers))
    }

    /// How many callers' works and fillers to send now.
    fn next_counts(&self, now: Duration) -> Option<(usize, usize)> {
        let fifo = self.fifo.as_ref()?;
        let room = fifo.room().min(MAX_WORKS_PER_TASK);
        let level = fifo.level(now);
        let waiting = self.staged.len();
        let callers = waiting.min(room);
        let mut fillers = 0;
        if callers == waiting && self.is_busy() {
            let wanted = (FILLERS_PER_CHAIN * fifo.chains()) as f64;
            let wanted = below(wanted, level + callers as f64);
            let is_asked = now >= self.free_since + OWNER_WITHIN;
            if callers > 0 || is_asked && wanted >= fifo.chains() {
                fillers = wanted.min(room - callers);
            }
        }
        (callers + fillers > 0).then_some((callers, fillers))
    }

    /// When [`next_works`](Self::next_works) has something, or [`look`](Self::look) finds
    /// room, as far as that is known.
    pub(super) fn works_at(&self) -> Option<Duration> {
        let fifo = self.fifo.as_ref()?;
        if !self.is_busy() || fifo.room() == 0 {
            return None;
        }
        let chains = fifo.chains() as f64;
        match self.free {
            _ if !self.staged.is_empty() => Some(Duration::ZERO),
            0 => Some(fifo.reaches(self.wanted(fifo) - chains)),
            _ => {
                let fillers_at = fifo.reaches(FILLERS_PER_CHAIN as f64 * chains - chains);
                Some(fillers_at.max(self.free_since + OWNER_WITHIN))
            }
        }
    }

    /// A question goes out.
    pub(super) fn asked(&mut self, now: Duration) {
        self.asked_at = now;
        if self.settles_at.take().is_some_and(|at| at <= now) {
            self.open.clear();
        }
        self.open.retain(|asked| now < asked.at + ANSWER_LOST_AFTER);
        let sent = self.fifo.as_ref().map_or(0, Fifo::sent);
        self.open.push_back(Asked { sent, at: now });
    }

    /// An answer came; to which question. The oldest is the safe guess: it claims the
    /// fewest works. Those behind it must not stay open for good, or every later
    /// answer would be taken for one to the question before.
    pub(super) fn answered(&mut self, now: Duration) -> Option<Asked> {
        self.answered_at = now;
        let answered = self.open.pop_front();
        let follows = ANSWER_FOLLOWS.mul_f64(self.slowdown);
        self.settles_at = (!self.open.is_empty()).then(|| now + follows);
        answered
    }

    /// When to ask next.
    pub(super) fn ask_at(&self) -> Duration {
        if !self.open.is_empty() {
            let again = self.asked_at + ASK_AGAIN;
            return self.settles_at.map_or(again, |at| at.min(again));
        }
        let regular = self.asked_at + ASK_EVERY;
        let oldest = self.on_wire.iter().find(|work| work.ends_at.is_none());
        match (oldest, &self.fifo) {
            (Some(work), Some(fifo)) => {
                let soonest = self.asked_at + self.period.mul_f64(ASK_GAP_PERIODS);
                let over = fifo.over_at(work.index);
                let at = if over < soonest {
                    fifo.tick_from(soonest)
                } else {
                    over
                };
                (at + ASK_SLACK).min(regular)
            }
            _ => regular,
        }
    }

    /// When the device counts as silent.
    pub(super) fn silent_at(&self) -> Duration {
        self.answered_at + SILENT_AFTER
    }

    /// When the device counts as stuck, if callers wait for it.
    pub(super) fn stuck_at(&self) -> Option<Duration> {
        self.is_busy()
            .then(|| self.progress_at + STUCK_AFTER.mul_f64(self.slowdown))
    }

    /// Takes the free places of a status.
    pub(super) fn on_status(&mut self, asked: Asked, space: u32, now: Duration) {
        let Some(fifo) = &mut self.fifo else {
            return;
        };
        let taken = fifo.taken();
        fifo.on_status(asked, space, now);
        if fifo.taken() > taken {
            self.progress_at = now;
        }
        for work in &mut self.on_wire {
            if work.ends_at.is_none() && fifo.is_over(work.index) {
                work.ends_at = Some(now + END_MARGIN);
            }
        }
    }

    pub(super) fn on_nonce_reply(&mut self, space: u16, now: Duration) {
        if let Some(fifo) = &mut self.fifo {
            fifo.on_nonce_reply(space, now);
        }
    }

    pub(super) fn judge(&mut self, found: FoundNonce) -> Verdict {
        self.registry.judge(found)
    }

    #[cfg(test)]
    pub(super) fn registered(&self) -> usize {
        self.registry.len()
    }

    /// The next work that has ended by `now`. Works end in the order in which they
    /// were sent.
    pub(super) fn next_end(&mut self, now: Duration) -> Option<WorkTag> {
        if self.ends_at().is_none_or(|at| now < at) {
            return None;
        }
        let tag = self.on_wire.pop_front()?.tag;
        self.used_at = now;
        self.registry.end(tag);
        Some(tag)
    }

    /// When the next work ends, once that is known.
    pub(super) fn ends_at(&self) -> Option<Duration> {
        self.on_wire.front()?.ends_at
    }
}

/// How many whole works `level` is below `wanted`.
fn below(wanted: f64, level: f64) -> usize {
    /// Keeps rounding errors of the estimate from delaying a work.
    const EPSILON: f64 = 1e-6;
    (wanted - level + EPSILON).max(0.0) as usize
}

/// A work that nobody asked for. Its midstate passes an S3's 0xaa rule.
fn filler(number: u32) -> Work {
    Work {
        midstate: Midstate([number, 0, 0, 0, 0, 0, 0, 0]),
        tail: Tail([0; 3]),
    }
}
