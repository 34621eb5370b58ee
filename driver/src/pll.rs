//! Clocks of the chips: the vendor's tables and the limits of what may be set.
//!
//! Owns the only way to a PLL register word. A [`Clock`] remembers its model, so a
//! word meant for one chip can not reach the other, where the same word means twice
//! the frequency. The controller checks nothing (protocol reference, section 8).
//!
//! Tables: reference, section 6.8, and `pll` of the vector file. Words are, from
//! bit 14 down: BS 1 bit, M 7 bits, N 5 bits, OD 2 bits; BM1380 runs at
//! 25 (M + 1) / ((N + 1) 2^OD) MHz, BM1382 at twice that.

use crate::{DriverError, Model};

/// Longest period of the work timer that every known image keeps, in ms: from 70 up
/// the 16-bit timer of the first S1 image wraps around.
pub const MAX_TIMEOUT_MS: u8 = 69;

/// Fastest clock of an S3 without an explicit wish, in kHz (reference, section 8).
const S3_DEFAULT_LIMIT_KHZ: u32 = 250_000;
/// Vendor limit of an S1, in kHz: 120 GH/s a chain (reference, section 8).
const S1_LIMIT_KHZ: u32 = 468_000;

/// One line of a model's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PllEntry {
    khz: u32,
    word: u16,
    /// As published; beyond [`MAX_TIMEOUT_MS`] for the slowest clocks.
    timeout_ms: u8,
}

const fn entry(khz: u32, word: u16, timeout_ms: u8) -> PllEntry {
    PllEntry {
        khz,
        word,
        timeout_ms,
    }
}

/// BM1380, ascending.
const S1_TABLE: [PllEntry; 19] = [
    entry(75_000, 0x0b83, 186),
    entry(100_000, 0x0782, 140),
    entry(125_000, 0x0982, 112),
    entry(150_000, 0x0b82, 93),
    entry(175_000, 0x0681, 80),
    entry(193_750, 0x4f02, 72),
    entry(200_000, 0x0781, 70),
    entry(225_000, 0x0881, 62),
    entry(237_500, 0x1285, 58),
    entry(250_000, 0x0981, 55),
    entry(275_000, 0x0a81, 50),
    entry(300_000, 0x0b81, 46),
    entry(325_000, 0x4c81, 40),
    entry(350_000, 0x4d81, 40),
    entry(362_500, 0x4e01, 38),
    entry(375_000, 0x4e81, 37),
    entry(400_000, 0x4f81, 35),
    entry(425_000, 0x0800, 32),
    entry(450_000, 0x0880, 31),
];

/// BM1382, ascending.
const S3_TABLE: [PllEntry; 35] = [
    entry(100_000, 0x0783, 38),
    entry(106_250, 0x0803, 37),
    entry(112_500, 0x0883, 35),
    entry(118_750, 0x0903, 33),
    entry(125_000, 0x0983, 31),
    entry(131_250, 0x0a03, 30),
    entry(137_500, 0x0a83, 28),
    entry(143_750, 0x1687, 27),
    entry(150_000, 0x0b83, 26),
    entry(156_250, 0x0c03, 25),
    entry(162_500, 0x0c83, 24),
    entry(175_000, 0x0d83, 22),
    entry(193_750, 0x0f03, 20),
    entry(196_875, 0x1f07, 19),
    entry(200_000, 0x0782, 19),
    entry(206_250, 0x1006, 18),
    entry(212_500, 0x1086, 18),
    entry(218_750, 0x1106, 18),
    entry(225_000, 0x0882, 17),
    entry(231_250, 0x1206, 17),
    entry(237_500, 0x1286, 16),
    entry(243_750, 0x1306, 16),
    entry(250_000, 0x0982, 15),
    entry(256_250, 0x1406, 15),
    entry(262_500, 0x0a02, 15),
    entry(268_750, 0x1506, 14),
    entry(275_000, 0x0a82, 14),
    entry(281_250, 0x1606, 14),
    entry(287_500, 0x0b02, 14),
    entry(293_750, 0x1706, 13),
    entry(300_000, 0x0b82, 13),
    entry(306_250, 0x1806, 13),
    entry(312_500, 0x0c02, 13),
    entry(318_750, 0x1906, 12),
    entry(325_000, 0x0c82, 12),
];

/// Stock clocks as sold.
const S1_STOCK_KHZ: u32 = 350_000;
const S3_STOCK_KHZ: u32 = 218_750;

/// A clock out of its model's table, within the model's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    model: Model,
    entry: PllEntry,
}

impl Clock {
    /// The clock that the model was sold with.
    pub fn stock(model: Model) -> Self {
        let khz = match model {
            Model::AntminerS1 => S1_STOCK_KHZ,
            Model::AntminerS3 => S3_STOCK_KHZ,
        };
        Self::find(model, khz).expect("the stock clock is in its table")
    }

    /// The slowest clock of the model's table: what an idle S3 is left with.
    pub fn slowest(model: Model) -> Self {
        Self {
            model,
            entry: table(model)[0],
        }
    }

    /// The table's clock of exactly `mhz`, up to the model's limit (S3: 250 MHz).
    ///
    /// # Errors
    /// [`DriverError::UnsafeSetting`] when it is not in the table or beyond the limit.
    pub fn new(model: Model, mhz: f64) -> Result<Self, DriverError> {
        let clock = Self::beyond_default_limit(model, mhz)?;
        if model == Model::AntminerS3 && clock.entry.khz > S3_DEFAULT_LIMIT_KHZ {
            return Err(DriverError::UnsafeSetting(format!(
                "{mhz} MHz is above the {} MHz that an {model} may run without an explicit wish",
                S3_DEFAULT_LIMIT_KHZ / 1000
            )));
        }
        Ok(clock)
    }

    /// The table's clock of exactly `mhz`, also beyond the default limit of an S3.
    /// Heat and supply are then the caller's concern.
    ///
    /// # Errors
    /// [`DriverError::UnsafeSetting`] when it is not in the table, or beyond the
    /// vendor's limit of an S1.
    pub fn beyond_default_limit(model: Model, mhz: f64) -> Result<Self, DriverError> {
        // Table values are multiples of 1/8 MHz, exact in binary.
        let found = table(model)
            .iter()
            .find(|entry| f64::from(entry.khz) == mhz * 1000.0)
            .filter(|entry| model != Model::AntminerS1 || entry.khz <= S1_LIMIT_KHZ);
        found
            .map(|entry| Self {
                model,
                entry: *entry,
            })
            .ok_or_else(|| {
                DriverError::UnsafeSetting(format!(
                    "{mhz} MHz is not in the clock table of an {model}"
                ))
            })
    }

    fn find(model: Model, khz: u32) -> Option<Self> {
        let entry = table(model).iter().find(|entry| entry.khz == khz)?;
        Some(Self {
            model,
            entry: *entry,
        })
    }

    /// The clock whose register word is `word`, as a controller would find it.
    pub fn from_word(model: Model, word: u16) -> Option<Self> {
        let entry = table(model).iter().find(|entry| entry.word == word)?;
        Some(Self {
            model,
            entry: *entry,
        })
    }

    /// The model whose chips it is for.
    pub const fn model(self) -> Model {
        self.model
    }

    /// Frequency in MHz.
    pub fn mhz(self) -> f64 {
        f64::from(self.entry.khz) / 1000.0
    }

    /// Frequency in whole MHz, rounded down, as configurations carry it.
    pub fn whole_mhz(self) -> u16 {
        u16::try_from(self.entry.khz / 1000).expect("tables end below 1 GHz")
    }

    /// The register's four bytes as they travel. Never all zero.
    pub const fn reg_data(self) -> [u8; 4] {
        let [high, low] = self.entry.word.to_be_bytes();
        [high, low, 0, 0]
    }

    /// Period of the work timer that suits this clock, 1 to [`MAX_TIMEOUT_MS`] ms.
    /// Slow S1 clocks would need longer; their works are cut.
    pub fn timeout_ms(self) -> u8 {
        self.entry.timeout_ms.min(MAX_TIMEOUT_MS)
    }

    /// Double hashes a second of `chips` chips in theory.
    pub fn hash_rate_hps(self, chips: u32) -> f64 {
        f64::from(chips) * f64::from(self.model.cores_per_chip()) * self.mhz() * 1e6
    }
}

const fn table(model: Model) -> &'static [PllEntry] {
    match model {
        Model::AntminerS1 => &S1_TABLE,
        Model::AntminerS3 => &S3_TABLE,
    }
}

#[cfg(test)]
mod tests {
    use hasher_work::to_hex;

    use super::*;
    use crate::vectors::vectors;

    #[test]
    fn tables_are_those_of_the_vectors() {
        for (chip, model) in [("BM1380", Model::AntminerS1), ("BM1382", Model::AntminerS3)] {
            let vectors = vectors();
            let expected = vectors["pll"][chip].as_array().unwrap();
            assert_eq!(expected.len(), table(model).len());
            for line in expected {
                let mhz = line["mhz"].as_f64().unwrap();
                let clock = Clock::beyond_default_limit(model, mhz).unwrap();
                assert_eq!(clock.mhz(), mhz);
                assert_eq!(
                    to_hex(&clock.reg_data()),
                    line["reg_data"].as_str().unwrap()
                );
                let timeout = line["timeout_ms"].as_u64().unwrap();
                assert_eq!(u64::from(clock.entry.timeout_ms), timeout);
                assert!((1..=MAX_TIMEOUT_MS).contains(&clock.timeout_ms()));
                assert_eq!(Clock::from_word(model, clock.entry.word), Some(clock));
            }
        }
    }

    #[test]
    fn every_word_makes_its_frequency() {
        for model in [Model::AntminerS1, Model::AntminerS3] {
            for entry in table(model) {
                let m = f64::from(entry.word >> 7 & 0x7f);
                let n = f64::from(entry.word >> 2 & 0x1f);
                let od = f64::from(1 << (entry.word & 3));
                let bm1380 = 25.0 * (m + 1.0) / ((n + 1.0) * od);
                let factor = if model == Model::AntminerS1 { 1.0 } else { 2.0 };
                assert_eq!(factor * bm1380 * 1000.0, f64::from(entry.khz));
            }
        }
    }

    #[test]
    fn clocks_outside_table_or_limit_are_refused() {
        let refused = |model, mhz| Clock::new(model, mhz).unwrap_err().to_string();
        assert_eq!(
            refused(Model::AntminerS3, 256.25),
            "refused setting: 256.25 MHz is above the 250 MHz that an Antminer S3 may run \
             without an explicit wish"
        );
        assert_eq!(
            refused(Model::AntminerS3, 350.0),
            "refused setting: 350 MHz is not in the clock table of an Antminer S3"
        );
        assert!(refused(Model::AntminerS1, 218.75).contains("not in the clock table"));
        assert!(refused(Model::AntminerS1, f64::NAN).contains("not in the clock table"));
        assert!(Clock::new(Model::AntminerS3, 250.0).is_ok());
        assert!(Clock::beyond_default_limit(Model::AntminerS3, 256.25).is_ok());
    }

    #[test]
    fn stock_clocks_give_the_rated_speed() {
        let s1 = Clock::stock(Model::AntminerS1).hash_rate_hps(64);
        let s3 = Clock::stock(Model::AntminerS3).hash_rate_hps(32);
        assert!((s1 / 179e9 - 1.0).abs() < 0.01, "{s1}");
        assert!((s3 / 441e9 - 1.0).abs() < 0.01, "{s3}");
    }
}
