//! The words of an expression with their places: the parser's syntax tree has none.

use super::Position;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a number, a duration among them.
    Word,
    /// A text in quotes.
    Text,
    /// A sign.
    Sign,
}

/// One word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'e> {
    pub(super) kind: Kind,
    pub(super) text: &'e str,
    /// In bytes from the start.
    pub(super) start: usize,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The words of `text`, comments and spaces left out. What is no word of the language is a sign.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = match rest.chars().next() {
            Some(c) if c.is_whitespace() => (None, c.len_utf8()),
            Some('#') => (None, rest.find('\n').unwrap_or(rest.len())),
            Some(quote @ ('"' | '\'' | '`')) => (Some(Kind::Text), quoted(rest, quote)),
            Some(c) if is_word(c) || c == '.' => {
                (Some(Kind::Word), rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len()))
            }
            _ => (Some(Kind::Sign), sign(rest)),
        };
        if let Some((kind, text)) = kind.zip(rest.get(..length)) {
            found.push(Token { kind, text, start: at });
        }
        at += length.max(1);
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

fn sign(rest: &str) -> usize {
    let two = ["==", "!=", "<=", ">=", "=~", "!~"].iter().any(|sign| rest.starts_with(sign));
    if two { 2 } else { rest.chars().next().map_or(1, char::len_utf8) }
}

/// The length of the text that `rest` begins with, its quotes among it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The place of the byte `at`.
pub(super) fn position(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Position { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

/// Where the text stops to be the beginning of an expression: the parser does not tell.
///
/// What can be continued by some ending to something whose syntax is right was right so far. `is_syntax` says whether an
/// expression has the syntax; the longest beginning for which some ending does is looked for by halves.
pub(super) fn first_wrong(text: &str, tokens: &[Token<'_>], is_syntax: impl Fn(&str) -> bool) -> usize {
    let viable = |count: usize| {
        let end = count.checked_sub(1).and_then(|last| tokens.get(last)).map_or(0, Token::end);
        let start = text.get(..end).unwrap_or_default();
        let closing = closing(tokens.get(..count).unwrap_or_default());
        ENDINGS.iter().any(|ending| is_syntax(&format!("{start}{ending}{closing}")))
    };
    let (mut right, mut wrong) = (0, tokens.len() + 1);
    while right + 1 < wrong {
        let middle = right.midpoint(wrong);
        if viable(middle) { right = middle } else { wrong = middle }
    }
    tokens.get(right).map_or(text.len(), |token| token.start)
}

/// What may be missing where a text ends, without what closes brackets.
const ENDINGS: &[&str] = &[
    "", " x", "(x)", " (x)", "\"\"", "=\"\"", "a=\"\"", " 1m", ":1m", "1", " 1)", "()", "(x) x", " x,x",
    ",x", " (x)(x)", "]", "1m]", "} ",
];

/// The brackets that are open, closed.
fn closing(tokens: &[Token<'_>]) -> String {
    let mut open = Vec::new();
    for token in tokens.iter().filter(|token| token.kind == Kind::Sign) {
        match token.text {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" => drop(open.pop()),
            _ => {}
        }
    }
    open.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_places() {
        let text = "sum by (a)\n (rate(x_total{a=~\"(b\\\"\"}[1m])) # é (\n > 0.5";
        let words: Vec<_> = tokens(text).iter().map(|token| token.text).collect();
        let expected = [
            "sum",
            "by",
            "(",
            "a",
            ")",
            "(",
            "rate",
            "(",
            "x_total",
            "{",
            "a",
            "=~",
            "\"(b\\\"\"",
            "}",
            "[",
            "1m",
            "]",
            ")",
            ")",
            ">",
            "0.5",
        ];
        assert_eq!(words, expected);
        for token in tokens(text) {
            assert_eq!(text.get(token.start..token.end()), Some(token.text));
        }
        assert_eq!(position(text, text.find("rate").unwrap()), Position { line: 2, column: 3 });
        assert_eq!(position("é x", 3), Position { line: 1, column: 3 });
    }
}
