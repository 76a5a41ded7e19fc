//! A text.

use crate::app::geometry::Area;
use crate::app::screens::pager::{Content, Language, Pager};
use crate::app::state::State;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::text;
use crate::ui::theme::{Glyph, Role};
use crate::ui::widgets::yaml;

/// The text, or why it is not there.
pub(crate) fn text(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let pager = &state.pager;
    let wrong = match &pager.content {
        Content::Failed(trouble) if !pager.lines.is_empty() => Some((Role::Danger, trouble.whole())),
        _ => None,
    };
    let corner = corner(pager);
    let inside = Frame { title: &pager.title, corner: &corner, focus: true, foot: wrong }.draw(canvas, area);
    match &pager.content {
        Content::Loading => {
            let style = canvas.theme.style(Role::Dim);
            let text = format!("asking the API server {}", canvas.theme.glyph(Glyph::Ellipsis));
            canvas.text(inside.x + 1, inside.y, inside.width, &text, style);
        }
        Content::Failed(trouble) if pager.lines.is_empty() => {
            let what = format!("{} {trouble}", canvas.theme.glyph(Glyph::Failed));
            let rows = text::wrap(&what, inside.width.saturating_sub(2));
            let cure = trouble.cure.as_deref().map(|cure| text::wrap(cure, inside.width.saturating_sub(2)));
            let rows = rows.into_iter().map(|row| (Role::Danger, row));
            let rows = rows.chain(cure.into_iter().flatten().map(|row| (Role::Ok, row)));
            for ((role, row), y) in rows.zip(inside.y..inside.y + inside.height) {
                let style = canvas.theme.style(role);
                canvas.text(inside.x + 1, y, inside.width.saturating_sub(1), &row, style);
            }
        }
        Content::Ready | Content::Failed(_) => lines(pager, canvas, inside),
    }
}

fn corner(pager: &Pager) -> String {
    if pager.lines.is_empty() {
        return String::new();
    }
    let place = format!("{}/{}", (pager.top + 1).min(pager.lines.len()), pager.lines.len());
    let follow = match (pager.growing, pager.follow) {
        (true, true) => "following  ",
        (true, false) => "standing still  ",
        (false, _) => "",
    };
    let search = if pager.search.is_empty() { String::new() } else { format!("  /{}", pager.search) };
    format!("{follow}{place}{search}")
}

fn lines(pager: &Pager, canvas: &mut Canvas<'_>, inside: Area) {
    if pager.lines.is_empty() {
        let style = canvas.theme.style(Role::Dim);
        canvas.text(inside.x + 1, inside.y, inside.width, "nothing was written", style);
        return;
    }
    let mut y = inside.y;
    let end = inside.y + inside.height;
    for line in pager.lines.iter().skip(pager.top) {
        if y >= end {
            return;
        }
        let harmless = text::harmless(line);
        if pager.wrap {
            for row in text::wrap(&harmless, inside.width) {
                if y >= end {
                    return;
                }
                row_of(pager, canvas, Area { y, height: 1, ..inside }, &row);
                y += 1;
            }
        } else {
            let shown: String = harmless.chars().skip(pager.left).collect();
            row_of(pager, canvas, Area { y, height: 1, ..inside }, &shown);
            y += 1;
        }
    }
}

fn row_of(pager: &Pager, canvas: &mut Canvas<'_>, area: Area, row: &str) {
    let spans = match pager.language {
        Language::Yaml => yaml::line(row),
        Language::Plain => vec![Span::plain(row)],
    };
    canvas.spans(area.x, area.y, area.width, &spans, Role::Text);
    if !pager.search.is_empty() {
        let style = canvas.theme.style(Role::Match);
        for range in text::matches(row, &pager.search) {
            let before = row.get(..range.start).map_or(0, text::width);
            let found = row.get(range).map_or(0, text::width);
            let at = area.x.saturating_add(u16::try_from(before).unwrap_or(u16::MAX));
            let width = u16::try_from(found).unwrap_or(0).min((area.x + area.width).saturating_sub(at));
            canvas.tint(Area { x: at, width, ..area }, style);
        }
    }
}
