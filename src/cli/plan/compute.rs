//! From the gathered objects to the report: the controller's selection and plan, and what they touch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::explain;
use super::gather::{Cluster, Subject};
use super::report::{Change, Conflict, LeftOut, OnNode, OnTarget, Report, Verdict, Wrong, counted};
use crate::api::{
    ExperimentReference, Injection, InjectionTarget, Mode, NetworkChaos, NetworkEffect, NetworkEnd,
    NetworkRule, PodSelector, Problem, SOURCE_KEY, TARGET_KEY,
};
use crate::experiment::Limits;
use crate::experiment::kind::Experiment;
use crate::experiment::plan::{self, Chosen, NodePlan, Refusal};
use crate::experiment::selection::{Request, Selection, select};
use crate::experiment::world::World;

/// What this experiment would do.
pub(super) fn report(subject: &Subject, cluster: &Cluster) -> Report {
    let Subject { chaos, label, hosts, .. } = subject;
    let world = &cluster.world;
    let spec = &chaos.spec;
    let limits = Limits::default();
    let running: &[Arc<Injection>] = cluster.injections.as_deref().unwrap_or_default();
    let own: Vec<_> = running.iter().filter(|injection| is_of(injection, chaos)).cloned().collect();
    let mut report = Report {
        experiment: label.clone(),
        namespace: chaos.metadata.namespace.clone().unwrap_or_default(),
        action: spec.action.word().to_owned(),
        verdict: Verdict::Runs,
        duration: spec.duration.clone().filter(|text| !text.is_empty()),
        nodes: Vec::new(),
        excluded: excluded(chaos, world, &limits),
        conflicts: Vec::new(),
        effect: Vec::new(),
        warnings: Vec::new(),
        problems: Vec::new(),
    };
    let experiment: &dyn Experiment = &**chaos;
    report.refuse(experiment.unsupported());
    let chosen = match plan::choose(experiment, &own, world, &limits) {
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
    let nodes = match experiment.plan(&chosen, world, hosts) {
        Ok(nodes) => nodes,
        Err(problems) => {
            report.refuse(problems);
            BTreeMap::new()
        }
    };
    report.conflicts = conflicts(subject, running, &chosen);
    if report.verdict == Verdict::Runs {
        report.nodes = nodes.iter().map(|(node, plan)| on_node(node, plan, &chosen)).collect();
        report.effect = explain::effect(spec, &chosen, &nodes, world);
        report.warnings.extend(explain::warnings(spec, &chosen, &nodes, world));
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

    fn wait(&mut self, why: String) {
        if self.verdict == Verdict::Runs {
            self.verdict = Verdict::Waits;
        }
        self.warnings.push(why);
    }
}

fn is_of(injection: &Injection, chaos: &NetworkChaos) -> bool {
    Some(injection.spec.experiment.uid.as_str()) == chaos.metadata.uid.as_deref()
}

/// One end's part of the spec: its key, its selector, its mode.
fn ends(chaos: &NetworkChaos) -> impl Iterator<Item = (&'static str, &PodSelector, Mode)> {
    let spec = &chaos.spec;
    let target = spec.target.as_ref().map(|target| (TARGET_KEY, &target.selector, target.mode));
    std::iter::once((SOURCE_KEY, &spec.selector, spec.mode)).chain(target)
}

/// Every pod that the selector matches, and those of them that are left out.
fn matching(chaos: &NetworkChaos, selector: &PodSelector, world: &World, limits: &Limits) -> Selection {
    let request = Request {
        selector,
        own_namespace: chaos.metadata.namespace.as_deref().unwrap_or_default(),
        mode: Mode::All,
        amount: 0,
        protected: &limits.protected_namespaces,
        unfit: &|pod| chaos.exclusion(pod),
        keep: &BTreeSet::new(),
    };
    // Nothing is drawn in mode all.
    select(&request, world, &mut StdRng::seed_from_u64(0))
}

fn excluded(chaos: &NetworkChaos, world: &World, limits: &Limits) -> Vec<LeftOut> {
    let of_end = |(key, selector, _): (&'static str, &PodSelector, Mode)| {
        let selection = matching(chaos, selector, world, limits);
        selection.excluded.into_iter().map(move |excluded| LeftOut {
            pod: excluded.pod,
            selector_key: key.to_owned(),
            reason: excluded.reason.to_string(),
        })
    };
    ends(chaos).flat_map(of_end).collect()
}

/// Where the mode leaves a choice it is made at the start, by the UID that the object gets then.
fn drawn(chaos: &NetworkChaos, world: &World, limits: &Limits, chosen: &[Chosen]) -> Vec<String> {
    let of_end = |(key, selector, _): (&'static str, &PodSelector, Mode)| {
        let candidates = matching(chaos, selector, world, limits).candidates;
        let picked = chosen.iter().filter(|pod| pod.target.selector_key == key).count();
        let path = if key == SOURCE_KEY { "spec.mode" } else { "spec.target.mode" };
        (picked > 0 && picked < candidates).then(|| {
            format!("{path} picks {picked} of {candidates} pods when the experiment starts; those above are an example")
        })
    };
    ends(chaos).filter_map(of_end).collect()
}

fn on_node(node: &str, plan: &NodePlan, chosen: &[Chosen]) -> OnNode {
    let addresses = |target: &InjectionTarget| {
        let known = chosen.iter().find(|pod| &pod.target == target);
        known.map(|pod| pod.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
    };
    let targets = plan.targets.iter().map(|target| OnTarget {
        pod: full_name(target),
        selector_key: target.selector_key.clone(),
        addresses: addresses(target),
        changes: explain::end_of(plan, target).map(changes).unwrap_or_default(),
    });
    OnNode { node: node.to_owned(), targets: targets.collect() }
}

fn changes(end: &NetworkEnd) -> Vec<Change> {
    let change = |direction: &str, rule: &NetworkRule| Change {
        effect: match rule.action {
            NetworkEffect::Drop => "drop".to_owned(),
        },
        direction: direction.to_owned(),
        device: end.device.clone(),
        peers: rule.peers.clone(),
    };
    let egress = end.egress.as_ref().map(|rule| change("egress", rule));
    egress.into_iter().chain(end.ingress.as_ref().map(|rule| change("ingress", rule))).collect()
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
    let mut conflicts = Vec::new();
    if let Some(phase) = subject.exists {
        let what = if matches!(phase, "Finished" | "Invalid") {
            format!("is there already, {phase}: `squall run` puts this one in its place")
        } else {
            format!("is there already, {phase}: `squall run` refuses a second one, `squall apply` changes it")
        };
        let own: &dyn Experiment = &*subject.chaos;
        let experiment = reference_name(&own.reference());
        conflicts.push(Conflict { experiment, pods: Vec::new(), what });
    }
    let uids: BTreeSet<&str> = chosen.iter().map(|pod| pod.target.uid.as_str()).collect();
    let mut shared: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let others = running.iter().filter(|injection| {
        injection.metadata.deletion_timestamp.is_none() && !is_of(injection, &subject.chaos)
    });
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
