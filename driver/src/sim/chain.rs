//! One chain of simulated chips behind its serial line.
//!
//! Owns what a chain has been given: the clock, the 64-byte frame it works on, how
//! far its sweep got, and the replies that are still on the line. It speaks the
//! chips' own frames (protocol reference, 5.2), so that whatever the controller does
//! to a frame has the effect it has in silicon. It never hashes and never verifies:
//! sweeps go out as requests, finds come back. Called by the simulated controller.

use std::collections::VecDeque;
use std::time::Duration;

use hasher_work::{Midstate, Tail, Work};

use super::image::Image;
use super::sweep::{Find, Sweep};
use crate::Layout;

/// Bytes of the frame that hands a work to a chain.
pub const CHIP_FRAME_BYTES: usize = 64;
/// A chip's answer: W3 big-endian, then 0x80 and the five bits of the work's number.
pub type ChipReply = [u8; 5];
/// Time a reply needs on the line: five bytes of ten bits at 115200 baud (derived).
/// So a nonce found at the very end of a tick arrives after the next work was sent.
pub const REPLY_TIME: Duration = Duration::from_nanos(5 * 10 * 1_000_000_000 / 115_200);

/// The frame that hands a work to the chips.
///
/// `chip_diff` asks for so many zero bits beyond the chips' own filter; only the S3
/// has a place for it.
pub fn chip_frame(image: Image, work: &Work, work_id: u32, chip_diff: u8) -> [u8; 64] {
    let mut frame = [0; CHIP_FRAME_BYTES];
    frame[..32].copy_from_slice(&work.midstate.to_wire());
    frame[..32].reverse();
    if image.layout() == Layout::S3 {
        let chips = u32::from(image.model().chips_per_chain());
        frame[36..40].copy_from_slice(&((1u32 << chip_diff) - 1).to_be_bytes());
        frame[40..44].copy_from_slice(&(u32::MAX / chips).to_be_bytes());
    }
    frame[51] = (work_id & 0x1f) as u8;
    frame[52..].copy_from_slice(&work.tail.to_wire());
    frame[52..].reverse();
    frame
}

/// The answer of a chip that found message word `w3` for the work numbered so.
pub fn chip_reply(w3: u32, low_bits: u8) -> ChipReply {
    let [a, b, c, d] = w3.to_be_bytes();
    [a, b, c, d, 0x80 | low_bits]
}

/// What the chips read out of a frame.
#[derive(Debug, Clone, Copy)]
struct Order {
    work: Work,
    low_bits: u8,
    diff: u32,
}

impl Order {
    fn of(frame: &[u8; CHIP_FRAME_BYTES]) -> Self {
        let mut midstate = [0; 32];
        midstate.copy_from_slice(&frame[..32]);
        midstate.reverse();
        let mut tail = [0; 12];
        tail.copy_from_slice(&frame[52..]);
        tail.reverse();
        let mask = u32::from_be_bytes([frame[36], frame[37], frame[38], frame[39]]);
        Self {
            work: Work {
                midstate: Midstate::from_wire(midstate),
                tail: Tail::from_wire(tail),
            },
            low_bits: frame[51] & 0x1f,
            diff: mask.count_ones(),
        }
    }
}

/// A sweep that was asked for.
#[derive(Debug, Clone, Copy)]
struct Pending {
    ticket: u64,
    began: Duration,
    takes: Duration,
}

/// Chips in series on one serial line.
#[derive(Debug)]
pub(super) struct Chain {
    image: Image,
    zero_bits: u32,
    clock_mhz: f64,
    order: Option<Order>,
    /// When the order came.
    ordered_at: Duration,
    /// Fed with dummy works, which keep the chips warm and bring nothing.
    dummy: bool,
    /// Positions of the order that were swept or are being swept.
    swept: u64,
    pending: Option<Pending>,
    /// Found at that moment; the reply arrives [`REPLY_TIME`] later.
    replies: VecDeque<(Duration, ChipReply)>,
    /// Chips that never answer, bit by bit.
    dead_chips: u32,
}

impl Chain {
    pub(super) fn new(image: Image, zero_bits: u32) -> Self {
        Self {
            image,
            zero_bits,
            clock_mhz: image.stock_mhz(),
            order: None,
            ordered_at: Duration::ZERO,
            dummy: false,
            swept: 0,
            pending: None,
            replies: VecDeque::new(),
            dead_chips: 0,
        }
    }

    /// Obeys the command `82 hi lo crc5`; a word with a broken checksum changes nothing.
    pub(super) fn set_clock(&mut self, command: [u8; 4]) {
        if crate::crc::chip(&command, 27) == command[3] & 0x1f {
            let word = u16::from_be_bytes([command[1], command[2]]);
            self.clock_mhz = self.image.clock_mhz(word);
        }
    }

    pub(super) fn kill_chip(&mut self, chip: u8) {
        self.dead_chips |= 1u32.checked_shl(chip.into()).unwrap_or(0);
    }

    /// Activity for the climate: 1 at stock clock with every core busy.
    pub(super) fn load(&self) -> f64 {
        if self.order.is_some() || self.dummy {
            self.clock_mhz / self.image.stock_mhz()
        } else {
            0.0
        }
    }

    /// Takes a frame, which replaces the work the chips are on. What they had not yet
    /// found of it is lost; replies on the line still arrive.
    pub(super) fn send(&mut self, frame: &[u8; CHIP_FRAME_BYTES], now: Duration) {
        self.order = Some(Order::of(frame));
        self.ordered_at = now;
        self.dummy = false;
        self.swept = 0;
        self.pending = None;
        self.replies.retain(|(found, _)| *found <= now);
    }

    /// The work that the chips are on and since when, unless it is a dummy.
    pub(super) fn current(&self) -> Option<(Work, Duration)> {
        self.order.map(|order| (order.work, self.ordered_at))
    }

    /// Lets the chips go on for one period of the work timer, and says what to sweep;
    /// nothing when they are through or have no work.
    pub(super) fn sweep(&mut self, now: Duration, period: Duration, ticket: u64) -> Option<Sweep> {
        let order = self.order?;
        let space = 1u64 << self.zero_bits;
        let nonces = self.nonces_in(period);
        let left = space - self.swept;
        if nonces == 0 || left == 0 {
            return None;
        }
        let count = nonces.min(left);
        let sweep = Sweep {
            ticket,
            work: order.work,
            chips: self.image.model().chips_per_chain().into(),
            first: self.swept,
            count,
            space,
            zero_bits: self.zero_bits + order.diff,
        };
        self.swept += count;
        self.pending = Some(Pending {
            ticket,
            began: now,
            takes: period.mul_f64(count as f64 / nonces as f64),
        });
        Some(sweep)
    }

    /// Nonces that all chips together try in a time, scaled so that the yield of a
    /// work stays as in silicon: by 2^(zero_bits − 32).
    fn nonces_in(&self, time: Duration) -> u64 {
        let model = self.image.model();
        let engines = f64::from(model.chips_per_chain()) * f64::from(model.cores_per_chip());
        let silicon = engines * self.clock_mhz * 1e6 * time.as_secs_f64();
        (silicon * 2f64.powi(self.zero_bits as i32 - 32)).round() as u64
    }

    /// Takes the finds of a sweep that is still wanted.
    pub(super) fn swept(&mut self, ticket: u64, finds: &[Find]) {
        let Some(pending) = self.pending.take_if(|pending| pending.ticket == ticket) else {
            return;
        };
        let Some(order) = self.order else { return };
        for find in finds {
            let w3 = find.nonce.w3();
            if self.dead_chips >> self.chip_of(w3) & 1 == 1 {
                continue;
            }
            let found = pending.began + pending.takes.mul_f64(find.progress);
            self.replies
                .push_back((found, chip_reply(w3, order.low_bits)));
        }
    }

    /// The sweep without which the device's time must not go on.
    pub(super) fn awaits(&self) -> Option<u64> {
        self.pending.map(|pending| pending.ticket)
    }

    /// Which chip owns a nonce: the top bits of W3.
    pub(super) fn chip_of(&self, w3: u32) -> usize {
        (w3 >> (32 - u32::from(self.image.model().chips_per_chain()).trailing_zeros())) as usize
    }

    /// When the next reply arrives.
    pub(super) fn next_reply(&self) -> Option<Duration> {
        self.replies.front().map(|(found, _)| *found + REPLY_TIME)
    }

    pub(super) fn take_reply(&mut self) -> Option<ChipReply> {
        self.replies.pop_front().map(|(_, reply)| reply)
    }

    /// Leaves the chips without a work that matters; what they still find goes nowhere.
    pub(super) fn idle(&mut self, dummy: bool) {
        self.order = None;
        self.dummy = dummy;
        self.pending = None;
        self.replies.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, vectors};

    #[test]
    fn every_work_of_the_vectors_has_its_chip_frame_and_reply() {
        let vectors = vectors();
        let works = vectors["works"].as_array().unwrap();
        assert!(works.len() >= 11);
        for vector in works {
            let name = &vector["name"];
            let work = Work {
                midstate: Midstate::from_wire(bytes(&vector["midstate_wire"]).try_into().unwrap()),
                tail: Tail::from_wire(bytes(&vector["data_wire"]).try_into().unwrap()),
            };
            let work_id = vector["work_id"].as_u64().unwrap() as u32;
            let w3 = vector["nonce"]["wire_u32_le"].as_str().unwrap();
            let w3 = u32::from_str_radix(w3, 16).unwrap();
            for (image, frame, chip) in [
                (Image::S1Of2013, "s1_chip_frame", "s1_chip_index"),
                (Image::S1Of2014, "s1_chip_frame", "s1_chip_index"),
                (
                    Image::S3Version7,
                    "s3_chip_frame_16_chips",
                    "s3_chip_index_16",
                ),
            ] {
                let ours = chip_frame(image, &work, work_id, 0);
                assert_eq!(ours.to_vec(), bytes(&vector[frame]), "{name} {image:?}");
                let order = Order::of(&ours);
                assert_eq!((order.work, order.diff), (work, 0), "{name}");
                let chain = Chain::new(image, 32);
                let index = vector["nonce"][chip].as_u64().unwrap();
                assert_eq!(chain.chip_of(w3) as u64, index, "{name} {image:?}");
                let reply = chip_reply(w3, order.low_bits);
                assert_eq!(reply.to_vec(), bytes(&vector["chip_reply"]), "{name}");
            }
        }
    }

    #[test]
    fn a_work_yields_as_many_nonces_as_in_silicon() {
        for (image, timeout, per_work) in
            [(Image::S1Of2013, 40, 0.834), (Image::S3Version7, 18, 0.924)]
        {
            let period = image.timer_period(timeout).unwrap();
            for zero_bits in 12..=32 {
                let chain = Chain::new(image, zero_bits);
                let mean = chain.nonces_in(period) as f64 / 2f64.powi(zero_bits as i32);
                assert!(
                    (mean - per_work).abs() < 0.001,
                    "{image:?} {zero_bits}: {mean}"
                );
            }
        }
    }

    #[test]
    fn a_work_left_alone_is_swept_to_its_end_and_no_further() {
        let mut chain = Chain::new(Image::S1Of2013, 14);
        let frame = chip_frame(Image::S1Of2013, &hasher_work::Header([5; 80]).work(), 3, 0);
        chain.send(&frame, Duration::ZERO);
        let period = Duration::from_millis(40);
        let first = chain.sweep(Duration::ZERO, period, 1).unwrap();
        let second = chain.sweep(period, period, 2).unwrap();
        assert_eq!((first.first, second.first), (0, first.count));
        assert_eq!(first.count + second.count, 1 << 14);
        assert_eq!(chain.sweep(2 * period, period, 3), None);
    }

    #[test]
    fn a_new_frame_ends_the_old_work_but_not_its_replies_on_the_line() {
        let image = Image::S3Version7;
        let mut chain = Chain::new(image, 14);
        let frame = chip_frame(image, &hasher_work::Header([5; 80]).work(), 3, 0);
        let ms = Duration::from_millis;
        chain.send(&frame, ms(0));
        let sweep = chain.sweep(ms(0), ms(18), 1).unwrap();
        let find = |progress| Find {
            nonce: hasher_work::Nonce(0),
            progress,
        };
        chain.swept(9, &[find(0.1)]);
        assert_eq!(
            chain.next_reply(),
            None,
            "another sweep's finds are not ours"
        );
        chain.swept(sweep.ticket, &[find(0.5), find(1.0)]);
        assert_eq!(chain.next_reply(), Some(ms(9) + REPLY_TIME));
        chain.send(&frame, ms(15));
        assert_eq!(chain.take_reply(), Some(chip_reply(0, 3)));
        assert_eq!(chain.take_reply(), None, "not found before the new frame");
    }

    #[test]
    fn the_clock_changes_only_by_a_sound_command() {
        let mut chain = Chain::new(Image::S1Of2013, 14);
        chain.set_clock([0x82, 0x07, 0x81, 0x06]);
        assert_eq!(chain.clock_mhz, 200.0);
        chain.set_clock([0x82, 0x4d, 0x81, 0x05]);
        assert_eq!(chain.clock_mhz, 200.0);
        chain.set_clock([0x82, 0x4d, 0x81, 0x06]);
        assert_eq!(chain.clock_mhz, 350.0);
    }
}
