//! One whole range of nonces, as a user without a board would have it searched.

use std::time::Instant;

use hasher_kernel::{Backend, ScanOrder, scan};
use hasher_work::{Header, Target};

/// Sweeps 2³² nonces on all CPUs; a sentence on how long it took. Wall time: other
/// programs count.
pub fn sweep() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let work = Header([9; 80]).work();
    let target = Target::from_zero_bits(250).expect("256 zero bits are the most");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for cpu in 0..cpus {
            let (first, end) = ((cpu << 32) / cpus, ((cpu + 1) << 32) / cpus);
            scope.spawn(move || {
                let order = ScanOrder::Header;
                scan(&work, first as u32, end - first, order, &target, |_, _| {
                    true
                })
            });
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    format!(
        "One range of 2^32 nonces, {cpus} threads, {} kernel: {seconds:.1} s of wall time, \
         {:.1} million double hashes a second.",
        Backend::chosen(),
        (1u64 << 32) as f64 / seconds / 1e6
    )
}
