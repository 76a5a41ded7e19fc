//! Bodies that are something else altogether: a login page says more in one line than as a thousand bad samples.

use memchr::memmem;

use super::excerpt;

/// How much of a body is looked at for what it is.
const LOOKED_AT: usize = 4096;

/// What a body is, where it is no exposition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// Nothing at all.
    #[error("the answer is empty: not one metric")]
    Empty,
    /// HTML or XML, with its title or how it begins.
    #[error("this is a web page, not metrics: {0}")]
    Page(String),
    /// JSON, with how it begins.
    #[error("this is JSON, not metrics: {0}")]
    Json(String),
    /// Compressed by the method named.
    #[error("this is compressed ({0}), which was not asked for")]
    Compressed(&'static str),
    /// Bytes that are no text.
    #[error("these are bytes, not text")]
    Binary,
    /// Text of which not one line is a sample or a comment, with how it begins.
    #[error("this is no text of metrics: {0}")]
    Text(String),
}

impl Foreign {
    /// What cures it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Empty => {
                "look whether the program has any metrics yet, and whether the path is that of its metrics"
            }
            Self::Page(_) | Self::Json(_) | Self::Text(_) => {
                "the port or the path is not that of the metrics: name the right ones in the dashboard"
            }
            Self::Compressed(_) | Self::Binary => {
                "it has to answer in the text format, uncompressed: look at how its metrics are served, and at \
                 what is between"
            }
        }
    }
}

/// What `body` is, if its beginning already shows that it is no exposition.
pub(super) fn recognise(body: &[u8]) -> Option<Foreign> {
    let compressed = match body {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    };
    if let Some(method) = compressed {
        return Some(Foreign::Compressed(method));
    }
    let text = body.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    let begin = text.get(..LOOKED_AT).unwrap_or(text);
    match begin.first() {
        None => Some(Foreign::Empty),
        Some(b'<') => Some(Foreign::Page(title(begin))),
        Some(b'{' | b'[') if is_json(begin) => Some(Foreign::Json(excerpt(begin))),
        Some(_) => begin.contains(&0).then_some(Foreign::Binary),
    }
}

/// `{"a":`, `{}` and `[`: a quoted name of a metric is followed by something else, and by a value behind its braces.
fn is_json(text: &[u8]) -> bool {
    let Some(inner) = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) else { return true };
    match inner.strip_prefix(b"\"") {
        None => inner.strip_prefix(b"}").is_some_and(|after| after.trim_ascii().is_empty()),
        Some(quoted) => {
            let mut is_escaped = false;
            let end = quoted.iter().position(|byte| {
                let ends = *byte == b'"' && !is_escaped;
                is_escaped = *byte == b'\\' && !is_escaped;
                ends
            });
            let after = end.and_then(|end| quoted.get(end + 1..)).unwrap_or_default();
            after.trim_ascii_start().first() == Some(&b':')
        }
    }
}

/// The title of a page, else how it begins.
fn title(page: &[u8]) -> String {
    let lower = page.to_ascii_lowercase();
    let title = memmem::find(&lower, b"<title>").and_then(|at| {
        let begin = at + b"<title>".len();
        let length = memmem::find(lower.get(begin..)?, b"<")?;
        page.get(begin..begin + length)
    });
    match title.map(<[u8]>::trim_ascii) {
        Some(title) if !title.is_empty() => excerpt(title),
        _ => excerpt(page),
    }
}
