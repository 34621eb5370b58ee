//! Shared by the tests of the command line: the program, and what every error
//! must look like.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "only tests call these functions")]

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// `hasher` without the tester's own daemon, colours or settings.
pub fn hasher() -> Command {
    let mut command = assert_cmd::cargo::cargo_bin_cmd!("hasher");
    command
        .env_remove("HASHER_SOCKET")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("COLUMNS")
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Runs `hasher` with these arguments.
pub fn run(args: &[&str]) -> Output {
    hasher().args(args).output().unwrap()
}

/// The one JSON object of a successful run.
pub fn json(args: &[&str]) -> Value {
    let output = run(&[&["--json"], args].concat());
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value.is_object());
    value
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Checks the two lines that every failure has: what, and the remedy.
#[track_caller]
pub fn assert_error(output: &Output, code: i32, what: &str, remedy: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(text(&output.stdout), "", "a failure answers nothing");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "one line and its hint: {error}");
    assert!(lines[0].starts_with("error: "), "{error}");
    assert!(lines[1].starts_with("  hint: "), "{error}");
    assert!(lines[0].contains(what), "`{what}` is missing: {error}");
    assert!(lines[1].contains(remedy), "`{remedy}` is missing: {error}");
    assert!(!error.contains("os error"), "{error}");
    assert!(!error.contains("panicked"), "{error}");
}

/// All keys of an object, sorted.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// A folder with a small trained model in it: 20 steps on 40 rows, so it answers
/// badly but in the right shape.
pub struct Trained {
    /// Removed when dropped.
    pub directory: tempfile::TempDir,
    /// The model file.
    pub model: PathBuf,
    /// What it was trained on.
    pub data: PathBuf,
}

/// Pixels of a crude vertical stroke, brighter with `level` (0 to 16).
pub fn stroke(level: u8) -> String {
    let pixels: Vec<String> = (0..64u8)
        .map(|at| if matches!(at % 8, 3 | 4) { level } else { 0 }.to_string())
        .collect();
    pixels.join(",")
}

impl Trained {
    /// Trains it.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data.csv");
        let rows: String = (0..40u8)
            .map(|i| format!("{},{}\n", stroke(i % 10 + 5), i % 10))
            .collect();
        std::fs::write(&data, rows).unwrap();
        let trained = Self {
            model: directory.path().join("model.hsh"),
            data,
            directory,
        };
        let output = trained.train(&trained.model, &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        trained
    }

    /// Trains another model on the same rows, with further options.
    pub fn train(&self, out: &Path, more: &[&str]) -> Output {
        let fixed = ["train", "--data", path(&self.data), "--out", path(out)];
        let steps: &[&str] = match more.contains(&"--resume") {
            true => &[],
            false => &["--steps", "20"],
        };
        run(&[&fixed, steps, more].concat())
    }

    /// Writes a file into the folder; its path as an argument.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let file = self.file(name);
        std::fs::write(&file, contents).unwrap();
        path(&file).to_owned()
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
