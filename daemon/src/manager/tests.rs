//! Orders and sleep, over a test board and simulated ones, under paused time.

use hasher_driver::DeviceSpec;
use hasher_wire::{DeviceKind as WireKind, JobRequest, Priority, RequestId, SessionReport};
use hasher_work::{Header, NonceRange, SearchJob, SearchMode, Target};
use tokio::sync::mpsc;

use super::*;
use crate::core::{Answer, Credits, SessionId};
use crate::orders::{Order, TRIAL_TIME};
use crate::proof::PROOF_TIMEOUT;
use crate::test_device::TestBoard;

/// One supervised device, and a session that may ask it for work.
struct Rig {
    hub: Arc<Hub>,
    stop: CancellationToken,
    supervisor: tokio::task::JoinHandle<()>,
    device: String,
    session: SessionId,
    answers: mpsc::Receiver<Answer>,
    credits: Credits,
    requests: u32,
}

impl Rig {
    fn start(source: impl Source) -> Self {
        let (hub, stop) = (Hub::new(), CancellationToken::new());
        hub.expect_device();
        let device = source.id().0.clone();
        let supervisor = tokio::spawn(supervise(
            source,
            Arc::clone(&hub),
            Watchdog::new(),
            stop.clone(),
        ));
        let clock = Arc::clone(&hub);
        tokio::spawn(async move { clock.run_clock().await });
        let (session, terms, answers) = hub.open_session(SessionReport::default());
        Self {
            hub,
            stop,
            supervisor,
            device,
            session,
            answers,
            credits: Credits::new(terms.credits),
            requests: 0,
        }
    }

    /// A simulated board; deterministic under paused time.
    fn simulated(spec: &str) -> Self {
        let spec: DeviceSpec = spec.parse().unwrap();
        Self::start(spec.open(0).unwrap())
    }

    fn report(&self) -> Option<DeviceReport> {
        self.hub
            .watch_inventory()
            .borrow()
            .get(&self.device)
            .cloned()
    }

    /// Waits until the device's report is like this.
    async fn until(&self, is_so: impl Fn(&DeviceReport) -> bool) -> DeviceReport {
        let mut inventory = self.hub.watch_inventory();
        let waiting = inventory.wait_for(|all| all.get(&self.device).is_some_and(&is_so));
        match tokio::time::timeout(Duration::from_secs(120), waiting).await {
            Ok(found) => found.unwrap()[&self.device].clone(),
            Err(_) => panic!("the report stays {:?}", self.report()),
        }
    }

    async fn until_state(&self, state: DeviceState) -> DeviceReport {
        self.until(|report| report.state == state).await
    }

    async fn order(&self, order: Order) -> Result<(), crate::core::CallError> {
        self.hub.orders().give(&self.device, order).await
    }

    async fn refusal(&self, order: Order) -> (String, String) {
        let error = self.order(order).await.unwrap_err();
        let name = error.name().rsplit('.').next().unwrap().to_owned();
        (name, error.to_string())
    }

    /// A search that the device answers at its first works.
    fn submit(&mut self, zero_bits: u32) -> RequestId {
        self.requests += 1;
        let mut header = [7; 80];
        header[..4].copy_from_slice(&self.requests.to_le_bytes());
        let job = JobRequest {
            job: SearchJob {
                header: Header(header),
                range: NonceRange::WHOLE,
                target: Target::from_zero_bits(zero_bits).unwrap(),
                mode: SearchMode::FirstFound(1),
                rolls: SearchJob::MAX_ROLLS,
            },
            deadline_ms: 0,
            priority: Priority::Batch,
        };
        let request = RequestId(self.requests);
        let refused = self
            .hub
            .submit(self.session, request, &[job], &mut self.credits);
        assert!(refused.is_empty(), "{refused:?}");
        request
    }

    /// The answer to the oldest search, which must be a result.
    async fn answer(&mut self) -> RequestId {
        let answer = self.answers.recv().await.unwrap();
        answer.outcome.unwrap();
        self.credits.give_back();
        answer.request
    }

    async fn serves(&mut self) {
        let asked = self.submit(4);
        assert_eq!(self.answer().await, asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_by_a_person_ends_works_and_survives_a_replug() {
    let board = TestBoard::new("board");
    let mut rig = Rig::start(board.clone());
    rig.until_state(DeviceState::Ready).await;
    rig.order(Order::Pause).await.unwrap();
    let paused = rig.until_state(DeviceState::Paused).await;
    assert_eq!(paused.reason.as_deref(), Some("paused on request"));
    let asked = rig.submit(4);
    board.unplug();
    rig.until_state(DeviceState::Absent).await;
    board.plug();
    let paused = rig.until_state(DeviceState::Paused).await;
    assert_eq!((paused.attachments, paused.works_in_flight), (2, 0));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.answers.try_recv().is_err(), "a paused device works");
    rig.order(Order::Resume).await.unwrap();
    rig.until_state(DeviceState::Ready).await;
    assert_eq!(rig.answer().await, asked);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_there_can_be_paused_for_the_time_it_comes() {
    let board = TestBoard::new("board");
    board.unplug();
    let mut rig = Rig::start(board.clone());
    rig.until_state(DeviceState::Absent).await;
    rig.order(Order::Pause).await.unwrap();
    board.plug();
    rig.until_state(DeviceState::Paused).await;
    rig.order(Order::Resume).await.unwrap();
    rig.until_state(DeviceState::Ready).await;
    rig.serves().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_opens_the_device_anew_and_loses_no_job() {
    let board = TestBoard::new("board");
    let mut rig = Rig::start(board.clone());
    rig.until_state(DeviceState::Ready).await;
    let asked = rig.submit(4);
    rig.order(Order::Reset).await.unwrap();
    let ready = rig
        .until(|report| report.attachments == 2 && report.state == DeviceState::Ready)
        .await;
    assert_eq!(ready.reason, None);
    assert_eq!(rig.answer().await, asked);
    rig.serves().await;
    assert_eq!(board.openings(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_device_that_waits_tries_it_at_once() {
    let board = TestBoard::new("board");
    board.unplug();
    let rig = Rig::start(board.clone());
    rig.until_state(DeviceState::Absent).await;
    // Patience has grown to half a minute.
    tokio::time::sleep(Duration::from_secs(300)).await;
    board.plug();
    rig.order(Order::Reset).await.unwrap();
    let began = Instant::now();
    rig.until_state(DeviceState::Ready).await;
    assert!(began.elapsed() < BACK_OFF_MIN);
}

const S3: &str = "sim:s3,zero-bits=12,hashing=inline,boot-loader=no";

#[tokio::test(start_paused = true)]
async fn a_clock_that_nobody_confirms_is_taken_back_after_a_minute() {
    let mut rig = Rig::simulated(S3);
    let ready = rig.until_state(DeviceState::Ready).await;
    assert_eq!((ready.frequency_mhz, &*ready.layout), (218.75, "S3"));
    rig.order(Order::Configure(200.0)).await.unwrap();
    let began = Instant::now();
    let paused = rig.until_state(DeviceState::Paused).await;
    let reason = paused.reason.unwrap();
    assert_eq!(reason, "starting anew with another clock");
    let ready = rig.until_state(DeviceState::Ready).await;
    assert_eq!(ready.frequency_mhz, 200.0);
    rig.serves().await;
    rig.until(|report| report.frequency_mhz == 218.75).await;
    let (least, most) = (TRIAL_TIME, TRIAL_TIME + Duration::from_secs(3));
    assert!(
        (least..most).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    rig.until_state(DeviceState::Ready).await;
    rig.serves().await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_clock_stays_also_over_a_replug() {
    let mut rig = Rig::simulated(&format!("{S3},script=unplug@100s+1s"));
    rig.until_state(DeviceState::Ready).await;
    rig.order(Order::Configure(200.0)).await.unwrap();
    rig.order(Order::Confirm).await.unwrap();
    tokio::time::sleep(TRIAL_TIME + Duration::from_secs(5)).await;
    assert_eq!(rig.report().unwrap().frequency_mhz, 200.0);
    let again =
        |report: &DeviceReport| report.attachments == 2 && report.state == DeviceState::Ready;
    assert_eq!(rig.until(again).await.frequency_mhz, 200.0);
    rig.serves().await;
    // The next trial falls back to what was confirmed.
    rig.order(Order::Configure(193.75)).await.unwrap();
    rig.until(|report| report.frequency_mhz == 193.75).await;
    rig.order(Order::Revert).await.unwrap();
    rig.until(|report| report.frequency_mhz == 200.0).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_on_trial_does_not_survive_an_unplug() {
    let rig = Rig::simulated(&format!("{S3},script=unplug@20s+1s"));
    rig.until_state(DeviceState::Ready).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.order(Order::Configure(200.0)).await.unwrap();
    let again =
        |report: &DeviceReport| report.attachments == 2 && report.state == DeviceState::Ready;
    assert_eq!(rig.until(again).await.frequency_mhz, 218.75);
    assert_eq!(rig.refusal(Order::Confirm).await.0, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn wrong_clocks_and_wrong_moments_are_refused_with_the_reason() {
    let rig = Rig::simulated(&format!("{S3},script=unplug@20s"));
    rig.until_state(DeviceState::Starting).await;
    let (name, why) = rig.refusal(Order::Configure(200.0)).await;
    assert!(["Busy", "NoDevice"].contains(&&*name), "{name}: {why}");
    rig.until_state(DeviceState::Ready).await;
    let (name, why) = rig.refusal(Order::Configure(256.25)).await;
    assert_eq!(name, "Invalid");
    assert!(why.contains("above the 250 MHz"), "{why}");
    let (name, why) = rig.refusal(Order::Configure(f64::NAN)).await;
    assert_eq!(name, "Invalid");
    assert!(why.contains("not in the clock table"), "{why}");
    for order in [Order::Confirm, Order::Revert] {
        let (name, why) = rig.refusal(order).await;
        assert_eq!(name, "Invalid");
        assert!(why.contains("no clock on trial"), "{why}");
    }
    assert_eq!(rig.report().unwrap().frequency_mhz, 218.75);
    rig.until_state(DeviceState::Absent).await;
    let (name, why) = rig.refusal(Order::Configure(200.0)).await;
    assert_eq!(name, "NoDevice");
    assert!(why.contains("is not open"), "{why}");
    assert_eq!(rig.refusal(Order::Confirm).await.0, "Invalid");
}

#[tokio::test]
async fn a_cpu_obeys_all_orders_but_those_about_a_clock() {
    let mut rig = Rig::simulated("cpu,threads=1");
    let ready = rig.until_state(DeviceState::Ready).await;
    assert_eq!((ready.kind, &*ready.layout), (WireKind::Cpu, ""));
    let (name, why) = rig.refusal(Order::Configure(200.0)).await;
    assert_eq!(
        (&*name, &*why),
        ("NotSupported", "a CPU has no clock to set")
    );
    rig.order(Order::Pause).await.unwrap();
    rig.until_state(DeviceState::Paused).await;
    rig.order(Order::Reset).await.unwrap();
    rig.until(|report| report.attachments == 2 && report.state == DeviceState::Paused)
        .await;
    rig.order(Order::Resume).await.unwrap();
    rig.until_state(DeviceState::Ready).await;
    rig.serves().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_sleeps_gets_its_devices_back_drained_and_they_prove_themselves_after() {
    let mut rig = Rig::simulated(S3);
    rig.until_state(DeviceState::Ready).await;
    let asked = rig.submit(12);
    tokio::time::sleep(Duration::from_millis(20)).await;
    rig.hub.power().set_sleeping(true);
    let began = Instant::now();
    rig.hub.power().all_released().await;
    // What it had was finished, not lost.
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(rig.answer().await, asked);
    let released = rig.until_state(DeviceState::Paused).await;
    assert_eq!(released.reason.as_deref(), Some(RELEASED));
    let waiting = rig.submit(12);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(rig.answers.try_recv().is_err(), "a released device works");
    rig.hub.power().set_sleeping(false);
    let proving = rig
        .until(|report| {
            report
                .reason
                .as_deref()
                .is_some_and(|why| why.contains("known work"))
        })
        .await;
    assert_eq!(proving.state, DeviceState::Starting);
    assert!(rig.answers.try_recv().is_err(), "an unproven device works");
    let ready = rig.until_state(DeviceState::Ready).await;
    assert_eq!(ready.attachments, 2);
    assert_eq!(rig.answer().await, waiting);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_has_an_endless_work_is_released_after_two_seconds() {
    let mut rig = Rig::start(TestBoard::new("board"));
    rig.until_state(DeviceState::Ready).await;
    rig.submit(256);
    tokio::time::sleep(Duration::from_millis(5)).await;
    rig.hub.power().set_sleeping(true);
    rig.hub.power().all_released().await;
    rig.hub.power().set_sleeping(false);
    rig.until_state(DeviceState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_answers_no_known_work_after_sleep_serves_nobody() {
    // Its chips find nothing any more after it slept.
    let script = "script=lost-nonce=65535@3s";
    let mut rig = Rig::simulated(&format!("{S3},{script}"));
    rig.until_state(DeviceState::Ready).await;
    rig.hub.power().set_sleeping(true);
    rig.hub.power().all_released().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.hub.power().set_sleeping(false);
    let began = Instant::now();
    let failed = rig
        .until(|report| report.state == DeviceState::Absent && report.attachments == 2)
        .await;
    assert!(began.elapsed() >= PROOF_TIMEOUT);
    let reason = failed.reason.unwrap();
    assert!(reason.contains("does not answer a known work"), "{reason}");
    assert_eq!(rig.hub.status().totals.works, 0);
    // It is opened again and again, and must prove itself each time.
    rig.until(|report| report.attachments == 3).await;
    rig.until(|report| {
        report
            .reason
            .as_deref()
            .is_some_and(|why| why.contains("known work"))
    })
    .await;
    assert!(rig.answers.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_hot_or_paused_device_proves_itself_when_it_goes_on() {
    let board = TestBoard::new("board");
    let mut rig = Rig::start(board.clone());
    rig.until_state(DeviceState::Ready).await;
    rig.order(Order::Pause).await.unwrap();
    rig.hub.power().set_sleeping(true);
    rig.hub.power().all_released().await;
    rig.hub.power().set_sleeping(false);
    let again =
        |report: &DeviceReport| report.attachments == 2 && report.state == DeviceState::Paused;
    rig.until(again).await;
    tokio::time::sleep(PROOF_TIMEOUT * 3).await;
    assert!(again(&rig.report().unwrap()), "it is not opened again");
    rig.order(Order::Resume).await.unwrap();
    rig.until_state(DeviceState::Ready).await;
    rig.serves().await;
}

#[tokio::test(start_paused = true)]
async fn the_daemon_can_stop_while_the_machine_falls_asleep() {
    for sleep_first in [true, false] {
        let rig = Rig::simulated(S3);
        rig.until_state(DeviceState::Ready).await;
        rig.hub.power().set_sleeping(true);
        if sleep_first {
            rig.hub.power().all_released().await;
            tokio::task::yield_now().await;
        }
        rig.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), rig.supervisor).await;
        ended.expect("the supervisor ends").unwrap();
    }
}
