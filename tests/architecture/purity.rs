//! Purity: what the folders that only compute may use.
//!
//! Every path in a pure folder's code, in `use` items, expressions, types, attributes and the
//! arguments of macros, is made absolute and compared with the folder's allow-list. What is not
//! listed is refused, so that a new dependency is pure only after somebody has said so here.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use super::source::{self, Source, is_test_only};

/// What the files of one folder may use, beside [`STD`].
pub(crate) struct Rule {
    /// Relative to the root, with a slash at the end; or one file. The first rule that fits is the one.
    folder: &'static str,
    /// Files of the folder that are not pure.
    except: &'static [&'static str],
    /// Modules of this crate.
    modules: &'static [&'static str],
    /// Paths of other crates; each allows everything below it.
    crates: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { folder: "src/api/", except: &[], modules: &["api"], crates: OBJECTS },
    Rule {
        folder: "src/experiment/",
        except: &[],
        modules: &["api", "experiment", "network"],
        crates: EXPERIMENT,
    },
    Rule { folder: "src/capabilities.rs", except: &[], modules: &[], crates: &[] },
    Rule {
        folder: "src/install/",
        except: &[],
        modules: &["api", "capabilities", "install"],
        crates: OBJECTS,
    },
    Rule { folder: "src/network/", except: &[], modules: &["api", "network"], crates: VALUES },
    Rule {
        folder: "src/manifest/",
        except: &[],
        modules: &["api", "experiment", "manifest"],
        crates: MANIFEST,
    },
    Rule {
        folder: "src/steady_state/",
        except: &["src/steady_state/scrape.rs"],
        modules: &["api", "manifest", "steady_state"],
        crates: STEADY_STATE,
    },
    Rule {
        folder: "src/report/",
        except: &[],
        modules: &["api", "experiment", "manifest", "network", "report"],
        crates: REPORT,
    },
    // The one file that knows the model of an edited text; a widget by trade, of which nothing is drawn.
    Rule { folder: "src/app/editor/buffer.rs", except: &[], modules: CONSOLE, crates: EDITING },
    Rule { folder: "src/app/", except: &[], modules: CONSOLE, crates: OBJECTS },
    Rule { folder: "src/ui/", except: &[], modules: CONSOLE, crates: DRAWING },
];

/// The modules that the console's state and view are made of.
const CONSOLE: &[&str] = &["api", "app", "experiment", "manifest", "network", "report", "steady_state", "ui"];

/// A buffer of cells, how wide text is in it, and what is shown of objects.
const DRAWING: &[&str] = &[
    "jiff::SignedDuration",
    "jiff::Timestamp",
    "kube::api::DynamicObject",
    "ratatui",
    "serde_json::Value",
    "unicode_segmentation",
    "unicode_width",
];

/// What is measured, and the syntax of the language in which it is asked for.
const STEADY_STATE: &[&str] = &[
    "jiff::Timestamp",
    "k8s_openapi",
    "memchr",
    "promql_parser",
    "regex",
    "serde",
    "serde_json",
    "serde_yaml",
    "thiserror",
];

/// A text with its cursor and what can be undone.
const EDITING: &[&str] = &["serde", "tui_textarea"];

/// Plain values and their texts.
const VALUES: &[&str] = &["ipnet", "serde", "serde_json", "thiserror"];

/// The types of Kubernetes objects: of `kube` only what describes a resource, never a client.
const OBJECTS: &[&str] = &[
    "ipnet",
    "jiff::SignedDuration",
    "jiff::Span",
    "jiff::Timestamp",
    "k8s_openapi",
    "kube::CELSchema",
    "kube::CustomResource",
    "kube::CustomResourceExt",
    "kube::KubeSchema",
    "kube::Resource",
    "kube::ResourceExt",
    "kube::api::ApiResource",
    "kube::api::DynamicObject",
    "kube::api::GroupVersionKind",
    "kube::api::ObjectMeta",
    "kube::api::TypeMeta",
    "kube::core",
    "schemars",
    "serde",
    "serde_json",
    "thiserror",
];

/// Selection draws at random, but from a generator that the caller seeds.
const EXPERIMENT: &[&str] = &[
    "ipnet",
    "jiff::SignedDuration",
    "jiff::Span",
    "jiff::Timestamp",
    "k8s_openapi",
    "kube::Resource",
    "kube::ResourceExt",
    "kube::core",
    "rand::Rng",
    "rand::RngExt",
    "rand::SeedableRng",
    "rand::rngs::StdRng",
    "rand::seq",
    "serde",
    "serde_json",
    "thiserror",
];

/// A plan draws as the controller does, from a seed.
const REPORT: &[&str] = &[
    "jiff::Timestamp",
    "k8s_openapi",
    "kube::ResourceExt",
    "kube::api::DynamicObject",
    "rand::SeedableRng",
    "rand::rngs::StdRng",
    "schemars",
    "serde",
    "serde_json",
];

const MANIFEST: &[&str] =
    &["granit_parser", "k8s_openapi", "kube::core", "serde", "serde_json", "strsim", "thiserror"];

/// The part of the standard library that neither waits, nor asks the operating system anything.
const STD: &[&str] = &[
    "any",
    "array",
    "borrow",
    "boxed",
    "cell",
    "char",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "f64",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "net::AddrParseError",
    "net::IpAddr",
    "net::Ipv4Addr",
    "net::Ipv6Addr",
    "net::SocketAddr",
    "num",
    "ops",
    "option",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "sync::Arc",
    "sync::LazyLock",
    "sync::OnceLock",
    "time::Duration",
    "vec",
];

/// Associated functions that read a clock or the system's randomness, whatever type they belong to.
const IMPURE_FUNCTIONS: &[&str] = &["now", "from_entropy", "from_os_rng", "new_v4", "now_v7"];

/// The rule of the folder that `path` is in.
pub(crate) fn rule_for(path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| path.starts_with(rule.folder) && !rule.except.contains(&path))
}

/// The names by which code can reach other crates without importing them first.
pub(crate) fn external_crates(manifest: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<_> = ["std", "core", "alloc"].map(str::to_owned).into();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.starts_with("[dependencies]");
        } else if in_dependencies && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let name: String =
                line.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
            names.insert(name.replace('-', "_"));
        }
    }
    names
}

/// What `source` uses against `rule`, one line of text for each.
pub(crate) fn offences(rule: &Rule, source: &Source, externals: &BTreeSet<String>) -> Vec<String> {
    let mut local = LocalNames::default();
    local.visit_file(&source.syntax);
    let mut reader =
        Reader { rule, source, externals, local: local.0, module: module_of(&source.path), found: vec![] };
    reader.visit_file(&source.syntax);
    reader.found
}

/// The module that the file `path` below `src/` is.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Names that the file itself declares or imports: a path that starts with one needs no second look,
/// since the import was looked at.
#[derive(Default)]
struct LocalNames(BTreeSet<String>);

impl Visit<'_> for LocalNames {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        self.0.insert(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
    }

    fn visit_use_path(&mut self, path: &syn::UsePath) {
        match path.tree.as_ref() {
            syn::UseTree::Name(name) if name.ident != "self" => self.0.insert(name.ident.to_string()),
            syn::UseTree::Rename(name) => self.0.insert(name.rename.to_string()),
            _ => false,
        };
        syn::visit::visit_use_path(self, path);
    }
}

/// Walks one file and judges each path.
struct Reader<'a> {
    rule: &'a Rule,
    source: &'a Source,
    externals: &'a BTreeSet<String>,
    local: BTreeSet<String>,
    /// Where the walk is, for `self` and `super`.
    module: Vec<String>,
    found: Vec<String>,
}

impl Reader<'_> {
    fn judge(&mut self, segments: &[String], line: usize, imported: bool) {
        let allowed = self.allows(segments, imported) && !is_impure_function(segments);
        if !allowed {
            self.found.push(format!("{}:{line}: `{}`", self.source.path, segments.join("::")));
        }
    }

    fn allows(&self, segments: &[String], imported: bool) -> bool {
        let Some((first, rest)) = segments.split_first() else { return true };
        match first.as_str() {
            "crate" => self.allows_module(rest),
            "self" | "super" if !rest.is_empty() => self.allows_module(&self.absolute(segments)),
            "std" | "core" | "alloc" => listed(STD, rest),
            name if self.local.contains(name) && !imported => true,
            name if self.externals.contains(name) => listed(self.rule.crates, segments),
            // `use Variant::*`, `use module::X` of this file; or a crate that nobody has heard of.
            name if imported => self.local.contains(name) || name.starts_with(char::is_uppercase),
            _ => true,
        }
    }

    fn allows_module(&self, segments: &[String]) -> bool {
        let module = segments.first().map_or("", String::as_str);
        // The one impure file of an otherwise pure folder.
        let impure = format!("src/{}.rs", segments.iter().take(2).cloned().collect::<Vec<_>>().join("/"));
        self.rule.modules.contains(&module)
            && !RULES.iter().any(|rule| rule.except.contains(&impure.as_str()))
    }

    /// `self::…` and `super::…` as a path from the crate's root.
    fn absolute(&self, segments: &[String]) -> Vec<String> {
        let mut module = self.module.clone();
        let mut rest = segments;
        while let Some((first, tail)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            rest = tail;
        }
        module.extend_from_slice(rest);
        module
    }

    fn judge_use(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        let (ident, inner) = match tree {
            syn::UseTree::Path(path) => (&path.ident, Some(&path.tree)),
            syn::UseTree::Name(name) => (&name.ident, None),
            syn::UseTree::Rename(name) => (&name.ident, None),
            syn::UseTree::Glob(glob) => {
                let mut segments = prefix.clone();
                segments.push("*".to_owned());
                return self.judge(&segments, glob.star_token.spans[0].start().line, true);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.judge_use(tree, prefix));
            }
        };
        let is_self = inner.is_none() && ident == "self" && !prefix.is_empty();
        if !is_self {
            prefix.push(ident.to_string());
        }
        match inner {
            Some(tree) => self.judge_use(tree, prefix),
            None => self.judge(&prefix.clone(), ident.span().start().line, true),
        }
        if !is_self {
            prefix.pop();
        }
    }

    /// Judges the paths in the arguments of a macro or attribute, which syntax says nothing about.
    fn judge_tokens(&mut self, tokens: &TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens.clone() {
            match &token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.judge_path(&path, line);
                        path.clear();
                        line = name.span().start().line;
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.judge_path(&path, line);
                    path.clear();
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.judge_tokens(&group.stream());
                    }
                }
            }
        }
        self.judge_path(&path, line);
    }

    fn judge_path(&mut self, segments: &[String], line: usize) {
        if segments.len() > 1 {
            self.judge(segments, line, false);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_only(source::attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.module.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.judge_use(&item.tree, &mut Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.judge(&[item.ident.to_string()], item.ident.span().start().line, true);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
        self.judge_path(&segments, line);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.judge_tokens(&call.tokens);
        syn::visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.judge_tokens(&list.tokens);
        }
        syn::visit::visit_attribute(self, attribute);
    }
}

/// Whether an entry of `list` is `segments` or a module that `segments` lies in.
fn listed(list: &[&str], segments: &[String]) -> bool {
    list.iter().any(|entry| {
        let mut segments = segments.iter();
        entry.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    })
}

fn is_impure_function(segments: &[String]) -> bool {
    segments.len() > 1 && segments.last().is_some_and(|last| IMPURE_FUNCTIONS.contains(&last.as_str()))
}

/// What the example, as the text of `path`, uses against its rule.
fn judged(path: &str, text: &str) -> Vec<String> {
    let externals =
        ["std", "core", "kube", "jiff", "nix", "rand", "serde", "tokio"].map(str::to_owned).into();
    match (rule_for(path), Source::parse(path, text)) {
        (Some(rule), Ok(source)) => offences(rule, &source, &externals),
        (None, _) => vec![format!("{path} has no rule")],
        (_, Err(error)) => vec![format!("`{text}` does not parse: {error}")],
    }
}

#[test]
fn what_is_not_listed_is_refused() {
    let api = "src/api/x.rs";
    for (path, text, refused) in [
        (api, "use tokio::time::sleep;", "tokio::time::sleep"),
        (api, "use ::tokio::spawn;", "tokio::spawn"),
        (api, "extern crate tokio;", "tokio"),
        (api, "use unheard_of::f;", "unheard_of::f"),
        (api, "fn f() { tokio::spawn(g()); }", "tokio::spawn"),
        (api, "fn f() { tokio::select! {} }", "tokio::select"),
        (api, "use kube::Client;", "kube::Client"),
        (api, "use kube::{Resource, api::Api};", "kube::api::Api"),
        (api, "use kube::*;", "kube::*"),
        (api, "fn f(c: kube::Client) {}", "kube::Client"),
        (api, "use kube::runtime::watcher;", "kube::runtime::watcher"),
        (api, "use std::fs;", "std::fs"),
        (api, "use std::{fmt, fs::File};", "std::fs::File"),
        (api, "use std::fs::{self, File};", "std::fs"),
        (api, "use std::process::Command as C;", "std::process::Command"),
        (api, "use std::*;", "std::*"),
        (api, "use std::time;", "std::time"),
        (api, "use std::time::Instant;", "std::time::Instant"),
        (api, "fn f() { std::thread::yield_now(); }", "std::thread::yield_now"),
        (api, "fn f() -> std::time::SystemTime { g() }", "std::time::SystemTime"),
        (api, "fn f() { g!(\"{}\", std::env::args()); }", "std::env::args"),
        (api, "fn f() { g!({ a::<u8>(std::env::args()) }); }", "std::env::args"),
        (api, "#[derive(Clone, nix::X)] struct S;", "nix::X"),
        (api, "impl nix::Y for S {}", "nix::Y"),
        (api, "use jiff::Timestamp;\nfn f() { Timestamp::now(); }", "Timestamp::now"),
        (api, "fn f() { jiff::Timestamp::now(); }", "jiff::Timestamp::now"),
        (api, "use jiff::Zoned;", "jiff::Zoned"),
        (api, "use jiff::tz::TimeZone;", "jiff::tz::TimeZone"),
        (api, "fn f() { g(Timestamp::now) }", "Timestamp::now"),
        (api, "use crate::daemon::sys;", "crate::daemon::sys"),
        (api, "use super::super::daemon;", "super::super::daemon"),
        ("src/api/mod.rs", "use super::daemon;", "super::daemon"),
        (api, "mod inner { use super::super::super::daemon; }", "super::super::super::daemon"),
        ("src/network/x.rs", "use crate::experiment::plan;", "crate::experiment::plan"),
        ("src/experiment/x.rs", "use rand::rng;", "rand::rng"),
        ("src/experiment/x.rs", "fn f() -> u8 { rand::random() }", "rand::random"),
        ("src/experiment/x.rs", "use rand::rngs::ThreadRng;", "rand::rngs::ThreadRng"),
        (
            "src/experiment/x.rs",
            "use rand::rngs::StdRng;\nfn f() { StdRng::from_os_rng(); }",
            "StdRng::from_os_rng",
        ),
        ("src/report/x.rs", "use kube::Client;", "kube::Client"),
        ("src/report/x.rs", "use crate::operations::Target;", "crate::operations::Target"),
        ("src/app/x.rs", "use ratatui::Frame;", "ratatui::Frame"),
        ("src/app/x.rs", "use tui_textarea::TextArea;", "tui_textarea::TextArea"),
        ("src/app/x.rs", "use crate::steady_state::scrape::f;", "crate::steady_state::scrape::f"),
        ("src/ui/x.rs", "use std::sync::mpsc;", "std::sync::mpsc"),
    ] {
        let found = judged(path, text);
        let expected = format!("`{refused}`");
        assert!(found.iter().any(|line| line.ends_with(&expected)), "{path}: {text}\n  found only {found:?}");
    }
}

#[test]
fn what_is_listed_is_allowed() {
    let api = "src/api/x.rs";
    for (path, text) in [
        (api, "use std::{collections::BTreeMap, fmt::{self, Display}, time::Duration};"),
        (api, "use kube::{CustomResource, core::ObjectMeta};\n#[derive(kube::CustomResource)] struct S;"),
        (api, "use serde::*;\nuse super::y::Z;\nuse crate::api::w;\nfn f() { fmt::Display::fmt(a, b) }"),
        (api, "mod inner { use super::super::y; }\nuse inner::T;\nuse Kind::*;\nenum Kind { A }"),
        (api, "mod tokio;\nfn f() { tokio::g() }"),
        (api, "fn f(now: jiff::Timestamp) { g!(\"std::fs {}\", a::b) } // std::fs"),
        (api, "#[cfg(test)]\nmod tests { use std::fs; }\n#[cfg(all(test, feature = \"x\"))]\nuse std::env;"),
        ("src/steady_state/scrape.rs.rs", "use crate::api::x;"),
        ("src/experiment/x.rs", "use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};"),
    ] {
        assert_eq!(judged(path, text), Vec::<String>::new(), "{path}: {text}");
    }
    let judged = judged(api, "#[cfg(not(test))]\nuse std::fs;");
    assert_eq!(judged.len(), 1, "what is left out of tests only is code");
    assert!(rule_for("src/steady_state/scrape.rs").is_none() && rule_for("src/daemon/x.rs").is_none());
}

#[test]
fn external_crates_are_read_from_the_manifest() {
    let manifest =
        "[package]\nname = \"x\"\n[dependencies]\na-b.workspace = true\n# no\nc = \"1\"\n[features]\nd = []";
    let expected = ["a_b", "alloc", "c", "core", "std"].map(str::to_owned).into();
    assert_eq!(external_crates(manifest), expected);
}
