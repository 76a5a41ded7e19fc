//! The table of keys: the only place that says which key does what.
//!
//! Dispatch, the footer, `?`, the popup of pending keys, `squall keys`, docs/keys.md and the user's own keys all read it.

use super::{Binding, Effect, Group, Scope};
use crate::app::action::Action;
use crate::app::state::State;

/// Whether an action can be done now, or why not.
type Available = fn(&State) -> Result<(), &'static str>;

#[expect(clippy::unnecessary_wraps, reason = "one of the conditions of the table, which may all be refused")]
const fn always(_state: &State) -> Result<(), &'static str> {
    Ok(())
}

/// A row without its rarer properties.
const fn key(
    action: Action,
    keys: &'static [&'static str],
    scope: Scope,
    group: Group,
    help: &'static str,
) -> Binding {
    Binding {
        action,
        keys,
        scope,
        group,
        help,
        short: "",
        footer: 0,
        effect: Effect::Reads,
        available: always,
    }
}

impl Binding {
    /// Shown in the footer under this word; the highest numbers first.
    const fn footer(self, footer: u8, short: &'static str) -> Self {
        Self { short, footer, ..self }
    }

    /// It changes something, but harms nobody.
    const fn writes(self) -> Self {
        Self { effect: Effect::Writes, ..self }
    }

    /// It can harm what runs: it shows its targets and asks first.
    const fn dangerous(self) -> Self {
        Self { effect: Effect::Dangerous, ..self }
    }

    const fn when(self, available: Available) -> Self {
        Self { available, ..self }
    }
}

use Action as A;
use Group as G;
use Scope as S;

/// Every key, in the order of the help.
pub const BINDINGS: &[Binding] = &[
    // Everywhere.
    key(A::Help, &["?", "f1"], S::Global, G::General, "Show every key; type to search, Enter does it")
        .footer(90, "help"),
    key(A::Command, &[":"], S::Global, G::General, "Type a command").footer(20, "command"),
    key(A::Palette, &["ctrl-p"], S::Global, G::General, "Search actions, commands and screens"),
    key(
        A::Back,
        &["esc"],
        S::Global,
        G::General,
        "One step back: closes what is open, clears a filter, leaves a screen",
    ),
    key(A::Quit, &["q", "ctrl-c"], S::Global, G::General, "Leave the console; experiments go on without it")
        .footer(10, "quit"),
    key(
        A::Halt,
        &["!"],
        S::Global,
        G::Faults,
        "Emergency stop: undo every fault now, start nothing until released",
    )
    .dangerous()
    .footer(80, "stop all"),
    key(A::Release, &["g R"], S::Global, G::Faults, "Release the emergency stop")
        .writes()
        .when(State::can_release),
    key(A::Cluster, &["1", "g c"], S::Global, G::Screens, "Nodes and pods"),
    key(A::Experiments, &["2", "g e"], S::Global, G::Screens, "Experiments").footer(40, "experiments"),
    key(A::Templates, &["3", "g t"], S::Global, G::Screens, "Templates of experiments")
        .footer(39, "templates"),
    key(A::SteadyState, &["4", "g m"], S::Global, G::Screens, "What the application measures of itself")
        .footer(38, "steady state"),
    key(A::Editor, &["5", "g w"], S::Global, G::Screens, "The editor, with the text that it has"),
    key(A::Errors, &["6", "g h"], S::Global, G::Screens, "What went wrong so far, and what cures it"),
    key(A::Settings, &["7", "g s"], S::Global, G::Screens, "Theme, colours, characters, mouse"),
    key(A::Namespace, &["n"], S::Global, G::General, "Choose a namespace, or all").footer(15, "namespace"),
    key(A::Context, &["g x"], S::Global, G::General, "Choose another context of the kubeconfig"),
    key(
        A::Freeze,
        &["f"],
        S::Global,
        G::General,
        "Stand still: show nothing new until pressed again; experiments go on",
    ),
    key(A::Refresh, &["ctrl-r"], S::Global, G::General, "Ask the API server again"),
    key(A::Redraw, &["ctrl-l"], S::Global, G::General, "Draw the whole screen anew"),
    key(A::Suspend, &["ctrl-z"], S::Global, G::General, "Back to the shell; fg returns"),
    key(A::ToggleMouse, &["M"], S::Global, G::General, "Mouse on or off: off lets the terminal mark text"),
    // Lists.
    key(A::Down, &["j", "down"], S::List, G::Moving, "Down"),
    key(A::Up, &["k", "up"], S::List, G::Moving, "Up"),
    key(A::First, &["g g", "home"], S::List, G::Moving, "First row"),
    key(A::Last, &["G", "end"], S::List, G::Moving, "Last row"),
    key(A::HalfPageDown, &["ctrl-d"], S::List, G::Moving, "Half a page down"),
    key(A::HalfPageUp, &["ctrl-u"], S::List, G::Moving, "Half a page up"),
    key(A::PageDown, &["pagedown", "ctrl-f"], S::List, G::Moving, "A page down"),
    key(A::PageUp, &["pageup", "ctrl-b"], S::List, G::Moving, "A page up"),
    key(A::Filter, &["/"], S::List, G::Lists, "Filter: word, !word, -l app=mongo, ~fuzzy")
        .footer(30, "filter"),
    key(A::SortRight, &[">"], S::List, G::Lists, "Sort by the next column"),
    key(A::SortLeft, &["<"], S::List, G::Lists, "Sort by the column before"),
    key(A::SortInvert, &["I"], S::List, G::Lists, "Turn the order round"),
    key(A::NextPane, &["tab", "shift-tab"], S::List, G::Lists, "The other list of this screen"),
    key(A::CopyName, &["c"], S::List, G::Objects, "Copy the name, through the terminal").when(State::has_row),
    // The cluster.
    key(A::Open, &["enter"], S::Cluster, G::Objects, "Of a node: its pods; of a pod: describe it")
        .when(State::has_row),
    key(A::Describe, &["d"], S::Cluster, G::Objects, "Describe").footer(60, "describe").when(State::has_row),
    key(A::Yaml, &["y"], S::Cluster, G::Objects, "YAML").footer(59, "yaml").when(State::has_row),
    key(A::Logs, &["l"], S::Cluster, G::Objects, "Logs").footer(58, "logs").when(State::has_pod),
    key(A::Events, &["e"], S::Cluster, G::Objects, "Events").footer(57, "events").when(State::has_row),
    // Experiments.
    key(A::Open, &["enter"], S::Experiments, G::Objects, "What it does where, with what was read back")
        .footer(70, "open")
        .when(State::has_row),
    key(A::Pause, &["p"], S::Experiments, G::Faults, "Pause: undo the fault, keep the remaining time")
        .dangerous()
        .footer(66, "pause")
        .when(State::can_pause),
    key(A::Resume, &["r"], S::Experiments, G::Faults, "Resume: inject again for the remaining time")
        .dangerous()
        .footer(65, "resume")
        .when(State::can_resume),
    key(A::Stop, &["S"], S::Experiments, G::Faults, "Stop: undo the fault and delete the experiment")
        .dangerous()
        .footer(67, "stop")
        .when(State::can_stop),
    key(A::TurnUp, &["+"], S::Experiments, G::Faults, "Turn the fault up")
        .dangerous()
        .footer(55, "up")
        .when(State::can_turn),
    key(A::TurnDown, &["-"], S::Experiments, G::Faults, "Turn the fault down")
        .dangerous()
        .footer(54, "down")
        .when(State::can_turn),
    key(A::Describe, &["d"], S::Experiments, G::Objects, "Describe").when(State::has_row),
    key(A::Yaml, &["y"], S::Experiments, G::Objects, "YAML").footer(50, "yaml").when(State::has_row),
    key(A::Events, &["e"], S::Experiments, G::Objects, "Events").footer(49, "events").when(State::has_row),
    key(A::EditExperiment, &["E"], S::Experiments, G::Objects, "Edit it; launching changes it in place")
        .footer(53, "edit")
        .when(State::has_row),
    // Templates.
    key(A::Open, &["enter"], S::Templates, G::Objects, "Edit the file")
        .footer(70, "edit")
        .when(State::has_row),
    key(A::Launch, &["L"], S::Templates, G::Faults, "Launch: shows whom it would hit, then asks")
        .dangerous()
        .footer(71, "launch")
        .when(State::has_row),
    // The steady state.
    key(A::Open, &["enter"], S::SteadyState, G::Objects, "The selected panel large")
        .footer(70, "large")
        .when(State::has_row),
    key(
        A::Left,
        &["h", "left"],
        S::SteadyState,
        G::Moving,
        "The panel on the left; of a large one, back in time",
    ),
    key(
        A::Right,
        &["l", "right"],
        S::SteadyState,
        G::Moving,
        "The panel on the right; of a large one, on in time",
    ),
    key(
        A::Down,
        &["j", "down", "tab"],
        S::SteadyState,
        G::Moving,
        "The panel below; of a large one, the next line",
    ),
    key(
        A::Up,
        &["k", "up", "shift-tab"],
        S::SteadyState,
        G::Moving,
        "The panel above; of a large one, the line before",
    ),
    key(A::PageUp, &["pageup", "ctrl-b", "["], S::SteadyState, G::Moving, "Back in time"),
    key(A::PageDown, &["pagedown", "ctrl-f", "]"], S::SteadyState, G::Moving, "On in time"),
    key(A::First, &["g g", "home"], S::SteadyState, G::Moving, "To the oldest that is kept"),
    key(A::Last, &["G", "end"], S::SteadyState, G::Moving, "To now"),
    key(A::Shorter, &["z"], S::SteadyState, G::Moving, "Show less time").footer(52, "zoom"),
    key(A::Longer, &["Z"], S::SteadyState, G::Moving, "Show more time"),
    key(A::Dashboard, &["D"], S::SteadyState, G::Objects, "Choose a dashboard").footer(60, "dashboard"),
    key(
        A::Describe,
        &["d"],
        S::SteadyState,
        G::Objects,
        "Which pods are asked, how each answers, and the expressions",
    )
    .footer(59, "details")
    .when(State::has_row),
    key(A::Pause, &["p"], S::SteadyState, G::Faults, "Pause the one fault that is on")
        .dangerous()
        .footer(66, "pause")
        .when(State::can_pause),
    key(A::Resume, &["r"], S::SteadyState, G::Faults, "Resume the one experiment that is on")
        .dangerous()
        .footer(65, "resume")
        .when(State::can_resume),
    key(A::Stop, &["S"], S::SteadyState, G::Faults, "Stop the one experiment that is on")
        .dangerous()
        .footer(67, "stop")
        .when(State::can_stop),
    key(A::TurnUp, &["+"], S::SteadyState, G::Faults, "Turn the one fault up")
        .dangerous()
        .footer(64, "up")
        .when(State::can_turn),
    key(A::TurnDown, &["-"], S::SteadyState, G::Faults, "Turn the one fault down")
        .dangerous()
        .footer(63, "down")
        .when(State::can_turn),
    // The editor, at rest.
    key(A::Type, &["i", "enter"], S::Editor, G::Objects, "Type").footer(70, "type"),
    key(A::Launch, &["L", "f5"], S::Editor, G::Faults, "Launch: shows whom it would hit, then asks")
        .dangerous()
        .footer(71, "launch"),
    key(A::Form, &["F", "f2"], S::Editor, G::Objects, "The same as a form").footer(60, "form"),
    key(A::Save, &["w", "ctrl-s"], S::Editor, G::Objects, "Save to its file, or ask for one")
        .footer(59, "save"),
    key(A::OpenFile, &["o", "ctrl-o"], S::Editor, G::Objects, "Open a file"),
    key(A::NextProblem, &["]"], S::Editor, G::Moving, "To the next problem").footer(58, "problem"),
    key(A::PreviousProblem, &["["], S::Editor, G::Moving, "To the problem before"),
    key(A::Undo, &["u"], S::Editor, G::Objects, "Undo"),
    key(A::Redo, &["U"], S::Editor, G::Objects, "Redo"),
    key(A::Mark, &["v"], S::Editor, G::Objects, "Begin to mark, or end it"),
    key(A::Cut, &["x"], S::Editor, G::Objects, "Cut what is marked, or the rest of the line"),
    key(A::Paste, &["p"], S::Editor, G::Objects, "Put in what was cut"),
    key(A::CopyText, &["c"], S::Editor, G::Objects, "Copy what is marked, or all, through the terminal"),
    key(A::Search, &["/", "ctrl-f"], S::Editor, G::Lists, "Search"),
    key(A::SearchNext, &["N"], S::Editor, G::Lists, "Next hit"),
    key(A::SearchPrevious, &["P"], S::Editor, G::Lists, "Hit before"),
    key(A::Down, &["j", "down"], S::Editor, G::Moving, "Down"),
    key(A::Up, &["k", "up"], S::Editor, G::Moving, "Up"),
    key(A::Left, &["h", "left"], S::Editor, G::Moving, "Left"),
    key(A::Right, &["l", "right"], S::Editor, G::Moving, "Right"),
    key(A::First, &["g g", "home"], S::Editor, G::Moving, "First line"),
    key(A::Last, &["G", "end"], S::Editor, G::Moving, "Last line"),
    key(A::HalfPageDown, &["ctrl-d"], S::Editor, G::Moving, "Half a page down"),
    key(A::HalfPageUp, &["ctrl-u"], S::Editor, G::Moving, "Half a page up"),
    key(A::PageDown, &["pagedown"], S::Editor, G::Moving, "A page down"),
    key(A::PageUp, &["pageup", "ctrl-b"], S::Editor, G::Moving, "A page up"),
    // The editor, while text is typed: what is not here is typed.
    key(A::Halt, &["f8", "alt-!"], S::Typing, G::Faults, "Emergency stop, also while typing")
        .dangerous()
        .footer(95, "stop all"),
    key(A::Launch, &["f5"], S::Typing, G::Faults, "Launch: shows whom it would hit, then asks")
        .dangerous()
        .footer(90, "launch"),
    key(A::Rest, &["esc"], S::Typing, G::General, "Rest: keys do what they do elsewhere").footer(85, "rest"),
    key(
        A::Complete,
        &["tab", "ctrl-space"],
        S::Typing,
        G::Objects,
        "Complete; at the start of a line: indent",
    )
    .footer(80, "complete"),
    key(A::Save, &["ctrl-s"], S::Typing, G::Objects, "Save to its file, or ask for one").footer(75, "save"),
    key(A::Form, &["f2"], S::Typing, G::Objects, "The same as a form").footer(70, "form"),
    key(A::OpenFile, &["ctrl-o"], S::Typing, G::Objects, "Open a file"),
    key(A::Search, &["ctrl-f", "ctrl-/"], S::Typing, G::Lists, "Search").footer(60, "search"),
    key(A::SearchNext, &["f3"], S::Typing, G::Lists, "Next hit"),
    key(A::Undo, &["ctrl-u"], S::Typing, G::Objects, "Undo").footer(50, "undo"),
    key(A::Redo, &["ctrl-r"], S::Typing, G::Objects, "Redo"),
    key(A::Mark, &["alt-v"], S::Typing, G::Objects, "Begin to mark, or end it"),
    key(A::Cut, &["ctrl-k"], S::Typing, G::Objects, "Cut what is marked, or the rest of the line"),
    key(A::Paste, &["ctrl-y"], S::Typing, G::Objects, "Put in what was cut"),
    key(A::CopyText, &["alt-c"], S::Typing, G::Objects, "Copy what is marked, or all, through the terminal"),
    key(A::NextProblem, &["f4", "alt-n"], S::Typing, G::Moving, "To the next problem").footer(65, "problem"),
    key(A::PreviousProblem, &["alt-p"], S::Typing, G::Moving, "To the problem before"),
    key(A::Help, &["f1"], S::Typing, G::General, "Show every key").footer(40, "help"),
    key(A::Redraw, &["ctrl-l"], S::Typing, G::General, "Draw the whole screen anew"),
    key(A::Suspend, &["ctrl-z"], S::Typing, G::General, "Back to the shell; fg returns"),
    key(
        A::Quit,
        &["ctrl-c"],
        S::Typing,
        G::General,
        "Leave the console; asks first if the text is not saved",
    ),
    // The editor, as a form.
    key(A::Open, &["enter", "space"], S::Form, G::Objects, "Change the field; one that is absent is put in")
        .footer(70, "change")
        .when(State::has_row),
    key(A::RemoveField, &["x", "delete"], S::Form, G::Objects, "Take the field away")
        .footer(65, "remove")
        .when(State::has_row),
    key(A::Form, &["F", "f2"], S::Form, G::Objects, "Back to the text").footer(60, "text"),
    key(A::Launch, &["L", "f5"], S::Form, G::Faults, "Launch: shows whom it would hit, then asks")
        .dangerous()
        .footer(71, "launch"),
    key(A::Save, &["w", "ctrl-s"], S::Form, G::Objects, "Save to its file, or ask for one"),
    key(A::Undo, &["u"], S::Form, G::Objects, "Undo"),
    key(A::Redo, &["U"], S::Form, G::Objects, "Redo"),
    // One experiment.
    key(A::Pause, &["p"], S::Run, G::Faults, "Pause: undo the fault, keep the remaining time")
        .dangerous()
        .footer(66, "pause")
        .when(State::can_pause),
    key(A::Resume, &["r"], S::Run, G::Faults, "Resume: inject again for the remaining time")
        .dangerous()
        .footer(65, "resume")
        .when(State::can_resume),
    key(A::Stop, &["S"], S::Run, G::Faults, "Stop: undo the fault and delete the experiment")
        .dangerous()
        .footer(67, "stop")
        .when(State::can_stop),
    key(A::TurnUp, &["+"], S::Run, G::Faults, "Turn the fault up")
        .dangerous()
        .footer(64, "up")
        .when(State::can_turn),
    key(A::TurnDown, &["-"], S::Run, G::Faults, "Turn the fault down")
        .dangerous()
        .footer(63, "down")
        .when(State::can_turn),
    key(A::Describe, &["d"], S::Run, G::Objects, "Describe"),
    key(A::Yaml, &["y"], S::Run, G::Objects, "YAML").footer(50, "yaml"),
    key(A::Events, &["e"], S::Run, G::Objects, "Events").footer(49, "events"),
    key(A::EditExperiment, &["E"], S::Run, G::Objects, "Edit it; launching changes it in place")
        .footer(53, "edit"),
    // Texts.
    key(A::Down, &["j", "down"], S::Pager, G::Moving, "Down"),
    key(A::Up, &["k", "up"], S::Pager, G::Moving, "Up"),
    key(A::Left, &["h", "left"], S::Pager, G::Moving, "Left"),
    key(A::Right, &["right"], S::Pager, G::Moving, "Right"),
    key(A::First, &["g g", "home"], S::Pager, G::Moving, "First line"),
    key(A::Last, &["G", "end"], S::Pager, G::Moving, "Last line"),
    key(A::HalfPageDown, &["ctrl-d"], S::Pager, G::Moving, "Half a page down"),
    key(A::HalfPageUp, &["ctrl-u"], S::Pager, G::Moving, "Half a page up"),
    key(A::PageDown, &["pagedown", "ctrl-f", "space"], S::Pager, G::Moving, "A page down"),
    key(A::PageUp, &["pageup", "ctrl-b"], S::Pager, G::Moving, "A page up"),
    key(A::Search, &["/"], S::Pager, G::Lists, "Search").footer(60, "search"),
    key(A::SearchNext, &["N"], S::Pager, G::Lists, "Next hit"),
    key(A::SearchPrevious, &["P"], S::Pager, G::Lists, "Hit before"),
    key(A::Wrap, &["w"], S::Pager, G::Lists, "Wrap long lines, or not").footer(58, "wrap"),
    key(A::CopyText, &["c"], S::Pager, G::Objects, "Copy the text, through the terminal").footer(57, "copy"),
    key(A::Follow, &["F"], S::Pager, G::Lists, "Logs: follow what is new, or stand still")
        .when(State::shows_logs),
    key(A::Previous, &["p"], S::Pager, G::Lists, "Logs: of the container before its restart")
        .when(State::shows_logs),
    key(A::Container, &["C"], S::Pager, G::Lists, "Logs: of another container").when(State::shows_logs),
    // Settings, errors.
    key(A::Open, &["enter", "space"], S::Settings, G::General, "The next value").footer(70, "change"),
    key(A::CopyText, &["C"], S::Errors, G::Objects, "Copy the whole message")
        .footer(60, "copy")
        .when(State::has_row),
    // The help itself.
    key(A::Open, &["enter"], S::Help, G::General, "Do it").footer(70, "do it").when(State::has_row),
    // Popups.
    key(A::Halt, &["!"], S::Popup, G::Faults, "Emergency stop, also from here; twice does it").dangerous(),
    key(A::Confirm, &["enter", "y"], S::Popup, G::General, "Yes"),
    key(A::Cancel, &["esc", "n", "q", "ctrl-c"], S::Popup, G::General, "No"),
    key(A::Down, &["j", "down"], S::Popup, G::Moving, "Down"),
    key(A::Up, &["k", "up"], S::Popup, G::Moving, "Up"),
    key(A::TurnUp, &["+"], S::Popup, G::Faults, "Further up").when(State::is_turning),
    key(A::TurnDown, &["-"], S::Popup, G::Faults, "Further down").when(State::is_turning),
];
