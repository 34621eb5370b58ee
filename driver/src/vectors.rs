//! Reads the recorded vectors of the protocol for the tests of this crate.

use hasher_work::from_hex;
use serde_json::Value;

/// `bitmain-vectors.json`, the authority on every byte of the wire.
pub fn vectors() -> Value {
    let text = include_str!("../../tests/fixtures/bitmain-vectors.json");
    serde_json::from_str(text).expect("the fixture is JSON")
}

/// The bytes of a hexadecimal field.
pub fn bytes(value: &Value) -> Vec<u8> {
    from_hex(value.as_str().expect("a hexadecimal text")).expect("hexadecimal")
}

/// The number in a hexadecimal field, most significant digit first.
pub fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().expect("a hexadecimal text"), 16).expect("hexadecimal")
}
