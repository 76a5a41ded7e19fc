//! The experiment files that come with the program.

use std::sync::{Arc, LazyLock};

use super::list::Row;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its file's name without the ending.
    pub name: &'static str,
    /// The whole file.
    pub text: &'static str,
    /// Its first line: what it does, in one sentence.
    pub summary: String,
    /// What it does in detail, what to expect, how it ends: the paragraphs of its header.
    pub about: Vec<String>,
}

impl Row for Template {
    fn id(&self) -> &str {
        self.name
    }
}

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../templates/", $name, ".yaml")))),*]
    };
}

/// The tutorial's three first, then by what they do.
const FILES: [(&str, &str); 10] = templates![
    "network-delay",
    "partition",
    "pod-failure",
    "network-loss",
    "network-duplicate",
    "network-corrupt",
    "network-netem",
    "network-bandwidth",
    "pod-kill",
    "container-kill",
];

/// All of them.
pub static TEMPLATES: LazyLock<Vec<Arc<Template>>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| Arc::new(template(name, text))).collect());

/// The template of this name.
pub fn named(name: &str) -> Option<&'static Arc<Template>> {
    TEMPLATES.iter().find(|template| template.name == name)
}

fn template(name: &'static str, text: &'static str) -> Template {
    let header = text.lines().take_while(|line| line.starts_with('#'));
    let mut paragraphs = vec![String::new()];
    for line in header.map(|line| line.trim_start_matches('#').trim()) {
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
            _ => paragraphs.push(String::new()),
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty() && !paragraph.starts_with("squall run"));
    let mut paragraphs = paragraphs.into_iter();
    Template { name, text, summary: paragraphs.next().unwrap_or_default(), about: paragraphs.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    #[test]
    fn each_says_what_it_does_and_can_be_read() {
        for template in TEMPLATES.iter() {
            assert!(template.summary.ends_with('.') && template.about.len() >= 2, "{}", template.name);
            assert!(!template.summary.contains('#'), "{}", template.summary);
            assert!(!manifest::read(template.text.as_bytes()).objects.is_empty(), "{}", template.name);
        }
    }

    #[test]
    fn every_file_of_the_folder_is_here() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        let mut names: Vec<_> = TEMPLATES.iter().map(|template| template.name.to_owned()).collect();
        files.sort();
        names.sort();
        assert_eq!(files, names);
    }
}
