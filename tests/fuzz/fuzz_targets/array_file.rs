//! Any bytes as an NPY or a safetensors file: an error, or as many numbers as the shape
//! says, which come back from what is written of them.
#![no_main]

use hasher_data::{Tensors, npy_bytes, parse_npy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(array) = parse_npy(bytes) {
        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
        let values: Vec<f32> = array.values.iter().map(|value| *value as f32).collect();
        let again = parse_npy(&npy_bytes(&array.shape, &values)).expect("what we write");
        assert_eq!(again.shape, array.shape);
    }
    if let Ok(tensors) = Tensors::parse(bytes) {
        for tensor in &tensors.tensors {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
        }
        if !tensors.tensors.is_empty() {
            let written = tensors.to_bytes().expect("shapes that fit");
            let again = Tensors::parse(&written).expect("what we write");
            assert_eq!(again.tensors.len(), tensors.tensors.len());
        }
    }
});
