//! Any 32 bytes as a seed: checks and repair never panic, and a repaired seed has
//! a right checksum and differs in as many bits as it says, one or two.
#![no_main]

use hasher_model::Seed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: [u8; 32]| {
    let seed = Seed(bytes);
    let _ = (seed.kind(), seed.place(), seed.coefficients(), seed.biases());
    if let Some(repaired) = seed.repaired() {
        assert!(seed.check_crc().is_err(), "an intact seed needs no repair");
        assert!(repaired.seed.check_crc().is_ok());
        let pairs = seed.0.iter().zip(repaired.seed.0);
        let flips: u32 = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(flips, u32::from(repaired.flips));
        assert!((1..=2).contains(&flips));
    }
});
