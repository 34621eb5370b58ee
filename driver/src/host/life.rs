//! The phases of a device and what leads from one to the next.
//!
//! ```text
//! starting ─► working ⇄ paused          any ─► closing ─► gone
//!     ▲          │ fault, silence,         any ─► gone (disconnected, given up)
//!     ├──────────┤ stuck, lost works
//!     └─ resting ┘ no work for long
//! ```

use std::time::Duration;

use super::Host;
use super::start::{Next, Start};
use crate::token::StatusReply;
use crate::{Clock, Command, DeviceEvent, DriverError, Layout, PauseReason, Sweep, WorkEnd};

/// Recoveries in a row before the device is given up and its owner attaches anew.
const RECOVERIES_IN_A_ROW: u32 = 3;
/// A device that was ready for so long has recovered.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// Longest time for the last tokens. The contract of devices allows two seconds.
const CLOSE_WITHIN: Duration = Duration::from_millis(1500);

/// Where a device is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    Starting(Start),
    Working,
    /// At its slowest clock, because nobody had work; the next work starts it anew.
    Resting,
    Paused,
    Closing {
        until: Duration,
    },
    Gone,
}

impl Host {
    /// Stops taking work (`true`) or goes on (`false`) at the owner's wish.
    pub fn set_paused(&mut self, paused: bool, now: Duration) {
        self.asked_pause = paused;
        self.mind_gate(now);
    }

    /// Runs the chips at another clock than the settings say, or at theirs again. A board
    /// that rests or is paused gets it when it goes on.
    ///
    /// # Errors
    /// [`DriverError::UnsafeSetting`] for a clock of another model than the board's.
    pub fn set_clock(&mut self, clock: Option<Clock>, now: Duration) -> Result<(), DriverError> {
        let layout = self.receiver.layout();
        if let (Some(clock), Some(layout)) = (clock, layout)
            && clock.model() != layout.model()
        {
            return Err(DriverError::UnsafeSetting(format!(
                "a clock of an {} is not for an {}",
                clock.model(),
                layout.model()
            )));
        }
        let before = layout.map(|layout| self.settings.clock(layout));
        self.settings.other_clock = clock;
        let Some(layout) = layout else {
            return Ok(());
        };
        if before == Some(self.settings.clock(layout)) {
            return Ok(());
        }
        match &mut self.phase {
            Phase::Starting(start) => start.configure_again(now),
            Phase::Working => {
                self.lose_works();
                self.tell_paused(PauseReason::Configuring);
                self.control.clear();
                self.phase = Phase::Starting(Start::resume(layout, now));
            }
            Phase::Resting | Phase::Paused => self.describe_clock(layout),
            Phase::Closing { .. } | Phase::Gone => {}
        }
        Ok(())
    }

    /// Starts an orderly end: flushes the chips and leaves them idle; an S3, which
    /// goes on with dummy work, at its slowest clock.
    pub fn begin_shutdown(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Closing { .. } | Phase::Gone) {
            return;
        }
        self.lose_works();
        self.phase = Phase::Closing {
            until: now + CLOSE_WITHIN,
        };
        self.control.clear();
        self.calm();
        self.after_sent();
    }

    /// Does what is due in this phase.
    pub(super) fn live(&mut self, now: Duration) {
        match &mut self.phase {
            Phase::Starting(start) => {
                match start.on_time(now, |layout| self.settings.clock(layout)) {
                    Next::Wait => {}
                    Next::Send(commands) => self.control.extend(commands),
                    Next::Unreachable => {
                        let error = match self.receiver.layout() {
                            None => DriverError::UnknownLayout,
                            Some(_) => DriverError::Unrecoverable("it answers no query"),
                        };
                        self.give_up(error);
                    }
                }
            }
            Phase::Working | Phase::Resting | Phase::Paused if now >= self.feed.silent_at() => {
                self.gate.on_silence();
                self.recover(now, "it stays silent");
            }
            Phase::Working => {
                while let Some(tag) = self.feed.next_end(now) {
                    self.tell_done(tag, WorkEnd::Timer);
                }
                if self.feed.stuck_at().is_some_and(|at| now >= at) {
                    self.recover(now, "it takes no work from its queue");
                } else if self.rest_at().is_some_and(|at| now >= at) {
                    self.phase = Phase::Resting;
                    self.feed.rest();
                    self.calm();
                }
            }
            Phase::Closing { until } if now >= *until => self.give_up(DriverError::Closed),
            Phase::Resting | Phase::Paused | Phase::Closing { .. } | Phase::Gone => {}
        }
    }

    /// When the board goes to rest, if nobody has work for it until then.
    fn rest_at(&self) -> Option<Duration> {
        let is_tireless = self.receiver.layout() == Some(Layout::S3);
        let rest_after = self.settings.rest_after.filter(|_| is_tireless)?;
        Some(self.feed.idle_since()? + rest_after)
    }

    /// There is work again: the clock is set before the work goes on the wire.
    pub(super) fn end_rest(&mut self, now: Duration) {
        if let (Phase::Resting, Some(layout)) = (&self.phase, self.receiver.layout()) {
            self.control.clear();
            self.phase = Phase::Starting(Start::resume(layout, now));
        }
    }

    /// When [`live`](Self::live) or a token is due.
    pub(super) fn next_step_at(&self) -> Option<Duration> {
        let feed = &self.feed;
        let may_send = self.in_flight.is_none();
        let ask = may_send.then(|| feed.ask_at());
        match &self.phase {
            Phase::Starting(start) => Some(start.wake_at()),
            Phase::Working => {
                let works = feed.works_at().filter(|_| may_send);
                [
                    Some(feed.silent_at()),
                    feed.stuck_at(),
                    feed.ends_at(),
                    ask,
                    works,
                    self.rest_at(),
                ]
                .into_iter()
                .flatten()
                .min()
            }
            Phase::Resting | Phase::Paused => {
                [Some(feed.silent_at()), ask].into_iter().flatten().min()
            }
            Phase::Closing { until } => Some(*until),
            Phase::Gone => None,
        }
    }

    /// A question or works, if due.
    pub(super) fn next_working_command(&mut self, now: Duration) -> Option<Command> {
        let layout = self.receiver.layout()?;
        if !matches!(self.phase, Phase::Working | Phase::Resting | Phase::Paused) {
            return None;
        }
        if now >= self.feed.ask_at() {
            return Some(Command::poll(layout));
        }
        let (works, fillers) = self.feed.next_works(now)?;
        self.counters.filler_works += fillers as u64;
        Some(Command::works(works))
    }

    /// The last token went out.
    pub(super) fn after_sent(&mut self) {
        let is_idle = self.control.is_empty() && self.in_flight.is_none();
        if matches!(self.phase, Phase::Closing { .. }) && is_idle {
            self.give_up(DriverError::Closed);
        }
    }

    /// The device is configured and its FIFO empty.
    pub(super) fn become_ready(&mut self, layout: Layout, status: &StatusReply, now: Duration) {
        if status.chains.is_empty() {
            self.give_up(DriverError::Unrecoverable(
                "its controller found no hash board",
            ));
            return;
        }
        let clock = self.settings.clock(layout);
        let period = Duration::from_millis(clock.timeout_ms().into());
        self.describe(layout, status);
        self.feed
            .begin(layout, status.chains.len(), period, status.fifo_space, now);
        self.phase = Phase::Working;
        self.ready_since = now;
        if !self.told_ready {
            self.told_ready = true;
            self.tell(DeviceEvent::Ready);
        }
        self.mind_gate(now);
        if matches!(self.phase, Phase::Working) && self.told_paused.take().is_some() {
            self.tell(DeviceEvent::Resumed);
        }
    }

    fn describe(&mut self, layout: Layout, status: &StatusReply) {
        self.info.layout = Some(layout);
        self.info.model = layout.model().name().to_owned();
        self.info.firmware = match layout {
            Layout::S1 => status.version[0].to_string(),
            Layout::S3 => hasher_work::to_hex(&status.version),
        };
        self.info.chips_per_chain = status.chains.iter().map(|c| c.asic_num).collect();
        self.describe_clock(layout);
    }

    fn describe_clock(&mut self, layout: Layout) {
        let clock = self.settings.clock(layout);
        let chips = self.info.chips_per_chain.iter();
        let all_chips = chips.map(|&n| u32::from(n)).sum();
        // A simulated board that filters for fewer bits sweeps fewer nonces a work.
        let share = 2f64.powi(self.settings.filter_zero_bits as i32 - 32);
        self.info.frequency_mhz = clock.mhz();
        self.info.sweep = Sweep::Timer(Duration::from_millis(clock.timeout_ms().into()));
        self.info.nominal_hash_rate_hps = clock.hash_rate_hps(all_chips) * share;
    }

    /// Pauses or resumes as the gate and the owner demand.
    pub(super) fn mind_gate(&mut self, now: Duration) {
        let asked = self.asked_pause.then_some(PauseReason::Asked);
        let reason = self.gate.reason().cloned().or(asked);
        match (&self.phase, reason) {
            (Phase::Working | Phase::Resting, Some(reason)) => {
                self.lose_works();
                self.tell_paused(reason);
                self.phase = Phase::Paused;
                self.calm();
            }
            (Phase::Paused, Some(reason)) => self.tell_paused(reason),
            (Phase::Paused, None) => {
                if let Some(layout) = self.receiver.layout() {
                    self.phase = Phase::Starting(Start::resume(layout, now));
                }
            }
            _ => {}
        }
    }

    /// Flushes the device and lets its chips rest as far as they can: an S1 then stops,
    /// an S3 goes on with dummy work, so it gets its slowest clock (derived, not tried
    /// on hardware).
    fn calm(&mut self) {
        let Some(layout) = self.receiver.layout() else {
            return;
        };
        self.control.push_back(Command::detect(layout));
        if layout == Layout::S3 {
            let model = layout.model();
            let slowest = Clock::slowest(model);
            let (chains, chips) = (model.chains(), model.chips_per_chain());
            self.control
                .push_back(Command::configure(slowest, chains, chips));
        }
    }

    /// Begins anew with a device of which nothing is certain any more.
    pub(super) fn recover(&mut self, now: Duration, why: &'static str) {
        if let Phase::Closing { .. } = self.phase {
            self.give_up(DriverError::Closed);
            return;
        }
        let was_ready = matches!(self.phase, Phase::Working | Phase::Resting | Phase::Paused);
        if was_ready && now >= self.ready_since + STEADY_AFTER {
            self.recoveries_in_a_row = 0;
        }
        tracing::debug!(device = %self.info.id, why, "device starts anew");
        self.recoveries_in_a_row += 1;
        self.counters.recoveries += 1;
        if self.recoveries_in_a_row > RECOVERIES_IN_A_ROW {
            self.give_up(DriverError::Unrecoverable(why));
            return;
        }
        self.lose_works();
        if self.told_ready {
            let reason = self.gate.reason().cloned();
            self.tell_paused(reason.unwrap_or(PauseReason::Recovering(why)));
        }
        self.control.clear();
        self.forget_received();
        self.phase = Phase::Starting(Start::after_fault(self.receiver.layout(), now));
    }

    /// The end: nothing is sent or told after this.
    pub(super) fn give_up(&mut self, error: DriverError) {
        self.lose_works();
        self.control.clear();
        self.phase = Phase::Gone;
        self.tell(DeviceEvent::Gone(error));
    }

    fn lose_works(&mut self) {
        for tag in self.feed.abandon() {
            self.tell_done(tag, WorkEnd::Lost);
        }
    }

    /// Tells the owner, unless it knows this reason already. A temperature that moves
    /// is no new reason.
    fn tell_paused(&mut self, reason: PauseReason) {
        let is_known = self
            .told_paused
            .as_ref()
            .is_some_and(|told| std::mem::discriminant(told) == std::mem::discriminant(&reason));
        if !is_known {
            self.told_paused = Some(reason.clone());
            self.tell(DeviceEvent::Paused(reason));
        }
    }
}
