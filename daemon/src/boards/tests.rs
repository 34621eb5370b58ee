//! Boards that come, go, are held and refuse, on a bus of the tests, in paused time.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hasher_driver::usb::{Board, Stage};
use hasher_driver::{Denial, DeviceKind, DriverError, HashDevice, Holder};
use hasher_wire::{DeviceReport, DeviceState};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::*;
use crate::test_device::TestBoard;

/// Why a board cannot be opened now.
type Refusal = fn() -> DriverError;

#[derive(Default)]
struct PortState {
    refusal: Option<Refusal>,
    /// When it was tried to open it.
    attempts: Vec<Instant>,
    ends: Vec<String>,
}

/// A port with a board that can be put in and pulled out.
#[derive(Clone)]
struct Port {
    board: TestBoard,
    state: Arc<Mutex<PortState>>,
}

impl Port {
    fn new(name: &str) -> Self {
        let board = TestBoard::new(name);
        board.unplug();
        Self {
            board,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PortState> {
        self.state.lock().unwrap()
    }

    fn refuse(&self, refusal: Option<Refusal>) {
        self.lock().refusal = refusal;
    }

    fn attempts(&self) -> usize {
        self.lock().attempts.len()
    }
}

impl Source for Port {
    fn id(&self) -> &DeviceId {
        self.board.id()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Usb
    }

    async fn open(&self) -> Result<Box<dyn HashDevice>, DriverError> {
        let refusal = {
            let mut state = self.lock();
            state.attempts.push(Instant::now());
            state.refusal
        };
        match refusal {
            Some(refusal) => Err(refusal()),
            None => self.board.open().await,
        }
    }

    fn note_end(&self, why: &DriverError) {
        self.lock().ends.push(why.to_string());
    }
}

struct TestBus {
    changes: mpsc::Receiver<BusChange>,
    ports: Vec<Port>,
    expected: Vec<DeviceId>,
}

impl Bus for TestBus {
    type Source = Port;

    fn expected(&self) -> Vec<DeviceId> {
        self.expected.clone()
    }

    fn source(&self, port: &DeviceId) -> Option<Port> {
        self.ports.iter().find(|own| own.id() == port).cloned()
    }

    async fn next(&mut self) -> BusChange {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

struct Rig {
    hub: Arc<Hub>,
    changes: mpsc::Sender<BusChange>,
    ports: Vec<Port>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Rig {
    fn start(names: &[&str], expected: &[&str], ports_max: usize) -> Self {
        let ports: Vec<_> = names.iter().map(|name| Port::new(name)).collect();
        let (changes, receiver) = mpsc::channel(16);
        let bus = TestBus {
            changes: receiver,
            ports: ports.clone(),
            expected: expected
                .iter()
                .map(|name| DeviceId((*name).into()))
                .collect(),
        };
        let (hub, stop, tasks) = (Hub::new(), CancellationToken::new(), TaskTracker::new());
        let context = Context {
            hub: Arc::clone(&hub),
            watchdog: Watchdog::new(),
            tasks: tasks.clone(),
            stop: stop.clone(),
            ports_max,
        };
        tasks.spawn(follow(bus, context));
        Self {
            hub,
            changes,
            ports,
            tasks,
            stop,
        }
    }

    fn one() -> Self {
        Self::start(&["usb-0:1"], &[], 16)
    }

    async fn plug(&self, port: usize) {
        self.ports[port].board.plug();
        let arrived = BusChange::Arrived(Board {
            id: self.ports[port].id().clone(),
            stage: Stage::Application,
            address: (1, 2),
            is_settled: true,
        });
        self.changes.send(arrived).await.unwrap();
    }

    async fn unplug(&self, port: usize) {
        self.ports[port].board.unplug();
        let left = BusChange::Left(self.ports[port].id().clone());
        self.changes.send(left).await.unwrap();
    }

    async fn release(&self, port: usize) {
        let released = BusChange::Released(self.ports[port].id().clone());
        self.changes.send(released).await.unwrap();
    }

    fn reports(&self) -> Vec<DeviceReport> {
        self.hub.status().devices
    }

    fn report(&self) -> DeviceReport {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    /// How long it takes until the only device is in this state.
    async fn until(&self, state: DeviceState) -> Duration {
        let begun = Instant::now();
        while self.reports().first().map(|report| report.state) != Some(state) {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "{:?}",
                self.reports()
            );
            sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HELD: Refusal = || DriverError::Busy {
    by: Holder::Program,
};
const DENIED: Refusal = || DriverError::PermissionDenied {
    node: "/dev/bus/usb/001/002".into(),
    why: Denial::Mode,
};
const FOREIGN: Refusal = || DriverError::UnknownLayout;
const BROKEN: Refusal = || DriverError::Unrecoverable("it stays silent");

#[tokio::test(start_paused = true)]
async fn a_board_that_is_plugged_in_becomes_ready_and_absent_when_it_is_pulled_out() {
    let rig = Rig::one();
    sleep(secs(60)).await;
    assert_eq!(rig.reports(), [], "no board is no device");
    for round in 1..=3 {
        rig.plug(0).await;
        assert!(rig.until(DeviceState::Ready).await < secs(1));
        assert_eq!(rig.report().attachments, round);
        rig.unplug(0).await;
        assert!(rig.until(DeviceState::Absent).await < secs(1));
        let report = rig.report();
        assert_eq!(report.id, "usb-0:1");
        assert_eq!(report.reason.as_deref(), Some("not plugged in"));
        let attempts = rig.ports[0].attempts();
        sleep(secs(600)).await;
        assert_eq!(
            rig.ports[0].attempts(),
            attempts,
            "an empty port is not tried"
        );
    }
    assert_eq!(rig.ports[0].lock().ends, ["device disconnected"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_board_that_vanishes_before_the_bus_says_so_is_told_absent_once() {
    let rig = Rig::one();
    rig.plug(0).await;
    rig.until(DeviceState::Ready).await;
    let mut inventory = rig.hub.watch_inventory();
    rig.ports[0].board.unplug();
    rig.until(DeviceState::Absent).await;
    inventory.mark_unchanged();
    sleep(secs(5)).await; // the bus is late
    rig.unplug(0).await;
    sleep(secs(5)).await;
    assert!(!inventory.has_changed().unwrap(), "{:?}", rig.report());
    rig.plug(0).await;
    assert!(rig.until(DeviceState::Ready).await < secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_board_that_is_held_is_ours_within_two_seconds_after_it_is_let_go() {
    let rig = Rig::one();
    rig.ports[0].refuse(Some(HELD));
    rig.plug(0).await;
    rig.until(DeviceState::Busy).await;
    let report = rig.report();
    assert_eq!(report.reason.as_deref(), Some("held by another program"));
    assert!(report.remedy.unwrap().contains("sudo hasher doctor"));
    let attempts = rig.ports[0].attempts();
    let mut inventory = rig.hub.watch_inventory();
    inventory.mark_unchanged();
    sleep(secs(600)).await;
    let tried = rig.ports[0].attempts() - attempts;
    assert!((590..=610).contains(&tried), "{tried} attempts in 600 s");
    assert!(!inventory.has_changed().unwrap(), "nothing new is told");
    rig.ports[0].refuse(None);
    assert!(rig.until(DeviceState::Ready).await < secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_held_board_that_is_told_to_be_free_is_tried_at_once() {
    let rig = Rig::one();
    rig.ports[0].refuse(Some(HELD));
    rig.plug(0).await;
    sleep(Duration::from_millis(10_300)).await; // tried 300 ms ago
    rig.ports[0].refuse(None);
    rig.release(0).await;
    assert!(rig.until(DeviceState::Ready).await < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn nothing_but_a_held_board_is_tried_because_somebody_let_go() {
    // Whoever tries a board lets go of it afterwards.
    for refusal in [FOREIGN, BROKEN] {
        let rig = Rig::one();
        rig.ports[0].refuse(Some(refusal));
        rig.plug(0).await;
        sleep(secs(100)).await; // a broken one is tried every 30 s now
        let attempts = rig.ports[0].attempts();
        for _ in 0..10 {
            rig.release(0).await;
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(rig.ports[0].attempts(), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn a_board_that_was_ready_and_fell_silent_is_no_stranger_until_it_is_replugged() {
    let rig = Rig::one();
    rig.plug(0).await;
    rig.until(DeviceState::Ready).await;
    rig.ports[0]
        .board
        .end(DriverError::Unrecoverable("it stays silent"));
    rig.ports[0].refuse(Some(FOREIGN)); // it answers no query of a new attachment
    rig.until(DeviceState::Waiting).await;
    sleep(secs(100)).await;
    let report = rig.report();
    assert_eq!(report.state, DeviceState::Waiting, "{report:?}");
    rig.ports[0].refuse(None);
    assert!(rig.until(DeviceState::Ready).await < secs(31));
    // What is plugged in now was never ready.
    rig.unplug(0).await;
    rig.until(DeviceState::Absent).await;
    rig.ports[0].refuse(Some(FOREIGN));
    rig.plug(0).await;
    rig.until(DeviceState::Refused).await;
}

#[tokio::test(start_paused = true)]
async fn a_board_that_may_not_be_opened_says_what_helps() {
    let rig = Rig::one();
    rig.ports[0].refuse(Some(DENIED));
    rig.plug(0).await;
    rig.until(DeviceState::Denied).await;
    let report = rig.report();
    assert!(report.reason.unwrap().contains("/dev/bus/usb/001/002"));
    assert!(report.remedy.unwrap().contains("70-hasher.rules"));
    rig.ports[0].refuse(None);
    assert!(rig.until(DeviceState::Ready).await < secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_board_that_is_something_else_is_left_alone_until_it_is_replugged() {
    let rig = Rig::one();
    rig.ports[0].refuse(Some(FOREIGN));
    rig.plug(0).await;
    rig.until(DeviceState::Refused).await;
    sleep(secs(3600)).await;
    assert_eq!(rig.ports[0].attempts(), 1);
    assert_eq!(rig.report().state, DeviceState::Refused);
    rig.unplug(0).await;
    rig.until(DeviceState::Absent).await;
    rig.ports[0].refuse(None);
    rig.plug(0).await;
    rig.until(DeviceState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_board_is_tried_less_and_less_often() {
    let rig = Rig::one();
    rig.ports[0].refuse(Some(BROKEN));
    rig.plug(0).await;
    rig.until(DeviceState::Waiting).await;
    sleep(secs(300)).await;
    let gaps: Vec<_> = rig.ports[0]
        .lock()
        .attempts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert_eq!(gaps[..7], [500, 1000, 2000, 4000, 8000, 16000, 30000]);
    assert!(gaps[7..].iter().all(|gap| *gap == 30000), "{gaps:?}");
    // A replug starts over.
    rig.unplug(0).await;
    rig.until(DeviceState::Absent).await;
    rig.plug(0).await;
    rig.until(DeviceState::Waiting).await;
    let attempts = rig.ports[0].attempts();
    sleep(Duration::from_millis(510)).await;
    assert_eq!(rig.ports[0].attempts(), attempts + 1);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_named_is_shown_before_anything_is_plugged_in() {
    let rig = Rig::start(&["usb-0:1"], &["usb-0:1"], 16);
    rig.until(DeviceState::Absent).await;
    assert_eq!(rig.ports[0].attempts(), 0);
    rig.plug(0).await;
    rig.until(DeviceState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_board_that_nobody_asked_for_is_left_alone() {
    let rig = Rig::start(&["usb-0:1"], &[], 16);
    let foreign = Board {
        id: DeviceId("usb-0:9".into()),
        stage: Stage::Application,
        address: (1, 9),
        is_settled: true,
    };
    rig.changes.send(BusChange::Arrived(foreign)).await.unwrap();
    sleep(secs(5)).await;
    assert_eq!(rig.reports(), []);
}

#[tokio::test(start_paused = true)]
async fn an_empty_port_makes_room_for_a_new_one_and_a_full_one_does_not() {
    let rig = Rig::start(&["usb-0:1", "usb-0:2", "usb-0:3"], &[], 2);
    rig.plug(0).await;
    rig.plug(1).await;
    rig.plug(2).await;
    sleep(secs(5)).await;
    let ids = |rig: &Rig| -> Vec<_> { rig.reports().into_iter().map(|r| r.id).collect() };
    assert_eq!(ids(&rig), ["usb-0:1", "usb-0:2"]);
    rig.unplug(0).await;
    sleep(secs(5)).await;
    rig.plug(2).await;
    sleep(secs(5)).await;
    assert_eq!(ids(&rig), ["usb-0:2", "usb-0:3"]);
    let states: Vec<_> = rig.reports().into_iter().map(|r| r.state).collect();
    assert_eq!(states, [DeviceState::Ready; 2]);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_every_supervisor_whatever_its_state() {
    let rig = Rig::start(
        &["usb-0:1", "usb-0:2", "usb-0:3", "usb-0:4"],
        &["usb-0:4"],
        16,
    );
    rig.ports[1].refuse(Some(HELD));
    rig.ports[2].refuse(Some(FOREIGN));
    for port in 0..3 {
        rig.plug(port).await;
    }
    sleep(secs(5)).await;
    rig.stop.cancel();
    rig.tasks.close();
    let ended = tokio::time::timeout(secs(5), rig.tasks.wait()).await;
    assert!(ended.is_ok());
    assert_eq!(rig.reports().len(), 4, "none is forgotten");
}
