//! A real control plane with fake nodes, their daemons, and experiments on all of their pods. Each step prints what it took,
//! and gives what can be asserted.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use squall::api::{
    ChaosStatus, ConditionKind, Halt, Injection, NetworkChaos, PAUSE_ANNOTATION, SYSTEM_NAMESPACE,
};
use squall::install::{CONTROLLER, DAEMON};
use tempfile::TempDir;
use test_cluster::{Cluster, FakeNodes};

use super::writes::Writes;
use super::{Fleet, accounts};

/// Where the pods are.
const NAMESPACE: &str = "fleet";

/// The control plane's fleet.
pub(crate) struct Rig {
    client: Client,
    chaos: Api<NetworkChaos>,
    injections: Api<Injection>,
    fleet: Fleet,
    targets: usize,
    patience: Duration,
    _nodes: FakeNodes,
    _folder: TempDir,
}

/// What an experiment took.
pub(crate) struct Life {
    /// Bytes of the experiment object, as JSON, while all is injected.
    pub(crate) object: usize,
    /// Targets that its status counts as injected.
    pub(crate) injected: usize,
    /// Writes from its creation until everything was injected, and a second more.
    pub(crate) creation: Writes,
    /// The same until everything was recovered because of a pause.
    pub(crate) pause: Writes,
    /// The same until it was gone.
    pub(crate) deletion: Writes,
}

impl Rig {
    /// Makes nodes, `targets` pods on them in equal parts, Squall's accounts, and daemons that act by theirs. Squall's kinds
    /// are installed already.
    pub(crate) async fn new(cluster: &Cluster, nodes: usize, targets: usize, patience: Duration) -> Self {
        let client = cluster.client(NAMESPACE).await.unwrap();
        accounts::make(&client).await;
        let begun = Instant::now();
        let fake = FakeNodes::start(client.clone(), nodes).await.unwrap();
        print(&format!("{nodes} nodes made"), begun.elapsed());
        let begun = Instant::now();
        fake.pods(NAMESPACE, targets).await.unwrap();
        print(&format!("{targets} pods made and running"), begun.elapsed());
        // In memory, as a real daemon's journal is.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let daemon = accounts::client(cluster, accounts::token(&client, DAEMON).await).await;
        let fleet = Fleet::start(&daemon, folder.path(), (0..nodes).map(FakeNodes::name));
        Self {
            chaos: Api::namespaced(client.clone(), NAMESPACE),
            injections: Api::namespaced(client.clone(), SYSTEM_NAMESPACE),
            client,
            fleet,
            targets,
            patience,
            _nodes: fake,
            _folder: folder,
        }
    }

    /// A token of the controller's account.
    pub(crate) async fn controller(&self) -> String {
        accounts::token(&self.client, CONTROLLER).await
    }

    /// Begins a partition of every pod that the selector takes.
    async fn create(&self, name: &str, lease: Option<Duration>, duration: Option<Duration>, labels: Value) {
        let mut spec = json!({"action": "partition", "mode": "all", "selector": {"namespaces": [NAMESPACE]}});
        spec["selector"]["expressionSelectors"] = labels;
        spec["duration"] = duration.map(|duration| format!("{}s", duration.as_secs())).into();
        let mut metadata = json!({"name": name});
        if let Some(lease) = lease {
            metadata["annotations"] = json!({"squall.dev/lease": format!("{}s", lease.as_secs())});
        }
        let object = json!({"metadata": metadata, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        self.chaos.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits for a status; an API server that has only just come back may refuse for a moment.
    async fn status(&self, name: &str, wanted: impl Fn(&ChaosStatus) -> bool) -> NetworkChaos {
        let begun = Instant::now();
        loop {
            let answer = self.chaos.get(name).await;
            if let Ok(chaos) = &answer
                && chaos.status.as_ref().is_some_and(&wanted)
            {
                return chaos.clone();
            }
            assert!(
                begun.elapsed() < self.patience,
                "{name} after {:?}: {:?}",
                self.patience,
                answer.map(|chaos| chaos.status.map(|status| (status.conditions, status.experiment.targets)))
            );
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    async fn pause(&self, name: &str, paused: bool) {
        let patch = json!({"metadata": {"annotations": {PAUSE_ANNOTATION: paused.to_string()}}});
        self.chaos.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Deletes experiments, and waits until nothing of any is there.
    async fn delete(&self, names: &[&str]) {
        let begun = Instant::now();
        for name in names {
            drop(self.chaos.delete(name, &DeleteParams::default()).await.unwrap());
        }
        for name in names {
            while self.chaos.get_opt(name).await.unwrap().is_some() {
                assert!(begun.elapsed() < self.patience, "{name} is there after {:?}", self.patience);
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        }
        print(&format!("{} deleted until gone", names.join(" and ")), begun.elapsed());
        let left = self.injections.list(&ListParams::default()).await.unwrap().items;
        assert!(left.is_empty(), "{} Injections are left", left.len());
    }

    /// Writes since `before`, after a second for stragglers.
    async fn writes(&self, before: &Writes) -> Writes {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let writes = Writes::so_far(&self.client).await.since(before);
        println!("  {writes}");
        writes
    }

    /// An experiment on all pods begins, is paused, resumed and deleted.
    pub(crate) async fn life(&self) -> Life {
        let name = &format!("{NAMESPACE}/large");
        let before = Writes::so_far(&self.client).await;
        let begun = Instant::now();
        self.create("large", None, None, json!([])).await;
        let last = self.fleet.until(name, self.targets, begun, self.patience).await;
        print("created until the last kernel had it", last);
        let whole = self.status("large", |status| status.is(ConditionKind::AllInjected)).await;
        print("created until AllInjected", begun.elapsed());
        let creation = self.writes(&before).await;
        let object = size(&whole);
        let all = self.injections.list(&ListParams::default()).await.unwrap().items;
        let largest = all.iter().map(size).max().unwrap_or_default();
        println!("  experiment object {object} bytes; {} Injections, the largest {largest} bytes", all.len());

        let before = Writes::so_far(&self.client).await;
        let begun = Instant::now();
        self.pause("large", true).await;
        let last = self.fleet.until(name, 0, begun, self.patience).await;
        print("paused until the last kernel was clear", last);
        self.status("large", |status| status.is(ConditionKind::AllRecovered)).await;
        print("paused until AllRecovered", begun.elapsed());
        let pause = self.writes(&before).await;

        let begun = Instant::now();
        self.pause("large", false).await;
        self.status("large", |status| status.is(ConditionKind::AllInjected)).await;
        print("resumed until AllInjected", begun.elapsed());
        let before = Writes::so_far(&self.client).await;
        self.delete(&["large"]).await;
        let deletion = self.writes(&before).await;
        let injected = whole.status.and_then(|status| status.experiment.targets);
        let injected = injected.map_or(0, |counts| usize::try_from(counts.injected).unwrap());
        Life { object, injected, creation, pause, deletion }
    }

    /// Everything is halted while an experiment runs on all pods; gives how long that took on each node, the slowest last.
    pub(crate) async fn halt(&self) -> Vec<Duration> {
        let name = &format!("{NAMESPACE}/halted");
        self.create("halted", None, None, json!([])).await;
        self.status("halted", |status| status.is(ConditionKind::AllInjected)).await;
        let halts: Api<Halt> = Api::all(self.client.clone());
        let halt = serde_json::from_value(json!({"metadata": {"name": "all"}, "spec": {}})).unwrap();
        let begun = Instant::now();
        halts.create(&PostParams::default(), &halt).await.unwrap();
        let last = self.fleet.until(name, 0, begun, self.patience).await;
        let ended =
            self.fleet.spells(name).into_iter().filter_map(|node| node.iter().filter_map(|s| s.ended).max());
        let mut times: Vec<_> = ended.map(|ended| ended.saturating_duration_since(begun)).collect();
        times.sort();
        print("Halt written until half of the nodes were clear", times[times.len() / 2]);
        print("Halt written until the last node was clear", last);
        self.status("halted", |status| status.experiment.ended.as_deref() == Some("Halted")).await;
        print("Halt written until the experiment says so", begun.elapsed());
        drop(halts.delete("all", &DeleteParams::default()).await.unwrap());
        self.delete(&["halted"]).await;
        times
    }

    /// The API server goes while two experiments run, each on half of every node's pods. One of them, `ends`, would be over
    /// after `duration`; the other one, `stays`, is not. Both have this lease.
    pub(crate) async fn outage(
        &self,
        cluster: &mut Cluster,
        outage: Duration,
        duration: Duration,
        lease: Duration,
    ) -> Outage {
        let per_node = self.targets / self.fleet.nodes.len();
        let first: Vec<_> = (0..per_node / 2).map(|place| place.to_string()).collect();
        let half = |operator| json!([{"key": "place-on-node", "operator": operator, "values": first}]);
        self.create("stays", Some(lease), None, half("NotIn")).await;
        self.create("ends", Some(lease), Some(duration), half("In")).await;
        let (ends, stays) = (&format!("{NAMESPACE}/ends"), &format!("{NAMESPACE}/stays"));
        let begun = Instant::now();
        let count_of_ends = first.len() * self.fleet.nodes.len();
        let count_of_stays = self.targets - count_of_ends;
        self.fleet.until(ends, count_of_ends, begun, self.patience).await;
        self.fleet.until(stays, count_of_stays, begun, self.patience).await;
        self.status("ends", |status| status.is(ConditionKind::AllInjected)).await;
        self.status("stays", |status| status.is(ConditionKind::AllInjected)).await;
        let stopped = Instant::now();
        cluster.stop_api_server().unwrap();
        tokio::time::sleep(outage).await;
        let left = self.fleet.injected(ends) + self.fleet.injected(stays);
        // The last of a node's pods counts, from its first: that is when its daemon's clock began.
        let spans = self.fleet.spells(ends).into_iter().map(|node| {
            let begun = node.iter().map(|spell| spell.begun).min().unwrap();
            node.iter().filter_map(|spell| spell.ended).max().unwrap().saturating_duration_since(begun)
        });
        let mut spans: Vec<_> = spans.collect();
        spans.sort();
        let losses = self.fleet.spells(stays).into_iter().flatten();
        let mut losses: Vec<_> = losses
            .filter_map(|spell| spell.ended)
            .map(|ended| ended.saturating_duration_since(stopped))
            .collect();
        losses.sort();
        println!(
            "API server away for {outage:?}: of {}, {left} targets still had a fault; a run of {duration:?} lasted \
             {:.2?} to {:.2?}; with a lease of {lease:?} the other ended {:.2?} to {:.2?} after the API server",
            self.targets,
            spans[0],
            spans[spans.len() - 1],
            losses[0],
            losses[losses.len() - 1]
        );
        let begun = Instant::now();
        cluster.start_api_server().await.unwrap();
        print("API server started until ready", begun.elapsed());
        let begun = Instant::now();
        let is_over = |status: &ChaosStatus| {
            status.experiment.ended.as_deref() == Some("DurationElapsed")
                && status.is(ConditionKind::AllRecovered)
        };
        self.status("ends", is_over).await;
        print("ready until the one says that it is over", begun.elapsed());
        let last = self.fleet.until(stays, count_of_stays, begun, self.patience).await;
        print("ready until the other one was back in the last kernel", last);
        self.status("stays", |status| status.is(ConditionKind::AllInjected)).await;
        print("ready until the other one says so", begun.elapsed());
        assert_eq!(self.fleet.injected(ends), 0, "what was over came back");
        self.delete(&["ends", "stays"]).await;
        Outage { left, spans, losses }
    }
}

/// What an outage of the API server did.
pub(crate) struct Outage {
    /// Targets that still had a fault when it ended.
    pub(crate) left: usize,
    /// How long the fault that had a duration was in place, on each node.
    pub(crate) spans: Vec<Duration>,
    /// How long after the API server the fault without one was gone, on each pod.
    pub(crate) losses: Vec<Duration>,
}

fn size(object: &impl serde::Serialize) -> usize {
    serde_json::to_vec(object).unwrap().len()
}

fn print(what: &str, time: Duration) {
    println!("{what}: {time:.2?}");
}
