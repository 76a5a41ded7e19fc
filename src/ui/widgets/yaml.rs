//! Colours for YAML, line by line. Not a parser: what a line is, is told by the line alone, which is enough to read by.

use crate::ui::canvas::Span;
use crate::ui::theme::Role;

/// The pieces of a line.
pub fn line(text: &str) -> Vec<Span> {
    let body = text.trim_start();
    let indent = text.get(..text.len() - body.len()).unwrap_or_default();
    let mut spans = vec![Span::plain(indent)];
    if body.starts_with('#') {
        spans.push(Span::new(Role::Comment, body));
        return spans;
    }
    let mut rest = body;
    while let Some(item) = rest.strip_prefix("- ") {
        spans.push(Span::new(Role::Dim, "- "));
        rest = item;
    }
    match key(rest) {
        Some((key, value)) => {
            spans.push(Span::new(Role::YamlKey, key));
            spans.push(Span::new(Role::Dim, ":"));
            spans.extend(scalar(value));
        }
        None => spans.extend(scalar(rest)),
    }
    spans
}

/// A key and what follows its colon.
fn key(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once(':')?;
    let is_key = !key.is_empty() && !key.contains(['"', '\'', '{', '[', ' ']);
    (is_key && (value.is_empty() || value.starts_with(' '))).then_some((key, value))
}

/// A value, and the comment behind it.
fn scalar(text: &str) -> Vec<Span> {
    let quoted = text.trim_start().starts_with(['"', '\'']);
    let comment = if quoted { None } else { text.find(" #") };
    let (value, comment) = comment.map_or((text, ""), |at| text.split_at(at));
    let word = value.trim();
    let is_scalar =
        word.parse::<f64>().is_ok() || matches!(word, "true" | "false" | "null" | "~" | "{}" | "[]");
    let role = if is_scalar { Role::YamlScalar } else { Role::YamlText };
    let mut spans = vec![Span::new(role, value)];
    if !comment.is_empty() {
        spans.push(Span::new(Role::Comment, comment));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(Option<Role>, String)> {
        line(text)
            .into_iter()
            .filter(|span| !span.text.trim().is_empty())
            .map(|span| (span.role, span.text.trim().to_owned()))
            .collect()
    }

    #[test]
    fn keys_values_items_and_comments() {
        let (key, text, scalar) = (Some(Role::YamlKey), Some(Role::YamlText), Some(Role::YamlScalar));
        let (dim, comment) = (Some(Role::Dim), Some(Role::Comment));
        let owned = |parts: &[(Option<Role>, &str)]| -> Vec<_> {
            parts.iter().map(|(role, text)| (*role, (*text).to_owned())).collect()
        };
        for (line, parts) in [
            ("# what", owned(&[(comment, "# what")])),
            ("  latency: 150ms", owned(&[(key, "latency"), (dim, ":"), (text, "150ms")])),
            ("count: 3 # three", owned(&[(key, "count"), (dim, ":"), (scalar, "3"), (comment, "# three")])),
            ("- name: \"a # b\"", owned(&[(dim, "-"), (key, "name"), (dim, ":"), (text, "\"a # b\"")])),
            ("- default", owned(&[(dim, "-"), (text, "default")])),
            ("url: http://x", owned(&[(key, "url"), (dim, ":"), (text, "http://x")])),
        ] {
            assert_eq!(told(line), parts, "{line}");
        }
    }

    #[test]
    fn nothing_of_a_line_is_lost() {
        for text in ["", "   ", "a:b:c", "- - x", ": ", "- ", "ключ: значение #"] {
            let joined: String = line(text).into_iter().map(|span| span.text).collect();
            assert_eq!(joined, text);
        }
    }
}
