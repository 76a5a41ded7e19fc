use std::time::Instant;

use super::*;
use crate::api::{Direction, Injection, NetworkChaos};

fn first(bytes: &[u8]) -> String {
    let manifest = read(bytes);
    assert!(!manifest.is_usable() && manifest.objects.is_empty());
    manifest.diagnostics[0].to_string()
}

#[test]
fn what_is_not_text_or_too_much_of_it() {
    assert_eq!(first(&vec![b' '; MAX_BYTES + 1]), "1:1: error: the file is larger than 10 MiB; split it");
    assert_eq!(first(b"a: 1\n\xc3\xa4: \xff"), "2:4: error: the text is not UTF-8; save the file as UTF-8");
    assert_eq!(first(b"a\rb\r\nc\xff"), "3:2: error: the text is not UTF-8; save the file as UTF-8");
}

#[test]
fn the_work_is_bounded_whatever_the_bytes() {
    let document = |spec: &str| {
        format!(
            "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: {{name: x}}\nspec:\n{spec}"
        )
    };
    let many = |line: &dyn Fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    for (name, text) in [
        ("unknown fields", document(&many(&|i| format!("  f{i}: 1\n")))),
        (
            "labels that are no text",
            document(&format!("  selector:\n    labelSelectors:\n{}", many(&|i| format!("      f{i}: 1\n")))),
        ),
        ("documents", "---\na: 1\n".repeat(20_000)),
        ("spaces", " ".repeat(1 << 20)),
        ("one long word", "x".repeat(1 << 20)),
        ("open brackets", "{".repeat(1 << 20)),
    ] {
        let start = Instant::now();
        let manifest = read(text.as_bytes());
        assert!(manifest.diagnostics.len() <= MAX_DIAGNOSTICS && manifest.objects.is_empty(), "{name}");
        // Not a measure of speed: work that grows with the square of the file would take many minutes.
        assert!(start.elapsed().as_secs() < 60, "{name} took {:?}", start.elapsed());
    }
}

#[test]
fn many_notes_do_not_hide_what_comes_after_them() {
    let foreign = "apiVersion: v1\nkind: Pod\n---\n".repeat(3 * MAX_DIAGNOSTICS);
    let spec = "{action: partition, mode: all, selector: {}}";
    let experiment = |name: &str, spec: &str| {
        format!(
            "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
        )
    };
    let manifest = read(format!("{foreign}{}", experiment("late", spec)).as_bytes());
    assert_eq!(manifest.objects.len(), 1);
    assert_eq!(manifest.diagnostics.len(), MAX_DIAGNOSTICS);
    let manifest =
        read(format!("{foreign}{}{}", experiment("late", spec), experiment("bad", "3")).as_bytes());
    assert!(!manifest.is_usable(), "the error is kept, however many notes there were before it");
}

#[test]
fn how_long_an_experiment_is_to_last() {
    for (duration, expected) in [("90s", Some(90)), ("1h30m", Some(5400)), ("\"\"", None)] {
        let text = format!(
            "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: {{name: x}}\nspec: {{action: partition, \
             mode: all, selector: {{}}, duration: {duration}}}\n"
        );
        let object = read(text.as_bytes()).objects.remove(0);
        assert_eq!(object.duration().map(|time| time.as_secs()), expected, "{duration}");
        let typed: NetworkChaos = object.typed().unwrap();
        assert_eq!(typed.spec.direction, Direction::To, "with its defaults");
        assert!(object.typed::<Injection>().is_none(), "of its own kind only");
    }
}

#[test]
fn nothing_in_it_is_no_error() {
    for text in ["", "# only a comment\n", "---\n---\n"] {
        let manifest = read(text.as_bytes());
        assert!(manifest.is_usable() && manifest.objects.is_empty(), "{text:?}");
    }
}
