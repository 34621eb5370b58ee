//! Which metrics there are: name, help, type, labels and where the value stands in the
//! status document.
//!
//! Names begin with `hasher_` and end in their unit; counters get `_total` from the
//! encoder. Labels have few values: the users of sessions, not their names, which
//! anybody may choose.

use std::collections::BTreeMap;
use std::fmt;

use hasher_wire::{DeviceCountersReport, DeviceReport, DeviceState, StatusReport, TotalsReport};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Every state, so that each is a series that is 0 or 1.
const STATES: [DeviceState; 11] = [
    DeviceState::Absent,
    DeviceState::Claiming,
    DeviceState::Busy,
    DeviceState::Denied,
    DeviceState::Refused,
    DeviceState::Waiting,
    DeviceState::Starting,
    DeviceState::Ready,
    DeviceState::Paused,
    DeviceState::Stopping,
    DeviceState::Unknown,
];

/// The metrics of one status document, or of a daemon that does not answer.
#[derive(Debug)]
pub struct Page(pub Option<StatusReport>);

impl Page {
    /// As OpenMetrics text.
    pub fn encode(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("a String takes everything");
        out
    }
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        writer.gauge("up", "Whether the daemon answers", [one(self.0.is_some())])?;
        let Some(status) = &self.0 else {
            return Ok(());
        };
        daemon(status, &mut writer)?;
        devices(&status.devices, &mut writer)?;
        users(status, &mut writer)?;
        totals(&status.totals, &mut writer)
    }
}

/// One label with its value.
type Label = (&'static str, String);
/// The labels of a sample, and its value.
type Sample<N> = (Vec<Label>, N);

/// Writes whole families; one without a sample is left out.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<f64>>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, samples)
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<u64>>,
    ) -> fmt::Result {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, samples)
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Iterator<Item = (Vec<Label>, M)>,
    ) -> fmt::Result {
        let mut samples = samples.peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let name = format!("hasher_{name}");
        let help = format!("{help}.");
        let mut encoder = self.0.encode_descriptor(&name, &help, None, kind)?;
        for (labels, metric) in samples {
            if labels.is_empty() {
                // Then it is the only one.
                return metric.encode(encoder);
            }
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A sample without labels.
fn sample<N>(value: N) -> [Sample<N>; 1] {
    [(Vec::new(), value)]
}

/// A sample without labels that is 1 or 0.
fn one(is_so: bool) -> Sample<f64> {
    (Vec::new(), f64::from(u8::from(is_so)))
}

fn daemon(status: &StatusReport, writer: &mut Writer<'_>) -> fmt::Result {
    let version = vec![("version", status.daemon.version.clone())];
    writer.gauge(
        "daemon_info",
        "Version of the daemon; always 1",
        [(version, 1.0)],
    )?;
    writer.gauge(
        "daemon_uptime_seconds",
        "Time since the daemon started",
        sample(status.daemon.uptime_s as f64),
    )
}

fn devices(devices: &[DeviceReport], writer: &mut Writer<'_>) -> fmt::Result {
    writer.gauge(
        "device_info",
        "What a device is; always 1. A simulated device has kind=\"simulated\"",
        devices.iter().map(|device| {
            let labels = vec![
                ("device", device.id.clone()),
                ("kind", device.kind.as_str().to_owned()),
                ("model", device.model.clone()),
                ("firmware", device.firmware.clone()),
                ("layout", device.layout.clone()),
            ];
            (labels, 1.0)
        }),
    )?;
    writer.gauge(
        "device_state",
        "1 for the state that a device is in, 0 for all others",
        devices.iter().flat_map(|device| {
            STATES.iter().map(move |state| {
                let labels = labels(device, [("state", state.as_str().to_owned())]);
                (labels, f64::from(u8::from(device.state == *state)))
            })
        }),
    )?;
    readings(devices, writer)?;
    sensors(devices, writer)?;
    for (name, help, value) in DEVICE_COUNTERS {
        let of = |device: &DeviceReport| (labels(device, []), value(&device.counters));
        writer.counter(name, help, devices.iter().map(of))?;
    }
    writer.counter(
        "device_attachments",
        "How often the device was opened since the daemon started",
        devices
            .iter()
            .map(|device| (labels(device, []), u64::from(device.attachments))),
    )
}

/// A device's label and further ones.
fn labels<const N: usize>(device: &DeviceReport, more: [Label; N]) -> Vec<Label> {
    let mut labels = vec![("device", device.id.clone())];
    labels.extend(more);
    labels
}

/// What each device says of itself in one number.
fn readings(devices: &[DeviceReport], writer: &mut Writer<'_>) -> fmt::Result {
    type Reading = fn(&DeviceReport) -> Option<f64>;
    let readings: [(&str, &str, Reading); 7] = [
        ("device_chips", "Chips on all chains", |device| {
            let chips = device.chips_per_chain.iter();
            let chips: u32 = chips.map(|chips| u32::from(*chips)).sum();
            (chips > 0).then_some(f64::from(chips))
        }),
        ("device_clock_hertz", "Clock of the chips", |device| {
            (device.frequency_mhz > 0.0).then_some(device.frequency_mhz * 1e6)
        }),
        (
            "device_nominal_hashes_per_second",
            "Double hashes a second in theory, by clock and chips",
            |device| {
                let rate = device.nominal_hash_rate_hps;
                (rate > 0.0).then_some(rate)
            },
        ),
        (
            "device_slowdown_ratio",
            "How many times slower than silicon a simulated device runs",
            |device| device.slowdown,
        ),
        (
            "device_filter_zero_bits",
            "Leading zero bits below which the device reports nothing",
            |device| Some(f64::from(device.filter_zero_bits)),
        ),
        (
            "device_works_in_flight",
            "Works on the device now",
            |device| Some(f64::from(device.works_in_flight)),
        ),
        (
            "device_fifo_free_works",
            "Free places in the controller's FIFO",
            |device| device.fifo_space.map(f64::from),
        ),
    ];
    for (name, help, reading) in readings {
        let of = |device: &DeviceReport| Some((labels(device, []), reading(device)?));
        writer.gauge(name, help, devices.iter().filter_map(of))?;
    }
    writer.gauge(
        "device_hashes_per_second",
        "Double hashes a second over the window, from verified nonces",
        devices.iter().flat_map(|device| {
            let rate = device.hash_rate_hps;
            [("1m", rate.minute), ("15m", rate.quarter_hour)]
                .map(|(window, rate)| (labels(device, [("window", window.to_owned())]), rate))
        }),
    )
}

/// What each device says of its parts.
fn sensors(devices: &[DeviceReport], writer: &mut Writer<'_>) -> fmt::Result {
    writer.gauge(
        "device_temperature_celsius",
        "Temperature at each place that has a sensor",
        devices.iter().flat_map(|device| {
            let sensors = device.temperatures_celsius.iter().enumerate();
            sensors
                .filter(|(_, celsius)| **celsius > 0)
                .map(|(place, celsius)| {
                    let labels = labels(device, [("sensor", place.to_string())]);
                    (labels, f64::from(*celsius))
                })
        }),
    )?;
    writer.gauge(
        "device_fan_revolutions_per_minute",
        "Speed of each fan",
        devices.iter().flat_map(|device| {
            let fans = device.fans_rpm.iter().enumerate();
            fans.map(|(place, rpm)| {
                let labels = labels(device, [("fan", place.to_string())]);
                (labels, f64::from(*rpm))
            })
        }),
    )
}

/// Name, help and value of a counter.
type Counter<T> = (&'static str, &'static str, fn(&T) -> u64);

/// They begin anew when the device is opened again, as counters of Prometheus may.
const DEVICE_COUNTERS: [Counter<DeviceCountersReport>; 10] = [
    ("device_works", "Works given to the device", |c| c.works),
    (
        "device_filler_works",
        "Works sent only to keep results flowing",
        |c| c.filler_works,
    ),
    ("device_hits", "Nonces that passed verification", |c| c.hits),
    (
        "device_hardware_errors",
        "Nonces that failed verification, and errors the controller counted",
        |c| c.hardware_errors,
    ),
    (
        "device_stale_hits",
        "Correct nonces for works that had ended",
        |c| c.stale,
    ),
    (
        "device_duplicate_hits",
        "The same nonce again for the same work",
        |c| c.duplicates,
    ),
    (
        "device_unknown_work_hits",
        "Nonces whose work nobody knows",
        |c| c.unknown_works,
    ),
    ("device_lost_works", "Works the device lost", |c| {
        c.lost_works
    }),
    (
        "device_dropped_bytes",
        "Bytes dropped while looking for the start of a reply",
        |c| c.dropped_bytes,
    ),
    (
        "device_recoveries",
        "Re-initialisations after silence or lost works",
        |c| c.recoveries,
    ),
];

/// Sessions by user: how many, what they wait for, what they get.
fn users(status: &StatusReport, writer: &mut Writer<'_>) -> fmt::Result {
    let mut users: BTreeMap<String, (f64, f64, f64)> = BTreeMap::new();
    for session in &status.sessions {
        let uid = session.uid.map_or_else(String::new, |uid| uid.to_string());
        let user = users.entry(uid).or_default();
        user.0 += 1.0;
        user.1 += f64::from(session.jobs_live);
        user.2 += session.share;
    }
    let of = |value: fn(&(f64, f64, f64)) -> f64| {
        let label = |uid: &String| vec![("uid", uid.clone())];
        let samples = users.iter().map(|(uid, user)| (label(uid), value(user)));
        samples.collect::<Vec<_>>()
    };
    writer.gauge(
        "sessions_left_out",
        "Open sessions that the figures of users lack, because there are too many",
        [(Vec::new(), status.sessions_left_out as f64)],
    )?;
    writer.gauge(
        "user_sessions",
        "Open sessions of a user",
        of(|user| user.0),
    )?;
    writer.gauge(
        "user_jobs_live",
        "Search jobs of a user that wait or are worked on",
        of(|user| user.1),
    )?;
    writer.gauge(
        "user_share_ratio",
        "A user's part of the works of the last minute",
        of(|user| user.2),
    )?;
    writer.gauge(
        "jobs_live",
        "Search jobs that wait or are worked on",
        sample(status.totals.jobs_live as f64),
    )
}

const TOTALS: [Counter<TotalsReport>; 11] = [
    ("sessions_opened", "Sessions that were welcomed", |t| {
        t.sessions
    }),
    ("jobs_accepted", "Search jobs that were accepted", |t| {
        t.jobs_accepted
    }),
    (
        "jobs_done",
        "Search jobs that were answered with a result",
        |t| t.jobs_done,
    ),
    (
        "jobs_failed",
        "Search jobs that were accepted and failed",
        |t| t.jobs_failed,
    ),
    (
        "requests_refused",
        "Requests that were refused at once",
        |t| t.refused,
    ),
    ("works", "Works given to devices", |t| t.works),
    ("hits", "Verified hits that answered a job", |t| t.hits),
    (
        "stale_hits",
        "Nonces for jobs that had already been answered",
        |t| t.stale_hits,
    ),
    (
        "wrong_hits",
        "Nonces whose digest was not what the device said",
        |t| t.wrong_hits,
    ),
    ("digests", "Messages digested on the CPU", |t| t.digests),
    ("digest_bytes", "Bytes digested on the CPU", |t| {
        t.digest_bytes
    }),
];

fn totals(totals: &TotalsReport, writer: &mut Writer<'_>) -> fmt::Result {
    for (name, help, value) in TOTALS {
        writer.counter(name, help, sample(value(totals)))?;
    }
    Ok(())
}
