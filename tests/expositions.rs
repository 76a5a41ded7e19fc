//! Nothing is lost of what real programs tell: our reader and an independent one find the same in their expositions.
//! `tests/expositions/README.md` says where those are from.

#![expect(clippy::unwrap_used, reason = "a test stops at what is wrong")]

#[path = "expositions/invariants.rs"]
mod invariants;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use squall::steady_state::exposition::{Format, Sample, Summary, read};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expositions");

/// What the independent reader found, see `expected.py`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    content_type: String,
    lines: usize,
    comments: usize,
    samples: usize,
    hash: String,
    names: BTreeMap<String, usize>,
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_slice(&fs::read(Path::new(FOLDER).join("expected.json")).unwrap()).unwrap()
}

fn body(name: &str) -> Vec<u8> {
    fs::read(Path::new(FOLDER).join(name)).unwrap()
}

/// The line that `expected.py` makes of a sample.
fn canonical(sample: &Sample<'_>) -> String {
    let mut line = sample.name.to_string();
    let mut labels: Vec<_> = sample.labels.iter().collect();
    labels.sort();
    for (name, value) in labels {
        write!(line, "\x01{name}\x02{value}").unwrap();
    }
    if sample.value.is_nan() {
        line.push_str("\x03NaN\x03");
    } else {
        write!(line, "\x03{:016x}\x03", sample.value.to_bits()).unwrap();
    }
    if let Some(at) = sample.timestamp_ms {
        write!(line, "{at}").unwrap();
    }
    line.push('\n');
    line
}

fn fnv1a(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

#[test]
fn every_sample_of_every_program_is_read_as_another_reader_reads_it() {
    let expected = expected();
    assert!(expected.len() >= 20, "{} programs are left", expected.len());
    for (name, expected) in expected {
        let (mut lines, mut names) = (Vec::new(), BTreeMap::<String, usize>::new());
        let summary = read(
            &body(&name),
            Format::of(Some(&expected.content_type)),
            |_name| true,
            |sample| {
                lines.push(canonical(sample));
                *names.entry(sample.name.to_string()).or_default() += 1;
            },
        )
        .unwrap();
        assert_eq!(summary.complaint(), None, "{name}");
        assert_eq!(names, expected.names, "{name}");
        lines.sort_unstable();
        assert_eq!(fnv1a(&lines.concat()), expected.hash, "{name}: labels, values or timestamps differ");
        let Summary { lines, samples, comments, blank, .. } = summary;
        assert_eq!(
            (lines, comments, samples, blank),
            (expected.lines, expected.comments, expected.samples, lines - comments - samples),
            "{name}"
        );
    }
}

#[test]
fn a_filter_hands_over_its_names_and_counts_the_rest() {
    for (name, expected) in expected() {
        let wanted = |name: &str| name.len().is_multiple_of(2);
        let format = Format::of(Some(&expected.content_type));
        let summary =
            read(&body(&name), format, wanted, |sample| assert!(wanted(&sample.name), "{sample:?}")).unwrap();
        let of_names = expected.names.iter().filter(|(name, _)| wanted(name)).map(|(_, count)| count);
        assert_eq!(summary.samples, of_names.sum::<usize>(), "{name}");
        assert_eq!(summary.samples + summary.skipped, expected.samples, "{name}");
        assert_eq!(summary.complaint(), None, "{name}");
    }
}

/// An answer can be cut off anywhere. No sample but the last one may differ by it, and nothing may be made up.
#[test]
fn of_an_answer_that_was_cut_off_the_rest_is_read() {
    let body = body("python-client-openmetrics.txt");
    let whole = samples(&body);
    for end in 1..body.len() {
        let part = samples(&body[..end]);
        let sure = part.len().saturating_sub(1);
        assert_eq!(part[..sure], whole[..sure], "after {end} bytes");
    }
}

fn samples(body: &[u8]) -> Vec<String> {
    let mut samples = Vec::new();
    let read = read(body, Format::OpenMetrics, |_name| true, |sample| samples.push(canonical(sample)));
    // So little of it may be there that it is nothing yet.
    if let Ok(summary) = read {
        assert!(summary.cut_off || body.ends_with(b"# EOF") || body.ends_with(b"# EOF\n"));
    }
    samples
}

/// Lines of real programs with a few bytes changed; `fuzz/` has the search without an end.
#[test]
fn mutated_lines_keep_the_rules_of_the_reader() {
    let alphabet = b"{}\"\\,=# \t\r\nae_:.0-+\xc3\xa9\xff";
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let (mut rounds, mut samples) = (0, 0);
    for name in expected().keys() {
        let body = body(name);
        for chunk in body.chunks(2000).take(40) {
            let mut chunk = chunk.to_vec();
            for _ in 0..=random(8) {
                let (at, new) = (random(chunk.len()), alphabet[random(alphabet.len())]);
                match random(3) {
                    0 => chunk[at] = new,
                    1 => chunk.insert(at, new),
                    _ => drop(chunk.remove(at)),
                }
            }
            rounds += 1;
            samples += invariants::hold(&chunk)
                .unwrap_or_else(|broken| panic!("{name}: {broken}\n{}", chunk.escape_ascii()));
        }
    }
    assert!(rounds > 200 && samples > 10 * rounds, "{samples} samples in {rounds} rounds");
}
