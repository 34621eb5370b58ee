//! Any bytes as a training checkpoint of the digits: an error or a trainer, never a
//! panic or unbounded memory.
#![no_main]

use std::sync::LazyLock;

use hasher_train::Trainer;
use hasher_train::data::{Dataset, digits};
use libfuzzer_sys::fuzz_target;

static DIGITS: LazyLock<Dataset> = LazyLock::new(digits);

fuzz_target!(|bytes: &[u8]| {
    let _ = Trainer::resume(bytes, &DIGITS);
});
