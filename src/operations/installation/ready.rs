//! Whether what was installed runs.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::api::{CONTROLLER_LEASE, PART_OF_LABEL, SYSTEM_NAMESPACE};
use crate::install::{CONTROLLER, DAEMON, PART_OF};
use crate::report::Trouble;
use crate::report::top::leader_of;

/// How far an installation is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Controllers of this very installation that are ready, of how many.
    pub controllers: (i32, i32),
    /// Daemons of this very installation that are ready, of how many nodes.
    pub daemons: (i32, i32),
    /// The controller that leads.
    pub leader: Option<String>,
    /// Whether the API server's own controllers have looked at both since they were applied.
    pub observed: bool,
}

impl Readiness {
    /// Whether everything runs.
    pub const fn is_complete(&self) -> bool {
        let (controllers, daemons) = (self.controllers, self.daemons);
        self.observed && controllers.0 >= controllers.1 && daemons.0 >= daemons.1 && self.leader.is_some()
    }

    /// One line.
    pub fn line(&self) -> String {
        let leader =
            self.leader.as_deref().map_or("no controller leads".to_owned(), |name| format!("{name} leads"));
        format!(
            "{} of {} controllers ready, {leader}; {} of {} daemons ready",
            self.controllers.0, self.controllers.1, self.daemons.0, self.daemons.1
        )
    }
}

/// How far it is.
///
/// # Errors
/// What the API server answers.
pub async fn readiness(client: &Client) -> Result<Readiness, Trouble> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let daemons: Api<DaemonSet> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let failed =
        |what: &str, error: &kube::Error| Trouble::api(format!("read {what} of {SYSTEM_NAMESPACE}"), error);
    let deployment = deployments.get(CONTROLLER).await.map_err(|error| failed("the Deployment", &error))?;
    let daemon = daemons.get(DAEMON).await.map_err(|error| failed("the DaemonSet", &error))?;
    let lease = leases.get_opt(CONTROLLER_LEASE).await.map_err(|error| failed("the Lease", &error))?;
    Ok(of(&deployment, &daemon, lease.as_ref()))
}

fn of(deployment: &Deployment, daemon: &DaemonSet, lease: Option<&Lease>) -> Readiness {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let of_nodes = daemon.status.clone().unwrap_or_default();
    // Old ones that are still ready are not counted.
    let new = status.updated_replicas.unwrap_or_default();
    let old = status.replicas.unwrap_or_default() - new;
    let ready = (status.ready_replicas.unwrap_or_default() - old).clamp(0, new);
    let updated = of_nodes.updated_number_scheduled.unwrap_or_default();
    let observed = status.observed_generation >= deployment.metadata.generation
        && of_nodes.observed_generation >= daemon.metadata.generation;
    Readiness {
        controllers: (ready, wanted),
        daemons: (of_nodes.number_ready.min(updated), of_nodes.desired_number_scheduled),
        leader: lease.and_then(leader_of).map(str::to_owned),
        observed,
    }
}

/// Pods of ours that are not ready, one line each with the reason that the kubelet or the scheduler gives.
///
/// # Errors
/// What the API server answers.
pub async fn unready(client: &Client) -> Result<Vec<String>, Trouble> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let ours = ListParams::default().labels(&format!("{PART_OF_LABEL}={PART_OF}"));
    let pods = pods.list(&ours).await.map_err(|error| Trouble::api("list pods of squall-system", &error))?;
    Ok(pods.items.iter().filter_map(trouble_of).collect())
}

fn trouble_of(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True") {
        return None;
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let place = node.map_or(String::new(), |node| format!(" on {node}"));
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().unwrap_or_default();
        Some(waiting.message.as_ref().map_or(reason.clone(), |message| format!("{reason}: {message}")))
    });
    let condition = || {
        let not = conditions.iter().find(|one| one.status == "False" && one.message.is_some())?;
        not.message.clone()
    };
    let why = waiting.or_else(condition).unwrap_or_else(|| "not ready yet".to_owned());
    Some(format!("{}{place}: {why}", pod.name_any()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: &serde_json::Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "generation": 2 },
            "spec": { "replicas": 2, "selector": {}, "template": {} },
            "status": status,
        }))
        .unwrap()
    }

    fn daemon(status: &serde_json::Value) -> DaemonSet {
        let mut all = json!({
            "currentNumberScheduled": 3, "numberMisscheduled": 0, "desiredNumberScheduled": 3, "numberReady": 3,
            "updatedNumberScheduled": 3, "observedGeneration": 2,
        });
        all.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "metadata": { "generation": 2 }, "spec": { "selector": {}, "template": {} }, "status": all,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_is_new_and_ready_counts() {
        let lease = |holder: &str| -> Lease {
            serde_json::from_value(json!({ "spec": { "holderIdentity": holder } })).unwrap()
        };
        let all = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2 });
        let done = of(&deployment(&all), &daemon(&json!({})), Some(&lease("squall-controller-x_7")));
        assert!(done.is_complete(), "{done:?}");
        assert_eq!(done.line(), "2 of 2 controllers ready, squall-controller-x leads; 3 of 3 daemons ready");
        let old = json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 3 });
        for (what, readiness, controllers, daemons) in [
            ("an old one is left", of(&deployment(&old), &daemon(&json!({})), Some(&lease("x"))), 1, 3),
            ("nobody leads", of(&deployment(&all), &daemon(&json!({})), Some(&lease(""))), 2, 3),
            ("no Lease", of(&deployment(&all), &daemon(&json!({})), None), 2, 3),
            (
                "daemons of before",
                of(&deployment(&all), &daemon(&json!({ "updatedNumberScheduled": 1 })), Some(&lease("x"))),
                2,
                1,
            ),
            (
                "not looked at yet",
                of(&deployment(&all), &daemon(&json!({ "observedGeneration": 1 })), Some(&lease("x"))),
                2,
                3,
            ),
        ] {
            assert!(!readiness.is_complete(), "{what}");
            assert_eq!((readiness.controllers.0, readiness.daemons.0), (controllers, daemons), "{what}");
        }
    }

    #[test]
    fn a_pod_says_why_it_is_not_ready() {
        let pod = |status: serde_json::Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": { "name": "squall-daemon-x" }, "spec": { "nodeName": "n", "containers": [] }, "status": status,
            }))
            .unwrap()
        };
        let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(trouble_of(&pod(ready)), None);
        let pull = json!({ "containerStatuses": [{
            "name": "daemon", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ErrImagePull", "message": "no such image" } },
        }] });
        assert_eq!(trouble_of(&pod(pull)).unwrap(), "squall-daemon-x on n: ErrImagePull: no such image");
        let unschedulable = json!({ "conditions": [
            { "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available" },
        ] });
        assert_eq!(trouble_of(&pod(unschedulable)).unwrap(), "squall-daemon-x on n: 0/1 nodes are available");
    }
}
