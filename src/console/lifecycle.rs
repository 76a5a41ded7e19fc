//! The loop itself.

use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::session::{Session, Start};
use super::terminal::{Input, Screen, ScreenOptions, Signal, Signals, TerminalError};
use super::{ConsoleError, Ending, Options, fetch, files, input};
use crate::app::editor::{Manuscript, Origin};
use crate::app::effect::Effect;
use crate::app::event::Event;
use crate::app::keymap::Keymap;
use crate::app::look::{Charset, Depth};
use crate::app::notice::Severity;
use crate::app::recorder::Recorder;
use crate::app::settings::Settings;
use crate::app::state::State;
use crate::app::update;
use crate::app::world::World;
use crate::client::Connection;
use crate::report::Trouble;
use crate::ui;
use crate::ui::theme::Theme;

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(16);

/// The least time between two batches of changes of the cluster: nobody sees more.
const BATCH: Duration = Duration::from_millis(100);

/// How many events may wait. Tasks wait when it is full; keys do not go through it.
const QUEUE: usize = 256;

/// How many events are taken in before a frame is drawn, where there are as many.
const AT_ONCE: usize = 64;

/// Runs the console until it ends.
///
/// # Errors
/// The terminal cannot be used. That it is gone is no error but [`Ending::HungUp`].
pub async fn run(options: Options) -> Result<Ending, ConsoleError> {
    let (state, complaint) = first_state(&options);
    let after_panic =
        Some("the experiments go on; `squall attach` or `squall console` returns to them".to_owned());
    let screen = Screen::open(ScreenOptions { mouse: state.look.mouse, after_panic })?;
    let signals = screen.signals()?;
    let input = screen.input()?;
    let (sender, events) = mpsc::channel(QUEUE);
    let console = CancellationToken::new();
    let from = Start {
        client: options.client.clone(),
        kubeconfig: options.kubeconfig.clone(),
        namespace: options.namespace.clone(),
    };
    let session = Session::start(from, sender.clone(), &console);
    let theme = theme(&state);
    let kept = files::kept_unsaved();
    let recovered = kept.as_ref().and_then(recovered_path);
    let now = Instant::now();
    let mut this = Loop {
        options,
        state,
        theme,
        screen,
        signals,
        input,
        events,
        sender,
        session,
        console,
        recorder: Recorder::default(),
        dirty: true,
        drawn: None,
        batched: now,
        recovered,
    };
    if let Some(trouble) = complaint {
        this.happened(Event::Noted { severity: Severity::Error, trouble }).await;
    }
    if let Some(manuscript) = kept {
        let recovered = Event::Recovered(manuscript);
        this.happened(recovered).await;
    }
    let ending = match this.until_the_end().await {
        Err(ConsoleError::Terminal(TerminalError::HungUp)) => Ok(Ending::HungUp),
        ending => ending,
    };
    this.keep_unsaved(&ending);
    let Loop { session, screen, console, events, .. } = this;
    // The terminal first: the user waits for it, and nothing that follows is shown.
    drop(screen);
    drop(events);
    console.cancel();
    session.end().await;
    ending
}

/// The state before the first event, and what is wrong with the user's configuration.
fn first_state(options: &Options) -> (State, Option<Trouble>) {
    let (on_disk, complaint) = super::settings();
    let wanted = &options.look;
    let in_force = Settings {
        theme: wanted.theme.or(on_disk.theme),
        colors: wanted.depth.or(on_disk.colors),
        charset: wanted.charset.or(on_disk.charset),
        mouse: wanted.mouse.or(on_disk.mouse),
        dashboard: on_disk.dashboard.clone(),
        keys: on_disk.keys.clone(),
    };
    let variable = |name: &str| std::env::var(name).ok();
    let depth = Depth::detect(
        variable("COLORTERM").as_deref(),
        variable("TERM").as_deref(),
        variable("NO_COLOR").as_deref(),
    );
    let charset = Charset::detect(
        variable("LC_ALL").as_deref(),
        variable("LC_CTYPE").as_deref(),
        variable("LANG").as_deref(),
        variable("TERM").as_deref(),
    );
    let (width, height) = crossterm::terminal::size().unwrap_or((80, 24));
    let mut state = State {
        now: Timestamp::now(),
        width,
        height,
        world: World {
            name: options.world.clone(),
            namespace: options.namespace.clone(),
            ends_with_console: options.owner,
            has_contexts: options.kubeconfig.is_some(),
        },
        read_only: options.read_only,
        namespace: options.namespace.clone(),
        look: in_force.look(depth, charset),
        // A key that cannot be read was said already.
        keymap: Keymap::with(&on_disk.keys).unwrap_or_default(),
        // What the command line asked for is for this time only.
        settings: on_disk,
        ..State::default()
    };
    state.refresh();
    (state, complaint)
}

/// The file that a recovered text is in.
fn recovered_path(manuscript: &Manuscript) -> Option<PathBuf> {
    match &manuscript.origin {
        Origin::Recovered(path) => Some(PathBuf::from(path)),
        _ => None,
    }
}

fn theme(state: &State) -> Theme {
    Theme::new(state.look.theme, state.look.depth, state.look.charset)
}

struct Loop {
    options: Options,
    state: State,
    theme: Theme,
    screen: Screen,
    signals: Signals,
    input: Input,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    session: Session,
    console: CancellationToken,
    recorder: Recorder,
    /// Whether the screen is not what the state is.
    dirty: bool,
    /// When the last frame was drawn.
    drawn: Option<Instant>,
    /// When the last batch of changes was taken.
    batched: Instant,
    /// The file of an unsaved text that was taken over from an earlier console.
    recovered: Option<PathBuf>,
}

/// What the loop was woken by.
enum Woken {
    Signal(Signal),
    Event(Box<Event>),
    /// The terminal has room for another frame, or it is time for one.
    Frame,
}

impl Woken {
    fn event(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

impl Loop {
    async fn until_the_end(&mut self) -> Result<Ending, ConsoleError> {
        loop {
            self.draw_if_due()?;
            match self.next().await? {
                Woken::Signal(Signal::Terminate | Signal::Interrupt) => return Ok(Ending::Terminated),
                Woken::Signal(Signal::HangUp) => return Ok(Ending::HungUp),
                Woken::Signal(Signal::Continue) => {
                    self.screen.resume()?;
                    self.dirty = true;
                }
                Woken::Frame => {}
                Woken::Event(event) => {
                    if let Some(ending) = self.happened(*event).await {
                        return Ok(ending);
                    }
                    if let Some(ending) = self.drain().await? {
                        return Ok(ending);
                    }
                }
            }
        }
    }

    /// Waits for the next thing to happen; what the user does goes before what comes from tasks.
    async fn next(&mut self) -> Result<Woken, ConsoleError> {
        let wake = until(self.state.next_wake());
        let due = self.drawn.map_or_else(Instant::now, |drawn| drawn + FRAME);
        let behind = self.screen.is_behind();
        let wants_frame = self.dirty && !behind;
        let batch = self.batched + BATCH;
        let slots = std::sync::Arc::clone(&self.session.slots);
        tokio::select! {
            biased;
            signal = self.signals.next() => Ok(Woken::Signal(signal)),
            read = self.input.next() => Ok(input::event(read?).map_or(Woken::Frame, Woken::event)),
            Some(event) = self.events.recv() => Ok(Woken::event(event)),
            drained = self.screen.drained(), if behind => drained.map(|()| Woken::Frame).map_err(Into::into),
            () = sleep_until(due), if wants_frame => Ok(Woken::Frame),
            () = async { slots.arrived().await; sleep_until(batch).await } => {
                self.batched = Instant::now();
                Ok(Woken::event(Event::Changed(Box::new(slots.take()))))
            }
            () = sleep_until(wake) => Ok(Woken::event(Event::Ticked)),
        }
    }

    /// Takes in what is there already: one frame for a whole burst of keys.
    async fn drain(&mut self) -> Result<Option<Ending>, ConsoleError> {
        for _ in 0..AT_ONCE {
            let event = match self.input.next().now_or_never() {
                Some(event) => input::event(event?),
                None => match self.events.try_recv() {
                    Ok(event) => Some(event),
                    Err(_empty) => return Ok(None),
                },
            };
            if let Some(event) = event
                && let Some(ending) = self.happened(event).await
            {
                return Ok(Some(ending));
            }
        }
        Ok(None)
    }

    fn draw_if_due(&mut self) -> Result<(), ConsoleError> {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME);
        if self.dirty && is_due && !self.screen.is_behind() {
            let (state, theme) = (&self.state, &self.theme);
            self.screen.draw(|frame| ui::draw(state, theme, frame))?;
            self.dirty = false;
            self.drawn = Some(Instant::now());
        }
        Ok(())
    }

    /// Hands an event to the update and does what that asks for.
    async fn happened(&mut self, event: Event) -> Option<Ending> {
        if matches!(&event, Event::Changed(batch) if batch.is_empty()) {
            return None;
        }
        let now = Timestamp::now();
        self.recorder.record(&self.state, &event, now);
        self.dirty = true;
        for effect in update(&mut self.state, event, now) {
            if let Some(ending) = self.perform(effect).await {
                return Some(ending);
            }
        }
        None
    }

    async fn perform(&mut self, effect: Effect) -> Option<Ending> {
        match effect {
            Effect::Load { slot, ticket, request } => self.session.load(slot, ticket, request),
            Effect::Cancel(slot) => self.session.cancel(slot),
            Effect::Do(deed) => self.session.perform(deed),
            Effect::Review(rights) => self.session.review(rights),
            Effect::Measure(measurement) => self.session.measure(measurement.map(|measurement| *measurement)),
            Effect::Copy(text) => {
                if let Err(error) = self.screen.copy(&text) {
                    self.say(Severity::Error, Trouble::new(format!("not copied: {error}")));
                }
            }
            Effect::TakeMouse(on) => {
                if let Err(error) = self.screen.set_mouse(on) {
                    self.say(Severity::Error, Trouble::new(error.to_string()));
                }
            }
            Effect::Save(settings) => self.save(&settings),
            Effect::Connect(context) => self.connect(context).await,
            Effect::Watch(namespace) => self.session.watch(namespace),
            Effect::Dump => self.dump(),
            Effect::Suspend => {
                if let Err(error) = self.screen.suspend(&mut self.signals).await {
                    self.say(Severity::Error, Trouble::new(error.to_string()));
                }
            }
            Effect::Redraw => {
                self.theme = theme(&self.state);
                if self.screen.redraw().is_err() {
                    return Some(Ending::HungUp);
                }
            }
            Effect::Quit => return Some(Ending::Quit),
        }
        None
    }

    /// Where nobody could be asked, what was not saved is kept; and what was taken over before is not needed any more.
    fn keep_unsaved(&self, ending: &Result<Ending, ConsoleError>) {
        let editor = &self.state.editor;
        let was_asked = matches!(ending, Ok(Ending::Quit));
        if editor.unsaved
            && !editor.is_empty()
            && !was_asked
            && let Err(error) = files::keep_unsaved(&editor.buffer.text(), Timestamp::now())
        {
            tracing::warn!("the text of the editor was not kept: {error}");
            return;
        }
        if let Some(path) = &self.recovered {
            drop(std::fs::remove_file(path));
        }
    }

    /// Puts something to say into the queue, where there is room for it.
    fn say(&self, severity: Severity, trouble: Trouble) {
        drop(self.sender.try_send(Event::Noted { severity, trouble }));
    }

    fn save(&self, settings: &Settings) {
        let Some(path) = files::settings_path() else { return };
        if let Err(error) = files::write_settings(&path, settings) {
            let what = format!("the settings are in force but not kept: {error}");
            self.say(Severity::Warning, Trouble::new(what));
        }
    }

    fn dump(&self) {
        let Some(recording) = self.recorder.recording() else { return };
        match files::write_recording(&recording, Timestamp::now()) {
            Ok(path) => {
                let cure = "look through it before you pass it on: it names your pods";
                let what = format!("the recording is in {}", path.display());
                self.say(Severity::Good, Trouble::new(what).cure(cure));
            }
            Err(error) => {
                self.say(Severity::Error, Trouble::new(format!("the recording was not written: {error}")));
            }
        }
    }

    /// Talks to another context: the old connection ends when the new one can be made.
    async fn connect(&mut self, context: String) {
        let Some(kubeconfig) = self.options.kubeconfig.clone() else {
            return self.say(Severity::Error, fetch::no_kubeconfig());
        };
        match kubeconfig.connect(Some(&context)).await {
            Ok(connection) => {
                connection.leave_terminal();
                let Connection { client, name, namespace, .. } = connection;
                let from = Start { client, kubeconfig: Some(kubeconfig), namespace: namespace.clone() };
                let next = Session::start(from, self.sender.clone(), &self.console);
                let before = std::mem::replace(&mut self.session, next);
                tokio::spawn(before.end());
                let world = World { name, namespace, ends_with_console: false, has_contexts: true };
                drop(self.sender.try_send(Event::Connected(world)));
            }
            Err(trouble) => self.say(Severity::Error, trouble),
        }
    }
}

/// The instant of a time of the wall clock.
fn until(time: Timestamp) -> Instant {
    let left = time.duration_since(Timestamp::now());
    Instant::now() + Duration::try_from(left).unwrap_or_default()
}
