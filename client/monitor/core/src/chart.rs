//! A graph as numbers: curves, axes and their labels, ready to be drawn.
//!
//! Owns the choice of scales and ticks. Places are shares of the plot's width and
//! height (0 to 1, from the left and from the bottom); pixels and colours are the
//! window's.

use std::time::Duration;

use crate::history::{SPAN, Sample};
use crate::{Device, text};

/// Samples further apart than this have a gap between them: the device was away.
const GAP: Duration = Duration::from_secs(4);
/// Time axes to choose from: seconds, the step of its labels, and the unit of these
/// (in seconds, with its name). The shortest that holds all samples is taken.
const AXES: [Axis; 4] = [
    Axis::new(60, 15, (1, "s")),
    Axis::new(120, 30, (1, "s")),
    Axis::new(300, 60, (60, "min")),
    Axis::new(SPAN.as_secs(), 120, (60, "min")),
];
/// Steps of the value axis at most.
const STEPS_MAX: f64 = 4.0;
/// Least height of a temperature axis, so that noise does not fill the plot.
const CELSIUS_HEIGHT_MIN: f64 = 20.0;
/// Temperatures around which the axis lies while nothing is measured.
const CELSIUS_IDLE: (f64, f64) = (20.0, 60.0);

/// A label on an axis and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Place along the axis, 0 to 1.
    pub at: f64,
    /// What stands there.
    pub label: String,
}

/// One line of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend; empty when it is the only one.
    pub name: String,
    /// Pieces without a gap, each a row of places.
    pub pieces: Vec<Vec<(f64, f64)>>,
}

/// A graph of the last minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What is measured, with its unit.
    pub title: String,
    /// The newest value, with its unit; a dash when there is none.
    pub now: String,
    /// Labels of the value axis, from the bottom.
    pub values: Vec<Tick>,
    /// Labels of the time axis, from the left.
    pub times: Vec<Tick>,
    /// The lines.
    pub curves: Vec<Curve>,
    /// A value to compare with, drawn dashed, and its name in the legend.
    pub reference: Option<Tick>,
    /// The graph in one sentence, for people who do not see it.
    pub description: String,
}

impl Chart {
    /// The hash rate of a device, estimated over the minute before each moment.
    pub fn hash_rate<'a>(
        device: &Device,
        samples: impl Iterator<Item = &'a Sample>,
        now: Duration,
    ) -> Self {
        let points: Vec<_> = samples.map(|s| (s.at, s.hash_rate_hps)).collect();
        let axis = Axis::holding(points.first().map(|(at, _)| *at), now);
        let highest = points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let nominal = device.nominal_hash_rate_hps;
        let top = if nominal > 0.0 {
            highest.max(nominal)
        } else {
            highest
        };
        let (unit, prefix) = text::prefix_of(top);
        let scale = Scale::new(0.0, if top > 0.0 { top / unit } else { 1.0 });
        let curve = Curve {
            name: String::new(),
            pieces: pieces(
                points.into_iter().map(|(at, v)| (at, v / unit)),
                now,
                axis,
                scale,
            ),
        };
        let rate = text::hash_rate(device.hash_rate_minute_hps);
        Self {
            title: format!("Hash rate, {prefix}H/s"),
            description: format!(
                "Hash rate over the last {}, now {rate}, at most {}",
                axis.name(),
                text::hash_rate(highest)
            ),
            now: rate,
            values: scale.ticks(),
            times: axis.ticks(),
            curves: vec![curve],
            reference: (nominal > 0.0).then(|| Tick {
                at: scale.place(nominal / unit),
                label: format!("nominal, {}", text::hash_rate(nominal)),
            }),
        }
    }

    /// The temperatures of a device, one line per sensor. Nothing for a device that
    /// never told any.
    pub fn temperature<'a>(
        device: &Device,
        samples: impl Iterator<Item = &'a Sample>,
        now: Duration,
    ) -> Option<Self> {
        let samples: Vec<_> = samples.collect();
        let axis = Axis::holding(samples.first().map(|sample| sample.at), now);
        let sensors: Vec<usize> = (0..sensor_count(&samples))
            .filter(|sensor| samples.iter().any(|s| celsius(s, *sensor).is_some()))
            .collect();
        if sensors.is_empty() {
            return None;
        }
        let all = || {
            let each = sensors.iter().map(|sensor| (samples.iter(), *sensor));
            each.flat_map(|(samples, sensor)| samples.filter_map(move |s| celsius(s, sensor)))
        };
        let lowest = all().reduce(f64::min).unwrap_or(CELSIUS_IDLE.0);
        let highest = all().reduce(f64::max).unwrap_or(CELSIUS_IDLE.1);
        let middle = (lowest + highest) / 2.0;
        let half = ((highest - lowest) / 2.0).max(CELSIUS_HEIGHT_MIN / 2.0);
        let scale = Scale::new((middle - half).max(0.0), middle + half);
        let curves = sensors.iter().map(|sensor| {
            let points = samples.iter();
            let points = points.filter_map(|s| Some((s.at, celsius(s, *sensor)?)));
            Curve {
                name: if sensors.len() > 1 {
                    format!("sensor {}", sensor + 1)
                } else {
                    String::new()
                },
                pieces: pieces(points, now, axis, scale),
            }
        });
        let hottest = device.hottest_celsius();
        let now_text = hottest.map_or_else(|| "–".to_owned(), |celsius| format!("{celsius:.0} °C"));
        Some(Self {
            title: "Temperature, °C".to_owned(),
            description: format!(
                "Temperature over the last {}, {}, now {now_text}, at most {highest:.0} °C",
                axis.name(),
                text::counted(sensors.len() as u64, "sensor", "sensors")
            ),
            now: now_text,
            values: scale.ticks(),
            times: axis.ticks(),
            curves: curves.collect(),
            reference: None,
        })
    }
}

fn sensor_count(samples: &[&Sample]) -> usize {
    let counts = samples.iter().map(|s| s.temperatures_celsius.len());
    counts.max().unwrap_or_default()
}

fn celsius(sample: &Sample, sensor: usize) -> Option<f64> {
    let celsius = sample.temperatures_celsius.get(sensor).copied();
    celsius.filter(|celsius| *celsius > 0.0)
}

/// The time before now.
#[derive(Debug, Clone, Copy)]
struct Axis {
    span: Duration,
    step_seconds: u64,
    unit: (u64, &'static str),
}

impl Axis {
    const fn new(seconds: u64, step_seconds: u64, unit: (u64, &'static str)) -> Self {
        Self {
            span: Duration::from_secs(seconds),
            step_seconds,
            unit,
        }
    }

    /// The shortest axis that reaches back to `oldest`.
    fn holding(oldest: Option<Duration>, now: Duration) -> Self {
        let age = now.saturating_sub(oldest.unwrap_or(now));
        let found = AXES.into_iter().find(|axis| axis.span >= age);
        found.unwrap_or(AXES[AXES.len() - 1])
    }

    /// Place of a moment, 0 to 1.
    fn place(self, at: Duration, now: Duration) -> f64 {
        let before = now.saturating_sub(at).as_secs_f64();
        1.0 - before / self.span.as_secs_f64()
    }

    /// How long it is, in words.
    fn name(self) -> String {
        match self.span.as_secs() / 60 {
            1 => "minute".to_owned(),
            minutes => format!("{minutes} minutes"),
        }
    }

    fn ticks(self) -> Vec<Tick> {
        let steps = self.span.as_secs() / self.step_seconds;
        (0..=steps)
            .rev()
            .map(|step| {
                let before = step * self.step_seconds;
                let (unit, name) = self.unit;
                Tick {
                    at: self.place(Duration::ZERO, Duration::from_secs(before)),
                    label: match before {
                        0 => "now".to_owned(),
                        _ => format!("−{} {name}", before / unit),
                    },
                }
            })
            .collect()
    }
}

/// The points as places, cut where the device was away.
fn pieces(
    points: impl Iterator<Item = (Duration, f64)>,
    now: Duration,
    axis: Axis,
    scale: Scale,
) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut last: Option<Duration> = None;
    for (at, value) in points {
        let place = (axis.place(at, now), scale.place(value));
        let is_new = last.is_none_or(|last| at.saturating_sub(last) > GAP);
        last = Some(at);
        match pieces.last_mut() {
            Some(piece) if !is_new => piece.push(place),
            _ => pieces.push(vec![place]),
        }
    }
    pieces
}

/// A value axis from a round number to a round number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    least: f64,
    most: f64,
    step: f64,
}

impl Scale {
    /// The smallest such axis that holds both values; `least` is below `most`.
    fn new(least: f64, most: f64) -> Self {
        let step = round_step((most - least) / STEPS_MAX);
        Self {
            least: (least / step).floor() * step,
            most: (most / step).ceil() * step,
            step,
        }
    }

    fn place(self, value: f64) -> f64 {
        ((value - self.least) / (self.most - self.least)).clamp(0.0, 1.0)
    }

    fn ticks(self) -> Vec<Tick> {
        let steps = ((self.most - self.least) / self.step).round() as u32;
        let decimals = (-self.step.log10().floor()).clamp(0.0, 3.0) as usize;
        (0..=steps)
            .map(|number| {
                let value = self.least + f64::from(number) * self.step;
                Tick {
                    at: self.place(value),
                    label: format!("{value:.decimals$}"),
                }
            })
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|n| n * power >= least);
    found.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::device;

    const SECOND: Duration = Duration::from_secs(1);

    fn sample(second: u32, hash_rate_hps: f64, temperatures: &[f64]) -> Sample {
        Sample {
            at: SECOND * second,
            hash_rate_hps,
            temperatures_celsius: temperatures.to_vec(),
        }
    }

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn axes_end_at_round_numbers_and_hold_every_value() {
        for (least, most, expected) in [
            (0.0, 1.7, vec!["0.0", "0.5", "1.0", "1.5", "2.0"]),
            (0.0, 441.0, vec!["0", "200", "400", "600"]),
            (31.0, 51.0, vec!["30", "35", "40", "45", "50", "55"]),
            (0.0, 1.0, vec!["0.0", "0.5", "1.0"]),
            (
                0.0,
                0.004,
                vec!["0.000", "0.001", "0.002", "0.003", "0.004"],
            ),
        ] {
            let scale = Scale::new(least, most);
            assert!(scale.least <= least && scale.most >= most);
            assert_eq!(labels(&scale.ticks()), expected, "{least} to {most}");
        }
    }

    #[test]
    fn the_newest_sample_stands_at_the_right_and_ten_minutes_at_the_left() {
        let samples = [sample(0, 1e6, &[]), sample(600, 1e6, &[])];
        let chart = Chart::hash_rate(&device(), samples.iter(), SECOND * 600);
        let ends: Vec<f64> = chart.curves[0]
            .pieces
            .iter()
            .map(|piece| piece[0].0)
            .collect();
        assert_eq!(ends, [0.0, 1.0]);
        assert_eq!(chart.title, "Hash rate, MH/s");
        assert_eq!(chart.times.last().unwrap().label, "now");
        assert_eq!(chart.times[0].label, "−10 min");
    }

    #[test]
    fn the_time_axis_is_no_longer_than_the_samples_need() {
        for (seconds, first, labels) in [
            (3, "−60 s", 5),
            (61, "−120 s", 5),
            (300, "−5 min", 6),
            (301, "−10 min", 6),
            (9000, "−10 min", 6),
        ] {
            let axis = Axis::holding(Some(SECOND), SECOND * (seconds + 1));
            let ticks = axis.ticks();
            assert_eq!(ticks[0].label, first, "{seconds}");
            assert_eq!((ticks[0].at, ticks.len()), (0.0, labels), "{seconds}");
            assert_eq!(ticks[labels - 1].at, 1.0);
        }
    }

    #[test]
    fn the_line_is_cut_while_the_device_was_away() {
        let seconds = [0, 1, 2, 30, 31];
        let samples = seconds.map(|second| sample(second, 1e6, &[]));
        let chart = Chart::hash_rate(&device(), samples.iter(), SECOND * 31);
        let lengths: Vec<_> = chart.curves[0].pieces.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 2]);
    }

    #[test]
    fn a_graph_without_samples_still_has_its_axes() {
        let mut device = device();
        device.nominal_hash_rate_hps = 0.0;
        let chart = Chart::hash_rate(&device, std::iter::empty(), SECOND);
        assert_eq!(labels(&chart.values), ["0.0", "0.5", "1.0"]);
        assert!(chart.curves[0].pieces.is_empty());
        assert_eq!(chart.reference, None);
        assert_eq!(
            Chart::temperature(&device, std::iter::empty(), SECOND),
            None
        );
    }

    #[test]
    fn the_nominal_rate_is_on_the_axis() {
        let samples = [sample(1, 1.0e6, &[])];
        let chart = Chart::hash_rate(&device(), samples.iter(), SECOND);
        let reference = chart.reference.unwrap();
        assert!((reference.at - 0.85).abs() < 1e-9, "{}", reference.at);
        assert_eq!(reference.label, "nominal, 1.70 MH/s");
    }

    #[test]
    fn every_sensor_that_is_there_has_a_line() {
        let samples = [
            sample(1, 0.0, &[0.0, 41.0, 43.0, 0.0]),
            sample(2, 0.0, &[0.0, 42.0, 44.0, 0.0]),
        ];
        let chart = Chart::temperature(&device(), samples.iter(), SECOND * 2).unwrap();
        let names: Vec<_> = chart.curves.iter().map(|curve| &curve.name).collect();
        assert_eq!(names, ["sensor 2", "sensor 3"]);
        assert_eq!(chart.now, "43 °C");
        assert!(chart.description.contains("2 sensors"));
    }

    #[test]
    fn steady_temperatures_do_not_fill_the_plot_with_noise() {
        let samples = [sample(1, 0.0, &[41.0]), sample(2, 0.0, &[42.0])];
        let chart = Chart::temperature(&device(), samples.iter(), SECOND * 2).unwrap();
        let places: Vec<f64> = chart.curves[0].pieces[0].iter().map(|p| p.1).collect();
        assert!((places[1] - places[0]) <= 1.0 / CELSIUS_HEIGHT_MIN + 1e-9);
        assert_eq!(chart.curves[0].name, "");
    }
}
