//! One device as the daemon describes it on the bus.

use hasher_client::{DeviceKind, DeviceState};

use crate::value::{Properties, Reader};

/// The properties of `org.hasher.Hasher1.Device`.
///
/// Numbers that the daemon did not tell are 0, texts empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Stable name, such as `usb-1-2` or `sim-s3-0`.
    pub id: String,
    /// What does the hashing; nothing for a kind of a newer daemon.
    pub kind: Option<DeviceKind>,
    /// Model for people.
    pub model: String,
    /// Firmware version.
    pub firmware: String,
    /// Packet layout that its controller speaks, `S1` or `S3`.
    pub layout: String,
    /// Where it is in its life.
    pub state: DeviceState,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// What a person can do about it.
    pub remedy: Option<String>,
    /// Who holds it when it is busy.
    pub held_by: Option<String>,
    /// Chips on each chain.
    pub chips_per_chain: Vec<u64>,
    /// Clock of the chips in MHz; 0 when there is none.
    pub frequency_mhz: f64,
    /// Leading zero bits below which it reports nothing.
    pub filter_zero_bits: u32,
    /// Double hashes a second that clock and chips give in theory.
    pub nominal_hash_rate_hps: f64,
    /// Double hashes a second over the last minute.
    pub hash_rate_minute_hps: f64,
    /// Double hashes a second over the last quarter of an hour.
    pub hash_rate_quarter_hps: f64,
    /// Temperatures in °C by sensor; 0 means no sensor at that place.
    pub temperatures_celsius: Vec<f64>,
    /// Fan speeds in revolutions a minute.
    pub fans_rpm: Vec<u64>,
    /// Nonces that failed the check on arrival.
    pub hardware_errors: u64,
    /// Nonces it reported.
    pub hits: u64,
    /// Works given to it.
    pub works: u64,
    /// Works on it now.
    pub works_in_flight: u32,
    /// How often it was opened since the daemon started.
    pub attachments: u32,
    /// How many times slower than silicon a simulated device runs; 0 when real.
    pub slowdown: f64,
}

impl Device {
    /// From what the bus says.
    pub fn from_properties(properties: &Properties) -> Self {
        let read = Reader(properties);
        let whole = |name| -> Vec<u64> {
            let numbers = read.numbers(name).into_iter();
            numbers.map(|number| number as u64).collect()
        };
        let hash_rates = read.numbers("HashRateHps");
        let hash_rate = |window: usize| hash_rates.get(window).copied().unwrap_or_default();
        Self {
            id: read.text("Id"),
            kind: kind(&read.text("Kind")),
            model: read.text("Model"),
            firmware: read.text("Firmware"),
            layout: read.text("Layout"),
            state: state(&read.text("State")),
            reason: read.some_text("StateReason"),
            remedy: read.some_text("Remedy"),
            held_by: read.some_text("HeldBy"),
            chips_per_chain: whole("ChipsPerChain"),
            frequency_mhz: read.f64("FrequencyMhz"),
            filter_zero_bits: read.u32("FilterZeroBits"),
            nominal_hash_rate_hps: read.f64("NominalHashRateHps"),
            hash_rate_minute_hps: hash_rate(0),
            hash_rate_quarter_hps: hash_rate(1),
            temperatures_celsius: read.numbers("TemperaturesCelsius"),
            fans_rpm: whole("FansRpm"),
            hardware_errors: read.u64("HardwareErrors"),
            hits: read.u64("Hits"),
            works: read.u64("Works"),
            works_in_flight: read.u32("WorksInFlight"),
            attachments: read.u32("Attachments"),
            slowdown: read.f64("Slowdown"),
        }
    }

    /// Temperatures of the sensors that are there.
    pub fn temperatures(&self) -> impl Iterator<Item = f64> + '_ {
        let all = self.temperatures_celsius.iter().copied();
        all.filter(|celsius| *celsius > 0.0)
    }

    /// The warmest sensor.
    pub fn hottest_celsius(&self) -> Option<f64> {
        self.temperatures().reduce(f64::max)
    }

    /// Whether a person has paused it: only a person's Resume ends that.
    pub fn is_paused_on_request(&self) -> bool {
        self.state == DeviceState::Paused && self.reason.as_deref() == Some(PAUSED_ON_REQUEST)
    }
}

/// The daemon's reason of a pause that a person asked for. Source: the D-Bus
/// contract, method `Pause`.
pub(crate) const PAUSED_ON_REQUEST: &str = "paused on request";

fn kind(word: &str) -> Option<DeviceKind> {
    let known = [DeviceKind::Usb, DeviceKind::Simulated, DeviceKind::Cpu];
    known.into_iter().find(|kind| kind.as_str() == word)
}

fn state(word: &str) -> DeviceState {
    let known = [
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
    ];
    let found = known.into_iter().find(|state| state.as_str() == word);
    found.unwrap_or(DeviceState::Unknown)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Value;

    /// A ready simulated S3 with two chains.
    pub(crate) fn properties() -> Properties {
        let text = |text: &str| Value::Text(text.to_owned());
        let list = |numbers: &[u64]| {
            let numbers = numbers.iter().map(|number| Value::Natural(*number));
            Value::List(numbers.collect())
        };
        Properties::from(
            [
                ("Id", text("sim-s3-0")),
                ("Kind", text("simulated")),
                ("Model", text("Antminer S3")),
                ("Firmware", text("7")),
                ("Layout", text("S3")),
                ("State", text("ready")),
                ("StateReason", text("")),
                ("Remedy", text("")),
                ("HeldBy", text("")),
                ("ChipsPerChain", list(&[16, 16])),
                ("FrequencyMhz", Value::Real(218.75)),
                ("FilterZeroBits", Value::Natural(14)),
                ("NominalHashRateHps", Value::Real(1.7e6)),
                (
                    "HashRateHps",
                    Value::List(vec![Value::Real(1.6e6), Value::Real(1.5e6)]),
                ),
                ("TemperaturesCelsius", list(&[0, 41, 43, 0])),
                ("FansRpm", list(&[2760, 2820])),
                ("HardwareErrors", Value::Natural(2)),
                ("Hits", Value::Natural(4_928)),
                ("Works", Value::Natural(5_301)),
                ("WorksInFlight", Value::Natural(12)),
                ("Attachments", Value::Natural(1)),
                ("Slowdown", Value::Real(1.0)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }

    pub(crate) fn device() -> Device {
        Device::from_properties(&properties())
    }

    #[test]
    fn a_device_is_read_from_the_bus() {
        let device = device();
        assert_eq!(device.id, "sim-s3-0");
        assert_eq!(device.kind, Some(DeviceKind::Simulated));
        assert_eq!(device.state, DeviceState::Ready);
        assert_eq!(device.reason, None);
        assert_eq!(device.chips_per_chain, [16, 16]);
        assert_eq!(device.hash_rate_minute_hps, 1.6e6);
        assert_eq!(device.hash_rate_quarter_hps, 1.5e6);
        assert_eq!(device.fans_rpm, [2760, 2820]);
        assert_eq!(device.works, 5_301);
    }

    #[test]
    fn a_sensor_that_is_not_there_has_no_temperature() {
        let device = device();
        assert_eq!(device.temperatures().collect::<Vec<_>>(), [41.0, 43.0]);
        assert_eq!(device.hottest_celsius(), Some(43.0));
        let none = Device::from_properties(&Properties::new());
        assert_eq!(none.hottest_celsius(), None);
    }

    #[test]
    fn a_state_of_a_newer_daemon_is_unknown_not_an_error() {
        let mut properties = properties();
        properties.insert("State".to_owned(), Value::Text("dreaming".to_owned()));
        let device = Device::from_properties(&properties);
        assert_eq!(device.state, DeviceState::Unknown);
    }

    #[test]
    fn only_a_persons_pause_is_one_on_request() {
        let mut device = device();
        device.state = DeviceState::Paused;
        device.reason = Some("too hot: 80 °C".to_owned());
        assert!(!device.is_paused_on_request());
        device.reason = Some(PAUSED_ON_REQUEST.to_owned());
        assert!(device.is_paused_on_request());
    }
}
