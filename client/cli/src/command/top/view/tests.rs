//! The whole screen, as text, against what was looked at once.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::command::top::model::{Input, Key};
use crate::command::top::samples;
use crate::error::CliError;

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

fn drawn(model: &Model, (columns, lines): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    terminal
}

fn screen(model: &Model, size: (u16, u16)) -> String {
    drawn(model, size).backend().to_string()
}

fn check(name: &str, model: &Model) {
    for size in SIZES {
        let name = format!("{name}_{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, screen(model, size));
    }
}

#[test]
fn nothing_attached() {
    check("nothing_attached", &samples::empty());
}

#[test]
fn one_board() {
    check("one_board", &samples::one_board());
}

#[test]
fn several_boards() {
    check("several_boards", &samples::several());
}

#[test]
fn a_hot_board_selected() {
    let mut model = samples::several();
    for key in [Key::Sort, Key::Sort, Key::First] {
        model.take(Input::Key(key));
    }
    check("a_hot_board_selected", &model);
}

#[test]
fn many_sessions() {
    let mut model = samples::many_sessions();
    for key in [Key::Pane, Key::Last] {
        model.take(Input::Key(key));
    }
    check("many_sessions", &model);
}

#[test]
fn the_daemon_is_gone() {
    check("the_daemon_is_gone", &samples::lost());
}

#[test]
fn help() {
    let mut model = samples::several();
    model.take(Input::Key(Key::Help));
    check("help", &model);
}

#[test]
fn a_refused_request() {
    let mut model = samples::several();
    model.take(Input::Key(Key::Pause));
    let refused = CliError::failed("cannot pause cpu-1: polkit refused org.hasher.hasher1.pause")
        .hint("run it as root: `sudo hasher device pause cpu-1`");
    model.take(Input::Done(Err(refused)));
    check("a_refused_request", &model);
}

#[test]
fn a_small_terminal_is_told_what_is_needed() {
    for size in [(79, 24), (80, 23), (40, 10), (1, 1)] {
        let text = screen(&samples::several(), size);
        if size.0 >= 40 {
            assert!(text.contains("80 columns"), "{size:?}: {text}");
        }
    }
}

#[test]
fn every_size_is_drawn_without_a_panic() {
    for columns in (1..200).step_by(13) {
        for lines in 1..60 {
            for model in [samples::empty(), samples::many_sessions(), samples::lost()] {
                drawn(&model, (columns, lines));
            }
        }
    }
}

#[test]
fn a_long_name_shows_its_end() {
    let mut model = samples::one_board();
    model.status.devices[0] = samples::long_name();
    let text = screen(&model, (80, 24));
    assert!(text.contains("usb-0:1.1"), "{text}");
}

#[test]
fn an_ascii_terminal_gets_no_other_character_of_ours() {
    let mut model = samples::one_board();
    model.style = crate::style::Style::plain(false);
    let text = screen(&model, (80, 24)).replace('°', "");
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn without_colour_nothing_is_coloured() {
    let terminal = drawn(&samples::several(), (80, 24));
    let cells = &terminal.backend().buffer().content;
    assert!(
        cells
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
}
