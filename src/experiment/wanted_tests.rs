use super::*;
use crate::api::{ExperimentReference, Fault, InjectionTarget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

const WALL: i64 = 1_800_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn spec() -> InjectionSpec {
    InjectionSpec {
        experiment: ExperimentReference {
            kind: "NetworkChaos".into(),
            namespace: "default".into(),
            name: "p".into(),
            uid: "u".into(),
        },
        node: "machine1".into(),
        targets: vec![InjectionTarget {
            namespace: "default".into(),
            pod: "mongo".into(),
            uid: "m".into(),
            node_uid: None,
            selector_key: ".".into(),
            container: None,
            container_id: None,
        }],
        fault: Fault::default(),
        paused: false,
        run: 1,
        used: None,
        remaining: Some("60s".into()),
        not_after: Time(Timestamp::from_second(WALL + 3_600).unwrap()),
        lease: "30s".into(),
    }
}

fn facts(spec: &InjectionSpec) -> Facts<'_> {
    Facts {
        spec,
        deleted: false,
        run: Run { number: 1, started: Some(SignedDuration::from_secs(1_000)), ended: None },
        stopping: false,
        halts: &[],
        heartbeat: Some(seconds(1_009)),
        now: Now { boot: seconds(1_010), wall: Timestamp::from_second(WALL).unwrap() },
    }
}

#[test]
fn each_fact_alone() {
    use Absence::{DaemonStopping, Deleted, DurationElapsed, Halted, LeaseLost, NotAfterPassed, Paused};
    let running = spec();
    let base = facts(&running);
    let at = |boot: u64| Now { boot: seconds(boot), ..base.now };
    let halts = [HaltScope::Namespaces(vec!["default".into()])];
    let elsewhere = [HaltScope::Namespaces(vec!["other".into()])];
    let paused = InjectionSpec { paused: true, ..spec() };
    let resumed = InjectionSpec { run: 2, remaining: Some("10s".into()), ..spec() };
    let endless = InjectionSpec { remaining: None, ..spec() };
    let over = Run { ended: Some(DurationElapsed), ..base.run };
    let cases: [(&str, Facts<'_>, Option<Absence>); 17] = [
        ("running", base, None),
        ("deleted", Facts { deleted: true, ..base }, Some(Deleted)),
        ("halted", Facts { halts: &halts, ..base }, Some(Halted)),
        ("halted elsewhere", Facts { halts: &elsewhere, ..base }, None),
        ("stopping", Facts { stopping: true, ..base }, Some(DaemonStopping)),
        ("paused", Facts { spec: &paused, ..base }, Some(Paused)),
        ("paused past its deadline", Facts { spec: &paused, now: at(5_000), ..base }, Some(Paused)),
        ("never a heartbeat", Facts { heartbeat: None, ..base }, Some(LeaseLost)),
        ("last moment of the lease", Facts { now: at(1_038), ..base }, None),
        ("lease lost", Facts { now: at(1_039), ..base }, Some(LeaseLost)),
        ("elapsed", Facts { now: at(1_060), heartbeat: Some(seconds(1_059)), ..base }, Some(DurationElapsed)),
        ("elapsed while the lease was lost", Facts { now: at(1_060), ..base }, Some(DurationElapsed)),
        (
            "without a duration",
            Facts { spec: &endless, now: at(1_060), heartbeat: Some(seconds(1_059)), ..base },
            None,
        ),
        ("not begun", Facts { run: Run::default(), ..base }, None),
        ("over", Facts { run: over, ..base }, Some(DurationElapsed)),
        ("resumed after it was over", Facts { spec: &resumed, run: over, ..base }, None),
        (
            "past the cap",
            Facts { now: Now { wall: running.not_after.0, ..base.now }, ..base },
            Some(NotAfterPassed),
        ),
    ];
    for (name, facts, expected) in cases {
        assert_eq!(wanted(&facts), Wanted::from(expected), "{name}");
    }
}

#[test]
fn a_spec_from_the_past_starts_nothing() {
    let old = spec();
    let run =
        Run { number: 2, started: Some(SignedDuration::from_secs(1_000)), ended: Some(Absence::Halted) };
    assert_eq!(wanted(&Facts { run, ..facts(&old) }), Wanted::Absent(Absence::Halted));
}

prop_compose! {
    fn any_spec()(paused: bool, run in 1u32..4, remaining in prop::option::of(0u64..200), cap in 0i64..400, lease in 0u64..60)
        -> InjectionSpec {
        InjectionSpec {
            paused,
            run,
            used: None,
            remaining: remaining.map(|s| format!("{s}s")),
            not_after: Time(Timestamp::from_second(WALL + cap).unwrap()),
            lease: format!("{lease}s"),
            ..spec()
        }
    }
}

prop_compose! {
    fn any_run()(number in 0u32..4, started in prop::option::of(-50i64..1_100), ended: bool) -> Run {
        Run { number, started: started.map(SignedDuration::from_secs), ended: ended.then_some(Absence::DurationElapsed) }
    }
}

prop_compose! {
    fn any_moment()(boot in 1_000u64..1_400) -> Now {
        Now { boot: seconds(boot), wall: Timestamp::from_second(WALL - 1_000 + i64::try_from(boot).unwrap()).unwrap() }
    }
}

proptest! {
    /// Whatever else holds: nothing is wanted that is deleted, halted, paused, past its cap or unheard of.
    #[test]
    fn each_stop_stops(spec in any_spec(), run in any_run(), now in any_moment(), beat in prop::option::of(900u64..1_400), deleted: bool, halt: bool) {
        let halts = if halt { vec![HaltScope::All] } else { Vec::new() };
        let heartbeat = beat.map(seconds);
        let facts = Facts { spec: &spec, deleted, run, stopping: false, halts: &halts, heartbeat, now };
        let silent = heartbeat.is_none_or(|beat| now.boot >= beat + spec.effective_lease());
        let over = run.ended.is_some() && spec.run <= run.number;
        if deleted || halt || spec.paused || over || silent || now.wall >= spec.not_after.0 {
            prop_assert_ne!(wanted(&facts), Wanted::Present);
        }
    }

    /// Until `next_change` the answer stays, and if time alone changes it, it does so then.
    #[test]
    fn next_change_is_exact(spec in any_spec(), run in any_run(), now in any_moment(), beat in 900u64..1_400, wait in 0u64..500) {
        let facts = Facts { spec: &spec, deleted: false, run, stopping: false, halts: &[], heartbeat: Some(seconds(beat)), now };
        let later = |boot: Duration| Facts {
            now: Now { boot, wall: now.wall + boot.saturating_sub(now.boot) },
            ..facts
        };
        let next = next_change(&facts);
        let then = now.boot + seconds(wait);
        if next.is_none_or(|next| then < next) {
            prop_assert_eq!(wanted(&later(then)), wanted(&facts));
        }
        if let Some(next) = next {
            prop_assert!(next > now.boot);
            prop_assert_ne!(wanted(&later(next)), wanted(&facts));
        }
    }

    /// Time alone never brings a fault back, except a run that is over never.
    #[test]
    fn time_never_starts_a_fault(spec in any_spec(), run in any_run(), now in any_moment(), beat in 900u64..1_000, wait in 0u64..500) {
        let facts = Facts { spec: &spec, deleted: false, run, stopping: false, halts: &[], heartbeat: Some(seconds(beat)), now };
        let then = Now { boot: now.boot + seconds(wait), wall: now.wall + seconds(wait) };
        if wanted(&facts) != Wanted::Present {
            prop_assert_ne!(wanted(&Facts { now: then, ..facts }), Wanted::Present);
        }
    }
}
