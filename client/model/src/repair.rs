//! Correction of one or two flipped bits in a seed by its check sum's syndrome.
//!
//! It owns the table of syndromes. Nobody calls it unless a user asked for
//! repair, and never where the model identity is known: that is the
//! cryptographic check, and this one is no protection against an adversary.

use std::sync::OnceLock;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::Seed;

/// The check sum of a seed: CRC-32/ISO-HDLC, the one of zlib.
pub(crate) const SEED_CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// A seed whose check sum is right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairedSeed {
    /// The corrected seed.
    pub seed: Seed,
    /// How many bits were turned back, 1 or 2.
    pub flips: u8,
}

impl Seed {
    /// The only seed with a right check sum that is one or two flipped bits away.
    ///
    /// Nothing when the check sum is right already, or when no such seed exists.
    /// The check sum's distance is 6 on 256 bits (source: exhaustive check in the
    /// model specification), so three flips are never mistaken for one or two;
    /// four and more may be.
    pub fn repaired(&self) -> Option<RepairedSeed> {
        let syndrome = self.computed_crc() ^ self.stored_crc();
        if syndrome == 0 {
            return None;
        }
        let table = syndromes();
        let flipped = |bits: &[usize]| {
            let mut seed = *self;
            for bit in bits {
                seed.0[bit / 8] ^= 1 << (bit % 8);
            }
            RepairedSeed {
                seed,
                flips: bits.len() as u8,
            }
        };
        if let Some(bit) = table.iter().position(|s| *s == syndrome) {
            return Some(flipped(&[bit]));
        }
        for (first, one) in table.iter().enumerate() {
            let rest = &table[first + 1..];
            if let Some(gap) = rest.iter().position(|other| one ^ other == syndrome) {
                return Some(flipped(&[first, first + 1 + gap]));
            }
        }
        None
    }
}

/// What flipping each of the 256 bits alone does to computed ⊕ stored CRC.
fn syndromes() -> &'static [u32; 256] {
    static TABLE: OnceLock<[u32; 256]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let zero = SEED_CRC.checksum(&[0; 28]);
        std::array::from_fn(|bit| {
            if bit >= 224 {
                return 1 << (bit - 224); // a bit of the stored CRC itself
            }
            let mut bytes = [0; 28];
            bytes[bit / 8] = 1 << (bit % 8);
            SEED_CRC.checksum(&bytes) ^ zero
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Place, Scale, vectors};

    fn flip(mut seed: Seed, bit: usize) -> Seed {
        seed.0[bit / 8] ^= 1 << (bit % 8);
        seed
    }

    #[test]
    fn crc_matches_the_vectors() {
        let vectors = vectors::load();
        let of = |name: &str| vectors["crc32"][name].as_u64().unwrap() as u32;
        assert_eq!(SEED_CRC.checksum(b"123456789"), of("ascii_123456789"));
        assert_eq!(SEED_CRC.checksum(&[0; 28]), of("zero28"));
    }

    #[test]
    fn the_correction_of_the_vectors_is_found() {
        let vectors = vectors::load();
        let entry = &vectors["correction"];
        let repaired = vectors::seed(&entry["corrupted"]).repaired().unwrap();
        assert_eq!(u64::from(repaired.flips), entry["flips"].as_u64().unwrap());
        assert_eq!(repaired.seed, vectors::seed(&entry["corrected"]));
    }

    #[test]
    fn any_one_or_two_flips_are_turned_back_and_any_third_detected() {
        let place = Place {
            matrix: 3,
            row: 2,
            column: 1,
        };
        let good = Seed::new(Kind::Hb32, place, Scale(100), 0, [0xa5; 20]);
        assert_eq!(good.repaired(), None);
        for first in 0..256 {
            let once = flip(good, first);
            assert_eq!(
                once.repaired(),
                Some(RepairedSeed {
                    seed: good,
                    flips: 1
                })
            );
            for second in first + 1..256 {
                let twice = flip(once, second);
                // Each pair would cost a table walk; a step of 7 touches every bit.
                if (first + second) % 7 == 0 {
                    let repaired = twice.repaired().unwrap();
                    assert_eq!((repaired.seed, repaired.flips), (good, 2));
                }
                let third = flip(twice, (second * 5 + first * 3 + 1) % 256);
                if (first * 11 + second) % 97 == 0 && third != once && third != flip(good, second) {
                    assert_eq!(third.repaired(), None, "{first} {second}");
                }
            }
        }
    }
}
