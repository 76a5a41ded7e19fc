//! The project stands alone: it names no package registry's host and no place where it was made,
//! and it leaves nothing marked as undone.

use std::io;
use std::path::Path;

use super::source::{files_below, relative};

/// What no file may say. A bar stands in each, and is taken out before the search, so that the list
/// does not find itself.
const FORBIDDEN: &[&str] = &[
    "crates|.io",
    "static.rust|-lang",
    "pypi|.org",
    "python|hosted",
    "npm|js",
    "deb.|debian.org",
    "proxy.|golang",
    "repo.|maven",
    "..|/shared",
    "DESIGN|.md",
    "proto|type",
    "BRIEF|.md",
    "/work|/",
    "poly|glot",
    "TO|DO",
    "FIX|ME",
];

/// Files whose text is not ours to choose.
const EXEMPT: &[&str] = &["Cargo.lock", "LICENSE", "fuzz/Cargo.lock"];

/// Every forbidden word below `root`, with the number of text files that were read.
pub(crate) fn offences_below(root: &Path) -> io::Result<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    files_below(root, &mut paths)?;
    let mut offences = Vec::new();
    let mut read = 0;
    for path in paths {
        let name = relative(root, &path);
        // What is not UTF-8 is not prose.
        let Ok(text) = String::from_utf8(std::fs::read(&path)?) else { continue };
        read += 1;
        if !EXEMPT.contains(&name.as_str()) {
            offences.extend(offences_in(&text).map(|(line, word)| format!("{name}:{line}: `{word}`")));
        }
    }
    Ok((read, offences))
}

fn offences_in(text: &str) -> impl Iterator<Item = (usize, String)> {
    let words: Vec<_> = FORBIDDEN.iter().map(|word| word.replace('|', "")).collect();
    text.lines().enumerate().flat_map(move |(index, line)| {
        let found = words.iter().filter(|word| line.contains(word.as_str())).cloned();
        let numbered = names_a_numbered_issue(line).then(|| "a numbered issue".to_owned());
        found.chain(numbered).map(|word| (index + 1, word)).collect::<Vec<_>>()
    })
}

/// A ticket named by its number only: nobody who reads the project later can look that up, as a full address can be.
fn names_a_numbered_issue(line: &str) -> bool {
    let line = line.to_lowercase();
    line.match_indices("issue").any(|(at, word)| {
        let rest = line.get(at + word.len()..).unwrap_or_default();
        rest.strip_prefix(" #")
            .or(rest.strip_prefix(' '))
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[test]
fn each_forbidden_word_is_found() {
    for word in FORBIDDEN {
        let text = format!("fine\nsee {} there", word.replace('|', ""));
        assert_eq!(offences_in(&text).map(|(line, _)| line).collect::<Vec<_>>(), [2], "{word}");
    }
    for (line, expected) in [
        (format!("as {} says", ["issue", "3"].join(" ")), true),
        (["Issue", "#3"].join(" "), true),
        ("https://github.com/chaos-mesh/chaos-mesh/issues/3129".to_owned(), false),
        ("issue a warning".to_owned(), false),
    ] {
        assert_eq!(names_a_numbered_issue(&line), expected, "{line}");
    }
}
