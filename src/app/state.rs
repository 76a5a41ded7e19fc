//! Everything that the console knows. The view reads it, [`update`](super::update()) alone changes it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::editor::{self, Editor, Mode};
use super::effect::{ObjectRef, Slot};
use super::input::Input;
use super::key::Key;
use super::keymap::{Keymap, Scope};
use super::measure::Measure;
use super::notice::{Notices, Severity};
use super::popup::Popup;
use super::rights::Rights;
use super::screens::cluster::{self, Cluster};
use super::screens::errors::{self, Errors};
use super::screens::experiments::{self, Experiments};
use super::screens::help::{self, Help};
use super::screens::pager::{Content, Pager};
use super::screens::run::{self, Run};
use super::screens::settings::{self, SettingsScreen};
use super::screens::steady_state::SteadyState;
use super::screens::templates::{self, Templates};
use super::screens::{Pane, Screen};
use super::settings::{Look, Settings};
use super::store::{Data, Experiment};
use super::world::World;
use super::{look, turn};
use crate::report::Overview;
use crate::report::Trouble;

/// How long the beginning of a sequence waits before its continuations are shown.
pub const PATIENCE: SignedDuration = SignedDuration::from_millis(300);

/// How often ages are worked out anew where nothing else happens.
const AGES: SignedDuration = SignedDuration::from_secs(60);

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PromptKind {
    /// A command.
    Command,
    /// The filter of a list.
    Filter,
    /// What to search in a text.
    Search,
    /// Part of the name of an action, a command or a screen.
    Palette,
    /// The value of a field of the form.
    Field,
}

/// A line that is being typed at the bottom of the screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What it is.
    pub kind: PromptKind,
    /// The line.
    pub input: Input,
    /// How far back in the history it is.
    pub back: usize,
    /// What stood there before, for Esc.
    pub before: String,
}

/// The console.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The time of the last event.
    pub now: Timestamp,
    /// Columns of the terminal.
    pub width: u16,
    /// Rows of the terminal.
    pub height: u16,
    /// The cluster behind the console.
    pub world: World,
    /// Whether nothing may be changed from here.
    pub read_only: bool,
    /// The namespace whose objects are shown; all of them without one.
    pub namespace: Option<String>,
    /// What is known of the cluster.
    pub data: Data,
    /// What this user may do.
    pub rights: Rights,
    /// Whether the lists stand still; since when.
    pub frozen: Option<Timestamp>,
    /// What is shown.
    pub screen: Screen,
    /// The screens below it, for Esc.
    pub below: Vec<Screen>,
    /// What lies over it.
    pub popup: Option<Popup>,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// Keys that wait for the rest of their sequence, and since when.
    pub pending: Vec<Key>,
    /// Since when they wait.
    pub pending_since: Timestamp,
    /// What was said.
    pub notices: Notices,
    /// The commands that were typed, oldest first.
    pub history: Vec<String>,
    /// The user's choices.
    pub settings: Settings,
    /// What they amount to on this terminal.
    pub look: Look,
    /// Whether the console is about to end: it was asked twice, or nothing hinders it.
    pub leaving: bool,
    /// The name of the experiment that was launched and is opened as soon as it is there.
    pub launched: Option<String>,
    /// Nodes and pods.
    pub cluster: Cluster,
    /// All experiments.
    pub experiments: Experiments,
    /// Files to start from.
    pub templates: Templates,
    /// What is measured of the application.
    pub measure: Measure,
    /// How that is shown.
    pub steady_state: SteadyState,
    /// The text that is edited.
    pub editor: Editor,
    /// One experiment.
    pub run: Run,
    /// A text.
    pub pager: Pager,
    /// Every key.
    pub help: Help,
    /// The choices.
    pub settings_screen: SettingsScreen,
    /// What went wrong.
    pub errors: Errors,
    /// The numbers of the requests that are waited for.
    pub tickets: Vec<(Slot, u64)>,
    /// The number of the last request.
    pub ticket: u64,
    /// The keys that are in force.
    #[serde(skip)]
    pub keymap: Keymap,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH,
            width: 80,
            height: 24,
            world: World::default(),
            read_only: false,
            namespace: None,
            data: Data::default(),
            rights: Rights::default(),
            frozen: None,
            screen: Screen::default(),
            below: Vec::new(),
            popup: None,
            prompt: None,
            pending: Vec::new(),
            pending_since: Timestamp::UNIX_EPOCH,
            notices: Notices::default(),
            history: Vec::new(),
            settings: Settings::default(),
            look: Look {
                theme: look::ThemeName::Dark,
                depth: look::Depth::Truecolor,
                charset: look::Charset::Utf8,
                mouse: false,
            },
            leaving: false,
            launched: None,
            cluster: Cluster::default(),
            experiments: Experiments::default(),
            templates: Templates::default(),
            measure: Measure::default(),
            steady_state: SteadyState::default(),
            editor: Editor::default(),
            run: Run::default(),
            pager: Pager::default(),
            help: Help::default(),
            settings_screen: SettingsScreen::default(),
            errors: Errors::default(),
            tickets: Vec::new(),
            ticket: 0,
            keymap: Keymap::default(),
        }
    }
}

impl State {
    /// Whether anything but a hint can be drawn.
    pub const fn is_too_small(&self) -> bool {
        super::geometry::is_too_small(self.width, self.height)
    }

    /// Where a key has its meaning now, the innermost first.
    pub fn scopes(&self) -> &'static [Scope] {
        match (self.screen, self.editor.mode) {
            _ if self.popup.is_some() => &[Scope::Popup],
            (Screen::Editor, Mode::Form) => &[Scope::Form, Scope::List, Scope::Global],
            (Screen::Editor, _) if self.is_typing() => &[Scope::Typing],
            (Screen::Editor, _) => &[Scope::Editor, Scope::Global],
            _ => self.screen.scopes(),
        }
    }

    /// Whether keys write into the text that is edited. Not where nobody sees it.
    pub fn is_typing(&self) -> bool {
        self.screen == Screen::Editor && self.editor.mode == Mode::Typing && !self.is_too_small()
    }

    /// The pane that the keys act on.
    pub const fn focus(&self) -> Pane {
        match self.screen {
            Screen::Editor if matches!(self.editor.mode, Mode::Form) => Pane::Form,
            Screen::Editor => Pane::Editor,
            Screen::Cluster => self.cluster.focus,
            Screen::Experiments => Pane::Experiments,
            Screen::Templates => Pane::Templates,
            Screen::SteadyState => Pane::Panels,
            Screen::Run => self.run.focus,
            Screen::Pager => Pane::Text,
            Screen::Help => Pane::Help,
            Screen::Settings => Pane::Settings,
            Screen::Errors => Pane::Errors,
        }
    }

    /// Shows a screen above the present one.
    pub(super) fn enter(&mut self, screen: Screen) {
        if self.screen != screen {
            // A screen is only once on the way back.
            self.below.retain(|below| *below != screen && *below != self.screen);
            self.below.push(self.screen);
            self.screen = screen;
        }
        self.refresh();
    }

    /// Shows one of the screens that have no other below them.
    pub(super) fn go_to(&mut self, screen: Screen) {
        self.below.clear();
        if screen != Screen::Cluster {
            self.below.push(Screen::Cluster);
        }
        self.screen = screen;
        self.refresh();
    }

    /// Shows the screen below; false if there is none.
    pub(super) fn leave(&mut self) -> bool {
        let Some(screen) = self.below.pop() else { return false };
        self.screen = screen;
        self.refresh();
        true
    }

    /// Works out what the present screen shows.
    pub fn refresh(&mut self) {
        experiments::take_stock(self);
        match self.screen {
            Screen::Cluster => cluster::refresh(self),
            Screen::Experiments => experiments::refresh(self),
            Screen::Templates => templates::refresh(self),
            Screen::Run => run::refresh(self),
            Screen::Help => help::refresh(self),
            Screen::Settings => settings::refresh(self),
            Screen::Errors => errors::refresh(self),
            Screen::Editor => editor::refresh(self),
            Screen::Pager | Screen::SteadyState => {}
        }
    }

    /// The number for a new request; the answer to the one before is not waited for any more.
    pub(super) fn next_ticket(&mut self, slot: Slot) -> u64 {
        self.ticket += 1;
        self.tickets.retain(|(of, _)| *of != slot);
        self.tickets.push((slot, self.ticket));
        self.ticket
    }

    /// Whether this answer is waited for.
    pub(super) fn awaits(&self, slot: Slot, ticket: u64) -> bool {
        self.tickets.contains(&(slot, ticket))
    }

    /// Nobody waits for this slot any more.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.tickets.retain(|(of, _)| *of != slot);
    }

    /// Says something, and keeps it.
    pub(super) fn say(&mut self, severity: Severity, trouble: Trouble) {
        self.notices.say(severity, trouble, self.now);
    }

    /// Experiments that are not over, each at a glance.
    pub fn active(&self) -> Vec<&Overview> {
        let active = self.experiments.all.iter().filter(|row| row.is_active());
        let mut active: Vec<_> = active.map(|row| &row.overview).collect();
        active.sort_by(|one, other| one.name.cmp(&other.name));
        active
    }

    /// How many lines warn about something that concerns every screen.
    pub fn banner_lines(&self) -> u16 {
        let lines = [
            !self.data.halts.is_empty(),
            self.data.stalest().is_some(),
            self.frozen.is_some(),
            self.experiments.all.iter().any(|row| row.is_active()),
        ];
        // A line each is too much for a low screen; the view puts the worst first.
        let count = lines.into_iter().filter(|line| *line).count().min(2);
        u16::try_from(count).unwrap_or(0)
    }

    /// When something will change by time alone: a countdown, an age, what is shown for a while.
    pub fn next_wake(&self) -> Timestamp {
        let after = |time: SignedDuration| self.now.saturating_add(time).unwrap_or(Timestamp::MAX);
        let second = SignedDuration::from_secs(1);
        let counts_down = self.banner_lines() > 0 || self.is_loading() || self.measure.is_unsettled;
        let mut wakes = vec![after(if counts_down { second } else { AGES })];
        if !self.pending.is_empty() {
            wakes.push(self.pending_since.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX));
        }
        wakes.extend(self.notices.expiry(self.now));
        wakes.extend(self.editor.due.filter(|_| self.screen == Screen::Editor));
        wakes.into_iter().filter(|wake| *wake > self.now).min().unwrap_or_else(|| after(AGES))
    }

    /// Whether something that was asked for is still to come.
    pub fn is_loading(&self) -> bool {
        matches!(self.popup, Some(Popup::Waiting(_)))
            || (self.screen == Screen::Pager && self.pager.content == Content::Loading)
    }

    /// Whether pending keys have waited long enough to show how they can go on.
    pub fn shows_continuations(&self) -> bool {
        !self.pending.is_empty()
            && self.pending_since.saturating_add(PATIENCE).is_ok_and(|shown| self.now >= shown)
    }

    /// The object that keys act on, if one is selected.
    pub fn current(&self) -> Option<ObjectRef> {
        match self.screen {
            Screen::Cluster => cluster::current(self),
            Screen::Run => run::current(self),
            Screen::Experiments => self.experiments.list.current().map(|row| row.reference()),
            _ => None,
        }
    }

    /// The experiment that keys act on.
    pub fn current_experiment(&self) -> Option<&Experiment> {
        match self.screen {
            Screen::Run => self.run.experiment.as_deref(),
            Screen::Experiments => self.experiments.list.current().map(|row| &*row.object),
            // Where one fault alone is on, there is no doubt which is meant.
            Screen::SteadyState => {
                let mut active = self.experiments.all.iter().filter(|row| row.is_active());
                let only = active.next().filter(|_| active.next().is_none())?;
                Some(&only.object)
            }
            _ => None,
        }
    }

    fn current_phase(&self) -> Option<&str> {
        let experiment = self.current_experiment()?;
        (!(self.screen == Screen::Run && self.run.gone)).then(|| experiment.glance().phase.as_str())
    }
}

/// What the table of keys asks about: whether an action is possible now, or why not.
impl State {
    pub(super) fn has_row(&self) -> Result<(), &'static str> {
        let is_there = match self.screen {
            Screen::Templates => self.templates.list.current().is_some(),
            Screen::Help => self.help.list.current().is_some(),
            Screen::Errors => self.errors.list.current().is_some(),
            Screen::Settings => true,
            Screen::SteadyState => self.measure.dashboard.is_some(),
            Screen::Editor => self.editor.form.current().is_some(),
            _ => self.current().is_some(),
        };
        if is_there { Ok(()) } else { Err("nothing is selected") }
    }

    pub(super) fn has_pod(&self) -> Result<(), &'static str> {
        match self.current() {
            Some(object) if object.kind == "Pod" => Ok(()),
            Some(_) => Err("only pods have logs"),
            None => Err("nothing is selected"),
        }
    }

    pub(super) fn can_pause(&self) -> Result<(), &'static str> {
        match self.current_phase() {
            None => Err("no experiment is selected"),
            Some("Paused") => Err("it is paused already"),
            Some("Waiting" | "Selected" | "Injecting" | "Injected") => Ok(()),
            Some(_) => Err("it is over"),
        }
    }

    pub(super) fn can_resume(&self) -> Result<(), &'static str> {
        match self.current_phase() {
            None => Err("no experiment is selected"),
            Some("Paused") => Ok(()),
            Some(_) => Err("it is not paused"),
        }
    }

    pub(super) fn can_stop(&self) -> Result<(), &'static str> {
        match self.current_phase() {
            None => Err("no experiment is selected"),
            Some("Stopping") => Err("it is being stopped"),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn can_turn(&self) -> Result<(), &'static str> {
        let Some(experiment) = self.current_experiment() else { return Err("no experiment is selected") };
        if matches!(self.current_phase(), None | Some("Finished" | "Stopping" | "Recovering")) {
            return Err("it is over");
        }
        turn::turned(&experiment.0, 1).map(|_| ()).ok_or("it has no magnitude that could be turned")
    }

    pub(super) fn can_release(&self) -> Result<(), &'static str> {
        if self.data.halts.is_empty() { Err("nothing is halted") } else { Ok(()) }
    }

    pub(super) fn shows_logs(&self) -> Result<(), &'static str> {
        if self.pager.shows_logs() { Ok(()) } else { Err("these are no logs") }
    }

    pub(super) fn is_turning(&self) -> Result<(), &'static str> {
        match &self.popup {
            Some(Popup::Confirm(confirm)) if confirm.turning.is_some() => Ok(()),
            _ => Err("nothing is turned here"),
        }
    }
}
