//! Any bytes in the memory that a client shares: the daemon's side never panics, and what it
//! takes for an order lies within one slot.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use hasher_ring::{DaemonRing, MESSAGE_BYTES_MAX, MESSAGES_MAX, RING_BYTES, SLOTS};
use hasher_work::Digest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|writes: Vec<(u32, Vec<u8>)>| {
    let (mut ring, descriptor) = DaemonRing::new().expect("memory");
    let client = File::from(descriptor);
    for (at, bytes) in writes {
        // Mostly heads of slots and the counters, which decide.
        let at = match at % 3 {
            0 => 128,
            1 => 4096 + at / 3 % 16 * 15360,
            _ => at % RING_BYTES as u32,
        };
        let room = RING_BYTES - at as usize;
        client
            .write_all_at(&bytes[..bytes.len().min(room)], at.into())
            .expect("within the memory");
        for _ in 0..=SLOTS {
            let Ok(Some(order)) = ring.pull() else { break };
            let messages: Vec<_> = order.messages().collect();
            assert!((1..=MESSAGES_MAX).contains(&messages.len()));
            assert_eq!(messages.concat().len(), order.bytes());
            assert!(order.bytes() <= MESSAGE_BYTES_MAX);
            let digests = vec![Digest([0; 32]); messages.len()];
            ring.complete(&digests);
        }
    }
});
