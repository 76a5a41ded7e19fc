//! The documents: all of them in memory for reading, each insert on disk before it is acknowledged.
//!
//! Collections only grow: without update and delete, a document's position in its collection never changes,
//! and a cursor is a position.

mod log;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bson::oid::ObjectId;
use bson::raw::{RawDocument, cstr};
use bson::{RawBsonRef, RawDocumentBuf};

use crate::fault::Fault;
use crate::value::{Canonical, Filter};
use crate::wire::{MAX_DEPTH, validate};
use log::Log;

/// Longest document in bytes (`maxBsonObjectSize` of mongod).
pub(crate) const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// Why the data could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {operation} '{path}'")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another process has the data open.
    #[error("'{0}' is in use by another database: stop it or choose another --data-dir")]
    InUse(PathBuf),
    /// The file does not start as a log does.
    #[error("'{0}' is not this program's: choose another --data-dir")]
    NotALog(PathBuf),
    /// A frame before the last one is not as it was written.
    #[error("'{path}' is damaged at byte {offset}: restore it from a copy, or move it away to start empty")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged frame starts.
        offset: u64,
    },
}

/// All collections.
pub(crate) struct Store {
    collections: RwLock<HashMap<String, Collection>>,
    /// Held for the whole of an insert: inserts happen one after the other, and reads wait for none of it.
    log: Mutex<Log>,
    limit: u64,
}

#[derive(Default)]
struct Collection {
    documents: Vec<Arc<RawDocumentBuf>>,
    by_id: HashMap<Canonical, usize>,
}

impl Collection {
    fn push(&mut self, id: Canonical, document: Arc<RawDocumentBuf>) {
        self.by_id.insert(id, self.documents.len());
        self.documents.push(document);
    }
}

/// What an insert did.
#[derive(Debug, Default)]
pub(crate) struct Inserted {
    /// How many documents were saved.
    pub(crate) count: usize,
    /// The documents that were not, by their place in the request.
    pub(crate) failed: Vec<(usize, Fault)>,
}

impl Store {
    /// Opens or creates the data in `folder`; the log may grow to `limit` bytes.
    pub(crate) fn open(folder: &Path, limit: u64) -> Result<Self, StoreError> {
        let failed = |source| StoreError::File { operation: "create", path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let mut collections: HashMap<String, Collection> = HashMap::new();
        let log = Log::open(&folder.join("documents.log"), |payload| {
            let Some((namespace, documents)) = decode(payload) else { return false };
            let collection = collections.entry(namespace).or_default();
            documents.into_iter().all(|document| {
                let Some(id) = id_of(&document) else { return false };
                collection.push(id, Arc::new(document));
                true
            })
        })?;
        Ok(Self { collections: RwLock::new(collections), log: Mutex::new(log), limit })
    }

    /// Saves documents, durably. With `ordered` the first failure ends the insert.
    ///
    /// Blocks on the disk. An error means that nothing of this insert was saved.
    pub(crate) fn insert(
        &self,
        namespace: &str,
        documents: Vec<RawDocumentBuf>,
        ordered: bool,
    ) -> Result<Inserted, Fault> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inserted = Inserted::default();
        let mut accepted: Vec<(Canonical, RawDocumentBuf)> = Vec::new();
        {
            let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
            let known = collections.get(namespace).map(|collection| &collection.by_id);
            let mut new = std::collections::HashSet::new();
            for (index, document) in documents.into_iter().enumerate() {
                let checked = prepare(document).and_then(|(id, document)| {
                    if known.is_some_and(|known| known.contains_key(&id)) || !new.insert(id.clone()) {
                        return Err(duplicate(namespace, &document));
                    }
                    Ok((id, document))
                });
                match checked {
                    Ok(document) => accepted.push(document),
                    Err(fault) => {
                        inserted.failed.push((index, fault));
                        if ordered {
                            break;
                        }
                    }
                }
            }
        }
        if accepted.is_empty() {
            return Ok(inserted);
        }
        let payload = encode(namespace, accepted.iter().map(|(_, document)| document));
        if log.length_with(&payload) > self.limit {
            let limit = self.limit / (1024 * 1024);
            return Err(Fault::out_of_disk_space(format!("the data would exceed --max-size {limit} MiB")));
        }
        log.append(&payload).map_err(|error| Fault::internal(format!("cannot write to disk: {error}")))?;
        inserted.count = accepted.len();
        let mut collections = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        let collection = collections.entry(namespace.to_owned()).or_default();
        for (id, document) in accepted {
            collection.push(id, Arc::new(document));
        }
        Ok(inserted)
    }

    /// How many documents a collection holds; as a position, its end.
    pub(crate) fn len(&self, namespace: &str) -> usize {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections.get(namespace).map_or(0, |collection| collection.documents.len())
    }

    /// Shows `visit` the matching documents with their positions, as far as they are in `range`, until it
    /// answers false.
    pub(crate) fn scan(
        &self,
        namespace: &str,
        filter: &Filter,
        range: std::ops::Range<usize>,
        mut visit: impl FnMut(usize, &Arc<RawDocumentBuf>) -> bool,
    ) {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        let Some(collection) = collections.get(namespace) else { return };
        let range = match filter.id() {
            None => range,
            Some(id) => match collection.by_id.get(id) {
                Some(position) if range.contains(position) => *position..*position + 1,
                _ => return,
            },
        };
        let documents = collection.documents.iter().enumerate().take(range.end).skip(range.start);
        for (position, document) in documents {
            if filter.matches(document) && !visit(position, document) {
                return;
            }
        }
    }
}

/// Gives a document an `_id` as its first field if it has none, and checks what MongoDB checks.
fn prepare(document: RawDocumentBuf) -> Result<(Canonical, RawDocumentBuf), Fault> {
    let malformed = |error: bson::error::Error| Fault::bad_value(error.to_string());
    let document = match document.get("_id").map_err(malformed)? {
        None => {
            let mut with_id = RawDocumentBuf::new();
            with_id.append(cstr!("_id"), ObjectId::new());
            for element in &document {
                let (key, value) = element.map_err(malformed)?;
                with_id.append(key, value);
            }
            with_id
        }
        Some(RawBsonRef::Array(_)) => return Err(Fault::invalid_id_field("can't use an array for _id")),
        Some(RawBsonRef::RegularExpression(_)) => {
            return Err(Fault::invalid_id_field("can't use a regex for _id"));
        }
        Some(RawBsonRef::Undefined) => return Err(Fault::invalid_id_field("can't use a undefined for _id")),
        Some(_) => document,
    };
    let size = document.as_bytes().len();
    if size > MAX_DOCUMENT {
        let message = format!("object to insert too large. size in bytes: {size}, max size: {MAX_DOCUMENT}");
        return Err(Fault::object_too_large(message));
    }
    let id = id_of(&document).ok_or_else(|| Fault::bad_value("malformed _id"))?;
    Ok((id, document))
}

fn id_of(document: &RawDocument) -> Option<Canonical> {
    Canonical::of(document.get("_id").ok()??)
}

fn duplicate(namespace: &str, document: &RawDocument) -> Fault {
    let id = document.get("_id").ok().flatten().and_then(|id| bson::Bson::try_from(id).ok());
    let id = id.map_or_else(String::new, |id| id.to_string());
    Fault::duplicate_key(format!(
        "E11000 duplicate key error collection: {namespace} index: _id_ dup key: {{ _id: {id} }}"
    ))
}

/// The payload of a frame: the namespace, a zero byte, the documents.
fn encode<'a>(namespace: &str, documents: impl Iterator<Item = &'a RawDocumentBuf>) -> Vec<u8> {
    let mut payload = namespace.as_bytes().to_vec();
    payload.push(0);
    for document in documents {
        payload.extend_from_slice(document.as_bytes());
    }
    payload
}

fn decode(payload: &[u8]) -> Option<(String, Vec<RawDocumentBuf>)> {
    let zero = payload.iter().position(|byte| *byte == 0)?;
    let namespace = String::from_utf8(payload.get(..zero)?.to_vec()).ok()?;
    let mut rest = payload.get(zero + 1..)?;
    let mut documents = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(i32::from_le_bytes(*rest.first_chunk()?)).ok()?;
        let (document, after) = rest.split_at_checked(length)?;
        let document = RawDocument::from_bytes(document).ok()?;
        validate(document, MAX_DEPTH).ok()?;
        documents.push(document.to_owned());
        rest = after;
    }
    Some((namespace, documents))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    const LIMIT: u64 = 1024 * 1024;

    fn codes(inserted: &Inserted) -> Vec<(usize, i32)> {
        inserted.failed.iter().map(|(index, fault)| (*index, fault.code)).collect()
    }

    #[test]
    fn what_was_saved_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), LIMIT).unwrap();
        let films = vec![rawdoc! { "_id": 1, "title": "Alien" }, rawdoc! { "title": "Brazil" }];
        assert_eq!(store.insert("dev.movies", films, true).unwrap().count, 2);
        assert_eq!(store.insert("dev.other", vec![rawdoc! { "_id": 1 }], true).unwrap().count, 1);
        let all = |store: &Store| {
            let mut all = Vec::new();
            store.scan("dev.movies", &Filter::default(), 0..9, |_, document| {
                all.push(document.as_ref().clone());
                true
            });
            all
        };
        let before = all(&store);
        assert!(before[1].get_object_id("_id").is_ok(), "{before:?}");
        drop(store);
        let store = Store::open(folder.path(), LIMIT).unwrap();
        assert_eq!(all(&store), before);
        assert_eq!(store.len("dev.other"), 1);
        let again = store.insert("dev.movies", vec![rawdoc! { "_id": 1.0 }], true).unwrap();
        assert_eq!(codes(&again), [(0, 11000)]);
        assert!(again.failed[0].1.message.contains("dev.movies index: _id_"), "{again:?}");
    }

    #[test]
    fn ordered_inserts_stop_at_the_first_failure_and_unordered_ones_go_on() {
        let documents = || [1, 1, 2, 2, 3].map(|id| rawdoc! { "_id": id }).to_vec();
        for (ordered, count, failed) in
            [(true, 1, vec![(1, 11000)]), (false, 3, vec![(1, 11000), (3, 11000)])]
        {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path(), LIMIT).unwrap();
            let inserted = store.insert("a.b", documents(), ordered).unwrap();
            assert_eq!((inserted.count, codes(&inserted)), (count, failed), "ordered: {ordered}");
            assert_eq!(store.len("a.b"), count);
        }
    }

    #[test]
    fn refuses_what_mongod_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), LIMIT).unwrap();
        let cases = [(rawdoc! { "_id": [1] }, 53), (rawdoc! { "x": "x".repeat(MAX_DOCUMENT) }, 10334)];
        for (document, code) in cases {
            assert_eq!(codes(&store.insert("a.b", vec![document], true).unwrap()), [(0, code)]);
        }
        let fits = rawdoc! { "x": "x".repeat(600 * 1024) };
        assert_eq!(store.insert("a.b", vec![fits.clone()], true).unwrap().count, 1);
        assert_eq!(store.insert("a.b", vec![fits], true).unwrap_err().code, 14031);
        assert_eq!(store.len("a.b"), 1);
    }
}
