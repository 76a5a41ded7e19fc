//! Finds and reads the workspace's Rust sources, and tells code from tests and comments.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;

/// Folders with the workspace's own code, relative to the root of the checkout.
const CODE: &[&str] = &["src", "tests", "benches", "sample-services", "xtask"];

/// One source file.
pub(crate) struct Source {
    /// Relative to the root of the checkout, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) tokens: TokenStream,
    pub(crate) syntax: syn::File,
    /// Compiled for tests only: an integration test, a bench, or a module under `#[cfg(test)]`.
    pub(crate) is_test: bool,
}

impl Source {
    /// Parses `text` as the file `path`.
    pub(crate) fn parse(path: &str, text: &str) -> syn::Result<Self> {
        let tokens = text.parse()?;
        let syntax = syn::parse_file(text)?;
        let is_test = !path.split('/').any(|part| part == "src");
        Ok(Self { path: path.to_owned(), tokens, syntax, is_test })
    }
}

/// Every Rust source below the workspace's code folders.
pub(crate) fn rust_sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut paths = Vec::new();
    for folder in CODE {
        let folder = root.join(folder);
        if folder.is_dir() {
            files_below(&folder, &mut paths)?;
        }
    }
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let relative = relative(root, path);
        let text = std::fs::read_to_string(path)?;
        let source = Source::parse(&relative, &text)
            .map_err(|error| io::Error::other(format!("{relative}: {error}")))?;
        sources.push(source);
    }
    let test_modules: BTreeSet<_> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        source.is_test |= test_modules.iter().any(|module| {
            source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"))
        });
    }
    Ok(sources)
}

/// Every file below `folder`, but for what is not the project's: build output and version control.
pub(crate) fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A build folder is known by its tag, wherever CARGO_TARGET_DIR put it.
        let foreign = entry.file_name() == ".git" || path.join("CACHEDIR.TAG").exists();
        if entry.file_type()?.is_dir() && !foreign {
            files_below(&path, found)?;
        } else if entry.file_type()?.is_file() && !foreign {
            found.push(path);
        }
    }
    Ok(())
}

/// `path` seen from `root`.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Whether an item exists in test builds only.
pub(crate) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let names = |name: &str| tokens_named(&list.tokens, &[name]).next().is_some();
                names("test") && !names("not") && !names("any")
            })
    })
}

/// The attributes of an item that can be left out by a `cfg`.
pub(crate) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// How many lines carry code, without tests.
pub(crate) fn code_lines(source: &Source) -> usize {
    let mut lines = BTreeSet::new();
    add_lines(&source.tokens, &mut lines);
    for item in source.syntax.items.iter().filter(|item| is_test_only(attributes(item))) {
        let span = item.span();
        for line in span.start().line..=span.end().line {
            lines.remove(&line);
        }
    }
    lines.len()
}

fn add_lines(tokens: &TokenStream, lines: &mut BTreeSet<usize>) {
    let mut tokens = tokens.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        if is_hash(&token) {
            let inner =
                tokens.next_if(|next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'));
            if tokens.next_if(is_doc).is_some() {
                continue;
            }
            lines.extend(inner.map(|mark| mark.span().start().line));
        }
        match &token {
            TokenTree::Group(group) => {
                lines.insert(group.span_open().start().line);
                add_lines(&group.stream(), lines);
                lines.insert(group.span_close().end().line);
            }
            other => lines.extend(other.span().start().line..=other.span().end().line),
        }
    }
}

fn is_hash(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(mark) if mark.as_char() == '#')
}

/// The bracket of `#[doc = "…"]`, which is what a doc comment becomes.
fn is_doc(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket
        && matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "doc"))
}

/// Whether the file starts with `//!`.
pub(crate) fn starts_with_module_doc(source: &Source) -> bool {
    source.syntax.attrs.first().is_some_and(|attribute| attribute.path().is_ident("doc"))
}

/// Identifiers with one of `names`, at any depth: line and name.
pub(crate) fn tokens_named<'a>(
    tokens: &TokenStream,
    names: &'a [&'a str],
) -> impl Iterator<Item = (usize, String)> + use<'a> {
    let mut found = Vec::new();
    walk(tokens, &mut |token| {
        if let TokenTree::Ident(name) = token {
            found.push((name.span().start().line, name.to_string()));
        }
    });
    found.into_iter().filter(move |(_, name)| names.contains(&name.as_str()))
}

fn walk(tokens: &TokenStream, visit: &mut impl FnMut(&TokenTree)) {
    for token in tokens.clone() {
        visit(&token);
        if let TokenTree::Group(group) = &token {
            walk(&group.stream(), visit);
        }
    }
}

/// Paths, without `.rs`, of the modules that `source` declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let declared = source.syntax.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && is_test_only(&module.attrs) => Some(module),
        _ => None,
    });
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    declared
        .map(|module| match explicit_path(module) {
            Some(file) => format!("{folder}/{}", file.trim_end_matches(".rs")),
            None => format!("{}/{}", module_folder(&source.path), module.ident),
        })
        .collect()
}

/// The file that `#[path = "…"]` names, seen from the folder of the declaring file.
fn explicit_path(module: &syn::ItemMod) -> Option<String> {
    let attribute = module.attrs.iter().find(|attribute| attribute.path().is_ident("path"))?;
    match &attribute.meta.require_name_value().ok()?.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(file), .. }) => Some(file.value()),
        _ => None,
    }
}

/// The folder where the child modules of the file `path` are.
fn module_folder(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => folder.to_owned(),
        name => format!("{folder}/{name}"),
    }
}

#[test]
fn test_modules_are_found_where_they_are_declared() {
    for (path, text, expected) in [
        ("src/a/b.rs", "#[cfg(test)] mod tests;", "src/a/b/tests"),
        ("src/a/mod.rs", "#[cfg(test)] mod tests;", "src/a/tests"),
        ("src/a/b.rs", "#[cfg(test)] #[path = \"b_tests.rs\"] mod tests;", "src/a/b_tests"),
    ] {
        let source = Source::parse(path, text).expect("the example parses");
        assert_eq!(test_modules(&source), [expected], "{path}: {text}");
    }
    let code = Source::parse("src/a/b.rs", "mod c; #[cfg(not(test))] mod d; #[cfg(test)] mod tests {}");
    assert_eq!(test_modules(&code.expect("the example parses")), Vec::<String>::new());
}
