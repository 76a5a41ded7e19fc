//! Roots of interfaces against the running kernel: observed, taken away and put back, with whatever kinds of qdiscs
//! it has. What needs netem is in `netem.rs`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]
#![expect(clippy::disallowed_methods, reason = "tests build their networks with ip and tc")]

#[expect(dead_code, reason = "shared with tests that need more of it")]
mod sandbox;

use std::process::Command;

use sandbox::{in_sandbox, run};
use squall::daemon::sys::fingerprint::Fingerprint;
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::tc::{
    Interface, Root, TcError, install, interface, observe_root, ours, probe, read_back, remove,
};
use squall::network::netem::Netem;
use squall::network::qdisc::QdiscTree;

/// Something that every kernel has, with our handle.
const OURS: &str = "root handle ca05: tbf rate 1mbit burst 10k latency 50ms";

/// What others may have put there, and what their kind is called.
const PREVIOUS: [(&str, &str); 8] = [
    ("pfifo", "root handle 7: pfifo limit 9"),
    ("bfifo", "root handle 7: bfifo limit 90000"),
    ("pfifo_fast", "root handle 7: pfifo_fast"),
    ("tbf", "root handle 7: tbf rate 2mbit burst 20k latency 70ms peakrate 4mbit minburst 1540"),
    ("fq_codel", "root handle 7: fq_codel limit 500 target 7ms noecn"),
    ("fq", "root handle 7: fq limit 500 maxrate 10mbit"),
    ("sfq", "root handle 7: sfq limit 100 perturb 10"),
    ("codel", "root handle 7: codel limit 500 target 7ms"),
];

/// Runs `tc qdisc ACTION dev lo …`; false if the kernel has no such kind.
fn tc(action: &str, what: &str) -> bool {
    let arguments = format!("qdisc {action} dev lo {what}");
    let output = Command::new("tc").args(arguments.trim().split(' ')).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("Specified qdisc kind is unknown") {
        return false;
    }
    assert!(output.status.success(), "tc {arguments}: {text}");
    true
}

fn socket() -> Socket {
    Socket::open(Protocol::Route).unwrap()
}

fn fingerprint() -> Fingerprint {
    Fingerprint::take(&mut socket(), &mut Socket::open(Protocol::Netfilter).unwrap()).unwrap()
}

fn loopback() -> u32 {
    interface(&mut socket(), "lo").unwrap().expect("every namespace has a loopback").index
}

fn delay(milliseconds: u64) -> QdiscTree {
    let netem = Netem { latency: milliseconds * 1_000_000, ..Netem::default() };
    QdiscTree { bands: [(3, netem)].into() }
}

#[test]
fn interfaces_are_found_by_name() {
    in_sandbox("interfaces_are_found_by_name", || {
        run("ip", &["link", "set", "lo", "mtu", "12345"]);
        let found = interface(&mut socket(), "lo").unwrap();
        assert_eq!(found, Some(Interface { index: 1, mtu: 12_345 }));
        assert_eq!(interface(&mut socket(), "eth77").unwrap(), None);
    });
}

#[test]
fn what_the_kernel_has_is_what_tc_can_make() {
    in_sandbox("what_the_kernel_has_is_what_tc_can_make", || {
        let support = probe().unwrap();
        for (kind, has) in [("netem", support.netem), ("prio", support.prio)] {
            assert_eq!(tc("add", &format!("root {kind}")), has, "{kind}: {support:?}");
            if has {
                tc("del", "root");
            }
        }
    });
}

#[test]
fn what_was_there_before_comes_back() {
    in_sandbox("what_was_there_before_comes_back", || {
        let (mut socket, lo) = (socket(), loopback());
        for (kind, previous) in PREVIOUS {
            let nothing = fingerprint();
            if !tc("add", previous) {
                eprintln!("SKIPPED: previous root {kind}: not in this kernel");
                continue;
            }
            let before = fingerprint();
            let root = observe_root(&mut socket, lo).unwrap();
            let Root::Classless { kind: observed, handle, .. } = &root else { panic!("{kind}: {root:?}") };
            assert_eq!((observed.as_str(), *handle), (kind, 0x0007_0000));

            assert!(tc("replace", OURS));
            assert!(before.difference(&fingerprint()).is_some());
            assert_eq!(observe_root(&mut socket, lo).unwrap(), Root::Ours);
            assert_eq!(ours(&mut socket).unwrap(), [lo]);
            remove(&mut socket, lo, &root).unwrap();
            assert_eq!(before.difference(&fingerprint()), None, "{kind}");
            assert!(ours(&mut socket).unwrap().is_empty());
            remove(&mut socket, lo, &root).expect("what is done already");
            assert_eq!(before.difference(&fingerprint()), None, "{kind}, after a second time");

            // Our process ended between taking ours away and putting theirs back.
            tc("del", "root");
            remove(&mut socket, lo, &root).unwrap();
            assert_eq!(before.difference(&fingerprint()), None, "{kind}, in two steps");
            tc("del", "root");
            assert_eq!(nothing.difference(&fingerprint()), None);
        }
    });
}

#[test]
fn the_default_comes_back_by_itself() {
    in_sandbox("the_default_comes_back_by_itself", || {
        let (mut socket, lo) = (socket(), loopback());
        let before = fingerprint();
        assert_eq!(observe_root(&mut socket, lo).unwrap(), Root::Default);
        assert!(tc("add", OURS));
        let state = read_back(&mut socket, lo).unwrap().expect("the handle is ours");
        let difference = state.matches(&QdiscTree::default()).unwrap_err().to_string();
        assert_eq!(difference, "the root is tbf and not prio with 16 bands");
        remove(&mut socket, lo, &Root::Default).unwrap();
        assert_eq!(before.difference(&fingerprint()), None);
        assert_eq!(read_back(&mut socket, lo).unwrap(), None);
        remove(&mut socket, lo, &Root::Default).expect("what is done already");
        let nowhere = 77;
        let pfifo = Root::Classless { kind: "pfifo".into(), handle: 0x0007_0000, options: vec![9, 0, 0, 0] };
        remove(&mut socket, nowhere, &pfifo).expect("an interface that is gone has nothing left");
    });
}

#[test]
fn what_others_put_there_meanwhile_stays() {
    in_sandbox("what_others_put_there_meanwhile_stays", || {
        let (mut socket, lo) = (socket(), loopback());
        let pfifo = Root::Classless { kind: "pfifo".into(), handle: 0x0007_0000, options: vec![9, 0, 0, 0] };
        for theirs in ["root handle 8: bfifo limit 90000", "root handle 7: bfifo limit 90000"] {
            for before in [&Root::Default, &pfifo] {
                assert!(tc("replace", theirs));
                let fingerprint_of_theirs = fingerprint();
                remove(&mut socket, lo, before).unwrap();
                assert_eq!(fingerprint_of_theirs.difference(&fingerprint()), None, "{theirs}, {before:?}");
                tc("del", "root");
            }
        }
    });
}

#[test]
fn what_could_not_be_put_back_is_refused_before_anything_changes() {
    in_sandbox("what_could_not_be_put_back_is_refused_before_anything_changes", || {
        let (mut socket, lo) = (socket(), loopback());
        let tbf = "handle 7: tbf rate 1mbit burst 10k latency 50ms";
        let cases: [(&str, &[&str]); 4] = [
            ("htb", &["root handle 7: htb default 1"]),
            ("prio", &["root handle 7: prio"]),
            ("pfifo", &[&format!("root {tbf}"), "parent 7:1 handle 8: pfifo limit 9"]),
            ("fq_codel", &["root handle 7: fq_codel"]),
        ];
        for (kind, commands) in cases {
            if !commands.iter().all(|command| tc("add", command)) {
                eprintln!("SKIPPED: foreign root {kind}: not in this kernel");
                continue;
            }
            if kind == "fq_codel" {
                let filter = "filter add dev lo parent 7: protocol ip prio 1 u32 match u32 0 0 classid 7:1";
                run("tc", &filter.split(' ').collect::<Vec<_>>());
            }
            let before = fingerprint();
            for error in [
                observe_root(&mut socket, lo).unwrap_err(),
                install(&mut socket, lo, &delay(10)).unwrap_err(),
            ] {
                let TcError::Foreign { interface, kind: named, .. } = &error else {
                    panic!("{kind}: {error}");
                };
                assert_eq!((*interface, named.as_str()), (lo, kind));
                assert!(error.to_string().contains("tc qdisc del"), "no cure: {error}");
            }
            assert_eq!(before.difference(&fingerprint()), None, "{kind}");
            tc("del", "root");
        }
        // Beside the root, and no business of ours.
        run("tc", &["qdisc", "add", "dev", "lo", "clsact"]);
        assert_eq!(observe_root(&mut socket, lo).unwrap(), Root::Default);
    });
}

#[test]
fn a_tree_that_cannot_be_made_changes_nothing() {
    in_sandbox("a_tree_that_cannot_be_made_changes_nothing", || {
        let (mut socket, lo) = (socket(), loopback());
        assert!(tc("add", "root handle 7: pfifo limit 9"));
        let before = fingerprint();
        let netem = |netem| QdiscTree { bands: [(2, netem)].into() };
        let jitter = netem(Netem { jitter: 1 << 31, ..Netem::default() });
        let latency = netem(Netem { latency: u64::MAX, ..Netem::default() });
        let first_band = QdiscTree { bands: [(1, Netem::default())].into() };
        for (what, tree) in [("jitter", jitter), ("latency", latency), ("band", first_band)] {
            assert!(install(&mut socket, lo, &tree).is_err(), "{what}");
            assert_eq!(before.difference(&fingerprint()), None, "{what}");
        }
        if !probe().unwrap().is_complete() {
            let error = install(&mut socket, lo, &delay(10)).unwrap_err();
            assert!(matches!(error, TcError::Netlink(_)), "{error}");
            assert_eq!(before.difference(&fingerprint()), None, "a kernel without netem");
        }
    });
}
