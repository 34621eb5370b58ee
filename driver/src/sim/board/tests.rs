use hasher_work::Header;
use proptest::prelude::*;

use super::*;
use crate::boot_loader::LoaderCommand;
use crate::sim::book::Book;
use crate::token::{RxStatus, TxTask, WorkEntry};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A board and someone who hashes for it.
struct Bench {
    board: Board,
    book: Book,
    now: Duration,
}

impl Bench {
    fn new(image: Image, boot_loader: bool, script: &str) -> Self {
        let script = script.parse().unwrap();
        Self {
            board: Board::new(image, 8, boot_loader, &script, 5),
            book: Book::of_blocks(),
            now: Duration::ZERO,
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        loop {
            self.board.turn(self.now, Duration::ZERO);
            let Some(sweep) = self.board.take_wanted() else {
                return;
            };
            let finds = sweep.run(&self.book, || true).unwrap();
            self.board.swept(sweep.ticket, &finds);
        }
    }
}

fn task(first_id: u32) -> Vec<u8> {
    let works = (first_id..first_id + 8).map(|id| WorkEntry {
        id,
        work: Header([id as u8; 80]).work(),
    });
    let task = TxTask {
        new_block: false,
        diff: 0,
        works: works.collect(),
    };
    task.encode().to_vec()
}

#[test]
fn a_span_that_lies_between_two_looks_has_come_and_gone() {
    let mut bench = Bench::new(Image::S3Version7, false, "heat=90@10s+60s;unplug@20s+1s");
    bench.wait(Duration::from_secs(30));
    assert_eq!(bench.board.presence(), Presence::Application);
    assert_eq!(
        bench.board.generation(),
        1,
        "a look in between would have found it gone"
    );
    let warm = bench.board.climate.sensors()[0];
    assert!(warm > 40, "{warm}: hot for 20 s");
    bench.wait(Duration::from_secs(600));
    assert_eq!(bench.board.climate.sensors()[0], 25);
}

#[test]
fn sweeps_of_a_flushed_work_are_not_wanted_any_more() {
    let mut bench = Bench::new(Image::S1Of2013, false, "");
    bench.board.attach();
    bench.board.send(&task(0));
    bench.now = ms(40);
    bench.board.turn(bench.now, Duration::ZERO);
    let sweep = bench.board.take_wanted().unwrap();
    assert_eq!(bench.board.oldest_wanted(), sweep.ticket);
    bench.board.turn(ms(500), Duration::ZERO);
    assert_eq!(
        bench.board.device_time(),
        ms(40),
        "time waits for the sweep"
    );
    bench
        .board
        .send(&RxStatus::DETECT.encode(Image::S1Of2013.layout()));
    assert!(bench.board.oldest_wanted() > sweep.ticket);
    bench.board.turn(ms(500), Duration::ZERO);
    assert_eq!(bench.board.device_time(), ms(500));
}

#[test]
fn a_power_cycle_forgets_the_works_but_not_the_tickets() {
    let mut bench = Bench::new(Image::S1Of2013, false, "power-cycle@1s+1s");
    bench.board.attach();
    bench.board.send(&task(0));
    bench.wait(ms(900));
    let before = bench.board.oldest_wanted();
    assert!(before > 0);
    bench.wait(ms(1200));
    assert_eq!(bench.board.presence(), Presence::BootLoader);
    bench.board.send(&LoaderCommand::RunApplication.transfer());
    bench.wait(APPLICATION_START);
    assert_eq!(bench.board.presence(), Presence::Application);
    assert_eq!(bench.board.oldest_wanted(), before);
}

#[derive(Debug, Clone)]
enum Act {
    Wait(u64),
    Send(Vec<u8>),
    Poll,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let send = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..150).prop_map(Act::Send),
        any::<u32>().prop_map(|id| Act::Send(task(id & 0xffff))),
        any::<bool>().prop_map(|s3| {
            let image = if s3 {
                Image::S3Version7
            } else {
                Image::S1Of2014
            };
            Act::Send(RxStatus::POLL.encode(image.layout()).to_vec())
        }),
        Just(Act::Send(LoaderCommand::RunApplication.transfer().to_vec())),
        Just(Act::Send(vec![0x55, 0xaa, 0xaa, 0xbb])),
    ];
    let act = prop_oneof![3 => Just(Act::Poll), 2 => send, 2 => (0u64..700).prop_map(Act::Wait)];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_script_and_any_bytes_leave_the_board_in_order(
        image in prop_oneof![Just(Image::S1Of2013), Just(Image::S1Of2014), Just(Image::S3Version7)],
        boot_loader: bool,
        events in proptest::collection::vec(
            "(unplug|power-cycle|silence|freeze|fan-stop|heat=9[0-9])@([0-9]{1,4}ms|(in|out):[0-9]{1,4})\\+[0-9]{1,3}ms|(stall=(in|out)|garbage|short=3|bad-crc=2|lost-nonce|duplicate-nonce=9|wrong-nonce=3|forged-nonce|dead-chip=1\\.[0-9])@[0-9]{1,4}ms",
            0..8,
        ),
        acts in acts(),
    ) {
        let mut bench = Bench::new(image, boot_loader, &events.join(";"));
        let mut generation = 0;
        for act in &acts {
            match act {
                Act::Wait(time) => bench.wait(ms(*time)),
                Act::Send(bytes) => {
                    bench.board.send(bytes);
                }
                Act::Poll => if let InResult::Reply(reply) = bench.board.poll() {
                    prop_assert!((1..=512).contains(&reply.len()));
                }
            }
            let board = &bench.board;
            prop_assert!(board.generation() >= generation);
            if board.generation() > generation && board.presence() != Presence::Absent {
                bench.board.attach();
            }
            generation = bench.board.generation();
        }
        prop_assert_eq!(bench.board.device_time(), bench.now);
    }
}
