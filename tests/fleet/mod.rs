//! Many daemons in one process: the real ones, each with its watches, its journal and the thread of its engine, on kernels
//! that only write down what was done to them and when.

pub(crate) mod accounts;
pub(crate) mod rig;
pub(crate) mod writes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kube::Client;
use squall::daemon::engine::Engine;
use squall::daemon::journal::Journal;
use squall::daemon::kernel::{Before, FaultError, Kernel};
use squall::daemon::{self, Looks};
use squall::network::plan::NetworkPlan;
use tokio::task::JoinSet;

/// What became of a fault on one pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    /// When it was put in place last.
    pub(crate) begun: Instant,
    /// When it was taken away after that.
    pub(crate) ended: Option<Instant>,
}

/// Of a pod's UID and an experiment, `NAMESPACE/NAME`.
type Spells = BTreeMap<(String, String), Spell>;

/// The pods of one node.
#[derive(Clone, Debug, Default)]
struct Recorder {
    spells: Arc<Mutex<Spells>>,
    plans: BTreeMap<String, NetworkPlan>,
}

impl Kernel for Recorder {
    fn observe(&mut self, _pod: &str) -> Result<Before, FaultError> {
        Ok(Before::default())
    }

    fn set_network(
        &mut self,
        pod: &str,
        plan: Option<&NetworkPlan>,
        _before: Option<&Before>,
    ) -> Result<String, FaultError> {
        let now = Instant::now();
        let labels: Vec<_> = plan.iter().flat_map(|plan| plan.labels()).collect();
        let mut spells = self.spells.lock().unwrap();
        for ((of, experiment), spell) in spells.iter_mut() {
            if of == pod && spell.ended.is_none() && !labels.contains(&experiment.as_str()) {
                spell.ended = Some(now);
            }
        }
        for label in labels {
            let spell =
                spells.entry((pod.to_owned(), label.to_owned())).or_insert(Spell { begun: now, ended: None });
            if spell.ended.is_some() {
                *spell = Spell { begun: now, ended: None };
            }
        }
        drop(spells);
        match plan {
            Some(plan) => drop(self.plans.insert(pod.to_owned(), plan.clone())),
            None => drop(self.plans.remove(pod)),
        }
        // As long as the real one's.
        Ok("table squall in the pod's network: 2 chains, 2 rules, 1 set of 1 address".to_owned())
    }

    fn kill(&mut self, _pod: &str, container: &str) -> Result<String, FaultError> {
        Ok(format!("{container} ended"))
    }

    fn compare(&mut self, _pod: &str, _before: &Before) -> Result<(), FaultError> {
        Ok(())
    }

    fn verify(&mut self, pod: &str, plan: &NetworkPlan) -> Result<(), FaultError> {
        if self.plans.get(pod) == Some(plan) {
            Ok(())
        } else {
            Err(FaultError::NotReadBack("it is another".to_owned()))
        }
    }
}

/// The daemons. They end with this.
pub(crate) struct Fleet {
    nodes: Vec<Arc<Mutex<Spells>>>,
    _daemons: JoinSet<()>,
}

impl Fleet {
    /// Starts a daemon for each of these nodes; their journals are below `folder`.
    pub(crate) fn start(client: &Client, folder: &Path, nodes: impl Iterator<Item = String>) -> Self {
        let (mut all, mut daemons) = (Vec::new(), JoinSet::new());
        for node in nodes {
            let journal = Journal::open(&folder.join(&node), "this boot").unwrap();
            let recorder = Recorder::default();
            all.push(Arc::clone(&recorder.spells));
            let engine = Engine::new(recorder, journal);
            let looks = Looks::new(folder, Arc::new(AtomicBool::new(false)));
            let client = client.clone();
            daemons.spawn(async move {
                daemon::serve(client, &node, engine, looks, std::future::pending()).await.unwrap();
            });
        }
        Self { nodes: all, _daemons: daemons }
    }

    fn nodes(&self) -> impl Iterator<Item = MutexGuard<'_, Spells>> {
        self.nodes.iter().map(|node| node.lock().unwrap())
    }

    /// What became of an experiment, on each node and there on each pod that it was on.
    pub(crate) fn spells(&self, experiment: &str) -> Vec<Vec<Spell>> {
        let of = |node: MutexGuard<'_, Spells>| {
            node.iter().filter(|((_, name), _)| name == experiment).map(|(_, spell)| *spell).collect()
        };
        self.nodes().map(of).collect()
    }

    /// How many pods have a fault of the experiment now.
    pub(crate) fn injected(&self, experiment: &str) -> usize {
        self.spells(experiment).iter().flatten().filter(|spell| spell.ended.is_none()).count()
    }

    /// Waits until that many pods have a fault of the experiment; gives how long after `since` the last of them got it, or
    /// lost it.
    pub(crate) async fn until(
        &self,
        experiment: &str,
        pods: usize,
        since: Instant,
        patience: Duration,
    ) -> Duration {
        while self.injected(experiment) != pods {
            assert!(
                since.elapsed() < patience,
                "{} pods have {experiment}, not {pods}, after {patience:?}",
                self.injected(experiment)
            );
            // The moments are in the records: asking often would only take the processor from those who are measured.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let spells = self.spells(experiment);
        let last = spells.iter().flatten().map(|spell| spell.ended.unwrap_or(spell.begun)).max();
        last.map_or(Duration::ZERO, |last| last.saturating_duration_since(since))
    }
}
