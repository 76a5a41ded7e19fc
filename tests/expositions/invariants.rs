//! What holds for every body that is read, however broken: shared by the tests and the fuzz target.

use std::fmt::Write as _;

use squall::steady_state::exposition::{Format, MAX_LABELS, MAX_PROBLEMS, Sample, Summary, read};

/// Reads `body` in both formats and says how many samples there were.
///
/// # Errors
/// The rule that the reader broke.
pub(crate) fn hold(body: &[u8]) -> Result<usize, String> {
    let mut found = 0;
    for format in [Format::Text, Format::OpenMetrics] {
        found += hold_as(body, format).map_err(|broken| format!("{format:?}: {broken}"))?;
    }
    Ok(found)
}

fn hold_as(body: &[u8], format: Format) -> Result<usize, String> {
    let (mut all, mut again) = (Vec::new(), "# written\n".to_owned());
    let mut broken = None;
    let every = read(
        body,
        format,
        |_name| true,
        |sample| {
            broken = broken.take().or_else(|| sound(sample).err());
            all.push(told(sample));
            write(&mut again, sample, format);
        },
    );
    if let Some(broken) = broken {
        return Err(broken);
    }
    let Ok(summary) = every else {
        return if all.is_empty() { Ok(0) } else { Err("it is no exposition, but has samples".to_owned()) };
    };
    adds_up(body, &summary)?;
    if summary.samples != all.len() || summary.skipped > 0 {
        return Err(format!("{} samples came: {summary:?}", all.len()));
    }
    // What is left out is left out by its name alone.
    let is_wanted = |name: &str| name.len().is_multiple_of(2);
    let mut some = Vec::new();
    let filtered = read(body, format, is_wanted, |sample| some.push(told(sample)));
    let expected: Vec<_> = all.iter().filter(|(name, _)| is_wanted(name)).cloned().collect();
    match filtered {
        Ok(summary) => adds_up(body, &summary)?,
        Err(foreign) => return Err(format!("with a filter: {foreign}")),
    }
    if some != expected {
        return Err(format!("with a filter {some:?}, without {expected:?}"));
    }
    again.push_str("# EOF\n");
    let mut back = Vec::new();
    let summary = read(again.as_bytes(), format, |_name| true, |sample| back.push(told(sample)));
    if back == all && summary.is_ok_and(|summary| summary.complaint().is_none()) {
        Ok(all.len())
    } else {
        Err(format!("{all:?} was written as {again:?} and read as {back:?}"))
    }
}

fn adds_up(body: &[u8], summary: &Summary) -> Result<(), String> {
    let Summary { lines, samples, skipped, beyond, comments, blank, bad, problems, .. } = summary;
    let feeds = memchr::memchr_iter(b'\n', body).count();
    let last = usize::from(body.last().is_some_and(|byte| *byte != b'\n'));
    if *lines != feeds + last || *lines != samples + skipped + beyond + comments + blank + bad {
        return Err(format!("{} lines: {summary:?}", feeds + last));
    }
    if problems.len() != (*bad).min(MAX_PROBLEMS) {
        return Err(format!("{} problems: {summary:?}", problems.len()));
    }
    for problem in problems {
        let text = problem.to_string();
        // An escaped character is longer than the one that it stands for.
        if text.chars().any(char::is_control) || problem.excerpt.chars().count() > 10 * 61 {
            return Err(format!("not to be shown: {text:?}"));
        }
        if !(1..=*lines).contains(&problem.line) {
            return Err(format!("line {} is not among the {lines}", problem.line));
        }
    }
    Ok(())
}

fn sound(sample: &Sample<'_>) -> Result<(), String> {
    let names: Vec<_> = sample.labels.iter().map(|(name, _)| name).collect();
    let is_twice = |(index, name): (usize, _)| names.iter().skip(index + 1).any(|other| *other == name);
    if sample.name.is_empty()
        || names.len() > MAX_LABELS
        || names.iter().any(|name| name.is_empty() || *name == "__name__")
        || names.iter().copied().enumerate().any(is_twice)
    {
        return Err(format!("{sample:?}"));
    }
    Ok(())
}

/// The name, and all else of a sample. There are many numbers that are none.
fn told(sample: &Sample<'_>) -> (String, String) {
    let value = if sample.value.is_nan() { None } else { Some(sample.value.to_bits()) };
    (sample.name.to_string(), format!("{:?} {value:?} {:?}", sample.labels, sample.timestamp_ms))
}

/// As a program would write it whose every name needs quotes.
fn write(body: &mut String, sample: &Sample<'_>, format: Format) {
    let quote = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let mut line = format!("{{\"{}\"", quote(&sample.name));
    let mut failed = false;
    for (name, value) in sample.labels {
        failed |= write!(line, ",\"{}\"=\"{}\"", quote(name), quote(value)).is_err();
    }
    failed |= write!(line, "}} {}", sample.value).is_err();
    if let Some(at) = sample.timestamp_ms {
        let sign = if at < 0 { "-" } else { "" };
        let size = at.unsigned_abs();
        failed |= match format {
            Format::Text => write!(line, " {at}").is_err(),
            Format::OpenMetrics => write!(line, " {sign}{}.{:03}", size / 1000, size % 1000).is_err(),
        };
    }
    assert!(!failed, "a text takes more");
    body.push_str(&line);
    body.push('\n');
}
