//! What commands say that a real daemon answers, word for word; the other outputs are
//! held in `client/cli/tests/golden`, with a daemon that needs no time.
//!
//! `INSTA_UPDATE=always cargo test` takes over what has changed on purpose; look at the
//! difference before it is committed.

use std::path::Path;
use std::process::{Command, Output};

use hasher_tests::{Daemon, GENESIS, program};
use tempfile::TempDir;

/// What differs from run to run: times, rates, and the place of temporary files.
const MEASURED: [(&str, &str); 3] = [
    (r"\d[\d ]*(\.\d+)? (ms|s|min)\b", "[TIME]"),
    (r"\d+(\.\d+)? [kMG]?H/s", "[RATE]"),
    (
        r#"("[a-z_]*(seconds|hps|ms)"): [0-9.e+-]+"#,
        "$1: [MEASURED]",
    ),
];

/// What differs beside that where a question is new each time or the nonces that answer
/// it are: identities, probabilities, all figures.
const ANSWERED: [(&str, &str); 4] = [
    (r"[0-9a-f]{32,}", "#"),
    (r"█*·+|█{20,}", "[BAR]"),
    (r" *\d[\d .]*", " # "),
    (r"is\s+#", "is #"),
];

/// How a run ended and what it said on both streams.
fn told(arguments: &[&str], output: &Output, folder: &Path) -> String {
    let code = output.status.code().expect("it ends by itself");
    let mut told = format!("$ hasher {}\n[exit {code}]\n", arguments.join(" "));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            told += &format!("--- {name}\n{}", String::from_utf8_lossy(bytes));
        }
    }
    told.replace(&*folder.to_string_lossy(), "[DIR]")
}

fn hasher(arguments: &[&str], daemon: Option<&Daemon>) -> Output {
    let mut command = Command::new(program("hasher"));
    if let Some(daemon) = daemon {
        command.env("HASHER_SOCKET", daemon.socket());
    }
    let command = command.args(arguments).env("LC_ALL", "C.UTF-8");
    let command = command.env("NO_COLOR", "1").env_remove("COLUMNS");
    command.output().expect("hasher can be started")
}

#[test]
fn what_the_cpu_device_answers() {
    let daemon = Daemon::start(&["cpu"]);
    let folder = TempDir::new().expect("a folder for temporary files");
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (model, data, receipt) = (file("model.hsh"), file("data.csv"), file("answer.hrc"));
    let rows: String = (0..20)
        .map(|i| format!("{}{}\n", "8,".repeat(64), i % 10))
        .collect();
    std::fs::write(&data, rows).expect("the folder can be written");
    let train = ["train", "--steps", "5", "--data", &data, "--out", &model];
    assert!(hasher(&train, None).status.success());
    let nonce = "000102030405060708090a0b0c0d0e0f";
    let range = ["search", "--header", GENESIS, "--nonce-range"];
    let predict = [
        "predict", "--model", &model, "--index", "3", "--passes", "3", "--mode", "work",
    ];
    let predict = [&predict[..], &["--zero-bits", "10", "--nonce", nonce]].concat();
    let search = [&range[..], &["0x7c2b0000..0x7c2bffff"]].concat();
    let nothing = [&range[..], &["0..1000"]].concat();
    let verify = ["verify", &receipt, "--model", &model];
    let receipt = ["--receipt", &receipt, "--force"];
    for (name, arguments, varying) in [
        ("search", &search[..], &[][..]),
        ("search_without_a_hit", &nothing, &[]),
        ("digest_of_the_daemon", &["digest", "--text", "abc"], &[]),
        (
            "predict_by_work",
            &[&predict[..], &receipt].concat(),
            &ANSWERED,
        ),
        ("verify_work", &verify, &ANSWERED),
    ] {
        for (ending, format) in [("", &[][..]), ("_json", &["--json"])] {
            let arguments = [format, arguments].concat();
            let output = hasher(&arguments, Some(&daemon));
            insta::with_settings!({filters => [&MEASURED[..], varying].concat()}, {
                let told = told(&arguments, &output, folder.path());
                insta::assert_snapshot!(format!("{name}{ending}"), told);
            });
        }
    }
}

#[test]
fn the_words_of_the_demo() {
    let folder = TempDir::new().expect("a folder for temporary files");
    let out = folder.path().join("demo").to_string_lossy().into_owned();
    let demo = ["demo", "--steps", "20", "--passes", "3", "--out", &out];
    let output = hasher(&demo, None);
    insta::with_settings!({filters => [&MEASURED[..], &ANSWERED].concat()}, {
        insta::assert_snapshot!(told(&demo, &output, folder.path()));
    });
}
