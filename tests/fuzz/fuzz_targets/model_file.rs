//! Any bytes as a model file: no panic, bounded memory, and a model that is read
//! is written with the same bytes.
#![no_main]

use hasher_model::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes) {
        assert_eq!(model.to_bytes(), bytes);
    }
    let _ = Model::from_bytes_repairing(bytes);
});
