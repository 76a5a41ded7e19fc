//! Where playgrounds are found: the one place that knows the folder and the names of their sockets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// The folder of all playground sockets of this user: `$XDG_RUNTIME_DIR/squall`, else a folder of the
/// user's under the temporary folder. It need not exist.
pub fn socket_folder() -> PathBuf {
    // The XDG base directory rules ask for absolute paths; others are to be ignored.
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(folder) => folder.join("squall"),
        None => std::env::temp_dir().join(format!("squall-{}", geteuid())),
    }
}

/// The socket of playground `name` in `folder`.
pub fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

/// The names of the playgrounds that answer, sorted. A socket file that a killed playground left behind
/// answers nobody. A folder that others can write to could hold the socket of somebody else and is ignored.
pub fn running_playgrounds(folder: &Path) -> Vec<String> {
    let private = fs::symlink_metadata(folder).is_ok_and(|folder| {
        folder.is_dir() && folder.uid() == geteuid().as_raw() && folder.mode() & 0o777 == 0o700
    });
    if !private {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| UnixStream::connect(entry.path()).is_ok())
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".sock")?.to_owned()))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_sockets_that_answer_in_a_private_folder_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let _two = UnixListener::bind(socket(folder.path(), "two")).unwrap();
        let _one = UnixListener::bind(socket(folder.path(), "one")).unwrap();
        drop(UnixListener::bind(socket(folder.path(), "dead")).unwrap());
        fs::write(socket(folder.path(), "file"), "").unwrap();
        assert_eq!(running_playgrounds(folder.path()), ["one", "two"]);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(running_playgrounds(folder.path()), Vec::<String>::new());
        assert_eq!(running_playgrounds(&folder.path().join("missing")), Vec::<String>::new());
    }
}
