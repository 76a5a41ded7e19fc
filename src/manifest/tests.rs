use std::time::Instant;

use super::*;

fn first(bytes: &[u8]) -> String {
    let manifest = read(bytes);
    assert!(!manifest.is_usable() && manifest.objects.is_empty());
    manifest.diagnostics[0].to_string()
}

#[test]
fn what_is_not_text_or_too_much_of_it() {
    assert_eq!(first(&vec![b' '; MAX_BYTES + 1]), "1:1: the file is larger than 10 MiB; split it");
    assert_eq!(first(b"a: 1\n\xc3\xa4: \xff"), "2:4: the text is not UTF-8; save the file as UTF-8");
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
fn nothing_in_it_is_no_error() {
    for text in ["", "# only a comment\n", "---\n---\n"] {
        let manifest = read(text.as_bytes());
        assert!(manifest.is_usable() && manifest.objects.is_empty(), "{text:?}");
    }
}
