//! Commands without a network: replies and error codes.

use bson::{Document, doc};

use super::*;

struct Fixture {
    database: Database,
    _folder: tempfile::TempDir,
}

impl Fixture {
    /// Ten documents `{_id: 0…9, even: bool}` in `dev.numbers`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1024 * 1024).unwrap();
        let fixture = Self { database: Database::new(store), _folder: folder };
        let documents: Vec<Document> = (0..10).map(|n| doc! { "_id": n, "even": n % 2 == 0 }).collect();
        assert_eq!(
            fixture.send(doc! { "insert": "numbers", "documents": documents }).get_i32("n").unwrap(),
            10
        );
        fixture
    }

    fn send(&self, mut body: Document) -> Document {
        body.insert("$db", "dev");
        self.send_raw(body, Form::Message)
    }

    fn send_raw(&self, body: Document, form: Form) -> Document {
        let mut request = Request { id: 1, body, sequences: Vec::new(), form };
        Document::try_from(self.database.execute(&mut request, 3)).unwrap()
    }

    /// Sends a query and fetches all its batches: the ids of each.
    fn batches(&self, find: Document, batch_size: i32) -> Vec<Vec<i32>> {
        let collection = find.get_str("find").unwrap().to_owned();
        let mut reply = self.send(find);
        let mut batches = Vec::new();
        loop {
            assert!(reply.get_f64("ok").unwrap() > 0.0, "{reply}");
            let cursor = reply.get_document("cursor").unwrap();
            let field = if batches.is_empty() { "firstBatch" } else { "nextBatch" };
            let documents = cursor.get_array(field).unwrap();
            batches
                .push(documents.iter().map(|d| d.as_document().unwrap().get_i32("_id").unwrap()).collect());
            match cursor.get_i64("id").unwrap() {
                0 => return batches,
                id => {
                    let more = doc! { "getMore": id, "collection": &collection, "batchSize": batch_size };
                    reply = self.send(more);
                }
            }
        }
    }
}

#[test]
fn find_in_batches() {
    let fixture = Fixture::new();
    let all: Vec<i32> = (0..10).collect();
    let cases: [(Document, i32, Vec<Vec<i32>>); 9] = [
        (doc! { "find": "numbers" }, 0, vec![all.clone()]),
        (
            doc! { "find": "numbers", "batchSize": 4 },
            4,
            vec![all[..4].into(), all[4..8].into(), all[8..].into()],
        ),
        (doc! { "find": "numbers", "batchSize": 0 }, 0, vec![vec![], all.clone()]),
        (doc! { "find": "numbers", "batchSize": 3, "limit": 5 }, 3, vec![all[..3].into(), all[3..5].into()]),
        (doc! { "find": "numbers", "batchSize": 3, "singleBatch": true }, 0, vec![all[..3].into()]),
        (doc! { "find": "numbers", "filter": { "even": true }, "skip": 2, "limit": 2 }, 0, vec![vec![4, 6]]),
        (doc! { "find": "numbers", "filter": { "_id": 7.0 } }, 0, vec![vec![7]]),
        (doc! { "find": "numbers", "filter": { "_id": 7, "even": true } }, 0, vec![vec![]]),
        (doc! { "find": "nothing", "sort": {}, "skip": 1 }, 0, vec![vec![]]),
    ];
    for (find, batch_size, expected) in cases {
        assert_eq!(fixture.batches(find.clone(), batch_size), expected, "{find}");
    }
}

#[test]
fn a_cursor_does_not_see_what_came_later() {
    let fixture = Fixture::new();
    let reply = fixture.send(doc! { "find": "numbers", "batchSize": 9 });
    let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
    fixture.send(doc! { "insert": "numbers", "documents": [{ "_id": 10 }] });
    let more = fixture.send(doc! { "getMore": id, "collection": "numbers" });
    let cursor = more.get_document("cursor").unwrap();
    assert_eq!((cursor.get_array("nextBatch").unwrap().len(), cursor.get_i64("id").unwrap()), (1, 0));
}

#[test]
fn cursors_are_closed() {
    let fixture = Fixture::new();
    let reply = fixture.send(doc! { "find": "numbers", "batchSize": 1 });
    let id = reply.get_document("cursor").unwrap().get_i64("id").unwrap();
    let elsewhere = fixture.send(doc! { "getMore": id, "collection": "other" });
    assert_eq!(elsewhere.get_i32("code").unwrap(), 13, "{elsewhere}");
    let killed = fixture.send(doc! { "killCursors": "numbers", "cursors": [id, 999_i64] });
    assert_eq!(killed.get_array("cursorsKilled").unwrap(), &vec![Bson::Int64(id)]);
    assert_eq!(killed.get_array("cursorsNotFound").unwrap(), &vec![Bson::Int64(999)]);
    let gone = fixture.send(doc! { "getMore": id, "collection": "numbers" });
    assert_eq!((gone.get_i32("code").unwrap(), gone.get_str("codeName").unwrap()), (43, "CursorNotFound"));
}

#[test]
fn counting() {
    let fixture = Fixture::new();
    let pipeline = |stages: Vec<Document>| {
        let group = doc! { "$group": { "_id": 1, "n": { "$sum": 1 } } };
        doc! { "aggregate": "numbers", "cursor": {}, "pipeline": ([stages, vec![group]].concat()) }
    };
    let counts = [
        (doc! { "count": "numbers" }, 10),
        (doc! { "count": "numbers", "query": { "even": true } }, 5),
        (doc! { "count": "numbers", "skip": 7, "limit": 5 }, 3),
        (doc! { "count": "nothing" }, 0),
    ];
    for (command, n) in counts {
        assert_eq!(fixture.send(command.clone()).get_i32("n").unwrap(), n, "{command}");
    }
    let aggregates = [
        (vec![], Some(10)),
        (vec![doc! { "$match": { "even": false } }, doc! { "$skip": 1 }, doc! { "$limit": 3 }], Some(3)),
        (vec![doc! { "$match": { "even": 7 } }], None),
    ];
    for (stages, n) in aggregates {
        let reply = fixture.send(pipeline(stages.clone()));
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().clone();
        let expected: Vec<Bson> = n.iter().map(|n| doc! { "_id": 1, "n": n }.into()).collect();
        assert_eq!(batch, expected, "{stages:?}");
    }
}

#[test]
fn failures_have_the_codes_of_mongodb() {
    let fixture = Fixture::new();
    let cases = [
        (doc! { "dropDatabase": 1 }, 59, "CommandNotFound"),
        (doc! { "update": "numbers" }, 59, "CommandNotFound"),
        (doc! { "find": 1 }, 73, "InvalidNamespace"),
        (doc! { "find": "" }, 73, "InvalidNamespace"),
        (doc! { "find": "numbers", "filter": 1 }, 14, "TypeMismatch"),
        (doc! { "find": "numbers", "limit": "x" }, 14, "TypeMismatch"),
        (doc! { "find": "numbers", "limit": -1 }, 2, "BadValue"),
        (doc! { "find": "numbers", "sort": { "_id": 1 } }, 238, "NotImplemented"),
        (doc! { "find": "numbers", "filter": { "_id": { "$gt": 1 } } }, 238, "NotImplemented"),
        (doc! { "insert": "numbers" }, 40414, "IDLFailedToParse"),
        (doc! { "insert": "numbers", "documents": [] }, 16, "InvalidLength"),
        (doc! { "insert": "numbers", "documents": [1] }, 14, "TypeMismatch"),
        (doc! { "insert": "numbers", "documents": [{}], "txnNumber": 1_i64 }, 20, "IllegalOperation"),
        (doc! { "aggregate": "numbers", "pipeline": [{ "$sort": { "_id": 1 } }] }, 238, "NotImplemented"),
        (doc! { "aggregate": "numbers", "pipeline": [] }, 238, "NotImplemented"),
        (doc! { "getMore": 5_i64, "collection": "numbers" }, 43, "CursorNotFound"),
    ];
    for (command, code, name) in cases {
        let reply = fixture.send(command.clone());
        let have = (reply.get_f64("ok").unwrap(), reply.get_i32("code").ok(), reply.get_str("codeName").ok());
        assert_eq!(have, (0.0, Some(code), Some(name)), "{command}: {reply}");
        assert!(!reply.get_str("errmsg").unwrap().is_empty());
    }
    let without_database = fixture.send_raw(doc! { "ping": 1 }, Form::Message);
    assert_eq!(without_database.get_i32("code").unwrap(), 40571);
}

#[test]
fn old_handshakes() {
    let fixture = Fixture::new();
    let query = |namespace: &str, body| fixture.send_raw(body, Form::Query(namespace.to_owned()));
    let reply = query("admin.$cmd", doc! { "isMaster": 1, "helloOk": true });
    assert!(reply.get_bool("ismaster").unwrap() && reply.get_bool("helloOk").unwrap(), "{reply}");
    assert_eq!(reply.get_i32("connectionId").unwrap(), 3);
    for (namespace, body) in [("dev.movies", doc! {}), ("admin.$cmd", doc! { "ping": 1 })] {
        assert_eq!(query(namespace, body).get_i32("code").unwrap(), 352);
    }
}
