//! PodChaos: which pods and containers it can act on, and what happens to them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use kube::core::ObjectMeta;

use super::kind::Experiment;
use super::peers::Hosts;
use super::plan::{Chosen, End, NodePlan, by_node, is_mirror};
use super::selection::{Exclusion, has_own_kernel};
use super::world::World;
use crate::api::{
    ChaosStatus, ContainerKill, Fault, GoDuration, InjectionTarget, PodAction, PodChaos, PodFailure, PodKill,
    Problem, RESPECT_BUDGETS_ANNOTATION, SOURCE_KEY,
};

impl Experiment for PodChaos {
    fn kind(&self) -> &'static str {
        "PodChaos"
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn status(&self) -> Option<&ChaosStatus> {
        self.status.as_ref()
    }

    fn duration(&self) -> Option<Duration> {
        self.spec.effective_duration().and_then(GoDuration::to_std)
    }

    fn is_one_shot(&self) -> bool {
        self.spec.action.is_one_shot()
    }

    fn problems(&self) -> Vec<Problem> {
        self.spec.problems()
    }

    fn ends(&self) -> Vec<End<'_>> {
        let spec = &self.spec;
        vec![End {
            key: SOURCE_KEY,
            path: "spec.",
            selector: &spec.selector,
            mode: spec.mode,
            value: spec.value.as_deref(),
        }]
    }

    fn exclusion(&self, pod: &Pod) -> Option<Exclusion> {
        let is_owned = || pod.owner_references().iter().any(|owner| owner.controller == Some(true));
        match self.spec.action {
            PodAction::PodKill | PodAction::PodFailure if is_mirror(pod) => Some(Exclusion::Mirror),
            PodAction::PodFailure if !is_owned() => Some(Exclusion::Bare),
            PodAction::ContainerKill if has_own_kernel(pod) => Some(Exclusion::OwnKernel),
            PodAction::ContainerKill if running(pod, &self.spec.container_names).next().is_none() => {
                Some(Exclusion::NoContainer)
            }
            _ => None,
        }
    }

    fn parts(&self, pod: &Pod, target: InjectionTarget) -> Vec<InjectionTarget> {
        if self.spec.action != PodAction::ContainerKill {
            return vec![target];
        }
        let part = |container: &ContainerStatus| InjectionTarget {
            container: Some(container.name.clone()),
            container_id: container.container_id.clone(),
            ..target.clone()
        };
        running(pod, &self.spec.container_names).map(part).collect()
    }

    fn plan(
        &self,
        chosen: &[Chosen],
        _world: &World,
        _hosts: &Hosts,
    ) -> Result<BTreeMap<String, NodePlan>, Vec<Problem>> {
        let evict = self.annotations().get(RESPECT_BUDGETS_ANNOTATION).is_some_and(|value| value == "true");
        let fault = match self.spec.action {
            PodAction::PodKill => Fault {
                pod_kill: Some(PodKill { grace_period_seconds: self.spec.grace_period, evict }),
                ..Fault::default()
            },
            PodAction::PodFailure => Fault { pod_failure: Some(PodFailure {}), ..Fault::default() },
            PodAction::ContainerKill => Fault { container_kill: Some(ContainerKill {}), ..Fault::default() },
        };
        Ok(by_node(chosen, |_| fault.clone()))
    }
}

/// The containers of these names that run now. Init and ephemeral containers are never targets.
fn running<'a>(pod: &'a Pod, names: &'a [String]) -> impl Iterator<Item = &'a ContainerStatus> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.filter(move |status| {
        let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
        runs && status.container_id.is_some() && names.contains(&status.name)
    })
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
