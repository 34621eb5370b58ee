//! What the screen shows, as a value, and how inputs change it.
//!
//! Pure: no clock, no terminal, no socket. Time comes in as [`Input::Second`].

use std::cmp::{Ordering, Reverse};
use std::collections::VecDeque;

use hasher_wire::{DeviceReport, DeviceState, EventBody, SessionReport, StatusReport};

use crate::command::devices::hottest;
use crate::control::Request;
use crate::error::{CliError, Exit};
use crate::feed::Update;
use crate::style::Style;

/// Seconds of history: as many as a very wide terminal has columns.
const HISTORY_SECONDS: usize = 512;

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// The daemon, or the lack of it.
    Update(Update),
    /// A key.
    Key(Key),
    /// A second has passed.
    Second,
    /// What was asked over D-Bus is done, or not.
    Done(Result<(), CliError>),
    /// The terminal has another size.
    Resized,
    /// Somebody else wrote on the terminal.
    Repaint,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-C, or a signal that asks for an end.
    End,
    /// There is nothing more to show.
    Ended(CliError),
}

/// Keys by their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Leave.
    Quit,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The other table.
    Pane,
    /// Another order of the table.
    Sort,
    /// Pause the selected device.
    Pause,
    /// Resume the selected device.
    Resume,
    /// Show or hide the help.
    Help,
    /// Hide the help and the message.
    Escape,
}

/// What has to be done outside of the model.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Nothing but to draw.
    None,
    /// Ask a device; the answer comes as [`Input::Done`].
    Act {
        /// Its name.
        device: String,
        /// What to ask.
        request: Request,
    },
    /// Give the terminal back and stop.
    Suspend,
    /// Draw everything anew.
    Repaint,
    /// Leave.
    Quit(Exit),
    /// Leave with an error.
    Fail(CliError),
}

/// The tables that have a selected row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// Devices.
    Devices,
    /// Sessions.
    Sessions,
}

/// Orders of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceOrder {
    /// By name.
    Name,
    /// Fastest first.
    HashRate,
    /// Hottest first.
    Temperature,
    /// Most hardware errors first.
    Errors,
}

/// Orders of the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOrder {
    /// Largest share first.
    Share,
    /// Most live jobs first.
    Live,
    /// Most works first.
    Works,
    /// By number, oldest first.
    Number,
}

/// One line for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The line.
    pub text: String,
    /// Whether something went wrong.
    pub is_error: bool,
}

/// Everything that is shown.
#[derive(Debug, Clone)]
pub struct Model {
    /// Colours and characters that the terminal has.
    pub style: Style,
    /// Where the daemon is.
    pub socket: String,
    /// The newest status; kept while the daemon is away.
    pub status: StatusReport,
    /// Why the daemon is away, while it is.
    pub lost: Option<String>,
    /// Seconds since the newest status, or since the daemon was lost.
    pub age_seconds: u64,
    /// Hash rate of all devices in each of the last seconds, newest last.
    pub history: VecDeque<u64>,
    /// The table that keys move in.
    pub pane: Pane,
    /// How devices are sorted.
    pub device_order: DeviceOrder,
    /// How sessions are sorted.
    pub session_order: SessionOrder,
    /// What was said last.
    pub message: Option<Message>,
    /// Whether the help is shown.
    pub is_helping: bool,
    /// By name, so that it stays selected when the order changes.
    selected_device: Option<String>,
    selected_session: Option<u64>,
    /// What was asked over D-Bus and is not answered yet.
    acting: Option<(String, Request)>,
}

impl Model {
    /// Nothing is known yet.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            socket: String::new(),
            status: StatusReport::default(),
            lost: None,
            age_seconds: 0,
            history: VecDeque::new(),
            pane: Pane::Devices,
            device_order: DeviceOrder::Name,
            session_order: SessionOrder::Share,
            message: None,
            is_helping: false,
            selected_device: None,
            selected_session: None,
            acting: None,
        }
    }

    /// Changes the model, and says what is to be done besides.
    pub fn take(&mut self, input: Input) -> Effect {
        match input {
            Input::Update(update) => self.update(update),
            Input::Key(key) => return self.key(key),
            Input::Second => self.second(),
            Input::Done(done) => self.done(done),
            Input::Resized => {}
            Input::Repaint => return Effect::Repaint,
            Input::Suspend => return Effect::Suspend,
            Input::End => return Effect::Quit(Exit::Interrupted),
            Input::Ended(error) => return Effect::Fail(error),
        }
        Effect::None
    }

    fn update(&mut self, update: Update) {
        match update {
            Update::Connected(session) => {
                self.socket = session.peer;
                self.lost = None;
                self.age_seconds = 0;
            }
            Update::Lost(error) => {
                self.lost = Some(error.message);
                self.age_seconds = 0;
            }
            Update::Event(body) => {
                // Nothing else was subscribed to.
                if let EventBody::Status { status } = *body {
                    self.status = status;
                    self.age_seconds = 0;
                    self.select_what_is_there();
                }
            }
        }
    }

    fn second(&mut self) {
        self.age_seconds += 1;
        if self.history.len() == HISTORY_SECONDS {
            self.history.pop_front();
        }
        // What is not known is not assumed to go on.
        let rate = match self.lost {
            Some(_) => 0.0,
            None => self.hash_rate(),
        };
        self.history.push_back(rate as u64);
    }

    fn done(&mut self, done: Result<(), CliError>) {
        let Some((device, request)) = self.acting.take() else {
            return;
        };
        self.message = Some(match done {
            Ok(()) => Message {
                text: format!("{device}: {} done", request.word()),
                is_error: false,
            },
            Err(error) => Message {
                text: match error.hint {
                    Some(hint) => format!("{}; {hint}", error.message),
                    None => error.message,
                },
                is_error: true,
            },
        });
    }

    fn key(&mut self, key: Key) -> Effect {
        // Whatever is said stays until the next key, but not longer.
        if self.acting.is_none() {
            self.message = None;
        }
        match key {
            Key::Quit => return Effect::Quit(Exit::Done),
            Key::Help => self.is_helping = !self.is_helping,
            Key::Escape => self.is_helping = false,
            Key::Pane => {
                self.pane = match self.pane {
                    Pane::Devices => Pane::Sessions,
                    Pane::Sessions => Pane::Devices,
                }
            }
            Key::Sort => self.sort(),
            Key::Up => self.select(|row, _| row.saturating_sub(1)),
            Key::Down => self.select(|row, last| (row + 1).min(last)),
            Key::First => self.select(|_, _| 0),
            Key::Last => self.select(|_, last| last),
            Key::Pause => return self.act(Request::Pause),
            Key::Resume => return self.act(Request::Resume),
        }
        Effect::None
    }

    fn sort(&mut self) {
        match self.pane {
            Pane::Devices => {
                self.device_order = match self.device_order {
                    DeviceOrder::Name => DeviceOrder::HashRate,
                    DeviceOrder::HashRate => DeviceOrder::Temperature,
                    DeviceOrder::Temperature => DeviceOrder::Errors,
                    DeviceOrder::Errors => DeviceOrder::Name,
                }
            }
            Pane::Sessions => {
                self.session_order = match self.session_order {
                    SessionOrder::Share => SessionOrder::Live,
                    SessionOrder::Live => SessionOrder::Works,
                    SessionOrder::Works => SessionOrder::Number,
                    SessionOrder::Number => SessionOrder::Share,
                }
            }
        }
    }

    fn act(&mut self, request: Request) -> Effect {
        let problem = |text: &str| {
            Some(Message {
                text: text.to_owned(),
                is_error: true,
            })
        };
        if self.acting.is_some() {
            self.message = problem("the last request is not answered yet");
            return Effect::None;
        }
        let Some(device) = self.selected_device.clone() else {
            self.message = problem("there is no device");
            return Effect::None;
        };
        self.acting = Some((device.clone(), request));
        self.message = Some(Message {
            text: format!("{device}: {} asked for", request.word()),
            is_error: false,
        });
        Effect::Act { device, request }
    }

    /// Moves the selection of the pane: from a row, and the last one, to a row.
    fn select(&mut self, to: impl Fn(usize, usize) -> usize) {
        match self.pane {
            Pane::Devices => {
                let devices = self.devices();
                let row = to(self.device_row().unwrap_or(0), devices.len().max(1) - 1);
                let id = devices.get(row).map(|device| device.id.clone());
                self.selected_device = id;
            }
            Pane::Sessions => {
                let sessions = self.sessions();
                let row = to(self.session_row().unwrap_or(0), sessions.len().max(1) - 1);
                let id = sessions.get(row).map(|session| session.id);
                self.selected_session = id;
            }
        }
    }

    /// Selects the first row where the selected one is gone.
    fn select_what_is_there(&mut self) {
        if self.device_row().is_none() {
            self.selected_device = self.devices().first().map(|device| device.id.clone());
        }
        if self.session_row().is_none() {
            self.selected_session = self.sessions().first().map(|session| session.id);
        }
    }

    /// Whether the daemon has said anything yet.
    pub fn is_known(&self) -> bool {
        !self.status.daemon.version.is_empty()
    }

    /// The devices in their order.
    pub fn devices(&self) -> Vec<&DeviceReport> {
        let mut devices: Vec<&DeviceReport> = self.status.devices.iter().collect();
        devices.sort_by(|a, b| {
            let order = match self.device_order {
                DeviceOrder::Name => Ordering::Equal,
                DeviceOrder::HashRate => rate(b).total_cmp(&rate(a)),
                DeviceOrder::Temperature => hottest(b).cmp(&hottest(a)),
                DeviceOrder::Errors => b.counters.hardware_errors.cmp(&a.counters.hardware_errors),
            };
            order.then_with(|| a.id.cmp(&b.id))
        });
        devices
    }

    /// The sessions in their order.
    pub fn sessions(&self) -> Vec<&SessionReport> {
        let mut sessions: Vec<&SessionReport> = self.status.sessions.iter().collect();
        sessions.sort_by_key(|session| session.id);
        match self.session_order {
            SessionOrder::Number => {}
            SessionOrder::Share => sessions.sort_by(|a, b| b.share.total_cmp(&a.share)),
            SessionOrder::Live => sessions.sort_by_key(|session| Reverse(session.jobs_live)),
            SessionOrder::Works => sessions.sort_by_key(|session| Reverse(session.works)),
        }
        sessions
    }

    /// Row of the selected device.
    pub fn device_row(&self) -> Option<usize> {
        let id = self.selected_device.as_ref()?;
        self.devices().iter().position(|device| device.id == *id)
    }

    /// Row of the selected session.
    pub fn session_row(&self) -> Option<usize> {
        let id = self.selected_session?;
        self.sessions().iter().position(|session| session.id == id)
    }

    /// The selected device.
    pub fn selected(&self) -> Option<&DeviceReport> {
        let id = self.selected_device.as_ref()?;
        self.status.devices.iter().find(|device| device.id == *id)
    }

    /// Double hashes a second of all devices in the last minute.
    pub fn hash_rate(&self) -> f64 {
        self.status.devices.iter().map(rate).sum()
    }

    /// Seconds since the daemon started, as far as is known.
    pub fn uptime_seconds(&self) -> u64 {
        match self.lost {
            Some(_) => self.status.daemon.uptime_s,
            None => self.status.daemon.uptime_s + self.age_seconds,
        }
    }
}

/// A device that is not there has no rate, whatever it did a minute ago.
fn rate(device: &DeviceReport) -> f64 {
    match device.state {
        DeviceState::Ready | DeviceState::Paused => device.hash_rate_hps.minute,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::top::samples;

    fn press(model: &mut Model, keys: &[Key]) -> Vec<Effect> {
        let take = |key: &Key| model.take(Input::Key(*key));
        keys.iter().map(take).collect()
    }

    fn ids(model: &Model) -> Vec<&str> {
        model.devices().iter().map(|d| d.id.as_str()).collect()
    }

    #[test]
    fn the_selected_device_stays_selected_when_the_order_changes() {
        let mut model = samples::several();
        press(&mut model, &[Key::Down]);
        let selected = model.selected().unwrap().id.clone();
        let before = ids(&model).join(" ");
        press(&mut model, &[Key::Sort]);
        assert_ne!(ids(&model).join(" "), before);
        assert_eq!(model.selected().unwrap().id, selected);
    }

    #[test]
    fn the_selection_stops_at_both_ends() {
        let mut model = samples::several();
        press(&mut model, &[Key::Up, Key::Up]);
        assert_eq!(model.device_row(), Some(0));
        press(&mut model, &[Key::Down; 40]);
        assert_eq!(model.device_row(), Some(model.devices().len() - 1));
        let mut empty = samples::empty();
        press(&mut empty, &[Key::Down, Key::Pane, Key::Down, Key::Last]);
        assert_eq!(empty.device_row(), None);
    }

    #[test]
    fn a_device_that_goes_away_gives_the_selection_to_another() {
        let mut model = samples::several();
        press(&mut model, &[Key::Last]);
        let mut status = model.status.clone();
        let gone = model.selected().unwrap().id.clone();
        status.devices.retain(|device| device.id != gone);
        let event = Update::Event(Box::new(EventBody::Status { status }));
        model.take(Input::Update(event));
        assert_eq!(model.device_row(), Some(0));
    }

    #[test]
    fn one_request_is_made_at_a_time_and_its_answer_is_shown() {
        let mut model = samples::several();
        let device = model.selected().unwrap().id.clone();
        let effects = press(&mut model, &[Key::Pause, Key::Resume]);
        let request = Request::Pause;
        assert_eq!(effects, [Effect::Act { device, request }, Effect::None]);
        let refused = CliError::new(Exit::NotPermitted, "cannot pause it: no").hint("be root");
        model.take(Input::Done(Err(refused)));
        let message = model.message.clone().unwrap();
        assert_eq!(message.text, "cannot pause it: no; be root");
        assert!(message.is_error);
        assert!(matches!(
            press(&mut model, &[Key::Resume])[0],
            Effect::Act { .. }
        ));
    }

    #[test]
    fn nothing_to_pause_is_said() {
        let mut model = samples::empty();
        assert_eq!(press(&mut model, &[Key::Pause]), [Effect::None]);
        assert!(model.message.unwrap().is_error);
    }

    #[test]
    fn the_history_is_bounded_and_falls_to_nothing_without_a_daemon() {
        let mut model = samples::several();
        for _ in 0..HISTORY_SECONDS + 7 {
            model.take(Input::Second);
        }
        assert_eq!(model.history.len(), HISTORY_SECONDS);
        assert_eq!(model.history.back(), Some(&(model.hash_rate() as u64)));
        model.take(Input::Update(Update::Lost(CliError::failed("x"))));
        model.take(Input::Second);
        assert_eq!(model.history.back(), Some(&0));
    }

    #[test]
    fn every_order_comes_back_to_the_first() {
        let mut model = samples::several();
        for pane in [Pane::Devices, Pane::Sessions] {
            let first = (model.device_order, model.session_order);
            press(&mut model, &[Key::Sort; 4]);
            assert_eq!((model.device_order, model.session_order), first, "{pane:?}");
            press(&mut model, &[Key::Pane]);
        }
    }
}
