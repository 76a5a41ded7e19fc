//! The images of Squall and of the system it is tried on, built from this checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a folder with the archives, where they are not to be built: `squall.tar`, `movies.tar`, `traffic.tar`, `database.tar`.
const IMAGES: &str = "SQUALL_IMAGES";

const NAMES: [&str; 4] = ["squall", "movies", "traffic", "database"];

/// The archives.
pub(crate) fn archives() -> Vec<PathBuf> {
    let folder = std::env::var_os(IMAGES).map_or_else(build, PathBuf::from);
    NAMES.iter().map(|name| folder.join(format!("{name}.tar"))).collect()
}

/// Builds them as they are shipped, and gives their folder.
#[expect(clippy::disallowed_methods, reason = "the images are built as everybody builds them")]
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["xtask", "image"])
        .args(NAMES)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let first = said.lines().next().unwrap().split_once(':').unwrap().0;
    Path::new(env!("CARGO_MANIFEST_DIR")).join(first).parent().unwrap().to_owned()
}
