//! The CPU's hash engine: scanning nonces and digesting batches.
//!
//! It owns the loops that hash; it never starts threads, never does I/O and keeps
//! no state. The driver's CPU device, the simulator's chips, the daemon's digest
//! service and the model's oracle all come here, so that a faster loop helps
//! each of them. The compression function is the `sha2` crate's, which picks the
//! CPU's SHA instructions at run time.
//!
//! ```
//! use hasher_kernel::{ScanOrder, scan};
//! use hasher_work::{Header, Nonce, NonceRange, Target};
//!
//! let work = Header([7; 80]).work();
//! let target = Target::from_zero_bits(8)?;
//! let range = NonceRange::new(Nonce(0), Nonce(4095))?;
//! let mut hits = Vec::new();
//! scan(&work, range.first().0, range.count(), ScanOrder::Header, &target, |nonce, digest| {
//!     hits.push((nonce, digest));
//!     true
//! });
//! assert!(hits.iter().all(|(nonce, digest)| work.digest(*nonce) == *digest));
//! # Ok::<(), hasher_work::WorkError>(())
//! ```

mod stream;

use hasher_work::{Digest, INITIAL_STATE, Nonce, Target, Work};
use sha2::block_api::compress256;

pub use stream::DigestStream;

/// How a scan counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    /// By the number that header byte order gives ([`Nonce`]'s own value).
    Header,
    /// By message word W3, as a chip counts.
    Chip,
}

/// Tries `count` numbers from `first` upwards (wrapping at 2³²) as nonces of
/// `work`, and calls `found` for each whose double digest meets `target`.
///
/// `found` returns whether to go on. The result is how many nonces were tried.
pub fn scan(
    work: &Work,
    first: u32,
    count: u64,
    order: ScanOrder,
    target: &Target,
    mut found: impl FnMut(Nonce, Digest) -> bool,
) -> u64 {
    // The top 32 bits of the digest decide nearly always; a target's own top
    // word is the cheapest exact filter.
    let target_bytes = target.to_le_bytes();
    let top = u32::from_le_bytes([
        target_bytes[28],
        target_bytes[29],
        target_bytes[30],
        target_bytes[31],
    ]);
    let mut header_block = [0; 64];
    header_block[..12].copy_from_slice(&work.tail.to_header_bytes());
    header_block[16] = 0x80;
    header_block[62..].copy_from_slice(&640u16.to_be_bytes());
    let mut digest_block = [0; 64];
    digest_block[32] = 0x80;
    digest_block[62..].copy_from_slice(&256u16.to_be_bytes());

    let mut number = first;
    for tried in 0..count.min(1 << 32) {
        let nonce = match order {
            ScanOrder::Header => Nonce(number),
            ScanOrder::Chip => Nonce::from_w3(number),
        };
        header_block[12..16].copy_from_slice(&nonce.0.to_le_bytes());
        let mut state = work.midstate.0;
        compress256(&mut state, std::slice::from_ref(&header_block));
        write_words(&mut digest_block, state);
        let mut state = INITIAL_STATE;
        compress256(&mut state, std::slice::from_ref(&digest_block));
        if state[7].swap_bytes() <= top {
            let mut bytes = [0; 32];
            write_words(&mut bytes, state);
            let digest = Digest(bytes);
            if target.is_met_by(&digest) && !found(nonce, digest) {
                return tried + 1;
            }
        }
        number = number.wrapping_add(1);
    }
    count.min(1 << 32)
}

fn write_words(bytes: &mut [u8], words: [u32; 8]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
}

/// SHA-256 of each message, in order.
pub fn digest_batch<M: AsRef<[u8]>>(messages: &[M]) -> Vec<Digest> {
    messages
        .iter()
        .map(|message| hasher_work::digest(message.as_ref()))
        .collect()
}

/// Double SHA-256 of each message, in order.
pub fn double_digest_batch<M: AsRef<[u8]>>(messages: &[M]) -> Vec<Digest> {
    messages
        .iter()
        .map(|message| hasher_work::double_digest(message.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use hasher_work::Header;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn genesis_nonce_is_found_at_full_difficulty() {
        let header: Header = "0100000000000000000000000000000000000000000000000000000000000000\
            000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
            4b1e5e4a29ab5f49ffff001d1dac2b7c"
            .parse()
            .unwrap();
        let target = Target::from_zero_bits(32).unwrap();
        let nonce = header.nonce();
        for (order, near) in [(ScanOrder::Header, nonce.0), (ScanOrder::Chip, nonce.w3())] {
            let mut hits = Vec::new();
            let tried = scan(
                &header.work(),
                near - 1000,
                2000,
                order,
                &target,
                |nonce, _| {
                    hits.push(nonce);
                    true
                },
            );
            assert_eq!((tried, hits), (2000, vec![nonce]));
        }
    }

    #[test]
    fn a_scan_stops_where_it_is_told() {
        let work = Header([1; 80]).work();
        let mut calls = 0;
        let tried = scan(
            &work,
            u32::MAX,
            10,
            ScanOrder::Header,
            &Target::ANY,
            |_, _| {
                calls += 1;
                calls < 3
            },
        );
        assert_eq!((tried, calls), (3, 3));
    }

    proptest! {
        #[test]
        fn scan_finds_exactly_what_hashing_each_nonce_finds(seed in any::<[u8; 16]>(), first in any::<u32>(), bits in 0u32..9) {
            let mut header = [0; 80];
            header[..16].copy_from_slice(&seed);
            header[60..76].copy_from_slice(&seed);
            let work = Header(header).work();
            let target = Target::from_zero_bits(bits).unwrap();
            for order in [ScanOrder::Header, ScanOrder::Chip] {
                let mut hits = Vec::new();
                scan(&work, first, 300, order, &target, |nonce, digest| { hits.push((nonce, digest)); true });
                let expected: Vec<_> = (0..300)
                    .map(|i| first.wrapping_add(i))
                    .map(|n| match order { ScanOrder::Header => Nonce(n), ScanOrder::Chip => Nonce::from_w3(n) })
                    .filter_map(|n| work.verify(n, bits).map(|d| (n, d)))
                    .collect();
                prop_assert_eq!(&hits, &expected);
            }
        }
    }
}
