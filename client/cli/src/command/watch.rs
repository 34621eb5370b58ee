//! `hasher watch`: one line for each event, as it happens.

use std::io;
use std::process;
use std::thread;
use std::time::SystemTime;

use clap::Args;
use hasher_client::Session;
use hasher_wire::{DeviceReport, DeviceState, EventBody, StatusReport, Topics};
use humantime::format_rfc3339_millis;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

use super::Context;
use crate::error::{CliError, Exit};
use crate::feed::{self, Update};
use crate::interrupt;
use crate::table::{count, metric, printable};

/// Print events as they happen, one a line
///
/// First the present state of each device, then every change. When the daemon goes
/// away, this says so, waits until it is back, and goes on; end it with Ctrl-C.
///
/// Under --json each line is one object.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher watch
  hasher watch --status
  hasher --json watch | jq -c 'select(.event == \"device\").device | {id, state}'")]
pub struct WatchArgs {
    /// Also print the whole status when it changes, at most once a second
    #[arg(long)]
    status: bool,
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    time: String,
    #[serde(flatten)]
    event: Event<'a>,
}

/// What happened.
#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    /// The daemon's own words.
    Daemon(&'a EventBody),
    /// Ours about the connection.
    Connection(Connection<'a>),
}

/// What this program knows better than the daemon.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Connection<'a> {
    Connected {
        socket: &'a str,
        session_protocol: String,
        daemon_version: &'a str,
    },
    Lost {
        error: &'a str,
        hint: Option<&'a str>,
    },
}

/// Follows the daemon until the reader or a signal ends it.
///
/// # Errors
/// When no daemon answers at first, or standard output takes nothing.
pub fn run(args: &WatchArgs, context: &Context) -> Result<Exit, CliError> {
    let topics = match args.status {
        true => Topics::ALL,
        false => Topics::DEVICES,
    };
    // A line that is being written is finished first, and no other is begun.
    interrupt::end_on_interrupt(|| std::mem::forget(io::stdout().lock()))?;
    end_with_reader()?;
    let never = feed::follow(context.socket.as_deref(), topics, |update| {
        let event = match &update {
            Update::Connected(session) => Event::Connection(connected(session)),
            Update::Event(body) => Event::Daemon(body),
            Update::Lost(error) => Event::Connection(lost(error)),
        };
        let Some(words) = words(&update) else {
            return Ok(());
        };
        let time = format_rfc3339_millis(SystemTime::now()).to_string();
        // Names of other programs are in it.
        let text = format!("{time}  {}", printable(&words, usize::MAX));
        let line = Line {
            schema: "hasher.event/1",
            time,
            event,
        };
        context.output.event(&line, &text)
    })?;
    match never {}
}

fn connected(session: &Session) -> Connection<'_> {
    Connection::Connected {
        socket: &session.peer,
        session_protocol: session.version.to_string(),
        daemon_version: &session.daemon,
    }
}

fn lost(error: &CliError) -> Connection<'_> {
    Connection::Lost {
        error: &error.message,
        hint: error.hint.as_deref(),
    }
}

/// The event for people; nothing for one that this program does not know.
fn words(update: &Update) -> Option<String> {
    Some(match update {
        Update::Connected(session) if session.daemon.is_empty() => {
            format!("hasherd  connected: {}", session.peer)
        }
        Update::Connected(session) => format!(
            "hasherd  connected: {}, version {}",
            session.peer, session.daemon
        ),
        Update::Lost(error) => format!("hasherd  lost: {}; reconnecting", error.message),
        Update::Event(body) => match body.as_ref() {
            EventBody::Device { device } => device_words(device),
            EventBody::Removed { id } => format!("{id}  removed"),
            EventBody::Status { status } => format!("status  {}", summary(status)),
            EventBody::Unknown => return None,
        },
    })
}

fn device_words(device: &DeviceReport) -> String {
    let mut text = format!(
        "{}  {}, {}",
        device.id,
        device.kind.as_str(),
        device.state.as_str()
    );
    if let Some(reason) = &device.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}

fn summary(status: &StatusReport) -> String {
    let is_ready = |device: &&DeviceReport| device.state == DeviceState::Ready;
    let rate: f64 = status
        .devices
        .iter()
        .map(|device| device.hash_rate_hps.minute)
        .sum();
    format!(
        "{} of {} devices ready, {}, {} sessions, {} jobs live, {} done, {} failed",
        status.devices.iter().filter(is_ready).count(),
        status.devices.len(),
        metric(rate, "H/s"),
        status.sessions.len(),
        count(status.totals.jobs_live),
        count(status.totals.jobs_done),
        count(status.totals.jobs_failed),
    )
}

/// Ends the process as soon as nobody reads its output any more, as `head` does,
/// and not only at the next event, which may never come.
fn end_with_reader() -> Result<(), CliError> {
    thread::Builder::new()
        .name("reader".to_owned())
        .spawn(|| {
            let stdout = io::stdout();
            loop {
                // Nothing is asked for: only the end of the other side is told.
                let mut place = [PollFd::new(&stdout, PollFlags::empty())];
                match poll(&mut place, None) {
                    Ok(_) => process::exit(Exit::Done as i32),
                    Err(rustix::io::Errno::INTR) => {}
                    // What cannot be watched is noticed when it is written to.
                    Err(_) => return,
                }
            }
        })
        .map(drop)
        .map_err(|error| CliError::io("watch standard output", &error))
}
