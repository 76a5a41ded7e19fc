use std::sync::Arc;

use super::super::fixtures::{service, slice, world};
use super::*;

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn texts(peers: &PeerSet) -> Vec<String> {
    let text = |peer: &Peer| match peer.port {
        Some(port) => format!("{}:{port}", peer.network),
        None => peer.network.to_string(),
    };
    peers.iter().map(text).collect()
}

/// Addresses, and whether they are ready.
type Endpoints<'a> = &'a [(&'a str, bool)];

#[test]
fn a_service_counts_when_it_leads_only_to_peers() {
    let peers = addresses(&["10.0.0.1", "10.0.0.2"]);
    let cases: [(&str, &[Endpoints<'_>], bool); 8] = [
        ("all are peers", &[&[("10.0.0.1", true), ("10.0.0.2", true)]], true),
        ("one of the peers", &[&[("10.0.0.1", true)]], true),
        ("another too", &[&[("10.0.0.1", true), ("10.0.0.3", true)]], false),
        ("another in a second slice", &[&[("10.0.0.1", true)], &[("10.0.0.3", true)]], false),
        ("another that is not ready", &[&[("10.0.0.1", true), ("10.0.0.3", false)]], true),
        ("no endpoints", &[&[]], false),
        ("none ready, all peers", &[&[("10.0.0.1", false)]], true),
        ("none ready, another too", &[&[("10.0.0.1", false), ("10.0.0.3", false)]], false),
    ];
    for (name, slices, expected) in cases {
        let slices = slices.iter().map(|endpoints| Arc::new(slice("s", endpoints))).collect();
        let world =
            World::new(vec![], vec![], vec![Arc::new(service("s", &["10.96.0.1", "fd00::1"]))], slices);
        let expected: &[&str] = if expected { &["10.96.0.1/32", "fd00::1/128"] } else { &[] };
        assert_eq!(texts(&of_services(&world, &peers)), expected, "{name}");
    }
}

#[test]
fn a_headless_service_has_no_address() {
    let world = World::new(
        vec![],
        vec![],
        vec![Arc::new(service("s", &["None"]))],
        vec![Arc::new(slice("s", &[("10.0.0.1", true)]))],
    );
    assert_eq!(texts(&of_services(&world, &addresses(&["10.0.0.1"]))), Vec::<String>::new());
}

#[test]
fn the_api_server_is_its_service_and_what_is_behind_it() {
    let found: Vec<String> = api_server(&world()).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.96.0.99/32", "192.168.0.10/32"]);
    assert!(api_server(&World::default()).is_empty());
}

#[test]
fn external_targets_keep_their_ports() {
    let hosts = Hosts::from([
        ("db.example".to_owned(), vec!["203.0.113.9".parse().unwrap(), "fd00::9".parse().unwrap()]),
        ("gone.example".to_owned(), vec![]),
    ]);
    let entries = ["10.9.0.0/16", "10.8.0.1:443", "db.example:5432"].map(str::to_owned);
    assert_eq!(
        texts(&external(&entries, &hosts).unwrap()),
        ["10.8.0.1/32:443", "10.9.0.0/16", "203.0.113.9/32:5432", "fd00::9/128:5432"]
    );
    let entries = ["10.8.0.1", "gone.example", "unknown.example:1"].map(str::to_owned);
    let paths: Vec<_> = external(&entries, &hosts).unwrap_err().into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["spec.externalTargets[1]", "spec.externalTargets[2]"]);
    assert_eq!(host_names(&entries), ["gone.example".to_owned(), "unknown.example".to_owned()].into());
}
