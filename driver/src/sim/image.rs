//! The three firmware images the simulator imitates, as a table of differences.
//!
//! Owns every number in which the images differ; behaviour that all share lives in
//! the controller. Unless a line says otherwise the numbers were found by executing
//! the vendor's public images (protocol reference, sections 2.2, 6.1, 6.3, 6.6).

use std::time::Duration;

use crate::{Layout, Model};

/// Chains of a board; both models have two.
pub const CHAINS: usize = Model::AntminerS1.chains() as usize;

/// Ticks of the controller's work timer in a second: 60 MHz / 64.
const TIMER_HZ: u64 = 937_500;
/// Timer reload for one unit of `timeout_data`, in half counts (937.5 counts).
const HALF_COUNTS_PER_UNIT: u32 = 1875;

/// A firmware image of the controller, which is also the model of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Image {
    /// Antminer S1 as delivered in 2013 and 2014: no check of the FIFO, a work
    /// timer that wraps, no stop when hot, no way back into the boot loader.
    S1Of2013,
    /// Antminer S1 with the image of June 2014.
    S1Of2014,
    /// Antminer S3 with the image of January 2015, version 7.
    S3Version7,
}

impl Image {
    /// The model of board that runs it.
    pub const fn model(self) -> Model {
        match self {
            Self::S1Of2013 | Self::S1Of2014 => Model::AntminerS1,
            Self::S3Version7 => Model::AntminerS3,
        }
    }

    /// Layout of its tokens and replies.
    pub const fn layout(self) -> Layout {
        self.model().layout()
    }

    /// The clock before the host sets one, in MHz. The chips' own default is
    /// unknown; the simulator takes the clock the boards were sold with.
    pub const fn stock_mhz(self) -> f64 {
        match self.layout() {
            Layout::S1 => 350.0,
            Layout::S3 => 218.75,
        }
    }

    /// Clock in MHz that a PLL word sets: 25·(M+1) / ((N+1)·2^OD), twice that on the
    /// S3's chips. Derived from the vendor's tables, which it fits.
    pub fn clock_mhz(self, pll_word: u16) -> f64 {
        let m = f64::from(pll_word >> 7 & 0x7f);
        let n = f64::from(pll_word >> 2 & 0x1f);
        let od = f64::from(1u32 << (pll_word & 3));
        let mhz = 25.0 * (m + 1.0) / ((n + 1.0) * od);
        match self.layout() {
            Layout::S1 => mhz,
            Layout::S3 => 2.0 * mhz,
        }
    }

    /// Whether a TxTask is cut to the space that was computed for the last reply.
    pub(super) const fn clips_to_space(self) -> bool {
        !matches!(self, Self::S1Of2013)
    }

    /// Bytes of the OUT buffer. Derived from the distance to the next variable.
    pub(super) const fn out_buffer_bytes(self) -> usize {
        match self.layout() {
            Layout::S1 => 512,
            Layout::S3 => 448,
        }
    }

    /// Time between two readings of the sensors. Unknown for the S1 of 2014, where
    /// the older image's is taken.
    pub(super) const fn sample_period(self) -> Duration {
        match self.layout() {
            Layout::S1 => Duration::from_secs(5),
            Layout::S3 => Duration::from_secs(10),
        }
    }

    /// Whether the four restart bytes lead back into the boot loader.
    pub(super) const fn obeys_restart_bytes(self) -> bool {
        !matches!(self, Self::S1Of2013)
    }

    /// Whether works whose wire midstate ends in 0xAA are thrown away.
    pub(super) const fn drops_aa_works(self) -> bool {
        matches!(self, Self::S3Version7)
    }

    /// How long a run serves only the first chain.
    pub(super) const fn one_chain_time(self) -> Duration {
        match self {
            Self::S3Version7 => Duration::from_millis(500),
            Self::S1Of2013 | Self::S1Of2014 => Duration::ZERO,
        }
    }

    /// Nonces per chip, on average, before the status bitmap is judged (read in the
    /// images, not executed).
    pub(super) const fn nonces_before_judging(self) -> u32 {
        match self.layout() {
            Layout::S1 => 100,
            Layout::S3 => 8,
        }
    }

    /// Period of the work timer for a `timeout_data`; nothing for 0, whose effect is
    /// unknown (the simulator keeps the previous period).
    pub(super) const fn timer_period(self, timeout_data: u8) -> Option<Duration> {
        if timeout_data == 0 {
            return None;
        }
        let counts = timeout_data as u32 * HALF_COUNTS_PER_UNIT / 2;
        let counts = match self {
            Self::S1Of2013 => counts % (1 << 16),
            Self::S1Of2014 | Self::S3Version7 if counts > u16::MAX as u32 => u16::MAX as u32,
            Self::S1Of2014 | Self::S3Version7 => counts,
        };
        Some(Duration::from_nanos(
            counts as u64 * 1_000_000_000 / TIMER_HZ,
        ))
    }

    /// Fan duty in percent that the controller sets at a temperature.
    pub(super) fn fan_duty(self, celsius: u8) -> u8 {
        let above = (i32::from(celsius) - 35) * 4;
        let duty = match self.layout() {
            Layout::S1 => (above + 1).clamp(0, 100),
            Layout::S3 => (above + 15).clamp(15, 100),
        };
        duty as u8 // 0 to 100
    }

    /// Fans on the board.
    pub(super) const fn fans(self) -> usize {
        match self.layout() {
            Layout::S1 => 1,
            Layout::S3 => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Image; 3] = [Image::S1Of2013, Image::S1Of2014, Image::S3Version7];

    fn millis(image: Image, timeout_data: u8) -> f64 {
        image.timer_period(timeout_data).unwrap().as_secs_f64() * 1e3
    }

    #[test]
    fn a_timeout_unit_is_a_millisecond_below_70() {
        for image in ALL {
            for unit in 1..70 {
                let error = millis(image, unit) - f64::from(unit);
                assert!(error.abs() < 0.001, "{image:?} {unit}");
            }
            assert_eq!(image.timer_period(0), None);
        }
    }

    #[test]
    fn the_timer_of_the_oldest_image_wraps_from_70_on() {
        assert!((millis(Image::S1Of2013, 70) - 0.095).abs() < 0.001);
        assert!((millis(Image::S1Of2013, 94) - 24.095).abs() < 0.001);
    }

    #[test]
    fn the_timer_of_the_newer_images_is_clamped_from_70_on() {
        for image in [Image::S1Of2014, Image::S3Version7] {
            for unit in [70, 94, 255] {
                assert!((millis(image, unit) - 69.904).abs() < 0.001);
            }
        }
    }

    #[test]
    fn fan_duty_follows_the_published_law() {
        for (celsius, s1, s3) in [
            (0, 0, 15),
            (35, 1, 15),
            (36, 5, 19),
            (45, 41, 55),
            (60, 100, 100),
            (255, 100, 100),
        ] {
            assert_eq!(Image::S1Of2013.fan_duty(celsius), s1);
            assert_eq!(Image::S1Of2014.fan_duty(celsius), s1);
            assert_eq!(Image::S3Version7.fan_duty(celsius), s3);
        }
    }

    #[test]
    fn pll_words_of_the_vendor_tables_give_their_clocks() {
        for (word, mhz) in [
            (0x4d81, 350.0),
            (0x0781, 200.0),
            (0x4f02, 193.75),
            (0x0b83, 75.0),
            (0, 25.0),
        ] {
            assert_eq!(Image::S1Of2013.clock_mhz(word), mhz);
        }
        for (word, mhz) in [
            (0x1106, 218.75),
            (0x0783, 100.0),
            (0x1f07, 196.875),
            (0x0c82, 325.0),
            (0x4d81, 700.0),
        ] {
            assert_eq!(Image::S3Version7.clock_mhz(word), mhz, "{word:04x}");
        }
    }
}
