#![expect(clippy::cast_precision_loss, reason = "the numbers are small")]

use super::*;

const POD: [(&str, &str); 2] = [("namespace", "default"), ("pod", "movies-1")];

fn selector(name: &str) -> Selector {
    Selector::new(Some(name.to_owned()), Vec::new())
}

fn store() -> Store {
    Store::new(60_000, 1000)
}

/// Scrapes `pod` at `at`, which tells `samples` without labels; none says that it fails.
fn scrape(store: &mut Store, at: i64, samples: Option<&[(&str, f64)]>) {
    let target = Labels::new(POD);
    let mut scrape = store.scrape(&target, at);
    for (name, value) in samples.unwrap_or_default() {
        scrape.sample(name, [], *value, None);
    }
    if samples.is_some() { scrape.end() } else { scrape.fail() }
}

fn value(store: &Store, name: &str, at: i64) -> Option<f64> {
    let selector = selector(name);
    let values: Vec<_> = store.select(&selector).filter_map(|view| view.at(at)).collect();
    assert!(values.len() < 2, "{values:?}");
    values.first().copied()
}

fn range(store: &Store, name: &str, from: i64, to: i64) -> Vec<(i64, f64)> {
    let mut samples = Vec::new();
    store.select(&selector(name)).for_each(|view| view.range(from, to, &mut samples));
    samples
}

#[test]
fn the_last_value_stands_for_five_minutes() {
    let mut store = store();
    let labels = Labels::new([(NAME, "x")]);
    assert!(store.append(&labels, 1000, 1.0) && store.append(&labels, 2000, 2.0));
    for (at, expected) in [
        (999, None),
        (1000, Some(1.0)),
        (1999, Some(1.0)),
        (2000, Some(2.0)),
        (2000 + LOOKBACK - 1, Some(2.0)),
        (2000 + LOOKBACK, None),
    ] {
        assert_eq!(value(&store, "x", at), expected, "at {at}");
    }
}

#[test]
fn ranges_leave_out_their_start() {
    let mut store = store();
    let labels = Labels::new([(NAME, "x")]);
    for at in 1..=4 {
        store.append(&labels, at * 1000, at as f64);
    }
    assert_eq!(range(&store, "x", 1000, 3000), [(2000, 2.0), (3000, 3.0)]);
    assert_eq!(range(&store, "x", 0, 999), []);
}

#[test]
fn what_a_scrape_lacks_has_ended() {
    let mut store = store();
    scrape(&mut store, 1000, Some(&[("x", 1.0), ("y", 1.0)]));
    scrape(&mut store, 2000, Some(&[("y", 2.0)]));
    assert_eq!((value(&store, "x", 1999), value(&store, "x", 2000)), (Some(1.0), None));
    assert_eq!(value(&store, "y", 2000), Some(2.0));
    assert_eq!(store.presence(&selector("x"), 2500), Presence::Ended { at: 2000 });
    scrape(&mut store, 3000, Some(&[("y", 3.0), ("x", 3.0)]));
    assert_eq!((value(&store, "x", 3000), value(&store, "y", 3000)), (Some(3.0), Some(3.0)));
    assert_eq!(range(&store, "x", 0, 3000), [(1000, 1.0), (3000, 3.0)], "the end itself is no value");
}

#[test]
fn everything_of_a_target_that_fails_has_ended() {
    let mut store = store();
    scrape(&mut store, 1000, Some(&[("x", 1.0)]));
    assert_eq!(value(&store, "up", 1000), Some(1.0));
    scrape(&mut store, 2000, None);
    assert_eq!((value(&store, "x", 2000), value(&store, "up", 2000)), (None, Some(0.0)));
    scrape(&mut store, 3000, Some(&[("x", 0.5)]));
    assert_eq!((value(&store, "x", 3000), value(&store, "up", 3000)), (Some(0.5), Some(1.0)));
    assert_eq!(store.presence(&selector("x"), 3000), Presence::Present { series: 1, reset: Some(3000) });
    store.remove_target(&Labels::new(POD), 4000);
    assert_eq!((value(&store, "x", 4000), value(&store, "up", 4000)), (None, None));
    assert_eq!(store.presence(&selector("z"), 4000), Presence::Missing);
}

#[test]
fn what_a_broken_answer_told_does_not_count() {
    let mut store = store();
    let target = Labels::new(POD);
    scrape(&mut store, 1000, Some(&[("x", 1.0)]));
    let mut broken = store.scrape(&target, 2000);
    broken.sample("x", [], 2.0, None);
    broken.fail();
    assert_eq!(range(&store, "x", 0, 2000), [(1000, 1.0)]);
    assert_eq!(value(&store, "x", 2000), None);
    let mut dropped = store.scrape(&target, 3000);
    dropped.sample("x", [], 2.0, None);
    drop(dropped);
    scrape(&mut store, 4000, Some(&[("x", 4.0)]));
    drop(store.scrape(&target, 5000));
    scrape(&mut store, 6000, Some(&[]));
    assert_eq!(range(&store, "x", 0, 6000), [(1000, 1.0), (4000, 4.0)]);
    assert_eq!(value(&store, "x", 6000), None, "a scrape that never was does not hide the end");
}

#[test]
fn the_target_s_labels_win() {
    let mut store = store();
    let target = Labels::new(POD);
    for at in [1000, 2000] {
        let mut scrape = store.scrape(&target, at);
        scrape.sample("x", [("pod", "other"), ("path", "/"), ("empty", "")], 1.0, None);
        scrape.sample("x", [("path", "/a")], 2.0, None);
        scrape.end();
    }
    let selector = selector("x");
    let mut labels: Vec<_> = store.select(&selector).map(|view| view.labels().to_string()).collect();
    labels.sort();
    assert_eq!(
        labels,
        [
            "x{exported_pod=\"other\", namespace=\"default\", path=\"/\", pod=\"movies-1\"}",
            "x{namespace=\"default\", path=\"/a\", pod=\"movies-1\"}",
        ]
    );
    assert_eq!(range(&store, "up", 0, 9000).len(), 2);
    assert_eq!(store.len(), 3, "a second scrape finds the series of the first");
}

#[test]
fn clocks_that_go_back_are_counted() {
    let mut store = store();
    scrape(&mut store, 2000, Some(&[("x", 1.0)]));
    scrape(&mut store, 2000, Some(&[("x", 2.0)]));
    scrape(&mut store, 1000, Some(&[("x", 3.0), ("y", 3.0)]));
    assert_eq!(
        (store.refused().late, value(&store, "x", 2000), value(&store, "y", 2000)),
        (3, Some(1.0), None)
    );
    let labels = Labels::new([(NAME, "z")]);
    assert!(
        store.append(&labels, 5, 1.0) && !store.append(&labels, 5, 2.0) && !store.append(&labels, 4, 2.0)
    );
    assert_eq!(store.refused().late, 5);
    scrape(&mut store, 3000, Some(&[("x", 4.0)]));
    assert_eq!(range(&store, "x", 0, 9000), [(2000, 1.0), (3000, 4.0)]);
}

#[test]
fn the_application_s_own_times_are_kept() {
    let mut store = store();
    let target = Labels::new(POD);
    scrape(&mut store, 1000, Some(&[("x", 1.0)]));
    for (at, own) in [(2000, 1500), (3000, 1500), (4000, 3900)] {
        let mut scrape = store.scrape(&target, at);
        scrape.sample("x", [], 2.0, Some(own));
        scrape.end();
    }
    assert_eq!(range(&store, "x", 0, 9000), [(1000, 1.0), (1500, 2.0), (3900, 2.0)]);
    assert_eq!(store.refused().late, 1);
    scrape(&mut store, 5000, Some(&[]));
    assert_eq!(value(&store, "x", 5000), Some(2.0), "a series with its own times does not end with a scrape");
    scrape(&mut store, 6000, Some(&[("x", 6.0)]));
    scrape(&mut store, 7000, Some(&[]));
    assert_eq!((value(&store, "x", 6500), value(&store, "x", 7000)), (Some(6.0), None));
}

#[test]
fn series_have_a_limit() {
    let mut store = Store::new(60_000, 3);
    scrape(&mut store, 1000, Some(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0), ("d", 1.0)]));
    assert_eq!((store.len(), store.refused().full), (3, 3), "up has no room either");
    scrape(&mut store, 2000, Some(&[("a", 2.0), ("a", 3.0)]));
    assert_eq!((value(&store, "a", 2000), store.refused().invalid), (Some(2.0), 1));
}

#[test]
fn what_is_over_makes_room() {
    let mut store = Store::new(60_000, 1000);
    let target = Labels::new(POD);
    for step in 0..2000_i64 {
        let mut scrape = store.scrape(&target, step * 1000);
        // A new series each ten seconds, as of an application with a label that it should not have.
        let id = (step / 10).to_string();
        scrape.sample("x", [("id", id.as_str())], step as f64, None);
        scrape.sample("steady", [], step as f64, None);
        scrape.end();
    }
    assert!((38..60).contains(&store.len()), "window and lookback are six minutes: {}", store.len());
    assert_eq!(store.refused(), Refused::default());
    let kept = range(&store, "steady", 0, 2_000_000);
    assert!(kept.len() >= 61 && kept.len() <= 61 + 64 + FORGET_EVERY as usize, "{}", kept.len());
    assert_eq!(value(&store, "x", 1_999_000), Some(1999.0));
    assert_eq!(value(&store, "steady", 1_939_000), Some(1939.0));
}

#[test]
fn fifty_pods_fit() {
    // A tenth of them; what they take grows with their number alone.
    const SERIES: usize = 2000;
    let pods = [1, 2, 3, 4, 5].map(|pod| (format!("movies-7d9f8b6c5-abcd{pod}"), pod));
    let mut store = Store::new(60_000, MAX_SERIES);
    let paths: Vec<_> = (0..SERIES / 50).map(|path| format!("/api/v1/things/{path}")).collect();
    let bounds: Vec<_> = (0..50).map(|bound| format!("{}", f64::from(bound) * 0.125)).collect();
    for step in 0..70_i64 {
        for (name, delay) in &pods {
            let target = Labels::new([
                ("namespace", "default"),
                ("pod", name),
                ("node", "machine2"),
                ("instance", "10.244.1.17:8080"),
            ]);
            let mut scrape = store.scrape(&target, step * 1000 + delay + step * step % 7);
            for (at, path) in paths.iter().enumerate() {
                for bound in &bounds {
                    let labels = [
                        ("method", "GET"),
                        ("path", path.as_str()),
                        ("status", "200"),
                        ("le", bound.as_str()),
                    ];
                    // One path in five is asked for.
                    let count = if at % 5 == 0 { step * 137 + step * step % 11 } else { 4000 };
                    scrape.sample("http_request_duration_seconds_bucket", labels, count as f64, None);
                }
            }
            scrape.end();
        }
    }
    assert_eq!(store.len(), pods.len() * (SERIES + 1));
    assert_eq!(store.refused(), Refused::default());
    let mebibytes = store.bytes() * 10 / 1024 / 1024;
    assert!(mebibytes < 64, "{mebibytes} MiB");
}
