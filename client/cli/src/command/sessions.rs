//! `hasher sessions`: one line for each client.

use clap::Args;
use hasher_wire::SessionReport;
use serde::Serialize;

use super::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::table::{Align, count, lines, printable};

/// List the sessions, one line each
///
/// LIVE are search jobs that wait or are worked on, CREDITS how many more the
/// session may hand in of how many, SHARE its part of the works of the last
/// minute. This program's own session is among them, unless there are more than
/// the daemon's status has room for (at least 64); those with the fewest live jobs
/// are left out then, and the last line says how many.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher sessions
  hasher --json sessions | jq '[.sessions[] | {name, uid, share}]'")]
pub struct SessionsArgs {}

/// Most characters of a client's name in the table.
const NAME_MAX: usize = 16;

/// The JSON answer.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    sessions: &'a [SessionReport],
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

/// Asks the daemon and prints its sessions.
///
/// # Errors
/// When no daemon answers.
pub fn run(_: &SessionsArgs, context: &Context) -> Result<Exit, CliError> {
    let status = daemon::connect(context.socket.as_deref(), None)?.status()?;
    let left_out = Some(status.sessions_left_out).filter(|left_out| *left_out > 0);
    context.output.report(&Report {
        schema: "hasher.sessions/1",
        sessions: &status.sessions,
        left_out,
    })?;
    for line in table(&status.sessions) {
        context.output.line(line)?;
    }
    if let Some(line) = more(status.sessions_left_out) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn table(sessions: &[SessionReport]) -> Vec<String> {
    let columns = [
        ("ID", Align::Right),
        ("NAME", Align::Left),
        ("USER", Align::Right),
        ("PROCESS", Align::Right),
        ("LIVE", Align::Right),
        ("CREDITS", Align::Right),
        ("SHARE", Align::Right),
        ("WORKS", Align::Right),
        ("DIGESTS", Align::Right),
    ];
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    lines(&columns, &rows)
}

/// What is said of sessions for which a status document has no room.
pub fn more(left_out: u64) -> Option<String> {
    match left_out {
        0 => None,
        1 => Some("and 1 more".to_owned()),
        _ => Some(format!("and {} more", count(left_out))),
    }
}

fn row(session: &SessionReport) -> Vec<String> {
    vec![
        session.id.to_string(),
        printable(&session.name, NAME_MAX),
        session.uid.map_or_else(String::new, |uid| uid.to_string()),
        session.pid.map_or_else(String::new, |pid| pid.to_string()),
        count(u64::from(session.jobs_live)),
        credits(session),
        share(session),
        count(session.works),
        count(session.digests),
    ]
}

/// Free credits of all.
pub fn credits(session: &SessionReport) -> String {
    format!("{}/{}", session.credits_free, session.credits)
}

/// Its part of the works, in whole percent; below one the decimals matter.
pub fn share(session: &SessionReport) -> String {
    match session.share * 100.0 {
        percent if percent > 0.0 && percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_steer_the_terminal_nor_widen_the_table_by_its_name() {
        let session = SessionReport {
            id: 9999,
            name: "\u{1b}[2Jevil\n".repeat(9),
            uid: Some(65_534),
            pid: Some(4_194_304),
            credits: 64,
            share: 0.333,
            works: u64::MAX,
            digests: u64::MAX,
            ..SessionReport::default()
        };
        let lines = table(&[session]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in lines {
            assert!(!line.contains(['\u{1b}', '\n']), "{line}");
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn sessions_without_room_are_counted() {
        assert_eq!(more(0), None);
        assert_eq!(more(1).unwrap(), "and 1 more");
        assert_eq!(more(936).unwrap(), "and 936 more");
    }

    #[test]
    fn shares_are_whole_percents_unless_that_hides_them() {
        let text = |part| {
            let session = SessionReport {
                share: part,
                ..SessionReport::default()
            };
            share(&session)
        };
        assert_eq!(text(0.0), "0 %");
        assert_eq!(text(0.004), "0.4 %");
        assert_eq!(text(0.666), "67 %");
        assert_eq!(text(1.0), "100 %");
    }
}
