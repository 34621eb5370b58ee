//! From the keyboard to what the model understands.

use std::io;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Input, Key};

/// Waits for the next key or change of size; nothing for what means nothing.
///
/// # Errors
/// When the terminal is gone.
pub fn read() -> io::Result<Option<Input>> {
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => meaning(key),
        Event::Resize(..) => Some(Input::Resized),
        _ => None,
    })
}

fn meaning(key: KeyEvent) -> Option<Input> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Input::End),
            KeyCode::Char('z') => Some(Input::Suspend),
            KeyCode::Char('l') => Some(Input::Repaint),
            _ => None,
        };
    }
    Some(Input::Key(match key.code {
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        KeyCode::Tab | KeyCode::BackTab => Key::Pane,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('p') => Key::Pause,
        KeyCode::Char('r') => Key::Resume,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_keys_are_not_taken_for_plain_ones() {
        let with = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        let control = |c| with(KeyCode::Char(c), KeyModifiers::CONTROL);
        assert!(matches!(control('c'), Some(Input::End)));
        assert!(matches!(control('z'), Some(Input::Suspend)));
        assert!(control('p').is_none());
        let plain = with(KeyCode::Char('p'), KeyModifiers::NONE);
        assert!(matches!(plain, Some(Input::Key(Key::Pause))));
    }
}
