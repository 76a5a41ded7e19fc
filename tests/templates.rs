//! Every file of `templates/` can be used as it is, and its header tells the truth about this release.

#![expect(clippy::unwrap_used, reason = "a test stops at what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use squall::api::NetworkChaos;
use squall::experiment::kind::Experiment as _;
use squall::manifest::{self, Object};

struct Template {
    file: String,
    header: String,
    object: Object,
}

/// Every template, read without an error.
fn templates() -> Vec<Template> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    let read = |path: PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut manifest = manifest::read(text.as_bytes());
        // Warnings may stand: that an action is not injected yet is one.
        let refused: Vec<_> = manifest.diagnostics.iter().filter(|found| found.severity.refuses()).collect();
        assert!(refused.is_empty(), "{file}: {refused:?}");
        assert_eq!(manifest.objects.len(), 1, "{file} is to hold one experiment");
        let header = text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
        Template { file, header, object: manifest.objects.remove(0) }
    };
    files.into_iter().map(read).collect()
}

#[test]
fn headers_explain_and_name_the_command() {
    for Template { file, header, object } in templates() {
        for part in ["# What it does:", "# What to expect:", "# How it ends:"] {
            assert!(header.contains(part), "{file} lacks \"{part}\"");
        }
        let command = format!("-f templates/{file}");
        assert!(header.contains(&command), "{file} does not say how to use it: {command}");
        assert_eq!(format!("{}.yaml", object.name), file, "the experiment is named after its file");
    }
}

#[test]
fn headers_tell_whether_this_release_injects_it() {
    for Template { file, header, object } in templates() {
        let Some(chaos) = object.typed::<NetworkChaos>() else { continue };
        assert_eq!(chaos.spec.problems(), [], "{file}");
        let refused = chaos.unsupported().is_some();
        let warned = header.contains("This release does not inject action");
        assert_eq!(warned, refused, "{file}: the header says otherwise than the controller");
    }
}

#[test]
fn every_action_has_a_template() {
    let templates = templates();
    let action = |template: &Template| template.object.value["spec"]["action"].as_str().map(str::to_owned);
    for (kind, all) in [
        ("NetworkChaos", &["bandwidth", "corrupt", "delay", "duplicate", "loss", "netem", "partition"][..]),
        ("PodChaos", &["container-kill", "pod-failure", "pod-kill"]),
    ] {
        let shown = templates.iter().filter(|template| template.object.kind == kind).filter_map(action);
        assert_eq!(
            shown.collect::<BTreeSet<_>>(),
            all.iter().map(|word| (*word).to_owned()).collect(),
            "{kind}"
        );
    }
}
