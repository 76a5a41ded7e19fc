//! YAML text → values with the place of every node.
//!
//! One pass over the parser's events makes both, so that what was checked and what is applied cannot
//! differ, and bounds the work: depth, nodes (aliases counted as often as they are used), duplicate keys.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::finding::printable;
use super::{Diagnostic, MAX_DIAGNOSTICS, Position, Severity};

/// How deep collections may be nested; the deepest field of any kind is at about ten.
const MAX_DEPTH: usize = 64;

/// How many nodes one file may have, aliases expanded: thousands of experiments.
const MAX_NODES: usize = 500_000;

/// A text counts as one node for each of these bytes, begun or whole: aliases of one long text are long, too.
const BYTES_OF_NODE: usize = 256;

/// The longest key, in bytes; those of Kubernetes end at 317.
const MAX_KEY: usize = 1024;

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// Its content.
    pub(super) value: Value,
    /// Where each node of the content stands.
    pub(super) root: Node,
    /// What the text itself does wrong: duplicate keys, tags.
    pub(super) problems: Vec<Diagnostic>,
}

/// The place of one node, and of those below it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    at: Position,
    below: Below,
}

#[derive(Clone, Debug)]
enum Below {
    Nothing,
    Entries(Vec<Entry>),
    Items(Vec<Node>),
}

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    at: Position,
    node: Node,
}

impl Node {
    /// Where the value at `path` stands. For a path that the text does not have: where the nearest
    /// parent that it has is named.
    pub(super) fn value_at(&self, path: &str) -> Position {
        self.find(path, self.at, true)
    }

    /// Where the key at `path` stands.
    pub(super) fn key_at(&self, path: &str) -> Position {
        self.find(path, self.at, false)
    }

    /// Follows `path`; `named` is where this node is named by its parent. Keys may hold dots, so the
    /// keys lead, not the path's dots.
    fn find(&self, path: &str, named: Position, value: bool) -> Position {
        let rest = path.strip_prefix('.').unwrap_or(path);
        if rest.is_empty() {
            return match self.below {
                Below::Nothing if value => self.at,
                _ => named,
            };
        }
        match &self.below {
            Below::Entries(entries) => entries
                .iter()
                .filter_map(|entry| Some((entry, rest.strip_prefix(entry.key.as_str())?)))
                .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
                .max_by_key(|(entry, _)| entry.key.len())
                .map_or(named, |(entry, rest)| entry.node.find(rest, entry.at, value)),
            Below::Items(items) => rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)))
                .map_or(named, |(item, rest)| item.find(rest, item.at, value)),
            Below::Nothing => named,
        }
    }
}

/// Reads all documents. What is wrong with one of them is in it; text that cannot be read at all ends
/// the reading.
pub(super) fn read(text: &str, documents: &mut Vec<Document>) -> Result<(), Diagnostic> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        nodes: 0,
        anchors: HashMap::new(),
        problems: Vec::new(),
    };
    while let Some((event, span)) = reader.next()? {
        if let Event::DocumentStart(..) = event {
            reader.anchors.clear();
            let (event, span) = reader.expect(position(&span))?;
            let node = reader.node(event, &span, 0)?;
            let problems = std::mem::take(&mut reader.problems);
            documents.push(Document { value: node.value, root: node.place, problems });
        }
    }
    Ok(())
}

/// A node as it was read.
#[derive(Clone)]
struct Read {
    value: Value,
    place: Node,
    /// Nodes in it, aliases expanded.
    size: usize,
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    nodes: usize,
    anchors: HashMap<usize, Read>,
    problems: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Diagnostic> {
        self.events.next_event().transpose().map_err(|error| syntax(&error))
    }

    /// The next event, which the grammar says is there.
    fn expect(&mut self, at: Position) -> Result<(Event<'t>, Span), Diagnostic> {
        loop {
            let (event, span) =
                self.next()?.ok_or_else(|| error(at, "the text ends too early", "complete it"))?;
            let content = event.is_node() || matches!(event, Event::MappingEnd | Event::SequenceEnd);
            // Comments are not content.
            if content {
                return Ok((event, span));
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Read, Diagnostic> {
        let at = position(span);
        if depth > MAX_DEPTH {
            return Err(error(at, format!("more than {MAX_DEPTH} levels deep"), "flatten it"));
        }
        let before = self.nodes;
        self.count(weight(&event), at)?;
        let anchor = event.anchor_id().filter(|id| *id != 0);
        let (value, below) = match event {
            Event::Scalar(text, style, _, tag) => {
                (self.scalar(&text, style, tag.as_deref(), at), Below::Nothing)
            }
            Event::SequenceStart(_, _, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", at);
                self.sequence(at, depth)?
            }
            Event::MappingStart(_, _, tag) => {
                self.refuse_tag(tag.as_deref(), "map", at);
                self.mapping(at, depth)?
            }
            Event::Alias(id) => {
                let Some(read) = self.anchors.get(&id).cloned() else {
                    return Err(error(at, "an alias inside what it stands for", "write the value out"));
                };
                self.count(read.size, at)?;
                // Where it is used tells more than where it was defined.
                (read.value, Below::Nothing)
            }
            _ => return Err(error(at, "a value is expected here", "write one")),
        };
        let read = Read { value, place: Node { at, below }, size: self.nodes - before };
        if let Some(id) = anchor {
            // The copy is of the size that was counted, so the limit on nodes bounds the memory too.
            self.count(read.size, at)?;
            self.anchors.insert(id, read.clone());
        }
        Ok(read)
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(error(at, format!("the file has more than {MAX_NODES} values, aliases expanded"), "split it"))
    }

    fn sequence(&mut self, at: Position, depth: usize) -> Result<(Value, Below), Diagnostic> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.expect(at)?;
            if event == Event::SequenceEnd {
                return Ok((Value::Array(values), Below::Items(places)));
            }
            let item = self.node(event, &span, depth + 1)?;
            values.push(item.value);
            places.push(item.place);
        }
    }

    fn mapping(&mut self, at: Position, depth: usize) -> Result<(Value, Below), Diagnostic> {
        let (mut values, mut entries) = (Map::new(), Vec::new());
        let mut merged = Map::new();
        let mut seen: HashMap<String, Position> = HashMap::new();
        loop {
            let (event, span) = self.expect(at)?;
            let key_at = position(&span);
            let weight = weight(&event);
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) if text.len() <= MAX_KEY => text.into_owned(),
                _ => {
                    return Err(error(
                        key_at,
                        "a key must be plain text of at most 1024 bytes",
                        "write a name before the colon; {{ }} has to be rendered first",
                    ));
                }
            };
            self.count(weight, key_at)?;
            let (event, span) = self.expect(key_at)?;
            let entry = self.node(event, &span, depth + 1)?;
            if key == "<<" {
                merge(entry.value, &mut merged);
                continue;
            }
            if let Some(first) = seen.insert(key.clone(), key_at) {
                let what = format!("the key \"{key}\" is here twice, first in line {}", first.line);
                self.problem(error(key_at, what, "remove one of them"));
            }
            values.insert(key.clone(), entry.value);
            entries.push(Entry { key, at: key_at, node: entry.place });
        }
        // What is written beats what is merged in, wherever the merge key stands.
        for (key, value) in merged {
            values.entry(key).or_insert(value);
        }
        Ok((Value::Object(values), Below::Entries(entries)))
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Value {
        match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix())) {
            None if style == ScalarStyle::Plain => plain(text),
            None | Some((true, "str")) => Value::String(text.to_owned()),
            Some((true, "int" | "float" | "bool" | "null")) => plain(text),
            Some(_) => {
                self.refuse_tag(tag, "str", at);
                Value::Null
            }
        }
    }

    /// Kubernetes objects have no tags; the one of the collection's own type changes nothing.
    fn refuse_tag(&mut self, tag: Option<&Tag>, own: &str, at: Position) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema_tag(own)) {
            let what = format!("the tag {} has no meaning here", tag.original());
            self.problem(error(at, what, "remove it"));
        }
    }

    fn problem(&mut self, problem: Diagnostic) {
        if self.problems.len() < MAX_DIAGNOSTICS {
            self.problems.push(problem);
        }
    }
}

/// How many nodes an event counts for; what is in a collection counts by itself.
fn weight(event: &Event<'_>) -> usize {
    match event {
        Event::Scalar(text, ..) => 1 + text.len() / BYTES_OF_NODE,
        _ => 1,
    }
}

/// The merge key `<<` of YAML 1.1, which kubectl honours: a mapping, or a list of which the first wins.
fn merge(value: Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                into.entry(key).or_insert(value);
            }
        }
        Value::Array(items) => items.into_iter().for_each(|item| merge(item, into)),
        _ => {}
    }
}

/// The core schema of YAML 1.2.2, section 10.3.2. Infinities and NaN have no JSON form and stay text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return digits
                .starts_with(|c: char| c.is_ascii_hexdigit())
                .then_some(())
                .and_then(|()| u64::from_str_radix(digits, radix).ok())
                .map(Value::from);
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
        || unsigned.contains(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+')))
    {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    let float = text.parse::<f64>().ok()?;
    serde_json::Number::from_f64(float).map(Value::Number)
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax(scan: &ScanError) -> Diagnostic {
    let mark = scan.marker();
    error(
        Position { line: mark.line(), column: mark.col() + 1 },
        format!("this is not YAML: {}", scan.info()),
        "check the indentation, quotes and brackets up to here",
    )
}

fn error(position: Position, what: impl Into<String>, cure: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        position,
        path: String::new(),
        what: printable(&what.into()),
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Document {
        let mut documents = Vec::new();
        read(text, &mut documents).unwrap();
        assert_eq!(documents.len(), 1, "{text:?}");
        documents.remove(0)
    }

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn plain_scalars_are_what_other_readers_make_of_them() {
        for text in [
            "null",
            "~",
            "Null",
            "true",
            "TRUE",
            "False",
            "yes",
            "on",
            "0",
            "-1",
            "+1",
            "1.5",
            "1e3",
            ".5",
            "5.",
            "0x1F",
            "0o17",
            "1_000",
            "1.2.3",
            "18446744073709551615",
            "--1",
            "+-1",
            "e5",
            "5m",
            "0x",
            "10.0.0.1",
            "2021-01-01",
            "1e",
            "1-2",
            "infinity",
            ".",
            "0xZ",
        ] {
            let other: Value = serde_yaml::from_str(text).unwrap();
            assert_eq!(plain(text), other, "{text}");
        }
        assert_eq!(plain(".inf"), json!(".inf"), "JSON has no infinity");
    }

    #[test]
    fn values_are_what_another_reader_makes_of_them() {
        let text = "a: &x {b: [1, 'two', \"3\"], c: null}\nd: *x\ne: |\n  text\n  more\nf: !!str 5\ng:\n- h: i\n  j: k\n";
        let other: Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(one(text).value, other);
    }

    #[test]
    fn merge_keys() {
        let text = "base: &b {x: 1, y: 2}\nuse:\n  y: 3\n  <<: *b\n";
        assert_eq!(one(text).value["use"], json!({"x": 1, "y": 3}));
    }

    #[test]
    fn places() {
        let root = one("spec:\n  a.b/c: 1\n  list:\n  - x: y\n  - [p, q]\n  flow: {k: v}\n").root;
        assert_eq!(root.value_at("spec.a.b/c"), at(2, 10));
        assert_eq!(root.key_at("spec.a.b/c"), at(2, 3));
        assert_eq!(root.value_at("spec.list[0].x"), at(4, 8));
        assert_eq!(root.value_at("spec.list[1][1]"), at(5, 9));
        assert_eq!(root.value_at("spec.flow.k"), at(6, 13));
        assert_eq!(root.value_at("spec.flow"), at(6, 3), "a collection is where it is named");
        assert_eq!(
            root.value_at("spec.missing.deep"),
            at(1, 1),
            "what is missing is where its parent is named"
        );
        assert_eq!(root.value_at("spec.list[7]"), at(3, 3));
    }

    #[test]
    fn several_documents() {
        let mut documents = Vec::new();
        read("---\na: 1\n---\n---\nb: 2\n...\n", &mut documents).unwrap();
        let values: Vec<_> = documents.into_iter().map(|document| document.value).collect();
        assert_eq!(values, [json!({"a": 1}), json!(null), json!({"b": 2})]);
    }

    #[test]
    fn hostile_texts_are_refused_in_bounded_work() {
        let bomb = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
            let below = level - 1;
            format!("{text}a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}, *a{below}]\n")
        });
        let deep = (0..2000).fold(String::new(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
        for (name, text) in [
            ("alias bomb", bomb),
            ("deep flow", "[".repeat(100_000)),
            ("deep block", deep),
            ("many values", "- 1\n".repeat(MAX_NODES + 1)),
            ("alias to itself", "a: &a [*a]\n".to_owned()),
            (
                "aliases of one long text",
                format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(200)),
            ),
        ] {
            let mut documents = Vec::new();
            let refused = read(&text, &mut documents);
            assert!(refused.is_err(), "{name} was taken");
        }
    }
}
