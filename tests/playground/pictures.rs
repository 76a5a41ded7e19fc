//! The pictures of the README, made of the real program's screens. `cargo xtask pictures` keeps them; otherwise they are
//! made and thrown away.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::console::{CLEARING, all_ready, on_terminal, opened};
use super::harness::Home;
use super::pty::{PATIENCE, Pty, Screen};

/// Columns and rows of a picture.
const SIZE: (u16, u16) = (100, 30);
/// Width and height of a cell, and where its letters stand, in pixels.
const CELL: (f64, f64) = (8.4, 16.5);
const BASELINE: f64 = 12.9;
/// Room around the cells, in pixels.
const MARGIN: f64 = 10.0;
/// What a cell without colours of its own has.
const BACKGROUND: &str = "#0d1117";
const FOREGROUND: &str = "#d0d7de";
/// The sixteen colours that have numbers only.
const NAMED: [&str; 16] = [
    "#161b22", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681",
    "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#f0f6fc",
];
/// The most bytes that a picture may have.
const MOST: usize = 60 * 1024;

/// How a cell looks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Style {
    ink: String,
    ground: String,
    bold: bool,
    dim: bool,
    underlined: bool,
}

impl Style {
    fn of(cell: &vt100::Cell) -> Self {
        let ink = colour(cell.fgcolor(), FOREGROUND);
        let ground = colour(cell.bgcolor(), BACKGROUND);
        let (ink, ground) = if cell.inverse() { (ground, ink) } else { (ink, ground) };
        Self { ink, ground, bold: cell.bold(), dim: cell.dim(), underlined: cell.underline() }
    }

    /// What an element of text says of itself, beside what all have.
    fn attributes(&self) -> String {
        let mut all = String::new();
        if self.ink != FOREGROUND {
            write!(all, " fill=\"{}\"", self.ink).unwrap();
        }
        if self.bold {
            all.push_str(" font-weight=\"bold\"");
        }
        if self.dim {
            all.push_str(" opacity=\"0.6\"");
        }
        if self.underlined {
            all.push_str(" text-decoration=\"underline\"");
        }
        all
    }
}

fn colour(colour: vt100::Color, default: &str) -> String {
    match colour {
        vt100::Color::Default => default.to_owned(),
        vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        vt100::Color::Idx(index @ 0..16) => NAMED[usize::from(index)].to_owned(),
        // xterm's cube of 6x6x6 colours, and its 24 greys.
        vt100::Color::Idx(index @ 16..232) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            let index = index - 16;
            let [red, green, blue] = [index / 36, index / 6 % 6, index % 6].map(level);
            format!("#{red:02x}{green:02x}{blue:02x}")
        }
        vt100::Color::Idx(index) => {
            let grey = 8 + 10 * (index - 232);
            format!("#{grey:02x}{grey:02x}{grey:02x}")
        }
    }
}

/// Neighbours that look the same: where they begin, how many columns they have, their text.
struct Stretch {
    column: u16,
    columns: u16,
    style: Style,
    text: String,
}

fn stretches(screen: &Screen<'_>, row: u16) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    for column in 0..SIZE.0 {
        let cell = screen.cell(row, column);
        if cell.is_wide_continuation() {
            all.last_mut().expect("its first half").columns += 1;
            continue;
        }
        let text = if cell.has_contents() { cell.contents() } else { " " };
        let style = Style::of(cell);
        match all.last_mut() {
            Some(last) if last.style == style => {
                last.columns += 1;
                last.text.push_str(text);
            }
            _ => all.push(Stretch { column, columns: 1, style, text: text.to_owned() }),
        }
    }
    all
}

/// What most cells have below them: it is drawn once.
fn paper(screen: &Screen<'_>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for (row, column) in (0..SIZE.1).flat_map(|row| (0..SIZE.0).map(move |column| (row, column))) {
        *counts.entry(Style::of(screen.cell(row, column)).ground).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).expect("a cell").0
}

/// The screen as an SVG file that needs nothing else: any monospace font will do, since each piece of text says how wide
/// it is.
fn svg(screen: &Screen<'_>, title: &str) -> String {
    let (width, height) =
        (f64::from(SIZE.0) * CELL.0 + 2.0 * MARGIN, f64::from(SIZE.1) * CELL.1 + 2.0 * MARGIN);
    let paper = paper(screen);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{paper}\"/>\n\
         <g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\" \
         font-size=\"14\" fill=\"{FOREGROUND}\" style=\"white-space:pre\">\n",
        escaped(title)
    );
    for row in 0..SIZE.1 {
        let top = MARGIN + f64::from(row) * CELL.1;
        for Stretch { column, columns, style, text } in stretches(screen, row) {
            let left = MARGIN + f64::from(column) * CELL.0;
            if style.ground != paper {
                let wide = f64::from(columns) * CELL.0;
                let ground = &style.ground;
                writeln!(
                    svg,
                    "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{wide:.1}\" height=\"{}\" fill=\"{ground}\"/>",
                    CELL.1
                )
                .unwrap();
            }
            // Blanks at both ends show nothing; wide characters are never among them.
            let seen = text.trim();
            if seen.is_empty() {
                continue;
            }
            let blanks = |side: usize| u16::try_from(side).unwrap();
            let before = blanks(text.len() - text.trim_start().len());
            let after = blanks(text.len() - text.trim_end().len());
            let left = left + f64::from(before) * CELL.0;
            let wide = f64::from(columns - before - after) * CELL.0;
            let attributes = style.attributes();
            writeln!(
                svg,
                "<text x=\"{left:.1}\" y=\"{}\" textLength=\"{wide:.1}\"{attributes}>{}</text>",
                top + BASELINE,
                escaped(seen)
            )
            .unwrap();
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Where pictures go.
struct Album(PathBuf);

impl Album {
    fn keep(&self, pty: &Pty, name: &str, title: &str) {
        let svg = svg(&pty.screen(), title);
        assert!(svg.len() <= MOST, "{name}: {} bytes", svg.len());
        fs::write(self.0.join(format!("{name}.svg")), &svg).expect("write the picture");
        eprintln!("{name}.svg: {} bytes", svg.len());
    }
}

#[test]
fn the_pictures_of_the_readme() {
    let home = Home::new();
    let launch = on_terminal(&home, &["playground"]).size(SIZE.0, SIZE.1).env("COLORTERM", "truecolor");
    let Some(mut pty) = opened(launch) else { return };
    let thrown_away = tempfile::tempdir().expect("a temporary folder");
    let wanted = std::env::var_os("SQUALL_PICTURES");
    let album = Album(wanted.map_or_else(|| thrown_away.path().to_owned(), PathBuf::from));
    fs::create_dir_all(&album.0).expect("the folder for pictures");

    all_ready(&mut pty);
    pty.press("3");
    pty.wait_text("╭ network-delay ─");
    pty.press("enter");
    pty.wait_text("would hit 3 pods");
    album.keep(&pty, "editor", "The editor, with the pods that the experiment would hit");
    pty.press("f5");
    pty.wait_text("It acts on 3 targets:");
    album.keep(&pty, "launch", "Before anything happens the console names whom an experiment would hit");
    pty.press("enter");
    pty.wait_text("Injected 3/3");
    pty.wait_text("experiment ▸ network-delay");
    pty.wait_text("delay 150ms ±10ms");
    pty.wait_text("read back on all 3 targets");
    album.keep(&pty, "run", "A running experiment: its targets, and what was read back from the kernel");
    pty.press("4");
    pty.wait_text("Movies · 2 pods");
    // Panels are of the last minute: long enough for the fault to be seen in them.
    pty.watch(Duration::from_secs(20));
    album.keep(&pty, "steady-state", "What the application measures of itself while the fault is on");
    pty.press("j");
    pty.press("enter");
    pty.wait_text("network-delay injected");
    album.keep(&pty, "chart", "One panel of it large");
    pty.press("1");
    pty.wait_text("machine1");
    album.keep(&pty, "cluster", "Nodes and pods, and which of them have faults");
    pty.press("!");
    pty.wait_text("Every fault is undone at once");
    album.keep(&pty, "stop", "The emergency stop");
    pty.press("enter");
    pty.wait_text("HALTED: everything is stopped");
    pty.wait_for(|screen| !screen.has("Injected"), PATIENCE, "end of the experiment");
    album.keep(&pty, "halted", "After the emergency stop nothing starts until it is released");
    pty.press("q");
    pty.press("q");
    assert!(pty.wait_end().success());
    home.wait_for_no_process(CLEARING).expect("nothing is left");
}
