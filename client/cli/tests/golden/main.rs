//! Every output, word for word, against what was looked at once.
//!
//! The daemon is a fake one that speaks the real protocol, so that nothing depends on
//! time, ports or the machine. `INSTA_UPDATE=always cargo test` takes over what has
//! changed on purpose; look at the difference before it is committed.

#[path = "../common/mod.rs"]
mod common;
mod fake_daemon;

use std::path::Path;

use common::{Trained, hasher, path, text};
use fake_daemon::{FakeDaemon, Script};
use hasher_wire::{DeviceState, EventBody};

/// What a run said on both streams and how it ended, without what changes from run to
/// run: the socket's folder, the version, the time.
fn run(arguments: &[&str], daemon: Option<&FakeDaemon>) -> String {
    run_in(Path::new("."), arguments, daemon)
}

/// The same in a folder.
fn run_in(folder: &Path, arguments: &[&str], daemon: Option<&FakeDaemon>) -> String {
    let mut command = hasher();
    command.current_dir(folder);
    let mut secret = String::from("/nonexistent");
    if let Some(daemon) = daemon {
        secret = path(daemon.directory()).to_owned();
        command.env("HASHER_SOCKET", daemon.socket());
    }
    let output = command.args(arguments).output();
    let output = output.expect("hasher can be started");
    let code = output.status.code().expect("hasher ends by itself");
    let mut told = format!("$ hasher {}\n[exit {code}]\n", arguments.join(" "));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            told.push_str(&format!("--- {name}\n{}", text(bytes)));
        }
    }
    let told = told
        .replace(&secret, "[DIR]")
        .replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    told.lines().map(without_time).collect()
}

/// A line without the moment in it, as in `2026-01-02T03:04:05.678Z`.
fn without_time(line: &str) -> String {
    const LENGTH: usize = 24;
    let is_time = |text: &&str| {
        text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            23 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
    };
    let starts = (0..line.len()).filter_map(|at| line.get(at..at + LENGTH));
    match starts.filter(is_time).map(str::to_owned).next() {
        Some(time) => line.replace(&time, "[TIME]") + "\n",
        None => line.to_owned() + "\n",
    }
}

/// Checks text and JSON of a command.
fn check(name: &str, arguments: &[&str], daemon: Option<&FakeDaemon>) {
    insta::assert_snapshot!(name, run(arguments, daemon));
    let json = run(&[&["--json"], arguments].concat(), daemon);
    insta::assert_snapshot!(format!("{name}_json"), json);
}

/// What differs from run to run and from machine to machine: how long it took, and on
/// what.
const MEASURED: [(&str, &str); 4] = [
    (r"\d+(\.\d+)? (ms|s|min)\b", "[TIME]"),
    (
        r#""([a-z_]*seconds|machine)": ("[^\n"]+"|[0-9.e-]+)"#,
        r#""$1": "[MEASURED]""#,
    ),
    (r" on \d+ × [^\n]+ build\.", " on [MACHINE]."),
    (
        r"\| \d+\.\d \| \d+ \| (\d+) \|\n",
        "| [TIME] | [TIME] | $1 |\n",
    ),
];

/// Checks text and JSON of a command about files in a folder, in that folder.
fn check_files(name: &str, arguments: &[&str], folder: &Path) {
    insta::with_settings!({filters => MEASURED.to_vec()}, {
        let told = |arguments: &[&str]| run_in(folder, arguments, None);
        insta::assert_snapshot!(name, told(arguments));
        let json = told(&[&["--json"], arguments].concat());
        insta::assert_snapshot!(format!("{name}_json"), json);
    });
}

/// Every command and its own commands, as words of the command line.
fn commands(command: &clap::Command, before: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![before.to_vec()];
    for command in command.get_subcommands() {
        if command.get_name() != "help" {
            let words = [before, &[command.get_name().to_owned()]].concat();
            all.extend(commands(command, &words));
        }
    }
    all
}

#[test]
fn help_of_every_command() {
    for words in commands(&hasher_cli::command(), &[]) {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let told = run(&arguments, None);
        assert!(
            told.lines().all(|line| line.chars().count() <= 80),
            "{told}"
        );
        let name = [&["help".to_owned()], &words[..]].concat().join("_");
        insta::assert_snapshot!(name, told);
    }
}

#[test]
fn what_reads_the_status() {
    let several = FakeDaemon::start(Script::several());
    let empty = FakeDaemon::start(Script::empty());
    for command in ["status", "devices", "sessions", "metrics"] {
        check(command, &[command], Some(&several));
        check(&format!("{command}_empty"), &[command], Some(&empty));
    }
}

#[test]
fn the_configuration() {
    let daemon = FakeDaemon::start(Script::several());
    check("config_show", &["config", "show"], Some(&daemon));
    let older = FakeDaemon::start(Script::empty());
    check("config_show_unsupported", &["config", "show"], Some(&older));
}

/// A board is paused, goes on, and is taken away, over two lives of the daemon; the
/// watch ends because its reader does.
#[test]
fn events() {
    let mut script = Script::several();
    let board = script.status.devices[3].clone();
    let mut ready = board.clone();
    ready.state = DeviceState::Ready;
    ready.reason = None;
    let events = [
        EventBody::Device { device: board },
        EventBody::Device { device: ready },
        EventBody::Removed {
            id: "sim-s3-0".to_owned(),
        },
        EventBody::Status {
            status: script.status.clone(),
        },
    ];
    script.lives = vec![events[..2].to_vec(), events[2..].to_vec()];
    for (name, format) in [("watch", &[][..]), ("watch_json", &["--json"])] {
        let daemon = FakeDaemon::start(script.clone());
        let arguments = [format, &["watch", "--status"]].concat();
        let lines = first_lines(&daemon, &arguments, 6);
        let told = lines.replace(path(daemon.directory()), "[DIR]");
        let told = told.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
        let told: String = told.lines().map(without_time).collect();
        insta::assert_snapshot!(name, told);
    }
}

/// The first lines of a command that goes on; it then loses its reader and must end by
/// itself and in peace.
fn first_lines(daemon: &FakeDaemon, arguments: &[&str], count: usize) -> String {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let mut child = Command::new(hasher().get_program())
        .args(arguments)
        .env("HASHER_SOCKET", daemon.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hasher can be started");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = String::new();
    for _ in 0..count {
        assert_ne!(
            reader.read_line(&mut lines).expect("lines of text"),
            0,
            "it ended: {lines}"
        );
    }
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    lines
}

#[test]
fn metrics_go_into_a_file() {
    let daemon = FakeDaemon::start(Script::several());
    let file = daemon.directory().join("hasher.prom");
    let arguments = ["metrics", "--out", path(&file)];
    insta::assert_snapshot!(run(&arguments, Some(&daemon)));
    let printed = hasher()
        .env("HASHER_SOCKET", daemon.socket())
        .arg("metrics")
        .output()
        .unwrap();
    let written = std::fs::read(&file).unwrap();
    assert_eq!(text(&written), text(&printed.stdout));
    // A daemon that is away replaces the old figures.
    let gone = hasher()
        .args(["--socket", "/nonexistent/sock"])
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(3));
    let written = text(&std::fs::read(&file).unwrap());
    assert!(written.ends_with("hasher_up 0.0\n"), "{written}");
}

#[test]
fn without_a_daemon() {
    for command in [
        &["status"][..],
        &["devices"],
        &["sessions"],
        &["watch"],
        &["metrics"],
        &["config", "show"],
        &["search", "--header", &"01".repeat(80)],
        &["digest", "--text", "abc"],
    ] {
        let arguments = [&["--socket", "/nonexistent/sock"], command].concat();
        let name = format!("no_daemon_{}", command[0]);
        check(&name, &arguments, None);
    }
}

#[test]
fn without_a_bus() {
    for command in [
        &["device", "pause", "sim-s3-0"][..],
        &["device", "configure", "sim-s3-0", "--frequency-mhz", "200"],
        &["reload"],
    ] {
        for bus in ["system", "session"] {
            let mut shell = hasher();
            for variable in ["DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"] {
                shell.env(variable, "unix:path=/nonexistent/bus");
            }
            let output = shell.args(command).args(["--bus", bus]).output().unwrap();
            assert_eq!(output.status.code(), Some(3), "{command:?}");
            let name = format!("no_bus_{}_{bus}", command[..command.len().min(2)].join("_"));
            insta::assert_snapshot!(name, text(&output.stderr));
        }
    }
}

#[test]
fn wrong_usage() {
    for (name, arguments) in [
        ("command", &["stauts"][..]),
        ("option", &["status", "--frobnicate"]),
        ("missing", &["device", "pause"]),
        ("empty_id", &["device", "pause", ""]),
        ("device_command", &["device", "puase", "sim-s3-0"]),
        (
            "clock",
            &["device", "configure", "sim-s3-0", "--frequency-mhz", "fast"],
        ),
        ("bus", &["reload", "--bus", "usb"]),
        ("no_terminal", &["top"]),
    ] {
        check(&format!("usage_{name}"), arguments, None);
    }
}

#[test]
fn digests_of_this_cpu() {
    check("digest", &["digest", "--local", "--text", "abc"], None);
}

/// The model is the same, byte for byte, on every machine, and so is what is told of it.
/// Left out is what tells how long something took.
#[test]
fn what_becomes_of_a_model() {
    let trained = Trained::new();
    let folder = trained.directory.path();
    let other = trained.train(&trained.file("other.hsh"), &["--rng-seed", "2"]);
    assert!(other.status.success());
    trained.write(
        "rules.toml",
        "[[rule]]\nname = \"sure\"\nrequire = [\"confidence >= 0.5\"]\notherwise = \"flag\"\n",
    );
    trained.write(
        "against.toml",
        "[[rule]]\nname = \"all\"\nrequire = [\"confidence >= 0.9\", \"confidence < 0.2\"]\n",
    );
    for (name, arguments) in [
        (
            "train",
            "train --data data.csv --steps 20 --out model.hsh --force",
        ),
        ("inspect", "inspect --model model.hsh"),
        ("inspect_proof", "inspect --model model.hsh --proof 17"),
        ("diff_same", "diff model.hsh model.hsh"),
        ("diff_other", "diff model.hsh other.hsh"),
        ("rules", "rules rules.toml"),
        (
            "rules_judge",
            "rules rules.toml --model model.hsh --index 0",
        ),
        ("rules_contradiction", "rules against.toml"),
        (
            "predict",
            "predict --model model.hsh --index 3 --receipt answer.hrc --force \
             --nonce 000102030405060708090a0b0c0d0e0f",
        ),
        ("verify", "verify answer.hrc --model model.hsh"),
        (
            "export",
            "export --model model.hsh --out weights.safetensors --force",
        ),
        (
            "import",
            "import weights.safetensors --out imported.hsh --force",
        ),
        ("models_none", "models --dir shelf list"),
        (
            "models_add",
            "models --dir shelf add model.hsh --name small --force",
        ),
        ("models_list", "models --dir shelf list"),
        ("models_path", "models --dir shelf path small"),
        ("cost", "--socket nobody.sock cost --model model.hsh"),
        (
            "train_no_file",
            "train --task table --data nothing.csv --out new.hsh",
        ),
        ("train_bad_rows", "train --data rules.toml --out new.hsh"),
        ("eval_no_model", "eval --model data.csv"),
    ] {
        check_files(name, &words(arguments), folder);
    }
}

#[test]
fn what_is_made_of_data() {
    let trained = Trained::new();
    let folder = trained.directory.path();
    trained.write("letters.txt", "abcdefghij".repeat(300));
    for (name, arguments) in [
        ("train_runs", "train --data data.csv --steps 5 --runs 2"),
        (
            "train_text",
            "train --task text --data letters.txt --context 8 --width 32 --layers 1 \
             --steps 30 --out letters.hsh --force",
        ),
        (
            "eval",
            "eval --model model.hsh --data data.csv --passes 1,3",
        ),
        (
            "eval_text",
            "eval --model letters.hsh --data letters.txt --sliding --passes 1",
        ),
        (
            "generate",
            "generate --model letters.hsh --prompt cde --length 12 --temperature 0",
        ),
        (
            "batch",
            "batch --model model.hsh --data data.csv --passes 3 --receipt answers.hrb \
             --force --nonce 000102030405060708090a0b0c0d0e0f",
        ),
        (
            "verify_batch",
            "verify answers.hrb --model model.hsh --csv data.csv --passes 3",
        ),
        ("bench_encoding", "bench encoding --side 16"),
    ] {
        check_files(name, &words(arguments), folder);
    }
    let bench = ["bench", "model", "--quick", "--only", "digits hb32, frozen"];
    check_files("bench_model", &bench, folder);
}

fn words(arguments: &str) -> Vec<&str> {
    arguments.split(' ').collect()
}
