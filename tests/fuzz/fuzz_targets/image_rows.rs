//! Any text as rows of images with and without labels: an error or in-range pixels.
#![no_main]

use hasher_train::data::{Labels, parse_rows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for labels in [Labels::Required, Labels::Optional] {
        if let Ok(rows) = parse_rows(text, labels) {
            assert!(rows.iter().all(|row| row.pixels.iter().all(|pixel| *pixel <= 16)));
        }
    }
});
