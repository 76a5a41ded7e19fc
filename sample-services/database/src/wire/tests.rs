//! Frames: what is understood, what is refused, and that nothing panics.

use bson::{doc, rawdoc};
use proptest::prelude::*;

use super::*;

fn body(document: &RawDocumentBuf) -> Vec<u8> {
    [&[0], document.as_bytes()].concat()
}

fn sequence(name: &str, documents: &[RawDocumentBuf]) -> Vec<u8> {
    let mut content = [name.as_bytes(), &[0]].concat();
    for document in documents {
        content.extend_from_slice(document.as_bytes());
    }
    let size = u32::try_from(content.len() + 4).unwrap().to_le_bytes();
    [&[1], size.as_slice(), &content].concat()
}

fn message(flags: u32, sections: &[Vec<u8>]) -> Vec<u8> {
    [flags.to_le_bytes().as_slice(), &sections.concat()].concat()
}

fn insert() -> Vec<u8> {
    let documents = [rawdoc! { "_id": 1 }, rawdoc! { "_id": 2, "deep": { "er": [1, { "a": "b" }] } }];
    message(0, &[body(&rawdoc! { "insert": "movies", "$db": "dev" }), sequence("documents", &documents)])
}

fn nested(depth: usize) -> RawDocumentBuf {
    (1..depth).fold(rawdoc! {}, |inner, _| rawdoc! { "a": inner })
}

#[test]
fn a_message_with_a_sequence() {
    let request = Request::parse(7, OP_MSG, &insert()).unwrap();
    assert_eq!(request.body, doc! { "insert": "movies", "$db": "dev" });
    assert_eq!(request.sequences.len(), 1);
    assert_eq!((request.sequences[0].0.as_str(), request.sequences[0].1.len()), ("documents", 2));
    assert_eq!((request.id, request.form), (7, Form::Message));
}

#[test]
fn flags() {
    let ping = body(&rawdoc! { "ping": 1, "$db": "admin" });
    let parse = |flags: u32| Request::parse(1, OP_MSG, &message(flags, std::slice::from_ref(&ping)));
    assert_eq!(parse(MORE_TO_COME).unwrap().form, Form::NoReply);
    // exhaustAllowed and unknown optional flags
    assert_eq!(parse(1 << 16).unwrap().form, Form::Message);
    assert_eq!(parse(1 << 30).unwrap().form, Form::Message);
    assert!(matches!(parse(1 << 2), Err(WireError::Flags(4))));
}

#[test]
fn checksum() {
    let mut payload = message(CHECKSUM_PRESENT, &[body(&rawdoc! { "ping": 1, "$db": "admin" })]);
    let length = HEADER + payload.len() + 4;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header(length, 9, 0, OP_MSG)), &payload);
    payload.extend(crc.to_le_bytes());
    assert_eq!(Request::parse(9, OP_MSG, &payload).unwrap().body.get_i32("ping").unwrap(), 1);
    *payload.last_mut().unwrap() ^= 1;
    assert!(matches!(Request::parse(9, OP_MSG, &payload), Err(WireError::Checksum)));
}

#[test]
fn refusals() {
    let ping = body(&rawdoc! { "ping": 1 });
    let longer_than_the_message = [&[1], i32::MAX.to_le_bytes().as_slice(), b"documents\0"].concat();
    let negative_document = [&[0], (-1_i32).to_le_bytes().as_slice()].concat();
    let cases: [(&str, i32, Vec<u8>, &str); 11] = [
        ("nothing", OP_MSG, vec![], "ends early"),
        ("no body", OP_MSG, message(0, &[sequence("documents", &[])]), "one body"),
        ("two bodies", OP_MSG, message(0, &[ping.clone(), ping.clone()]), "one body"),
        ("section of kind 2", OP_MSG, message(0, &[ping.clone(), vec![2, 0, 0]]), "kind 2"),
        (
            "sequence beyond the end",
            OP_MSG,
            message(0, &[ping.clone(), longer_than_the_message]),
            "ends early",
        ),
        ("sequence of size 3", OP_MSG, message(0, &[ping.clone(), vec![1, 3, 0, 0, 0]]), "ends early"),
        ("document of negative size", OP_MSG, message(0, &[negative_document]), "ends early"),
        ("too deep", OP_MSG, message(0, &[body(&nested(MAX_DEPTH + 1))]), "200 deep"),
        ("query without end of name", OP_QUERY, vec![0, 0, 0, 0, b'a'], "no end"),
        (
            "query without document",
            OP_QUERY,
            [[0; 4].as_slice(), b"a.$cmd\0", &[0; 8]].concat(),
            "ends early",
        ),
        ("compressed", 2012, vec![0; 64], "operation code 2012"),
    ];
    for (what, operation, payload, message) in cases {
        let error = Request::parse(1, operation, &payload).expect_err(what).to_string();
        assert!(error.contains(message), "{what}: {error}");
    }
    assert!(Request::parse(1, OP_MSG, &message(0, &[body(&nested(MAX_DEPTH))])).is_ok());
}

#[test]
fn replies_answer_their_request() {
    let document = rawdoc! { "ok": 1.0 };
    let request = |form| Request { id: 77, body: doc! {}, sequences: vec![], form };
    let bytes = reply(&request(Form::Message), 5, &document).unwrap();
    let prefix = [38, 0, 0, 0, 5, 0, 0, 0, 77, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes, [prefix.as_slice(), document.as_bytes()].concat());
    let bytes = reply(&request(Form::Query("admin.$cmd".into())), 5, &document).unwrap();
    let prefix = [
        53, 0, 0, 0, 5, 0, 0, 0, 77, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0, 0, 0,
    ];
    assert_eq!(bytes, [prefix.as_slice(), document.as_bytes()].concat());
    assert_eq!(reply(&request(Form::NoReply), 5, &document), None);
}

fn read_all(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { read(&mut &*bytes).await })
}

#[test]
fn lengths_in_headers() {
    let with_length = |length: i32| {
        let mut bytes = header(0, 3, 0, OP_MSG).to_vec();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes.extend([1, 2, 3]);
        bytes
    };
    for length in [i32::MIN, -1, 0, 15, 48_000_001, i32::MAX] {
        assert!(matches!(read_all(&with_length(length)), Err(WireError::Length(have)) if have == length));
    }
    let whole = read_all(&with_length(19)).unwrap();
    assert!(matches!(whole, Some(Frame::Message { request_id: 3, payload, .. }) if payload == [1, 2, 3]));
    for gone in [&with_length(48_000_000), &with_length(20), &vec![1, 2], &vec![]] {
        assert!(read_all(gone).unwrap().is_none(), "{gone:?}");
    }
    assert!(matches!(read_all(b"GET / HTTP/1.1\r\nHost: mongo\r\n\r\n"), Ok(Some(Frame::Http))));
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_an_error(
        operation in prop_oneof![Just(OP_MSG), Just(OP_QUERY), any::<i32>()],
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _outcome = Request::parse(1, operation, &payload);
    }

    #[test]
    fn a_damaged_request_is_a_request_or_an_error(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = insert();
        for (index, byte) in changes {
            let index = index.index(payload.len());
            payload[index] = byte;
        }
        payload.truncate(cut.index(payload.len()) + 1);
        let _outcome = Request::parse(1, OP_MSG, &payload);
    }

    /// Every kind of value, damaged: the readers of single values are the BSON crate's.
    #[test]
    fn damaged_values_are_values_or_errors(
        kind in 0_u8..=255,
        value in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let length = u32::try_from(4 + 1 + 2 + value.len() + 1).unwrap().to_le_bytes();
        let document = [length.as_slice(), &[kind], b"a\0", &value, &[0]].concat();
        let _outcome = Request::parse(1, OP_MSG, &[&[0; 5], document.as_slice()].concat());
    }
}
