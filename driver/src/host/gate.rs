//! Whether the board may hash: heat, fans, and whether anything is known at all.
//!
//! Owns the safety limits of the protocol reference (section 8). The oldest
//! controllers do not stop when they are hot, so the host must. No caller can
//! override this gate.

use crate::token::StatusReply;
use crate::{DriverError, Layout, PauseReason};

/// From here on nothing is fed, in °C.
pub const PAUSE_CELSIUS: u8 = 75;

/// A board that was paused must be at most this warm before it goes on, in °C: whether
/// it was hot, its fan stood, or nobody knew how warm it was.
pub const RESUME_CELSIUS: u8 = 50;

/// A board must cool by so much before it goes on, in °C: sensors show whole degrees and
/// are read every few seconds, so less would switch it on and off at every reading
/// (chosen, not measured).
pub const COOLING_CELSIUS: u8 = 5;

/// When heat stops a board and when it may go on. No limit can be laxer than
/// [`PAUSE_CELSIUS`] and [`RESUME_CELSIUS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeatLimits {
    pause: u8,
    resume: u8,
}

impl Default for HeatLimits {
    /// [`PAUSE_CELSIUS`] and [`RESUME_CELSIUS`].
    fn default() -> Self {
        Self {
            pause: PAUSE_CELSIUS,
            resume: RESUME_CELSIUS,
        }
    }
}

impl HeatLimits {
    /// A board whose hottest sensor shows `pause` °C stops until none shows more than
    /// `resume` °C.
    ///
    /// # Errors
    /// [`DriverError::UnsafeSetting`] when one is laxer than its default, or they are
    /// less than [`COOLING_CELSIUS`] apart.
    pub fn new(pause: u8, resume: u8) -> Result<Self, DriverError> {
        let unsafe_setting = |why| Err(DriverError::UnsafeSetting(why));
        if pause > PAUSE_CELSIUS {
            return unsafe_setting(format!(
                "a board must stop at {PAUSE_CELSIUS} °C at the latest, not {pause}"
            ));
        }
        if resume > RESUME_CELSIUS {
            return unsafe_setting(format!(
                "a board that was too hot must cool to {RESUME_CELSIUS} °C at least, not {resume}"
            ));
        }
        if resume + COOLING_CELSIUS > pause {
            return unsafe_setting(format!(
                "a board that stops at {pause} °C must cool by {COOLING_CELSIUS} °C at least, \
                 not to {resume} °C"
            ));
        }
        Ok(Self { pause, resume })
    }
}

/// Below this an S1 may have been told by its own fan law to rest its fan: the law
/// gives 0 % below 35 °C and 21 % here, where any fan turns (inferred; fans were not
/// tried). An S3 never asks for less than 15 %.
const S1_FAN_TURNS_CELSIUS: u8 = 40;

/// Revolutions a second that one step of a fan reading stands for, times 60.
pub(super) const RPM_PER_STEP: u32 = 60;

/// The gate and why it is shut.
#[derive(Debug)]
pub(super) struct Gate {
    limits: HeatLimits,
    shut: Option<PauseReason>,
    /// Bit i: sensor i has shown a temperature. One that falls silent later leaves
    /// its board blind.
    seen: u64,
}

impl Gate {
    /// A gate for a board of which nothing is known yet; shut until it is cool if an
    /// earlier owner of the board left it that way.
    pub(super) fn new(must_cool: bool) -> Self {
        Self {
            limits: HeatLimits::default(),
            shut: must_cool.then_some(PauseReason::StatusMissing),
            seen: 0,
        }
    }

    /// With other limits than the default ones.
    pub(super) fn with_limits(self, limits: HeatLimits) -> Self {
        Self { limits, ..self }
    }

    /// Why nothing may be fed, if so.
    pub(super) const fn reason(&self) -> Option<&PauseReason> {
        self.shut.as_ref()
    }

    /// No status came for too long.
    pub(super) fn on_silence(&mut self) {
        if self.shut.is_none() {
            self.shut = Some(PauseReason::StatusMissing);
        }
    }

    /// Takes new readings.
    pub(super) fn on_status(&mut self, layout: Layout, status: &StatusReply) {
        self.shut = self.judge(layout, status);
        self.seen |= sensors(status);
    }

    fn judge(&self, layout: Layout, status: &StatusReply) -> Option<PauseReason> {
        let hottest = status.temperatures.iter().copied().max().unwrap_or(0);
        if hottest == 0 || self.seen & !sensors(status) != 0 {
            // A board that was hot before stays hot.
            return Some(match &self.shut {
                None | Some(PauseReason::StatusMissing) => PauseReason::SensorMissing,
                Some(before) => before.clone(),
            });
        }
        let limit = match self.shut {
            Some(_) => self.limits.resume + 1,
            None => self.limits.pause,
        };
        // A fan that failed once must be seen turning again, however cool the board:
        // otherwise one that is dead would be tried again at every cooling.
        let has_stood = self.shut == Some(PauseReason::FanStopped);
        let must_turn = layout == Layout::S3 || hottest >= S1_FAN_TURNS_CELSIUS || has_stood;
        if must_turn && a_fan_stands(layout, status) {
            Some(PauseReason::FanStopped)
        } else if hottest >= limit {
            Some(PauseReason::Hot(hottest))
        } else {
            None
        }
    }
}

/// Which sensors show a temperature, bit i for sensor i; 0 °C means no answer.
fn sensors(status: &StatusReply) -> u64 {
    let readings = status.temperatures.iter().take(64).enumerate();
    readings.fold(0, |seen, (i, celsius)| seen | u64::from(*celsius > 0) << i)
}

/// Whether a fan that exists reads 0. Where no fan is reported there is none to judge.
fn a_fan_stands(layout: Layout, status: &StatusReply) -> bool {
    let exists = |i: usize| match layout {
        Layout::S1 => true,
        // When the board names no fan at all, believe the readings instead.
        Layout::S3 => status.fans_exist == 0 || (i < 16 && status.fans_exist >> i & 1 == 1),
    };
    let mut fans = status.fans.iter().enumerate();
    fans.any(|(i, speed)| *speed == 0 && exists(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(temperatures: &[u8], fans: &[u8]) -> StatusReply {
        StatusReply {
            temperatures: temperatures.to_vec(),
            fans: fans.to_vec(),
            fans_exist: 0b11,
            ..StatusReply::default()
        }
    }

    fn after(layout: Layout, readings: &[(&[u8], &[u8])]) -> Option<PauseReason> {
        let mut gate = Gate::new(false);
        for (temperatures, fans) in readings {
            gate.on_status(layout, &status(temperatures, fans));
        }
        gate.reason().cloned()
    }

    const TURNING: &[u8] = &[30, 31];

    #[test]
    fn a_board_pauses_at_75_degrees_and_resumes_at_50() {
        use PauseReason::Hot;
        let s3 = |readings: &[u8]| {
            let mut gate = Gate::new(false);
            for celsius in readings {
                gate.on_status(Layout::S3, &status(&[40, *celsius], TURNING));
            }
            gate.reason().cloned()
        };
        assert_eq!(s3(&[74]), None);
        assert_eq!(s3(&[75]), Some(Hot(75)));
        assert_eq!(s3(&[75, 51]), Some(Hot(51)));
        assert_eq!(s3(&[75, 51, 50]), None);
        assert_eq!(s3(&[75, 50, 60]), None);
    }

    #[test]
    fn stricter_limits_are_kept_and_laxer_ones_refused() {
        let mut gate = Gate::new(false).with_limits(HeatLimits::new(60, 45).unwrap());
        for (celsius, shut) in [(59, false), (60, true), (46, true), (45, false)] {
            gate.on_status(Layout::S3, &status(&[30, celsius], TURNING));
            assert_eq!(gate.reason().is_some(), shut, "{celsius}");
        }
        assert_eq!(HeatLimits::new(75, 50).unwrap(), HeatLimits::default());
        for (pause, resume, why) in [
            (76, 50, "a board must stop at 75 °C at the latest, not 76"),
            (75, 51, "must cool to 50 °C at least, not 51"),
            (
                54,
                50,
                "that stops at 54 °C must cool by 5 °C at least, not to 50 °C",
            ),
        ] {
            let error = HeatLimits::new(pause, resume).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(HeatLimits::new(55, 50).is_ok());
    }

    #[test]
    fn a_fan_that_stands_stops_the_board() {
        let stopped = Some(PauseReason::FanStopped);
        assert_eq!(after(Layout::S3, &[(&[30, 30], &[30, 0])]), stopped);
        assert_eq!(after(Layout::S1, &[(&[45, 43], &[0])]), stopped);
        assert_eq!(after(Layout::S1, &[(&[30, 31], &[0])]), None);
        let dead: &[(&[u8], &[u8])] = &[(&[45, 43], &[0]), (&[36, 36], &[0])];
        assert_eq!(after(Layout::S1, dead), stopped);
        let mended: &[(&[u8], &[u8])] = &[(&[45, 43], &[0]), (&[36, 36], &[9])];
        assert_eq!(after(Layout::S1, mended), None);
        // Turning again is not enough while it is warm.
        let warm: &[(&[u8], &[u8])] = &[(&[60, 60], &[0, 0]), (&[60, 60], TURNING)];
        assert_eq!(after(Layout::S3, warm), Some(PauseReason::Hot(60)));
        let cool: &[(&[u8], &[u8])] = &[(&[60, 60], &[0, 0]), (&[50, 50], TURNING)];
        assert_eq!(after(Layout::S3, cool), None);
    }

    #[test]
    fn a_fan_that_does_not_exist_may_read_0() {
        let mut gate = Gate::new(false);
        let mut one_fan = status(&[40, 40], &[30, 0]);
        one_fan.fans_exist = 0b01;
        gate.on_status(Layout::S3, &one_fan);
        assert_eq!(gate.reason(), None);
    }

    #[test]
    fn unknown_temperature_counts_as_hot() {
        assert_eq!(
            after(Layout::S3, &[(&[0, 0], TURNING)]),
            Some(PauseReason::SensorMissing)
        );
        // One sensor of two may be absent from the start, but not fall silent.
        assert_eq!(after(Layout::S3, &[(&[40, 0], TURNING)]), None);
        let blind: &[(&[u8], &[u8])] = &[(&[40, 41], TURNING), (&[40, 0], TURNING)];
        assert_eq!(after(Layout::S3, blind), Some(PauseReason::SensorMissing));
        let mut gate = Gate::new(false);
        gate.on_silence();
        assert_eq!(gate.reason(), Some(&PauseReason::StatusMissing));
    }

    #[test]
    fn after_an_unknown_temperature_a_board_must_be_as_cool_as_after_heat() {
        let blind: &[u8] = &[0, 0];
        for warm in [51, 60, 74] {
            let readings: &[(&[u8], &[u8])] = &[(blind, TURNING), (&[40, warm], TURNING)];
            assert_eq!(after(Layout::S3, readings), Some(PauseReason::Hot(warm)));
        }
        let cool: &[(&[u8], &[u8])] = &[(blind, TURNING), (&[40, 50], TURNING)];
        assert_eq!(after(Layout::S3, cool), None);
        let mut silent = Gate::new(false);
        silent.on_silence();
        // As an earlier owner of the board may have left it.
        for mut gate in [silent, Gate::new(true)] {
            gate.on_status(Layout::S1, &status(&[51, 40], &[9]));
            assert_eq!(gate.reason(), Some(&PauseReason::Hot(51)));
            gate.on_status(Layout::S1, &status(&[50, 40], &[9]));
            assert_eq!(gate.reason(), None);
            // From then on the higher limit holds.
            gate.on_status(Layout::S1, &status(&[74, 40], &[9]));
            assert_eq!(gate.reason(), None);
        }
    }
}
