use hasher_work::Header;
use proptest::prelude::*;

use super::*;

/// Every backend of this CPU, the portable one first.
fn kernels() -> impl Iterator<Item = Kernel> {
    Backend::ALL.into_iter().filter_map(Kernel::new)
}

type Hits = Vec<(Nonce, Digest)>;

fn all_hits(
    kernel: Kernel,
    work: &Work,
    first: u32,
    count: u64,
    order: ScanOrder,
    target: &Target,
) -> Hits {
    let mut hits = Vec::new();
    let tried = kernel.scan(work, first, count, order, target, |nonce, digest| {
        hits.push((nonce, digest));
        true
    });
    assert_eq!(tried, count, "{}", kernel.backend());
    hits
}

/// Blocks 0, 1, 170, 100000 and 125552, as the network has them.
fn real_blocks() -> Vec<Header> {
    let text = include_str!("../../../tests/fixtures/bitmain-vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let works = vectors["works"].as_array().unwrap();
    [
        "block 0 (genesis)",
        "block 1",
        "block 170",
        "block 100000",
        "block 125552",
    ]
    .map(|name| {
        let work = works.iter().find(|work| work["name"] == name).unwrap();
        work["header_hex"].as_str().unwrap().parse().unwrap()
    })
    .to_vec()
}

#[test]
fn every_backend_finds_the_nonces_of_real_blocks_and_no_other() {
    let target = Target::from_zero_bits(32).unwrap();
    for header in real_blocks() {
        let (nonce, work) = (header.nonce(), header.work());
        for kernel in kernels() {
            for (order, number) in [(ScanOrder::Header, nonce.0), (ScanOrder::Chip, nonce.w3())] {
                let first = number.wrapping_sub(1000);
                let hits = all_hits(kernel, &work, first, 2000, order, &target);
                assert_eq!(
                    hits,
                    [(nonce, header.double_digest())],
                    "{}",
                    kernel.backend()
                );
            }
        }
    }
}

#[test]
fn a_scan_stops_where_it_is_told() {
    let work = Header([1; 80]).work();
    for kernel in kernels() {
        let mut calls = 0;
        let tried = kernel.scan(
            &work,
            u32::MAX,
            100,
            ScanOrder::Header,
            &Target::ANY,
            |_, _| {
                calls += 1;
                calls < 3
            },
        );
        assert_eq!((tried, calls), (3, 3), "{}", kernel.backend());
    }
}

#[test]
fn a_scan_of_nothing_tries_nothing() {
    let work = Header([1; 80]).work();
    for kernel in kernels() {
        let hits = all_hits(kernel, &work, 5, 0, ScanOrder::Header, &Target::ANY);
        assert_eq!(hits, [], "{}", kernel.backend());
    }
}

#[test]
fn ranges_of_every_length_are_tried_to_their_end_and_not_beyond() {
    let work = Header([2; 80]).work();
    for kernel in kernels() {
        for count in 1..100 {
            // Across the end of the nonces, in both orders.
            for order in [ScanOrder::Header, ScanOrder::Chip] {
                let first = u32::MAX - 40;
                let hits = all_hits(kernel, &work, first, count, order, &Target::ANY);
                let expected: Hits = (0..count as u32)
                    .map(|i| nonce(order, first.wrapping_add(i)))
                    .map(|nonce| (nonce, work.digest(nonce)))
                    .collect();
                assert_eq!(hits, expected, "{} {count}", kernel.backend());
            }
        }
    }
}

/// Which messages end in the same block as their padding, and which do not.
const EDGES: [usize; 16] = [
    0, 1, 31, 32, 33, 54, 55, 56, 63, 64, 65, 80, 119, 120, 127, 128,
];

#[test]
fn every_backend_digests_messages_of_every_length() {
    for kernel in kernels() {
        for length in (0..=200).chain([1023, 1024, 4096 + 55]) {
            // One group and a part of one, all of this length.
            let messages: Vec<Vec<u8>> = (0..70u8).map(|i| message(i, length)).collect();
            assert_digests(kernel, &messages);
        }
    }
}

#[test]
fn every_backend_digests_batches_of_every_size() {
    for kernel in kernels() {
        for count in (0..100).chain([255, 256, 257, 600]) {
            let equal: Vec<_> = (0..count).map(|i| message(i as u8, 40)).collect();
            assert_digests(kernel, &equal);
            let mixed: Vec<_> = (0..count)
                .map(|i| message(i as u8, EDGES[i % EDGES.len()]))
                .collect();
            assert_digests(kernel, &mixed);
        }
    }
}

#[test]
fn a_long_message_among_short_ones_keeps_its_digest() {
    for kernel in kernels() {
        let mut messages: Vec<_> = (0..40).map(|i| message(i, 8)).collect();
        messages[7] = message(7, 100_000);
        messages[39] = message(9, 70_001);
        assert_digests(kernel, &messages);
    }
}

#[test]
fn asking_for_memory_ahead_changes_no_digest_whatever_the_address() {
    let at = std::ptr::without_provenance::<u8>;
    for kernel in kernels() {
        for count in [1, 5, 40, 300] {
            let messages: Vec<_> = (0..count).map(|i| message(i as u8, 80)).collect();
            let expected: Vec<_> = messages.iter().map(|m| hasher_work::digest(m)).collect();
            for (from, to) in [
                (0, 9999),
                (usize::MAX - 70, usize::MAX),
                (1 << 63, 1 << 63 | 77),
            ] {
                let mut digests = vec![Digest([0; 32]); messages.len()];
                let ahead = Ahead::new(at(from)..at(to), at(to)..at(from));
                let messages = messages.iter().map(Vec::as_slice);
                kernel.digest_into(messages, false, &mut digests, ahead);
                assert_eq!(digests, expected, "{}", kernel.backend());
            }
        }
    }
}

proptest! {
    #[test]
    fn scan_finds_exactly_what_hashing_each_nonce_finds(
        midstate in any::<[u32; 8]>(), tail in any::<[u32; 3]>(), first in any::<u32>(),
        count in 0u64..300, bits in 0u32..9, chip: bool,
    ) {
        let work = Work { midstate: hasher_work::Midstate(midstate), tail: hasher_work::Tail(tail) };
        let order = if chip { ScanOrder::Chip } else { ScanOrder::Header };
        let target = Target::from_zero_bits(bits).unwrap();
        let expected: Hits = (0..count as u32)
            .map(|i| nonce(order, first.wrapping_add(i)))
            .filter_map(|nonce| work.verify(nonce, bits).map(|digest| (nonce, digest)))
            .collect();
        for kernel in kernels() {
            let hits = all_hits(kernel, &work, first, count, order, &target);
            prop_assert_eq!(&hits, &expected, "{}", kernel.backend());
        }
    }

    #[test]
    fn batches_of_any_messages_have_their_digests(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..150),
    ) {
        for kernel in kernels() {
            assert_digests(kernel, &messages);
        }
    }
}

fn nonce(order: ScanOrder, number: u32) -> Nonce {
    match order {
        ScanOrder::Header => Nonce(number),
        ScanOrder::Chip => Nonce::from_w3(number),
    }
}

fn message(salt: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i as u8).wrapping_mul(7) ^ salt)
        .collect()
}

fn assert_digests(kernel: Kernel, messages: &[Vec<u8>]) {
    let expected: Vec<_> = messages.iter().map(|m| hasher_work::digest(m)).collect();
    assert_eq!(
        kernel.digest_batch(messages),
        expected,
        "{}",
        kernel.backend()
    );
    let expected: Vec<_> = messages
        .iter()
        .map(|m| hasher_work::double_digest(m))
        .collect();
    assert_eq!(
        kernel.double_digest_batch(messages),
        expected,
        "{}",
        kernel.backend()
    );
}
