//! Named arrays in safetensors files, read and written.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

/// A named array of real numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// Length of each dimension, the slowest first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<f32>,
}

/// Arrays with the texts that a file says about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors {
    /// The arrays, sorted by name.
    pub tensors: Vec<Tensor>,
    /// Texts by key.
    pub metadata: HashMap<String, String>,
}

impl Tensors {
    /// The array of this name.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Reads the bytes of a safetensors file with numbers of 32 or 64 bits.
    ///
    /// # Errors
    /// What is wrong, as a sentence without its file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let wrong =
            |error: safetensors::SafeTensorError| format!("not a usable safetensors file: {error}");
        let (_, head) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        let file = SafeTensors::deserialize(bytes).map_err(wrong)?;
        let mut tensors = Vec::with_capacity(file.len());
        for (name, view) in file.iter() {
            let values = match view.dtype() {
                Dtype::F32 => {
                    let words = view.data().as_chunks::<4>().0;
                    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
                }
                Dtype::F64 => {
                    let words = view.data().as_chunks::<8>().0;
                    words
                        .iter()
                        .map(|word| f64::from_le_bytes(*word) as f32)
                        .collect()
                }
                other => {
                    return Err(format!(
                        "tensor \"{name}\" is of type {other:?}, only F32 and F64 are read"
                    ));
                }
            };
            tensors.push(Tensor {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                values,
            });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            tensors,
            metadata: head.metadata().clone().unwrap_or_default(),
        })
    }

    /// The bytes of a safetensors file of 32-bit numbers.
    ///
    /// # Errors
    /// When a shape does not fit its values, and when there is no array: the format's
    /// library writes such a file so that nobody can read it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        if self.tensors.is_empty() {
            return Err("there is no array to write".to_owned());
        }
        let data: Vec<Vec<u8>> = self
            .tensors
            .iter()
            .map(|tensor| tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let mut views = Vec::with_capacity(data.len());
        for (tensor, bytes) in self.tensors.iter().zip(&data) {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)
                .map_err(|error| format!("tensor \"{}\": {error}", tensor.name))?;
            views.push((tensor.name.as_str(), view));
        }
        serialize(views, Some(self.metadata.clone())).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let tensors = Tensors {
            tensors: vec![
                Tensor {
                    name: "a".to_owned(),
                    shape: vec![2, 1],
                    values: vec![1.5, -2.0],
                },
                Tensor {
                    name: "b".to_owned(),
                    shape: vec![1],
                    values: vec![0.0],
                },
            ],
            metadata: [("k".to_owned(), "v".to_owned())].into(),
        };
        let bytes = tensors.to_bytes().unwrap();
        assert_eq!(Tensors::parse(&bytes).unwrap(), tensors);
        assert!(
            Tensors::parse(&bytes[..bytes.len() - 1])
                .unwrap_err()
                .contains("not a usable")
        );
        assert!(Tensors::default().to_bytes().is_err());
        let mut wrong = tensors;
        wrong.tensors[0].shape = vec![3];
        assert!(wrong.to_bytes().unwrap_err().contains("tensor \"a\""));
    }
}
