//! From the states of a pod's containers to the pod's status. Nothing here does anything.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Where a pod is.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The pod's address, once its sandbox exists.
    pub(super) address: Option<String>,
    /// The node's address.
    pub(super) node_address: String,
    /// When the kubelet first saw the pod.
    pub(super) started: Option<Time>,
    /// Why there is no sandbox, if that failed.
    pub(super) problem: Option<String>,
}

/// A container that waits.
pub(super) fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

/// A container that runs.
pub(super) fn running(since: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(Time(since)) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

/// A container that ran.
pub(super) fn terminated(end: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(end), ..ContainerState::default() }
}

/// The status of `pod`; conditions that hold as they did in `old` keep their transition times.
pub(super) fn of_pod(
    pod: &Pod,
    old: Option<&PodStatus>,
    place: &Place,
    containers: Vec<ContainerStatus>,
    now: Timestamp,
) -> PodStatus {
    let phase = phase(pod, &containers);
    let finished = matches!(phase, "Succeeded" | "Failed");
    let unready: Vec<_> = containers.iter().filter(|c| !c.ready).map(|c| c.name.as_str()).collect();
    let ready = unready.is_empty() && !finished;
    let why = match (ready, finished) {
        (true, _) => (None, None),
        (false, true) => (Some("PodCompleted".to_owned()), None),
        (false, false) => (
            Some("ContainersNotReady".to_owned()),
            Some(format!("containers with unready status: [{}]", unready.join(" "))),
        ),
    };
    let sandbox = place.address.is_some();
    let none = (None, None);
    let conditions = [
        ("PodScheduled", true, none.clone()),
        ("PodReadyToStartContainers", sandbox && !finished, (None, place.problem.clone())),
        ("Initialized", true, none),
        ("ContainersReady", ready, why.clone()),
        ("Ready", ready, why),
    ]
    .map(|(kind, holds, (reason, message))| {
        let status = if holds { "True" } else { "False" };
        let before = old.and_then(|old| old.conditions.as_deref()).unwrap_or_default();
        let same = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
        let since = same.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: Some(since),
            ..PodCondition::default()
        }
    });
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions.into()),
        container_statuses: Some(containers),
        host_ip: Some(place.node_address.clone()),
        host_ips: Some(vec![HostIP { ip: place.node_address.clone() }]),
        pod_ip: place.address.clone(),
        pod_ips: place.address.clone().map(|ip| vec![PodIP { ip }]),
        qos_class: Some("BestEffort".to_owned()),
        start_time: place.started.clone(),
        ..PodStatus::default()
    }
}

/// `Pending` until each container has started once, `Running` while one runs or will be started again.
fn phase(pod: &Pod, containers: &[ContainerStatus]) -> &'static str {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let never_started =
        |c: &ContainerStatus| c.last_state.is_none() && c.state.as_ref().is_none_or(|s| s.waiting.is_some());
    if containers.iter().any(never_started) {
        return "Pending";
    }
    let codes: Option<Vec<i32>> =
        containers.iter().map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.exit_code)).collect();
    match (codes, policy) {
        (Some(codes), "Never" | "OnFailure") if codes.iter().all(|code| *code == 0) => "Succeeded",
        (Some(_), "Never") => "Failed",
        _ => "Running",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;

    fn container(state: ContainerState, ready: bool) -> ContainerStatus {
        ContainerStatus { name: "c".to_owned(), state: Some(state), ready, ..ContainerStatus::default() }
    }

    fn ended(code: i32) -> ContainerState {
        terminated(ContainerStateTerminated { exit_code: code, ..ContainerStateTerminated::default() })
    }

    fn pod(policy: &str) -> Pod {
        let spec = PodSpec { restart_policy: Some(policy.to_owned()), ..PodSpec::default() };
        Pod { spec: Some(spec), ..Pod::default() }
    }

    fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
        status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == kind).unwrap()
    }

    #[test]
    fn phases() {
        let up = || running(Timestamp::UNIX_EPOCH);
        let crashed = || ContainerStatus {
            last_state: Some(ended(1)),
            ..container(waiting("CrashLoopBackOff", ""), false)
        };
        let cases = [
            ("Always", vec![container(waiting("ContainerCreating", ""), false)], "Pending"),
            ("Always", vec![container(up(), true)], "Running"),
            ("Always", vec![container(up(), true), container(waiting("ErrImagePull", ""), false)], "Pending"),
            ("Always", vec![crashed()], "Running"),
            ("Always", vec![container(ended(0), false)], "Running"),
            ("Never", vec![container(ended(0), false)], "Succeeded"),
            ("OnFailure", vec![container(ended(0), false)], "Succeeded"),
            ("Never", vec![container(ended(0), false), container(ended(3), false)], "Failed"),
            ("Never", vec![container(ended(3), false), container(up(), true)], "Running"),
        ];
        for (policy, containers, expected) in cases {
            assert_eq!(phase(&pod(policy), &containers), expected, "{policy} {containers:?}");
        }
    }

    #[test]
    fn transition_times_stay_until_the_condition_changes() {
        let later = Timestamp::from_second(100).unwrap();
        let unready = vec![container(running(Timestamp::UNIX_EPOCH), false)];
        let pod = pod("Always");
        let first = of_pod(&pod, None, &Place::default(), unready.clone(), Timestamp::UNIX_EPOCH);
        let same = of_pod(&pod, Some(&first), &Place::default(), unready, later);
        assert_eq!(condition(&same, "Ready").last_transition_time, Some(Time(Timestamp::UNIX_EPOCH)));
        assert_eq!(condition(&same, "Ready").reason.as_deref(), Some("ContainersNotReady"));
        let ready = vec![container(running(Timestamp::UNIX_EPOCH), true)];
        let changed = of_pod(&pod, Some(&first), &Place::default(), ready, later);
        assert_eq!(condition(&changed, "Ready").status, "True");
        assert_eq!(condition(&changed, "Ready").last_transition_time, Some(Time(later)));
    }
}
