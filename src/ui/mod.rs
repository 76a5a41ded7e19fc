//! What the console draws. Pure: it reads the state and fills a buffer of cells; who has a terminal writes that out.
//!
//! ```text
//! cluster ▸ pods                     playground default · all namespaces · ARMED
//! ✦ 1 fault · NetworkChaos network-delay Injected 42s left · ! stops everything
//! ╭ nodes ───────────────────────────────────────────────────────────────── 3 ╮
//! │ …                                                                         │
//! ╰───────────────────────────────────────────────────────────────────────────╯
//! ! stop all  d describe  y yaml  l logs  / filter  ? help
//! ```
//!
//! * [`text`] – measuring, cutting, and making foreign text harmless; [`theme`] – roles to looks.
//! * [`canvas`] and [`widgets`] – the parts; `chrome` – what every screen has; `screens` – one file each.

pub mod canvas;
mod chrome;
mod overlay;
mod screens;
#[doc(hidden)]
pub mod testing;
pub mod text;
pub mod theme;
pub mod widgets;

use canvas::Canvas;
use ratatui::Frame;
use ratatui::layout::Rect;

use crate::app::geometry::{self, Area};
use crate::app::screens::{Pane, Screen};
use crate::app::state::State;
use theme::{Role, Theme};

/// Draws the whole screen.
pub fn draw(state: &State, theme: &Theme, frame: &mut Frame<'_>) {
    let Rect { x, y, width, height } = frame.area();
    let whole = Area { x, y, width, height };
    let mut canvas = Canvas { buffer: frame.buffer_mut(), theme };
    canvas.tint(whole, theme.ground());
    if geometry::is_too_small(width, height) {
        return too_small(&mut canvas, whole);
    }
    let parts = geometry::chrome(state);
    chrome::header(state, &mut canvas, parts.header);
    chrome::banner(state, &mut canvas, parts.banner);
    for (pane, area) in geometry::panes(state) {
        draw_pane(state, pane, &mut canvas, area);
    }
    chrome::footer(state, &mut canvas, parts.footer);
    overlay::toast(state, &mut canvas, parts.body);
    if state.shows_continuations() {
        overlay::continuations(state, &mut canvas, parts.body);
    }
    if state.screen == Screen::Editor {
        screens::editor::offer(state, &mut canvas, parts.body);
    }
    if let Some(popup) = &state.popup {
        overlay::popup(popup, &mut canvas, whole);
    }
}

fn draw_pane(state: &State, pane: Pane, canvas: &mut Canvas<'_>, area: Area) {
    match pane {
        Pane::Nodes => screens::cluster::nodes(state, canvas, area),
        Pane::Pods => screens::cluster::pods(state, canvas, area),
        Pane::Experiments => screens::experiments::list(state, canvas, area),
        Pane::Templates => screens::templates::list(state, canvas, area),
        Pane::Editor => screens::editor::text(state, canvas, area),
        Pane::Form => screens::editor::form(state, canvas, area),
        Pane::Details if state.screen == Screen::Editor => screens::editor::details(state, canvas, area),
        Pane::Details if state.screen == Screen::Templates => screens::templates::about(state, canvas, area),
        Pane::Details if state.screen == Screen::Cluster => screens::cluster::details(state, canvas, area),
        Pane::Details => screens::experiments::details(state, canvas, area),
        Pane::Summary => screens::run::summary(state, canvas, area),
        Pane::Targets => screens::run::targets(state, canvas, area),
        Pane::Timeline => screens::run::timeline(state, canvas, area),
        Pane::Panels => screens::steady_state::panels(state, canvas, area),
        Pane::Text => screens::pager::text(state, canvas, area),
        Pane::Help => screens::help::list(state, canvas, area),
        Pane::Settings => screens::settings::list(state, canvas, area),
        Pane::Errors => screens::errors::list(state, canvas, area),
    }
}

/// Nothing is usable, but what matters most still is.
fn too_small(canvas: &mut Canvas<'_>, whole: Area) {
    let lines = [
        format!("{}x{} is too small:", whole.width, whole.height),
        format!("needs {}x{}", geometry::MIN_WIDTH, geometry::MIN_HEIGHT),
        "! Enter stops all".to_owned(),
        "q leaves".to_owned(),
    ];
    let style = canvas.theme.style(Role::Warn);
    for (down, line) in lines.iter().enumerate() {
        let Ok(down) = u16::try_from(down) else { return };
        canvas.text(whole.x, whole.y.saturating_add(down), whole.width, line, style);
    }
}
