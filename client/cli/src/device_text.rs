//! A device in words, as `status` and `top` show it.
//!
//! Pure. A simulated device is called so, and only what is known is said.

use hasher_model::ZERO_BITS_MAX as SILICON_ZERO_BITS;
use hasher_wire::{DeviceKind, DeviceReport, DeviceState};

use crate::style::Style;
use crate::table::{grouped, metric};

/// What a device is and how it is, in one line.
pub fn heading(device: &DeviceReport, style: Style) -> String {
    let state = device.state.as_str();
    let state = if device.state == DeviceState::Ready {
        style.good(state)
    } else {
        style.bad(state)
    };
    let kind = match device.kind {
        DeviceKind::Simulated => "simulated (no hardware)",
        DeviceKind::Cpu => "this computer's CPU",
        DeviceKind::Usb => "on USB",
    };
    let mut line = format!("{kind}, {state}");
    if let Some(reason) = &device.reason {
        line.push_str(&format!(": {reason}"));
    }
    if !device.model.is_empty() {
        line.push_str(&format!(", {}", device.model));
    }
    if !device.firmware.is_empty() {
        line.push_str(&format!(", firmware {}", device.firmware));
    }
    line
}

/// What a device does: its remedy as it is, then facts of at most 80 columns a line.
pub fn facts(device: &DeviceReport) -> Vec<String> {
    let mut text = Vec::new();
    if let Some(remedy) = &device.remedy {
        text.push(format!("    hint: {remedy}"));
    }
    let mut facts = Vec::new();
    if !device.chips_per_chain.is_empty() {
        facts.push(format!("chips {}", joined(&device.chips_per_chain, "+")));
    }
    if device.frequency_mhz > 0.0 {
        facts.push(format!("clock {} MHz", device.frequency_mhz));
    }
    if device.nominal_hash_rate_hps > 0.0 {
        facts.push(format!(
            "{} in theory",
            metric(device.nominal_hash_rate_hps, "H/s")
        ));
    }
    if device.hash_rate_hps.minute > 0.0 {
        facts.push(format!(
            "{} in the last minute",
            metric(device.hash_rate_hps.minute, "H/s")
        ));
    }
    if device.filter_zero_bits > 0 {
        facts.push(format!(
            "reports from {} zero bits",
            device.filter_zero_bits
        ));
    }
    text.extend(indented(&facts));

    let mut measured = Vec::new();
    let sensors: Vec<u8> = device
        .temperatures_celsius
        .iter()
        .copied()
        .filter(|celsius| *celsius > 0)
        .collect();
    if !sensors.is_empty() {
        measured.push(format!("temperatures {} °C", joined(&sensors, " ")));
    }
    if !device.fans_rpm.is_empty() {
        measured.push(format!("fans {} rpm", joined(&device.fans_rpm, " ")));
    }
    if let Some(slowdown) = device.slowdown {
        measured.push(pace(slowdown, device.filter_zero_bits));
    }
    text.extend(indented(&measured));

    let counters = &device.counters;
    let mut counted = vec![
        format!("works {}", grouped(counters.works)),
        format!("hits {}", grouped(counters.hits)),
        format!("in flight {}", device.works_in_flight),
    ];
    // Zero is the rule for these; only the exception is news.
    for (name, count) in [
        ("filler works", counters.filler_works),
        ("hardware errors", counters.hardware_errors),
        ("stale", counters.stale),
        ("duplicates", counters.duplicates),
        ("unknown works", counters.unknown_works),
        ("lost works", counters.lost_works),
        ("dropped bytes", counters.dropped_bytes),
        ("recoveries", counters.recoveries),
    ] {
        if count > 0 {
            counted.push(format!("{name} {}", grouped(count)));
        }
    }
    text.extend(indented(&counted));
    text
}

/// Facts behind one another, broken so that a line fits a terminal.
fn indented(facts: &[String]) -> Vec<String> {
    const WIDTH: usize = 80;
    let mut text: Vec<String> = Vec::new();
    for fact in facts {
        match text.last_mut() {
            Some(line) if line.chars().count() + 2 + fact.chars().count() <= WIDTH => {
                line.push_str(", ");
                line.push_str(fact);
            }
            _ => text.push(format!("    {fact}")),
        }
    }
    text
}

/// The values with something between them.
pub fn joined<T: ToString>(values: &[T], between: &str) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(between)
}

/// How a simulated board keeps up with the ticks of a real one. Its chips' search is
/// made easier by the zero bits that it leaves out, which is said too.
fn pace(slowdown: f64, filter_zero_bits: u32) -> String {
    let easier = match SILICON_ZERO_BITS.saturating_sub(filter_zero_bits) {
        0 => "answers from a book".to_owned(),
        bits => format!("each search 2^{bits} times easier"),
    };
    format!("{slowdown:.1} times slower than a real board's ticks, {easier}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulated() -> DeviceReport {
        serde_json::from_str(
            r#"{"id":"sim-s3-0","kind":"simulated","state":"paused","reason":"too hot: 80 °C",
            "model":"Antminer S3","firmware":"","chips_per_chain":[16,16],"frequency_mhz":218.75,
            "filter_zero_bits":14,"nominal_hash_rate_hps":4.4e11,
            "temperatures_celsius":[80,0,79],"fans_rpm":[3600,0],"slowdown":1.04,
            "works_in_flight":3,"attachments":1,"counters":{"works":1234,"hits":1100,"stale":2}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_simulated_device_says_so_with_state_and_reason() {
        let device = simulated();
        let text = heading(&device, Style::plain(true)) + "\n" + &facts(&device).join("\n");
        for part in [
            "simulated (no hardware), paused: too hot: 80 °C",
            "temperatures 80 79 °C",
            "fans 3600 0 rpm",
            "1.0 times slower than a real board's ticks, each search 2^18 times easier",
            "works 1 234",
            "stale 2",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("duplicates"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn the_cpu_says_which_instructions_it_hashes_with() {
        let device = DeviceReport {
            kind: DeviceKind::Cpu,
            model: "avx512 kernel".to_owned(),
            ..simulated()
        };
        assert_eq!(
            heading(&device, Style::plain(true)),
            "this computer's CPU, paused: too hot: 80 °C, avx512 kernel"
        );
    }
}
