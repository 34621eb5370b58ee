//! Manual pages: what the options say, and the sections that stand beside them.

use std::io;
use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;
use hasher_daemon::config;

use crate::Page;

/// What is named at the foot of each page.
const MANUAL: &str = "Hasher";

/// What no option of `hasher` says.
const HASHER: &str = r#".SH ENVIRONMENT
.TP
\fBHASHER_SOCKET\fR
The daemon's socket, as \fB\-\-socket\fR.
.TP
\fBNO_COLOR\fR
When set and not empty, nothing is coloured.
.TP
\fBDBUS_SYSTEM_BUS_ADDRESS\fR, \fBDBUS_SESSION_BUS_ADDRESS\fR
Where \fBhasher device\fR, \fBhasher reload\fR and \fBhasher top\fR find a bus.
.SH FILES
.TP
\fI$XDG_RUNTIME_DIR/hasher/hasherd.sock\fR, \fI/run/hasher/hasherd.sock\fR
The sockets that are tried, your own daemon's first.
.SH SEE ALSO
\fBhasherd\fR(8), \fBhasherd.toml\fR(5), and the pages of the commands, such as
\fBhasher\-search\fR(1).
"#;

/// What no option of `hasherd` says.
const HASHERD: &str = r#".SH SIGNALS
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
Stop in good order: jobs are ended, boards are given back.
.TP
\fBSIGHUP\fR
Read the configuration again. A file with a mistake is refused, and the old settings stay.
When the daemon's terminal was closed, it stops in good order instead.
.SH EXIT STATUS
0 after an orderly end, 1 when it failed or a configuration does not hold, 2 for wrong
usage, 5 when the system does not permit it.
.SH FILES
.TP
\fI/etc/hasher/hasherd.toml\fR
Settings, see \fBhasherd.toml\fR(5). It need not exist.
.TP
\fI/run/hasher/hasherd.sock\fR
The socket of the system's daemon, for members of group \fBhasher\fR.
.SH NOTES
When the package is purged, two things are left: the user \fBhasherd\fR and the group
\fBhasher\fR, whose numbers old files may still carry, and what is in the journal.
.SH SEE ALSO
\fBhasher\fR(1), \fBhasherd.toml\fR(5)
"#;

/// `hasher` and a page for each of its commands.
///
/// # Errors
/// What the generator says.
pub fn of_hasher() -> io::Result<Vec<Page>> {
    let mut command = hasher_cli::command().disable_help_subcommand(true);
    // Names of commands become those of pages: `hasher-device-pause`.
    command.build();
    let mut pages = Vec::new();
    add(&command, HASHER, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, more: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command, "1", more)?);
    let more = ".SH SEE ALSO\n\\fBhasher\\fR(1)\n";
    for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        add(command, more, pages)?;
    }
    Ok(())
}

/// `hasherd`.
///
/// # Errors
/// What the generator says.
pub fn of_hasherd() -> io::Result<Page> {
    page(&hasher_daemon::command(), "8", HASHERD)
}

fn page(command: &Command, section: &str, more: &str) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let version = command.get_version().unwrap_or_default();
    let mut text = Vec::new();
    Man::new(command.clone())
        .section(section)
        .manual(MANUAL)
        .source(format!("{MANUAL} {version}"))
        .render(&mut text)?;
    text.extend_from_slice(more.as_bytes());
    Ok(Page {
        path: PathBuf::from(format!("man/man{section}/{name}.{section}")),
        text,
    })
}

/// The configuration file: its own example is its description.
pub fn of_configuration() -> Page {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        r#".ie \n(.g .ds Aq \(aq
.el .ds Aq '
.TH hasherd.toml 5 "" "{MANUAL} {version}" "{MANUAL}"
.SH NAME
hasherd.toml \- settings of \fBhasherd\fR(8)
.SH DESCRIPTION
The file \fI/etc/hasher/hasherd.toml\fR need not exist; every setting then has its
default. Unknown keys are refused. \fBhasherd \-\-check\-config\fR says what is wrong,
\fBsystemctl reload hasherd\fR applies what needs no restart, \fBhasher config show\fR
says what is in effect and where it comes from.
.PP
Every setting, at its default and commented out, as \fBhasherd \-\-print\-config\fR
prints it:
.PP
.nf
{}.fi
.SH SEE ALSO
\fBhasherd\fR(8), \fBhasher\fR(1)
"#,
        verbatim(&config::default_file())
    );
    Page {
        path: PathBuf::from("man/man5/hasherd.toml.5"),
        text: text.into_bytes(),
    }
}

/// A text of which roff changes nothing.
fn verbatim(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 5 / 4);
    for line in text.lines() {
        // A line that began with one of these would be a command.
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for c in line.chars() {
            match c {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '\'' => out.push_str("\\*(Aq"),
                c if c.is_ascii() => out.push(c),
                c => out.push_str(&format!("\\[u{:04X}]", u32::from(c))),
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_command_of_roff() {
        assert_eq!(verbatim(".a\n'b"), "\\&.a\n\\&\\*(Aqb\n");
        assert_eq!(verbatim("--x \\ é°"), "\\-\\-x \\e \\[u00E9]\\[u00B0]\n");
    }
}
