//! Who computed an answer, as JSON and as words.

use hasher_client::ComputedBy;
use serde::Serialize;

/// One computer of an answer, as JSON names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Computer {
    /// The device's name; `local` for this process.
    pub device: String,
    /// `usb`, `simulated` or `cpu`; `local` for this process.
    pub kind: &'static str,
}

impl From<&ComputedBy> for Computer {
    fn from(by: &ComputedBy) -> Self {
        Self {
            device: by.device.clone(),
            kind: by.kind.as_str(),
        }
    }
}

/// All of them in words, such as `sim-s3-0 (simulated)`.
pub fn who(by: &[ComputedBy]) -> String {
    if by.is_empty() {
        return "no device".to_owned();
    }
    let names: Vec<String> = by.iter().map(ToString::to_string).collect();
    names.join(", ")
}
