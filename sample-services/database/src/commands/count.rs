//! `count`, and the one `aggregate` that drivers send to count documents.

use bson::{Bson, Document, RawDocumentBuf, doc, rawdoc};

use super::{Command, Reply, whole};
use crate::fault::Fault;
use crate::store::Store;
use crate::value::Filter;

/// What to count.
#[derive(Default)]
struct Counting {
    filter: Filter,
    skip: usize,
    limit: Option<usize>,
}

impl Counting {
    fn run(&self, store: &Store, namespace: &str) -> i32 {
        let limit = self.limit.unwrap_or(usize::MAX).saturating_add(self.skip);
        let mut seen = 0;
        store.scan(namespace, &self.filter, 0..store.len(namespace), |_, _| {
            seen += 1;
            seen < limit
        });
        i32::try_from(seen.saturating_sub(self.skip)).unwrap_or(i32::MAX)
    }
}

/// `count`, which drivers send for an estimate.
pub(super) fn count(store: &Store, command: &Command<'_>) -> Reply {
    command.allow(&["query", "limit", "skip"])?;
    let counting = Counting {
        filter: command.document("query")?.map(Filter::parse).transpose()?.unwrap_or_default(),
        skip: command.natural("skip")?.unwrap_or(0),
        limit: command.natural("limit")?.filter(|limit| *limit > 0),
    };
    Ok(rawdoc! { "n": counting.run(store, &command.namespace()?), "ok": 1.0 })
}

/// `[{$match}, {$skip}, {$limit}, {$group: {_id: …, n: {$sum: 1}}}]`, the first three optional: what drivers
/// send for `count_documents`. No document comes out where none went in, as `$group` has it.
pub(super) fn aggregate(store: &Store, command: &Command<'_>) -> Reply {
    command.allow(&["pipeline", "cursor"])?;
    let namespace = command.namespace()?;
    let Some(Bson::Array(pipeline)) = command.body.get("pipeline") else {
        return Err(Fault::type_mismatch("'pipeline' option must be specified as an array"));
    };
    let (counting, id) = parse(pipeline)?;
    let n = counting.run(store, &namespace);
    let mut batch = Vec::new();
    if n > 0 {
        let group = doc! { "_id": id, "n": n };
        batch.push(RawDocumentBuf::try_from(&group).map_err(|error| Fault::bad_value(error.to_string()))?);
    }
    let batch: bson::RawArrayBuf = batch.into_iter().collect();
    Ok(rawdoc! { "cursor": { "firstBatch": batch, "id": 0_i64, "ns": namespace }, "ok": 1.0 })
}

/// What the pipeline counts and the `_id` that it gives to the result.
fn parse(pipeline: &[Bson]) -> Result<(Counting, Bson), Fault> {
    let mut counting = Counting::default();
    let mut stages = Vec::new();
    for stage in pipeline {
        let Bson::Document(stage) = stage else {
            return Err(Fault::type_mismatch("Each element of the 'pipeline' array must be an object"));
        };
        stages.push(stage);
    }
    let Some((group, before)) = stages.split_last() else { return Err(only_counts()) };
    let mut last_rank = 0;
    for stage in before {
        let (rank, name) = match stage.keys().next().map(String::as_str) {
            Some(name @ "$match") => (1, name),
            Some(name @ "$skip") => (2, name),
            Some(name @ "$limit") => (3, name),
            _ => return Err(only_counts()),
        };
        // Another order would count something else.
        if rank <= last_rank || stage.len() != 1 {
            return Err(only_counts());
        }
        last_rank = rank;
        match (name, stage.get(name)) {
            ("$match", Some(Bson::Document(filter))) => counting.filter = Filter::parse(filter)?,
            ("$skip", Some(number)) => counting.skip = natural(name, number)?,
            ("$limit", Some(number)) => counting.limit = Some(natural(name, number)?),
            _ => return Err(only_counts()),
        }
    }
    group_id(group).map(|id| (counting, id))
}

fn group_id(stage: &Document) -> Result<Bson, Fault> {
    let group = match stage.get("$group") {
        Some(Bson::Document(group)) if stage.len() == 1 && group.len() == 2 => group,
        _ => return Err(only_counts()),
    };
    let sums_ones = match group.get("n") {
        Some(Bson::Document(n)) => n.len() == 1 && n.get("$sum").and_then(whole) == Some(1),
        _ => false,
    };
    match group.get("_id") {
        Some(id @ (Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Null)) if sums_ones => {
            Ok(id.clone())
        }
        _ => Err(only_counts()),
    }
}

fn natural(stage: &str, number: &Bson) -> Result<usize, Fault> {
    let number = whole(number).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| Fault::bad_value(format!("{stage} needs a whole number that is not negative")))
}

fn only_counts() -> Fault {
    Fault::not_implemented(
        "aggregate: this database only counts: $match, $skip, $limit, then $group with n: {$sum: 1}",
    )
}
