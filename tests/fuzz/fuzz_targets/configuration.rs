//! Any text as a configuration: what is refused is refused with reasons, and what holds
//! says the same when its report is written as a file and read again.
#![no_main]

use std::path::Path;

use hasher_daemon::config::{Accounts, ConfigSource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let accounts = Accounts::parse("alice:x:1000:1000\n", "ops:x:27:alice\n");
    let source = ConfigSource::default();
    match source.check(Some(Path::new("hasherd.toml")), text, &accounts) {
        Err(error) => assert!(!error.lines().is_empty()),
        Ok(config) => {
            let report = config.report();
            // A value that is longer than the report shows is cut there.
            if report.settings.iter().any(|setting| setting.value.len() > 1024) {
                return;
            }
            let written: String = report
                .settings
                .iter()
                .map(|setting| format!("{} = {}\n", setting.key, setting.value))
                .collect();
            let again = source
                .check(None, &written, &accounts)
                .unwrap_or_else(|error| panic!("{written}: {:?}", error.lines()));
            let values = |config: &hasher_daemon::config::Config| {
                let settings = config.report().settings.into_iter();
                settings.map(|setting| (setting.key, setting.value)).collect::<Vec<_>>()
            };
            assert_eq!(values(&again), values(&config), "{written}");
        }
    }
});
