//! The simplest program that keeps a board busy: `nusb`, the tokens, and a loop.
//!
//! It is what the daemon is measured against. Needs a running S3 on the bus that nobody
//! holds, so the suite `usb-rate` of `tests/vm` runs it in a guest.

use std::time::{Duration, Instant};

use hasher_driver::stream::Reassembler;
use hasher_driver::token::{MAX_WORKS_PER_TASK, Reply, StatusReply, WorkEntry};
use hasher_driver::transport::MAX_IN_BYTES;
use hasher_driver::{Clock, Command, Layout, Model, Works};
use hasher_work::{Midstate, Tail, Work};
use nusb::transfer::{Buffer, Bulk, In, Out};
use nusb::{Endpoint, MaybeFuture};

const VENDOR: u16 = 0x4254;
const APPLICATION: u16 = 0x4153;

/// Longest wait for any transfer.
const PATIENCE: Duration = Duration::from_secs(10);
/// An S3 serves one chain only at the start of a run.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long works are counted.
const COUNT_FOR: Duration = Duration::from_secs(20);
/// Works kept in the board's queue: it never runs dry between two looks.
const QUEUED: u32 = 64;
/// Pause between two looks at the queue.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A claimed S3 and its replies.
struct Board {
    input: Endpoint<Bulk, In>,
    output: Endpoint<Bulk, Out>,
    replies: Reassembler,
}

impl Board {
    fn claim() -> Self {
        let info = nusb::list_devices()
            .wait()
            .expect("usb is there")
            .find(|info| (info.vendor_id(), info.product_id()) == (VENDOR, APPLICATION))
            .expect("a running board is on the bus");
        let device = info.open().wait().expect("it can be opened");
        let interface = device
            .detach_and_claim_interface(0)
            .wait()
            .expect("nobody holds it");
        let mut input = interface.endpoint(0x81).expect("it has an IN endpoint");
        let output = interface.endpoint(0x01).expect("it has an OUT endpoint");
        for _ in 0..2 {
            input.submit(Buffer::new(MAX_IN_BYTES));
        }
        Self {
            input,
            output,
            replies: Reassembler::new(Layout::S3),
        }
    }

    fn send(&mut self, command: &Command) {
        let buffer = command.bytes().to_vec().into();
        let sent = self.output.transfer_blocking(buffer, PATIENCE);
        sent.status.expect("the board takes it");
    }

    /// Asks for a status and drops the nonces that come before it.
    fn status(&mut self, question: &Command) -> StatusReply {
        self.send(question);
        loop {
            while let Some(reply) = self.replies.next_reply() {
                if let Reply::Status(status) = reply {
                    return status;
                }
            }
            let read = self.input.wait_next_complete(PATIENCE);
            let read = read.expect("a status comes");
            read.status.expect("reading works");
            self.replies.push(&read.buffer);
            self.input.submit(Buffer::new(MAX_IN_BYTES));
        }
    }
}

#[ignore = "needs a board on the bus; the suite usb-rate of tests/vm runs it"]
#[test]
fn a_bare_loop_keeps_an_s3_busy() {
    let mut board = Board::claim();
    let (model, layout) = (Model::AntminerS3, Layout::S3);
    // Flushed, so that all of its queue is free.
    let depth = board.status(&Command::detect(layout)).fifo_space;
    let (chains, chips) = (model.chains(), model.chips_per_chain());
    board.send(&Command::configure(Clock::stock(model), chains, chips));
    let (mut sent, begun) = (0u32, Instant::now());
    let mut counted_from = None;
    loop {
        let queued = depth - board.status(&Command::poll(layout)).fifo_space;
        let (taken, now) = (sent - queued, Instant::now());
        match counted_from {
            None if now > begun + WARM_UP => counted_from = Some((taken, now)),
            Some((before, since)) if now > since + COUNT_FOR => {
                let seconds = (now - since).as_secs_f64();
                println!(
                    "works per second: {:.1}",
                    f64::from(taken - before) / seconds
                );
                assert!(taken > before);
                break;
            }
            _ => {}
        }
        for _ in 0..QUEUED
            .saturating_sub(queued)
            .div_ceil(MAX_WORKS_PER_TASK as u32)
        {
            let mut works = Works::new(layout);
            for _ in 0..MAX_WORKS_PER_TASK {
                sent += 1;
                let entry = WorkEntry {
                    id: sent,
                    work: Work {
                        midstate: Midstate([sent, 0, 0, 0, 0, 0, 0, 0]),
                        tail: Tail([0; 3]),
                    },
                };
                works.push(entry).expect("eight works that an S3 runs");
            }
            board.send(&Command::works(works));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    board.send(&Command::detect(layout));
}
