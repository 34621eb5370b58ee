//! Any text as a device specification: whatever parses says the same when it is
//! written and read again.
#![no_main]

use hasher_driver::DeviceSpec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(spec) = text.parse::<DeviceSpec>() {
        let written = spec.to_string();
        let again: DeviceSpec = written.parse().expect("a written text is readable");
        assert_eq!(again, spec, "{written}");
    }
});
