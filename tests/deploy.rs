//! `deploy/` holds what `squall install` applies where nothing is chosen, for `kubectl apply -k deploy`.
//!
//! After a change of `src/install` run `cargo xtask deploy` and read the difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use squall::api::custom_kinds;
use squall::install::{self, Options, Part};

const HEADER: &str = "# Made from src/install by `cargo xtask deploy`; change that, not this.\n";

/// The files beside the CRDs, in the order in which they are applied.
fn files() -> Vec<(&'static str, String)> {
    let options = Options::default();
    let mut files = vec![
        ("namespace.yaml", documents(&install::surroundings())),
        ("flows.yaml", documents(&install::flows())),
        ("accounts.yaml", documents(&install::accounts())),
        ("policies.yaml", documents(&install::policies(&options))),
        ("workloads.yaml", documents(&install::workloads(&options))),
    ];
    let crds = custom_kinds().iter().map(|kind| format!("crds/{}.{}.yaml", kind.plural, kind.group));
    let resources = crds.chain(files.iter().map(|(name, _)| (*name).to_owned()));
    let lines = resources.map(|name| format!("  - {name}")).collect::<Vec<_>>().join("\n");
    files.push((
        "kustomization.yaml",
        format!(
            "{HEADER}# Another image, or other protected namespaces, are in more than one place: squall install \
             --dry-run=client -o yaml.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{lines}\n"
        ),
    ));
    files
}

fn documents(parts: &[Part]) -> String {
    let document = |part: &Part| serde_yaml::to_string(&part.value).unwrap();
    HEADER.to_owned() + &parts.iter().map(document).collect::<Vec<_>>().join("---\n")
}

#[test]
fn the_files_are_what_is_installed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for (name, text) in files() {
        let path = folder.join(name);
        if std::env::var_os("SQUALL_UPDATE_EXPECTED").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&path).is_ok_and(|found| found == text),
            "deploy/{name} is not what is installed: cargo xtask deploy"
        );
    }
}

/// What was made of another release's objects would be applied for ever.
#[test]
fn there_are_no_other_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let known: Vec<_> = files().into_iter().map(|(name, _)| name.to_owned()).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let expected =
            if entry.path().is_dir() { name == "crds" || name == "grafana" } else { known.contains(&name) };
        assert!(expected, "deploy/{name}: nobody makes it");
    }
}
