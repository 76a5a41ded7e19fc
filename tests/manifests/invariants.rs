//! What holds for every text that is read, however broken: shared by the tests and the fuzz target.

use squall::manifest::{self, Diagnostic, MAX_DIAGNOSTICS, MAX_MESSAGE, Manifest, Position};

/// Reads `bytes` and says whether they can be used.
///
/// # Errors
/// The rule that the reader broke.
pub(crate) fn hold(bytes: &[u8]) -> Result<bool, String> {
    let read = manifest::read(bytes);
    if read.diagnostics.len() > 2 * MAX_DIAGNOSTICS {
        return Err(format!("{} diagnostics", read.diagnostics.len()));
    }
    let text = String::from_utf8_lossy(bytes);
    let lines = lines(&text);
    for diagnostic in &read.diagnostics {
        inside(&lines, diagnostic.position).map_err(|at| format!("{diagnostic}: {at}"))?;
        printable(diagnostic)?;
    }
    for object in &read.objects {
        inside(&lines, object.position).map_err(|at| format!("{}: {at}", object.name))?;
        let mut admitted = object.value.clone();
        squall::api::admit("chaos-mesh.org", object.kind, None, &mut admitted)
            .map_err(|problems| format!("{} was read, but is not admitted: {problems:?}", object.name))?;
    }
    let again = manifest::read(bytes);
    if told(&again) != told(&read) {
        return Err("it does not say the same twice".to_owned());
    }
    Ok(read.is_usable())
}

fn told(read: &Manifest) -> Vec<String> {
    let objects = read.objects.iter().map(|object| object.value.to_string());
    read.diagnostics.iter().map(ToString::to_string).chain(objects).collect()
}

/// YAML ends a line with a line feed, a carriage return or both (YAML 1.2.2, section 5.4).
fn lines(text: &str) -> Vec<usize> {
    let text = text.replace("\r\n", "\n");
    text.split(['\n', '\r']).map(|line| line.chars().count()).collect()
}

fn inside(lines: &[usize], Position { line, column }: Position) -> Result<(), String> {
    let Some(length) = line.checked_sub(1).and_then(|index| lines.get(index)) else {
        return Err(format!("line {line} is not among the {} of the file", lines.len()));
    };
    // One behind the end is where something is missing.
    if (1..=length + 1).contains(&column) {
        Ok(())
    } else {
        Err(format!("column {column} is not in line {line}, which has {length}"))
    }
}

fn printable(diagnostic: &Diagnostic) -> Result<(), String> {
    for part in [&diagnostic.path, &diagnostic.what, &diagnostic.cure] {
        // An escaped character is longer than the one that it stands for.
        if part.chars().count() > 10 * MAX_MESSAGE || part.contains(char::is_control) {
            return Err(format!("not to be shown: {part:?}"));
        }
    }
    Ok(())
}
