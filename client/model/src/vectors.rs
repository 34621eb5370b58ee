//! Access to the published vectors of the model, for tests only.

use hasher_work::from_hex;
use serde_json::Value;

use crate::Seed;

pub fn load() -> Value {
    let text = include_str!("../../../tests/fixtures/hash-transformer-vectors.json");
    serde_json::from_str(text).expect("the fixture is JSON")
}

pub fn bytes(value: &Value) -> Vec<u8> {
    from_hex(value.as_str().expect("a hexadecimal text")).expect("hexadecimal digits")
}

pub fn bytes_of<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the length asked for")
}

pub fn seed(value: &Value) -> Seed {
    Seed(bytes_of(value))
}

/// All numbers of an array of any depth, in order.
pub fn ints<T: TryFrom<i64>>(value: &Value) -> Vec<T>
where
    T::Error: std::fmt::Debug,
{
    match value {
        Value::Array(items) => items.iter().flat_map(ints).collect(),
        other => vec![T::try_from(other.as_i64().expect("an integer")).expect("in range")],
    }
}

/// A published model: manifest and seeds of its entry.
pub fn model(entry: &Value) -> crate::Model {
    crate::Model::from_bytes(&model_bytes(entry)).expect("a published model is right")
}

pub fn model_bytes(entry: &Value) -> Vec<u8> {
    let seeds = entry["seeds"].as_array().expect("a list of seeds");
    std::iter::once(&entry["manifest"])
        .chain(seeds)
        .flat_map(bytes)
        .collect()
}
