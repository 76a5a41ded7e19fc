//! `insert`.

use bson::raw::RawArrayBuf;
use bson::{Bson, RawDocumentBuf, rawdoc};

use super::handshake::MAX_BATCH;
use super::{Command, Reply};
use crate::fault::Fault;
use crate::store::Store;

/// Saves documents, which come beside the command or inside it.
pub(super) fn insert(
    store: &Store,
    command: &Command<'_>,
    sequences: &mut Vec<(String, Vec<RawDocumentBuf>)>,
) -> Reply {
    command.allow(&["documents", "ordered", "bypassDocumentValidation"])?;
    let namespace = command.namespace()?;
    let ordered = command.flag("ordered")?.unwrap_or(true);
    let documents = match sequences.iter().position(|(name, _)| name == "documents") {
        Some(index) => sequences.swap_remove(index).1,
        None => inline_documents(command)?,
    };
    if !(1..=MAX_BATCH).contains(&documents.len()) {
        let message = format!(
            "Write batch sizes must be between 1 and {MAX_BATCH}. Got {} operations.",
            documents.len()
        );
        return Err(Fault::invalid_length(message));
    }
    let inserted = store.insert(&namespace, documents, ordered)?;
    let count = i32::try_from(inserted.count).unwrap_or(i32::MAX);
    if inserted.failed.is_empty() {
        return Ok(rawdoc! { "n": count, "ok": 1.0 });
    }
    let mut errors = RawArrayBuf::new();
    for (index, fault) in &inserted.failed {
        let index = i32::try_from(*index).unwrap_or(i32::MAX);
        errors.push(rawdoc! { "index": index, "code": fault.code, "errmsg": fault.message.as_str() });
    }
    Ok(rawdoc! { "n": count, "writeErrors": errors, "ok": 1.0 })
}

fn inline_documents(command: &Command<'_>) -> Result<Vec<RawDocumentBuf>, Fault> {
    let Some(documents) = command.body.get("documents") else {
        let message = "BSON field 'insert.documents' is missing but a required field";
        return Err(Fault::missing_field(message));
    };
    let wrong = || Fault::type_mismatch("the field 'insert.documents' must be an array of objects");
    let Bson::Array(documents) = documents else { return Err(wrong()) };
    let raw = |document: &Bson| match document {
        Bson::Document(document) => {
            RawDocumentBuf::try_from(document).map_err(|error| Fault::bad_value(error.to_string()))
        }
        _ => Err(wrong()),
    };
    documents.iter().map(raw).collect()
}
