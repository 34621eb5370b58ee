//! Real Bitcoin blocks at the full 32 zero bits, through the daemon: by the CPU over
//! a range that holds the answer, and by simulated boards with their book.

#![expect(clippy::unwrap_used, reason = "a test may panic in its helpers too")]

use hasher_client::{ComputedKind, blocking};
use hasher_tests::Daemon;
use hasher_work::{Header, Nonce, NonceRange, SearchEnd, SearchJob, SearchMode, Target};

/// Blocks 0, 1, 170, 100000 and 125552, as the network has them.
const BLOCKS: [&str; 5] = [
    "block 0 (genesis)",
    "block 1",
    "block 170",
    "block 100000",
    "block 125552",
];

/// Half of the nonces that the CPU tries around a block's own.
const NEAR: u32 = 20_000;

fn headers() -> Vec<Header> {
    let text = include_str!("../fixtures/bitmain-vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let works = vectors["works"].as_array().unwrap();
    let header = |name: &&str| {
        let work = works.iter().find(|work| work["name"] == **name).unwrap();
        work["header_hex"].as_str().unwrap().parse().unwrap()
    };
    BLOCKS.iter().map(header).collect()
}

/// The search for a block's nonce, which the job itself does not hold.
fn job(solved: &Header, range: NonceRange) -> SearchJob {
    SearchJob {
        header: solved.with_nonce(Nonce(0)),
        range,
        target: Target::from_zero_bits(32).unwrap(),
        mode: SearchMode::FirstFound(1),
        rolls: 0,
    }
}

fn find(device: &str, kind: ComputedKind, range: impl Fn(Nonce) -> NonceRange) {
    let daemon = Daemon::start(&[device]);
    let client: blocking::Client = daemon.client().connect_blocking().unwrap();
    let solved = headers();
    let jobs: Vec<_> = solved
        .iter()
        .map(|header| job(header, range(header.nonce())))
        .collect();
    let answers = client.search_batch(&jobs).unwrap();
    for (header, answer) in solved.iter().zip(&answers) {
        let hit = answer.result.hits[0];
        assert_eq!(hit.nonce, header.nonce());
        assert_eq!(hit.digest, header.double_digest());
        assert!(hit.digest.leading_zero_bits() >= 32);
        assert_eq!(answer.result.end, SearchEnd::Found);
        assert_eq!(answer.by[0].kind, kind);
    }
}

#[test]
fn real_blocks_are_found_by_the_cpu() {
    find("cpu", ComputedKind::Cpu, |nonce| {
        let first = Nonce(nonce.0.saturating_sub(NEAR));
        let last = Nonce(nonce.0.saturating_add(NEAR));
        NonceRange::new(first, last).unwrap()
    });
}

#[test]
fn real_blocks_are_found_by_a_simulated_s1_with_its_book() {
    find("sim:s1,zero-bits=32", ComputedKind::Simulated, |_| {
        NonceRange::WHOLE
    });
}

#[test]
fn real_blocks_are_found_by_a_simulated_s3_with_its_book() {
    find("sim:s3,zero-bits=32", ComputedKind::Simulated, |_| {
        NonceRange::WHOLE
    });
}
