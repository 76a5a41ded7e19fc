//! The dashboards that come with Squall can be used as they are, and Grafana's shows the same as ours.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;
use squall::steady_state::board::Board;
use squall::steady_state::series::{Labels, NAME};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Each file of the folder with its text.
fn files() -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join("templates/steady-state")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn board(file: &str) -> Board {
    let text = fs::read(root().join("templates/steady-state").join(file)).unwrap();
    Board::read(&text).unwrap_or_else(|problems| panic!("{file}: {problems:#?}"))
}

/// Expressions as they are compared: how they are broken into lines does not matter.
fn plain(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_explains_itself() {
    let files = files();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["flask.yaml", "go.yaml", "http.yaml", "movies.yaml", "node.yaml"]);
    for (name, text) in &files {
        let header: String =
            text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
        for part in ["# What it shows:", "# What to expect:"] {
            assert!(header.contains(part), "{name} lacks \"{part}\"");
        }
        for file in header.split(['(', ')', ' ', '.']).filter(|word| word.starts_with("templates/")) {
            assert!(root().join(format!("{file}.yaml")).exists(), "{name} names {file}");
        }
    }
}

#[test]
fn each_panel_has_lines_where_its_metrics_are() {
    for (file, _) in files() {
        let board = board(&file);
        let mut store = board.store();
        // Every metric that the file wants, of one pod that has every label that is asked for.
        let metrics = |text: &str| {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            words.filter(|word| board.wanted().wants(word)).map(str::to_owned).collect::<Vec<_>>()
        };
        let expressions =
            board.dashboard().panels.iter().flat_map(|panel| &panel.queries).map(|query| &query.expr);
        let mut names: Vec<_> = expressions.flat_map(|expression| metrics(expression)).collect();
        names.sort();
        names.dedup();
        for step in 1..=30 {
            for name in &names {
                for (status, code) in [("200", "200"), ("500", "500")] {
                    let bounds: &[&str] =
                        if name.ends_with("_bucket") { &["0.1", "1", "+Inf"] } else { &[""] };
                    for le in bounds {
                        let labels = [
                            (NAME, name.as_str()),
                            ("pod", "server-app-1"),
                            ("node", "machine2"),
                            ("path", "/movies"),
                            ("status", status),
                            ("code", code),
                            ("le", le),
                            ("mode", "idle"),
                            ("device", "eth0"),
                            ("mountpoint", "/"),
                        ];
                        // What has no status in reality has none here: two series would have one name.
                        let own = labels.iter().filter(|(label, _)| {
                            name.contains("http") || !["status", "code", "path"].contains(label)
                        });
                        let labels = Labels::new(own.copied());
                        if name.contains("http") || status == "200" {
                            assert!(
                                store.append(&labels, i64::from(step) * 1000, f64::from(step * 10)),
                                "{file}: {labels}"
                            );
                        }
                    }
                }
            }
        }
        let shown = board.show(&store, Timestamp::from_millisecond(30_500).unwrap());
        for (panel, lines) in board.dashboard().panels.iter().zip(&shown.panels) {
            let lines = lines.as_ref().unwrap_or_else(|error| panic!("{file}: {}: {error}", panel.title));
            assert!(!lines.is_empty(), "{file}: {} is empty", panel.title);
            assert!(
                lines.iter().all(|line| !line.name.is_empty() && !line.name.contains("{{")),
                "{file}: {lines:?}"
            );
        }
    }
}

#[test]
fn the_tutorial_s_nine_panels_are_there() {
    let board = board("movies.yaml");
    let titles: Vec<_> = board.dashboard().panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "Requests per second",
            "Errors per second",
            "Total requests per minute",
            "Average response time",
            "Request duration p50",
            "Request duration p90",
            "Requests under 100 ms",
            "Memory usage",
            "CPU usage",
        ]
    );
}

#[test]
fn grafana_shows_the_same() {
    let text = fs::read_to_string(root().join("deploy/grafana/movies.json")).unwrap();
    let grafana: Value = serde_json::from_str(&text).unwrap();
    let theirs: Vec<_> = grafana["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap();
            let targets = panel["targets"].as_array().unwrap().iter();
            targets.map(move |target| {
                let text = |field: &str| target[field].as_str().unwrap();
                (title.to_owned(), plain(text("expr")), text("legendFormat").to_owned())
            })
        })
        .collect();
    let board = board("movies.yaml");
    let ours: Vec<_> = board
        .dashboard()
        .panels
        .iter()
        .flat_map(|panel| {
            let queries = panel.queries.iter();
            queries.map(|query| {
                (panel.title.clone(), plain(&query.expr), query.legend.clone().unwrap_or_default())
            })
        })
        .collect();
    assert_eq!(theirs, ours);
    for panel in grafana["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
}

#[test]
fn monitors_select_what_the_server_s_manifest_has() {
    let read = |path: &str| {
        let text = fs::read_to_string(root().join(path)).unwrap();
        serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .collect::<Vec<_>>()
    };
    let manifest = read("sample-services/movies/k8s.yaml");
    let service = manifest.iter().find(|object| object["kind"] == "Service").unwrap();
    let deployment = manifest.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let monitors = read("deploy/grafana/monitors.yaml");
    let monitor = |kind: &str| monitors.iter().find(|object| object["kind"] == kind).unwrap();
    let (of_service, of_pods) = (monitor("ServiceMonitor"), monitor("PodMonitor"));
    assert_eq!(of_service["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    assert_eq!(of_service["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let template = &deployment["spec"]["template"];
    assert_eq!(of_pods["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]);
    assert_eq!(
        of_pods["spec"]["podMetricsEndpoints"][0]["port"],
        template["spec"]["containers"][0]["ports"][0]["name"]
    );
    for monitor in [of_service, of_pods] {
        assert_eq!(monitor["spec"]["namespaceSelector"]["matchNames"][0], service["metadata"]["namespace"]);
    }
}
