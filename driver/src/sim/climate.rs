//! How warm the simulated boards get.
//!
//! Owns two board temperatures, the fans and the room, as a first-order model: each
//! board moves towards `room + rise`, where the rise grows with the chips' load and
//! shrinks with the air that the fans move. The shape is physics; its numbers are
//! chosen (inferred) so that an idle room gives the temperatures and fan speeds of
//! the example statuses in the protocol vectors. No power is claimed. Never decides
//! anything: sensors, fan law and overheat rules belong to the controller.

use std::time::Duration;

use super::image::{CHAINS, Image};

/// Room temperature unless a script says otherwise, in °C.
pub const ROOM_CELSIUS: f64 = 25.0;
/// Rise of a board at stock clock, full load and full air, in °C (inferred).
const RISE_CELSIUS: f64 = 11.0;
/// Time constant of a board, in seconds (inferred; heat sinks of some 100 g).
const TIME_CONSTANT_S: f64 = 40.0;
/// Share of the cooling that needs no fan (inferred).
const STILL_AIR: f64 = 0.15;
/// Speed of a fan at full duty, in revolutions a second (inferred: 3600 rpm).
const FAN_FULL_RPS: f64 = 60.0;
/// Share of full speed that a fan keeps at 0 % duty, as four-wire fans do (inferred).
const FAN_LOWEST: f64 = 0.25;
/// The second board's rise relative to the first; the S1 example shows it cooler,
/// the S3 example warmer.
const SECOND_S1: f64 = 0.9;
const SECOND_S3: f64 = 1.12;

/// Temperatures, fans and room.
#[derive(Debug)]
pub(super) struct Climate {
    image: Image,
    boards_celsius: [f64; CHAINS],
    room_celsius: f64,
    duty_percent: u8,
    fans_stopped: bool,
}

impl Climate {
    /// A board that has stood in the room for long.
    pub(super) fn new(image: Image) -> Self {
        Self {
            image,
            boards_celsius: [ROOM_CELSIUS; CHAINS],
            room_celsius: ROOM_CELSIUS,
            duty_percent: image.fan_duty(0),
            fans_stopped: false,
        }
    }

    pub(super) fn set_room(&mut self, celsius: f64) {
        self.room_celsius = celsius;
    }

    pub(super) fn set_fans_stopped(&mut self, stopped: bool) {
        self.fans_stopped = stopped;
    }

    pub(super) fn set_duty(&mut self, percent: u8) {
        self.duty_percent = percent;
    }

    /// Lets time pass. `load` is each chain's activity: 1 at stock clock with every
    /// core busy, 0 at rest.
    pub(super) fn pass(&mut self, time: Duration, load: [f64; CHAINS]) {
        if time.is_zero() {
            return;
        }
        let air = STILL_AIR + (1.0 - STILL_AIR) * self.fan_share();
        let second = match self.image {
            Image::S3Version7 => SECOND_S3,
            Image::S1Of2013 | Image::S1Of2014 => SECOND_S1,
        };
        let keep = (-time.as_secs_f64() / TIME_CONSTANT_S).exp();
        for (i, board) in self.boards_celsius.iter_mut().enumerate() {
            let own = if i == 0 { 1.0 } else { second };
            let goal = self.room_celsius + RISE_CELSIUS * own * load[i] / air;
            *board = goal + (*board - goal) * keep;
        }
    }

    /// What the sensors of the boards read: whole °C; 0 is left for "no sensor".
    pub(super) fn sensors(&self) -> [u8; CHAINS] {
        self.boards_celsius
            .map(|celsius| celsius.clamp(1.0, 127.0) as u8)
    }

    /// What the fans' pulses give, in revolutions a second.
    pub(super) fn fan_rps(&self) -> u8 {
        (self.fan_share() * FAN_FULL_RPS) as u8 // 0 to 60
    }

    fn fan_share(&self) -> f64 {
        if self.fans_stopped {
            return 0.0;
        }
        FAN_LOWEST + (1.0 - FAN_LOWEST) * f64::from(self.duty_percent) / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the fan law of the image for ten minutes.
    fn settle(climate: &mut Climate, load: f64) -> [u8; CHAINS] {
        for _ in 0..120 {
            climate.pass(Duration::from_secs(5), [load; CHAINS]);
            let hottest = climate.sensors().into_iter().max().unwrap();
            climate.set_duty(climate.image.fan_duty(hottest));
        }
        climate.sensors()
    }

    #[test]
    fn a_hashing_board_settles_near_the_example_statuses() {
        for (image, example) in [(Image::S1Of2013, [45, 43]), (Image::S3Version7, [40, 42])] {
            let mut climate = Climate::new(image);
            let sensors = settle(&mut climate, 1.0);
            for (got, example) in sensors.into_iter().zip(example) {
                assert!((got as i32 - example).abs() <= 5, "{image:?} {sensors:?}");
            }
            assert!(
                (28..=42).contains(&climate.fan_rps()),
                "{}",
                climate.fan_rps()
            );
            assert_eq!(
                settle(&mut climate, 0.0),
                [25, 25],
                "an idle board cools down"
            );
        }
    }

    #[test]
    fn a_stopped_fan_overheats_a_hashing_board() {
        let mut climate = Climate::new(Image::S3Version7);
        settle(&mut climate, 1.0);
        climate.set_fans_stopped(true);
        assert_eq!(climate.fan_rps(), 0);
        assert!(
            settle(&mut climate, 1.0)
                .into_iter()
                .all(|celsius| celsius > 80)
        );
        climate.set_fans_stopped(false);
        assert!(
            settle(&mut climate, 1.0)
                .into_iter()
                .all(|celsius| celsius < 60)
        );
    }

    #[test]
    fn a_hot_room_heats_even_an_idle_board() {
        let mut climate = Climate::new(Image::S1Of2014);
        climate.set_room(70.0);
        assert_eq!(settle(&mut climate, 0.0), [69, 69]);
        assert!(settle(&mut climate, 1.0)[0] >= 80);
    }

    #[test]
    fn time_in_parts_warms_like_time_in_one_piece() {
        let (mut whole, mut parts) = (
            Climate::new(Image::S3Version7),
            Climate::new(Image::S3Version7),
        );
        whole.pass(Duration::from_secs(30), [1.0, 0.5]);
        for _ in 0..30 {
            parts.pass(Duration::from_secs(1), [1.0, 0.5]);
        }
        for (a, b) in whole.boards_celsius.into_iter().zip(parts.boards_celsius) {
            assert!((a - b).abs() < 1e-9);
        }
    }
}
