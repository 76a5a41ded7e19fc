use std::collections::BTreeSet;

use serde_json::json;

use super::super::fixtures::start;
use super::*;

fn seen_as(pod: &str, key: &str, phase: Option<TargetPhase>) -> Seen {
    let target = InjectionTarget {
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        uid: format!("uid-{pod}"),
        node_uid: None,
        selector_key: key.to_owned(),
        container: None,
        container_id: None,
    };
    let status = phase.map(|phase| TargetStatus {
        target: target.clone(),
        phase,
        evidence: Some("2 rules in table inet squall".to_owned()),
        error: Some("EPERM; run the daemon with NET_ADMIN".to_owned()),
        since: Time(start()),
        injected_count: 1,
        recovered_count: u32::from(phase == TargetPhase::Recovered),
    });
    Seen { target, status, unread: None }
}

fn decided(targets: &[Seen]) -> Decided<'_> {
    Decided {
        generation: Some(1),
        phase: DesiredPhase::Run,
        paused: false,
        ended: None,
        selected: Some(Ok(())),
        problems: &[],
        not_supported: false,
        targets: Some(targets),
        following: None,
        clock: None,
        remaining: None,
        beyond: None,
    }
}

fn of(targets: &[Seen]) -> ChaosStatus {
    compute(&ChaosStatus::default(), &decided(targets))
}

fn reasons(old: &ChaosStatus, new: &ChaosStatus) -> Vec<&'static str> {
    events(old, new).iter().map(|event| event.reason).collect()
}

#[test]
fn conditions_follow_the_targets() {
    use TargetPhase::{Failed, Injected, Recovered, Stuck, Waiting};
    for (phases, all_injected, all_recovered) in [
        (vec![], false, false),
        (vec![None, None], false, true),
        (vec![Some(Waiting)], false, true),
        (vec![Some(Injected), None], false, false),
        (vec![Some(Injected), Some(Failed)], false, false),
        (vec![Some(Injected), Some(Injected)], true, false),
        (vec![Some(Recovered), Some(Recovered)], false, true),
        (vec![Some(Recovered), Some(Stuck)], false, false),
    ] {
        let targets: Vec<Seen> =
            phases.iter().enumerate().map(|(i, phase)| seen_as(&format!("p{i}"), ".", *phase)).collect();
        let status = of(&targets);
        assert_eq!(status.is(ConditionKind::AllInjected), all_injected, "{phases:?}");
        assert_eq!(status.is(ConditionKind::AllRecovered), all_recovered, "{phases:?}");
    }
}

#[test]
fn records_keep_the_shape_that_scripts_read() {
    let targets = [
        seen_as("db", ".Target", Some(TargetPhase::Failed)),
        seen_as("web-2", ".", None),
        seen_as("web-1", ".", Some(TargetPhase::Injected)),
    ];
    assert_eq!(
        serde_json::to_value(of(&targets)).unwrap(),
        json!({
            "conditions": [
                {"type": "Selected", "status": "True"},
                {"type": "AllInjected", "status": "False"},
                {"type": "AllRecovered", "status": "False"},
                {"type": "Paused", "status": "False"},
            ],
            "experiment": {
                "desiredPhase": "Run",
                "containerRecords": [
                    {"id": "default/web-1", "selectorKey": ".", "phase": "Injected", "injectedCount": 1, "recoveredCount": 0,
                        "events": [{"type": "Succeeded", "operation": "Apply", "message": "2 rules in table inet squall",
                            "timestamp": "2026-01-01T00:00:00Z"}]},
                    {"id": "default/web-2", "selectorKey": ".", "phase": "Not Injected", "injectedCount": 0, "recoveredCount": 0},
                    {"id": "default/db", "selectorKey": ".Target", "phase": "Not Injected", "injectedCount": 1, "recoveredCount": 0,
                        "events": [{"type": "Failed", "operation": "Apply", "message": "EPERM; run the daemon with NET_ADMIN",
                            "timestamp": "2026-01-01T00:00:00Z"}]},
                ],
                "targets": {"selected": 3, "injected": 1, "recovered": 0, "failed": 1},
                "injected": "1/3",
            },
            "observedGeneration": 1,
        })
    );
}

#[test]
fn many_targets_are_counted_and_not_listed() {
    let targets: Vec<Seen> =
        (0..MAX_RECORDS + 50).map(|i| seen_as(&format!("p{i}"), ".", Some(TargetPhase::Injected))).collect();
    let status = of(&targets);
    assert_eq!(status.experiment.container_records.len(), MAX_RECORDS);
    assert_eq!(status.experiment.targets.unwrap().injected as usize, MAX_RECORDS + 50);
}

#[test]
fn what_nobody_read_back_is_said() {
    let mut lost = seen_as("web", ".", Some(TargetPhase::Injected));
    lost.unread = Some("node n1 is gone".to_owned());
    let status = of(&[lost, seen_as("db", ".", Some(TargetPhase::Recovered))]);
    let condition = status.condition(ConditionKind::AllRecovered).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("True", Some(NOT_READ_BACK)));
    assert_eq!(condition.message.as_deref(), Some("node n1 is gone"));
    let record =
        status.experiment.container_records.iter().find(|record| record.id == "default/web").unwrap();
    assert_eq!((record.phase, record.events[0].kind.as_str()), (RecordPhase::NotInjected, "Failed"));
    let before = of(&[seen_as("web", ".", Some(TargetPhase::Injected))]);
    assert!(events(&before, &status).iter().any(|event| event.warning && event.note == "node n1 is gone"));
}

#[test]
fn events_are_the_differences() {
    let problem = [Problem::new("spec.mode", "bad", "write all")];
    let injected = of(&[seen_as("web", ".", Some(TargetPhase::Injected))]);
    let waiting = of(&[seen_as("web", ".", None)]);
    let recovered = of(&[seen_as("web", ".", Some(TargetPhase::Recovered))]);
    let failed = of(&[seen_as("web", ".", Some(TargetPhase::Failed))]);
    let ended = ChaosStatus {
        experiment: ExperimentStatus {
            ended: Some("DurationElapsed".to_owned()),
            ..recovered.experiment.clone()
        },
        ..recovered.clone()
    };
    let paused = compute(&injected, &Decided { paused: true, ..decided(&[]) });
    let edited = ChaosStatus { observed_generation: Some(2), ..injected.clone() };
    let nothing = compute(
        &ChaosStatus::default(),
        &Decided { selected: Some(Err((NO_TARGETS, "no pod".to_owned()))), ..decided(&[]) },
    );
    let invalid = compute(&ChaosStatus::default(), &Decided { problems: &problem, ..decided(&[]) });
    let unsupported = compute(
        &ChaosStatus::default(),
        &Decided { problems: &problem, not_supported: true, ..decided(&[]) },
    );
    let new = ChaosStatus::default();
    let cases: [(&str, &ChaosStatus, &ChaosStatus, &[&str]); 16] = [
        ("nothing new", &injected, &injected, &[]),
        ("selected", &new, &waiting, &["Started"]),
        ("injected", &waiting, &injected, &["Applied"]),
        ("recovered", &injected, &recovered, &["Recovered"]),
        ("over and recovered at once", &injected, &ended, &["TimeUp", "Recovered"]),
        ("recovered before it was injected is no news", &new, &waiting, &["Started"]),
        ("failed", &waiting, &failed, &["Failed"]),
        ("failed as before", &failed, &failed, &[]),
        ("edited", &injected, &edited, &["Updated"]),
        ("paused", &injected, &paused, &["Paused"]),
        ("resumed", &paused, &waiting, &["Started"]),
        ("over while it was paused", &paused, &ended, &["TimeUp"]),
        ("nothing selected", &new, &nothing, &["Failed"]),
        ("selected at last", &nothing, &waiting, &["Started"]),
        (
            "invalid",
            &new,
            &ChaosStatus { conditions: invalid.conditions[4..].to_vec(), ..new.clone() },
            &["Failed"],
        ),
        (
            "not supported",
            &new,
            &ChaosStatus { conditions: unsupported.conditions[4..].to_vec(), ..new.clone() },
            &["NotSupported"],
        ),
    ];
    for (name, old, new, expected) in cases {
        assert_eq!(reasons(old, new), expected, "{name}");
    }
}

/// docs/compatibility.md tells every reason that there is, with its type, and no other.
#[test]
fn the_events_are_those_of_the_page() {
    let new = ChaosStatus::default();
    let targets = |phase| of(&[seen_as("web", ".", phase)]);
    let (waiting, injected) = (targets(None), targets(Some(TargetPhase::Injected)));
    let with = |kind, reason: Option<&str>| ChaosStatus {
        conditions: vec![condition(kind, true, reason, Some("why".to_owned()))],
        ..ChaosStatus::default()
    };
    let mut ended = targets(Some(TargetPhase::Recovered));
    ended.experiment.ended = Some("DurationElapsed".to_owned());
    let mut halted = ended.clone();
    halted.experiment.ended = Some(HALTED.to_owned());
    let mut replaced = injected.clone();
    replaced.experiment.following = Some(Following { replaced: vec![Time(start())], ..Following::default() });
    let edited = ChaosStatus { observed_generation: Some(2), ..injected.clone() };
    let paused = compute(&injected, &Decided { paused: true, ..decided(&[]) });
    let failed = targets(Some(TargetPhase::Failed));
    let [invalid, unstable, limited] = [
        (ConditionKind::Invalid, Some(NOT_SUPPORTED)),
        (ConditionKind::TargetUnstable, None),
        (ConditionKind::TargetsLimited, None),
    ]
    .map(|(kind, reason)| with(kind, reason));
    let published = [
        (&new, &waiting),
        (&waiting, &injected),
        (&injected, &paused),
        (&injected, &ended),
        (&injected, &halted),
        (&injected, &edited),
        (&injected, &replaced),
        (&waiting, &failed),
        (&new, &invalid),
        (&new, &unstable),
        (&new, &limited),
    ]
    .into_iter()
    .flat_map(|(old, new)| events(old, new))
    // By the step that lets go of an experiment, and no change of a status.
    .chain([Event::normal("Deleted", "")]);
    let word = |warning: bool| if warning { "Warning" } else { "Normal" };
    let published: BTreeSet<_> =
        published.map(|event| (event.reason.to_owned(), word(event.warning).to_owned())).collect();

    let page = include_str!("../../docs/compatibility.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Events\n")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| !cells[3].starts_with("not published"))
        .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].to_owned()))
        .collect();
    assert_eq!(published, documented);
}

#[test]
fn an_invalid_experiment_that_is_mended_says_so() {
    let problem = [Problem::new("spec.mode", "bad", "write all")];
    let invalid = compute(&ChaosStatus::default(), &Decided { problems: &problem, ..decided(&[]) });
    assert_eq!(
        invalid.condition(ConditionKind::Invalid).unwrap().message.as_deref(),
        Some("spec.mode: bad; write all")
    );
    let targets = [seen_as("web", ".", None)];
    let mended = compute(&invalid, &decided(&targets));
    assert_eq!(mended.condition(ConditionKind::Invalid).unwrap().status, "False");
    assert!(of(&targets).condition(ConditionKind::Invalid).is_none(), "never decided, never named");
}
