//! The official Rust driver against the database, over loopback.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::Running;
use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::{Client, Collection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn collection(database: &Running) -> Collection<Document> {
    let uri = format!("mongodb://{}/?serverSelectionTimeoutMS=2000", database.address);
    Client::with_uri_str(uri).await.unwrap().database("dev").collection("movies")
}

async fn start() -> Running {
    Running::start(tempfile::tempdir().unwrap()).await
}

#[tokio::test]
async fn insert_find_and_count() {
    let database = start().await;
    let films = collection(&database).await;
    let many: Vec<Document> = (0..250).map(|n| doc! { "_id": n, "year": 1900 + n % 100 }).collect();
    assert_eq!(films.insert_many(&many).await.unwrap().inserted_ids.len(), 250);
    let all: Vec<Document> = films.find(doc! {}).batch_size(70).await.unwrap().try_collect().await.unwrap();
    assert_eq!(all, many);
    assert_eq!(films.find_one(doc! { "_id": 9 }).await.unwrap(), Some(many[9].clone()));
    assert_eq!(films.find_one(doc! { "_id": 999 }).await.unwrap(), None);
    assert_eq!(films.count_documents(doc! { "year": 1920 }).await.unwrap(), 3);
    assert_eq!(films.count_documents(doc! { "year": 1 }).await.unwrap(), 0);
    assert_eq!(films.estimated_document_count().await.unwrap(), 250);
}

#[tokio::test]
async fn errors_reach_the_driver_as_its_own_kinds() {
    let database = start().await;
    let films = collection(&database).await;
    films.insert_one(doc! { "_id": 1 }).await.unwrap();
    let duplicate = films.insert_one(doc! { "_id": 1 }).await.unwrap_err();
    assert!(duplicate.to_string().contains("E11000"), "{duplicate}");
    let many =
        films.insert_many([doc! { "_id": 2 }, doc! { "_id": 1 }, doc! { "_id": 3 }]).ordered(false).await;
    let ErrorKind::InsertMany(failure) = *many.unwrap_err().kind else { panic!("not an insert error") };
    let failed: Vec<(usize, i32)> =
        failure.write_errors.unwrap().iter().map(|error| (error.index, error.code)).collect();
    assert_eq!(failed, [(1, 11000)]);
    assert_eq!(films.estimated_document_count().await.unwrap(), 3);
    let unknown = films.delete_one(doc! {}).await.unwrap_err();
    assert!(matches!(*unknown.kind, ErrorKind::Command(ref error) if error.code == 59), "{unknown}");
}

#[tokio::test]
async fn data_outlives_the_process_and_the_driver_reconnects() {
    let database = start().await;
    collection(&database).await.insert_one(doc! { "_id": 1, "title": "Alien" }).await.unwrap();
    let folder = database.stop().await;
    let database = Running::start(folder).await;
    let found = collection(&database).await.find_one(doc! { "title": "Alien" }).await.unwrap();
    assert_eq!(found.unwrap().get_i32("_id").unwrap(), 1);
}

#[tokio::test]
async fn sessions_end() {
    let database = start().await;
    let films = collection(&database).await;
    let mut session = films.client().start_session().await.unwrap();
    films.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    drop(session);
    // Sends endSessions.
    films.client().clone().shutdown().await;
}

#[tokio::test]
async fn http_is_told_where_it_is() {
    let database = start().await;
    let mut stream = TcpStream::connect(database.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: mongo:27017\r\nAccept: */*\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    let sentence = "It looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n";
    assert_eq!(body, sentence);
}

#[tokio::test]
async fn a_peer_that_talks_nonsense_loses_its_connection_and_no_other() {
    let database = start().await;
    let films = collection(&database).await;
    films.insert_one(doc! { "_id": 1 }).await.unwrap();
    for nonsense in [&[0xff_u8; 64][..], &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0]] {
        let mut stream = TcpStream::connect(database.address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        // An error is a reset: bytes were left unread.
        let read = closed.expect("the connection is still open").unwrap_or(0);
        assert_eq!(read, 0, "{answer:?}");
    }
    assert_eq!(films.estimated_document_count().await.unwrap(), 1);
}
