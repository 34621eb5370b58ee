//! A known work that a device must answer before it is trusted again.
//!
//! After the machine slept, a board may have lost its power, its firmware or its
//! clock. The work is that of Bitcoin's first block, whose nonce everybody knows: a
//! CPU must find just that nonce, and so must a simulated board with a book. Chips may
//! miss it, always at the same clock, so they get the block at later times as well:
//! any nonce that passes their filter proves as much, because its digest is computed
//! here. The device task asks; nothing here waits.

use std::time::Duration;

use hasher_driver::{DeviceInfo, DeviceWork, Sweep, WorkTag};
use hasher_work::{Digest, Header, Nonce, NonceRange, Target};
use tokio::time::Instant;

/// A device answers within this time, or it is closed and opened again. Chips answer
/// about 60 of 100 works and begin dozens of works a second.
pub(crate) const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// Tags of these works; those of the hub count up from 1.
const FIRST_TAG: u64 = 1 << 63;

/// Times at which the block is asked for before the known one comes again; more than a
/// device takes at once, so that no work is on it twice.
const TIMES: u64 = 64;

/// Nonces before the known one that a device which counts has to try as well.
const NONCES_BEFORE: u32 = 4095;

/// Zero bits of the known nonce's digest; it has 43, a difficulty of 1 asks for 32.
const KNOWN_ZERO_BITS: u32 = 32;

/// The header of Bitcoin's first block, of 3 January 2009.
const KNOWN_HEADER: &str = "\
    0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd\
    7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

fn known_header() -> Header {
    KNOWN_HEADER.parse().expect("160 hexadecimal digits")
}

/// One proof in progress.
#[derive(Debug)]
pub(crate) struct Proof {
    range: NonceRange,
    target: Target,
    out: Vec<DeviceWork>,
    given: u64,
    /// Nothing while the device is paused.
    until: Option<Instant>,
}

impl Proof {
    /// For a device that has just become ready.
    pub(crate) fn new(info: &DeviceInfo) -> Self {
        let header = known_header();
        let nonce = header.nonce();
        let first = Nonce(nonce.0 - NONCES_BEFORE);
        let zero_bits = match info.sweep {
            Sweep::Timer(_) => info.filter_zero_bits.min(KNOWN_ZERO_BITS),
            Sweep::Range { .. } => KNOWN_ZERO_BITS,
        };
        let mut proof = Self {
            range: NonceRange::new(first, nonce).expect("the first is not after the last"),
            target: Target::from_zero_bits(zero_bits).expect("at most 32 zero bits"),
            out: Vec::new(),
            given: 0,
            until: None,
        };
        proof.resume();
        proof
    }

    /// The device is paused; it need not answer until it goes on.
    pub(crate) fn pause(&mut self) {
        self.until = None;
    }

    /// The device takes works from now on.
    pub(crate) fn resume(&mut self) {
        self.until = Some(Instant::now() + PROOF_TIMEOUT);
    }

    /// When the device has failed.
    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The next work to give to the device; it counts as given.
    pub(crate) fn next_work(&mut self) -> DeviceWork {
        let header = known_header();
        let later = (self.given % TIMES) as u32;
        let work = DeviceWork {
            tag: WorkTag(FIRST_TAG + self.given),
            work: header.with_time(header.time() + later).work(),
            range: self.range,
            target: self.target,
            hits_wanted: 1,
        };
        self.given += 1;
        self.out.push(work);
        work
    }

    /// A work ended, or was not taken after all.
    pub(crate) fn ended(&mut self, tag: WorkTag) {
        self.out.retain(|work| work.tag != tag);
    }

    /// Whether this nonce proves that the device works.
    pub(crate) fn is_proven_by(&self, tag: WorkTag, nonce: Nonce, digest: &Digest) -> bool {
        let mut asked = self.out.iter().filter(|work| work.tag == tag);
        let is_right = |work: &DeviceWork| work.work.digest(nonce) == *digest;
        asked.any(is_right) && self.target.is_met_by(digest)
    }

    /// Works that the device still has.
    pub(crate) fn into_works(self) -> impl Iterator<Item = WorkTag> {
        self.out.into_iter().map(|work| work.tag)
    }
}

/// Whether a work is one of these, and none of the hub's.
pub(crate) const fn is_of_a_proof(tag: WorkTag) -> bool {
    tag.0 >= FIRST_TAG
}

#[cfg(test)]
mod tests {
    use hasher_driver::{DeviceEvent, DeviceSpec, HashDevice, next_event};

    use super::*;

    #[test]
    fn the_known_nonce_is_that_of_the_first_block() {
        let header = known_header();
        assert_eq!(header.nonce(), Nonce(2_083_236_893));
        let digest = header.double_digest();
        assert!(Target::from_zero_bits(43).unwrap().is_met_by(&digest));
        assert!(!header.work().midstate.is_dropped_by_s3());
    }

    /// Gives works until one is answered, in time.
    async fn prove(device: &mut dyn HashDevice) -> Proof {
        let mut proof: Option<Proof> = None;
        loop {
            let until = proof.as_ref().and_then(Proof::until);
            assert!(until.is_none_or(|until| Instant::now() < until), "too late");
            if let Some(proof) = &mut proof {
                while device.capacity() > 0 {
                    device.submit(Proof::next_work(proof)).unwrap();
                }
            }
            match (next_event(device).await, &mut proof) {
                (DeviceEvent::Ready, _) => proof = Some(Proof::new(device.info())),
                (DeviceEvent::Done { tag, .. }, Some(proof)) => proof.ended(tag),
                (DeviceEvent::Hit { tag, nonce, digest }, Some(asked)) => {
                    assert!(asked.is_proven_by(tag, nonce, &digest));
                    assert!(!asked.is_proven_by(tag, Nonce(nonce.0 ^ 1), &digest));
                    assert!(!asked.is_proven_by(WorkTag(1), nonce, &digest));
                    return proof.take().unwrap();
                }
                _ => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_kind_of_device_can_answer_the_known_work_in_time() {
        for text in [
            "sim:s1,zero-bits=12,hashing=inline,boot-loader=no",
            "sim:s3,zero-bits=12,hashing=inline,boot-loader=no",
            // With a book of known blocks and the filter of silicon.
            "sim:s1,zero-bits=32,hashing=inline,boot-loader=no",
            "sim:s1,zero-bits=32,hashing=inline,boot-loader=no,mhz=250",
            "sim:s3,zero-bits=32,hashing=inline,boot-loader=no",
            "sim:s3,zero-bits=32,hashing=inline,boot-loader=no,mhz=100",
            "sim:s3,zero-bits=32,hashing=inline,boot-loader=no,mhz=250",
        ] {
            let source = text.parse::<DeviceSpec>().unwrap().open(0).unwrap();
            let mut device = source.open().await.unwrap();
            println!("{text}");
            prove(&mut *device).await;
        }
    }

    #[tokio::test]
    async fn a_cpu_finds_the_very_nonce() {
        let source = "cpu,threads=1".parse::<DeviceSpec>().unwrap();
        let source = source.open(0).unwrap();
        let mut device = source.open().await.unwrap();
        prove(&mut *device).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_device_need_not_answer() {
        let source = "cpu,threads=1".parse::<DeviceSpec>().unwrap();
        let device = source.open(0).unwrap().open().await.unwrap();
        let mut proof = Proof::new(device.info());
        proof.pause();
        assert_eq!(proof.until(), None);
        tokio::time::advance(PROOF_TIMEOUT).await;
        proof.resume();
        assert_eq!(proof.until(), Some(Instant::now() + PROOF_TIMEOUT));
        let tag = proof.next_work().tag;
        assert!(is_of_a_proof(tag) && !is_of_a_proof(WorkTag(1)));
        proof.ended(tag);
        assert_eq!(proof.into_works().count(), 0);
    }
}
