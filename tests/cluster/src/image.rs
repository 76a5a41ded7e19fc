//! The images of the nodes, which no registry has.

use std::path::{Path, PathBuf};

use image_archive::{Entry, Image, own_architecture};

use super::ClusterError;
use super::nodes::PAUSE;
use super::supervisor::{command, run};

/// The name of the image with a shell and the usual tools, which every cluster with nodes has.
pub const BUSYBOX: &str = "squall.test/busybox:1";

/// A static one, of the package busybox-static.
const BUSYBOX_PROGRAM: &str = "/bin/busybox";

/// Writes an archive in the layout of the Open Container Initiative to `path`: an image with a name and a tag, that runs `start`
/// unless told otherwise. `contents` are its executable files, each by its path on the host and its path inside; one that
/// is called `busybox` has its commands as links in `/bin`.
pub fn archive(
    path: &Path,
    name: &str,
    start: &[&str],
    contents: &[(&Path, &str)],
) -> Result<(), ClusterError> {
    let failed = |source| ClusterError::write(path, source);
    let folder = |at, mode| Entry::Folder { at, mode, owner: 0 };
    let mut entries: Vec<_> =
        ["/etc", "/proc", "/sys", "/dev", "/root", "/bin"].map(|at| folder(at, 0o755)).into();
    entries.push(folder("/tmp", 0o1777));
    let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    entries.push(Entry::Text { at: "/etc/passwd", text: users });
    entries.push(Entry::Text { at: "/etc/group", text: "root:x:0:\nnobody:x:65534:\n" });
    entries.extend(contents.iter().map(|&(from, at)| Entry::Program { from, at }));
    let mut links = Vec::new();
    for (program, to) in contents.iter().filter(|(_, to)| to.ends_with("busybox")) {
        let commands = command(program).arg("--list").output().map_err(failed)?.stdout;
        let commands = String::from_utf8_lossy(&commands).into_owned();
        let names = commands.lines().filter(|name| *name != "busybox");
        links.extend(names.map(|name| (format!("/bin/{name}"), *to)));
    }
    entries.extend(links.iter().map(|(at, to)| Entry::Link { at, to }));
    let architecture = own_architecture();
    let image = Image { name, architecture, command: start, contents: &entries, ..Image::default() };
    image_archive::write(path, &image).map_err(failed)
}

/// The images of every cluster with nodes, as archives in a folder: [`PAUSE`] and [`BUSYBOX`].
pub(crate) fn common(folder: &Path) -> Result<[PathBuf; 2], ClusterError> {
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    std::fs::write(&source, include_str!("pause.c")).map_err(|error| ClusterError::write(&source, error))?;
    // A C compiler is there: Rust links with it.
    let mut cc = command("cc");
    cc.args(["-static", "-Os", "-s", "-o"]).args([&program, &source]);
    run(cc)?;
    let (pause, busybox) = (folder.join("pause.tar"), folder.join("busybox.tar"));
    archive(&pause, PAUSE, &["/pause"], &[(&program, "/pause")])?;
    archive(&busybox, BUSYBOX, &["sh"], &[(Path::new(BUSYBOX_PROGRAM), "/bin/busybox")])?;
    Ok([pause, busybox])
}
