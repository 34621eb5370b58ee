//! Completions for the shells, named as each shell looks for them.

use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};

use crate::Page;

/// The folder of each shell. Names of devices are not completed: that would connect to
/// the daemon at every press of Tab.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "completions/bash"),
    (Shell::Zsh, "completions/zsh"),
    (Shell::Fish, "completions/fish"),
];

/// One file for each shell.
pub fn of(command: &Command) -> impl Iterator<Item = Page> {
    SHELLS.iter().map(|(shell, folder)| {
        let name = command.get_name();
        let file = match shell {
            Shell::Zsh => format!("_{name}"),
            Shell::Fish => format!("{name}.fish"),
            _ => name.to_owned(),
        };
        let mut text = Vec::new();
        generate(*shell, &mut command.clone(), name, &mut text);
        Page {
            path: Path::new(folder).join(file),
            text,
        }
    })
}
