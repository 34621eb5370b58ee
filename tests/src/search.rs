use hasher_client::SearchAnswer;
use hasher_work::{Header, NonceRange, SearchEnd, SearchJob, SearchMode, Target};

/// The header of Bitcoin's first block, 80 bytes in hexadecimal.
pub const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000\
    000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
    4b1e5e4a29ab5f49ffff001d1dac2b7c";

/// A search for one nonce of so many zero bits; each number gives another one.
///
/// # Panics
/// When there are more than 256 zero bits.
pub fn job(number: u32, zero_bits: u32) -> SearchJob {
    let mut header = Header([0x5a; 80]);
    header.0[..4].copy_from_slice(&number.to_le_bytes());
    SearchJob {
        header,
        range: NonceRange::WHOLE,
        target: Target::from_zero_bits(zero_bits).expect("a target has 256 bits"),
        mode: SearchMode::FirstFound(1),
        rolls: 100,
    }
}

/// Searches that an S3 does not drop, as it does one midstate in 256.
pub fn jobs(count: usize, zero_bits: u32) -> Vec<SearchJob> {
    (0..)
        .map(|number| job(number, zero_bits))
        .filter(|job| !job.header.work().midstate.is_dropped_by_s3())
        .take(count)
        .collect()
}

/// A search that nothing here can finish.
pub fn endless() -> SearchJob {
    SearchJob {
        mode: SearchMode::Exhaust,
        ..job(0xffff, 200)
    }
}

/// Checks an answer by hashing again.
///
/// # Panics
/// When it does not solve the job.
pub fn assert_solved(job: &SearchJob, answer: &SearchAnswer) {
    assert_eq!(answer.result.end, SearchEnd::Found);
    let hit = answer.result.hits[0];
    let header = job.header.with_time(hit.time).with_nonce(hit.nonce);
    assert_eq!(header.double_digest(), hit.digest);
    assert!(job.target.is_met_by(&hit.digest));
}
