//! The document as a form: one row for each field that its kind has. A view of the text and of the schema; what is
//! changed in it is changed in the text, one place at a time, so that comments and everything else stay.

use std::sync::Arc;

use super::buffer::Place;
use super::complete::{kind, quoted};
use super::outline::{self, Entry, Step, written};
use super::schema::{self, Field, Shape};
use crate::app::list::Row;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormRow {
    id: String,
    /// Its path.
    pub path: Vec<Step>,
    /// Its name.
    pub name: String,
    /// How deep it is, from 0.
    pub depth: usize,
    /// What is written for it.
    pub shape: Shape,
    /// Its type, as the schema calls it.
    pub word: &'static str,
    /// What it may be, if that is listed.
    pub words: Vec<String>,
    /// What it is, if it is there.
    pub value: Option<String>,
    /// What it is if it is not there.
    pub default: Option<String>,
    /// Whether it must be there.
    pub required: bool,
    /// What it is for.
    pub about: &'static str,
}

impl Row for FormRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A change of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// From here.
    pub from: Place,
    /// To here.
    pub to: Place,
    /// What stands there then.
    pub text: String,
    /// Where the cursor goes.
    pub cursor: Place,
}

/// Every field of the document that `row` is in.
pub fn rows(lines: &[String], row: usize) -> Vec<Arc<FormRow>> {
    let kind = kind(lines, row);
    let entries = outline::entries(lines, row);
    let mut rows = Vec::new();
    if let Some(root) = schema::root(&kind).filter(|_| schema::is_kind(&kind)) {
        below(root, &[], lines, &entries, &mut rows);
    }
    rows
}

fn below(
    parent: Field<'static>,
    path: &[Step],
    lines: &[String],
    entries: &[Entry],
    rows: &mut Vec<Arc<FormRow>>,
) {
    for (name, field) in parent.keys() {
        let mut path = path.to_vec();
        path.push(Step::Key(name.to_owned()));
        let entry = entries.iter().find(|entry| entry.path == path);
        let shape = field.shape();
        rows.push(Arc::new(FormRow {
            id: written(&path),
            name: name.to_owned(),
            depth: path.len() - 1,
            shape,
            word: field.word(),
            words: field.words(),
            value: entry.map(|entry| value(entry, lines, entries)),
            default: field.default(),
            required: field.required,
            about: field.about(),
            path: path.clone(),
        }));
        if shape == Shape::Object && entry.is_some() {
            below(field, &path, lines, entries, rows);
        }
    }
}

fn on_line(entry: &Entry, lines: &[String]) -> String {
    let line = lines.get(entry.row).map(String::as_str).unwrap_or_default();
    line.chars().take(entry.value.end).skip(entry.value.start).collect()
}

/// What stands there: a value without its quotes, or of a collection what is in it.
fn value(entry: &Entry, lines: &[String], entries: &[Entry]) -> String {
    let own = on_line(entry, lines);
    if !own.is_empty() {
        return plain(&own);
    }
    let of_child = |child: &Entry| {
        let text = plain(&on_line(child, lines));
        match child.path.last() {
            Some(Step::Key(key)) => format!("{key}: {text}"),
            _ => text,
        }
    };
    let leaves = entries
        .iter()
        .filter(|child| child.path.len() > entry.path.len() && child.path.starts_with(&entry.path))
        .filter(|child| !child.value.is_empty());
    leaves.map(of_child).collect::<Vec<_>>().join(", ")
}

/// A value without its quotes.
fn plain(text: &str) -> String {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    match (inside('"'), inside('\'')) {
        (Some(text), _) => text.replace("\\\"", "\"").replace("\\\\", "\\"),
        (_, Some(text)) => text.replace("''", "'"),
        _ => text.to_owned(),
    }
}

/// What is written for a value that was typed.
///
/// # Errors
/// It is not of the field's type.
pub fn spelled(row: &FormRow, typed: &str) -> Result<String, String> {
    let typed = typed.trim();
    match row.word {
        "integer" if typed.parse::<i64>().is_err() => Err(format!("\"{typed}\" is no whole number")),
        "number" if typed.parse::<f64>().is_err() => Err(format!("\"{typed}\" is no number")),
        "boolean" if !matches!(typed, "true" | "false") => Err("it is true or false".to_owned()),
        "integer" | "number" | "boolean" => Ok(typed.to_owned()),
        _ => Ok(quoted(typed)),
    }
}

/// Gives a field the value that is spelled so; one that is not there is put in.
///
/// # Errors
/// It cannot be done without harm to what else stands there; the text is the place for it.
pub fn set(lines: &[String], row: usize, path: &[Step], spelled: &str) -> Result<Edit, String> {
    let entries = outline::entries(lines, row);
    let Some(entry) = entries.iter().find(|entry| entry.path == path) else {
        return insert(lines, &entries, path, &format!(" {spelled}"));
    };
    let own = on_line(entry, lines);
    if entry.end > entry.row + 1 || own.starts_with(['|', '>', '{', '[', '&', '*', '!']) {
        return Err("it is more than one plain value; edit it in the text".to_owned());
    }
    let line = lines.get(entry.row).map(String::as_str).unwrap_or_default();
    let is_apart = line.chars().take(entry.value.start).last() == Some(' ');
    let text = if is_apart { spelled.to_owned() } else { format!(" {spelled}") };
    let cursor = (entry.row, entry.value.start + text.chars().count());
    Ok(Edit { from: (entry.row, entry.value.start), to: (entry.row, entry.value.end), text, cursor })
}

/// Puts a collection in, with what it must have.
///
/// # Errors
/// As for [`set`].
pub fn add(lines: &[String], row: usize, form: &FormRow) -> Result<Edit, String> {
    let entries = outline::entries(lines, row);
    let indent =
        " ".repeat(child_column(&entries, form.path.get(..form.path.len() - 1).unwrap_or_default()) + 2);
    let inner = match form.shape {
        Shape::List => format!("\n{indent}- "),
        Shape::Map => format!("\n{indent}"),
        Shape::Scalar => " ".to_owned(),
        Shape::Object => {
            let field = schema::at(&kind(lines, row), &form.path).ok_or("the field is not known")?;
            let needed = field.keys().into_iter().filter(|(_, field)| field.required);
            let line = |(name, field): (&str, Field<'_>)| {
                let word = field.default().or_else(|| field.words().into_iter().next());
                let value = match field.shape() {
                    Shape::Scalar => word.map(|word| quoted(&word)).unwrap_or_default(),
                    Shape::List => "[]".to_owned(),
                    Shape::Object | Shape::Map => "{}".to_owned(),
                };
                format!("\n{indent}{name}: {value}")
            };
            let lines: String = needed.map(line).collect();
            if lines.is_empty() { format!("\n{indent}") } else { lines }
        }
    };
    insert(lines, &entries, &form.path, &inner)
}

/// The column of the keys in this collection.
fn child_column(entries: &[Entry], parent: &[Step]) -> usize {
    let is_child = |entry: &&Entry| entry.path.len() == parent.len() + 1 && entry.path.starts_with(parent);
    let of_parent = || entries.iter().find(|entry| entry.path == parent).map_or(0, |entry| entry.column + 2);
    entries.iter().find(is_child).map_or_else(of_parent, |entry| entry.column)
}

/// Puts a field in at the end of the collection that it belongs to, with the collections that are missing above it.
fn insert(lines: &[String], entries: &[Entry], path: &[Step], behind: &str) -> Result<Edit, String> {
    let parent = outline::nearest(entries, path).filter(|_| !path.is_empty());
    let known = parent.map_or(0, |entry| entry.path.len());
    let inline = parent.map(|entry| on_line(entry, lines)).unwrap_or_default();
    if !matches!(inline.as_str(), "" | "{}") {
        return Err("what it belongs to is written on one line; edit it in the text".to_owned());
    }
    let mut column = child_column(entries, path.get(..known).unwrap_or_default());
    let mut text = String::new();
    for step in path.iter().skip(known) {
        let Step::Key(key) = step else {
            return Err("it is an item of a list; edit it in the text".to_owned());
        };
        text.extend(["\n", &" ".repeat(column), key, ":"]);
        column += 2;
    }
    text.push_str(behind);
    let (from, to) = match parent {
        Some(entry) if !inline.is_empty() => {
            let before =
                lines.get(entry.row).map(|line| line.chars().take(entry.value.start).collect::<String>());
            let end = before.unwrap_or_default().trim_end().chars().count();
            ((entry.row, end), (entry.row, entry.value.end))
        }
        _ => {
            let end = parent.map_or_else(|| entries.last().map_or(0, |entry| entry.end), |entry| entry.end);
            let last = end.saturating_sub(1);
            let column = lines.get(last).map_or(0, |line| line.chars().count());
            ((last, column), (last, column))
        }
    };
    let rows = text.matches('\n').count();
    let last: String = text.rsplit('\n').next().unwrap_or_default().to_owned();
    let cursor = (from.0 + rows, last.chars().count());
    Ok(Edit { from, to, text, cursor })
}

/// Takes a field away, with everything that belongs to it.
///
/// # Errors
/// It is not there, or is the first of an item of a list.
pub fn remove(lines: &[String], row: usize, path: &[Step]) -> Result<Edit, String> {
    let entries = outline::entries(lines, row);
    let entry = entries.iter().find(|entry| entry.path == path).ok_or("it is not there")?;
    if entry.dashed {
        return Err("it begins an item of a list; edit it in the text".to_owned());
    }
    let length = |row: usize| lines.get(row).map_or(0, |line| line.chars().count());
    let (from, to) = match entry.row.checked_sub(1) {
        Some(before) => ((before, length(before)), (entry.end - 1, length(entry.end - 1))),
        None if entry.end < lines.len() => ((0, 0), (entry.end, 0)),
        None => ((0, 0), (entry.end - 1, length(entry.end - 1))),
    };
    Ok(Edit { from, to, text: String::new(), cursor: (entry.row.min(from.0 + 1), 0) })
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::*;
    use crate::app::templates::TEMPLATES;
    use crate::manifest;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn after(lines: &[String], edit: &Edit) -> Vec<String> {
        let mut buffer = Buffer::new(&lines.join("\n"));
        assert!(buffer.replace(edit.from, edit.to, &edit.text));
        buffer.lines().to_vec()
    }

    fn value_at(lines: &[String], path: &str) -> Option<String> {
        let rows = rows(lines, 0);
        rows.iter().find(|row| row.id == path).and_then(|row| row.value.clone())
    }

    const TEXT: &str = "\
# Keep me.
kind: NetworkChaos
metadata:
  name: d # and me
spec:
  action: delay
  mode: all
  selector:
    labelSelectors:
      app: server-app
    namespaces: [default]

  # The delay.
  delay:
    latency: \"150ms\" # and me, too
";

    #[test]
    fn the_form_shows_what_is_there_and_what_could_be() {
        let lines = lines(TEXT);
        for (path, value) in [
            ("metadata.name", Some("d")),
            ("spec.action", Some("delay")),
            ("spec.selector.labelSelectors", Some("app: server-app")),
            ("spec.selector.namespaces", Some("[default]")),
            ("spec.delay.latency", Some("150ms")),
            ("spec.delay.jitter", None),
            ("spec.duration", None),
        ] {
            assert!(rows(&lines, 0).iter().any(|row| row.id == path), "{path}");
            assert_eq!(value_at(&lines, path).as_deref(), value, "{path}");
        }
        assert!(rows(&lines, 0).iter().all(|row| row.id != "spec.loss.loss"), "not below what is absent");
    }

    #[test]
    fn a_change_is_made_at_its_place() {
        let before = lines(TEXT);
        for (path, value, changed, added) in [
            ("metadata.name", "e", Some((3, "  name: e # and me")), None),
            ("spec.delay.latency", "20ms", Some((14, "    latency: 20ms # and me, too")), None),
            ("spec.duration", "1m", None, Some((15, "  duration: 1m"))),
            ("spec.delay.jitter", "10ms", None, Some((15, "    jitter: 10ms"))),
            ("metadata.namespace", "shop", None, Some((4, "  namespace: shop"))),
        ] {
            let edit = set(&before, 0, &outline::path(path), value).unwrap();
            let mut expected = before.clone();
            if let Some((row, line)) = changed {
                line.clone_into(&mut expected[row]);
            }
            if let Some((row, line)) = added {
                expected.insert(row, line.to_owned());
            }
            assert_eq!(after(&before, &edit), expected, "{path}");
        }
        let edit = set(&before, 0, &outline::path("spec.loss.loss"), "\"25\"").unwrap();
        assert_eq!(after(&before, &edit)[15..], ["  loss:", "    loss: \"25\""]);
        let edit = remove(&before, 0, &outline::path("spec.delay")).unwrap();
        assert_eq!(after(&before, &edit), before[..13]);
        let refused = set(&before, 0, &outline::path("spec.selector"), "x");
        assert!(refused.unwrap_err().contains("in the text"));
    }

    #[test]
    fn what_is_added_has_what_it_must_have() {
        let before = lines(TEXT);
        let rows = rows(&before, 0);
        let target = rows.iter().find(|row| row.id == "spec.target").unwrap();
        let added = after(&before, &add(&before, 0, target).unwrap());
        assert_eq!(added[15], "  target:");
        assert!(added[16..].iter().any(|line| line.starts_with("    selector:")), "{added:?}");
    }

    proptest! {
        /// Every other line stays as it was, and the field reads as what was given.
        #[test]
        fn an_edit_is_read_back_and_changes_nothing_else(
            template in 0..TEMPLATES.len(), number in 0_usize..200, text in "[ -~]{0,12}",
        ) {
            let before = lines(TEMPLATES[template].text);
            let rows: Vec<_> = rows(&before, 0).into_iter().filter(|row| row.shape == Shape::Scalar).collect();
            let row = &rows[number % rows.len()];
            prop_assume!(row.word == "string" && row.name != "kind");
            let spelled = spelled(row, &text).unwrap();
            let edit = set(&before, 0, &row.path, &spelled).unwrap();
            let after = after(&before, &edit);
            let changed = row.value.is_some();
            prop_assert_eq!(after.len(), before.len() + usize::from(!changed));
            let mut others = after.clone();
            let mut kept = before.clone();
            others.remove(edit.cursor.0);
            if changed {
                kept.remove(edit.cursor.0);
            }
            prop_assert_eq!(others, kept);
            let now = value_at(&after, &row.id);
            prop_assert_eq!(now.as_deref(), Some(text.trim()));
            let whole = after.join("\n");
            prop_assert!(manifest::read(whole.as_bytes()).diagnostics.iter().all(|said| !said.path.is_empty() || said.position.line != edit.cursor.0 + 1));
        }
    }
}
