//! Ctrl-C during training.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Trained, assert_error, hasher, path};

/// Longest wait for the first checkpoint of a run that does nothing else.
const FIRST_CHECKPOINT_MAX: Duration = Duration::from_secs(60);

#[test]
fn ctrl_c_saves_a_checkpoint_and_says_how_to_go_on() {
    let trained = Trained::new();
    let (out, checkpoint) = (trained.file("long.hsh"), trained.file("long.ckpt"));
    let child = Command::new(hasher().get_program())
        .args(["train", "--steps", "1000000", "--checkpoint-every", "1"])
        .args(["--data", path(&trained.data), "--out", path(&out)])
        .args(["--checkpoint", path(&checkpoint)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !checkpoint.exists() {
        assert!(begin.elapsed() < FIRST_CHECKPOINT_MAX, "no checkpoint came");
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_error(&output, 130, "interrupted at step ", "--resume");
    assert!(fs::read(&checkpoint).unwrap().starts_with(b"HSHC"));
    assert!(!out.exists());
}
