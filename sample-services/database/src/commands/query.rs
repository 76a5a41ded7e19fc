//! `find`, `getMore` and `killCursors`.

use bson::raw::RawArrayBuf;
use bson::{Bson, rawdoc};

use super::cursors::{Cursor, Cursors};
use super::{Command, Reply, whole};
use crate::fault::Fault;
use crate::store::{MAX_DOCUMENT, Store};
use crate::value::Filter;

/// Documents in the first batch when the client does not say (as in mongod).
const FIRST_BATCH: usize = 101;

/// Answers with the first batch, in the order of insertion.
pub(super) fn find(store: &Store, cursors: &Cursors, command: &Command<'_>) -> Reply {
    command.allow(&[
        "filter",
        "limit",
        "skip",
        "batchSize",
        "singleBatch",
        "noCursorTimeout",
        "allowDiskUse",
        "allowPartialResults",
    ])?;
    let namespace = command.namespace()?;
    let filter = command.document("filter")?.map(Filter::parse).transpose()?.unwrap_or_default();
    // A limit of 0 means none.
    let wanted = command.natural("limit")?.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let skip = command.natural("skip")?.unwrap_or(0);
    let batch_size = command.natural("batchSize")?.unwrap_or(FIRST_BATCH);
    let end = store.len(&namespace);
    let next = skipped(store, &namespace, &filter, skip, end);
    let mut cursor = Cursor { namespace, filter, next, end, wanted };
    let batch = next_batch(store, &mut cursor, batch_size);
    let single = command.flag("singleBatch")?.unwrap_or(false);
    let namespace = cursor.namespace.clone();
    let id = if single || finished(&cursor) { 0 } else { cursors.open(cursor) };
    Ok(rawdoc! { "cursor": { "firstBatch": batch, "id": id, "ns": namespace }, "ok": 1.0 })
}

/// The position after the first `skip` matching documents.
fn skipped(store: &Store, namespace: &str, filter: &Filter, skip: usize, end: usize) -> usize {
    if skip == 0 {
        return 0;
    }
    let (mut left, mut next) = (skip, end);
    store.scan(namespace, filter, 0..end, |position, _| {
        left -= 1;
        if left == 0 {
            next = position + 1;
        }
        left > 0
    });
    next
}

/// Goes on with a query.
pub(super) fn get_more(store: &Store, cursors: &Cursors, command: &Command<'_>) -> Reply {
    command.allow(&["collection", "batchSize"])?;
    let Bson::Int64(id) = command.subject else {
        return Err(Fault::type_mismatch("the field 'getMore.getMore' must be a long"));
    };
    let namespace = command.namespace_of(command.body.get("collection").unwrap_or(&Bson::Null))?;
    let batch_size = command.natural("batchSize")?.filter(|size| *size > 0).unwrap_or(usize::MAX);
    let not_found = || Fault::cursor_not_found(format!("cursor id {id} not found"));
    let mut cursor = cursors.take(*id).ok_or_else(not_found)?;
    if cursor.namespace != namespace {
        let message = format!(
            "Requested getMore on namespace '{namespace}', but cursor belongs to a different namespace {}",
            cursor.namespace
        );
        cursors.put_back(*id, cursor);
        return Err(Fault::unauthorized(message));
    }
    let batch = next_batch(store, &mut cursor, batch_size);
    let left = if finished(&cursor) {
        0
    } else {
        cursors.put_back(*id, cursor);
        *id
    };
    Ok(rawdoc! { "cursor": { "nextBatch": batch, "id": left, "ns": namespace }, "ok": 1.0 })
}

/// Closes cursors.
pub(super) fn kill_cursors(cursors: &Cursors, command: &Command<'_>) -> Reply {
    command.allow(&["cursors"])?;
    let wrong = || Fault::type_mismatch("the field 'killCursors.cursors' must be an array of longs");
    let Some(Bson::Array(ids)) = command.body.get("cursors") else { return Err(wrong()) };
    let (mut killed, mut not_found) = (RawArrayBuf::new(), RawArrayBuf::new());
    for id in ids {
        let id = whole(id).ok_or_else(wrong)?;
        if cursors.take(id).is_some() { killed.push(id) } else { not_found.push(id) }
    }
    Ok(rawdoc! {
        "cursorsKilled": killed,
        "cursorsNotFound": not_found,
        "cursorsAlive": [],
        "cursorsUnknown": [],
        "ok": 1.0,
    })
}

/// Takes the next documents: at most `size`, and at most what fits in one reply, but always one.
fn next_batch(store: &Store, cursor: &mut Cursor, size: usize) -> RawArrayBuf {
    let mut batch = RawArrayBuf::new();
    let (mut count, mut bytes) = (0, 0);
    let Cursor { namespace, filter, next, end, wanted } = cursor;
    let mut after = *end;
    if size == 0 {
        return batch;
    }
    store.scan(namespace, filter, *next..*end, |position, document| {
        let length = document.as_bytes().len();
        if count == size || (count > 0 && bytes + length > MAX_DOCUMENT) {
            after = position;
            return false;
        }
        batch.push(document.as_ref());
        count += 1;
        bytes += length;
        *wanted -= 1;
        *wanted > 0
    });
    *next = after;
    batch
}

fn finished(cursor: &Cursor) -> bool {
    cursor.wanted == 0 || cursor.next >= cursor.end
}
