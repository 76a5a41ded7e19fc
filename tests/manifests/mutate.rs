//! Breaks experiment files the way people and hostile senders do.

#![expect(clippy::indexing_slicing, reason = "a place is drawn from those that there are")]

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// What means something to a YAML parser, to our schemas or to a terminal.
const FRAGMENTS: &[&str] = &[
    ":",
    ": ",
    "- ",
    "\n",
    "\r",
    "\r\n",
    "\t",
    " ",
    "  ",
    "---\n",
    "...\n",
    "#",
    "&a ",
    "*a",
    "<<: *a\n",
    "? ",
    "!!binary ",
    "!!int ",
    "!x ",
    "%YAML 1.1\n",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "\"\\x1b[2J\"",
    "\\u0000",
    "\0",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "🌊",
    "[",
    "]",
    "{",
    "}",
    ",",
    "[[[[[[[[[[[[[[[[",
    "{a: ",
    "null",
    "~",
    "true",
    ".inf",
    "-0",
    "0x1F",
    "1e999",
    "18446744073709551616",
    "spec:\n",
    "kind: NetworkChaos\n",
    "metadata: 3\n",
    "apiVersion: v1\n",
    "duration: 1d\n",
    "  scheduler: {cron: \"@every 1s\"}\n",
    "value: 3\n",
    "selector: {}\n",
    "delay: 0.5ms\n",
    "labelSelectors: [a]\n",
];

/// One of `corpus`, changed in one to six places; the same for the same seed.
pub(crate) fn mutated(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bytes = corpus.choose(&mut rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..=6) {
        change(&mut bytes, corpus, &mut rng);
    }
    // Texts grow by splicing; what is long in itself has tests of its own.
    bytes.truncate(64 * 1024);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut StdRng) {
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..=40)).min(bytes.len());
    match rng.random_range(0..8) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let part = bytes[at..end].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, part);
        }
        2 => bytes.insert(at, rng.random()),
        3 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        4 => bytes.truncate(at),
        5 => {
            let other = corpus.choose(rng).map_or(&[][..], Vec::as_slice);
            let from = rng.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        6 => {
            // One line goes, or comes twice: indentation stays whole, so the objects' own rules are reached.
            let lines: Vec<Vec<u8>> = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let Some(line) = lines.choose(rng).cloned() else { return };
            let to = rng.random_range(0..=lines.len());
            let mut lines = lines;
            if rng.random() {
                lines.insert(to, line);
            } else if to < lines.len() {
                lines.remove(to);
            }
            *bytes = lines.concat();
        }
        _ => {
            let fragment = FRAGMENTS.choose(rng).copied().unwrap_or_default();
            bytes.splice(at..at, fragment.bytes());
        }
    }
}
