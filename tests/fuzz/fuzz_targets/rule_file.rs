//! Any text as a rule file: an error, or rules that judge any answer.
#![no_main]

use hasher_rules::{Answer, RuleSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(rules) = RuleSet::parse(text) {
        let class = rules.classes().first().map_or("3", String::as_str);
        rules.judge(&Answer::of(class));
    }
});
