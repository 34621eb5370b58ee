//! The model as a picture: a pure function from [`Model`] to characters.
//!
//! Owns columns, colours and words of the screen. Without colours nothing is lost: a
//! state is a word, a selected row has a mark.

use hasher_wire::{DeviceReport, DeviceState, SessionReport};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, Borders, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState, Wrap,
};

use super::layout::{COLUMNS_MIN, LINES_MIN, heights};
use super::model::{DeviceOrder, Model, Pane, SessionOrder};
use crate::command::devices::{hottest, rate};
use crate::command::sessions::{credits, share};
use crate::device_text::{facts, heading, joined};
use crate::table::{count, metric, printable, seconds, wrapped};

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < LINES_MIN {
        let text = format!(
            "hasher top needs {COLUMNS_MIN} columns and {LINES_MIN} lines;\n\
             this terminal has {} and {}.\n\nMake it larger, or press q.",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let look = Look(model.style);
    let foot = foot(model, look);
    let heights = heights(
        area.height,
        model.status.devices.len(),
        model.status.sessions.len(),
        u16::try_from(foot.width().div_ceil(usize::from(area.width))).unwrap_or(u16::MAX),
    );
    let [head, devices, detail, sessions, last] = Layout::vertical([
        Constraint::Length(heights.head),
        Constraint::Length(heights.devices),
        Constraint::Length(heights.detail),
        Constraint::Length(heights.sessions),
        Constraint::Length(heights.foot),
    ])
    .areas(area);
    draw_head(model, look, frame, head);
    draw_devices(model, look, frame, devices);
    draw_detail(model, look, frame, detail);
    draw_sessions(model, look, frame, sessions);
    frame.render_widget(Paragraph::new(foot).wrap(Wrap { trim: false }), last);
    if model.lost.is_some() {
        // What is below is what was last known.
        for part in [devices, detail, sessions] {
            frame.buffer_mut().set_style(part, look.dim());
        }
    }
    if model.is_helping {
        draw_help(look, frame, area);
    }
}

/// What the terminal can show.
#[derive(Clone, Copy)]
struct Look(crate::style::Style);

impl Look {
    fn colour(self, colour: Color) -> Style {
        match self.0.has_colour() {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn dim(self) -> Style {
        match self.0.has_colour() {
            true => Style::new().add_modifier(Modifier::DIM),
            false => Style::new(),
        }
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn state(self, state: DeviceState) -> Style {
        match state {
            DeviceState::Ready => self.colour(Color::Green),
            DeviceState::Busy | DeviceState::Denied | DeviceState::Refused => {
                self.colour(Color::Red)
            }
            DeviceState::Absent => self.dim(),
            _ => self.colour(Color::Yellow),
        }
    }

    fn bars(self) -> symbols::bar::Set<'static> {
        match self.0.has_unicode() {
            true => symbols::bar::NINE_LEVELS,
            false => symbols::bar::Set {
                full: "#",
                seven_eighths: "#",
                three_quarters: "*",
                five_eighths: "+",
                half: "=",
                three_eighths: "-",
                one_quarter: ":",
                one_eighth: ".",
                empty: " ",
            },
        }
    }

    fn rule(self) -> symbols::border::Set<'static> {
        match self.0.has_unicode() {
            true => symbols::border::PLAIN,
            false => symbols::border::Set {
                top_left: "+",
                top_right: "+",
                bottom_left: "+",
                bottom_right: "+",
                vertical_left: "|",
                vertical_right: "|",
                horizontal_top: "-",
                horizontal_bottom: "-",
            },
        }
    }

    /// A share of a bar of so many columns.
    fn bar(self, share: f64, columns: usize) -> String {
        let full = (share.clamp(0.0, 1.0) * columns as f64).round() as usize;
        let (on, off) = match self.0.has_unicode() {
            true => ("█", "░"),
            false => ("#", "."),
        };
        on.repeat(full) + &off.repeat(columns - full)
    }

    /// The end of a text that is too long: ports are told apart by their ends.
    fn end_of(self, text: &str, columns: usize) -> String {
        let length = text.chars().count();
        if length <= columns {
            return text.to_owned();
        }
        let mark = match self.0.has_unicode() {
            true => '…',
            false => '~',
        };
        let end = text.chars().skip(length + 1 - columns);
        std::iter::once(mark).chain(end).collect()
    }

    /// A part of the screen: a line with a title above it.
    fn part(self, title: String, has_keys: bool) -> Block<'static> {
        let style = match has_keys {
            true => self.bold().add_modifier(Modifier::REVERSED),
            false => self.bold(),
        };
        Block::new()
            .borders(Borders::TOP)
            .border_set(self.rule())
            .border_style(self.dim())
            // The rule is dim, the title is not.
            .title(Span::styled(
                format!(" {title} "),
                style.remove_modifier(Modifier::DIM),
            ))
    }
}

fn draw_head(model: &Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    let [daemon, rate, totals] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    draw_daemon(model, look, frame, daemon);

    let text = metric(model.hash_rate(), "H/s");
    let [number, line] =
        Layout::horizontal([Constraint::Length(12), Constraint::Fill(1)]).areas(rate);
    let number_line = Line::styled(format!("{text:>11}"), look.bold());
    frame.render_widget(number_line, number);
    let columns = usize::from(line.width);
    let history = &model.history;
    let newest = history.iter().skip(history.len().saturating_sub(columns));
    let sparkline = Sparkline::default()
        .bar_set(look.bars())
        .style(look.colour(Color::Cyan))
        .data(newest.copied().collect::<Vec<u64>>());
    frame.render_widget(sparkline, line);

    let sums = &model.status.totals;
    let text = format!(
        " jobs {} live, {} done, {} failed   works {}   hits {}   digests {}",
        count(sums.jobs_live),
        count(sums.jobs_done),
        count(sums.jobs_failed),
        count(sums.works),
        count(sums.hits),
        count(sums.digests)
    );
    frame.render_widget(Line::raw(text), totals);
}

fn draw_daemon(model: &Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    let (state, style) = match &model.lost {
        None => (" connected ".to_owned(), look.colour(Color::Green)),
        Some(_) => {
            let since = seconds(model.age_seconds as f64);
            (format!(" reconnecting, away for {since} "), look.bad())
        }
    };
    let width = u16::try_from(state.chars().count()).unwrap_or(area.width);
    let [left, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
    let daemon = Line::from(vec![
        Span::styled(" hasherd ", look.bold()),
        Span::raw(format!(
            "{}, up {}, {}",
            model.status.daemon.version,
            seconds(model.uptime_seconds() as f64),
            printable(&model.socket, usize::from(left.width)),
        )),
    ]);
    frame.render_widget(daemon, left);
    frame.render_widget(Line::styled(state, style), right);
}

fn draw_devices(model: &Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    let order = match model.device_order {
        DeviceOrder::Name => "name",
        DeviceOrder::HashRate => "hash rate",
        DeviceOrder::Temperature => "temperature",
        DeviceOrder::Errors => "errors",
    };
    let devices = model.devices();
    let title = format!("Devices {}, by {order}", devices.len());
    let block = look.part(title, model.pane == Pane::Devices);
    if devices.is_empty() {
        let text = "  No device. Plug a board in, or start a simulated one:\n  \
                    hasherd --device sim:s3";
        frame.render_widget(Paragraph::new(text).block(block), area);
        return;
    }
    // Everything but the name has its width; the name gets the rest.
    const OTHERS: u16 = 9 + 8 + 5 + 3 + 5 + 6 + 6 + 6 + 8 + 2;
    let room = usize::from(area.width - OTHERS);
    let longest = devices.iter().map(|device| device.id.chars().count()).max();
    let id_columns = longest.unwrap_or(0).clamp(8, room);
    let widths = [
        Constraint::Length(u16::try_from(id_columns).unwrap_or(area.width)),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(3),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    let names = [
        "ID", "KIND", "STATE", "CHIPS", "°C", "RPM", "H/S", "WORKS", "ERRORS",
    ];
    let rows = devices.iter().map(|device| {
        let id = look.end_of(&device.id, id_columns);
        device_row(device, id, look)
    });
    let table = table(rows.collect(), &widths, &names, 4, look).block(block);
    let mut state = TableState::new().with_selected(model.device_row());
    frame.render_stateful_widget(table, area, &mut state);
}

fn device_row(device: &DeviceReport, id: String, look: Look) -> Row<'static> {
    let errors = device.counters.hardware_errors;
    let errors_style = match errors {
        0 => Style::new(),
        _ => look.colour(Color::Red),
    };
    let fans = device.fans_rpm.iter().copied().filter(|rpm| *rpm > 0).min();
    Row::new(vec![
        Cell::new(id),
        Cell::new(device.kind.as_str()),
        Cell::new(Span::styled(
            device.state.as_str(),
            look.state(device.state),
        )),
        Cell::new(joined(&device.chips_per_chain, "+")),
        right(hottest(device).map_or_else(String::new, |celsius| celsius.to_string())),
        right(fans.map_or_else(String::new, |rpm| rpm.to_string())),
        right(rate(device)),
        right(count(device.counters.works)),
        right(count(errors)).style(errors_style),
    ])
}

fn draw_detail(model: &Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    let Some(device) = model.selected() else {
        let block = look.part("No device is selected".to_owned(), false);
        frame.render_widget(block, area);
        return;
    };
    let columns = usize::from(area.width);
    let lines = |line: &str| wrapped(line, columns).into_iter().map(Line::raw);
    let heading = format!("    {}", heading(device, look.0.without_colour()));
    let heading = lines(&heading).map(|line| line.style(look.bold()));
    let facts = facts(device);
    let text: Vec<Line<'_>> = heading
        .chain(facts.iter().flat_map(|fact| lines(fact)))
        .collect();
    let block = look.part(printable(&device.id, columns), false);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

fn draw_sessions(model: &Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    const BAR: usize = 10;
    let order = match model.session_order {
        SessionOrder::Share => "share",
        SessionOrder::Live => "live jobs",
        SessionOrder::Works => "works",
        SessionOrder::Number => "number",
    };
    let sessions = model.sessions();
    let title = match model.status.sessions_left_out {
        0 => format!("Sessions {}, by {order}", sessions.len()),
        _ => format!(
            "Sessions {} of {}, by {order}",
            sessions.len(),
            model.status.open_sessions()
        ),
    };
    let block = look.part(title, model.pane == Pane::Sessions);
    const OTHERS: u16 = 5 + 6 + 7 + 5 + 7 + 6 + 10 + 6 + 8 + 2;
    let room = usize::from(area.width - OTHERS);
    let longest = sessions.iter().map(|session| session.name.chars().count());
    let name_columns = longest.max().unwrap_or(0).clamp(8, room);
    let widths = [
        Constraint::Length(5),
        Constraint::Length(u16::try_from(name_columns).unwrap_or(area.width)),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Length(6),
    ];
    let names = [
        "ID", "NAME", "USER", "PROCESS", "LIVE", "CREDITS", "SHARE", "", "WORKS",
    ];
    let rows = sessions
        .iter()
        .map(|session| session_row(session, BAR, look));
    let table = table(rows.collect(), &widths, &names, 2, look).block(block);
    let mut state = TableState::new().with_selected(model.session_row());
    frame.render_stateful_widget(table, area, &mut state);
}

fn session_row(session: &SessionReport, bar: usize, look: Look) -> Row<'static> {
    /// The library of terminal cells cuts it at the column.
    const NAME_MAX: usize = 64;
    let number = |number: Option<String>| right(number.unwrap_or_default());
    Row::new(vec![
        right(session.id.to_string()),
        Cell::new(printable(&session.name, NAME_MAX)),
        number(session.uid.map(|uid| uid.to_string())),
        number(session.pid.map(|pid| pid.to_string())),
        right(count(u64::from(session.jobs_live))),
        right(credits(session)),
        right(share(session)),
        Cell::new(look.bar(session.share, bar)).style(look.colour(Color::Cyan)),
        right(count(session.works)),
    ])
}

/// A table whose columns from number `words` on are numbers, with their names above
/// their ends.
fn table<'a>(
    rows: Vec<Row<'a>>,
    widths: &[Constraint],
    names: &[&'static str],
    words: usize,
    look: Look,
) -> Table<'a> {
    let names = names.iter().enumerate().map(|(at, name)| match at {
        at if at < words => Cell::new(*name),
        _ => right((*name).to_owned()),
    });
    Table::new(rows, widths.to_vec())
        .header(Row::new(names).style(look.dim()))
        .row_highlight_style(look.bold())
        .highlight_symbol("> ")
        .highlight_spacing(ratatui::widgets::HighlightSpacing::Always)
}

fn right(text: String) -> Cell<'static> {
    Cell::new(Line::raw(text).right_aligned())
}

/// What stands below everything: what was said last, else the keys.
fn foot(model: &Model, look: Look) -> Line<'static> {
    match (&model.message, &model.lost) {
        (Some(message), _) => {
            let style = match message.is_error {
                true => look.bad(),
                false => look.bold(),
            };
            Line::styled(format!(" {}", message.text), style)
        }
        (None, Some(reason)) => Line::styled(format!(" {reason}"), look.bad()),
        (None, None) => {
            let arrows = match look.0.has_unicode() {
                true => "↑↓",
                false => "j k",
            };
            Line::raw(format!(
                " q quit   {arrows} select   Tab table   s sort   p pause   r resume   ? help"
            ))
        }
    }
}

/// The help, line by line.
const HELP: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("up, down, j, k", "select a row"),
    ("Home, End, g, G", "select the first or the last row"),
    ("Tab", "go to the other table"),
    ("s", "sort the table by its next column"),
    ("p", "pause the selected device (D-Bus, polkit)"),
    ("r", "resume the selected device"),
    ("Ctrl-Z", "stop; `fg` goes on"),
    ("?, Esc", "close this help"),
    ("", ""),
    ("H/S", "double hashes a second in the last minute"),
    ("°C, RPM", "hottest sensor, slowest fan"),
    ("SHARE", "part of the works of the last minute"),
    ("CREDITS", "jobs that it may still hand in, of all"),
];

fn draw_help(look: Look, frame: &mut Frame<'_>, area: Rect) {
    let lines = HELP.iter().map(|(key, meaning)| {
        Line::from(vec![
            Span::styled(format!(" {key:<16}"), look.bold()),
            Span::raw(*meaning),
        ])
    });
    let height = u16::try_from(HELP.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let area = area.centered(Constraint::Length(64), Constraint::Length(height));
    let block = Block::bordered()
        .border_set(look.rule())
        .title(Span::styled(" Keys and columns ", look.bold()));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

#[cfg(test)]
mod tests;
