//! `hasher digest --local`: the same lines as sha256sum.

mod common;

use std::fs;

use common::{assert_error, hasher, json, keys, path, run, text};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_file_a_text_bytes_and_standard_input_have_one_digest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("abc");
    fs::write(&file, "abc").unwrap();
    let line = |args: &[&str]| text(&run(&[&["digest", "--local"], args].concat()).stdout);
    assert_eq!(line(&[path(&file)]), format!("{ABC}  {}\n", file.display()));
    assert_eq!(line(&["--text", "abc"]), format!("{ABC}  -\n"));
    assert_eq!(line(&["--hex", "616263"]), format!("{ABC}  -\n"));
    let output = hasher()
        .args(["digest", "--local"])
        .write_stdin("abc")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), format!("{ABC}  -\n"));
}

#[test]
fn the_double_digest_hashes_the_digest() {
    let once = text(&run(&["digest", "--local", "--hex", ABC]).stdout);
    let twice = text(&run(&["digest", "--local", "--double", "--text", "abc"]).stdout);
    assert_eq!(once, twice);
}

#[test]
fn it_says_who_computed() {
    let output = run(&["digest", "--local", "--text", "abc"]);
    assert_eq!(text(&output.stderr), "computed by local\n");
    let output = run(&["--quiet", "digest", "--local", "--text", "abc"]);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_json_has_its_documented_keys() {
    let value = json(&["digest", "--local", "--text", "abc"]);
    assert_eq!(
        keys(&value),
        ["algorithm", "computed_by", "digests", "schema"]
    );
    assert_eq!(value["schema"], "hasher.digest/1");
    assert_eq!(value["algorithm"], "sha256");
    assert_eq!(value["digests"][0]["digest"], ABC);
    assert_eq!(value["digests"][0]["bytes"], 3);
    assert_eq!(value["computed_by"][0]["kind"], "local");
}

#[test]
fn bad_input_is_named_with_a_remedy() {
    let digest = |args: &[&str]| run(&[&["digest", "--local"], args].concat());
    assert_error(
        &digest(&["/nonexistent/x"]),
        1,
        "no such file",
        "check the name",
    );
    assert_error(&digest(&["/"]), 1, "it is a directory", "tar c");
    assert_error(
        &digest(&["--hex", "0g"]),
        2,
        "'g' at character 1",
        "two hexadecimal digits",
    );
    assert_error(
        &digest(&["--hex", "012"]),
        2,
        "odd number",
        "two hexadecimal digits",
    );
    assert_error(
        &digest(&["--text", "a", "--hex", "00"]),
        2,
        "cannot be used with",
        "hasher digest --help",
    );
}
