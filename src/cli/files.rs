//! `-f FILE`: reads experiment files and says everything that is wrong with them before anything is sent.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Out;
use super::exit::{Failure, Result};
use crate::manifest::{self, Object};

/// The experiments of all files, if none of them has an error. `-` is standard input.
pub(crate) fn read(files: &[impl AsRef<Path>], out: &mut Out) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let mut usable = true;
    for file in files {
        let file = file.as_ref();
        let manifest = manifest::read(&bytes(file)?);
        for diagnostic in &manifest.diagnostics {
            out.say(&format!("{}:{diagnostic}", file.display()));
        }
        usable &= manifest.is_usable();
        objects.extend(manifest.objects);
    }
    if !usable {
        return Err(Failure::bad_input("nothing was applied: see above"));
    }
    if objects.is_empty() {
        return Err(Failure::bad_input("there is no experiment to be found")
            .cure("an experiment begins with apiVersion: chaos-mesh.org/v1alpha1 and kind: NetworkChaos"));
    }
    Ok(objects)
}

/// The bytes of one file, and one more than is taken where there are more.
pub(super) fn bytes(file: &Path) -> Result<Vec<u8>> {
    let unreadable = |error| Failure::from(error).context(format!("cannot read {}", file.display()));
    // One byte more than is taken, so that a larger file is known for one.
    let limit = manifest::MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        File::open(file).map_err(unreadable)?.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    Ok(bytes)
}
