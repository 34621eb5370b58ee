//! Any bytes as the file of a task: an error, or examples with tokens within their
//! vocabulary.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use hasher_data::{LoadOptions, TaskName, load};
use libfuzzer_sys::fuzz_target;

/// One file of this process, in memory where that can be had.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("hasher-fuzz-{}.csv", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).expect("a file for temporary data");
    let source = FILE.to_str().expect("a sane path");
    for task in [
        TaskName::Digits,
        TaskName::Image,
        TaskName::Table,
        TaskName::Text,
        TaskName::Sequence,
    ] {
        if let Err(error) = load(task, source, &LoadOptions::default()) {
            assert!(!error.to_string().is_empty());
        }
    }
});
