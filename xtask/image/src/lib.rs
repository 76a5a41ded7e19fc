//! Images of containers without Docker and without a registry: an archive of one layer, in the layout of the Open Container
//! Initiative, as containerd, CRI-O, Podman and Docker (25 and later) import it.
//!
//! The same contents make the same bytes: nothing in an archive tells when or where it was written. A package of its own,
//! because the chores write the images that are shipped with it, and the test cluster those that its nodes run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image is.
#[derive(Clone, Debug, Default)]
pub struct Image<'a> {
    /// Name and tag as a pod has them, `movies:0.1.0`.
    pub name: &'a str,
    /// Of its programs, as Go calls it: `amd64` or `arm64`.
    pub architecture: &'a str,
    /// What runs, before the arguments that a pod gives.
    pub entry_point: &'a [&'a str],
    /// The arguments if a pod gives none; what runs, where there is no entry point.
    pub command: &'a [&'a str],
    /// Who runs it, `uid:gid`; root if empty.
    pub user: &'a str,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// Its file system. Folders that something lies in are made.
    pub contents: &'a [Entry<'a>],
}

/// Something in the file system of an image, at an absolute path.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// An executable file, copied from the host.
    Program {
        /// Where it is on the host.
        from: &'a Path,
        /// Where it is in the image.
        at: &'a str,
    },
    /// A file to read.
    Text {
        /// Where it is.
        at: &'a str,
        /// What is in it.
        text: &'a str,
    },
    /// A folder.
    Folder {
        /// Where it is.
        at: &'a str,
        /// Its access bits.
        mode: u32,
        /// Number of the user and of the group that it belongs to.
        owner: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it is.
        at: &'a str,
        /// What it points to.
        to: &'a str,
    },
}

/// Go's name for the processor that this program was built for.
pub const fn own_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// The name of an image in full, as runtimes keep it: without a registry's name, a short one belongs to Docker's.
pub fn full_name(name: &str) -> String {
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// Writes the archive of an image.
///
/// # Errors
/// When a program cannot be read, or the archive cannot be written.
pub fn write(path: &Path, image: &Image<'_>) -> io::Result<()> {
    let layer = layer(image.contents)?;
    let mut settings = json!({ "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] });
    for (field, value) in [
        ("Entrypoint", (!image.entry_point.is_empty()).then(|| json!(image.entry_point))),
        ("Cmd", (!image.command.is_empty()).then(|| json!(image.command))),
        ("User", (!image.user.is_empty()).then(|| json!(image.user))),
        ("ExposedPorts", image.port.map(|port| json!({ format!("{port}/tcp"): {} }))),
    ] {
        if let (Some(value), Some(settings)) = (value, settings.as_object_mut()) {
            settings.insert(field.to_owned(), value);
        }
    }
    let platform = json!({ "architecture": image.architecture, "os": "linux" });
    let config = json!({
        "architecture": image.architecture, "os": "linux", "config": settings,
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config), "layers": [descriptor(LAYER, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(MANIFEST, &manifest);
    let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    entry.insert(
        "annotations".to_owned(),
        // The first is containerd's and Docker's, the second everybody else's.
        json!({ "io.containerd.image.name": full_name(image.name), "org.opencontainers.image.ref.name": tag }),
    );
    entry.insert("platform".to_owned(), platform);
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
fn layer(contents: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for entry in contents {
        let (Entry::Program { at, .. }
        | Entry::Text { at, .. }
        | Entry::Folder { at, .. }
        | Entry::Link { at, .. }) = entry;
        let at = at.trim_start_matches('/');
        let parents: Vec<_> = Path::new(at).ancestors().skip(1).collect();
        for parent in parents.into_iter().rev() {
            folder(&mut layer, &mut folders, &parent.to_string_lossy(), 0o755, 0)?;
        }
        match entry {
            Entry::Program { from, .. } => append(&mut layer, at, &fs::read(from)?, 0o755)?,
            Entry::Text { text, .. } => append(&mut layer, at, text.as_bytes(), 0o644)?,
            Entry::Folder { mode, owner, .. } => folder(&mut layer, &mut folders, at, *mode, *owner)?,
            Entry::Link { to, .. } => layer.append_link(&mut header(EntryType::Symlink, 0o777), at, to)?,
        }
    }
    layer.into_inner()
}

fn folder(
    archive: &mut Builder<Vec<u8>>,
    known: &mut BTreeSet<String>,
    path: &str,
    mode: u32,
    owner: u32,
) -> io::Result<()> {
    if path.is_empty() || !known.insert(path.to_owned()) {
        return Ok(());
    }
    let mut header = header(EntryType::Directory, mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    archive.append_data(&mut header, format!("{path}/"), io::empty())
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
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
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

#[cfg(test)]
mod tests;
