//! Regular expressions as Prometheus understands them, in the words of the crate `regex`.
//!
//! Prometheus uses RE2: `\d`, `\w`, `\s` and `\b` mean ASCII, a brace that is no repetition is a brace, and classes
//! have no operators. `.` matches every character, the end of a line too, and the whole value must match.

use regex::Regex;

/// Compiles `pattern`; what `regex` cannot do is refused with its reason.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?s:{})$", translated(pattern))).map_err(|error| match error {
        regex::Error::Syntax(text) => {
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
        other => other.to_string(),
    })
}

fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern;
    // Within a class: how many characters it had so far, as the first may be a bracket.
    let mut class: Option<usize> = None;
    while let Some(c) = rest.chars().next() {
        let (_, after) = rest.split_at_checked(c.len_utf8()).unwrap_or_default();
        rest = after;
        match (c, class) {
            ('\\', _) => {
                let Some(escaped) = rest.chars().next() else {
                    text.push('\\');
                    break;
                };
                rest = rest.split_at_checked(escaped.len_utf8()).unwrap_or_default().1;
                text.push_str(&escape(escaped, class.is_some()));
                class = class.map(|count| count + 1);
            }
            ('[', None) => {
                text.push('[');
                class = Some(0);
                if let Some(negated) = rest.strip_prefix('^') {
                    text.push('^');
                    rest = negated;
                }
            }
            (']', Some(count)) if count > 0 => {
                text.push(']');
                class = None;
            }
            // A named class, [:alpha:], is the same in both.
            ('[', Some(count)) if rest.starts_with(':') && rest.contains(":]") => {
                let (name, after) = rest.split_once(":]").unwrap_or_default();
                text.extend(["[", name, ":]"]);
                rest = after;
                class = Some(count + 1);
            }
            ('[' | ']' | '&' | '~', Some(count)) => {
                text.extend(['\\', c]);
                class = Some(count + 1);
            }
            ('{', None) if !is_repetition(rest) => text.push_str("\\{"),
            (_, Some(count)) => {
                text.push(c);
                class = Some(count + 1);
            }
            _ => text.push(c),
        }
    }
    text
}

/// What an escape sequence is called over there.
fn escape(c: char, in_class: bool) -> String {
    let set = match c {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => r"\t\n\f\r ",
        'b' | 'B' if !in_class => return format!(r"(?-u:\{c})"),
        _ => return format!("\\{c}"),
    };
    match (c.is_uppercase(), in_class) {
        (true, _) => format!("[^{set}]"),
        (false, true) => set.to_owned(),
        (false, false) => format!("[{set}]"),
    }
}

/// Whether the text after a brace makes it a repetition: `{2}`, `{2,}`, `{2,3}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_re2_matches() {
        for (pattern, matching, other) in [
            ("a.c", &["abc", "a\nc", "aüc"][..], &["abcd", "xabc"][..]),
            ("a|b", &["a", "b"], &["ab", "ac"]),
            ("", &[""], &["a"]),
            (r"\d+", &["12"], &["١", "a"]),
            (r"[\d_]\w\s", &["_a ", "1Z\t"], &["_ü ", "_a\u{a0}"]),
            (r"[^\W]x", &["ax"], &["üx", "-x"]),
            (r"\ba\b.*", &["a", "a b"], &["ab"]),
            ("/movies/{id}", &["/movies/{id}"], &["/movies/id"]),
            ("a{2}b{1,}c{0,1}", &["aabbc"], &["ab"]),
            ("[[]", &["["], &["]"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[^]a]", &["b"], &["]"]),
            ("[a&&b]+", &["a&b"], &["c"]),
            ("[[:digit:]a]", &["1", "a"], &["b"]),
            ("(?i)ab", &["AB"], &["ac"]),
            (r"a\.b", &["a.b"], &["axb"]),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in matching {
                assert!(regex.is_match(text), "{pattern} does not match {text:?}");
            }
            for text in other {
                assert!(!regex.is_match(text), "{pattern} matches {text:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for pattern in ["(", "a**b(", "[a", "\\", "(?P<", "(?=a)"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert_eq!(
            compile("(?=a)").unwrap_err(),
            "look-around, including look-ahead and look-behind, is not supported"
        );
    }
}
