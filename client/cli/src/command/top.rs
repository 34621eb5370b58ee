//! `hasher top`: the daemon at a glance, live.
//!
//! ```text
//! feed (socket) ─┐
//! keys ──────────┤ Input ┌───────┐ Effect ──► Control (D-Bus), on a thread
//! signals ───────┼──────►│ Model │
//! seconds ───────┤       └───┬───┘
//! answers ───────┘           └──► view ──► screen
//! ```
//!
//! Owns the threads and the loop. [`Model`] is a value that inputs change, the view a
//! pure function of it. Nothing is polled: the daemon tells what changes, and only the
//! clock of the history ticks here.

mod keys;
mod layout;
mod model;
mod screen;
mod view;

#[cfg(test)]
mod samples;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hasher_wire::Topics;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;

use self::model::{Effect, Input, Model};
use self::screen::Screen;
use super::Context;
use crate::control::{Bus, BusArgs, Control, Request};
use crate::error::{CliError, Exit};
use crate::feed;

/// Watch devices and sessions on a live screen
///
/// Needs a terminal of at least 80 by 24 characters. Press ? for the keys. Pausing
/// and resuming go over D-Bus and need the right to do so, as `hasher device` does.
///
/// For scripts there are `hasher watch` and `hasher metrics`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher top
  sudo hasher top
  hasher top --bus session")]
pub struct TopArgs {
    #[command(flatten)]
    bus: BusArgs,
}

/// Inputs that wait while the screen is drawn; whoever has more waits too.
const INPUTS_MAX: usize = 64;
/// How often the history gets a value.
const SECOND: Duration = Duration::from_secs(1);

/// Shows the screen until it is ended.
///
/// # Errors
/// Without a terminal, or when no daemon answers at first.
pub fn run(args: &TopArgs, context: &Context) -> Result<Exit, CliError> {
    if context.output.is_json() {
        return Err(CliError::usage("a live screen is no JSON")
            .hint("use `hasher --json watch --status`, one object a line"));
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CliError::usage("a live screen needs a terminal")
            .hint("use `hasher status`, `hasher watch` or `hasher metrics`"));
    }
    let (sender, inputs) = mpsc::sync_channel(INPUTS_MAX);
    listen(context, sender.clone())?;
    let mut model = Model::new(context.output.style);
    // Without a daemon there is no screen, only an error.
    while !model.is_known() {
        match inputs.recv() {
            Ok(Input::Ended(error)) => return Err(error),
            Ok(input) => _ = model.take(input),
            Err(_) => return Ok(Exit::Failed),
        }
    }
    read_signals(sender.clone())?;
    let mut screen = Screen::open()?;
    read_keys(sender.clone())?;
    show(&mut model, &mut screen, &inputs, &sender, args.bus.bus)
}

fn show(
    model: &mut Model,
    screen: &mut Screen,
    inputs: &Receiver<Input>,
    sender: &SyncSender<Input>,
    bus: Bus,
) -> Result<Exit, CliError> {
    let mut next_second = Instant::now() + SECOND;
    loop {
        screen.draw(model)?;
        let left = next_second.saturating_duration_since(Instant::now());
        let input = match inputs.recv_timeout(left) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => {
                // A process that was stopped does not make up for it.
                next_second = Instant::now() + SECOND;
                Input::Second
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Exit::Failed),
        };
        match model.take(input) {
            Effect::None => {}
            Effect::Act { device, request } => act(bus, device, request, sender.clone())?,
            Effect::Suspend => screen.suspend()?,
            Effect::Repaint => screen.repaint()?,
            Effect::Quit(exit) => return Ok(exit),
            Effect::Fail(error) => return Err(error),
        }
    }
}

fn listen(context: &Context, sender: SyncSender<Input>) -> Result<(), CliError> {
    let socket = context.socket.clone();
    spawn("feed", move || {
        let told = feed::follow(socket.as_deref(), Topics::STATUS, |update| {
            // Nobody listens only when the screen has ended.
            let gone = |_| CliError::output_closed();
            sender.send(Input::Update(update)).map_err(gone)
        });
        let Err(error) = told;
        _ = sender.send(Input::Ended(error));
    })
}

fn read_keys(sender: SyncSender<Input>) -> Result<(), CliError> {
    spawn("keys", move || {
        loop {
            let input = match keys::read() {
                Ok(Some(input)) => input,
                Ok(None) => continue,
                Err(error) => Input::Ended(CliError::io("read the keyboard", &error)),
            };
            let is_end = matches!(input, Input::Ended(_));
            if sender.send(input).is_err() || is_end {
                return;
            }
        }
    })
}

fn read_signals(sender: SyncSender<Input>) -> Result<(), CliError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT])
        .map_err(|error| CliError::io("handle signals", &error))?;
    spawn("signals", move || {
        for signal in signals.forever() {
            let input = match signal {
                SIGTSTP => Input::Suspend,
                SIGCONT => Input::Repaint,
                _ => Input::End,
            };
            if sender.send(input).is_err() {
                return;
            }
        }
    })
}

/// Does it on a thread, since polkit may ask somebody for a password meanwhile. The
/// model asks for one thing at a time.
fn act(
    bus: Bus,
    device: String,
    request: Request,
    sender: SyncSender<Input>,
) -> Result<(), CliError> {
    spawn("control", move || {
        let done = Control::connect(bus).and_then(|control| control.device(&device, request));
        _ = sender.send(Input::Done(done.map(drop)));
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), CliError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|error| CliError::io("start a thread", &error))
}
