//! The console: the loop that joins the terminal with the cluster.

pub mod clipboard;
pub mod terminal;

use ratatui::style::Stylize as _;
use ratatui::text::{Line, Text};

use crossterm::event::{Event, KeyCode, KeyModifiers};
use terminal::{Screen, ScreenOptions, Signal, TerminalError};

/// How many colours may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// As many as the environment says: `NO_COLOR`, `COLORTERM`, `TERM`.
    #[default]
    Auto,
    /// None.
    Never,
    /// The terminal's own sixteen.
    #[value(name = "16")]
    Sixteen,
    /// The 256 of xterm.
    #[value(name = "256")]
    Indexed,
    /// All.
    Truecolor,
}

/// What the user chooses about how it looks.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Name of the theme.
    pub theme: Option<String>,
    /// How many colours.
    pub color: Color,
    /// No character beyond ASCII.
    pub ascii: bool,
    /// Whether the mouse is used.
    pub mouse: bool,
}

/// What a console is opened on, and how.
#[derive(Clone)]
pub struct Options {
    /// A client of the API server.
    pub client: kube::Client,
    /// What the user calls it: `playground default`, `context lab (https://…)`.
    pub world: String,
    /// The namespace that is shown first; none means the client's own.
    pub namespace: Option<String>,
    /// Nothing may be changed.
    pub read_only: bool,
    /// It is a playground.
    pub playground: bool,
    /// It is a playground, and ends with the console ([`Ending::Quit`], [`Ending::Terminated`]).
    pub owner: bool,
    /// How it looks.
    pub look: Look,
}

/// How a console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The user wanted it.
    Quit,
    /// SIGTERM or SIGINT from outside.
    Terminated,
    /// The terminal is gone.
    HungUp,
}

/// Why a console could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

/// Runs the console until it ends.
pub async fn run(options: Options) -> Result<Ending, ConsoleError> {
    let mut mouse = options.look.mouse;
    let mut screen = Screen::open(ScreenOptions { mouse, after_panic: None })?;
    let mut signals = screen.signals()?;
    let mut input = screen.input()?;
    let mut said = String::new();
    loop {
        let drawn = screen.draw(|frame| {
            let area = frame.area();
            let lines = [
                Line::from(options.world.as_str()).cyan().reversed(),
                Line::from(format!("{}x{}", area.width, area.height)),
                Line::from(said.as_str()),
            ];
            frame.render_widget(Text::from_iter(lines), area);
        });
        match drawn {
            Err(TerminalError::HungUp) => return Ok(Ending::HungUp),
            other => other?,
        }
        let behind = screen.is_behind();
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::Terminate | Signal::Interrupt => return Ok(Ending::Terminated),
                Signal::HangUp => return Ok(Ending::HungUp),
                Signal::Continue => screen.resume()?,
            },
            drained = screen.drained(), if behind => drained?,
            event = input.next() => match event {
                Ok(Event::Key(key)) => match key.code {
                    KeyCode::Char('q') => return Ok(Ending::Quit),
                    KeyCode::Char('z') if key.modifiers == KeyModifiers::CONTROL => {
                        screen.suspend(&mut signals).await?;
                    }
                    KeyCode::Char('m') => {
                        mouse = !mouse;
                        screen.set_mouse(mouse)?;
                    }
                    code => said = format!("key {code}"),
                },
                Ok(event) => said = format!("{event:?}"),
                Err(TerminalError::HungUp) => return Ok(Ending::HungUp),
                Err(error) => return Err(error.into()),
            },
        }
    }
}
