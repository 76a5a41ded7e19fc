//! The paths, with their exact JSON.

use crate::system::{System, request};
use serde_json::json;

const FILM: &str = r#"{"title": "The Sound of Music", "year": 1965}"#;

#[tokio::test]
async fn messages_name_the_host() {
    let system = System::start().await;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let cases = [
        ("/", format!("Welcome to Movies app! I am running inside {host} pod!")),
        ("/message1", format!("You've hit {host}. A very interesting message.")),
        ("/message2", format!("You've hit {host}. A second very interesting message.")),
        ("/message3", format!("You've hit {host}. A third very interesting message.")),
    ];
    for (path, message) in cases {
        assert_eq!(system.get(path).await, (200, json!({ "message": message })), "{path}");
    }
}

#[tokio::test]
async fn movies_are_saved_listed_and_found() {
    let system = System::start().await;
    assert_eq!(system.get("/movies").await, (200, json!({ "data": [] })));
    assert_eq!(system.post(FILM).await, (200, json!({ "message": "Movie saved successfully!" })));
    let (status, listing) = system.get("/movies").await;
    let film = listing["data"][0].clone();
    let id = film["id"].as_str().unwrap();
    assert_eq!((status, id.len()), (200, 24), "{listing}");
    assert_eq!(film, json!({ "id": id, "title": "The Sound of Music", "year": 1965 }));
    assert_eq!(system.get(&format!("/movies/{id}")).await, (200, json!({ "movie": film })));
}

#[tokio::test]
async fn a_listing_has_at_most_a_thousand_films() {
    let system = System::start().await;
    for batch in 0..51 {
        let posts = (0..20).map(|n| {
            let body = json!({ "title": format!("Part {batch}-{n}"), "year": 2000 }).to_string();
            async { system.post(&{ body }).await.0 }
        });
        assert_eq!(futures::future::join_all(posts).await, [200; 20]);
    }
    assert_eq!(system.get("/movies").await.1["data"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn failures_say_what_is_wrong() {
    let system = System::start().await;
    let get = |path| ("GET", path, "");
    let post = |body| ("POST", "/movies", body);
    let large = format!(r#"{{"title": "{}", "year": 1}}"#, "x".repeat(64 * 1024));
    let cases = [
        (get("/movies/61af299a39ce6818c2d6ab4a"), 404, "no movie has this id"),
        (get("/movies/xyz"), 404, "no movie has this id"),
        (get("/nowhere"), 404, "no such path"),
        (post("year=1965"), 400, "the body is not a movie"),
        (post(r#"{"title": "Alien"}"#), 400, "missing field `year`"),
        (post(r#"{"title": "Alien", "year": "1979"}"#), 400, "expected i32"),
        (post(r#"{"title": "Alien", "year": 99999999999}"#), 400, "expected i32"),
        (post(&large), 413, "length limit"),
    ];
    for ((method, path, body), status, error) in cases {
        let (have, answer) = request(system.server, method, path, body).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(have, status, "{method} {path}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn metrics_use_templates_and_one_label_for_unknown_paths() {
    let system = System::start().await;
    for path in ["/", "/movies/61af299a39ce6818c2d6ab4a", "/movies/xyz", "/a", "/b/c"] {
        system.get(path).await;
    }
    system.post("?").await;
    request(system.server, "BREW", "/", "").await;
    request(system.server, "GET", "/metrics", "").await;
    let (_, metrics) = request(system.server, "GET", "/metrics", "").await;
    let counts: Vec<&str> = metrics.lines().filter(|line| line.starts_with("http_requests_total{")).collect();
    let expected = [
        r#"http_requests_total{method="GET",path="/",status="200"} 1"#,
        r#"http_requests_total{method="GET",path="/movies/{id}",status="404"} 2"#,
        r#"http_requests_total{method="GET",path="unmatched",status="404"} 2"#,
        r#"http_requests_total{method="POST",path="/movies",status="400"} 1"#,
        r#"http_requests_total{method="other",path="/",status="405"} 1"#,
    ];
    assert_eq!(counts, expected);
    for series in [
        r#"http_request_duration_seconds_bucket{method="GET",path="/",status="200",le="0.1"} 1"#,
        r#"http_request_duration_seconds_count{method="GET",path="/",status="200"} 1"#,
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "no {series} in\n{metrics}");
    }
}
