//! Whose turn it is.
//!
//! Every session has one lane per priority. A lane's *pass* grows with each work
//! that was sent for it, the slower the higher its priority; the lane with the
//! smallest pass is next (stride scheduling). The sessions of one user divide the share
//! of one session, so opening more of them wins nothing. A lane that was empty, or had nothing
//! for the device that asked, joins at the present pass, so no right to works is
//! saved up.

use std::collections::{BTreeSet, HashMap, VecDeque};

use hasher_wire::Priority;

/// A client connection; never reused while the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// A job of any session; never reused while the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JobId(pub(crate) u64);

/// A session's jobs of one priority. Among lanes of the same pass the higher priority is
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LaneId {
    // The highest priority is the least value.
    pub(crate) priority: Priority,
    pub(crate) session: SessionId,
}

/// What a job offers to the device that asks.
pub(crate) enum Offer<T> {
    /// Nothing for this device now; the job stays where it is.
    Pass,
    /// Nothing for this device until [`FairQueue::ask_again`].
    Never,
    /// A work. The lane is charged for it.
    Take {
        work: T,
        next: Next,
        /// Sessions among which the user divides one share: at least 1, at most
        /// [`SESSIONS_MAX`](super::SESSIONS_MAX).
        sharers: u64,
        /// How many times the share of others the user's is; at least 1.
        weight: u16,
    },
}

/// Where a job goes after it gave a work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The other jobs of its lane come first.
    Back,
    /// It has no more works.
    Leave,
}

/// One bit of an attached device, or none if more are attached than there are bits;
/// such a device is asked about every job each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeviceBit(u16);

impl DeviceBit {
    /// The lowest bit that none of `others` has.
    pub(crate) fn unused(others: impl Iterator<Item = Self>) -> Self {
        let used = others.fold(0u16, |used, bit| used | bit.0);
        Self(1u16.checked_shl(used.trailing_ones()).unwrap_or_default())
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    job: JobId,
    /// Bits of the devices that never take it.
    never: u16,
}

#[derive(Debug, Default)]
struct Lane {
    pass: u64,
    jobs: VecDeque<Waiting>,
}

/// The lanes of all sessions.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    lanes: HashMap<LaneId, Lane>,
    /// Lanes that have jobs, by pass.
    order: BTreeSet<(u64, LaneId)>,
    /// The pass of the lane that was served last.
    now: u64,
}

/// What one work costs: in inverse proportion to the weights 8, 2 and 1 of the
/// priorities, and to the weight of the user. The unit can be divided by every weight up
/// to 10 and leaves at most 0.4 % to rounding up to 100; a lane's pass overflows after
/// more than 2^36 works.
const fn cost(priority: Priority, sharers: u64, weight: u16) -> u64 {
    let by_priority = match priority {
        Priority::Interactive => 1,
        Priority::Batch => 4,
        Priority::Background => 8,
    };
    let cost = by_priority * sharers * COST_UNIT;
    if weight == 0 {
        cost
    } else {
        cost / weight as u64
    }
}

const COST_UNIT: u64 = 25_200;

impl FairQueue {
    /// Queues a job behind its lane's others.
    pub(crate) fn push_back(&mut self, lane: LaneId, job: JobId) {
        self.lane(lane).jobs.push_back(Waiting { job, never: 0 });
    }

    /// Queues a job before its lane's others.
    pub(crate) fn push_front(&mut self, lane: LaneId, job: JobId) {
        self.lane(lane).jobs.push_front(Waiting { job, never: 0 });
    }

    fn lane(&mut self, id: LaneId) -> &mut Lane {
        let lane = self.lanes.entry(id).or_default();
        if lane.jobs.is_empty() {
            lane.pass = lane.pass.max(self.now);
            self.order.insert((lane.pass, id));
        }
        lane
    }

    /// Takes a job out, wherever it stands.
    pub(crate) fn remove(&mut self, id: LaneId, job: JobId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.jobs.retain(|other| other.job != job);
            if lane.jobs.is_empty() {
                self.order.remove(&(lane.pass, id));
            }
        }
    }

    /// Forgets a session's lanes with all their jobs.
    pub(crate) fn remove_session(&mut self, session: SessionId) {
        for priority in [Priority::Interactive, Priority::Batch, Priority::Background] {
            let id = LaneId { session, priority };
            if let Some(lane) = self.lanes.remove(&id) {
                self.order.remove(&(lane.pass, id));
            }
        }
    }

    /// Forgets every [`Offer::Never`]; for when devices come or go.
    pub(crate) fn ask_again(&mut self) {
        for waiting in self.lanes.values_mut().flat_map(|lane| &mut lane.jobs) {
            waiting.never = 0;
        }
    }

    /// Whether no job waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Asks the jobs in their order until one gives this device a work.
    ///
    /// A job that will never do so is asked once. What is left to pass over has works
    /// on devices already, so there is little of it however many jobs wait.
    pub(crate) fn pull<T>(
        &mut self,
        device: DeviceBit,
        mut ask: impl FnMut(JobId) -> Offer<T>,
    ) -> Option<T> {
        let mut passed_over = Vec::new();
        let mut served = None;
        'lanes: for &(pass, id) in &self.order {
            let lane = self.lanes.get_mut(&id).expect("an ordered lane exists");
            for at in 0..lane.jobs.len() {
                let waiting = &mut lane.jobs[at];
                if waiting.never & device.0 != 0 {
                    continue;
                }
                let (work, next, cost) = match ask(waiting.job) {
                    Offer::Take {
                        work,
                        next,
                        sharers,
                        weight,
                    } => (work, next, cost(id.priority, sharers, weight)),
                    Offer::Pass => continue,
                    Offer::Never => {
                        waiting.never |= device.0;
                        continue;
                    }
                };
                match next {
                    Next::Leave => drop(lane.jobs.remove(at)),
                    Next::Back => {
                        let job = lane.jobs.remove(at).expect("the index is in bounds");
                        lane.jobs.push_back(job);
                    }
                }
                served = Some((pass, id, cost, work));
                break 'lanes;
            }
            passed_over.push((pass, id));
        }
        let (pass, id, cost, work) = served?;
        self.now = self.now.max(pass);
        self.charge(pass, id, pass + cost);
        for (old, id) in passed_over {
            self.charge(old, id, pass);
        }
        Some(work)
    }

    fn charge(&mut self, old: u64, id: LaneId, new: u64) {
        self.order.remove(&(old, id));
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.pass = new;
            if !lane.jobs.is_empty() {
                self.order.insert((new, id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn lane(session: u64, priority: Priority) -> LaneId {
        LaneId {
            session: SessionId(session),
            priority,
        }
    }

    const fn offer<T>(work: T, next: Next) -> Offer<T> {
        Offer::Take {
            work,
            next,
            sharers: 1,
            weight: 1,
        }
    }

    fn take(queue: &mut FairQueue, next: Next) -> Option<u64> {
        queue.pull(DeviceBit::default(), |job| offer(job.0, next))
    }

    #[test]
    fn shares_follow_the_weights() {
        let mut queue = FairQueue::default();
        queue.push_back(lane(1, Priority::Interactive), JobId(8));
        queue.push_back(lane(2, Priority::Batch), JobId(2));
        queue.push_back(lane(3, Priority::Background), JobId(1));
        let mut counts = [0; 9];
        for _ in 0..1100 {
            counts[take(&mut queue, Next::Back).unwrap() as usize] += 1;
        }
        assert_eq!((counts[8], counts[2], counts[1]), (800, 200, 100));
    }

    #[test]
    fn shares_follow_the_weights_of_users() {
        let mut queue = FairQueue::default();
        for session in [1, 10, 97] {
            queue.push_back(lane(session, Priority::Batch), JobId(session));
        }
        let mut counts = [0; 98];
        for _ in 0..10_800 {
            let taken = queue.pull(DeviceBit::default(), |job| Offer::Take {
                work: job.0,
                next: Next::Back,
                sharers: 1,
                weight: job.0 as u16,
            });
            counts[taken.unwrap() as usize] += 1;
        }
        assert_eq!((counts[1], counts[10]), (100, 1000));
        assert_eq!(counts[97], 9700);
    }

    #[test]
    fn a_newcomer_is_served_after_at_most_one_work_of_each_other_lane() {
        let mut queue = FairQueue::default();
        for session in 0..5 {
            queue.push_back(lane(session, Priority::Batch), JobId(session));
        }
        for _ in 0..1003 {
            take(&mut queue, Next::Back);
        }
        queue.push_back(lane(9, Priority::Background), JobId(9));
        let turn = (0..).find(|_| take(&mut queue, Next::Back) == Some(9));
        assert!(turn.unwrap() <= 5);
    }

    #[test]
    fn an_urgent_newcomer_is_served_next_though_others_wait_as_long() {
        let mut queue = FairQueue::default();
        for session in 0..5 {
            queue.push_back(lane(session, Priority::Batch), JobId(session));
        }
        for served in 0..8 {
            assert_eq!(take(&mut queue, Next::Back), Some(served % 5));
        }
        queue.push_back(lane(9, Priority::Interactive), JobId(9));
        assert_eq!(take(&mut queue, Next::Leave), Some(9));
        assert_eq!(take(&mut queue, Next::Back), Some(3));
    }

    #[test]
    fn coming_and_going_does_not_beat_the_weights() {
        let mut queue = FairQueue::default();
        queue.push_back(lane(1, Priority::Interactive), JobId(1));
        let mut background = 0;
        for _ in 0..900 {
            // Session 2 always has exactly one new job with one work.
            queue.remove(lane(2, Priority::Background), JobId(2));
            queue.push_back(lane(2, Priority::Background), JobId(2));
            background += u32::from(take(&mut queue, Next::Back) == Some(2));
        }
        assert!((95..=105).contains(&background), "{background}");
    }

    #[test]
    fn a_lane_that_had_nothing_to_give_saves_up_no_right() {
        let mut queue = FairQueue::default();
        queue.push_back(lane(1, Priority::Batch), JobId(1));
        queue.push_back(lane(2, Priority::Batch), JobId(2));
        for _ in 0..100 {
            queue.pull(DeviceBit::default(), |job| match job.0 {
                1 => Offer::Pass,
                _ => offer((), Next::Back),
            });
        }
        let turns: Vec<_> = (0..20).map(|_| take(&mut queue, Next::Back)).collect();
        let first = turns.iter().filter(|turn| **turn == Some(1)).count();
        assert!((10..=11).contains(&first), "{turns:?}");
    }

    #[test]
    fn jobs_of_a_lane_leave_or_go_to_the_back() {
        let mut queue = FairQueue::default();
        let id = lane(1, Priority::Batch);
        for job in 1..=3 {
            queue.push_back(id, JobId(job));
        }
        queue.push_front(id, JobId(0));
        assert_eq!(take(&mut queue, Next::Leave), Some(0));
        assert_eq!(take(&mut queue, Next::Back), Some(1));
        assert_eq!(take(&mut queue, Next::Leave), Some(2));
        queue.remove(id, JobId(3));
        assert_eq!(take(&mut queue, Next::Leave), Some(1));
        assert!(queue.is_empty());
        assert_eq!(take(&mut queue, Next::Leave), None);
    }

    #[test]
    fn a_job_that_a_device_never_takes_is_asked_once_until_the_devices_change() {
        let mut queue = FairQueue::default();
        let first = DeviceBit::unused([].into_iter());
        let second = DeviceBit::unused([first].into_iter());
        for job in 0..200 {
            queue.push_back(lane(1, Priority::Batch), JobId(job));
        }
        // The first device takes the last job only.
        let asked = |queue: &mut FairQueue, device| {
            let mut asked = 0;
            queue.pull(device, |job| {
                asked += 1;
                match job.0 {
                    199 => offer((), Next::Back),
                    _ => Offer::Never,
                }
            });
            asked
        };
        assert_eq!(asked(&mut queue, first), 200);
        assert_eq!(asked(&mut queue, first), 1);
        assert_eq!(
            asked(&mut queue, second),
            200,
            "another device, another answer"
        );
        queue.ask_again();
        assert_eq!(asked(&mut queue, first), 200);
    }

    #[test]
    fn every_attached_device_has_a_bit_of_its_own_while_there_are_any() {
        let mut bits: Vec<DeviceBit> = Vec::new();
        for number in 0..16 {
            let bit = DeviceBit::unused(bits.iter().copied());
            assert_eq!(bit, DeviceBit(1 << number));
            bits.push(bit);
        }
        assert_eq!(DeviceBit::unused(bits.iter().copied()), DeviceBit(0));
        bits.remove(5);
        assert_eq!(DeviceBit::unused(bits.into_iter()), DeviceBit(1 << 5));
    }

    #[test]
    fn a_session_that_ends_leaves_no_lane_behind() {
        let mut queue = FairQueue::default();
        for priority in [Priority::Interactive, Priority::Batch, Priority::Background] {
            queue.push_back(lane(1, priority), JobId(1));
        }
        queue.remove_session(SessionId(1));
        assert!(queue.is_empty() && queue.lanes.is_empty());
    }
}
