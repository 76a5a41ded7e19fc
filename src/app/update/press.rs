//! Keys: into the line that is being typed, or through the table of keys to an action.

use super::{Effects, act, command, edit};
use crate::app::action::Action;
use crate::app::key::{Code, Key, written};
use crate::app::keymap::Lookup;
use crate::app::notice::Severity;
use crate::app::popup::Popup;
use crate::app::state::State;
use crate::report::Trouble;

/// A key was pressed.
pub(super) fn key(state: &mut State, key: Key, effects: &mut Effects) {
    if state.popup.is_some() {
        if !into_question(state, key, effects) {
            through_table(state, key, effects);
        }
    } else if state.prompt.is_some() {
        command::key(state, key, effects);
    } else if state.is_typing() {
        while_typing(state, key, effects);
    } else {
        through_table(state, key, effects);
    }
}

/// A text was pasted: into a line, if one is being typed. It is never taken for keys.
pub(super) fn paste(state: &mut State, text: &str) {
    if let Some(Popup::Confirm(confirm)) = &mut state.popup {
        if let Some(typed) = &mut confirm.typed {
            typed.input.insert(text);
        }
    } else if let Some(prompt) = &mut state.prompt {
        prompt.input.insert(text);
        command::changed(state);
    } else if state.popup.is_none() && state.is_typing() {
        edit::paste(state, text);
    } else {
        let what = "a text was pasted, and nothing is being typed";
        state.say(Severity::Warning, Trouble::new(what).cure("press : or / first"));
    }
}

/// A key while text is typed: only what the table says of that does anything else than type.
fn while_typing(state: &mut State, key: Key, effects: &mut Effects) {
    let begins = state.pending.is_empty();
    state.pending.push(key);
    let lookup = state.keymap.lookup(&state.pending, state.scopes());
    match lookup {
        Lookup::Action(_) if edit::indents(state, key) => {
            state.pending.clear();
            edit::key(state, key);
        }
        Lookup::Nothing if begins => {
            state.pending.clear();
            state.leaving = false;
            edit::key(state, key);
        }
        _ => {
            state.pending.pop();
            through_table(state, key, effects);
        }
    }
}

/// A question that wants a word to be typed takes every character; false if the key is not for it.
fn into_question(state: &mut State, key: Key, effects: &mut Effects) -> bool {
    let Some(Popup::Confirm(confirm)) = &mut state.popup else { return false };
    let Some(typed) = &mut confirm.typed else { return false };
    if key.code == Code::Esc || key == Key::ctrl('c') {
        act::act(state, Action::Cancel, effects);
    } else if key.code == Code::Enter {
        if typed.input.text == typed.word {
            act::act(state, Action::Confirm, effects);
        }
    } else {
        typed.input.press(key);
    }
    true
}

fn through_table(state: &mut State, key: Key, effects: &mut Effects) {
    let was_pending = !state.pending.is_empty();
    if was_pending && key.code == Code::Esc {
        state.pending.clear();
        return;
    }
    state.pending.push(key);
    match state.keymap.lookup(&state.pending, state.scopes()) {
        Lookup::Action(action) => {
            state.pending.clear();
            act::if_possible(state, action, effects);
        }
        Lookup::Pending => state.pending_since = state.now,
        Lookup::Nothing => {
            let keys = written(&state.pending);
            state.pending.clear();
            // A single key that means nothing is a slip; a sequence was meant to be one.
            if was_pending {
                let what = format!("\"{keys}\" does nothing here");
                state.say(Severity::Warning, Trouble::new(what).cure("? shows every key"));
            }
        }
    }
}
