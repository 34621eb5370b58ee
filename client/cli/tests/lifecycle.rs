//! What becomes of a model after training: looked at, compared, repaired, exported,
//! imported, trained on, judged by rules and measured.

mod common;

use std::fs;

use common::{Trained, assert_error, json, path, run, text};

#[test]
fn a_model_is_inspected_with_the_proof_of_a_seed() {
    let trained = Trained::new();
    let model = path(&trained.model);
    let value = json(&["inspect", "--model", model, "--proof", "17"]);
    assert_eq!(value["schema"], "hasher.inspect/1");
    assert_eq!(value["seed_bytes"], 4928);
    assert_eq!(value["matrices"][1]["name"], "emb");
    assert_eq!(value["proof"]["leaves"], 154);
    assert_eq!(value["proof"]["siblings"].as_array().unwrap().len(), 8);
    let shown = run(&["inspect", "--model", model]);
    assert!(
        text(&shown.stdout).contains("head"),
        "{}",
        text(&shown.stdout)
    );
    let beyond = run(&["inspect", "--model", model, "--proof", "154"]);
    assert_error(&beyond, 2, "no seed 154", "0 to 153");
}

#[test]
fn flipped_bits_are_refused_and_turned_back_on_request() {
    let trained = Trained::new();
    let bytes = fs::read(&trained.model).unwrap();
    let (damaged, whole) = (trained.file("damaged.hsh"), trained.file("whole.hsh"));
    let mut wrong = bytes.clone();
    // Two bits in one seed, one in another.
    let first = bytes.len() - 20 * 32;
    wrong[first + 3] ^= 0x10;
    wrong[first + 9] ^= 0x01;
    wrong[first + 70] ^= 0x80;
    fs::write(&damaged, &wrong).unwrap();
    let inspect = ["inspect", "--model", path(&damaged)];
    assert_error(&run(&inspect), 1, "wrong CRC", "damaged");
    let value = json(&[&inspect[..], &["--repair", path(&whole)]].concat());
    let flips: Vec<_> = value["repaired"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["flips"])
        .collect();
    assert_eq!(flips, [2, 1]);
    assert_eq!(fs::read(&whole).unwrap(), bytes);
    wrong[first + 12] ^= 0x04;
    fs::write(&damaged, &wrong).unwrap();
    let third = trained.file("third.hsh");
    assert_error(
        &run(&[&inspect[..], &["--repair", path(&third)]].concat()),
        1,
        "cannot repair",
        "copy the file again",
    );
    assert!(!third.exists());
}

#[test]
fn two_models_are_compared_matrix_by_matrix() {
    let trained = Trained::new();
    let other = trained.file("other.hsh");
    assert!(trained.train(&other, &["--rng-seed", "9"]).status.success());
    let model = path(&trained.model);
    assert_eq!(json(&["diff", model, model])["same"], true);
    let value = json(&["diff", model, path(&other)]);
    assert_eq!(value["same"], false);
    assert!(value["matrices"][1]["different_seeds"].as_u64().unwrap() > 0);
    assert!(
        value["matrices"][1]["relative_difference"]
            .as_f64()
            .unwrap()
            > 0.1
    );
}

#[test]
fn weights_go_out_and_come_back_as_seeds_and_are_trained_on() {
    let trained = Trained::new();
    let (tensors, back) = (trained.file("w.safetensors"), trained.file("back.hsh"));
    let model = path(&trained.model);
    let value = json(&["export", "--model", model, "--out", path(&tensors)]);
    assert_eq!(value["numbers"].as_u64().unwrap() * 4, 274_216);
    let folder = trained.directory.path();
    json(&["export", "--model", model, "--out", path(folder)]);
    assert!(
        fs::read(folder.join("q0.weight.npy"))
            .unwrap()
            .starts_with(b"\x93NUMPY")
    );

    // `hb32` weights lie on the basis: least squares finds the same seeds again, up
    // to the biases, which are fitted.
    let import = [
        "import",
        path(&tensors),
        "--out",
        path(&back),
        "--force",
        "--kind",
    ];
    let value = json(&[&import[..], &["hb32"]].concat());
    for matrix in value["matrices"].as_array().unwrap() {
        assert!(
            matrix["relative_error"].as_f64().unwrap() < 0.02,
            "{matrix}"
        );
    }
    let value = json(&[&import[..], &["nib"]].concat());
    assert!(value["matrices"][0]["relative_error"].as_f64().unwrap() < 0.05);

    let tuned = trained.file("tuned.hsh");
    let init = [
        "train",
        "--init",
        path(&back),
        "--steps",
        "3",
        "--out",
        path(&tuned),
    ];
    let value = json(&[&init[..], &["--data", path(&trained.data)]].concat());
    assert_eq!(value["kind"], "nib");
    assert_error(
        &run(&[
            "import",
            path(&trained.data),
            "--out",
            path(&tuned),
            "--force",
        ]),
        1,
        "not a usable safetensors file",
        "hasher export",
    );
}

const RULES: &str = "\
classes = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'even', 'odd']
is = [['0', 'even'], ['1', 'odd'], ['2', 'even'], ['3', 'odd'], ['4', 'even'],
      ['5', 'odd'], ['6', 'even'], ['7', 'odd'], ['8', 'even'], ['9', 'odd']]
disjoint = [['even', 'odd']]
[[rule]]
name = 'sure'
require = 'confidence >= 0.7'
[[rule]]
name = 'ink'
require = 'input.mean > 0'
otherwise = 'flag'
";

#[test]
fn answers_are_judged_by_rules_with_their_reasons() {
    let trained = Trained::new();
    let rules = trained.file("rules.toml");
    fs::write(&rules, RULES).unwrap();
    let model = path(&trained.model);
    assert_eq!(json(&["rules", path(&rules)])["rules"], 2);
    let value = json(&["rules", path(&rules), "--model", model, "--passes", "1"]);
    let judged = &value["judged"];
    let count = |verdict: &str| judged[verdict]["answers"].as_u64().unwrap();
    assert_eq!(count("accept") + count("flag") + count("reject"), 10);
    // 20 steps do not make a model sure.
    assert_eq!(judged["failed"]["sure"], 10);
    let one = |fact: &str| {
        let fixed = ["rules", path(&rules), "--model", model, "--index", "0"];
        json(&[&fixed[..], &["--fact", fact]].concat())["judged"]["one"].clone()
    };
    let reasons = [one("even"), one("odd")].map(|one| one["reasons"].to_string());
    let exclusions = reasons
        .iter()
        .filter(|r| r.contains("even and odd are disjoint"))
        .count();
    assert_eq!(exclusions, 1, "{reasons:?}");
    assert!(
        reasons[0].contains("confidence >= 0.7, but confidence is"),
        "{reasons:?}"
    );
}

#[test]
fn rules_that_contradict_each_other_are_refused_by_name() {
    let trained = Trained::new();
    let rules = trained.file("rules.toml");
    let more = "[[rule]]\nname = 'unsure'\nrequire = 'confidence < 0.5'\n";
    fs::write(&rules, format!("{RULES}{more}")).unwrap();
    assert_error(
        &run(&["rules", path(&rules)]),
        1,
        "contradict each other",
        "docs/rules.md",
    );
    let error = text(&run(&["rules", path(&rules)]).stderr);
    assert!(error.contains("\"sure\", \"unsure\""), "{error}");
    fs::write(&rules, "[[rule]]\nname = 3\n").unwrap();
    assert_error(&run(&["rules", path(&rules)]), 1, "line 2", "docs/rules.md");
}

#[test]
fn the_benchmark_prints_a_table_and_draws_it() {
    let trained = Trained::new();
    let (table, plot) = (trained.file("t.md"), trained.file("t.svg"));
    let value = json(&[
        "bench",
        "model",
        "--quick",
        "--only",
        "digits hb32, frozen",
        "--markdown",
        path(&table),
        "--svg",
        path(&plot),
    ]);
    assert_eq!(value["rows"].as_array().unwrap().len(), 1);
    assert_eq!(value["rows"][0]["bytes"], 4928);
    assert_eq!(value["rows"][0]["pass_digests"], 91.0);
    let table = fs::read_to_string(&table).unwrap();
    assert!(
        table.contains("| digits | hb32, frozen control | 4928 |"),
        "{table}"
    );
    assert!(fs::read_to_string(&plot).unwrap().ends_with("</svg>\n"));
}

#[test]
fn a_folder_of_models_is_listed_with_what_is_known_of_each() {
    let trained = Trained::new();
    let folder = trained.file("models");
    let models = |more: &[&str]| run(&[&["models", "--dir", path(&folder)], more].concat());
    assert_error(&models(&["list"]), 1, "models", "hasher models add");
    let add = ["add", path(&trained.model), "--name", "small"];
    let output = models(&add);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_error(&models(&add), 1, "the file exists", "--force");
    assert_error(
        &models(&["add", path(&trained.model), "--name", "../out"]),
        2,
        "not beginning with a dot",
        "--help",
    );
    fs::write(folder.join("broken.hsh"), b"HSHM").unwrap();
    let value = json(&["models", "--dir", path(&folder), "list"]);
    let entries = value["models"].as_array().unwrap();
    assert_eq!(
        (&entries[0]["name"], &entries[1]["name"]),
        (&"broken".into(), &"small".into())
    );
    assert!(
        entries[0]["problem"]
            .as_str()
            .unwrap()
            .contains("broken.hsh")
    );
    assert_eq!(entries[1]["seed_bytes"], 4928);
    assert_eq!(entries[1]["card"]["training"]["steps"], 20);
    assert_eq!(entries[1]["card"]["model_id"], entries[1]["model_id"]);
    let found = models(&["path", "small"]);
    let file = text(&found.stdout);
    assert_eq!(
        fs::read(file.trim_end()).unwrap(),
        fs::read(&trained.model).unwrap()
    );
    assert_error(&models(&["path", "large"]), 1, "large.hsh", "hasher train");
}

#[test]
fn encoding_loses_less_with_more_bits() {
    let value = json(&["bench", "encoding", "--side", "64"]);
    let rows = value["rows"].as_array().unwrap();
    let error = |kind: &str| {
        let row = rows.iter().find(|row| row["kind"] == kind).unwrap();
        row["relative_error"].as_f64().unwrap()
    };
    let order = ["hb32", "hb16", "kron", "bin", "tern", "nib"].map(error);
    assert!(order.is_sorted_by(|more, less| more > less), "{order:?}");
    let table = text(&run(&["bench", "encoding", "--side", "16"]).stdout);
    assert!(table.contains("| `nib` | 1 |"), "{table}");
}

#[test]
fn inputs_that_are_moved_change_the_measurement() {
    let trained = Trained::new();
    let eval = |more: &[&str]| {
        let common = [
            "eval",
            "--model",
            path(&trained.model),
            "--passes",
            "3",
            "--data",
        ];
        json(&[&common[..], &[path(&trained.data)], more].concat())
    };
    let (still, moved) = (eval(&[]), eval(&["--jitter", "50"]));
    assert_eq!(moved["oracle_digests"], still["oracle_digests"]);
    assert_ne!(
        moved["rows"][0]["label_bits"],
        still["rows"][0]["label_bits"]
    );
    assert_eq!(moved["rows"], eval(&["--jitter", "50"])["rows"]);
}
