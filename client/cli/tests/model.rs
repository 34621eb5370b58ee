//! From training to a verified receipt, without any daemon: what each command
//! answers, and what it refuses.

mod common;

use std::fs;
use std::path::Path;

use common::{Trained, assert_error, hasher, json, keys, path, run, stroke, text};

/// One row of pixels, the brightest of which are 16.
fn row() -> String {
    stroke(16)
}

#[test]
fn training_writes_a_model_and_reports_it() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("digits.hsh");
    let value = json(&["train", "--steps", "20", "--out", path(&out)]);
    assert_eq!(
        keys(&value),
        [
            "batch",
            "data",
            "float32_bytes",
            "kind",
            "mean",
            "model",
            "runs",
            "schema",
            "seed_bytes",
            "steps",
            "task",
            "test_examples",
            "train_examples"
        ]
    );
    assert_eq!(value["schema"], "hasher.train/1");
    assert_eq!(
        (&value["steps"], &value["kind"]),
        (&20.into(), &"hb32".into())
    );
    assert_eq!(value["seed_bytes"], 4928);
    assert_eq!(value["float32_bytes"], 274_216);
    assert_eq!(value["mean"].as_array().unwrap().len(), 5);
    assert_eq!(
        keys(&value["runs"][0]["test"][0]),
        [
            "accuracy",
            "agreement",
            "calibration_error",
            "label_bits",
            "mean_confidence",
            "passes",
            "vote_accuracy"
        ]
    );
    assert_eq!(
        (&value["train_examples"], &value["test_examples"]),
        (&1347.into(), &450.into())
    );
    assert!(fs::read(&out).unwrap().starts_with(b"HSHM"));
}

#[test]
fn the_number_of_threads_does_not_change_the_model() {
    let trained = Trained::new();
    let out = trained.file("one-thread.hsh");
    assert!(trained.train(&out, &["--threads", "1"]).status.success());
    assert_eq!(fs::read(&out).unwrap(), fs::read(&trained.model).unwrap());
}

#[test]
fn several_runs_print_the_mean_of_their_accuracies() {
    let trained = Trained::new();
    let data = path(&trained.data);
    let output = run(&["train", "--steps", "5", "--runs", "2", "--data", data]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The first line names the file, whose path is as long as it is.
    for part in ["rng seed 1", "rng seed 2", "mean", "±", "passes"] {
        assert!(table.contains(part), "{part} is missing in {table}");
    }
    assert!(
        table.lines().skip(1).all(|line| line.chars().count() <= 80),
        "{table}"
    );
}

#[test]
fn an_existing_model_is_replaced_only_when_asked() {
    let trained = Trained::new();
    let again = |more: &[&str]| trained.train(&trained.model, more);
    assert_error(&again(&[]), 1, "the file exists", "--force");
    assert!(again(&["--force"]).status.success());
}

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    let trained = Trained::new();
    let (checkpoint, out) = (trained.file("a.ckpt"), trained.file("resumed.hsh"));
    let first = trained.file("first.hsh");
    let output = trained.train(
        &first,
        &["--checkpoint", path(&checkpoint), "--checkpoint-every", "7"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = trained.train(&out, &["--resume", path(&checkpoint)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read(&out).unwrap(), fs::read(&trained.model).unwrap());
}

#[test]
fn evaluation_reports_the_passes_asked_for() {
    let trained = Trained::new();
    let value = json(&[
        "eval",
        "--model",
        path(&trained.model),
        "--data",
        "digits",
        "--passes",
        "1,3",
    ]);
    assert_eq!(
        keys(&value),
        [
            "abstention",
            "anchors",
            "data",
            "early_stop",
            "examples",
            "float32_bytes",
            "model_id",
            "oracle_digests",
            "reliability",
            "rows",
            "schema",
            "seconds",
            "seed_bytes"
        ]
    );
    assert_eq!(value["schema"], "hasher.eval/1");
    assert_eq!(value["examples"], 450);
    assert_eq!(value["anchors"], 1350);
    let passes: Vec<_> = value["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["passes"])
        .collect();
    assert_eq!(passes, [1, 3]);
}

#[test]
fn one_image_has_one_answer_from_every_source() {
    let trained = Trained::new();
    let csv = trained.write("one.csv", row());
    let nonce = "00".repeat(16);
    let common = [
        "predict",
        "--model",
        path(&trained.model),
        "--nonce",
        &nonce,
    ];
    let from_file = json(&[&common[..], &["--csv", &csv]].concat());
    let output = hasher()
        .arg("--json")
        .args(common)
        .write_stdin(row())
        .output()
        .unwrap();
    let from_stdin: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        from_file["answer"]["probabilities"],
        from_stdin["answer"]["probabilities"]
    );
    assert_eq!(
        keys(&from_file),
        [
            "answer",
            "early_stop",
            "label",
            "level",
            "model_id",
            "receipt",
            "request_nonce",
            "schema",
            "verdict"
        ]
    );
    assert_eq!(from_file["schema"], "hasher.predict/1");
    assert_eq!(from_file["answer"]["passes"], 21);
    assert_eq!(from_file["answer"]["mode"], "direct");
    assert_eq!(from_file["answer"]["expected_hashes"], 0.0);
}

#[test]
fn a_prediction_shows_the_image_and_who_computed() {
    let trained = Trained::new();
    let output = run(&["predict", "--model", path(&trained.model), "--index", "0"]);
    let answer = text(&output.stdout);
    for part in [
        "██",
        "answer",
        "confidence",
        "direct mode",
        "on this CPU",
        "label",
    ] {
        assert!(answer.contains(part), "{part} is missing in {answer}");
    }
    assert!(
        answer.lines().all(|line| line.chars().count() <= 80),
        "{answer}"
    );
}

#[test]
fn rules_judge_the_answer_and_name_what_failed() {
    let trained = Trained::new();
    let model = path(&trained.model);
    let blank = trained.write("blank.csv", vec!["0"; 64].join(","));
    // An empty image is no digit, whatever the model thinks.
    let value = json(&["predict", "--model", model, "--csv", &blank]);
    assert_eq!(value["verdict"]["decision"], "reject");
    let reasons = value["verdict"]["reasons"].to_string();
    assert!(reasons.contains("rule \\\"ink\\\""), "{reasons}");
    assert!(reasons.contains("but input.mean is 0"), "{reasons}");
    let anything = trained.write("anything.toml", "# no rules\n");
    let rules = ["--csv", &blank, "--rules", &anything];
    let value = json(&[&["predict", "--model", model], &rules[..]].concat());
    assert_eq!(value["verdict"]["decision"], "accept");
    let output = run(&["predict", "--model", model, "--csv", &blank]);
    let answer = text(&output.stdout);
    assert!(
        answer.contains("verdict     reject by the rules of digits"),
        "{answer}"
    );
    let contradiction = trained.write(
        "wrong.toml",
        "[[rule]]\nname = \"never\"\nrequire = [\"margin > 0.5\", \"margin < 0.4\"]\n",
    );
    let output = run(&[
        "predict",
        "--model",
        model,
        "--csv",
        &blank,
        "--rules",
        &contradiction,
    ]);
    assert_error(&output, 1, "rule \"never\"", "docs/rules.md");
}

#[test]
fn a_batch_has_one_receipt_that_is_verified_with_all_its_images() {
    let trained = Trained::new();
    let (model, receipt) = (path(&trained.model), trained.file("all.hrb"));
    let rows = format!("{}\n{}\n", stroke(16), stroke(9));
    let csv = trained.write("two.csv", rows);
    let value = json(&[
        "batch",
        "--model",
        model,
        "--data",
        &csv,
        "--passes",
        "3",
        "--receipt",
        path(&receipt),
    ]);
    assert_eq!(value["schema"], "hasher.batch/1");
    assert_eq!(
        (&value["anchors"], &value["passes"]),
        (&3.into(), &3.into())
    );
    assert_eq!(value["answers"].as_array().unwrap().len(), 2);
    let verify = |csv: &str| {
        run(&[
            "verify",
            path(&receipt),
            "--model",
            model,
            "--csv",
            csv,
            "--passes",
            "3",
        ])
    };
    let output = verify(&csv);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("2 answers computed again"));
    let value_again = json(&["verify", path(&receipt), "--model", model]);
    assert_eq!(
        value_again["verdict"]["answers"][1]["prediction"],
        value["answers"][1]["prediction"]
    );
    // Another order is another question.
    let other = trained.write("other.csv", format!("{}\n{}\n", stroke(9), stroke(16)));
    assert_error(
        &verify(&other),
        1,
        "image 0 (from 0) is another one",
        "new receipt",
    );
    let one = trained.write("one.csv", stroke(16));
    assert_error(
        &verify(&one),
        1,
        "it is about 2 images, not 1",
        "new receipt",
    );
    let mut bytes = fs::read(&receipt).unwrap();
    bytes[120] ^= 1;
    fs::write(&receipt, bytes).unwrap();
    assert_error(&verify(&csv), 1, "check sum", "new receipt");
}

#[test]
fn costs_are_told_by_level() {
    let trained = Trained::new();
    let nobody = trained.file("nobody.sock");
    let arguments = [
        "--socket",
        path(&nobody),
        "cost",
        "--model",
        path(&trained.model),
    ];
    let value = json(&arguments);
    let anchors = |level: usize| value["levels"][level]["anchors"].as_u64().unwrap();
    assert_eq!((anchors(0), anchors(1), anchors(2)), (1, 21, 63));
    // 21 · 2^32 hashes at the nominal 440 GH/s.
    let seconds = value["levels"][1]["seconds"][0].as_f64().unwrap();
    assert!((seconds - 0.205).abs() < 0.001, "{seconds}");
    // A board reports nothing below 32 zero bits, so easier anchors take it as long.
    let easier = json(&[&arguments[..], &["--zero-bits", "16"]].concat());
    assert_eq!(easier["levels"][1]["seconds"][0], seconds);
    assert_eq!(easier["levels"][1]["expected_hashes"], 21.0 * 65_536.0);
    // 91 digests of dither a pass and 21 anchors.
    assert_eq!(value["levels"][1]["verification_digests"], 21 * 91 + 21);
}

/// A receipt of a direct answer.
fn receipt(trained: &Trained) -> String {
    let file = trained.file("answer.rcpt");
    let output = run(&[
        "predict",
        "--model",
        path(&trained.model),
        "--index",
        "3",
        "--receipt",
        path(&file),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    path(&file).to_owned()
}

#[test]
fn a_receipt_is_verified_from_the_model_file_alone() {
    let trained = Trained::new();
    let receipt = receipt(&trained);
    let value = json(&["verify", &receipt, "--model", path(&trained.model)]);
    assert_eq!(
        keys(&value),
        [
            "demands",
            "min_zero_bits",
            "reason",
            "schema",
            "verdict",
            "verified"
        ]
    );
    assert_eq!(value["schema"], "hasher.verify/1");
    assert_eq!(value["verified"], true);
    assert_eq!(value["verdict"]["passes"], 21);
    assert_eq!(value["verdict"]["worked"], false);
    let output = run(&["verify", &receipt, "--model", path(&trained.model)]);
    assert!(
        text(&output.stdout).starts_with("verified"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_receipt_for_another_question_is_refused() {
    let trained = Trained::new();
    let receipt = receipt(&trained);
    let verify = ["verify", &receipt, "--model", path(&trained.model)];
    let with = |more: &[&str]| run(&[&verify, more].concat());
    let value = json(&verify);
    let nonce = value["verdict"]["request_nonce"].as_str().unwrap();
    let own = with(&["--nonce", nonce, "--passes", "21", "--index", "3"]);
    assert_eq!(own.status.code(), Some(0), "{}", text(&own.stderr));
    let other = "00112233445566778899aabbccddeeff";
    for (more, reason) in [
        (["--nonce", other], "request nonce"),
        (["--passes", "20"], "21 passes, not 20"),
        (["--index", "1"], "another image"),
    ] {
        assert_error(&with(&more), 1, reason, "another question");
    }
}

#[test]
fn a_receipt_that_does_not_hold_is_refused_with_the_reason() {
    let trained = Trained::new();
    let file = receipt(&trained);
    let model = path(&trained.model);
    let verify = |args: &[&str]| run(&[&["verify"], args].concat());

    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    let changed = trained.write("changed.rcpt", &bytes);
    assert_error(
        &verify(&[&changed, "--model", model]),
        1,
        "check sum",
        "damaged or changed",
    );
    let cut = trained.write("cut.rcpt", &bytes[..50]);
    assert_error(
        &verify(&[&cut, "--model", model]),
        1,
        "truncated",
        "damaged or changed",
    );
    assert_error(
        &verify(&[&file, "--model", model, "--min-zero-bits", "8"]),
        1,
        "8 zero bits demanded",
        "--mode work",
    );
    let other = trained.file("other.hsh");
    trained.train(&other, &["--rng-seed", "2"]);
    assert_error(
        &verify(&[&file, "--model", path(&other)]),
        1,
        "is for model",
        "model file",
    );

    let output = run(&["--json", "verify", &changed, "--model", model]);
    assert_eq!(output.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["verified"], false);
    assert!(value["reason"].as_str().unwrap().contains("check sum"));
}

/// The nonce of the requests below.
const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

/// A receipt of the image [`row`] with [`NONCE`], made with further options.
fn answer_to_row(trained: &Trained, name: &str, more: &[&str]) -> String {
    let (csv, file) = (trained.write("row.csv", row()), trained.file(name));
    let fixed = ["predict", "--model", path(&trained.model), "--csv", &csv];
    let how = ["--nonce", NONCE, "--receipt", path(&file)];
    let output = run(&[&fixed[..], &how, more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    path(&file).to_owned()
}

#[test]
fn a_receipt_of_another_question_is_refused_when_the_question_is_given() {
    let trained = Trained::new();
    let receipt = answer_to_row(&trained, "row.rcpt", &["--passes", "11"]);
    let csv = trained.file("row.csv");
    let model = path(&trained.model);
    let verify = |more: &[&str]| run(&[&["verify", &receipt, "--model", model][..], more].concat());
    let question = ["--csv", path(&csv), "--nonce", NONCE];
    let how = ["--passes", "11", "--level", "1"];
    let same = verify(&[&question[..], &how].concat());
    let told = text(&same.stdout);
    assert!(same.status.success(), "{}", text(&same.stderr));
    assert_eq!(told.matches("as demanded").count(), 3, "{told}");
    assert!(!told.contains("not compared"), "{told}");
    for (more, what) in [
        (["--index", "7"], "another image"),
        (["--nonce", &"00".repeat(16)], "request nonce 000102"),
        (["--passes", "21"], "11 passes, not 21"),
        (["--passes", "3"], "11 passes, not 3"),
        (["--level", "0"], "of level 1, not 0"),
    ] {
        assert_error(&verify(&more), 1, what, "another question");
    }
    assert_error(&verify(&["--early-stop"]), 2, "--passes", "--help");
}

#[test]
fn a_verdict_shows_the_question_and_what_was_not_compared() {
    let trained = Trained::new();
    let receipt = answer_to_row(&trained, "row.rcpt", &[]);
    let verify = ["verify", &receipt, "--model", path(&trained.model)];
    let told = text(&run(&verify).stdout);
    for part in [
        "request   id ",
        NONCE,
        "give --nonce",
        "give --index or --csv",
        "      ████",
        "passes    21, ",
        " of them agree",
        "give --passes",
    ] {
        assert!(told.contains(part), "`{part}` is missing in {told}");
    }
    assert!(
        told.lines().all(|line| line.chars().count() <= 80),
        "{told}"
    );
    let value = json(&verify);
    let pixels: Vec<String> = value["verdict"]["pixels"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(pixels.join(","), row());
    assert_eq!(value["verdict"]["request_nonce"], NONCE);
    assert_eq!(value["verdict"]["input"].as_str().unwrap().len(), 2 * 144);
    assert_eq!(value["demands"]["passes"], serde_json::Value::Null);
}

#[test]
fn an_early_stop_ends_where_the_logits_say() {
    let trained = Trained::new();
    let model = path(&trained.model);
    let stopped = answer_to_row(&trained, "stopped.rcpt", &["--early-stop"]);
    let whole = answer_to_row(&trained, "whole.rcpt", &[]);
    let value = json(&["verify", &stopped, "--model", model]);
    let passes = value["verdict"]["passes"].as_u64().unwrap();
    assert!(passes < 21, "it stops early");
    let cut = (passes - 1).to_string();
    let cut = answer_to_row(&trained, "cut.rcpt", &["--passes", &cut]);
    let verify = |receipt: &str, more: &[&str]| {
        let fixed = ["verify", receipt, "--model", model, "--passes", "21"];
        run(&[&fixed[..], more].concat())
    };
    assert!(verify(&stopped, &["--early-stop"]).status.success());
    assert!(verify(&whole, &[]).status.success());
    for (receipt, more, what) in [
        (&stopped, &[][..], "passes, not 21"),
        (&whole, &["--early-stop"], "an early stop ends after"),
        (&cut, &["--early-stop"], "passes, not 21"),
    ] {
        assert_error(&verify(receipt, more), 1, what, "another question");
    }
}

#[test]
fn a_missing_or_damaged_model_is_named_by_every_command_that_reads_one() {
    let trained = Trained::new();
    let bytes = fs::read(&trained.model).unwrap();
    let truncated = trained.write("short.hsh", &bytes[..bytes.len() - 5]);
    let mut flipped = bytes.clone();
    flipped[bytes.len() - 1] ^= 1;
    let flipped = trained.write("flipped.hsh", flipped);
    let other = trained.write(
        "text.hsh",
        "not a model at all, just some text that stands in a file",
    );
    let receipt = receipt(&trained);
    for command in [
        vec!["eval"],
        vec!["predict", "--index", "0"],
        vec!["verify", &receipt],
    ] {
        let with = |model: &str| run(&[&command[..], &["--model", model]].concat());
        assert_error(&with("/nonexistent.hsh"), 1, "no such file", "hasher train");
        assert_error(&with(&truncated), 1, "bytes of seeds", "damaged");
        assert_error(&with(&flipped), 1, "matrix head", "damaged");
        assert_error(&with(&other), 1, "does not begin with \"HSHM\"", "damaged");
        assert_error(&with("/"), 1, "directory", "name the file");
    }
}

#[test]
fn rows_that_are_no_images_are_named_with_row_and_column() {
    let trained = Trained::new();
    let model = path(&trained.model);
    let good = format!("{},7\n", row());
    let nan = good.replacen("16", "NaN", 1);
    let file = |name, contents: String| trained.write(name, contents);
    for (name, contents, what) in [
        (
            "nan.csv",
            format!("{good}{nan}"),
            "row 2, column 4: \"NaN\" is NaN",
        ),
        ("short.csv", format!("{good}1,2,3\n"), "row 2 has 3 columns"),
        (
            "range.csv",
            good.replacen("16", "17", 1),
            "is outside 0 to 16",
        ),
        ("word.csv", good.replacen("16", "x", 1), "is not a number"),
        ("label.csv", good.replace(",7", ",12"), "is outside 0 to 9"),
        ("empty.csv", String::new(), "no rows"),
    ] {
        let csv = file(name, contents);
        let out = path(&trained.file("never.hsh")).to_owned();
        for args in [
            vec!["train", "--out", &out, "--data", &csv],
            vec!["eval", "--model", model, "--data", &csv],
            vec!["predict", "--model", model, "--csv", &csv],
        ] {
            assert_error(&run(&args), 1, what, "64 whole numbers 0 to 16");
        }
        assert!(!Path::new(&out).exists());
    }
    let two = file("two.csv", format!("{good}{good}"));
    assert_error(
        &run(&["predict", "--model", model, "--csv", &two]),
        1,
        "2 images, one is needed",
        "sed",
    );
    let missing = run(&["eval", "--model", model, "--data", "/nonexistent.csv"]);
    assert_error(&missing, 1, "no such file", "digits");
}

#[test]
fn a_users_own_rows_train_a_model() {
    let trained = Trained::new();
    let (csv, out) = (path(&trained.data), trained.file("own.hsh"));
    let value = json(&["train", "--steps", "3", "--data", csv, "--out", path(&out)]);
    assert_eq!(
        (&value["train_examples"], &value["test_examples"]),
        (&30.into(), &10.into())
    );
    let value = json(&[
        "eval",
        "--model",
        path(&out),
        "--data",
        csv,
        "--passes",
        "1",
    ]);
    assert_eq!(value["examples"], 40);
}

#[test]
fn options_that_do_not_fit_are_wrong_usage() {
    let trained = Trained::new();
    let model = path(&trained.model);
    let out = path(&trained.file("x.hsh")).to_owned();
    let predict = |args: &[&str]| run(&[&["predict", "--model", model], args].concat());
    assert_error(
        &predict(&["--index", "450"]),
        2,
        "no test image 450",
        "0 to 449",
    );
    assert_error(
        &predict(&["--index", "0", "--zero-bits", "9"]),
        2,
        "--mode work",
        "--mode work",
    );
    assert_error(
        &predict(&["--index", "0", "--passes", "0"]),
        2,
        "passes",
        "--help",
    );
    assert_error(
        &predict(&["--index", "0", "--nonce", "12"]),
        2,
        "16 bytes",
        "--help",
    );
    assert_error(
        &predict(&["--index", "0", "--level", "3"]),
        2,
        "3",
        "--help",
    );
    assert_error(&run(&["train"]), 2, "--out", "hasher train --help");
    assert_error(
        &run(&["train", "--out", &out, "--kind", "hb64"]),
        2,
        "hb64",
        "--help",
    );
    assert_error(
        &run(&["train", "--out", "/nonexistent/x.hsh"]),
        1,
        "not a directory",
        "create",
    );
    let damaged = trained.write("bad.ckpt", "HSHC and then nothing of use");
    assert_error(
        &run(&["train", "--out", &out, "--resume", &damaged]),
        1,
        "bad.ckpt",
        "--data",
    );
}

#[test]
fn a_card_says_how_inputs_are_prepared_and_belongs_to_its_model() {
    let trained = Trained::new();
    let card = trained.file("model.hsh.json");
    let value: serde_json::Value = serde_json::from_slice(&fs::read(&card).unwrap()).unwrap();
    assert_eq!(value["schema"], "hasher.card/1");
    assert_eq!(value["recipe"]["inputs"], "digits");
    let other = trained.file("other.hsh");
    assert!(trained.train(&other, &["--rng-seed", "9"]).status.success());
    fs::copy(&card, trained.file("other.hsh.json")).unwrap();
    assert_error(
        &run(&["eval", "--model", path(&other)]),
        1,
        "belongs to another model",
        "remove it",
    );
}

/// A text that is learned at once: each letter is followed by the next.
fn alphabet(trained: &Trained) -> String {
    let data = trained.file("alphabet.txt");
    fs::write(&data, "abcdefghij".repeat(300)).expect("the folder is writable");
    path(&data).to_owned()
}

#[test]
fn a_language_model_is_trained_measured_and_writes() {
    let trained = Trained::new();
    let (data, out) = (alphabet(&trained), trained.file("alphabet.hsh"));
    let curve = trained.file("curve.svg");
    let train = [
        "train",
        "--task",
        "text",
        "--data",
        &data,
        "--context",
        "8",
        "--width",
        "32",
        "--layers",
        "1",
        "--steps",
        "60",
        "--out",
        path(&out),
        "--curve",
        path(&curve),
    ];
    let value = json(&train);
    let bits = value["mean"][4]["label_bits_mean"].as_f64().unwrap();
    assert!(bits < 0.5, "{bits} bits a character");
    assert!(fs::read_to_string(&curve).unwrap().starts_with("<svg"));

    let model = path(&out);
    let sliding = json(&["eval", "--model", model, "--sliding", "--passes", "1"]);
    assert!(sliding["rows"][0]["label_bits"].as_f64().unwrap() < 0.5);
    let write = |more: &[&str]| {
        let fixed = [
            "generate", "--model", model, "--length", "12", "--prompt", "cde",
        ];
        json(&[&fixed, more].concat())["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(write(&["--temperature", "0"]), "fghijabcdefg");
    assert_eq!(write(&["--top-k", "1"]), "fghijabcdefg");
    let seeded = |seed| write(&["--temperature", "50", "--rng-seed", seed]);
    assert_eq!(seeded("1"), seeded("1"));
    assert_ne!(seeded("1"), seeded("2"));
    let streamed = run(&[
        "generate", "--model", model, "--length", "3", "--top-k", "1", "--prompt", "a",
    ]);
    assert_eq!(text(&streamed.stdout), "bcd\n");
    assert_error(
        &run(&["generate", "--model", model, "--prompt", "xyz"]),
        1,
        "unknown token 'x'",
        "characters of the training text",
    );
    assert_error(
        &run(&["generate", "--model", path(&trained.model)]),
        1,
        "classifier",
        "--task text",
    );
}

#[test]
fn training_ends_early_when_what_was_kept_back_gets_no_better() {
    let trained = Trained::new();
    let (data, out) = (alphabet(&trained), trained.file("early.hsh"));
    let value = json(&[
        "train",
        "--task",
        "text",
        "--data",
        &data,
        "--context",
        "8",
        "--width",
        "16",
        "--layers",
        "1",
        "--steps",
        "5000",
        "--out",
        path(&out),
        "--patience",
        "1",
        "--learning-rate",
        "0.05",
    ]);
    let steps = value["runs"][0]["steps"].as_u64().unwrap();
    assert!((50..5000).contains(&steps), "{steps} steps");
}

#[test]
fn bad_data_is_refused_with_file_and_line_and_nothing_is_written() {
    let trained = Trained::new();
    let out = trained.file("bad.hsh");
    let refused = |task: &str, file: &str, content: &[u8], more: &[&str], what: &str| {
        let data = trained.file(file);
        fs::write(&data, content).unwrap();
        let fixed = [
            "train",
            "--task",
            task,
            "--data",
            path(&data),
            "--out",
            path(&out),
        ];
        let output = run(&[&fixed, more].concat());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(&format!("{file}{what}")),
            "`{what}` is missing: {error}"
        );
        assert!(!out.exists() && !trained.file("bad.hsh.json").exists());
    };
    refused(
        "table",
        "nan.csv",
        b"a,b,k\n1,2,x\n1,NaN,y\n",
        &[],
        ":3: column \"b\": \"NaN\" is NaN",
    );
    refused(
        "table",
        "ragged.csv",
        b"a,b,k\n1,2,x\n1,y\n",
        &[],
        ":3: 2 columns, the heading has 3",
    );
    refused("table", "empty.csv", b"", &[], ": the file is empty");
    refused(
        "table",
        "class.csv",
        b"a,k\n1,x\n2,x\n",
        &[],
        ": 1 different labels",
    );
    refused(
        "table",
        "x.npy",
        b"\x93NUMPY\x01\x00",
        &[],
        ": the file ends within its head",
    );
    refused("image", "y.npy", b"no", &[], ": not an NPY file");
    refused(
        "text",
        "short.txt",
        b"abc",
        &[],
        ": a text of 3 tokens is too short",
    );
    refused("text", "bin.txt", b"a\n\xff", &[], ":2: it is not text");
    refused("sequence", "pairs.tsv", b"a\tb\nab\n", &[], ":2: no tab");
    let folder = trained.file("images");
    fs::create_dir_all(folder.join("empty")).unwrap();
    let output = run(&[
        "train",
        "--task",
        "image",
        "--data",
        path(&folder),
        "--out",
        path(&out),
    ]);
    assert_error(&output, 1, "the class is empty", "remove the folder");
}

#[test]
fn tables_and_sequences_train_through_the_same_interface() {
    let trained = Trained::new();
    let data = trained.file("t.csv");
    let rows: String = (0..60)
        .map(|i| format!("{i},{},{}\n", 60 - i, i / 30))
        .collect();
    fs::write(&data, format!("a,b,kind\n{rows}")).unwrap();
    let data = path(&data);
    let cases: [&[&str]; 4] = [
        &["--task", "table", "--data", data],
        &["--task", "anomaly", "--data", data, "--normal", "0"],
        &["--task", "sequence", "--data", "copy", "--width", "16"],
        &[
            "--task",
            "crypto",
            "--data",
            "sha256",
            "--kind",
            "bin,head=nib",
        ],
    ];
    for (at, case) in cases.iter().enumerate() {
        let out = trained.file(&format!("{at}.hsh"));
        let fixed = ["train", "--steps", "3", "--batch", "8", "--out", path(&out)];
        let output = run(&[&fixed, *case].concat());
        assert!(
            output.status.success(),
            "{case:?}: {}",
            text(&output.stderr)
        );
        assert!(out.exists() && trained.file(&format!("{at}.hsh.json")).exists());
    }
}
