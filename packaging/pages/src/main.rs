//! Writes the manual pages and shell completions of both programs into a folder.
//!
//! ```text
//! hasher_cli::command() ────┐              ┌─► man/man1/hasher*.1
//! hasher_daemon::command() ─┼─► this crate ┼─► man/man8/hasherd.8, man/man5/hasherd.toml.5
//! default_file() ───────────┘              ├─► completions/{bash,zsh,fish}
//!                                          └─► examples/hasherd.toml
//! ```
//!
//! Run when a package is built; not a part of it. Owns the names of the files, as their
//! readers look for them, and the few sections that no option has. The same sources give
//! the same bytes: nothing in them is of today.

mod completions;
mod manual;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

/// A file below the folder, and what stands in it.
struct Page {
    path: PathBuf,
    text: Vec<u8>,
}

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("error: one folder is needed, into which pages and completions are written");
        eprintln!("  hint: hasher-pages FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let folder = Path::new(&folder).display();
            eprintln!("error: cannot write below {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    for page in pages()? {
        let path = folder.join(page.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, page.text)?;
    }
    Ok(())
}

fn pages() -> io::Result<Vec<Page>> {
    let mut pages = manual::of_hasher()?;
    pages.push(manual::of_hasherd()?);
    pages.push(manual::of_configuration());
    pages.push(Page {
        path: PathBuf::from("examples/hasherd.toml"),
        text: hasher_daemon::config::default_file().into_bytes(),
    });
    for command in [hasher_cli::command(), hasher_daemon::command()] {
        pages.extend(completions::of(&command));
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn text(path: &str) -> String {
        let mut all = pages().unwrap().into_iter();
        let page = all.find(|page| page.path == Path::new(path));
        let page = page.unwrap_or_else(|| panic!("no page {path}"));
        String::from_utf8(page.text).unwrap()
    }

    #[test]
    fn every_command_has_a_page() {
        for command in hasher_cli::command().get_subcommands() {
            if command.get_name() != "help" {
                let name = format!("man/man1/hasher-{}.1", command.get_name());
                assert!(text(&name).contains(".SH NAME"), "{name}");
            }
        }
        let nested = text("man/man1/hasher-device-configure.1");
        assert!(nested.contains("frequency"), "{nested}");
    }

    #[test]
    fn the_manual_of_the_file_names_every_setting() {
        let manual = text("man/man5/hasherd.toml.5");
        let example = text("examples/hasherd.toml");
        for setting in ["sessions_per_user", "pause_celsius"] {
            assert!(manual.contains(setting), "{setting}");
            assert!(example.contains(setting), "{setting}");
        }
    }

    #[test]
    fn no_two_pages_have_one_name() {
        let mut paths: Vec<PathBuf> = pages().unwrap().into_iter().map(|p| p.path).collect();
        let all = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }

    #[test]
    fn the_same_sources_give_the_same_bytes() {
        let one: Vec<_> = pages().unwrap().into_iter().map(|p| p.text).collect();
        let two: Vec<_> = pages().unwrap().into_iter().map(|p| p.text).collect();
        assert_eq!(one, two);
    }

    #[test]
    fn bash_takes_the_completions_and_offers_commands() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let script = "set -e; source completions/bash/hasher; COMP_WORDS=(hasher dev); \
                      COMP_CWORD=1; _hasher hasher dev hasher; echo \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["-c", script])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let offered = String::from_utf8(output.stdout).unwrap();
        let mut offered: Vec<&str> = offered.split_whitespace().collect();
        offered.sort_unstable();
        assert_eq!(offered, ["device", "devices"], "{:?}", output.stderr);
    }
}
