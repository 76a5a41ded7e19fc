//! Images without a registry: an archive of one layer, made of static programs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::ClusterError;
use super::nodes::PAUSE;
use super::supervisor::{command, run};

/// The name of the image with a shell and the usual tools, which every cluster with nodes has.
pub const BUSYBOX: &str = "squall.test/busybox:1";

/// A static one, of the package busybox-static.
const BUSYBOX_PROGRAM: &str = "/bin/busybox";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes an archive in the layout of the Open Container Initiative to `path`: an image with a name and a tag, that runs `start`
/// unless told otherwise. `contents` are its executable files, each by its path on the host and its path inside; one that
/// is called `busybox` has its commands as links in `/bin`.
pub fn archive(
    path: &Path,
    name: &str,
    start: &[&str],
    contents: &[(&Path, &str)],
) -> Result<(), ClusterError> {
    write(path, name, start, contents).map_err(|source| ClusterError::write(path, source))
}

/// The images of every cluster with nodes, in a folder: [`PAUSE`] and [`BUSYBOX`].
pub(crate) fn common(folder: &Path) -> Result<(), ClusterError> {
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    fs::write(&source, include_str!("pause.c")).map_err(|error| ClusterError::write(&source, error))?;
    // A C compiler is there: Rust links with it.
    let mut cc = command("cc");
    cc.args(["-static", "-Os", "-s", "-o"]).args([&program, &source]);
    run(cc)?;
    archive(&folder.join("pause.tar"), PAUSE, &["/pause"], &[(&program, "/pause")])?;
    archive(&folder.join("busybox.tar"), BUSYBOX, &["sh"], &[(Path::new(BUSYBOX_PROGRAM), "/bin/busybox")])
}

fn write(path: &Path, name: &str, start: &[&str], contents: &[(&Path, &str)]) -> io::Result<()> {
    let layer = layer(contents)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": start },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(MANIFEST, &manifest);
    entry.insert("annotations".to_owned(), json!({ "io.containerd.image.name": name }));
    entry.insert("platform".to_owned(), json!({ "architecture": architecture, "os": "linux" }));
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();

    let mut archive = Builder::new(File::create(path)?);
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut archive, "index.json", index.as_bytes(), 0o644)?;
    for blob in [config, manifest, layer] {
        append(&mut archive, &format!("blobs/{}", digest(&blob).replace(':', "/")), &blob, 0o644)?;
    }
    archive.into_inner()?.flush()
}

/// The file system of an image.
fn layer(contents: &[(&Path, &str)]) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for path in ["etc", "proc", "sys", "dev", "root", "bin"] {
        folder(&mut layer, &mut folders, path, 0o755)?;
    }
    folder(&mut layer, &mut folders, "tmp", 0o1777)?;
    append(
        &mut layer,
        "etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        0o644,
    )?;
    append(&mut layer, "etc/group", b"root:x:0:\nnobody:x:65534:\n", 0o644)?;
    for (program, path) in contents {
        let path = path.trim_start_matches('/');
        for parent in Path::new(path).ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            folder(&mut layer, &mut folders, &parent.to_string_lossy(), 0o755)?;
        }
        append(&mut layer, path, &fs::read(program)?, 0o755)?;
        if path.ends_with("busybox") {
            let commands = command(program).arg("--list").output()?.stdout;
            for name in String::from_utf8_lossy(&commands).lines().filter(|name| *name != "busybox") {
                let mut header = header(EntryType::Symlink, 0o777);
                layer.append_link(&mut header, format!("bin/{name}"), format!("/{path}"))?;
            }
        }
    }
    layer.into_inner()
}

fn folder(
    archive: &mut Builder<Vec<u8>>,
    known: &mut BTreeSet<String>,
    path: &str,
    mode: u32,
) -> io::Result<()> {
    if path.is_empty() || !known.insert(path.to_owned()) {
        return Ok(());
    }
    archive.append_data(&mut header(EntryType::Directory, mode), format!("{path}/"), io::empty())
}

fn append(archive: &mut Builder<impl Write>, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut header = header(EntryType::Regular, mode);
    header.set_size(bytes.len() as u64);
    archive.append_data(&mut header, path, bytes)
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    format!("sha256:{}", digest.map(|byte| format!("{byte:02x}")).concat())
}

/// How one part of an image names another.
fn descriptor(kind: &str, bytes: &[u8]) -> Map<String, Value> {
    let fields = [("mediaType", json!(kind)), ("digest", json!(digest(bytes))), ("size", json!(bytes.len()))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
