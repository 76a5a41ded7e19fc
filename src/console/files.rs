//! The user's files: the configuration, what is edited, and recordings for reports.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::app::editor::{Manuscript, Origin, buffer};
use crate::app::keymap::Keymap;
use crate::app::recorder::Recording;
use crate::app::settings::Settings;
use crate::report::Trouble;

/// The largest configuration that is read.
const MAX_BYTES: u64 = 256 * 1024;

/// Where the configuration is: `$XDG_CONFIG_HOME/squall/config.yaml`, else below `~/.config`.
pub(super) fn settings_path() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("config.yaml"))
}

/// `$VARIABLE/squall`, else `~/FALLBACK/squall`.
fn folder(variable: &str, fallback: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set(variable).filter(|path| path.is_absolute());
    base.or_else(|| set("HOME").map(|home| home.join(fallback))).map(|base| base.join("squall"))
}

/// The user's choices; what is wrong with the file is said, and the file left alone.
pub(super) fn read_settings(path: &Path) -> (Settings, Option<Trouble>) {
    let wrong = |what: String, cure: &str| {
        (Settings::default(), Some(Trouble::new(format!("{}: {what}", path.display())).cure(cure)))
    };
    let text = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Settings::default(), None),
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return wrong("it is larger than 256 KiB".to_owned(), "it is not read; make it smaller");
        }
        Ok(_) => fs::read_to_string(path),
        Err(error) => Err(error),
    };
    let text = match text {
        Ok(text) => text,
        Err(error) => return wrong(error.to_string(), "it is not used; make it readable"),
    };
    if text.trim().is_empty() {
        return (Settings::default(), None);
    }
    match serde_yaml::from_str::<Settings>(&text) {
        Ok(settings) => match Keymap::with(&settings.keys) {
            Ok(_) => (settings, None),
            Err(error) => {
                let mut what = error.to_string();
                if let Some(source) = std::error::Error::source(&error) {
                    what = format!("{what}: {source}");
                }
                let trouble = Trouble::new(format!("{}: {what}", path.display()))
                    .cure("the keys of the table are in force; `squall keys` lists them");
                (Settings { keys: BTreeMap::default(), ..settings }, Some(trouble))
            }
        },
        Err(error) => wrong(error.to_string(), "none of it is in force; mend it or delete it"),
    }
}

/// Writes the user's choices. Comments of the file are lost; keys are not.
///
/// # Errors
/// The file cannot be written; the old one is still there.
pub(super) fn write_settings(path: &Path, settings: &Settings) -> io::Result<()> {
    let (on_disk, complaint) = read_settings(path);
    if let Some(complaint) = complaint {
        return Err(io::Error::other(complaint.whole()));
    }
    let settings = Settings { keys: on_disk.keys, ..settings.clone() };
    let text = serde_yaml::to_string(&settings).map_err(io::Error::other)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("yaml.new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// The path with the user's folder in the place of `~`.
pub(super) fn at_home(path: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    path.strip_prefix("~/").map_or_else(|| path.to_owned(), |rest| format!("{home}/{rest}"))
}

/// What tells whether a file is still the one that was read: its size, and when it was written last.
fn stamp(metadata: &fs::Metadata) -> String {
    format!("{} {}.{:09} {}", metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino())
}

/// Reads a file to be edited.
pub(super) fn read_manuscript(path: &str) -> Result<Manuscript, Trouble> {
    let path = at_home(path);
    let failed = |error: io::Error| {
        Trouble::new(format!("cannot read {path}: {error}"))
            .cure("the path is one of the machine that the console runs on")
    };
    let metadata = fs::metadata(&path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Trouble::new(format!("{path} is no file")));
    }
    if metadata.len() > u64::try_from(buffer::MAX_BYTES).unwrap_or(u64::MAX) {
        let most = buffer::MAX_BYTES / 1024;
        let trouble =
            Trouble::new(format!("{path} is larger than {most} KiB, the most that the editor takes"));
        return Err(trouble.cure("`:apply FILE` launches a file of any size; or split it"));
    }
    let text = fs::read_to_string(&path).map_err(failed)?;
    Ok(Manuscript { text, origin: Origin::File { path, stamp: stamp(&metadata) } })
}

/// Writes what was edited, whole or not at all: into a file beside it that then takes its place, with its mode. A file
/// that is not the one that was read is left alone. Gives its path and its new stamp.
pub(super) fn write_manuscript(
    path: &str,
    text: &str,
    known: Option<&str>,
) -> Result<(String, String), Trouble> {
    let path = at_home(path);
    let failed = |error: io::Error| {
        Trouble::new(format!("cannot write {path}: {error}"))
            .cure("the text is still in the editor; `:write FILE`")
    };
    // Through a link, so that the link stays one.
    let target = fs::canonicalize(&path).unwrap_or_else(|_absent| PathBuf::from(&path));
    let there = match fs::metadata(&target) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    match (&there, known) {
        (Some(metadata), _) if !metadata.is_file() => return Err(Trouble::new(format!("{path} is no file"))),
        (Some(metadata), Some(known)) if stamp(metadata) != known => {
            return Err(Trouble::new(format!("{path} was changed by somebody else since it was opened"))
                .cure("`:write FILE` saves under another name; `:edit FILE` shows what is there"));
        }
        (Some(_), None) => {
            return Err(Trouble::new(format!("{path} is there already"))
                .cure("`:write FILE` with another name; `:edit FILE` opens it"));
        }
        _ => {}
    }
    let mode = there.as_ref().map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = target.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let wrote = write_new(&new, text, mode).and_then(|()| fs::rename(&new, &target));
    if let Err(error) = wrote {
        drop(fs::remove_file(&new));
        return Err(failed(error));
    }
    let metadata = fs::metadata(&target).map_err(failed)?;
    Ok((path, stamp(&metadata)))
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // What the mask took away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Keeps a text that nobody could be asked about, in a file that only the user can read.
pub(super) fn keep_unsaved(text: &str, now: Timestamp) -> io::Result<PathBuf> {
    let folder = folder("XDG_STATE_HOME", ".local/state").unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{UNSAVED}{}.yaml", now.strftime("%Y%m%dT%H%M%S%3fZ")));
    write_new(&path, text, 0o600)?;
    Ok(path)
}

/// The beginning of the names of texts that were kept.
const UNSAVED: &str = "unsaved-";

/// The newest text that was kept, to be edited on.
pub(super) fn kept_unsaved() -> Option<Manuscript> {
    let folder = folder("XDG_STATE_HOME", ".local/state")?;
    let is_one = |name: &str| name.strip_suffix(".yaml").is_some_and(|name| name.starts_with(UNSAVED));
    let names = fs::read_dir(&folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let path = folder.join(names.filter(|name| is_one(name)).max()?).to_str()?.to_owned();
    let Manuscript { text, .. } = read_manuscript(&path).ok()?;
    Some(Manuscript { text, origin: Origin::Recovered(path) })
}

/// Writes a recording to a new file that only the user can read, and says which.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_recording(recording: &Recording, now: Timestamp) -> io::Result<PathBuf> {
    let folder = folder("XDG_STATE_HOME", ".local/state").unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("console-{}.json", now.strftime("%Y%m%dT%H%M%S%3fZ")));
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let mut file = io::BufWriter::new(file);
    serde_json::to_writer(&mut file, recording)?;
    file.flush()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::look::ThemeName;

    #[test]
    fn what_is_chosen_is_kept_and_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("squall/config.yaml");
        assert_eq!(read_settings(&path), (Settings::default(), None));
        let settings = Settings { theme: Some(ThemeName::Light), ..Settings::default() };
        write_settings(&path, &settings).unwrap();
        assert_eq!(read_settings(&path), (settings.clone(), None));
        for (text, said) in [
            ("theme: pink\n", "theme"),
            ("colour: 3\n", "unknown field"),
            ("keys: {halt: [q]}\n", "would do both quit and halt"),
            ("keys: {explode: [x]}\n", "no action \"explode\""),
            ("keys: {halt: [hyper-x]}\n", "\"hyper-x\" is no key"),
        ] {
            fs::write(&path, text).unwrap();
            let (_, trouble) = read_settings(&path);
            let trouble = trouble.unwrap();
            assert!(trouble.what.contains(said) && trouble.cure.is_some(), "{text}: {trouble}");
            assert!(
                write_settings(&path, &settings).is_err(),
                "a file that cannot be read is not overwritten"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "keys:\n  halt: [ctrl-x]\n").unwrap();
        write_settings(&path, &settings).unwrap();
        let (read, _) = read_settings(&path);
        assert_eq!((read.theme, read.keys.len()), (Some(ThemeName::Light), 1), "keys stay");
    }

    #[test]
    fn what_is_edited_takes_the_place_of_the_file_that_was_read_and_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        let path = path.to_str().unwrap();
        fs::write(path, "a: 1\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
        let Origin::File { stamp, .. } = read_manuscript(path).unwrap().origin else { panic!("no file") };
        assert!(write_manuscript(path, "b: 1\n", None).unwrap_err().what.contains("there already"));
        let (_, newer) = write_manuscript(path, "b: 22\n", Some(&stamp)).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "b: 22\n");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(write_manuscript(path, "c: 1\n", Some(&stamp)).unwrap_err().what.contains("somebody else"));
        assert!(write_manuscript(path, "c: 1\n", Some(&newer)).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let missing = folder.path().join("no/such/x.yaml");
        assert!(write_manuscript(missing.to_str().unwrap(), "c: 1\n", None).is_err());
        fs::write(path, vec![b'x'; 1024 * 1024]).unwrap();
        assert!(read_manuscript(path).unwrap_err().what.contains("256 KiB"));
    }
}
