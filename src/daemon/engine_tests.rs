use super::*;
use crate::api::{
    ExperimentReference, Fault, InjectionSpec, InjectionTarget, NetworkEffect, NetworkEnd, NetworkFault,
    NetworkRule, TargetPhase,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const START: u64 = 1_000;

/// A kernel in memory: what each pod's table is, and which calls should fail.
#[derive(Debug, Default)]
struct Simulated {
    tables: BTreeMap<String, NetworkPlan>,
    failing: bool,
    /// Changes are made, and then not found.
    unreadable: bool,
    /// Everything that was changed, in order, to be held against the journal.
    changes: usize,
    journal: Option<std::path::PathBuf>,
    /// Every try to kill a container.
    kills: Vec<String>,
    /// Containers that have ended.
    gone: BTreeSet<String>,
}

impl Kernel for Simulated {
    fn observe(&mut self, _pod: &str) -> Result<Before, FaultError> {
        Ok(Before::default())
    }

    fn set_network(
        &mut self,
        pod: &str,
        plan: Option<&NetworkPlan>,
        _before: Option<&Before>,
    ) -> Result<String, FaultError> {
        if self.failing {
            return Err(FaultError::NotReadBack("simulated".into()));
        }
        self.changes += 1;
        match plan {
            Some(plan) => {
                let journalled =
                    self.journal.as_ref().map(|folder| std::fs::read_dir(folder).unwrap().count());
                assert_ne!(journalled, Some(0), "changed before it was journalled");
                self.tables.insert(pod.into(), plan.clone());
            }
            None => drop(self.tables.remove(pod)),
        }
        if self.unreadable {
            return Err(FaultError::NotReadBack("simulated".into()));
        }
        Ok(format!("{} tables", self.tables.len()))
    }

    fn kill(&mut self, _pod: &str, container: &str) -> Result<String, FaultError> {
        let folder = self.journal.as_ref().unwrap();
        let written = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let written = written.map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>();
        assert!(written.contains(container), "killed before it was journalled");
        self.kills.push(container.to_owned());
        if self.gone.contains(container) {
            let (pod, container) = ("p".to_owned(), container.to_owned());
            return Err(FaultError::NoContainer { pod, container });
        }
        self.gone.insert(container.to_owned());
        Ok(format!("{container} has ended"))
    }

    fn compare(&mut self, _pod: &str, _before: &Before) -> Result<(), FaultError> {
        Ok(())
    }

    fn verify(&mut self, pod: &str, plan: &NetworkPlan) -> Result<(), FaultError> {
        if self.tables.get(pod) == Some(plan) { Ok(()) } else { Err(FaultError::NotReadBack("gone".into())) }
    }
}

struct Bench {
    engine: Engine<Simulated>,
    folder: tempfile::TempDir,
    boot: Duration,
    beat: u32,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bench =
            Self { engine: engine(folder.path()), folder, boot: Duration::from_secs(START), beat: 0 };
        bench.beat();
        bench.beat();
        bench.tell(Input::Halts(Vec::new()));
        bench
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_second(1_800_000_000).unwrap() + self.boot;
        Now { boot: self.boot, wall }
    }

    fn beat(&mut self) {
        self.beat += 1;
        let now = self.now();
        self.engine.tell(Input::Heartbeat(self.beat.to_string()), now);
    }

    fn tell(&mut self, input: Input) -> BTreeMap<String, InjectionStatus> {
        let now = self.now();
        self.engine.tell(input, now);
        self.engine.settle(now).statuses.into_iter().collect()
    }

    /// Lets time pass second by second, with a living controller or without.
    fn pass(&mut self, seconds: u64, controller: bool) -> BTreeMap<String, InjectionStatus> {
        let mut statuses = BTreeMap::new();
        for _ in 0..seconds {
            self.boot += Duration::from_secs(1);
            if controller {
                self.beat();
            }
            let now = self.now();
            statuses.extend(self.engine.settle(now).statuses);
        }
        statuses
    }

    /// `kill -9`: the kernel takes the owned tables away, the journal stays.
    fn restart(&mut self) {
        self.engine = engine(self.folder.path());
        self.beat();
        self.beat();
        self.tell(Input::Halts(Vec::new()));
    }

    fn tables(&self) -> usize {
        self.engine.kernel.tables.len()
    }
}

fn engine(folder: &std::path::Path) -> Engine<Simulated> {
    let kernel = Simulated { journal: Some(folder.to_owned()), ..Simulated::default() };
    Engine::new(kernel, Journal::open(folder, "boot").unwrap())
}

fn injection(name: &str, change: impl FnOnce(&mut InjectionSpec)) -> Injection {
    let target = |pod: &str, key: &str| InjectionTarget {
        namespace: "default".into(),
        pod: pod.into(),
        uid: pod.into(),
        node_uid: None,
        selector_key: key.into(),
        container: None,
        container_id: None,
    };
    let end = NetworkEnd {
        selector_key: ".".into(),
        device: "eth0".into(),
        egress: Some(NetworkRule { action: NetworkEffect::Drop, shaping: None, peers: None }),
        ingress: None,
    };
    let mut spec = InjectionSpec {
        experiment: ExperimentReference {
            kind: "NetworkChaos".into(),
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid of {name}"),
        },
        node: "machine1".into(),
        targets: vec![target("a", "."), target("b", ".")],
        fault: Fault { network: Some(NetworkFault { ends: vec![end], exempt: vec![] }), ..Fault::default() },
        paused: false,
        run: 1,
        used: None,
        remaining: Some("60s".into()),
        not_after: Time(Timestamp::from_second(1_800_100_000).unwrap()),
        lease: "30s".into(),
    };
    change(&mut spec);
    let mut injection = Injection::new(name, spec);
    injection.metadata.uid = Some(format!("injection {name}"));
    injection.metadata.generation = Some(1);
    injection
}

fn phases(status: &InjectionStatus) -> Vec<TargetPhase> {
    status.targets.iter().map(|target| target.phase).collect()
}

#[test]
fn nothing_happens_before_the_first_snapshot() {
    let mut bench = Bench::new();
    assert!(bench.tell(Input::Applied(Box::new(injection("one", |_| {})))).is_empty());
    assert_eq!(bench.tables(), 0);
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    assert_eq!(bench.tables(), 2);
}

#[test]
fn injects_reports_and_ends_by_its_own_clock() {
    let mut bench = Bench::new();
    let statuses = bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Injected; 2]);
    assert_eq!(statuses["one"].targets[1].evidence.as_deref(), Some("2 tables"));
    assert!(bench.pass(59, true).is_empty(), "a status is written when something changes, and only then");
    let statuses = bench.pass(1, true);
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Recovered; 2]);
    assert_eq!(statuses["one"].ended.as_deref(), Some("DurationElapsed"));
    assert_eq!(statuses["one"].elapsed.as_deref(), Some("1m0s"));
    assert_eq!(bench.tables(), 0);
    // The same spec, read again, starts nothing.
    bench.tell(Input::Applied(Box::new(injection("one", |_| {}))));
    assert_eq!(bench.tables(), 0);
}

#[test]
fn a_lost_lease_undoes_and_its_return_injects_again() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |spec| spec.remaining = None)]));
    bench.pass(29, false);
    assert_eq!(bench.tables(), 2);
    let statuses = bench.pass(1, false);
    assert_eq!(bench.tables(), 0);
    assert_eq!(statuses["one"].wanted.as_deref(), Some("LeaseLost"));
    let statuses = bench.pass(1, true);
    assert_eq!(bench.tables(), 2);
    assert_eq!((statuses["one"].interruptions, statuses["one"].targets[0].injected_count), (1, 2));
}

#[test]
fn the_first_sight_of_a_lease_is_no_sign_of_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench =
        Bench { engine: engine(folder.path()), folder, boot: Duration::from_secs(START), beat: 0 };
    bench.tell(Input::Halts(Vec::new()));
    bench.tell(Input::Heartbeat("left by a dead controller".into()));
    let statuses = bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    assert_eq!((bench.tables(), statuses["one"].wanted.as_deref()), (0, Some("LeaseLost")));
}

#[test]
fn deletion_undoes_and_the_record_goes() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    let mut dying = injection("one", |_| {});
    dying.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(1_800_001_000).unwrap()));
    let statuses = bench.tell(Input::Applied(Box::new(dying)));
    assert_eq!((bench.tables(), statuses["one"].wanted.as_deref()), (0, Some("Deleted")));
    assert!(statuses["one"].all_clear());
    bench.tell(Input::Deleted("one".into()));
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0);
}

#[test]
fn a_record_without_an_object_stays_until_its_pods_are_as_before() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.restart();
    bench.engine.kernel.failing = true;
    bench.tell(Input::Snapshot(Vec::new()));
    let records = |bench: &Bench| std::fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(records(&bench), 1, "the next process would not know what was there before");
    bench.engine.kernel.failing = false;
    bench.pass(1, true);
    assert_eq!(records(&bench), 0);
}

#[test]
fn a_static_pod_is_found_by_the_uid_that_its_node_gives_it() {
    let mut bench = Bench::new();
    let of_static = injection("one", |spec| spec.targets[0].node_uid = Some("hash".into()));
    let statuses = bench.tell(Input::Snapshot(vec![of_static]));
    assert_eq!(bench.engine.kernel.tables.keys().collect::<Vec<_>>(), ["b", "hash"]);
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Injected; 2]);
    bench.tell(Input::Deleted("one".into()));
    assert_eq!(bench.tables(), 0);
}

#[test]
fn an_injection_that_vanished_while_the_watch_was_away_is_undone() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {}), injection("two", |_| {})]));
    bench.tell(Input::Snapshot(vec![injection("two", |_| {})]));
    let rules = |bench: &Bench| bench.engine.kernel.tables["a"].labels().count();
    assert_eq!(rules(&bench), 1);
    assert_eq!(bench.engine.injections.len(), 1, "it is not followed any longer");
}

#[test]
fn two_experiments_on_one_pod_come_off_in_any_order() {
    for first in ["one", "two"] {
        let mut bench = Bench::new();
        bench.tell(Input::Snapshot(vec![injection("one", |_| {}), injection("two", |_| {})]));
        assert_eq!(bench.engine.kernel.tables["a"].labels().count(), 2);
        bench.tell(Input::Deleted(first.into()));
        assert_eq!(bench.engine.kernel.tables["a"].labels().count(), 1);
        bench.tell(Input::Deleted(if first == "one" { "two" } else { "one" }.into()));
        assert_eq!(bench.tables(), 0);
    }
}

#[test]
fn a_restarted_daemon_goes_on_with_the_same_clock() {
    let mut bench = Bench::new();
    let statuses = bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.pass(40, true);
    bench.restart();
    let mut known = injection("one", |_| {});
    known.status = statuses.get("one").cloned();
    let statuses = bench.tell(Input::Snapshot(vec![known]));
    assert_eq!(bench.tables(), 2, "injected again");
    assert_eq!(statuses["one"].interruptions, 1);
    bench.pass(19, true);
    assert_eq!(bench.tables(), 2);
    bench.pass(1, true);
    assert_eq!(bench.tables(), 0, "60 s after the first injection, not after the restart");
}

#[test]
fn a_restarted_daemon_does_not_start_what_is_over() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.pass(61, true);
    bench.restart();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    assert_eq!(bench.tables(), 0);
    let statuses = bench.tell(Input::Applied(Box::new(injection("one", |spec| spec.run = 2))));
    assert_eq!((bench.tables(), statuses["one"].observed_run), (2, 2), "a higher run starts again");
}

#[test]
fn a_failure_is_said_and_tried_again() {
    let mut bench = Bench::new();
    bench.engine.kernel.failing = true;
    let statuses = bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Failed; 2]);
    assert!(statuses["one"].targets[0].error.as_ref().unwrap().contains("tried again"));
    bench.engine.kernel.failing = false;
    bench.pass(1, true);
    assert_eq!(bench.tables(), 2);
    bench.engine.kernel.failing = true;
    let statuses = bench.tell(Input::Applied(Box::new(injection("one", |spec| spec.paused = true))));
    assert_eq!(
        phases(&statuses["one"]),
        [TargetPhase::Stuck; 2],
        "an undo that failed is not called recovered"
    );
    bench.engine.kernel.failing = false;
    let statuses = bench.pass(1, true);
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Recovered; 2]);
}

#[test]
fn what_somebody_else_removed_is_injected_again() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.engine.kernel.tables.clear();
    bench.pass(11, true);
    assert_eq!(bench.tables(), 2);
}

#[test]
fn what_was_injected_and_not_read_back_is_undone() {
    let mut bench = Bench::new();
    bench.engine.kernel.unreadable = true;
    let statuses = bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    assert_eq!((bench.tables(), phases(&statuses["one"])), (2, vec![TargetPhase::Failed; 2]));
    let paused = || Box::new(injection("one", |spec| spec.paused = true));
    let statuses = bench.tell(Input::Applied(paused()));
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Stuck; 2], "nobody knows that it is gone");
    bench.engine.kernel.unreadable = false;
    let statuses = bench.pass(1, true);
    assert_eq!((bench.tables(), phases(&statuses["one"])), (0, vec![TargetPhase::Recovered; 2]));
    assert!(bench.engine.is_clear());
}

#[test]
fn another_wish_does_not_wait_for_the_pause_of_a_failed_one() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.engine.kernel.failing = true;
    bench.tell(Input::Applied(Box::new(injection("two", |_| {}))));
    bench.pass(10, true);
    bench.engine.kernel.failing = false;
    let now = bench.now();
    let wake = bench.engine.settle(now).wake.unwrap();
    assert!(wake > now.boot, "asked to be called at {wake:?}, and it is {:?}", now.boot);
    bench.tell(Input::Deleted("two".into()));
    bench.tell(Input::Deleted("one".into()));
    assert_eq!(bench.tables(), 0);
}

#[test]
fn a_run_goes_on_after_a_boot_with_the_time_that_is_left() {
    let mut bench = Bench::new();
    let statuses = bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    let mut known = injection("one", |_| {});
    known.status = statuses.get("one").cloned();
    bench.engine =
        Engine::new(Simulated::default(), Journal::open(bench.folder.path(), "next boot").unwrap());
    let wall = bench.now().wall + SignedDuration::from_secs(40);
    let after_boot =
        |seconds| Now { boot: Duration::from_secs(seconds), wall: wall + Duration::from_secs(seconds) };
    for beat in ["1", "2"] {
        bench.engine.tell(Input::Heartbeat(beat.into()), after_boot(5));
    }
    bench.engine.tell(Input::Halts(Vec::new()), after_boot(5));
    bench.engine.tell(Input::Snapshot(vec![known]), after_boot(5));
    bench.engine.settle(after_boot(5));
    assert_eq!(bench.tables(), 2);
    bench.engine.settle(after_boot(19));
    assert_eq!(bench.tables(), 2);
    bench.engine.settle(after_boot(20));
    assert_eq!(bench.tables(), 0, "40 s before the boot clock began, and 20 s after");
}

#[test]
fn a_paused_run_keeps_its_time_over_a_restart() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.pass(20, true);
    let mut paused = injection("one", |spec| spec.paused = true);
    paused.status = bench.tell(Input::Applied(Box::new(paused.clone()))).remove("one");
    assert_eq!(paused.status.as_ref().unwrap().elapsed.as_deref(), Some("20s"));
    bench.restart();
    bench.tell(Input::Snapshot(vec![paused.clone()]));
    bench.pass(10, true);
    paused.metadata.generation = Some(2);
    let statuses = bench.tell(Input::Applied(Box::new(paused)));
    assert_eq!(statuses["one"].elapsed.as_deref(), Some("20s"));
}

#[test]
fn an_orderly_stop_undoes_without_ending_the_run() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    let statuses = bench.tell(Input::Stop);
    assert!(bench.engine.is_clear());
    assert_eq!(
        (statuses["one"].wanted.as_deref(), statuses["one"].ended.as_deref()),
        (Some("DaemonStopping"), None)
    );
}

fn default_namespace() -> Vec<HaltScope> {
    vec![HaltScope::Namespaces(vec!["default".into()])]
}

#[test]
fn nothing_is_injected_before_the_halts_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench =
        Bench { engine: engine(folder.path()), folder, boot: Duration::from_secs(START), beat: 0 };
    bench.beat();
    bench.beat();
    assert!(bench.tell(Input::Snapshot(vec![injection("one", |_| {})])).is_empty());
    assert_eq!(bench.tables(), 0);
    let statuses = bench.tell(Input::Halts(default_namespace()));
    assert_eq!((bench.tables(), statuses["one"].ended.as_deref()), (0, Some("Halted")));
    assert_eq!(phases(&statuses["one"]), [TargetPhase::Waiting; 2]);
}

#[test]
fn a_halt_undoes_at_once_and_its_release_starts_nothing() {
    for (halt, release) in [
        (Input::Halts(vec![HaltScope::All]), Input::Halts(Vec::new())),
        (Input::Halts(default_namespace()), Input::Halts(Vec::new())),
        (Input::LocalHalt(true), Input::LocalHalt(false)),
    ] {
        let what = format!("{halt:?}");
        let mut bench = Bench::new();
        bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
        let statuses = bench.tell(halt);
        assert_eq!(phases(&statuses["one"]), [TargetPhase::Recovered; 2], "{what}");
        assert_eq!(
            (statuses["one"].wanted.as_deref(), statuses["one"].ended.as_deref()),
            (Some("Halted"), Some("Halted")),
            "{what}"
        );
        bench.tell(release);
        bench.pass(1, true);
        bench.tell(Input::Applied(Box::new(injection("one", |_| {}))));
        assert_eq!(bench.tables(), 0, "{what}");
        bench.restart();
        bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
        assert_eq!(bench.tables(), 0, "{what}: the journal remembers it");
        bench.tell(Input::Applied(Box::new(injection("one", |spec| spec.run = 2))));
        assert_eq!(bench.tables(), 2, "{what}: a higher run starts again");
    }
}

#[test]
fn a_halt_leaves_alone_what_it_does_not_cover() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |_| {})]));
    bench.tell(Input::Halts(vec![HaltScope::Namespaces(vec!["other".into()])]));
    assert_eq!(bench.tables(), 2);
}

#[test]
fn a_paused_run_is_finished_by_a_halt_too() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![injection("one", |spec| spec.paused = true)]));
    let statuses = bench.tell(Input::Halts(vec![HaltScope::All]));
    assert_eq!(statuses["one"].ended.as_deref(), Some("Halted"));
}

#[test]
fn a_file_halts_the_node_without_an_api_server() {
    use crate::daemon::{drive, halt_file};
    use std::sync::mpsc::sync_channel;

    let (journal, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (inputs, from_bus) = sync_channel(16);
    let (to_bus, mut statuses) = tokio::sync::mpsc::channel(16);
    let engine = engine(journal.path());
    let looks = crate::daemon::Looks::new(state.path(), std::sync::Arc::default());
    let thread = std::thread::spawn(move || drive(engine, looks, &from_bus, &to_bus));
    let of_run = |run: u32| {
        let spec = |spec: &mut InjectionSpec| {
            spec.run = run;
            spec.remaining = None;
            spec.not_after = Time(Timestamp::MAX);
        };
        Input::Applied(Box::new(injection("one", spec)))
    };
    let mut hear = || statuses.blocking_recv().expect("the engine lives").1;
    for input in [
        Input::Heartbeat("1".into()),
        Input::Heartbeat("2".into()),
        Input::Halts(Vec::new()),
        Input::Snapshot(Vec::new()),
        of_run(1),
    ] {
        inputs.send(input).unwrap();
    }
    assert_eq!(phases(&hear()), [TargetPhase::Injected; 2]);
    halt_file::put(state.path(), "no API server").unwrap();
    let halted = hear();
    assert_eq!((phases(&halted), halted.ended.as_deref()), (vec![TargetPhase::Recovered; 2], Some("Halted")));
    assert!(halt_file::remove(state.path()).unwrap());
    // Until the daemon has looked again, a new run is halted too.
    let injected = (2..100).map(|run| {
        inputs.send(of_run(run)).unwrap();
        hear()
    });
    let again = injected.take_while(|status| status.ended.is_some()).count();
    assert!(again < 98, "never released");
    drop(inputs);
    thread.join().unwrap().unwrap();
}

fn container_kill() -> Injection {
    let mut injection = injection("kill", |spec| {
        spec.remaining = None;
        spec.fault = Fault { container_kill: Some(crate::api::ContainerKill {}), ..Fault::default() };
        for target in &mut spec.targets {
            target.container = Some("c".into());
            target.container_id = Some(format!("run://{}", target.pod));
        }
    });
    injection.status = None;
    injection
}

#[test]
fn containers_are_killed_once() {
    let mut bench = Bench::new();
    let statuses = bench.tell(Input::Snapshot(vec![container_kill()]));
    let status = &statuses["kill"];
    assert!(status.targets.iter().all(|target| target.phase == TargetPhase::Done), "{status:?}");
    assert_eq!(status.ended.as_deref(), Some("Completed"));
    assert_eq!(bench.engine.kernel.kills, ["run://a", "run://b"]);
    assert_eq!(bench.tables(), 0, "the network is left alone");
    bench.pass(60, true);
    assert_eq!(bench.engine.kernel.kills.len(), 2);
}

#[test]
fn a_restarted_daemon_kills_nothing_again() {
    let mut bench = Bench::new();
    bench.tell(Input::Snapshot(vec![container_kill()]));
    // The status never reached the API server: the object is as it was.
    bench.restart();
    bench.engine.kernel.gone = ["run://a".to_owned(), "run://b".to_owned()].into();
    let statuses = bench.tell(Input::Snapshot(vec![container_kill()]));
    let status = &statuses["kill"];
    assert!(status.targets.iter().all(|target| target.phase == TargetPhase::Done), "{status:?}");
    assert_eq!(status.ended.as_deref(), Some("Completed"));
}

#[test]
fn a_container_that_is_gone_is_reported_and_the_others_are_killed() {
    let mut bench = Bench::new();
    bench.engine.kernel.gone.insert("run://a".to_owned());
    let statuses = bench.tell(Input::Snapshot(vec![container_kill()]));
    let phases: Vec<_> = statuses["kill"].targets.iter().map(|target| target.phase).collect();
    assert_eq!(phases, [TargetPhase::Failed, TargetPhase::Done]);
    assert!(statuses["kill"].targets[0].error.as_ref().unwrap().contains("create the experiment anew"));
    assert_eq!(statuses["kill"].ended, None);
    let later = bench.pass(60, true);
    assert!(later.values().all(|status| status.ended.is_none()), "nobody killed it: {later:?}");
}

#[test]
fn without_a_controller_nothing_is_killed() {
    let mut bench = Bench::new();
    bench.pass(60, false);
    bench.tell(Input::Snapshot(vec![container_kill()]));
    assert_eq!(bench.engine.kernel.kills, Vec::<String>::new());
}
