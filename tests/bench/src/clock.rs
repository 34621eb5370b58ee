//! Time as this thread spends it, and the CPU's clock rate meanwhile.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread so far. What other programs do counts only as far as
/// they disturb the caches.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Clock rate in GHz, from a chain of additions and exclusive ors of which each
/// waits a cycle for the one before. A virtual machine shows no better source.
pub fn clock_ghz() -> f64 {
    const LINKS: u64 = 400_000;
    let begin = thread_time();
    let mut x = black_box(1u64);
    let y = black_box(0x9e37_79b9_7f4a_7c15u64);
    for _ in 0..LINKS / 8 {
        x = ((((x ^ y) + y) ^ y) + y) ^ y;
        x = ((x + y) ^ y) + y;
        x = black_box(x);
    }
    LINKS as f64 / (thread_time() - begin).as_nanos() as f64
}
