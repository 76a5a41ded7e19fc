//! From the name of an image to the program that stands for it.
//!
//! The playground pulls nothing: an image is a program of this binary, or `mongod` where the machine has one. Which
//! registry and tag a name has makes no difference. The file system of every image is the machine's own.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Container;

use crate::playground::exec::THIS_PROGRAM;

/// The images that there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Images {
    /// The real database, if the machine has it.
    mongod: Option<PathBuf>,
}

impl Images {
    /// Looks for a real `mongod` in the folders of `path`, the value of PATH.
    pub(crate) fn find(path: &std::ffi::OsStr) -> Self {
        let candidates = std::env::split_paths(path).map(|folder| folder.join("mongod"));
        Self { mongod: candidates.into_iter().find(|file| file.is_absolute() && file.is_file()) }
    }

    /// Program and arguments of a container; `None` if no such image exists.
    ///
    /// `command` replaces the image's own program and `args` its arguments, as everywhere in Kubernetes.
    pub(crate) fn command(&self, container: &Container) -> Option<Vec<String>> {
        let (program, default_arguments) = self.program(container.image.as_deref().unwrap_or_default())?;
        let arguments = container.args.clone();
        Some(match container.command.as_deref() {
            Some([name, rest @ ..]) => {
                // A command that names the image's own program means that program.
                let own = program
                    .last()
                    .is_some_and(|own| Path::new(name).file_name() == Path::new(own).file_name());
                let mut command = if own { program } else { vec![name.clone()] };
                command.extend_from_slice(rest);
                command.extend(arguments.unwrap_or_default());
                command
            }
            _ => [program, arguments.unwrap_or(default_arguments)].concat(),
        })
    }

    fn program(&self, image: &str) -> Option<(Vec<String>, Vec<String>)> {
        let builtin = |verb: &str| vec![THIS_PROGRAM.to_owned(), "builtin".to_owned(), verb.to_owned()];
        Some(match base_name(image) {
            name @ ("movies" | "traffic") => (builtin(name), Vec::new()),
            "mongo" => match &self.mongod {
                Some(mongod) => (vec![mongod.display().to_string()], vec!["--bind_ip_all".to_owned()]),
                None => (builtin("database"), Vec::new()),
            },
            "squall" => (vec![THIS_PROGRAM.to_owned()], vec!["hold".to_owned()]),
            "hold" | "pause" => (builtin("hold"), Vec::new()),
            _ => return None,
        })
    }
}

/// The last component of an image's name, without registry, tag and digest.
fn base_name(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    last.split_once(':').map_or(last, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(image: &str, command: &[&str], args: &[&str]) -> Container {
        let list =
            |words: &[&str]| (!words.is_empty()).then(|| words.iter().map(ToString::to_string).collect());
        Container {
            image: Some(image.to_owned()),
            command: list(command),
            args: list(args),
            ..Container::default()
        }
    }

    #[test]
    fn images_are_known_by_their_last_name() {
        for image in ["movies", "movies:1.0", "192.168.33.10:5000/movies", "ghcr.io/x/movies:v1@sha256:00"] {
            let command = Images::default().command(&container(image, &[], &[]));
            assert_eq!(command.unwrap(), [THIS_PROGRAM, "builtin", "movies"], "{image}");
        }
        assert_eq!(Images::default().command(&container("nginx", &[], &[])), None);
    }

    #[test]
    fn command_and_args_replace_the_images_own() {
        let images = Images::default();
        let cases: [(&str, &[&str], &[&str], &[&str]); 5] = [
            ("squall", &[], &[], &[THIS_PROGRAM, "hold"]),
            ("squall", &[], &["daemon", "--node", "a"], &[THIS_PROGRAM, "daemon", "--node", "a"]),
            ("movies", &["/movies"], &["--x"], &[THIS_PROGRAM, "builtin", "movies", "--x"]),
            ("movies", &["sleep", "1"], &[], &["sleep", "1"]),
            ("registry.k8s.io/pause:3.10", &[], &[], &[THIS_PROGRAM, "builtin", "hold"]),
        ];
        for (image, command, args, expected) in cases {
            assert_eq!(
                images.command(&container(image, command, args)).unwrap(),
                expected,
                "{image} {command:?}"
            );
        }
    }

    #[test]
    fn a_real_database_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        let mongod = folder.path().join("mongod");
        std::fs::write(&mongod, "").unwrap();
        let images = Images::find(folder.path().as_os_str());
        let command = images.command(&container("mongo:7", &[], &[])).unwrap();
        assert_eq!(command, [mongod.to_str().unwrap(), "--bind_ip_all"]);
        let none = Images::find(std::ffi::OsStr::new("/nonexistent"));
        assert_eq!(
            none.command(&container("mongo:7", &[], &[])).unwrap(),
            [THIS_PROGRAM, "builtin", "database"]
        );
    }
}
