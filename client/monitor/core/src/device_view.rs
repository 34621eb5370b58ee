//! One device in words: what the window shows and offers.
//!
//! Owns every sentence about a device. The window only places them.

use hasher_client::{DeviceKind, DeviceState};

use crate::{Device, text};

/// How serious a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Neither good nor bad; it passes, or somebody wants it so.
    Calm,
    /// Somebody should look at it.
    Warning,
    /// It will not get better by itself.
    Bad,
}

/// What a person can ask of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// No new works until somebody resumes it.
    Pause,
    /// Takes works again.
    Resume,
}

impl Action {
    /// The word on the button.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
        }
    }

    /// The method of the device on the bus.
    pub const fn method(self) -> &'static str {
        self.label()
    }
}

/// Why a device is not ready, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub text: String,
    /// What a person can do about it.
    pub remedy: Option<String>,
}

/// One line of a list of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub label: &'static str,
    /// What there is to say.
    pub value: String,
}

impl Fact {
    pub(crate) fn new(label: &'static str, value: impl Into<String>) -> Self {
        Self {
            label,
            value: value.into(),
        }
    }
}

/// A device as the window shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Model, or what is known instead.
    pub title: String,
    /// Name and nature.
    pub subtitle: String,
    /// The most telling number, for the list; empty when there is none.
    pub reading: String,
    /// Its state in a word or two.
    pub state: &'static str,
    /// How serious that is.
    pub tone: Tone,
    /// Why it is not ready.
    pub notice: Option<Notice>,
    /// What a person can ask of it now.
    pub action: Option<Action>,
    /// Everything else that is known.
    pub facts: Vec<Fact>,
}

impl DeviceView {
    /// The words for a device.
    pub fn new(device: &Device) -> Self {
        Self {
            title: title(device),
            subtitle: format!("{} · {}", device.id, nature(device.kind)),
            reading: reading(device),
            state: state(device.state),
            tone: tone(device),
            notice: notice(device),
            action: action(device),
            facts: facts(device),
        }
    }
}

fn title(device: &Device) -> String {
    if !device.model.is_empty() {
        return device.model.clone();
    }
    match device.kind {
        Some(DeviceKind::Cpu) => "CPU".to_owned(),
        _ => "Unknown board".to_owned(),
    }
}

const fn nature(kind: Option<DeviceKind>) -> &'static str {
    match kind {
        Some(DeviceKind::Usb) => "on USB",
        Some(DeviceKind::Simulated) => "simulated",
        Some(DeviceKind::Cpu) => "the daemon's CPU",
        None => "of an unknown kind",
    }
}

fn reading(device: &Device) -> String {
    if device.state != DeviceState::Ready {
        return String::new();
    }
    let rate = text::hash_rate(device.hash_rate_minute_hps);
    match device.hottest_celsius() {
        Some(celsius) => format!("{rate} · {celsius:.0} °C"),
        None => rate,
    }
}

const fn state(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Absent => "Unplugged",
        DeviceState::Claiming => "Opening",
        DeviceState::Busy => "In use elsewhere",
        DeviceState::Denied => "Not permitted",
        DeviceState::Refused => "Not understood",
        DeviceState::Waiting => "Failed, will retry",
        DeviceState::Starting => "Starting",
        DeviceState::Ready => "Ready",
        DeviceState::Paused => "Paused",
        DeviceState::Stopping => "Stopping",
        DeviceState::Unknown => "Unknown state",
    }
}

fn tone(device: &Device) -> Tone {
    match device.state {
        DeviceState::Ready => Tone::Good,
        DeviceState::Paused if device.is_paused_on_request() => Tone::Calm,
        DeviceState::Paused | DeviceState::Busy | DeviceState::Waiting => Tone::Warning,
        DeviceState::Denied | DeviceState::Refused => Tone::Bad,
        DeviceState::Absent
        | DeviceState::Claiming
        | DeviceState::Starting
        | DeviceState::Stopping
        | DeviceState::Unknown => Tone::Calm,
    }
}

fn notice(device: &Device) -> Option<Notice> {
    let reason = device.reason.as_deref().map(text::capitalised);
    let holder = device
        .held_by
        .as_deref()
        .map(|holder| format!("Held by {holder}"));
    let text = match (reason, holder) {
        (Some(reason), _) => reason,
        (None, Some(holder)) => holder,
        (None, None) => return None,
    };
    let remedy = match &device.remedy {
        Some(remedy) => Some(text::capitalised(remedy)),
        None if device.is_paused_on_request() => {
            Some("It takes no work until you resume it, even after a replug".to_owned())
        }
        None => None,
    };
    Some(Notice { text, remedy })
}

fn action(device: &Device) -> Option<Action> {
    match device.state {
        DeviceState::Ready | DeviceState::Starting | DeviceState::Claiming => Some(Action::Pause),
        DeviceState::Paused if device.is_paused_on_request() => Some(Action::Resume),
        _ => None,
    }
}

fn facts(device: &Device) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut tell = |label, value: Option<String>| {
        facts.extend(value.map(|value| Fact::new(label, value)));
    };
    tell("Searches with", hardware(device));
    tell("Clock", positive(device.frequency_mhz).map(megahertz));
    tell("Fans", fans(device));
    tell("Last quarter hour", quarter_hour(device));
    tell("Works", Some(works(device)));
    tell("Nonces", Some(nonces(device)));
    tell("Filter", filter(device));
    tell("Simulation", pace(device));
    tell("Firmware", firmware(device));
    tell("Opened", opened(device));
    facts
}

fn hardware(device: &Device) -> Option<String> {
    let chains = device.chips_per_chain.len() as u64;
    let chips: u64 = device.chips_per_chain.iter().sum();
    let chips = format!(
        "{} on {}",
        text::counted(chips, "chip", "chips"),
        text::counted(chains, "chain", "chains")
    );
    match device.kind {
        Some(DeviceKind::Cpu) => Some("The daemon's CPU".to_owned()),
        Some(DeviceKind::Simulated) if chains > 0 => Some(format!("The daemon's CPU, as {chips}")),
        _ if chains > 0 => Some(chips),
        _ => None,
    }
}

fn megahertz(mhz: f64) -> String {
    format!("{mhz} MHz")
}

fn fans(device: &Device) -> Option<String> {
    let speeds: Vec<String> = device
        .fans_rpm
        .iter()
        .map(|rpm| text::grouped(*rpm))
        .collect();
    (!speeds.is_empty()).then(|| format!("{} rpm", text::listed(&speeds)))
}

fn quarter_hour(device: &Device) -> Option<String> {
    let rate = positive(device.hash_rate_quarter_hps)?;
    Some(format!("{} on average", text::hash_rate(rate)))
}

fn works(device: &Device) -> String {
    format!(
        "{} given, {} on the device now",
        text::grouped(device.works),
        text::grouped(u64::from(device.works_in_flight))
    )
}

fn nonces(device: &Device) -> String {
    let found = format!("{} found", text::grouped(device.hits));
    let reported = device.hits + device.hardware_errors;
    if reported == 0 {
        return found;
    }
    let wrong = device.hardware_errors as f64 / reported as f64;
    match device.hardware_errors {
        0 => format!("{found}, none wrong"),
        errors => format!(
            "{found}, {} wrong ({})",
            text::grouped(errors),
            text::percent(wrong)
        ),
    }
}

fn filter(device: &Device) -> Option<String> {
    let bits = device.filter_zero_bits;
    (bits > 0).then(|| format!("Reports nonces with {bits} zero bits or more"))
}

fn pace(device: &Device) -> Option<String> {
    let slowdown = positive(device.slowdown)?;
    Some(if slowdown < 1.05 {
        "Keeps up with its clock".to_owned()
    } else {
        format!("{slowdown:.1} times slower than its clock")
    })
}

fn firmware(device: &Device) -> Option<String> {
    match (device.firmware.as_str(), device.layout.as_str()) {
        ("", "") => None,
        (version, "") => Some(version.to_owned()),
        ("", layout) => Some(format!("Packets as an {layout}")),
        (version, layout) => Some(format!("{version}, packets as an {layout}")),
    }
}

fn opened(device: &Device) -> Option<String> {
    match device.attachments {
        0 => None,
        1 => Some("Once since the daemon started".to_owned()),
        times => Some(format!("{times} times since the daemon started")),
    }
}

fn positive(number: f64) -> Option<f64> {
    (number > 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::PAUSED_ON_REQUEST;
    use crate::device::tests::device;

    fn fact(view: &DeviceView, label: &str) -> Option<String> {
        let found = view.facts.iter().find(|fact| fact.label == label);
        found.map(|fact| fact.value.clone())
    }

    #[test]
    fn a_simulated_device_is_always_called_simulated() {
        let view = DeviceView::new(&device());
        assert_eq!(view.title, "Antminer S3");
        assert_eq!(view.subtitle, "sim-s3-0 · simulated");
        let with = fact(&view, "Searches with").unwrap();
        assert_eq!(with, "The daemon's CPU, as 32 chips on 2 chains");
    }

    #[test]
    fn a_ready_device_can_be_paused_and_shows_its_readings() {
        let view = DeviceView::new(&device());
        assert_eq!(view.action, Some(Action::Pause));
        assert_eq!(view.tone, Tone::Good);
        assert_eq!(view.reading, "1.60 MH/s · 43 °C");
        assert_eq!(view.notice, None);
        assert_eq!(
            fact(&view, "Nonces").unwrap(),
            "4\u{202f}928 found, 2 wrong (0.04 %)"
        );
        assert_eq!(
            fact(&view, "Fans").unwrap(),
            "2\u{202f}760 and 2\u{202f}820 rpm"
        );
    }

    #[test]
    fn a_pause_by_a_person_is_calm_and_can_be_ended_here() {
        let mut device = device();
        device.state = DeviceState::Paused;
        device.reason = Some(PAUSED_ON_REQUEST.to_owned());
        let view = DeviceView::new(&device);
        assert_eq!((view.action, view.tone), (Some(Action::Resume), Tone::Calm));
        assert_eq!(view.reading, "");
        assert!(view.notice.unwrap().remedy.unwrap().contains("resume"));
    }

    #[test]
    fn a_pause_by_heat_warns_and_nobody_can_wave_it_away() {
        let mut device = device();
        device.state = DeviceState::Paused;
        device.reason = Some("too hot: 81 °C".to_owned());
        device.remedy = Some("check the fans".to_owned());
        let view = DeviceView::new(&device);
        assert_eq!((view.action, view.tone), (None, Tone::Warning));
        let notice = view.notice.unwrap();
        assert_eq!(notice.text, "Too hot: 81 °C");
        assert_eq!(notice.remedy.as_deref(), Some("Check the fans"));
    }

    #[test]
    fn a_busy_device_names_its_holder() {
        let mut device = device();
        device.state = DeviceState::Busy;
        device.held_by = Some("kernel driver \"bitmain\"".to_owned());
        let notice = DeviceView::new(&device).notice.unwrap();
        assert_eq!(notice.text, "Held by kernel driver \"bitmain\"");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        let view = DeviceView::new(&Device::from_properties(&crate::Properties::new()));
        assert_eq!(view.title, "Unknown board");
        let labels: Vec<_> = view.facts.iter().map(|fact| fact.label).collect();
        assert_eq!(labels, ["Works", "Nonces"]);
    }
}
