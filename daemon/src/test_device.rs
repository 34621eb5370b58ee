//! A board for tests: it ticks like one, can be pulled out and plugged in again, and
//! really searches, but only the first nonces of a work and for few zero bits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hasher_driver::{
    Clock, DeviceEvent, DeviceId, DeviceInfo, DeviceKind, DeviceStatus, DeviceWork, DriverError,
    HashDevice, PauseReason, Sweep, WorkEnd, WorkTag,
};
use hasher_work::{Nonce, Work};
use tokio::time::{Instant, Interval};

use crate::Source;

/// Time between two ticks, each of which ends two works: an S3 at its stock clock.
pub(crate) const PERIOD: Duration = Duration::from_millis(18);
/// Works it takes.
const CAPACITY: usize = 14;
/// Nonces of each work that it tries.
const NONCES: u32 = 64;

#[derive(Default)]
struct State {
    is_plugged: bool,
    is_paused: bool,
    /// Loses every work instead of finishing it.
    is_lossy: bool,
    openings: u32,
    works_taken: u64,
    waker: Option<Waker>,
    news: VecDeque<DeviceEvent>,
}

/// The board; the daemon opens it through this too.
#[derive(Clone)]
pub(crate) struct TestBoard {
    id: DeviceId,
    state: Arc<Mutex<State>>,
}

impl TestBoard {
    pub(crate) fn new(name: &str) -> Self {
        let board = Self {
            id: DeviceId(name.to_owned()),
            state: Arc::default(),
        };
        board.plug();
        board
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wake(mut state: MutexGuard<'_, State>) {
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn plug(&self) {
        self.lock().is_plugged = true;
    }

    pub(crate) fn unplug(&self) {
        let mut state = self.lock();
        state.is_plugged = false;
        Self::wake(state);
    }

    /// The device says that it is gone.
    pub(crate) fn end(&self, why: DriverError) {
        let mut state = self.lock();
        state.news.push_back(DeviceEvent::Gone(why));
        Self::wake(state);
    }

    pub(crate) fn set_lossy(&self, is_lossy: bool) {
        self.lock().is_lossy = is_lossy;
    }

    pub(crate) fn heat(&self, is_hot: bool) {
        self.pause(is_hot.then_some(PauseReason::Hot(80)));
    }

    fn pause(&self, reason: Option<PauseReason>) {
        let mut state = self.lock();
        state.is_paused = reason.is_some();
        state.news.push_back(match reason {
            Some(reason) => DeviceEvent::Paused(reason),
            None => DeviceEvent::Resumed,
        });
        Self::wake(state);
    }

    pub(crate) fn openings(&self) -> u32 {
        self.lock().openings
    }

    pub(crate) fn works_taken(&self) -> u64 {
        self.lock().works_taken
    }
}

impl Source for TestBoard {
    fn id(&self) -> &DeviceId {
        &self.id
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Simulated
    }

    async fn open(&self) -> Result<Box<dyn HashDevice>, DriverError> {
        let mut state = self.lock();
        if !state.is_plugged {
            return Err(DriverError::NotFound(self.id.clone()));
        }
        state.openings += 1;
        state.is_paused = false;
        state.news.clear();
        Ok(Box::new(TestDevice {
            info: DeviceInfo {
                id: self.id.clone(),
                kind: DeviceKind::Simulated,
                model: "test board".to_owned(),
                firmware: String::new(),
                layout: None,
                chips_per_chain: vec![16, 16],
                frequency_mhz: f64::NAN, // a status document must survive it
                filter_zero_bits: 4,
                sweep: Sweep::Timer(PERIOD),
                nominal_hash_rate_hps: 0.0,
            },
            board: self.clone(),
            ticks: tokio::time::interval_at(Instant::now() + PERIOD, PERIOD),
            works: VecDeque::new(),
            news: VecDeque::from([DeviceEvent::Ready]),
            is_gone: false,
        }))
    }
}

struct TestDevice {
    info: DeviceInfo,
    board: TestBoard,
    ticks: Interval,
    works: VecDeque<DeviceWork>,
    news: VecDeque<DeviceEvent>,
    is_gone: bool,
}

impl TestDevice {
    fn lose_all(&mut self) {
        for work in self.works.drain(..) {
            let (tag, end) = (work.tag, WorkEnd::Lost);
            self.news.push_back(DeviceEvent::Done { tag, end });
        }
    }

    fn tick(&mut self) {
        let is_lossy = self.board.lock().is_lossy;
        for _ in 0..2 {
            let Some(work) = self.works.pop_front() else {
                return;
            };
            let tag = work.tag;
            let end = if is_lossy {
                WorkEnd::Lost
            } else {
                WorkEnd::Timer
            };
            let first = work.range.first().0;
            for nonce in (first..first.saturating_add(NONCES)).map(Nonce) {
                let found = work.work.verify(nonce, self.info.filter_zero_bits);
                if let (Some(digest), false) = (found, is_lossy) {
                    self.news.push_back(DeviceEvent::Hit { tag, nonce, digest });
                }
            }
            self.news.push_back(DeviceEvent::Done { tag, end });
        }
    }
}

impl HashDevice for TestDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn status(&self) -> DeviceStatus {
        DeviceStatus::default()
    }

    fn capacity(&self) -> usize {
        let is_ready = !self.is_gone && !self.board.lock().is_paused;
        if is_ready {
            CAPACITY - self.works.len()
        } else {
            0
        }
    }

    fn can_run(&self, work: &Work) -> bool {
        !work.midstate.is_dropped_by_s3()
    }

    fn submit(&mut self, work: DeviceWork) -> Result<(), DriverError> {
        if self.capacity() == 0 {
            return Err(DriverError::Full);
        }
        if !self.can_run(&work.work) {
            return Err(DriverError::NotRunnable);
        }
        self.board.lock().works_taken += 1;
        self.works.push_back(work);
        Ok(())
    }

    fn cancel(&mut self, tag: WorkTag) {
        self.works.retain(|work| work.tag != tag);
    }

    fn set_paused(&mut self, paused: bool) {
        self.board.pause(paused.then_some(PauseReason::Asked));
    }

    fn set_clock(&mut self, _clock: Option<Clock>) -> Result<(), DriverError> {
        Err(DriverError::NotSupported("a test board has no clock"))
    }

    fn begin_shutdown(&mut self) {
        self.works.clear();
        self.news.push_back(DeviceEvent::Gone(DriverError::Closed));
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<DeviceEvent> {
        loop {
            if self.is_gone {
                return Poll::Pending;
            }
            {
                let mut state = self.board.lock();
                state.waker = Some(cx.waker().clone());
                if !state.is_plugged {
                    self.is_gone = true;
                    return Poll::Ready(DeviceEvent::Gone(DriverError::Disconnected));
                }
                self.news.extend(state.news.drain(..));
            }
            if let Some(event) = self.news.pop_front() {
                self.is_gone = matches!(event, DeviceEvent::Gone(_));
                if let DeviceEvent::Paused(_) = event {
                    self.lose_all();
                }
                return Poll::Ready(event);
            }
            if self.ticks.poll_tick(cx).is_pending() {
                return Poll::Pending;
            }
            self.tick();
        }
    }
}
