//! The way from an unknown device to one that takes works.
//!
//! Owns the order and the timing of the first tokens (protocol reference, sections 1
//! and 7.1), for the first start as for every recovery and resume:
//!
//! ```text
//! knock ─► listen ─► detect ─► settle ─► configure ─► confirm ─► ready
//! (after a fault)      └ in the S3's form, then the S1's, in turns
//! ```
//!
//! It only says what to send and when; the host sends it and tells what came back.

use std::time::Duration;

use crate::token::StatusReply;
use crate::{Clock, Command, Layout};

/// Pause before each of the expendable polls after a fault; a miner's own host
/// waits as long before it tries again.
const KNOCK_GAP: Duration = Duration::from_millis(50);
/// Expendable polls after a fault. The first ends a token of which only a part
/// arrived (both are dropped), the second one a stray part of exactly 64 bytes.
const KNOCKS: u8 = 2;
/// How long replies meant for an earlier host are listened to and dropped.
const LISTEN_FOR: Duration = Duration::from_millis(100);
/// How long an answer to a query is waited for before the next is sent.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);
/// Queries in each form before the device counts as unreachable.
const ATTEMPTS: u8 = 4;
/// Rest between the first status and the configuration.
const SETTLE_FOR: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Expendable polls that were sent.
    Knock(u8),
    Listen,
    /// Queries that were sent.
    Detect(u8),
    Settle,
    /// Polls that were sent since the configuration.
    Confirm(u8),
}

/// One start.
#[derive(Debug)]
pub(super) struct Start {
    step: Step,
    until: Duration,
    found: Option<Found>,
}

/// What is known about the device once it answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) layout: Layout,
    pub(super) chains: u8,
    pub(super) chips: u8,
}

/// What to do now.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing before [`Start::wake_at`].
    Wait,
    /// Send these in order.
    Send(Vec<Command>),
    /// The device answered nothing in all attempts.
    Unreachable,
}

impl Start {
    /// The first start of an unknown device.
    pub(super) fn first(now: Duration) -> Self {
        Self {
            step: Step::Listen,
            until: now + LISTEN_FOR,
            found: None,
        }
    }

    /// A start after a fault. The layout is known if the device answered before.
    pub(super) fn after_fault(layout: Option<Layout>, now: Duration) -> Self {
        Self {
            step: match layout {
                Some(_) => Step::Knock(0),
                None => Step::Listen,
            },
            until: now + KNOCK_GAP,
            found: layout.map(unconfirmed),
        }
    }

    /// A start of a device that is well and only paused.
    pub(super) fn resume(layout: Layout, now: Duration) -> Self {
        Self {
            step: Step::Detect(0),
            until: now,
            found: Some(unconfirmed(layout)),
        }
    }

    /// The clock is another one now: if the device has its configuration already, it gets
    /// it again.
    pub(super) fn configure_again(&mut self, now: Duration) {
        if let Step::Confirm(_) = self.step {
            self.go(Step::Settle, now);
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(super) const fn wake_at(&self) -> Duration {
        self.until
    }

    /// Whether it waits for the answer to a query.
    pub(super) const fn expects_status(&self) -> bool {
        matches!(self.step, Step::Detect(1..) | Step::Confirm(_))
    }

    /// What is due at `now`.
    pub(super) fn on_time(&mut self, now: Duration, clock: impl Fn(Layout) -> Clock) -> Next {
        if now < self.until {
            return Next::Wait;
        }
        match (self.step, self.found) {
            (Step::Knock(KNOCKS..), _) => {
                self.go(Step::Detect(0), now);
                self.on_time(now, clock)
            }
            (Step::Knock(sent), Some(found)) => {
                self.go(Step::Knock(sent + 1), now + KNOCK_GAP);
                Next::Send(vec![Command::poll(found.layout)])
            }
            (Step::Listen | Step::Knock(_), _) => {
                self.go(Step::Detect(0), now);
                self.on_time(now, clock)
            }
            (Step::Detect(sent), found) => {
                let layout = match found {
                    Some(found) => found.layout,
                    None if sent % 2 == 0 => Layout::S3,
                    None => Layout::S1,
                };
                let most = if found.is_some() {
                    ATTEMPTS
                } else {
                    2 * ATTEMPTS
                };
                if sent == most {
                    return Next::Unreachable;
                }
                self.go(Step::Detect(sent + 1), now + ANSWER_WITHIN);
                Next::Send(vec![Command::detect(layout)])
            }
            (Step::Settle, Some(found)) => {
                self.go(Step::Confirm(1), now + ANSWER_WITHIN);
                Next::Send(vec![
                    Command::configure(clock(found.layout), found.chains, found.chips),
                    Command::poll(found.layout),
                ])
            }
            (Step::Confirm(sent), Some(found)) if sent < ATTEMPTS => {
                self.go(Step::Confirm(sent + 1), now + ANSWER_WITHIN);
                Next::Send(vec![Command::poll(found.layout)])
            }
            (Step::Settle | Step::Confirm(_), _) => Next::Unreachable,
        }
    }

    /// Takes a status; says whether the device is ready with it.
    pub(super) fn on_status(
        &mut self,
        layout: Layout,
        status: &StatusReply,
        now: Duration,
    ) -> bool {
        match self.step {
            Step::Detect(1..) => {
                self.found = Some(Found {
                    layout,
                    chains: u8::try_from(status.chains.len()).unwrap_or(u8::MAX),
                    chips: status.chains.iter().map(|c| c.asic_num).max().unwrap_or(0),
                });
                self.go(Step::Settle, now + SETTLE_FOR);
                false
            }
            Step::Confirm(_) => true,
            // Left over from before.
            Step::Knock(_) | Step::Listen | Step::Detect(0) | Step::Settle => false,
        }
    }

    fn go(&mut self, step: Step, until: Duration) {
        self.step = step;
        self.until = until;
    }
}

/// A device that spoke this layout before; its chains will be told anew.
const fn unconfirmed(layout: Layout) -> Found {
    let model = layout.model();
    Found {
        layout,
        chains: model.chains(),
        chips: model.chips_per_chain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommandKind::{self, Configure, Detect, Poll};

    fn clock(layout: Layout) -> Clock {
        Clock::stock(layout.model())
    }

    /// Runs a start; `answers` says in which layout the device answers queries.
    fn run(mut start: Start, answers: Option<Layout>) -> (Vec<(Duration, CommandKind)>, bool) {
        let mut log = Vec::new();
        for _ in 0..100 {
            let now = start.wake_at();
            let commands = match start.on_time(now, clock) {
                Next::Wait => panic!("woken for nothing"),
                Next::Unreachable => return (log, false),
                Next::Send(commands) => commands,
            };
            let status = StatusReply::default();
            for command in commands {
                log.push((now, command.kind()));
                let asks = command.kind() != Configure;
                if let Some(layout) = answers.filter(|_| asks)
                    && [Command::poll(layout), Command::detect(layout)].contains(&command)
                    && start.on_status(layout, &status, now)
                {
                    return (log, true);
                }
            }
        }
        panic!("a start must end: {log:?}");
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_s3_is_found_with_the_first_query_and_an_s1_with_the_second() {
        let (log, ready) = run(Start::first(ms(0)), Some(Layout::S3));
        assert!(ready);
        assert_eq!(
            log,
            [(ms(100), Detect), (ms(400), Configure), (ms(400), Poll)]
        );
        let (log, ready) = run(Start::first(ms(0)), Some(Layout::S1));
        assert!(ready);
        assert_eq!(
            log,
            [
                (ms(100), Detect),
                (ms(400), Detect),
                (ms(700), Configure),
                (ms(700), Poll)
            ]
        );
    }

    #[test]
    fn a_fault_is_followed_by_two_expendable_polls() {
        let start = Start::after_fault(Some(Layout::S1), ms(0));
        let (log, ready) = run(start, Some(Layout::S1));
        assert!(ready);
        let kinds: Vec<_> = log.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, [Poll, Poll, Detect, Configure, Poll]);
    }

    #[test]
    fn a_device_that_never_answers_is_given_up() {
        let (log, ready) = run(Start::first(ms(0)), None);
        assert!(!ready);
        assert_eq!(log.len(), 8);
        let start = Start::after_fault(Some(Layout::S3), ms(0));
        let (log, ready) = run(start, None);
        assert!(!ready);
        assert_eq!(log.len(), 6);
    }

    #[test]
    fn a_status_from_before_the_query_starts_nothing() {
        let mut start = Start::first(ms(0));
        assert!(!start.on_status(Layout::S1, &StatusReply::default(), ms(1)));
        assert!(matches!(
            start.on_time(ms(100), clock),
            Next::Send(commands) if commands == [Command::detect(Layout::S3)]
        ));
    }
}
