//! `squall top`: what Squall's own parts do and use, once or until somebody has seen enough.

use std::time::Duration;

use clap::ValueEnum;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use jiff::Timestamp;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Out;
use super::exit::{Exit, Failure, Result};
use super::status::{Form, print};
use super::world::{World, WorldArgs};
use crate::console::terminal::{self, Screen, ScreenOptions, TerminalError};
use crate::operations::top::Observer;
use crate::report::Trouble;
use crate::report::top::{Order, Seen, Top};
use crate::ui::text;

/// How often everything is read.
const EVERY: Duration = Duration::from_secs(2);

/// How long is waited for a second sample of processor time where it is printed once: a kubelet takes one every 10 to 15 s.
const SAMPLES: Duration = Duration::from_secs(16);

/// Show what Squall's own parts do and use
///
/// One line for each node's daemon and for each controller: whether it is ready, its targets, the oldest fault, restarts, and the CPU
/// and memory that the node's kubelet measures, which takes the right to get nodes/proxy. On a terminal it is read anew every 2 s
/// until q or Ctrl-C. No part of Squall is asked: it needs neither a port nor metrics-server.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall top
  squall top --sort memory
  squall top --once -o json")]
pub(crate) struct Args {
    /// Print it once, also on a terminal; waits up to 16 s for a second sample of CPU
    #[arg(long)]
    once: bool,
    /// What the lines are ordered by; amounts have the largest first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    sort: Sort,
    /// Form of the output; JSON and YAML are printed once
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Form,
}

/// The columns that lines can be ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    #[default]
    Name,
    Cpu,
    Memory,
    Targets,
    Oldest,
    Restarts,
    Age,
    Problems,
}

impl From<Sort> for Order {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Name => Self::Name,
            Sort::Cpu => Self::Cpu,
            Sort::Memory => Self::Memory,
            Sort::Targets => Self::Targets,
            Sort::Oldest => Self::Oldest,
            Sort::Restarts => Self::Restarts,
            Sort::Age => Self::Age,
            Sort::Problems => Self::Problems,
        }
    }
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let world = World::find(world).await?;
        let observer = Observer::new(world.client.clone());
        let live = !self.once && self.output == Form::Table && terminal::check().is_ok();
        if !live {
            return self.once(observer, out).await;
        }
        world.log_in().await?;
        let view = View { world: world.name, order: self.sort.into(), seen: None, trouble: None, first: 0 };
        match view.show(observer).await {
            // Closing the window is one way to have seen enough.
            Ok(()) | Err(TerminalError::HungUp) => Ok(Exit::Success),
            Err(error) => Err(Failure::new(error)),
        }
    }

    async fn once(&self, mut observer: Observer, out: &mut Out) -> Result<Exit> {
        let end = Instant::now() + SAMPLES;
        let mut seen = observer.look().await?;
        while observer.is_waiting_for_samples() && Instant::now() < end {
            out.live("a second sample of CPU is awaited")?;
            tokio::time::sleep(EVERY).await;
            seen = observer.look().await?;
        }
        out.end_live()?;
        let now = Timestamp::now();
        let top = Top::new(&seen, self.sort.into(), now);
        if !print(self.output, &top, out)? {
            let lines = [top.head(), vec![String::new()], top.tables(now)].concat();
            lines.iter().try_for_each(|line| out.line(&text::harmless(line)))?;
            let foot = top.foot();
            if !foot.is_empty() {
                out.line("")?;
            }
            foot.iter().try_for_each(|line| out.line(&text::harmless(line)))?;
        }
        Ok(Exit::Success)
    }
}

/// What is on the screen.
struct View {
    world: String,
    order: Order,
    /// What was read last, and when.
    seen: Option<(Seen, Timestamp)>,
    /// Why nothing was read since.
    trouble: Option<Trouble>,
    /// The first line of the tables that is shown.
    first: usize,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    End,
    Scroll(isize),
    Nothing,
}

impl View {
    /// Shows it until somebody has seen enough.
    async fn show(mut self, mut observer: Observer) -> Result<(), TerminalError> {
        let mut screen = Screen::open(ScreenOptions::default())?;
        let (mut signals, mut input) = (screen.signals()?, screen.input()?);
        let (sender, mut looks) = mpsc::channel(1);
        let looking = tokio::spawn(async move {
            while sender.send((observer.look().await, Timestamp::now())).await.is_ok() {
                tokio::time::sleep(EVERY).await;
            }
        });
        let ended = loop {
            screen.draw(|frame| {
                let area = frame.area();
                frame.render_widget(Paragraph::new(self.lines(area.width, area.height)), area);
            })?;
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    terminal::Signal::Continue => screen.resume()?,
                    _ => break Ok(()),
                },
                event = input.next() => match wish(&event?) {
                    Wish::End => break Ok(()),
                    Wish::Scroll(lines) => self.first = self.first.saturating_add_signed(lines),
                    Wish::Nothing => {}
                },
                Some((looked, at)) = looks.recv() => self.take(looked, at),
                drained = screen.drained(), if screen.is_behind() => drained?,
            }
        };
        looking.abort();
        ended
    }

    fn take(&mut self, looked: Result<Seen, Trouble>, at: Timestamp) {
        match looked {
            Ok(seen) => {
                self.seen = Some((seen, at));
                self.trouble = None;
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// The screen from top to bottom, in this size.
    fn lines(&mut self, width: u16, height: u16) -> Vec<Line<'static>> {
        let bold = |text: String| Line::styled(text, Style::new().add_modifier(Modifier::BOLD));
        let plain = |text: &String| Line::raw(text::harmless(text).into_owned());
        let now = Timestamp::now();
        let mut lines = vec![bold(format!("squall top: {} (q ends)", text::harmless(&self.world)))];
        if let Some(trouble) = &self.trouble {
            let age = self.seen.as_ref().map(|(_, at)| now.as_second() - at.as_second());
            let age = age.map_or_else(String::new, |age| format!(", what follows is {age} s old"));
            lines.extend(wrapped(&format!("{}{age}", trouble.whole()), width).into_iter().map(bold));
        }
        let Some((seen, _)) = &self.seen else {
            lines.extend(self.trouble.is_none().then(|| Line::raw("…")));
            return lines;
        };
        let top = Top::new(seen, self.order, now);
        lines.extend(top.head().iter().map(plain));
        lines.push(Line::raw(""));
        let mut body: Vec<_> = top.tables(now).iter().map(plain).collect();
        let foot = top.foot();
        body.extend((!foot.is_empty()).then(|| Line::raw("")));
        body.extend(foot.iter().flat_map(|line| wrapped(line, width)).map(bold));
        let room = usize::from(height).saturating_sub(lines.len());
        self.first = self.first.min(body.len().saturating_sub(room));
        lines.extend(body.into_iter().skip(self.first).take(room));
        lines
    }
}

fn wrapped(line: &str, width: u16) -> Vec<String> {
    text::wrap(&text::harmless(line), width)
}

fn wish(event: &Event) -> Wish {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return Wish::Nothing };
    if *kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Wish::End,
        KeyCode::Char('q') | KeyCode::Esc => Wish::End,
        KeyCode::Char('j') | KeyCode::Down => Wish::Scroll(1),
        KeyCode::Char('k') | KeyCode::Up => Wish::Scroll(-1),
        KeyCode::Char(' ') | KeyCode::PageDown => Wish::Scroll(10),
        KeyCode::PageUp => Wish::Scroll(-10),
        KeyCode::Char('g') | KeyCode::Home => Wish::Scroll(isize::MIN),
        KeyCode::Char('G') | KeyCode::End => Wish::Scroll(isize::MAX),
        _ => Wish::Nothing,
    }
}
