//! Help, wrong usage and the shape of errors.

mod common;

use common::{assert_error, hasher, run, text};

/// All commands but `help`.
fn commands() -> Vec<String> {
    let all = hasher_cli::command();
    let names = all.get_subcommands().map(|command| command.get_name());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in commands() {
        let output = run(&[&command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = text(&output.stdout);
        assert!(help.contains(&format!("Usage: hasher {command}")), "{help}");
        assert!(
            help.contains(&format!("  hasher {command}")) || help.contains("| hasher"),
            "{help}"
        );
        assert!(help.contains("--json"), "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 80),
            "{help}"
        );
    }
}

#[test]
fn the_front_help_lists_all_commands_and_exit_codes() {
    let help = text(&run(&["--help"]).stdout);
    for word in commands() {
        assert!(help.contains(&word), "{word} is missing in {help}");
    }
    assert!(help.contains("Exit codes:"), "{help}");
}

#[test]
fn no_command_at_all_is_wrong_usage() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: hasher"));
}

#[test]
fn a_mistyped_command_is_suggested() {
    assert_error(&run(&["stauts"]), 2, "stauts", "did you mean `status`");
}

#[test]
fn an_unknown_option_points_to_the_help_of_its_command() {
    assert_error(&run(&["digest", "--dubble"]), 2, "--dubble", "--double");
    assert_error(&run(&["verify"]), 2, "required", "hasher verify --help");
}

#[test]
fn the_hash_kernel_can_be_chosen_and_a_wrong_choice_is_told() {
    let digest = |kernel: &str| {
        let mut command = hasher();
        command.env("HASHER_KERNEL", kernel);
        command
            .args(["digest", "--local", "--text", "abc"])
            .output()
    };
    assert_eq!(digest("portable").unwrap().status.code(), Some(0));
    assert_eq!(digest("").unwrap().status.code(), Some(0));
    let refused = digest("mmx").unwrap();
    assert_error(&refused, 2, "HASHER_KERNEL=mmx", "unset HASHER_KERNEL");
}

#[test]
fn a_failure_under_json_is_an_object_too() {
    let output = run(&["--json", "digest", "--local", "/nonexistent/x"]);
    assert_eq!(output.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], "hasher.error/1");
    assert_eq!(value["exit_code"], 1);
    assert!(value["error"].as_str().unwrap().contains("/nonexistent/x"));
    assert!(value["hint"].is_string());
    assert!(text(&output.stderr).starts_with("error: "));
}

#[test]
fn wrong_usage_under_json_is_an_object_too() {
    let output = run(&["--json", "search", "--header", "00"]);
    assert_eq!(output.status.code(), Some(2));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], "hasher.error/1");
    assert_eq!(value["exit_code"], 2);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = hasher();
    let output = std::process::Command::new(program.get_program())
        .args(["--quiet", "digest", "--local", "--text", "abc"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn nothing_is_coloured_away_from_a_terminal() {
    let output = run(&["digest", "--local", "--text", "abc"]);
    assert!(!output.stdout.contains(&0x1b));
    assert!(!output.stderr.contains(&0x1b));
}
