//! The rules of ARCHITECTURE.md that a machine can check, read off the source itself.
//!
//! Each rule has a test that shows it the offences it exists for, so that a rule which stopped
//! looking cannot go on passing.

mod purity;
mod source;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use source::{Source, code_lines, rust_sources, starts_with_module_doc, tokens_named};

/// Most lines of code, without tests, comments and blank lines, that one file may have.
const FILE_LIMIT: usize = 500;

/// Folders that as a whole stay small enough to be read at one sitting.
const FOLDER_LIMITS: &[(&str, usize)] = &[("src/apiserver/", 1600)];

/// The one folder that may hold `unsafe` code.
const UNSAFE_HOME: &str = "src/daemon/sys/";

#[test]
fn pure_folders_use_only_what_their_allow_list_names() -> io::Result<()> {
    let sources = sources()?;
    let externals = purity::external_crates(&std::fs::read_to_string(root().join("Cargo.toml"))?);
    let mut checked = 0;
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let Some(rule) = purity::rule_for(&source.path) else { continue };
        checked += 1;
        offences.extend(purity::offences(rule, source, &externals));
    }
    assert!(checked > 0, "no file of a pure folder was found: has the layout changed?");
    assert_clean("A pure folder reaches for something it may not use", &offences);
    Ok(())
}

#[test]
fn unsafe_code_stays_in_its_one_folder() -> io::Result<()> {
    let offences: Vec<_> = sources()?
        .iter()
        .filter(|source| !source.path.starts_with(UNSAFE_HOME))
        .flat_map(|source| {
            tokens_named(&source.tokens, &["unsafe", "unsafe_code"])
                .map(move |(line, word)| format!("{}:{line}: `{word}`", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_clean(&format!("Unsafe code outside {UNSAFE_HOME}"), &offences);
    Ok(())
}

#[test]
fn the_search_for_unsafe_code_sees_every_form_of_it() {
    for text in [
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "unsafe impl Send for T {}",
        "unsafe extern \"C\" { fn f(); }",
        "#[expect(unsafe_code, reason = \"…\")] fn f() {}",
        "#[unsafe(no_mangle)] fn f() {}",
        "macro_rules! m { () => { unsafe { f() } } }",
    ] {
        let source = Source::parse("src/x.rs", text).expect("the example parses");
        let found = tokens_named(&source.tokens, &["unsafe", "unsafe_code"]).count();
        assert!(found > 0, "not seen in: {text}");
    }
    let harmless = "/// unsafe\nfn f() { g(\"unsafe\") } // unsafe";
    let source = Source::parse("src/x.rs", harmless).expect("the example parses");
    assert_eq!(tokens_named(&source.tokens, &["unsafe"]).count(), 0, "text and comments are no code");
}

#[test]
fn files_and_folders_stay_small() -> io::Result<()> {
    let sizes: BTreeMap<_, _> = sources()?
        .into_iter()
        .filter(|source| !source.is_test)
        .map(|source| (source.path.clone(), code_lines(&source)))
        .collect();
    let mut offences: Vec<_> = sizes
        .iter()
        .filter(|(_, lines)| **lines > FILE_LIMIT)
        .map(|(path, lines)| format!("{path}: {lines} lines of code, at most {FILE_LIMIT}"))
        .collect();
    for (folder, limit) in FOLDER_LIMITS {
        let total: usize =
            sizes.iter().filter(|(path, _)| path.starts_with(folder)).map(|(_, lines)| lines).sum();
        if total > *limit {
            offences.push(format!("{folder}: {total} lines of code together, at most {limit}"));
        }
    }
    assert_clean("Too much code in one place: find the seam and split it", &offences);
    Ok(())
}

#[test]
fn a_line_of_code_is_neither_comment_nor_test() {
    let text = "//! doc\n\nuse a::b; // why\n/* no */\n/// doc\nfn f() {\n    g(\"x\n\n    y\");\n}\n\
                #[cfg(test)]\nmod tests {\n    fn t() {}\n}\nstatic A: u8 = 1;\n";
    let source = Source::parse("src/x.rs", text).expect("the example parses");
    assert_eq!(code_lines(&source), 1 + 5 + 1, "use; fn with a four-line string; static");
}

#[test]
fn every_module_says_why_it_exists() -> io::Result<()> {
    let offences: Vec<_> = sources()?
        .iter()
        .filter(|source| !source.is_test && !starts_with_module_doc(source))
        .map(|source| format!("{}: no `//!` at the top", source.path))
        .collect();
    assert_clean("A module without a word on why it exists and what it may not do", &offences);
    Ok(())
}

#[test]
fn a_module_without_a_doc_is_noticed() {
    let doc = |text| starts_with_module_doc(&Source::parse("src/x.rs", text).expect("the example parses"));
    assert!(doc("//! Why.\nuse a::b;"));
    assert!(!doc("/// Not of the module.\nstruct A;"));
    assert!(!doc("#![allow(x)]\nstruct A;"));
}

#[test]
fn the_project_stands_alone() -> io::Result<()> {
    let (read, offences) = words::offences_below(root())?;
    assert!(read > 10, "only {read} files were read: has the layout changed?");
    assert_clean("Words that do not belong into the project", &offences);
    Ok(())
}

/// The sources of all packages of the workspace.
fn sources() -> io::Result<Vec<Source>> {
    let sources = rust_sources(root())?;
    assert!(!sources.is_empty(), "no Rust source was found: has the layout changed?");
    Ok(sources)
}

/// The root of the checkout, which is where cargo starts a test of the root package.
fn root() -> &'static Path {
    Path::new(".")
}

fn assert_clean(what: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{what}:\n  {}\n(the rules: ARCHITECTURE.md)", offences.join("\n  "));
}
