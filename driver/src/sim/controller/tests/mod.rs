//! The controller under virtual time, driven packet by packet.

mod feeding;
mod matching;
mod replies;
mod sensors;

use std::time::Duration;

use bytes::Bytes;
use hasher_work::{Header, Nonce, Work};

use super::Controller;
use super::token::PacketEffect;
use crate::Layout;
use crate::sim::book::Book;
use crate::sim::climate::Climate;
use crate::sim::image::Image;
use crate::token::{
    ConfigFlags, ControlFlags, FoundNonce, NonceReply, Reply, RxStatus, StatusReply, TxConfig,
    TxTask, WorkEntry,
};

const ALL: [Image; 3] = [Image::S1Of2013, Image::S1Of2014, Image::S3Version7];
const BOTH_S1: [Image; 2] = [Image::S1Of2013, Image::S1Of2014];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A controller, its room and someone who hashes for it.
struct Rig {
    image: Image,
    controller: Controller,
    climate: Climate,
    book: Book,
    next_id: u32,
}

impl Rig {
    fn new(image: Image) -> Self {
        Self::with_zero_bits(image, 12)
    }

    fn with_zero_bits(image: Image, zero_bits: u32) -> Self {
        let mut controller = Controller::new(image, zero_bits, Duration::ZERO, 0, 1);
        controller.configure_usb();
        Self {
            image,
            controller,
            climate: Climate::new(image),
            book: Book::of_blocks(),
            next_id: 0,
        }
    }

    fn layout(&self) -> Layout {
        self.image.layout()
    }

    fn bytes(&mut self, transfer: &[u8]) -> PacketEffect {
        let mut effect = PacketEffect::None;
        for packet in transfer.chunks(64) {
            effect = self.controller.packet(packet);
        }
        effect
    }

    fn run(&mut self, time: Duration) {
        let target = self.controller.now() + time;
        loop {
            self.controller.run_until(target, &mut self.climate);
            let mut any = false;
            while let Some(sweep) = self.controller.take_wanted() {
                let finds = sweep.run(&self.book, || true).unwrap();
                self.controller.swept(sweep.ticket, &finds);
                any = true;
            }
            if !any {
                return;
            }
        }
    }

    /// The next works, one TxTask each eight of them.
    fn works(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let works: Vec<_> = (0..left.min(8)).map(|_| self.next_work()).collect();
            left -= works.len();
            self.task(false, 0, works);
        }
    }

    fn next_work(&mut self) -> WorkEntry {
        self.next_id += 1;
        entry(self.next_id)
    }

    fn task(&mut self, new_block: bool, diff: u8, works: Vec<WorkEntry>) {
        let task = TxTask {
            new_block,
            diff,
            works,
        };
        self.bytes(&task.encode());
    }

    fn query(&mut self, query: RxStatus) {
        self.bytes(&query.encode(self.image.layout()));
    }

    fn configure(&mut self, config: TxConfig) {
        self.bytes(&config.encode(self.image.layout()));
    }

    fn reply(&mut self) -> Option<Reply> {
        let bytes = self.controller.collect()?;
        Some(Reply::decode(self.layout(), &bytes).expect("the controller's replies are sound"))
    }

    /// Collects everything up to the status that this asks for.
    fn status(&mut self) -> StatusReply {
        self.query(RxStatus::POLL);
        for _ in 0..100 {
            if let Some(Reply::Status(status)) = self.reply() {
                return status;
            }
        }
        panic!("no status among 100 replies");
    }

    /// Collects a nonce reply that is not older than this call.
    fn fresh_nonce_reply(&mut self) -> NonceReply {
        self.controller.collect();
        match self.reply() {
            Some(Reply::Nonces(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// Collects all nonces that wait.
    fn nonces(&mut self) -> Vec<FoundNonce> {
        let mut nonces = Vec::new();
        // An empty reply may have been armed before anything was found; a second one
        // says that nothing is left.
        let mut empty = 0;
        while empty < 2 {
            match self.reply() {
                Some(Reply::Nonces(reply)) if reply.nonces.is_empty() => empty += 1,
                Some(Reply::Nonces(reply)) => nonces.extend(reply.nonces),
                Some(Reply::Status(_)) => {}
                None => break,
            }
        }
        nonces
    }

    /// Runs so long while a host collects every reply, and returns the nonces.
    fn run_collecting(&mut self, time: Duration) -> Vec<FoundNonce> {
        let mut nonces = Vec::new();
        let end = self.controller.now() + time;
        while self.controller.now() < end {
            self.run(ms(2).min(end - self.controller.now()));
            if let Some(Reply::Nonces(reply)) = self.reply() {
                nonces.extend(reply.nonces);
            }
        }
        nonces
    }
}

fn work(id: u32) -> Work {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&id.to_le_bytes());
    let mut header = Header(header);
    // A work that every image runs: the 65th byte onwards changes no midstate.
    for salt in 0u8.. {
        header.0[40] = salt;
        if !header.work().midstate.is_dropped_by_s3() {
            break;
        }
    }
    header.work()
}

fn entry(id: u32) -> WorkEntry {
    WorkEntry { id, work: work(id) }
}

/// A work that an S3 throws away.
fn dropped_entry(id: u32) -> WorkEntry {
    let work = (0u32..)
        .map(|salt| {
            let mut header = [0; 80];
            header[..4].copy_from_slice(&id.to_le_bytes());
            header[4..8].copy_from_slice(&salt.to_le_bytes());
            Header(header).work()
        })
        .find(|work| work.midstate.is_dropped_by_s3())
        .unwrap();
    WorkEntry { id, work }
}

/// A TxConfig that sets the work period.
fn timeout(timeout_ms: u8) -> TxConfig {
    TxConfig {
        flags: ConfigFlags {
            timeout: true,
            hw_error: true,
            ..ConfigFlags::default()
        },
        timeout_ms,
        ..TxConfig::default()
    }
}

/// A nonce of `work` whose digest has at least so many zero bits.
fn solve(work: &Work, zero_bits: u32) -> Nonce {
    (0..)
        .map(Nonce)
        .find(|nonce| work.verify(*nonce, zero_bits).is_some())
        .unwrap()
}
