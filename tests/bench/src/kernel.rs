//! Nonce scans and batch digests of every backend, against the sha2 crate and ring.

use std::hint::black_box;

use hasher_kernel::{Backend, Kernel, ScanOrder};
use hasher_work::{Digest, Header, INITIAL_STATE, Nonce, Target, Work};
use sha2::Digest as _;
use sha2::block_api::compress256;

use crate::machine::{Class, Machine};
use crate::race::{Candidate, race};
use crate::report::{Bound, Report};

/// Nonces of one run: some slices of a device's work.
const NONCES: u64 = 1 << 14;
/// Messages of one batch: what lies in the cache of a core's second level.
const MESSAGES: usize = 1024;
/// Share of the CPU's limit that the AVX-512 scan must reach: on a wide CPU, where the
/// limit is 44.5 cycles, these are the 60 cycles of the project's goal.
const SHARE_OF_LIMIT: f64 = 0.742;

fn kernels() -> impl Iterator<Item = Kernel> {
    Backend::ALL.into_iter().filter_map(Kernel::new)
}

/// Scans from a midstate, with a target that nothing meets.
pub fn scans(machine: &Machine, turns: usize, report: &mut Report) {
    let header = Header(std::array::from_fn(|i| i as u8));
    let work = header.work();
    let target = Target::from_zero_bits(250).expect("256 zero bits are the most");
    let easy = Target::from_zero_bits(8).expect("256 zero bits are the most");
    let expected = hits(
        Kernel::new(Backend::Portable).expect("always there"),
        &work,
        &easy,
    );
    let mut candidates = vec![Candidate::new(PEER, || {
        sha2_scan(&work);
        NONCES
    })];
    for kernel in kernels() {
        assert_eq!(hits(kernel, &work, &easy), expected, "{}", kernel.backend());
        candidates.push(Candidate::new(kernel.backend().name(), move || {
            kernel.scan(&work, 0, NONCES, ScanOrder::Header, &target, |_, _| true)
        }));
    }
    let [avx512, sha_ni] = match machine.class() {
        Class::Wide => [5.5, 2.2],
        Class::Narrow => [2.8, 1.55],
        Class::Other => [1.0, 1.2],
    };
    let cycles = machine.cycles_per_hash_least();
    report.add("scan", &race(candidates, turns), PEER, &|name| match name {
        "avx512" => [Bound::Ratio(avx512)]
            .into_iter()
            .chain(cycles.map(|least| Bound::Cycles(least / SHARE_OF_LIMIT)))
            .collect(),
        "sha-ni" => vec![Bound::Ratio(sha_ni)],
        _ => Vec::new(),
    });
}

/// The base of every comparison.
const PEER: &str = "sha2 crate";

fn hits(kernel: Kernel, work: &Work, target: &Target) -> Vec<(Nonce, Digest)> {
    let mut hits = Vec::new();
    kernel.scan(work, 7, 5000, ScanOrder::Header, target, |nonce, digest| {
        hits.push((nonce, digest));
        true
    });
    hits
}

/// What a program with only the sha2 crate would write.
fn sha2_scan(work: &Work) {
    let mut block = [0; 64];
    block[..12].copy_from_slice(&work.tail.to_header_bytes());
    block[16] = 0x80;
    block[62..].copy_from_slice(&640u16.to_be_bytes());
    let mut second = [0; 64];
    second[32] = 0x80;
    second[62..].copy_from_slice(&256u16.to_be_bytes());
    for nonce in 0..NONCES as u32 {
        block[12..16].copy_from_slice(&nonce.to_le_bytes());
        let mut state = work.midstate.0;
        compress256(&mut state, std::slice::from_ref(&block));
        for (bytes, word) in second.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        let mut state = INITIAL_STATE;
        compress256(&mut state, std::slice::from_ref(&second));
        if state[7] == 0 {
            black_box(nonce);
        }
    }
}

/// Digests of many messages of one length.
pub fn batches(machine: &Machine, turns: usize, report: &mut Report) {
    for length in [32, 55, 64, 80, 1024] {
        let messages: Vec<Vec<u8>> = (0..MESSAGES as u32)
            .map(|i| {
                let mut message = vec![i as u8; length];
                message[..4].copy_from_slice(&i.to_le_bytes());
                message
            })
            .collect();
        let messages = &messages;
        let expected: Vec<_> = messages.iter().map(|m| hasher_work::digest(m)).collect();
        let mut candidates = vec![
            Candidate::new(PEER, move || {
                for message in messages {
                    black_box(sha2::Sha256::digest(message));
                }
                MESSAGES as u64
            }),
            Candidate::new("ring", move || {
                for message in messages {
                    black_box(ring::digest::digest(&ring::digest::SHA256, message));
                }
                MESSAGES as u64
            }),
        ];
        for kernel in kernels() {
            assert_eq!(
                kernel.digest_batch(messages),
                expected,
                "{}",
                kernel.backend()
            );
            candidates.push(Candidate::new(kernel.backend().name(), move || {
                black_box(kernel.digest_batch(messages));
                MESSAGES as u64
            }));
        }
        let [avx512, sha_ni] = match (machine.class(), length) {
            (Class::Wide, ..=55) => [4.5, 1.7],
            (Class::Wide, 64 | 80) => [4.0, 1.7],
            (Class::Narrow, ..=55) => [2.4, 1.45],
            (Class::Narrow, 64 | 80) => [1.9, 1.25],
            _ => [1.0, 1.0],
        };
        let task = format!("digests of {length} bytes");
        report.add(&task, &race(candidates, turns), PEER, &|name| match name {
            "avx512" => vec![Bound::Ratio(avx512)],
            "sha-ni" => vec![Bound::Ratio(sha_ni)],
            _ => Vec::new(),
        });
    }
}
