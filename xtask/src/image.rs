//! Writes the images that clusters run: a static program and nothing else, without Docker.
//!
//! What is in an image is said twice, here and in its Dockerfile, for those who build with Docker; a test compares them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image_archive::{Entry, Image};

use crate::dist::{build, folder_of, require_static};
use crate::tools::{command, target_folder};

/// The user of every image: nobody in particular, and not root. Squall's daemon is made root by its manifest; its controller is
/// not, nor are pods whose programs a pod-failure replaces.
const USER: u32 = 65532;

/// One image: named as its program is and as the package is that makes it.
struct Part {
    name: &'static str,
    /// The arguments if a pod gives none.
    command: &'static [&'static str],
    port: Option<u16>,
    /// A folder that its user can write to.
    data: Option<&'static str>,
}

static PARTS: [Part; 4] = [
    // A pod-failure replaces the image of a pod and cannot change its arguments: most have none.
    Part { name: "squall", command: &["hold"], port: None, data: None },
    Part { name: "movies", command: &[], port: Some(8080), data: None },
    Part { name: "traffic", command: &[], port: Some(9090), data: None },
    Part { name: "database", command: &[], port: Some(27017), data: Some("/data/db") },
];

/// What was asked for.
struct Options<'a> {
    parts: Vec<&'static Part>,
    out: Option<&'a str>,
    profile: &'a str,
    target: &'a str,
}

/// Builds the programs of these images and writes the archives; prints the path of each.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let options = parse(arguments)?;
    // Built together they would have each other's features of what they share: Squall's would be another build than that of its
    // tests on the same target.
    let names = options.parts.iter().map(|part| part.name);
    let (own, samples): (Vec<_>, Vec<_>) = names.partition(|name| *name == "squall");
    for names in [own, samples].iter().filter(|names| !names.is_empty()) {
        build(options.target, options.profile, names)?;
    }
    let programs = target_folder().join(options.target).join(folder_of(options.profile));
    for part in options.parts {
        let out = options
            .out
            .map_or_else(|| programs.join("images").join(format!("{}.tar", part.name)), PathBuf::from);
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let program = programs.join(part.name);
        let bytes = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        require_static(&program, &bytes)?;
        write(part, &program, &out, options.target, options.profile)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a chore's result is its output")]
fn write(part: &Part, program: &Path, out: &Path, target: &str, profile: &str) -> anyhow::Result<()> {
    let stripped = out.with_extension("stripped");
    // The shipped profile leaves no symbols; what others leave is most of a program.
    let is_stripped = profile != "dist" && strip(program, &stripped);
    let at = format!("/{}", part.name);
    let mut contents =
        vec![Entry::Program { from: if is_stripped { stripped.as_path() } else { program }, at: &at }];
    contents.extend(part.data.map(|at| Entry::Folder { at, mode: 0o755, owner: USER }));
    let (name, user) = (full_name(part.name), format!("{USER}:{USER}"));
    let image = Image {
        name: &name,
        architecture: if target.starts_with("aarch64") { "arm64" } else { "amd64" },
        entry_point: &[&at],
        command: part.command,
        user: &user,
        port: part.port,
        contents: &contents,
    };
    let written = image_archive::write(out, &image);
    if is_stripped {
        fs::remove_file(&stripped).with_context(|| format!("cannot remove {}", stripped.display()))?;
    }
    written.with_context(|| format!("cannot write {}", out.display()))?;
    let size = fs::metadata(out).with_context(|| format!("cannot read {}", out.display()))?.len();
    println!("{}: image {name}, {size} bytes", out.display());
    Ok(())
}

/// The name that manifests have.
fn full_name(part: &str) -> String {
    format!("{part}:{}", env!("CARGO_PKG_VERSION"))
}

/// A copy without what only a debugger reads, if there is a tool that makes it.
fn strip(program: &Path, copy: &Path) -> bool {
    let mut strip = command("strip");
    strip.arg("--strip-all").arg("-o").arg(copy).arg(program);
    strip.output().is_ok_and(|output| output.status.success())
}

fn parse<'a>(arguments: &[&'a str]) -> anyhow::Result<Options<'a>> {
    let mut options =
        Options { parts: Vec::new(), out: None, profile: "dist", target: "x86_64-unknown-linux-musl" };
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        let mut value = || rest.next().copied().with_context(|| format!("{argument} wants a value"));
        match argument {
            "--out" => options.out = Some(value()?),
            "--profile" => options.profile = value()?,
            "--target" => options.target = value()?,
            name => match PARTS.iter().find(|part| part.name == name) {
                Some(part) => options.parts.push(part),
                None => bail!("there is no image {name}: squall, movies, traffic, database"),
            },
        }
    }
    if options.parts.is_empty() {
        options.parts.extend(PARTS.first());
    }
    ensure!(options.out.is_none() || options.parts.len() == 1, "--out names the file of one image");
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let names = |options: &Options<'_>| options.parts.iter().map(|part| part.name).collect::<Vec<_>>();
        let options = parse(&[]).unwrap();
        assert_eq!((names(&options), options.profile), (vec!["squall"], "dist"));
        let options = parse(&["movies", "traffic", "--profile", "dev"]).unwrap();
        assert_eq!((names(&options), options.profile, options.out), (vec!["movies", "traffic"], "dev", None));
        assert_eq!(parse(&["--out", "a.tar"]).unwrap().out, Some("a.tar"));
        for wrong in [&["--out"][..], &["mongo"], &["movies", "traffic", "--out", "a.tar"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    /// The instructions of a Dockerfile's last stage.
    fn dockerfile(part: &Part) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = match part.name {
            "squall" => root.join("Dockerfile"),
            name => root.join("sample-services").join(name).join("Dockerfile"),
        };
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&format!("-t {} .", full_name(part.name))), "{}", path.display());
        let (_, last) = text.split_once("FROM scratch\n").unwrap();
        last.lines().map(str::to_owned).collect()
    }

    #[test]
    fn dockerfiles_make_the_same_images() {
        for part in &PARTS {
            let lines = dockerfile(part);
            let has =
                |line: String| assert!(lines.contains(&line), "{}: no line {line}: {lines:?}", part.name);
            has(format!("COPY --from=build /src/target/dist/{0} /{0}", part.name));
            has(format!("ENTRYPOINT [\"/{}\"]", part.name));
            has(format!("USER {USER}:{USER}"));
            part.port.into_iter().for_each(|port| has(format!("EXPOSE {port}")));
            part.command.iter().for_each(|word| has(format!("CMD [\"{word}\"]")));
            part.data.into_iter().for_each(|data| has(format!("VOLUME {data}")));
            let more = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
            assert_eq!(more("CMD"), part.command.len(), "{}", part.name);
            assert_eq!(more("EXPOSE"), usize::from(part.port.is_some()), "{}", part.name);
        }
    }
}
