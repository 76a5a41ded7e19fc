//! From the terminal's own events to the console's.

use crossterm::event::{
    Event as Terminal, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};

use crate::app::event::Event;
use crate::app::key::{Code, Key};

/// How far one notch of the wheel goes, in rows.
const NOTCH: i16 = 3;

/// What this means to the console, if it means anything.
pub(super) fn event(event: Terminal) -> Option<Event> {
    match event {
        Terminal::Key(event) if event.kind != KeyEventKind::Release => key(event).map(Event::Pressed),
        Terminal::Paste(text) => Some(Event::Pasted(text)),
        Terminal::Resize(width, height) => Some(Event::Resized { width, height }),
        Terminal::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Event::Clicked { x: mouse.column, y: mouse.row }),
            MouseEventKind::ScrollUp => Some(Event::Scrolled { x: mouse.column, y: mouse.row, rows: -NOTCH }),
            MouseEventKind::ScrollDown => {
                Some(Event::Scrolled { x: mouse.column, y: mouse.row, rows: NOTCH })
            }
            _ => None,
        },
        Terminal::Key(_) | Terminal::FocusGained | Terminal::FocusLost => None,
    }
}

fn key(event: KeyEvent) -> Option<Key> {
    let ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let alt = event.modifiers.contains(KeyModifiers::ALT);
    let code = match event.code {
        // With control, terminals send small letters or capitals as they like.
        KeyCode::Char(char) if ctrl => Code::Char(char.to_ascii_lowercase()),
        KeyCode::Char(char) => Code::Char(char),
        KeyCode::F(number) => Code::F(number),
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => Code::BackTab,
        KeyCode::Tab => Code::Tab,
        KeyCode::BackTab => Code::BackTab,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Delete => Code::Delete,
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        _ => return None,
    };
    Some(Key { code, ctrl, alt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_table_calls_them() {
        for (code, modifiers, written) in [
            (KeyCode::Char('G'), KeyModifiers::SHIFT, "G"),
            (KeyCode::Char('D'), KeyModifiers::CONTROL, "ctrl-d"),
            (KeyCode::BackTab, KeyModifiers::SHIFT, "shift-tab"),
            (KeyCode::Tab, KeyModifiers::SHIFT, "shift-tab"),
            (KeyCode::Char(' '), KeyModifiers::NONE, "space"),
            (KeyCode::F(1), KeyModifiers::NONE, "f1"),
            (KeyCode::Char('x'), KeyModifiers::ALT, "alt-x"),
        ] {
            let event = event(Terminal::Key(KeyEvent::new(code, modifiers)));
            assert!(
                matches!(event, Some(Event::Pressed(key)) if key.to_string() == written),
                "{written}: {event:?}"
            );
        }
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert!(event(Terminal::Key(released)).is_none());
    }
}
