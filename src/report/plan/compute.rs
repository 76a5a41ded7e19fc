//! From the gathered objects to the report: the controller's selection and plan, and what they touch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::explain;
use super::report::{Change, Conflict, LeftOut, OnNode, OnTarget, Report, Verdict, Wrong, counted};
use super::subject::{Cluster, Subject};
use crate::api::{ExperimentReference, Injection, InjectionTarget, Mode, Problem};
use crate::experiment::Limits;
use crate::experiment::kind::Experiment;
use crate::experiment::lifecycle;
use crate::experiment::plan::{self, Chosen, End, NodePlan, Refusal};
use crate::experiment::selection::{Request, Selection, select};
use crate::experiment::world::World;

/// What this experiment would do.
pub fn report(subject: &Subject, cluster: &Cluster) -> Report {
    let Subject { label, action, duration, experiment, hosts, .. } = subject;
    let chaos = experiment.as_kind();
    let world = &cluster.world;
    let limits = Limits::default();
    let running: &[Arc<Injection>] = cluster.injections.as_deref().unwrap_or_default();
    let own: Vec<_> = running.iter().filter(|injection| is_of(injection, chaos)).cloned().collect();
    let mut report = Report {
        experiment: label.clone(),
        namespace: chaos.namespace().to_owned(),
        action: action.clone(),
        verdict: Verdict::Runs,
        one_shot: explain::is_one_shot(experiment),
        duration: duration.clone(),
        nodes: Vec::new(),
        excluded: excluded(chaos, world, &limits),
        conflicts: Vec::new(),
        effect: Vec::new(),
        warnings: cluster.unseen.clone(),
        problems: Vec::new(),
        halt: None,
    };
    report.refuse(chaos.unsupported());
    let chosen = match plan::choose(chaos, &own, world, &limits) {
        Ok(chosen) => chosen,
        Err(Refusal::Nothing(why)) => {
            report.wait(why);
            Vec::new()
        }
        Err(Refusal::Invalid(problems)) => {
            report.refuse(problems);
            Vec::new()
        }
    };
    let nodes = match chaos.plan(&chosen, world, hosts) {
        Ok(nodes) => nodes,
        Err(problems) => {
            report.refuse(problems);
            BTreeMap::new()
        }
    };
    report.conflicts = conflicts(subject, running, &chosen);
    report.hold(cluster, &chosen);
    if report.verdict == Verdict::Runs || report.halt.is_some() {
        report.nodes = nodes.iter().map(|(node, plan)| on_node(node, plan, &chosen)).collect();
        report.effect = explain::effect(experiment, &chosen, &nodes, world);
        report.warnings.extend(explain::warnings(experiment, &chosen, &nodes, world));
    }
    report.warnings.extend(drawn(chaos, world, &limits, &chosen));
    if !hosts.is_empty() {
        report.warnings.push(
            "host names were resolved on this machine; the controller resolves them for itself".to_owned(),
        );
    }
    if let Err(why) = &cluster.injections {
        report
            .warnings
            .push(format!("running experiments cannot be seen, so conflicts with them are not known: {why}"));
    }
    report
}

impl Report {
    fn refuse(&mut self, problems: impl IntoIterator<Item = Problem>) {
        let before = self.problems.len();
        self.problems.extend(problems.into_iter().map(|Problem { path, what, cure }| Wrong {
            path,
            what,
            cure,
        }));
        if self.problems.len() > before {
            self.verdict = Verdict::Refused;
        }
    }

    /// What is covered by a Halt waits for its release, or is ended by it if it runs already.
    fn hold(&mut self, cluster: &Cluster, chosen: &[Chosen]) {
        match &cluster.halts {
            Ok(halts) if self.verdict == Verdict::Runs => {
                self.halt = lifecycle::held_back(halts, chosen);
                if self.halt.is_some() {
                    self.verdict = Verdict::Waits;
                }
            }
            Ok(_) => {}
            Err(why) => self
                .warnings
                .push(format!("Halts cannot be read, so it is not known whether one covers this: {why}")),
        }
    }

    fn wait(&mut self, why: String) {
        if self.verdict == Verdict::Runs {
            self.verdict = Verdict::Waits;
        }
        self.warnings.push(why);
    }
}

fn is_of(injection: &Injection, chaos: &dyn Experiment) -> bool {
    injection.spec.experiment.uid == chaos.uid()
}

/// Every pod that the selector matches, and those of them that are left out.
fn matching(chaos: &dyn Experiment, end: &End<'_>, world: &World, limits: &Limits) -> Selection {
    let request = Request {
        selector: end.selector,
        own_namespace: chaos.namespace(),
        mode: Mode::All,
        amount: 0,
        protected: &limits.protected_namespaces,
        unfit: &|pod| chaos.exclusion(pod),
        keep: &BTreeSet::new(),
    };
    // Nothing is drawn in mode all.
    select(&request, world, &mut StdRng::seed_from_u64(0))
}

fn excluded(chaos: &dyn Experiment, world: &World, limits: &Limits) -> Vec<LeftOut> {
    let of_end = |end: End<'_>| {
        let selection = matching(chaos, &end, world, limits);
        selection.excluded.into_iter().map(move |excluded| LeftOut {
            pod: excluded.pod,
            selector_key: end.key.to_owned(),
            reason: excluded.reason.to_string(),
        })
    };
    chaos.ends().into_iter().flat_map(of_end).collect()
}

/// Where the mode leaves a choice it is made at the start, by the UID that the object gets then.
fn drawn(chaos: &dyn Experiment, world: &World, limits: &Limits, chosen: &[Chosen]) -> Vec<String> {
    let of_end = |end: End<'_>| {
        let candidates = matching(chaos, &end, world, limits).candidates;
        let of_key = chosen.iter().filter(|pod| pod.target.selector_key == end.key);
        let picked = of_key.map(|pod| &pod.target.uid).collect::<BTreeSet<_>>().len();
        (picked > 0 && picked < candidates).then(|| {
            format!(
                "{}mode picks {picked} of {candidates} pods when the experiment starts; those above are an example",
                end.path
            )
        })
    };
    chaos.ends().into_iter().filter_map(of_end).collect()
}

fn on_node(node: &str, plan: &NodePlan, chosen: &[Chosen]) -> OnNode {
    let addresses = |target: &InjectionTarget| {
        let known = chosen.iter().find(|pod| &pod.target == target);
        known.map(|pod| pod.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let targets = plan.targets.iter().map(|target| OnTarget {
        pod: full_name(target),
        container: target.container.clone(),
        selector_key: target.selector_key.clone(),
        addresses: addresses(target),
        changes: changes(plan, target),
    });
    OnNode { node: node.to_owned(), targets: targets.collect() }
}

fn changes(plan: &NodePlan, target: &InjectionTarget) -> Vec<Change> {
    let fault = &plan.fault;
    let of_pods = [
        fault.pod_kill.as_ref().map(Change::pod_kill),
        fault.pod_failure.as_ref().map(|_| Change::pod_failure()),
        fault.container_kill.as_ref().map(|_| Change::container_kill()),
    ];
    let of_network = explain::end_of(plan, target).map(Change::network).unwrap_or_default();
    of_pods.into_iter().flatten().chain(of_network).collect()
}

/// `namespace/pod`.
fn full_name(target: &InjectionTarget) -> String {
    format!("{}/{}", target.namespace, target.pod)
}

/// `NetworkChaos default/partition`.
fn reference_name(experiment: &ExperimentReference) -> String {
    format!("{} {}/{}", experiment.kind, experiment.namespace, experiment.name)
}

fn conflicts(subject: &Subject, running: &[Arc<Injection>], chosen: &[Chosen]) -> Vec<Conflict> {
    let chaos = subject.experiment.as_kind();
    let mut conflicts = Vec::new();
    if let Some(phase) = subject.exists {
        let what = if matches!(phase, "Finished" | "Invalid") {
            format!("is there already, {phase}: `squall run` puts this one in its place")
        } else {
            format!("is there already, {phase}: `squall run` refuses a second one, `squall apply` changes it")
        };
        let experiment = reference_name(&chaos.reference());
        conflicts.push(Conflict { experiment, pods: Vec::new(), what });
    }
    let uids: BTreeSet<&str> = chosen.iter().map(|pod| pod.target.uid.as_str()).collect();
    let mut shared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let others = running
        .iter()
        .filter(|injection| injection.metadata.deletion_timestamp.is_none() && !is_of(injection, chaos));
    for injection in others {
        let experiment = &injection.spec.experiment;
        for target in injection.spec.targets.iter().filter(|target| uids.contains(target.uid.as_str())) {
            shared.entry(reference_name(experiment)).or_default().insert(full_name(target));
        }
    }
    conflicts.extend(shared.into_iter().map(|(experiment, pods)| Conflict {
        what: format!(
            "acts on {} of these as well: both faults hold at once and end each by itself",
            counted(pods.len(), "pod")
        ),
        experiment,
        pods: pods.into_iter().collect(),
    }));
    conflicts
}
