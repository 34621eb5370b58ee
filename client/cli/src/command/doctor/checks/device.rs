//! What the daemon says about its devices, judged.

use hasher_wire::{DeviceKind, DeviceReport, DeviceState};

use super::{Check, Verdict};

/// From here on the daemon pauses a board, in °C (docs/device.md).
const HOT_CELSIUS: u8 = 75;
/// A board this warm is near it.
const WARM_CELSIUS: u8 = 65;

/// Hash boards of an S1 and of an S3.
const CHAINS: usize = 2;

/// Works after which the yield says something: 200 of them bring 170 nonces or so, with
/// a spread of 8 %.
const YIELD_WORKS_MIN: u64 = 200;
/// Nonces a work brings at least on a healthy board. In silicon it is 0.83 on an S1 and
/// 0.92 on an S3 (docs/simulator.md); half of the chips dead gives half of that.
const YIELD_MIN: f64 = 0.6;
/// Share of wrong nonces that is too much. Miners count up to a few in a hundred as
/// normal (inferred).
const ERROR_SHARE_MAX: f64 = 0.05;

/// Where the device is in its life.
pub(super) fn device_state(device: &DeviceReport) -> Check {
    let verdict = match device.state {
        DeviceState::Ready => Verdict::Ok,
        DeviceState::Claiming
        | DeviceState::Starting
        | DeviceState::Stopping
        | DeviceState::Unknown => Verdict::Note,
        DeviceState::Absent if device.kind == DeviceKind::Usb => Verdict::Note,
        DeviceState::Paused => Verdict::Warning,
        DeviceState::Absent
        | DeviceState::Busy
        | DeviceState::Denied
        | DeviceState::Refused
        | DeviceState::Waiting => Verdict::Bad,
    };
    let mut text = device.state.as_str().to_owned();
    if let Some(reason) = &device.reason {
        text.push_str(&format!(": {reason}"));
    }
    if device.state == DeviceState::Ready {
        if device.kind == DeviceKind::Simulated {
            text.push_str(", simulated");
        }
        text.push_str(&format!(", {}", device.model));
        if !device.firmware.is_empty() {
            text.push_str(&format!(", firmware {}", device.firmware));
        }
        if !device.layout.is_empty() {
            text.push_str(&format!(", {} layout", device.layout));
        }
    }
    Check {
        remedy: device.remedy.clone(),
        ..Check::new(&device.id, verdict, text)
    }
}

/// Whether every hash board of a board that speaks a known layout is there.
fn chips(device: &DeviceReport) -> Option<Check> {
    if device.state != DeviceState::Ready || device.layout.is_empty() {
        return None;
    }
    let chains = &device.chips_per_chain;
    let counts: Vec<_> = chains.iter().map(ToString::to_string).collect();
    let name = format!("{} chips", device.id);
    let text = format!("{} on its chains", counts.join(" and "));
    Some(if chains.len() < CHAINS || chains.contains(&0) {
        Check::new(name, Verdict::Warning, text)
            .remedy("a hash board has no power, or its cable is loose")
    } else {
        Check::new(name, Verdict::Ok, text)
    })
}

/// What a device measures about itself, as far as it says.
pub(super) fn measured(device: &DeviceReport) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(chips(device));
    let sensors = device.temperatures_celsius.iter().copied();
    if let Some(hottest) = sensors.filter(|celsius| *celsius > 0).max() {
        let verdict = match hottest {
            HOT_CELSIUS.. => Verdict::Bad,
            WARM_CELSIUS.. => Verdict::Warning,
            _ => Verdict::Ok,
        };
        let name = format!("{} heat", device.id);
        let check = Check::new(name, verdict, format!("hottest sensor {hottest} °C"));
        checks.push(if verdict == Verdict::Ok {
            check
        } else {
            check.remedy("give it air; the daemon pauses a board at 75 °C")
        });
    }
    if device.state == DeviceState::Ready && device.fans_rpm.contains(&0) {
        let name = format!("{} fan", device.id);
        checks.push(Check::new(name, Verdict::Note, "a fan reads 0 rpm"));
    }
    let counters = &device.counters;
    let yielded = counters.hits as f64 / counters.works.max(1) as f64;
    if device.kind != DeviceKind::Cpu && counters.works >= YIELD_WORKS_MIN {
        let name = format!("{} hash rate", device.id);
        let text =
            format!("{yielded:.2} nonces a work; silicon brings 0.83 on an S1, 0.92 on an S3");
        checks.push(if yielded < YIELD_MIN {
            Check::new(name, Verdict::Warning, text)
                .remedy("chips or a chain may be dead; see the chips in `hasher status`")
        } else {
            Check::new(name, Verdict::Ok, text)
        });
    }
    let judged = counters.hits + counters.hardware_errors;
    let share = counters.hardware_errors as f64 / judged.max(1) as f64;
    if counters.works >= YIELD_WORKS_MIN && share > ERROR_SHARE_MAX {
        let name = format!("{} errors", device.id);
        let text = format!("{:.0} % of its nonces are wrong", share * 100.0);
        checks.push(
            Check::new(name, Verdict::Warning, text).remedy("a lower clock may help: `s3-mhz=`"),
        );
    }
    checks
}
