//! The journal: what this node is about to do and what was there before, written before it is done.
//!
//! One file per Injection, replaced as a whole (write, fsync, rename, fsync of the folder), so that a
//! crash leaves the old record or the new one. A record of another boot is worthless, because a reboot
//! takes every fault with it, and is dropped: the folder may be in memory, where fsync costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::kernel::Before;
use crate::experiment::wanted::{Absence, Run};

/// A file larger than this is not one of ours.
const MAX_RECORD: u64 = 4 << 20;

/// What is known of one Injection on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The boot that this belongs to.
    pub boot: String,
    /// The Injection's UID.
    pub uid: String,
    /// The number of the run.
    pub run: u32,
    /// When the run was first injected, in nanoseconds of `CLOCK_BOOTTIME`; negative if before this boot.
    pub started: Option<i64>,
    /// Why the run is over.
    pub ended: Option<Absence>,
    /// How often the run was interrupted.
    pub interruptions: u32,
    /// What was on each pod's network before, by pod UID.
    pub before: BTreeMap<String, Before>,
    /// Ids of the containers that were about to be killed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub killed: BTreeSet<String>,
}

impl Record {
    /// The run, as `wanted` reads it.
    pub fn as_run(&self) -> Run {
        Run { number: self.run, started: self.started.map(SignedDuration::from_nanos), ended: self.ended }
    }
}

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct JournalError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The records of this node.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    boot: String,
    records: BTreeMap<String, Record>,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if it is missing. Records of another boot than `boot`
    /// and files that cannot be read are removed: neither says anything about this kernel.
    ///
    /// # Errors
    /// When the folder cannot be made or listed.
    pub fn open(folder: &Path, boot: &str) -> Result<Self, JournalError> {
        let failed = |operation| move |source| JournalError { operation, path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed("make the folder"))?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(failed("list"))? {
            let path = entry.map_err(failed("list"))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match (name.strip_suffix(".json"), read(&path)) {
                (Some(name), Ok(record)) if record.boot == boot => {
                    records.insert(name.to_owned(), record);
                }
                (_, outcome) => {
                    tracing::info!(path = %path.display(), unreadable = outcome.is_err(), "dropping a stale record");
                    fs::remove_file(&path).map_err(|source| JournalError {
                        operation: "remove",
                        path: path.clone(),
                        source,
                    })?;
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), boot: boot.to_owned(), records })
    }

    /// The boot that records are made for.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// The record of an Injection, by its name.
    pub fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// Names of all records.
    pub fn names(&self) -> Vec<String> {
        self.records.keys().cloned().collect()
    }

    /// Writes a record and waits until it is as safe as its folder can make it. A record that did not change costs nothing.
    ///
    /// # Errors
    /// When it may be lost; then the change must not be made.
    pub fn put(&mut self, name: &str, record: Record) -> Result<(), JournalError> {
        if self.records.get(name) == Some(&record) {
            return Ok(());
        }
        let path = self.folder.join(format!("{name}.json"));
        let failed = |operation| {
            let path = path.clone();
            move |source| JournalError { operation, path, source }
        };
        let text = serde_json::to_vec(&record).map_err(io::Error::from).map_err(failed("encode"))?;
        let draft = self.folder.join(format!("{name}.draft"));
        let mut file = File::create(&draft).map_err(failed("create"))?;
        file.write_all(&text).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))?;
        fs::rename(&draft, &path).map_err(failed("rename"))?;
        self.sync_folder().map_err(failed("sync the folder of"))?;
        self.records.insert(name.to_owned(), record);
        Ok(())
    }

    /// Removes a record.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&mut self, name: &str) -> Result<(), JournalError> {
        if self.records.remove(name).is_none() {
            return Ok(());
        }
        let path = self.folder.join(format!("{name}.json"));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError { operation: "remove", path, source })
            }
            _ => self.sync_folder().map_err(|source| JournalError {
                operation: "sync the folder of",
                path,
                source,
            }),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Record> {
    if fs::metadata(path)?.len() > MAX_RECORD {
        return Err(io::Error::other("too large"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(boot: &str, run: u32) -> Record {
        Record {
            boot: boot.into(),
            uid: "u".into(),
            run,
            started: Some(5),
            ended: Some(Absence::Halted),
            interruptions: 1,
            before: BTreeMap::new(),
            killed: BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_put_is_found_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("new/folder"), "boot").unwrap();
        journal.put("one", record("boot", 1)).unwrap();
        journal.put("two", record("boot", 2)).unwrap();
        journal.put("two", record("boot", 3)).unwrap();
        journal.remove("one").unwrap();
        journal.remove("never there").unwrap();
        drop(journal);
        let journal = Journal::open(&folder.path().join("new/folder"), "boot").unwrap();
        assert_eq!(journal.names(), ["two"]);
        assert_eq!(journal.get("two"), Some(&record("boot", 3)));
    }

    #[test]
    fn other_boots_torn_files_and_drafts_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), "old").unwrap();
        journal.put("one", record("old", 1)).unwrap();
        fs::write(folder.path().join("torn.json"), b"{\"boot\": \"new").unwrap();
        fs::write(folder.path().join("two.draft"), b"{}").unwrap();
        let journal = Journal::open(folder.path(), "new").unwrap();
        assert!(journal.names().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing of the past is left");
    }
}
