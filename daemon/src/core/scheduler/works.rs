//! The devices' side: attaching, pulling, and what becomes of works.

use std::collections::BTreeSet;
use std::time::Duration;

use hasher_driver::{DeviceWork, Sweep, WorkEnd, WorkTag};
use hasher_wire::ComputedBy;
use hasher_work::{Digest, Nonce, Work};

use super::{DeviceEntry, DeviceKey, Presence, Scheduler, WorkEntry};
use crate::core::job::{Piece, Verdict};
use crate::core::limits::TIMED_WORKS_MAX;
use crate::core::queue::{DeviceBit, JobId, Next, Offer};
use crate::core::status::JobError;

impl Scheduler {
    /// A device is about to come, so jobs may wait for it, from now on for the whole grace
    /// time.
    pub(crate) fn expect_device(&mut self, now: Duration) {
        if self.presence != Presence::Present {
            self.presence = Presence::Awaited { since: now };
        }
    }

    /// A device is ready for works.
    pub(crate) fn attach(&mut self, by: ComputedBy, sweep: Sweep) -> DeviceKey {
        let key = DeviceKey(self.next_id());
        let entry = DeviceEntry {
            by,
            sweep,
            bit: DeviceBit::unused(self.devices.values().map(|device| device.bit)),
            works: BTreeSet::new(),
            paused: None,
            cancels: Vec::new(),
        };
        self.devices.insert(key, entry);
        self.queue.ask_again();
        self.presence = Presence::Present;
        key
    }

    /// A device is gone: its works go back to the front of the queue.
    pub(crate) fn detach(&mut self, key: DeviceKey, now: Duration) {
        let Some(device) = self.devices.remove(&key) else {
            return;
        };
        if self.devices.is_empty() {
            self.presence = Presence::Awaited { since: now };
        }
        self.queue.ask_again(); // the others may take what was kept for it
        self.has_news_for_devices = true;
        for tag in device.works {
            self.done(tag, WorkEnd::Lost);
        }
        let mut refused = Vec::new();
        for (id, entry) in &mut self.jobs {
            entry.refused_by.retain(|device| *device != key);
            refused.extend((!entry.refused_by.is_empty()).then_some(*id));
        }
        self.fail_not_runnable(refused);
    }

    /// A device takes no works for this reason, or takes them again.
    pub(crate) fn note_pause(&mut self, key: DeviceKey, reason: Option<String>) {
        if let Some(device) = self.devices.get_mut(&key) {
            device.paused = reason;
        }
    }

    /// Up to `room` works for a device, in fair order. `can_run` says whether it
    /// can run a work at all.
    pub(crate) fn pull(
        &mut self,
        key: DeviceKey,
        room: usize,
        now: Duration,
        can_run: impl Fn(&Work) -> bool,
    ) -> Vec<DeviceWork> {
        let mut pulled = Vec::new();
        let mut refused = Vec::new();
        let counts_up_to = self.devices.values().map(DeviceEntry::counts_up_to).max();
        let Some(device) = self.devices.get_mut(&key) else {
            return pulled;
        };
        let room = match device.sweep {
            Sweep::Timer(_) => room.min(TIMED_WORKS_MAX.saturating_sub(device.works.len())),
            Sweep::Range { .. } => room,
        };
        while pulled.len() < room {
            let tag = WorkTag(self.last_id + 1);
            let given = self.queue.pull(device.bit, |id| {
                let entry = self.jobs.get_mut(&id).expect("a queued job exists");
                if !can_run(&entry.first_work) {
                    if !entry.refused_by.contains(&key) {
                        entry.refused_by.push(key);
                        refused.push(id);
                    }
                    return Offer::Never;
                }
                // Chips sweep where they like and rarely meet a narrow range; a device
                // that counts answers it for certain with a single work.
                if device.counts_up_to() == 0 && counts_up_to >= Some(entry.job.range_nonces()) {
                    return Offer::Never;
                }
                let Some(piece) = entry.job.issue(device.sweep, &device.by) else {
                    return Offer::Pass;
                };
                let work = DeviceWork {
                    tag,
                    work: entry.job.work(piece),
                    range: piece.range,
                    target: entry.job.target(),
                    hits_wanted: entry.job.hits_wanted(),
                };
                entry.works.push(tag);
                entry.is_queued = entry.job.has_more();
                // Every job gets its first work before one gets its second: a long
                // range must not hold up what was asked for after it.
                let next = if entry.is_queued {
                    Next::Back
                } else {
                    Next::Leave
                };
                let user = self.sessions.get(&entry.lane.session).and_then(|s| s.user);
                Offer::Take {
                    sharers: self.demand.sessions(user),
                    weight: self.limits.quota(user).weight,
                    work: (id, entry.lane.session, piece, work),
                    next,
                }
            });
            let Some((id, session, piece, work)) = given else {
                break;
            };
            self.last_id += 1;
            let entry = WorkEntry {
                job: Some(id),
                piece,
                device: key,
                hits_wanted: work.hits_wanted,
                hits_found: 0,
            };
            self.works.insert(tag, entry);
            device.works.insert(tag);
            self.totals.works += 1;
            self.recent_works.add(now, 1);
            if let Some(session) = self.sessions.get_mut(&session) {
                session.counters.works += 1;
                session.recent_works.add(now, 1);
            }
            pulled.push(work);
        }
        self.fail_not_runnable(refused);
        pulled
    }

    /// The device did not take a pulled work after all.
    pub(crate) fn give_back(&mut self, tag: WorkTag) {
        if let Some((id, piece)) = self.remove_work(tag)
            && let Some(entry) = self.jobs.get_mut(&id)
        {
            entry.job.give_back(piece);
            self.queue_again(id);
        }
    }

    /// A device found a nonce.
    pub(crate) fn hit(&mut self, tag: WorkTag, nonce: Nonce, digest: Digest) {
        let Some(work) = self.works.get_mut(&tag) else {
            self.totals.stale_hits += 1;
            return;
        };
        work.hits_found += 1;
        let (Some(id), piece, device) = (work.job, work.piece, work.device) else {
            self.totals.stale_hits += 1;
            return;
        };
        let ends_itself = work.hits_found >= work.hits_wanted
            && self
                .devices
                .get(&device)
                .is_some_and(|device| matches!(device.sweep, Sweep::Range { .. }));
        let entry = self.jobs.get_mut(&id).expect("a work's job exists");
        match entry.job.hit(piece, nonce, digest) {
            Verdict::Wrong => self.totals.wrong_hits += 1,
            Verdict::Dropped => {}
            Verdict::Counted => {
                self.totals.hits += 1;
                // A counting device that has its hits says next how far it came;
                // that belongs into the answer.
                if entry.job.hits_wanted() == 0 && !ends_itself {
                    self.answer_if_over(id);
                }
            }
        }
    }

    /// A work ended on its device.
    pub(crate) fn done(&mut self, tag: WorkTag, end: WorkEnd) {
        let Some((id, piece)) = self.remove_work(tag) else {
            return;
        };
        let Some(entry) = self.jobs.get_mut(&id) else {
            return;
        };
        let ended = entry.job.ended(piece, end);
        if !self.answer_if_over(id) {
            match ended {
                Ok(()) => self.queue_again(id),
                Err(_) => self.answer(
                    id,
                    Err(JobError::DeviceGone("devices lost this work too often")),
                ),
            }
        }
    }

    /// Works a device should forget.
    pub(crate) fn take_cancels(&mut self, key: DeviceKey) -> Vec<WorkTag> {
        self.devices
            .get_mut(&key)
            .map(|device| std::mem::take(&mut device.cancels))
            .unwrap_or_default()
    }

    /// Works of jobs that a device holds now.
    pub(crate) fn works_on(&self, key: DeviceKey) -> usize {
        self.devices
            .get(&key)
            .map_or(0, |device| device.works.len())
    }

    /// Removes a work, also from its job's and device's lists; its job and piece
    /// unless the job was answered before.
    fn remove_work(&mut self, tag: WorkTag) -> Option<(JobId, Piece)> {
        let work = self.works.remove(&tag)?;
        if let Some(device) = self.devices.get_mut(&work.device) {
            device.works.remove(&tag);
        }
        let id = work.job?;
        if let Some(entry) = self.jobs.get_mut(&id) {
            entry.works.retain(|other| *other != tag);
        }
        Some((id, work.piece))
    }

    fn queue_again(&mut self, id: JobId) {
        if let Some(entry) = self.jobs.get_mut(&id)
            && !entry.is_queued
            && entry.job.has_more()
        {
            entry.is_queued = true;
            self.queue.push_front(entry.lane, id);
            self.has_news_for_devices = true;
        }
    }

    /// Fails those of `jobs` that every attached device refuses.
    fn fail_not_runnable(&mut self, jobs: Vec<JobId>) {
        for id in jobs {
            let refused = self.jobs.get(&id).is_some_and(|entry| {
                entry.works.is_empty()
                    && !self.devices.is_empty()
                    && self
                        .devices
                        .keys()
                        .all(|key| entry.refused_by.contains(key))
            });
            if refused {
                self.answer(id, Err(JobError::NotRunnable));
            }
        }
    }
}
