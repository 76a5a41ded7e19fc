//! What is about the in-memory server alone: its bounds, its latency, the runtime of kube on top of it, and reaching pods.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::client::Body;
use kube::runtime::events::{Event as Note, EventType, Recorder};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, reflector, watcher as watch};
use serde_json::{Value, json};
use squall::apiserver::{ApiServer, Config, Limits};
use squall::client::over_unix;

use crate::server::{Socket, config, start};
use crate::step::Lines;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A watch of kube's runtime that ends after a second and starts again.
fn restless() -> watcher::Config {
    watcher::Config { timeout: Some(1), ..watcher::Config::default() }
}

fn small_history() -> Config {
    let mut config = config();
    config.limits = Limits { history_events: 2, ..Limits::default() };
    config
}

fn config_maps(client: &kube::Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

async fn create(api: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    api.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await.unwrap()
}

async fn send(client: &kube::Client, method: &str, path: &str, body: &str) -> (u16, String) {
    let request =
        Request::builder().method(method).uri(path).body(Body::from(body.as_bytes().to_vec())).unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    (code, String::from_utf8(response.into_body().collect_bytes().await.unwrap().to_vec()).unwrap())
}

async fn open(client: &kube::Client, path: &str) -> Lines {
    let response = client.send(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    Lines { body: response.into_body(), rest: Vec::new() }
}

/// `INIT` to `DONE` with the names between, then single events, as one word each.
async fn words(
    events: &mut (impl futures::Stream<Item = watcher::Result<Event<ConfigMap>>> + Unpin),
    n: usize,
) -> Vec<String> {
    let name = |object: ConfigMap| object.metadata.name.unwrap();
    let word = |event| match event {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitApply(object)) => format!("={}", name(object)),
        Ok(Event::InitDone) => "done".to_owned(),
        Ok(Event::Apply(object)) => format!("+{}", name(object)),
        Ok(Event::Delete(object)) => format!("-{}", name(object)),
        Err(watcher::Error::WatchError(status)) => format!("{} {}", status.code, status.reason),
        Err(error) => error.to_string(),
    };
    let wanted = events.take(n).map(word).collect();
    tokio::time::timeout(Duration::from_secs(15), wanted).await.expect("the watcher stopped giving events")
}

#[tokio::test]
async fn the_watcher_of_kube_follows_and_a_reflector_holds_the_same() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let socket = Socket::serve(start());
        let api = config_maps(&over_unix(&socket.path, "default"));
        create(&api, "a").await;
        let (reader, writer) = reflector::store();
        let mut events = watch(api.clone(), config).reflect(writer).boxed();
        assert_eq!(words(&mut events, 3).await, ["init", "=a", "done"]);
        create(&api, "b").await;
        api.delete("a", &kube::api::DeleteParams::default()).await.unwrap();
        assert_eq!(words(&mut events, 2).await, ["+b", "-a"]);
        let held: Vec<_> =
            reader.state().iter().map(|object| object.metadata.name.clone().unwrap()).collect();
        assert_eq!(held, ["b"]);
    }
}

#[tokio::test]
async fn a_watch_that_history_left_behind_lists_again() {
    let client = ApiServer::new(small_history()).client("default");
    let api = config_maps(&client);
    let blind = restless().fields("metadata.name=later").disable_bookmarks();
    let mut events = watch(api.clone(), blind).boxed();
    assert_eq!(words(&mut events, 2).await, ["init", "done"]);
    // The watch sees none of these; when it resumes, its version is older than the history of two.
    let mut rest = events.by_ref().take(3).boxed();
    let relist = async { words(&mut rest, 3).await };
    let writes = async {
        for name in ["one", "two", "three", "four"] {
            create(&api, name).await;
        }
    };
    let (words, ()) = tokio::join!(relist, writes);
    assert_eq!(words, ["410 Expired", "init", "done"]);
}

#[tokio::test]
async fn bookmarks_keep_a_watch_within_history() {
    let client = ApiServer::new(small_history()).client("default");
    let api = config_maps(&client);
    let mut events = watch(api.clone(), restless().fields("metadata.name=later")).boxed();
    assert_eq!(words(&mut events, 2).await, ["init", "done"]);
    let next = async { words(&mut events, 1).await };
    let writes = async {
        for name in ["one", "two", "three", "four"] {
            create(&api, name).await;
        }
        // Longer than the watch's timeout: it has been resumed from its last bookmark.
        tokio::time::sleep(Duration::from_millis(1300)).await;
        create(&api, "later").await;
    };
    assert_eq!(tokio::join!(next, writes).0, ["+later"]);
}

#[tokio::test]
async fn a_bookmark_names_the_newest_version() {
    let mut config = config();
    config.bookmark_interval = Duration::from_millis(20);
    let client = ApiServer::new(config).client("default");
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=5&fieldSelector=metadata.name%3Dnone");
    let mut with = open(&client, &format!("{path}&allowWatchBookmarks=true")).await;
    let mut without = open(&client, &path).await;
    let created = create(&config_maps(&client), "other").await;
    let bookmark = with.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], json!(created.metadata.resource_version));
    assert_eq!(without.next().now_or_never(), None, "a watch that does not allow bookmarks got one");
}

#[tokio::test]
async fn an_event_waits_when_its_write_is_answered() {
    let client = start().client("default");
    let mut lines = open(&client, &format!("{CONFIG_MAPS}?watch=true")).await;
    for name in ["a", "b", "c"] {
        create(&config_maps(&client), name).await;
        let event = lines.next().now_or_never().flatten().expect("the event was not there yet");
        assert_eq!(event["object"]["metadata"]["name"], name);
    }
}

#[tokio::test]
async fn a_watch_that_is_not_read_ends_and_resumes_without_loss() {
    let mut config = config();
    config.limits.watch_queue = 4;
    let client = ApiServer::new(config).client("default");
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=5");
    let mut lines = open(&client, &path).await;
    for number in 10..30 {
        create(&config_maps(&client), &format!("n{number}")).await;
    }
    let mut seen = Vec::new();
    while let Some(event) = lines.next().await {
        seen.push(event["object"]["metadata"].clone());
    }
    assert_eq!(seen.len(), 4, "more waited than the queue may hold");
    let last = seen.last().unwrap()["resourceVersion"].as_str().unwrap();
    let mut lines = open(&client, &format!("{path}&resourceVersion={last}")).await;
    while seen.len() < 20 {
        seen.push(lines.next().await.unwrap()["object"]["metadata"].clone());
    }
    let names: Vec<_> = seen.iter().map(|metadata| metadata["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (10..30).map(|number| format!("n{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_version_of_another_server_is_expired() {
    let client = start().client("default");
    let (code, body) = send(&client, "GET", CONFIG_MAPS, "").await;
    let version: u64 = serde_json::from_str::<Value>(&body).unwrap()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(code, 200);
    for other in [version - 1000, version + 1000] {
        let mut lines =
            open(&client, &format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=5&resourceVersion={other}"))
                .await;
        let event = lines.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
        assert_eq!(lines.next().await, None);
    }
    create(&config_maps(&client), "new").await;
    let exact = format!("{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion={version}");
    let (code, body) = send(&client, "GET", &exact, "").await;
    assert_eq!(code, 410, "{body}");
    assert!(body.contains(r#""reason":"Expired""#), "{body}");
}

#[tokio::test]
async fn concurrent_writers_lose_no_update() {
    let client = start().client("default");
    let api = config_maps(&client);
    create(&api, "counter").await;
    let add = |writer: usize| {
        let api = api.clone();
        async move {
            loop {
                let mut object = api.get("counter").await.unwrap();
                object.data.get_or_insert_default().insert(format!("w{writer}"), "done".to_owned());
                match api.replace("counter", &PostParams::default(), &object).await {
                    Ok(_) => break,
                    Err(kube::Error::Api(status)) if status.is_conflict() => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    futures::future::join_all((0..20).map(|writer| tokio::spawn(add(writer)))).await;
    assert_eq!(api.get("counter").await.unwrap().data.unwrap().len(), 20);
}

#[tokio::test]
async fn a_deleted_namespace_empties_itself_and_waits_for_finalizers() {
    let client = start().client("default");
    let inside = "/api/v1/namespaces/gone/configmaps";
    send(&client, "POST", "/api/v1/namespaces", r#"{"metadata":{"name":"gone"}}"#).await;
    send(&client, "POST", inside, r#"{"metadata":{"name":"free"}}"#).await;
    send(&client, "POST", inside, r#"{"metadata":{"name":"held","finalizers":["squall.dev/test"]}}"#).await;
    assert_eq!(send(&client, "DELETE", "/api/v1/namespaces/gone", "").await.0, 200);
    assert_eq!(send(&client, "GET", &format!("{inside}/free"), "").await.0, 404);
    assert_eq!(send(&client, "GET", "/api/v1/namespaces/gone", "").await.0, 200);
    let (code, body) =
        send(&client, "PUT", &format!("{inside}/held"), r#"{"metadata":{"name":"held"}}"#).await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(send(&client, "GET", "/api/v1/namespaces/gone", "").await.0, 404);
}

#[tokio::test]
async fn the_recorder_of_kube_writes_events_and_the_oldest_make_room() {
    let mut config = config();
    config.max_events = 3;
    let client = ApiServer::new(config).client("default");
    let recorder = Recorder::new(client.clone(), "contract".into());
    let regarding = k8s_openapi::api::core::v1::ObjectReference {
        kind: Some("ConfigMap".into()),
        name: Some("a".into()),
        namespace: Some("default".into()),
        ..Default::default()
    };
    for number in 1..=5 {
        let note = Note {
            type_: EventType::Warning,
            reason: format!("Reason{number}"),
            note: None,
            action: "Test".into(),
            secondary: None,
        };
        recorder.publish(&note, &regarding).await.unwrap();
    }
    let (_, body) = send(&client, "GET", "/apis/events.k8s.io/v1/namespaces/default/events", "").await;
    let list: Value = serde_json::from_str(&body).unwrap();
    let reasons: BTreeSet<_> =
        list["items"].as_array().unwrap().iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, BTreeSet::from(["Reason3", "Reason4", "Reason5"]));
}

#[tokio::test]
async fn a_pod_is_bound_to_a_node_once() {
    let client = start().client("default");
    let pods = "/api/v1/namespaces/default/pods";
    send(&client, "POST", pods, r#"{"metadata":{"name":"a"},"spec":{"containers":[{"name":"main"}]}}"#).await;
    let bind = |node: &str| {
        let body = json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "main" }], "nodeName": node } });
        body.to_string()
    };
    let path = format!("{pods}/a");
    assert_eq!(send(&client, "PUT", &path, &bind("machine1")).await.0, 200);
    assert_eq!(send(&client, "PUT", &path, &bind("machine2")).await.0, 422);
}

#[tokio::test]
async fn pods_are_reached_through_their_node() {
    let socket = Socket::serve(start());
    let client = over_unix(&socket.path, "default");
    let pods = "/api/v1/namespaces/default/pods";
    for pod in ["server", "proxy"] {
        let body = json!({ "metadata": { "name": pod }, "spec": { "containers": [{ "name": "main" }] } });
        assert_eq!(send(&client, "POST", pods, &body.to_string()).await.0, 201);
    }
    for (method, path, body, code, said) in [
        (
            "GET",
            "server/proxy/metrics?a=b%20c",
            "",
            418,
            [r#""pod":"default/server""#, r#""uri":"/metrics?a=b%20c""#],
        ),
        ("GET", "server:8080/proxy", "", 418, [r#""port":8080"#, r#""uri":"/""#]),
        ("GET", "http:server:/proxy/", "", 418, [r#""port":null"#, r#""uri":"/""#]),
        ("POST", "proxy:80/proxy/proxy/x", "sent", 418, [r#""method":"POST""#, r#""uri":"/proxy/x""#]),
        ("PUT", "server:80/proxy/x", "sent", 418, [r#""body":"sent""#, r#""uri":"/x""#]),
        ("GET", "server:1/proxy/", "", 503, ["ServiceUnavailable", "does not answer on port 1"]),
        ("GET", "missing:80/proxy/", "", 404, ["NotFound", r#"pods \"missing\" not found"#]),
        ("GET", "server:port/proxy/", "", 404, ["NotFound", "could not find"]),
        ("GET", "server/log", "", 200, ["default/server/main tail None", "previous false"]),
        (
            "GET",
            "server/log?container=main&tailLines=7&previous=true",
            "",
            200,
            ["tail Some(7)", "previous true"],
        ),
        ("GET", "server/log?tailLines=many", "", 400, ["BadRequest", "tailLines"]),
        ("POST", "server/log", "", 405, ["MethodNotAllowed", "does not allow"]),
    ] {
        let (found, text) = send(&client, method, &format!("{pods}/{path}"), body).await;
        assert_eq!(found, code, "{method} {path}: {text}");
        for part in said {
            assert!(text.contains(part), "{method} {path}: {text}");
        }
    }
    let following = Request::get(format!("{pods}/server/log?follow=true")).body(Body::empty()).unwrap();
    let mut log = client.send(following).await.unwrap().into_body().into_data_stream();
    let first = tokio::time::timeout(Duration::from_secs(5), log.try_next()).await.expect("nothing came");
    assert!(first.unwrap().unwrap().starts_with(b"default/server/main"));
    assert!(log.next().now_or_never().is_none(), "a followed log ended");
}

#[tokio::test]
async fn a_socket_that_nobody_serves_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sock");
    let error = config_maps(&over_unix(&path, "default")).get("a").await.unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(error.to_string().contains("is the playground running?"), "{error}");
}

#[tokio::test]
async fn a_list_in_pages_is_whole_with_the_watch_that_follows_it() {
    let client = ApiServer::new(small_history()).client("default");
    let api = config_maps(&client);
    for name in ["a", "b", "c", "d"] {
        create(&api, name).await;
    }
    let names = |list: &kube::core::ObjectList<ConfigMap>| -> Vec<String> {
        list.items.iter().filter_map(|object| object.metadata.name.clone()).collect()
    };
    let pages = ListParams::default().limit(2);
    let first = api.list(&pages).await.unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    let token = first.metadata.continue_.clone().unwrap();
    create(&api, "aa").await;
    let second = api.list(&pages.clone().continue_token(&token)).await.unwrap();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second.metadata.continue_, None, "nothing follows");
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    let version = first.metadata.resource_version.unwrap();
    let mut lines = open(&client, &format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}")).await;
    assert_eq!(lines.next().await.unwrap()["object"]["metadata"]["name"], "aa", "it came between the pages");
    let (code, body) = send(&client, "GET", &format!("{CONFIG_MAPS}?limit=2&continue=x"), "").await;
    assert!(code == 400 && body.contains("continue key is not valid"), "{code} {body}");
    for name in ["e", "f"] {
        create(&api, name).await;
    }
    let late = api.list(&pages.continue_token(&token)).await;
    assert!(matches!(&late, Err(kube::Error::Api(status)) if status.code == 410), "{late:?}");
}

#[tokio::test]
async fn the_watcher_of_kube_reads_every_page() {
    let client = start().client("default");
    let api = config_maps(&client);
    for name in ["a", "b", "c"] {
        create(&api, name).await;
    }
    let mut events = watch(api.clone(), watcher::Config::default().page_size(2)).boxed();
    assert_eq!(words(&mut events, 5).await, ["init", "=a", "=b", "=c", "done"]);
}
