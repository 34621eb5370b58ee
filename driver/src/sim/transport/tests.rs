//! Whole boards under paused time, driven by a few lines of host.

use std::future::poll_fn;

use hasher_work::{Header, Work};

use super::*;
use crate::Layout;
use crate::boot_loader::start_application;
use crate::sim::board::{APPLICATION_START, LOADER_START};
use crate::token::{
    ConfigFlags, FoundNonce, Reply, RxStatus, StatusReply, TxConfig, TxTask, WorkEntry,
};
use crate::vectors::{bytes, vectors};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A board that hashes inline and has its application running.
fn settings(image: Image, script: &str) -> SimSettings {
    SimSettings {
        script: script.parse().unwrap(),
        boot_loader: false,
        zero_bits: 10,
        hashing: Hashing::Inline,
        ..SimSettings::new(image)
    }
}

fn board(image: Image, script: &str) -> SimBoard {
    SimBoard::new(DeviceId("sim-test-0".into()), settings(image, script)).unwrap()
}

fn entry(id: u32) -> WorkEntry {
    let mut header = [0; 80];
    header[64..68].copy_from_slice(&id.to_le_bytes());
    WorkEntry {
        id,
        work: Header(header).work(),
    }
}

/// A host of a few lines: enough to see what comes over the wire.
struct Host {
    transport: SimTransport,
    layout: Layout,
    next_id: u32,
    replies: Vec<Bytes>,
    nonces: Vec<FoundNonce>,
}

impl Host {
    fn attach(board: &SimBoard) -> Self {
        Self {
            transport: board.attach().unwrap(),
            layout: board.image().layout(),
            next_id: 0,
            replies: Vec::new(),
            nonces: Vec::new(),
        }
    }

    async fn event(&mut self) -> TransportEvent {
        let event = poll_fn(|cx| self.transport.poll_event(cx)).await;
        if let TransportEvent::Received(reply) = &event {
            self.replies.push(reply.clone());
            if let Ok(Reply::Nonces(reply)) = Reply::decode(self.layout, reply) {
                self.nonces.extend(reply.nonces);
            }
        }
        event
    }

    /// Sends, and returns the fault if it comes to that.
    async fn send(&mut self, token: Bytes) -> Option<TransportError> {
        self.transport.start_send(token);
        loop {
            match self.event().await {
                TransportEvent::Sent => return None,
                TransportEvent::Received(_) => {}
                TransportEvent::Fault(error) => return Some(error),
            }
        }
    }

    async fn works(&mut self, count: u32) -> Option<TransportError> {
        let ids = self.next_id..self.next_id + count;
        self.next_id += count;
        let task = TxTask {
            new_block: false,
            diff: 0,
            works: ids.map(entry).collect(),
        };
        self.send(task.encode()).await
    }

    /// Listens for so long, or until a fault.
    async fn listen(&mut self, time: Duration) -> Option<TransportError> {
        tokio::time::timeout(time, async {
            loop {
                if let TransportEvent::Fault(error) = self.event().await {
                    return error;
                }
            }
        })
        .await
        .ok()
    }

    /// Keeps the board busy for so long, or until a fault.
    async fn hash(&mut self, time: Duration) -> Option<TransportError> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if let Some(error) = self.works(8).await {
                return Some(error);
            }
            let left = end - Instant::now();
            if let Some(error) = self.listen(left.min(Duration::from_millis(160))).await {
                return Some(error);
            }
        }
        None
    }

    async fn status(&mut self) -> Option<StatusReply> {
        self.send(RxStatus::POLL.encode(self.layout)).await;
        for _ in 0..100 {
            match tokio::time::timeout(seconds(1), self.event()).await {
                Ok(TransportEvent::Received(reply)) => {
                    if let Ok(Reply::Status(status)) = Reply::decode(self.layout, &reply) {
                        return Some(status);
                    }
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_board_waits_in_its_boot_loader_and_comes_back_as_an_application() {
    for image in [Image::S1Of2013, Image::S1Of2014, Image::S3Version7] {
        let mut settings = settings(image, "");
        settings.boot_loader = true;
        let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
        assert_eq!(board.present(), Presence::BootLoader);
        tokio::time::sleep(seconds(3600)).await;
        assert_eq!(board.present(), Presence::BootLoader, "it waits for ever");
        let mut transport = board.attach().unwrap();
        let version = start_application(&mut transport).await.unwrap();
        assert_eq!(version.to_string(), "1.0");
        drop(transport);
        assert_eq!(board.present(), Presence::Absent);
        assert!(matches!(board.attach(), Err(DriverError::NotFound(_))));
        tokio::time::sleep(APPLICATION_START).await;
        assert_eq!(board.present(), Presence::Application);
        assert!(Host::attach(&board).status().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn restart_bytes_lead_back_into_the_boot_loader() {
    let board = board(Image::S3Version7, "");
    let mut host = Host::attach(&board);
    host.works(8).await;
    assert!(
        host.send(Bytes::from_static(&[0x55, 0xaa, 0xaa, 0xbb]))
            .await
            .is_none()
    );
    assert!(matches!(
        host.listen(seconds(1)).await,
        Some(TransportError::Disconnected)
    ));
    assert_eq!(board.present(), Presence::Absent);
    tokio::time::sleep(LOADER_START).await;
    assert_eq!(board.present(), Presence::BootLoader);
}

#[tokio::test(start_paused = true)]
async fn real_blocks_travel_over_the_wire_as_in_the_vectors() {
    let vectors = vectors();
    for (image, layout) in [
        (Image::S1Of2013, "s1"),
        (Image::S1Of2014, "s1"),
        (Image::S3Version7, "s3"),
    ] {
        let mut settings = settings(image, "");
        settings.zero_bits = 32;
        let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
        let mut host = Host::attach(&board);
        // A TxConfig without hw_error: the recorded S3 replies are unverified ones.
        host.send(TxConfig::default().encode(host.layout)).await;
        for block in vectors["works"].as_array().unwrap().iter().take(6) {
            let task = bytes(&block[format!("{layout}_txtask")]);
            host.send(task.into()).await;
            host.listen(Duration::from_millis(200)).await;
            let reply = Bytes::from(bytes(&block[format!("{layout}_nonce_reply")]));
            assert!(host.replies.contains(&reply), "{} {image:?}", block["name"]);
        }
        assert_eq!(host.nonces.len(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn every_nonce_that_arrives_is_right() {
    for image in [Image::S1Of2013, Image::S1Of2014, Image::S3Version7] {
        let board = board(image, "");
        let mut host = Host::attach(&board);
        assert!(host.hash(seconds(4)).await.is_none());
        assert!(host.nonces.len() > 100, "{}", host.nonces.len());
        for found in &host.nonces {
            let work: Work = entry(found.work_id).work;
            assert!(work.verify(found.nonce, 10).is_some());
        }
        assert_eq!(host.transport.slowdown(), Some(1.0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_run_twice_gives_the_same_bytes() {
    let script = "bad-crc=3@1s;garbage@1500ms;wrong-nonce=4@2s;short=2@2s;forged-nonce@2s";
    let mut runs = Vec::new();
    for rng_seed in [1, 1, 2] {
        let settings = SimSettings {
            rng_seed,
            ..settings(Image::S3Version7, script)
        };
        let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
        let mut host = Host::attach(&board);
        host.hash(seconds(3)).await;
        runs.push(host.replies);
    }
    assert!(runs[0].len() > 1000);
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_board_keeps_power_and_works_and_can_be_attached_again() {
    let board = board(Image::S1Of2014, "unplug@1s+500ms");
    let mut host = Host::attach(&board);
    for _ in 0..20 {
        host.works(8).await;
    }
    assert!(matches!(
        host.listen(seconds(2)).await,
        Some(TransportError::Disconnected)
    ));
    assert_eq!(board.present(), Presence::Absent);
    // Nothing more comes from the old attachment.
    assert!(
        tokio::time::timeout(Duration::from_millis(499), host.event())
            .await
            .is_err()
    );
    assert_eq!(board.present(), Presence::Absent);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(board.present(), Presence::Application);
    drop(host);
    let mut host = Host::attach(&board);
    let status = host.status().await.unwrap();
    // 160 works less two for every 40 ms of 1.5 s, and nobody else took any.
    assert_eq!(status.fifo_space, 300 - (160 - 2 * 37));
    assert!(
        !host.nonces.is_empty(),
        "nonces waited in the board's queue"
    );
}

#[tokio::test(start_paused = true)]
async fn the_cable_goes_at_any_byte_of_a_task() {
    for byte in [0, 1, 63, 64, 100, 200, 393] {
        let board = board(Image::S3Version7, &format!("unplug@out:{byte}+1s"));
        if byte == 0 {
            assert_eq!(board.present(), Presence::Absent);
            continue;
        }
        let mut host = Host::attach(&board);
        assert!(
            matches!(host.works(8).await, Some(TransportError::Disconnected)),
            "{byte}"
        );
        tokio::time::sleep(Duration::from_millis(1001)).await;
        drop(host);
        let mut host = Host::attach(&board);
        let status = host.status().await.unwrap();
        assert_eq!(status.fifo_space, 400, "a cut task is no task ({byte})");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cable_goes_at_any_byte_of_the_replies() {
    for byte in [1, 17, 18, 19, 500] {
        let board = board(Image::S3Version7, &format!("unplug@in:{byte}+1s"));
        let mut host = Host::attach(&board);
        host.works(8).await;
        assert!(matches!(
            host.hash(seconds(9)).await,
            Some(TransportError::Disconnected)
        ));
        let received: usize = host.replies.iter().map(Bytes::len).sum();
        assert!(received <= byte, "{received} of {byte}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cycle_ends_in_the_boot_loader_with_nothing_left() {
    let board = board(Image::S3Version7, "power-cycle@1s+2s;dead-chip=0.0@0s");
    let mut host = Host::attach(&board);
    assert!(matches!(
        host.hash(seconds(5)).await,
        Some(TransportError::Disconnected)
    ));
    assert_eq!(board.present(), Presence::Absent);
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(board.present(), Presence::BootLoader);
    drop(host);
    let mut transport = board.attach().unwrap();
    start_application(&mut transport).await.unwrap();
    drop(transport);
    tokio::time::sleep(APPLICATION_START).await;
    let mut host = Host::attach(&board);
    assert_eq!(host.status().await.unwrap().fifo_space, 400);
    assert!(host.hash(seconds(2)).await.is_none());
    assert!(host.nonces.len() > 50);
    let slices = host.nonces.iter().map(|found| found.nonce.w3() >> 28);
    // The works' second half of the chains still has a chip 0.
    assert!(slices.filter(|slice| *slice == 0).count() < host.nonces.len() / 12);
}

#[tokio::test(start_paused = true)]
async fn silence_takes_tokens_but_gives_nothing() {
    let board = board(Image::S1Of2013, "silence@1s+3s");
    let mut host = Host::attach(&board);
    assert!(host.status().await.is_some());
    tokio::time::sleep(seconds(1)).await;
    assert!(host.status().await.is_none());
    assert!(host.works(8).await.is_none(), "taken all the same");
    tokio::time::sleep(seconds(3)).await;
    assert!(host.status().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_board_lets_transfers_time_out() {
    let board = board(Image::S1Of2013, "freeze@0s+3s");
    let mut host = Host::attach(&board);
    let began = Instant::now();
    let poll = RxStatus::POLL.encode(host.layout);
    assert!(matches!(
        host.send(poll.clone()).await,
        Some(TransportError::Timeout)
    ));
    assert_eq!(began.elapsed(), OUT_TIMEOUT);
    tokio::time::sleep(seconds(2) + Duration::from_millis(700)).await;
    assert!(
        host.send(poll).await.is_none(),
        "thawed within the time limit"
    );
    assert_eq!(began.elapsed(), seconds(3));
    assert!(host.status().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stall_refuses_one_transfer() {
    let board = board(Image::S3Version7, "stall@0s;stall=in@0s");
    let mut host = Host::attach(&board);
    let poll = RxStatus::POLL.encode(host.layout);
    assert!(matches!(
        host.send(poll.clone()).await,
        Some(TransportError::Stall)
    ));
    assert!(host.send(poll).await.is_none());
    assert!(matches!(
        host.event().await,
        TransportEvent::Fault(TransportError::Stall)
    ));
    assert!(
        matches!(host.event().await, TransportEvent::Received(_)),
        "the reply is still there"
    );
}

#[tokio::test(start_paused = true)]
async fn spoilt_replies_arrive_as_scripted() {
    let script = "garbage=40@100ms;short@200ms;bad-crc=2@300ms";
    let board = board(Image::S3Version7, script);
    let mut host = Host::attach(&board);
    host.hash(seconds(1)).await;
    let broken: Vec<_> = host
        .replies
        .iter()
        .filter(|reply| Reply::decode(Layout::S3, reply).is_err())
        .collect();
    assert_eq!(broken.len(), 4);
    assert_eq!(broken[0].len(), 40);
    assert!(broken[1].len() < broken[2].len());
}

#[tokio::test(start_paused = true)]
async fn a_hot_room_and_a_stopped_fan_show_in_the_status() {
    let board = board(Image::S3Version7, "fan-stop@1s+60s;heat=70@100s+60s");
    let mut host = Host::attach(&board);
    host.hash(seconds(50)).await;
    let status = host.status().await.unwrap();
    assert_eq!(status.fans, [0, 0]);
    let warm = status.temperatures[0];
    assert!(warm > 55, "{warm}");
    host.hash(seconds(50)).await;
    let status = host.status().await.unwrap();
    assert!(status.fans[0] > 15);
    assert!(status.temperatures[0] < 55);
    host.hash(seconds(55)).await;
    assert!(host.status().await.unwrap().temperatures[0] > 65);
}

#[tokio::test(start_paused = true)]
async fn only_one_transport_holds_a_board() {
    let board = board(Image::S1Of2013, "");
    let host = Host::attach(&board);
    let error = board.attach().unwrap_err();
    assert_eq!(error.to_string(), "claiming the simulated board failed");
    assert!(error.is_retryable());
    drop(host);
    assert!(board.attach().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_missed_the_unplug_does_not_hold_the_board() {
    let board = board(Image::S1Of2013, "unplug@1s+1s");
    let old = Host::attach(&board);
    tokio::time::sleep(seconds(2)).await;
    let new = Host::attach(&board);
    drop(old);
    assert!(board.attach().is_err(), "the new one does");
    drop(new);
    assert!(board.attach().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_idle_board_lets_the_clock_leap() {
    for image in [Image::S1Of2013, Image::S3Version7] {
        let board = board(image, "");
        let mut host = Host::attach(&board);
        host.works(8).await;
        host.listen(seconds(1)).await;
        let before = host.replies.len();
        assert!(host.listen(seconds(24 * 3600)).await.is_none());
        assert_eq!(host.replies.len(), before);
        assert!(host.status().await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_thread_finds_what_inline_hashing_finds() {
    let mut found = Vec::new();
    for hashing in [Hashing::Inline, Hashing::Thread] {
        let settings = SimSettings {
            hashing,
            ..settings(Image::S1Of2013, "")
        };
        let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
        let mut host = Host::attach(&board);
        for _ in 0..8 {
            host.works(8).await;
        }
        // However far device time falls behind, the ring runs dry in the end.
        for _ in 0..10_000 {
            host.listen(seconds(1)).await;
            if host.status().await.unwrap().fifo_space == 300 {
                break;
            }
        }
        // The last tick's works are replaced by nothing; give them two of theirs.
        host.works(4).await;
        for _ in 0..10_000 {
            host.listen(seconds(1)).await;
            if host.status().await.unwrap().fifo_space == 300 {
                break;
            }
        }
        let mut nonces: Vec<_> = host.nonces.iter().map(|f| (f.work_id, f.nonce)).collect();
        nonces.retain(|(work_id, _)| *work_id < 60);
        nonces.sort();
        found.push(nonces);
    }
    assert!(found[0].len() > 30);
    assert_eq!(found[0], found[1]);
}

#[tokio::test(start_paused = true)]
async fn device_time_slows_when_hashing_cannot_keep_up_and_says_so() {
    // The paused clock leaps whenever the runtime is idle, so no CPU keeps up with 22
    // zero bits; the board still does every sweep before time goes on.
    let settings = SimSettings {
        hashing: Hashing::Thread,
        zero_bits: 22,
        ..settings(Image::S3Version7, "")
    };
    let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
    let mut host = Host::attach(&board);
    host.send(
        TxConfig {
            flags: ConfigFlags {
                timeout: true,
                ..ConfigFlags::default()
            },
            timeout_ms: 18,
            ..TxConfig::default()
        }
        .encode(Layout::S3),
    )
    .await;
    host.works(8).await;
    for _ in 0..1_000_000 {
        host.event().await;
        if host.nonces.len() >= 2 {
            break;
        }
    }
    assert!(host.nonces.len() >= 2);
    for found in &host.nonces {
        assert!(entry(found.work_id).work.verify(found.nonce, 22).is_some());
    }
    assert!(
        host.transport.slowdown().unwrap() > 2.0,
        "{:?}",
        host.transport.slowdown()
    );
    assert!(
        host.status().await.is_some(),
        "the wire goes on while the chips are slow"
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_a_board_ends_its_longest_sweep() {
    let settings = SimSettings {
        hashing: Hashing::Thread,
        zero_bits: 31, // minutes of hashing a tick
        ..settings(Image::S1Of2013, "")
    };
    let board = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap();
    let mut host = Host::attach(&board);
    host.works(8).await;
    host.listen(seconds(1)).await;
    let began = std::time::Instant::now();
    drop(host);
    drop(board);
    assert!(began.elapsed() < seconds(10));
}

#[test]
fn zero_bits_out_of_bounds_are_refused() {
    for zero_bits in [0, 7, 33] {
        let settings = SimSettings {
            zero_bits,
            ..settings(Image::S1Of2013, "")
        };
        let error = SimBoard::new(DeviceId("sim-test-0".into()), settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("simulated chips filter 8 to 32 zero bits, not {zero_bits}")
        );
    }
}
