//! What is known about the controller's work FIFO.
//!
//! Two kinds of knowledge are kept apart. *Evidence* comes from status replies: how
//! many works the chips have surely taken, and how many more may be sent. It decides
//! about the end of works and about the FIFO's limit, and it never relies on a clock,
//! so that it stays right on a simulated board whose time runs slowly. The *estimate*
//! counts down by the clock between two statuses; it only decides when to send
//! and when to ask. Works are counted from the last flush on.

use std::time::Duration;

use crate::Layout;

/// How long an S3 serves only its first chain after it begins to run (protocol
/// reference, section 6.3; read in the controller image).
const ONE_CHAIN_FOR: Duration = Duration::from_millis(500);

/// Consecutive empty ticks after which a controller leaves the running state.
const EMPTY_TICKS_TO_STOP: u32 = 2;

/// The timer of a board may be fast or slow by one part in so many.
const TIMER_DRIFT_DIVISOR: u32 = 64;

/// A nonce reply cannot show more free places than this (known images).
const NONCE_REPLY_SPACE_CAP: u16 = 255;

/// When a status was asked for, and how many works had been sent by then. The
/// device takes tokens in order, so its answer is not older than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) sent: u64,
    pub(super) at: Duration,
}

/// The FIFO of one device since its last flush.
#[derive(Debug)]
pub(super) struct Fifo {
    layout: Layout,
    chains: u64,
    period: Duration,
    slowdown: f64,
    /// Free places of the empty FIFO.
    depth: u64,
    /// Works sent.
    sent: u64,
    /// What `sent` may reach before the next report.
    limit: u64,
    /// Works that the chips have surely taken.
    taken: u64,
    /// Estimated works in the FIFO at `level_at`: as many as are taken, by the chains at
    /// the pace of the timer, until it is empty.
    level: f64,
    level_at: Duration,
    /// Since when the FIFO is estimated to be empty, if it was at `level_at`.
    empty_since: Option<Duration>,
    /// Estimated beginning of the running state.
    run_since: Duration,
    /// What is known about the timer, while every tick takes works for all chains.
    next_tick: Option<NextTick>,
}

/// The tick after so many works were taken, as statuses bound it.
#[derive(Debug, Clone, Copy)]
struct NextTick {
    taken: u64,
    earliest: Duration,
    latest: Duration,
    /// When this was known.
    at: Duration,
}

impl Fifo {
    /// An empty FIFO that reported `depth` free places.
    pub(super) fn new(
        layout: Layout,
        chains: usize,
        period: Duration,
        depth: u32,
        now: Duration,
    ) -> Self {
        Self {
            layout,
            chains: chains.max(1) as u64,
            period,
            slowdown: 1.0,
            depth: depth.into(),
            sent: 0,
            limit: depth.into(),
            taken: 0,
            level: 0.0,
            level_at: now,
            empty_since: Some(now),
            run_since: now,
            next_tick: None,
        }
    }

    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) const fn chains(&self) -> usize {
        self.chains as usize
    }

    /// Works sent since the flush; also the index of the next work.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Works that may be sent before the next report.
    pub(super) const fn room(&self) -> usize {
        self.limit.saturating_sub(self.sent) as usize
    }

    /// How many times slower than its period the device ticks, at least 1.
    pub(super) fn set_slowdown(&mut self, slowdown: f64, now: Duration) {
        if slowdown != self.slowdown {
            self.count_down(now);
            self.slowdown = slowdown.max(1.0);
        }
    }

    /// `count` works go on the wire.
    pub(super) fn add(&mut self, count: usize, now: Duration) {
        self.count_down(now);
        if let Some(since) = self.empty_since.take()
            && now >= since + self.tick() * EMPTY_TICKS_TO_STOP
        {
            self.run_since = now;
        }
        self.level += count as f64;
        self.sent += count as u64;
    }

    /// Takes the free places of a status reply.
    pub(super) fn on_status(&mut self, asked: Asked, space: u32, now: Duration) {
        let space = u64::from(space).min(self.depth);
        let waiting = self.depth - space;
        let taken = asked.sent.saturating_sub(waiting);
        self.taken = self.taken.max(taken);
        self.limit = asked.sent + space;
        let later = self.sent - asked.sent;
        if later > 0 {
            // They may or may not be among those that wait, and the clock knows better.
            let (least, most) = (waiting as f64, (waiting + later + self.chains) as f64);
            let level = self.level(now).clamp(least, most);
            return self.set_level(level, now);
        }
        let whole = waiting / self.chains * self.chains;
        if whole == 0 || asked.at < self.both_chains_at() {
            self.next_tick = None;
            return self.set_level(waiting as f64, now);
        }
        let next = self.bound_tick(asked.at, taken, now);
        self.next_tick = Some(next);
        // Each tick takes its works at once, and the first of them at that moment.
        let until_tick = if next.earliest > now {
            ticks(next.earliest - now, self.tick())
        } else {
            -ticks(now - next.earliest, self.tick())
        };
        let level = whole as f64 + until_tick * self.chains as f64;
        self.set_level(level.max(0.0), now);
    }

    /// When the timer ticks next, after `taken` works: a question and its answer bound it to
    /// a period and their own time, and those before bound it further.
    fn bound_tick(&self, asked: Duration, taken: u64, now: Duration) -> NextTick {
        let tick = self.tick();
        let alone = NextTick {
            taken,
            earliest: asked,
            latest: now + tick,
            at: now,
        };
        let since = |known: NextTick| taken.checked_sub(known.taken);
        let Some((known, taken_since)) = self
            .next_tick
            .and_then(|known| Some((known, since(known)?)))
        else {
            return alone;
        };
        let passed = tick.mul_f64(taken_since as f64 / self.chains as f64);
        let drift = now.saturating_sub(known.at) / TIMER_DRIFT_DIVISOR;
        let both = NextTick {
            earliest: (known.earliest + passed).saturating_sub(drift).max(asked),
            latest: (known.latest + passed + drift).min(alone.latest),
            ..alone
        };
        // Else a tick took nothing, or the timer has another period than was thought.
        let is_sound = taken_since % self.chains == 0 && both.earliest <= both.latest;
        if is_sound { both } else { alone }
    }

    /// Takes the free places of a nonce reply. They are capped, and the moment at
    /// which the device counted them is unknown, so they can only warn.
    pub(super) fn on_nonce_reply(&mut self, space: u16, now: Duration) {
        if space < NONCE_REPLY_SPACE_CAP {
            let space = u64::from(space);
            self.limit = self.limit.min(self.sent + space);
            let waiting = self.depth.saturating_sub(space) as f64;
            self.set_level(self.level(now).max(waiting), now);
        }
    }

    /// Works that the chips have surely taken.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the chips surely work on something else than work `index` by now: as
    /// many works as there are chains were taken after it.
    pub(super) const fn is_over(&self, index: u64) -> bool {
        self.taken > index + self.chains
    }

    /// When work `index` should be over, by the estimate; zero once that is past. That is at
    /// the tick which takes the last of as many works behind it as there are chains.
    pub(super) fn over_at(&self, index: u64) -> Duration {
        let behind = self.sent.saturating_sub(index + 1);
        let odd = self.sent.saturating_sub(self.taken) % self.chains;
        let whole = behind.saturating_sub(odd) / self.chains * self.chains;
        // The tick is somewhere between its bounds.
        let doubt = self
            .next_tick
            .map_or(1.0, |next| ticks(next.latest - next.earliest, self.tick()));
        self.when_drained(self.level - whole as f64 + doubt / 2.0 * self.chains as f64)
    }

    /// The first moment from `at` on that is half way between the bounds of a tick, where an
    /// answer bounds it further; `at` itself while nothing is known of the timer.
    pub(super) fn tick_from(&self, at: Duration) -> Duration {
        let Some(next) = self.next_tick else {
            return at;
        };
        let middle = (next.earliest + next.latest) / 2;
        let behind = ticks(at.saturating_sub(middle), self.tick()).ceil();
        middle + self.tick().mul_f64(behind)
    }

    /// Estimated works in the FIFO.
    pub(super) fn level(&self, now: Duration) -> f64 {
        (self.level - self.drained(now)).max(0.0)
    }

    /// When the estimate falls to `level`; zero once it is below.
    pub(super) fn reaches(&self, level: f64) -> Duration {
        self.when_drained(self.level - level)
    }

    /// Moves the estimate's reference to `now`.
    fn count_down(&mut self, now: Duration) {
        let empty_at = self.reaches(0.0).max(self.level_at);
        let empty_since = self.empty_since.unwrap_or(empty_at);
        self.set_level(self.level(now), now);
        if self.level == 0.0 {
            self.empty_since = Some(empty_since);
        }
    }

    fn set_level(&mut self, level: f64, now: Duration) {
        self.level = level;
        self.level_at = now;
        self.empty_since = (level == 0.0).then(|| self.empty_since.unwrap_or(now));
    }

    /// One period of the device's timer in host time.
    fn tick(&self) -> Duration {
        self.period.mul_f64(self.slowdown)
    }

    /// Works taken between `level_at` and `now` if there are enough.
    fn drained(&self, now: Duration) -> f64 {
        let single = now.min(self.both_chains_at()).saturating_sub(self.level_at);
        let both = now.saturating_sub(self.both_chains_at().max(self.level_at));
        ticks(single, self.tick()) + ticks(both, self.tick()) * self.chains as f64
    }

    /// When so many works were taken since `level_at`. Zero if more were taken before:
    /// the reference moves on, and a moment that is past must not move with it.
    fn when_drained(&self, works: f64) -> Duration {
        if works < 0.0 {
            return Duration::ZERO;
        }
        let single = self.both_chains_at().saturating_sub(self.level_at);
        let alone = ticks(single, self.tick());
        if works <= alone {
            return self.level_at + self.tick().mul_f64(works);
        }
        self.level_at + single + self.tick().mul_f64((works - alone) / self.chains as f64)
    }

    /// When the second chain begins to take works too.
    fn both_chains_at(&self) -> Duration {
        match self.layout {
            Layout::S1 => Duration::ZERO,
            Layout::S3 => self.run_since + ONE_CHAIN_FOR.mul_f64(self.slowdown),
        }
    }
}

fn ticks(time: Duration, tick: Duration) -> f64 {
    time.as_secs_f64() / tick.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn s1() -> Fifo {
        Fifo::new(Layout::S1, 2, PERIOD, 300, ms(0))
    }

    #[test]
    fn works_are_over_when_as_many_as_chains_were_taken_behind_them() {
        let mut fifo = s1();
        fifo.add(6, ms(0));
        let asked = Asked {
            sent: 6,
            at: ms(25),
        };
        fifo.on_status(asked, 297, ms(26));
        assert_eq!(fifo.taken(), 3);
        assert!(fifo.is_over(0));
        assert!(!fifo.is_over(1));
    }

    #[test]
    fn works_sent_after_the_question_prove_nothing() {
        let mut fifo = s1();
        fifo.add(2, ms(0));
        let asked = Asked { sent: 2, at: ms(1) };
        fifo.add(4, ms(1));
        // The answer was made before the four arrived: both first works still wait.
        fifo.on_status(asked, 298, ms(2));
        assert_eq!(fifo.taken(), 0);
        assert_eq!(fifo.room(), 294);
        let waiting = fifo.level(ms(2));
        assert!((5.0..=6.0).contains(&waiting), "{waiting}");
    }

    /// Milliseconds until the FIFO is empty by the estimate, after answers that each came
    /// 2 ms behind their question: when that was, and the works that were taken by then.
    fn empty_at(answers: &[(u64, u64)]) -> f64 {
        let mut fifo = s1();
        fifo.add(40, ms(0));
        for (asked, taken) in answers {
            let at = ms(*asked);
            fifo.on_status(Asked { sent: 40, at }, 260 + *taken as u32, at + ms(2));
        }
        (fifo.reaches(0.0).as_secs_f64() * 1e3).round()
    }

    #[test]
    fn answers_from_all_parts_of_a_tick_tell_when_the_timer_ticks() {
        // It ticks at 7 ms, 27 ms and so on, and at 407 ms nothing is left.
        assert_eq!(empty_at(&[(80, 8)]), 400.0, "a tick may follow at once");
        assert_eq!(empty_at(&[(86, 8)]), 406.0);
        let known = [(86, 8), (120, 12), (140, 14)];
        assert_eq!(empty_at(&known), 405.0, "less, as the timer may be fast");
    }

    #[test]
    fn an_answer_at_odds_with_what_was_known_counts_alone() {
        assert_eq!(empty_at(&[(46, 4), (48, 6)]), 406.0);
        // A tick took nothing, as if nothing had been there.
        assert_eq!(empty_at(&[(46, 4), (48, 6), (90, 6)]), 430.0);
    }

    #[test]
    fn a_full_nonce_reply_lowers_the_limit_and_a_capped_one_says_nothing() {
        let mut fifo = s1();
        fifo.on_nonce_reply(255, ms(0));
        assert_eq!(fifo.room(), 300);
        fifo.on_nonce_reply(3, ms(0));
        assert_eq!(fifo.room(), 3);
        assert_eq!(fifo.level(ms(0)), 297.0);
    }

    #[test]
    fn the_estimate_counts_down_with_both_chains_and_in_device_time() {
        let mut fifo = s1();
        fifo.add(8, ms(0));
        assert_eq!(fifo.level(ms(40)), 4.0);
        assert_eq!(fifo.reaches(2.0), ms(60));
        assert_eq!(fifo.over_at(0), ms(30));
        fifo.set_slowdown(10.0, ms(40));
        assert_eq!(fifo.level(ms(240)), 2.0);
        assert_eq!(fifo.level(ms(10_000)), 0.0);
    }

    #[test]
    fn a_moment_that_is_past_stays_past_when_the_slowdown_moves() {
        let mut fifo = s1();
        fifo.add(6, ms(0));
        for step in 0..100 {
            fifo.set_slowdown(1.0 + f64::from(step) / 1000.0, ms(40));
        }
        assert_eq!(fifo.over_at(0), Duration::ZERO);
        assert_eq!(fifo.reaches(5.0), Duration::ZERO);
    }

    #[test]
    fn an_s3_serves_one_chain_in_the_first_half_second_of_a_run() {
        let mut fifo = Fifo::new(Layout::S3, 2, PERIOD, 400, ms(0));
        fifo.add(40, ms(1000));
        assert_eq!(fifo.level(ms(1500)), 15.0);
        assert_eq!(fifo.level(ms(1600)), 5.0);
        assert_eq!(fifo.reaches(5.0), ms(1600));
        fifo.add(5, ms(1600)); // still running: no new half second
        assert_eq!(fifo.level(ms(1700)), 0.0);
        fifo.add(2, ms(2000)); // it had stopped
        assert_eq!(fifo.level(ms(2020)), 1.0);
    }
}
