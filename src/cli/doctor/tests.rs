use super::probe::{Findings, Flavour, Netem};
use super::*;
use serde_json::json;

fn lease(holder: &str, renewed: &str) -> Lease {
    serde_json::from_value(json!({"spec": {"holderIdentity": holder, "renewTime": renewed}})).unwrap()
}

#[test]
fn a_silent_controller_is_a_failure() {
    let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
    for (lease, verdict, words) in [
        (None, Verdict::Fail, "ever"),
        (Some(lease("", "2026-01-01T00:00:59.000000Z")), Verdict::Fail, "no controller leads"),
        (Some(lease("c-1", "2026-01-01T00:00:58.000000Z")), Verdict::Ok, "c-1 leads, last heard of 2s ago"),
        (Some(lease("c-1", "2026-01-01T00:00:40.000000Z")), Verdict::Warn, "20s ago"),
        (Some(lease("c-1", "2026-01-01T00:00:00.000000Z")), Verdict::Fail, "60s ago"),
        (Some(lease("c-1", "2026-01-01T00:01:02.000000Z")), Verdict::Ok, "leads"),
    ] {
        let check = controller(lease.as_ref(), now);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.what.contains(words), "{check:?}");
    }
}

#[test]
fn daemons_are_called_ready_only_where_something_says_so() {
    let nodes = ["a".to_owned(), "b".to_owned()];
    let pod = |node: &str, ready: &str| -> Pod {
        serde_json::from_value(json!({
            "spec": {"nodeName": node, "containers": []},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    };
    let both = [pod("a", "True"), pod("b", "True")];
    assert_eq!(daemons_of(&nodes, &both, &[]), Check::ok("daemons", "a ready, b ready"));
    let one = daemons_of(&nodes, &[pod("a", "True")], &[]);
    assert_eq!((one.verdict, one.what.as_str()), (Verdict::Warn, "a ready, b unknown"));
    assert_eq!(daemons_of(&nodes, &[pod("a", "True"), pod("b", "False")], &[]).verdict, Verdict::Fail);
    assert_eq!(daemons_of(&[], &both, &[]).verdict, Verdict::Fail);
}

#[test]
fn what_the_child_found() {
    let everything = || Findings {
        sandbox: None,
        capabilities: u64::MAX,
        tables: Ok(()),
        netem: Ok(Netem { netem: true, prio: true }),
        queue: Ok(Some(Flavour::Native)),
    };
    let bad = |findings: &Findings| -> Vec<&'static str> {
        let checks = kernel::found(findings).into_iter();
        checks.filter(|check| check.verdict != Verdict::Ok).map(|check| check.name).collect()
    };
    let shaping = |findings: &Findings| {
        kernel::found(findings).into_iter().find(|check| check.name.starts_with("delay")).unwrap().what
    };
    assert_eq!(bad(&everything()), Vec::<&str>::new());
    assert!(shaping(&everything()).starts_with("by netem"));
    let no_netem = Findings { netem: Ok(Netem { netem: false, prio: true }), ..everything() };
    assert_eq!(bad(&no_netem), ["netem"]);
    assert!(shaping(&no_netem).contains("shaper"), "{}", shaping(&no_netem));
    let no_queue = Findings { queue: Ok(None), ..everything() };
    assert_eq!(bad(&no_queue), ["nfqueue", "delay, loss, …"]);
    let neither =
        Findings { netem: Ok(Netem { netem: false, prio: false }), queue: Ok(None), ..everything() };
    assert_eq!(bad(&neither), ["netem", "nfqueue", "delay, loss, …"]);
    assert!(shaping(&neither).contains("cannot"), "{}", shaping(&neither));
    let no_tables = Findings { tables: Err("EINVAL".to_owned()), ..everything() };
    assert_eq!(bad(&no_tables), ["nf_tables", "partition", "delay, loss, …"]);
    assert_eq!(bad(&Findings { capabilities: 0, ..everything() }), Vec::<&str>::new(), "an ordinary user");
    let no_kill = Findings { capabilities: !(1 << 5), ..everything() };
    assert_eq!(bad(&no_kill), ["capabilities"]);
    assert!(kernel::found(&no_kill).iter().any(|check| check.what.contains("CAP_KILL (container-kill of")));
    if cfg!(feature = "playground") {
        assert_eq!(bad(&Findings { sandbox: Some("sysctl".to_owned()), ..everything() }), ["sandbox"]);
    }
}

#[test]
fn every_field_is_documented() {
    let undocumented = crate::report::documented::undocumented::<Check>("squall doctor -o json");
    assert_eq!(undocumented, Vec::<String>::new());
}
