//! The API server, and the controller's part: Injections, their end, and signs of life.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use squall::api::{
    CONTROLLER_LEASE, Injection, InjectionStatus, RECOVERED_FINALIZER, SYSTEM_NAMESPACE, TargetPhase,
};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

use super::draw::{Fault, Wall};
use super::lab::{DEVICE, Lab, To, address};
use super::simulated::{make, server};

/// The node whose daemon is killed.
pub(crate) const NODE: &str = "n1";

/// How often the controller gives a sign of life: the daemon needs two, and a round should be short.
const BEAT: Duration = Duration::from_millis(100);

pub(crate) struct Cluster {
    runtime: Runtime,
    api: Api<Injection>,
    beats: Arc<AtomicBool>,
    pub(crate) socket: PathBuf,
}

impl Cluster {
    /// With its socket in a folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let socket = folder.join("api.sock");
        let beats = Arc::new(AtomicBool::new(true));
        let server = server(&[]);
        let inside = runtime.enter();
        let client = server.client("default");
        let api = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        runtime.block_on(async {
            make::<Namespace>(&Api::all(client), json!({"metadata": {"name": SYSTEM_NAMESPACE}})).await;
            make::<Lease>(
                &leases,
                json!({"metadata": {"name": CONTROLLER_LEASE}, "spec": {"holderIdentity": "torture"}}),
            )
            .await;
            tokio::spawn(server.serve_unix(UnixListener::bind(&socket).unwrap()));
        });
        runtime.spawn(beat(leases, Arc::clone(&beats)));
        drop(inside);
        Self { runtime, api, beats, socket }
    }

    /// Whether the controller gives signs of life.
    pub(crate) fn beat(&self, beats: bool) {
        self.beats.store(beats, Ordering::Release);
    }

    pub(crate) fn create(&self, lab: &Lab, fault: &Fault, round: u64) {
        for (kind, network) in networks(fault) {
            let targets: Vec<_> = fault.pods.iter().filter_map(|index| lab.pods.get(*index)).collect();
            let targets: Vec<_> = targets
                .iter()
                .map(|pod| json!({"namespace": "default", "pod": pod.name, "uid": pod.uid, "selectorKey": "."}))
                .collect();
            let name = format!("{kind}-{round}");
            let injection = json!({
                "metadata": {"name": name, "finalizers": [RECOVERED_FINALIZER]},
                "spec": {
                    "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": name, "uid": name},
                    "node": NODE, "targets": targets, "fault": {"network": network}, "run": 1,
                    "notAfter": "2999-01-01T00:00:00Z", "lease": "60s",
                },
            });
            self.runtime.block_on(make(&self.api, injection));
        }
    }

    pub(crate) fn edit(&self, fault: &Fault, round: u64) {
        for (kind, network) in networks(fault) {
            self.patch(&format!("{kind}-{round}"), &json!({"spec": {"fault": {"network": network}}}));
        }
    }

    fn patch(&self, name: &str, patch: &Value) {
        let patch = Patch::Merge(patch);
        self.runtime.block_on(self.api.patch(name, &PatchParams::default(), &patch)).unwrap();
    }

    pub(crate) fn injections(&self) -> Vec<Injection> {
        self.runtime.block_on(self.api.list(&ListParams::default())).unwrap().items
    }

    /// Begins the deletion of all: their finalizers keep them.
    pub(crate) fn delete(&self) {
        for injection in self.injections() {
            let (name, now) = (injection.name_any(), DeleteParams::default());
            drop(self.runtime.block_on(self.api.delete(&name, &now)).unwrap());
        }
    }

    /// Lets go of all.
    pub(crate) fn release(&self) {
        for injection in self.injections() {
            self.patch(&injection.name_any(), &json!({"metadata": {"finalizers": null}}));
        }
        assert!(self.injections().is_empty(), "an Injection is still there");
    }

    /// Whether the daemon said of each that all of its targets are as `good`, about what the object is now.
    pub(crate) fn said(&self, wanted: &str, good: impl Fn(&InjectionStatus) -> bool) -> Result<(), String> {
        for injection in self.injections() {
            let status = injection.status.clone().unwrap_or_default();
            let answered = status.observed_run == injection.spec.run
                && Some(status.observed_generation) >= injection.metadata.generation;
            if !answered || status.wanted.as_deref() != Some(wanted) || !good(&status) {
                let status = serde_json::to_string(&status).unwrap();
                return Err(format!("the daemon says of {}: {status}", injection.name_any()));
            }
        }
        Ok(())
    }

    /// Whether it said that all faults are there, with evidence.
    pub(crate) fn said_present(&self) -> Result<(), String> {
        self.said("Present", |status| {
            let mut targets = status.targets.iter();
            targets.all(|target| {
                target.phase == TargetPhase::Injected
                    && target.error.is_none()
                    && target.evidence.as_ref().is_some_and(|evidence| !evidence.is_empty())
            })
        })
    }
}

async fn beat(leases: Api<Lease>, beats: Arc<AtomicBool>) -> ! {
    let mut tick = tokio::time::interval(BEAT);
    loop {
        tick.tick().await;
        if beats.load(Ordering::Acquire) {
            let patch = Patch::Merge(json!({"spec": {"renewTime": MicroTime(Timestamp::now())}}));
            leases.patch(CONTROLLER_LEASE, &PatchParams::default(), &patch).await.unwrap();
        }
    }
}

/// The network faults of a round, by the Injection that carries each.
fn networks(fault: &Fault) -> Vec<(&'static str, Value)> {
    let peers = |to| -> Vec<_> {
        fault.pods.iter().map(|pod| json!({"network": format!("{}/32", address(*pod, to))})).collect()
    };
    let network = |egress: Value, ingress: Value| {
        let end = json!({"selectorKey": ".", "device": DEVICE, "egress": egress, "ingress": ingress});
        json!({"ends": [end]})
    };
    let mut all = Vec::new();
    if fault.egress + fault.ingress > 0 {
        let rule = |latency: u64| match latency {
            0 => Value::Null,
            _ => json!({
                "action": "Shape", "peers": peers(To::Near),
                "shaping": {"delay": {"latency": format!("{latency}ms")}},
            }),
        };
        all.push(("delay", network(rule(fault.egress), rule(fault.ingress))));
    }
    if let Some(wall) = fault.wall {
        let rule = |is_there: bool| {
            if is_there { json!({"action": "Drop", "peers": peers(To::Wall)}) } else { Value::Null }
        };
        all.push(("wall", network(rule(wall != Wall::Ingress), rule(wall != Wall::Egress))));
    }
    all
}
